"""A MESSAGE request to the edge on this machine, over TCP, and the final answer to it (RFC 3261, RFC 3428).

    status, phrase = await message(("198.51.100.1", 5060), fields, body, timeout_s=20)

One connection for one message: the edge is near, and an answer that comes late belongs to nobody else. The body is
bytes, as it was written; header values are text without control characters.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from controller.errors import NodeRefused, NodeUnreachable, UnsafeValue

CONNECT_S = 2.0
_MOST_BYTES = 65_536
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FINAL = 200


class Answer(NamedTuple):
    """A final answer. `away`: the edge says so, the device is not registered."""

    status: int
    phrase: str
    away: bool = False


async def message(
    edge: tuple[str, int], uri: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float
) -> Answer:
    """Send it, and wait for the final answer.

    NodeUnreachable: nobody listens, or there was no answer in time (then it may have been delivered). UnsafeValue:
    a value that would end its header.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            # From the edge's own address: it believes nobody else who shows the agent's key.
            reader, writer = await asyncio.open_connection(*edge, limit=_MOST_BYTES, local_addr=(edge[0], 0))
    except (OSError, TimeoutError) as error:
        raise NodeUnreachable(
            f"edge at {edge[0]}:{edge[1]}: {getattr(error, 'strerror', None) or 'no connection'}; is Kamailio running?"
        ) from None
    try:
        own = writer.get_extra_info("sockname")
        data, branch = request(uri, headers, body, f"{own[0]}:{own[1]}")
        async with asyncio.timeout(timeout_s):
            writer.write(data)
            await writer.drain()
            return await _answer(reader, branch)
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        raise NodeUnreachable(f"edge at {edge[0]}:{edge[1]}: the connection broke: {error}") from None
    except TimeoutError:
        raise NodeUnreachable(f"edge at {edge[0]}:{edge[1]}: no final answer in {timeout_s:g} s") from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def request(uri: str, headers: Mapping[str, str], body: bytes, own: str) -> tuple[bytes, str]:
    """The request as it is sent, and the branch its answers carry."""
    branch = f"z9hG4bK{uuid.uuid4().hex}"
    lines = {
        "Via": f"SIP/2.0/TCP {own};branch={branch};rport;alias",
        "Max-Forwards": "70",
        **headers,
        "Content-Length": str(len(body)),
    }
    for name, value in (("Request-URI", uri), *lines.items()):
        if _CONTROL.search(value):
            raise UnsafeValue(f"header {name} of a message: {value!r} has a control character")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"MESSAGE {uri} SIP/2.0\r\n{head}\r\n".encode() + body, branch


async def _answer(reader: asyncio.StreamReader, branch: str) -> Answer:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n").decode("utf-8", "replace")
        if not head:
            continue
        length = re.search(r"^(?:content-length|l)\s*:\s*(\d+)", head, re.I | re.M)
        if length:
            await reader.readexactly(min(int(length[1]), _MOST_BYTES))
        first = re.match(r"SIP/2\.0 (\d{3}) ?([^\r\n]*)", head)
        if first is None:
            raise NodeRefused(f"the edge answered what is no SIP: {head[:60]!r}")
        if int(first[1]) >= _FINAL and branch in head:
            return Answer(int(first[1]), first[2], "\r\nX-DP-Away: 1\r\n" in head)
