"""The control socket of a PowerDNS beside us: one line, one answer, then it closes."""

from __future__ import annotations

import socket
from pathlib import Path

from controller.errors import NodeUnreachable

_TIMEOUT_S = 2.0
_MOST_BYTES = 4096


def purge(path: Path) -> str:
    """Have it forget every answer it keeps; what it says to that. NodeUnreachable: it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(_TIMEOUT_S)
            channel.connect(str(path))
            channel.sendall(b"PURGE\n")
            said = b""
            while (part := channel.recv(_MOST_BYTES)) and len(said) < _MOST_BYTES:
                said += part
    except OSError as error:
        raise NodeUnreachable(
            f"control socket {path} of PowerDNS: {error.strerror or error}; does it run, and may this user write there?"
        ) from None
    return said.decode(errors="replace").strip()
