"""What a server reads from plain files at its own start, put in place before it."""

from __future__ import annotations

from pathlib import Path

from controller.agent.state import State
from controller.wire.files import Directory

_ALL = 1_000_000


def files(state: State, root: Path) -> str:
    """Make the files below `root` those the node holds; says how many were written. Needs no server."""
    directory = Directory(root)
    meant = state.page("file", "", _ALL)
    written = 0
    for path, content in meant.items():
        if directory.read(path) != content:
            directory.write(path, content)
            written += 1
    for path in directory.names():
        if path not in meant:
            directory.remove(path)
    return f"{written} of {len(meant)} files written"
