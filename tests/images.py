"""Images with real servers, for the suites that run one alone."""

from __future__ import annotations

import os
import shutil
import subprocess


def server_image(kind: str) -> str | None:
    """An image with Kamailio (`edge`) or Asterisk (`media`): DIALPLANE_EDGE_IMAGE or DIALPLANE_MEDIA_IMAGE, else the
    stack's; None when there is no Docker or none of them.
    """
    if shutil.which("docker") is None:
        return None
    for name in (os.environ.get(f"DIALPLANE_{kind.upper()}_IMAGE"), f"dialplane-{kind}"):
        if name and not _inspect(name):
            return name
    return None


def _inspect(name: str) -> int:
    command = ["docker", "image", "inspect", name]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode
