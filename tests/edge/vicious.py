"""`python -m tests.edge.vicious TOOL AGENT SOURCE [ARGUMENT...]`: a tool of SIPVicious (svmap, svwar, svcrack) that
calls itself AGENT and sends from SOURCE. By itself it says `friendly-scanner`, which gives it away; who means harm
does not."""

from __future__ import annotations

import importlib
import socket
import sys
from typing import Any


def main() -> None:
    """Runs the tool with the arguments that are left."""
    tool, agent, source, *arguments = sys.argv[1:]
    request = importlib.import_module("sipvicious.libs.svhelper").makeRequest
    request.__defaults__ = tuple(agent if one == "friendly-scanner" else one for one in request.__defaults__)

    # svcrack knows no other address than all of them.
    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind((source, *address[1:]))

    socket.socket = Socket  # type: ignore[misc]
    sys.argv = [tool, *arguments]
    importlib.import_module(f"sipvicious.{tool}").main()


if __name__ == "__main__":
    main()
