"""`python -m tests.bench.agi_server decides STATE | nothing | floor | queues FOLDER DATABASE`: prints its port, serves
until its standard input ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from controller.agent.settings import Settings
from controller.agi import run
from controller.agi.decide_app import App
from controller.agi.entries import Entries
from controller.agi.live import Live
from controller.agi.server import Failures, Server
from controller.agi.store import Store
from controller.entries import Kind
from controller.errors import NodeUnreachable
from controller.wire.agi import Session
from controller.wire.agi_caller import ask

# Long, so that open sessions can be held and looked at.
_DEADLINE_S = 120


async def nothing(session: Session) -> None:
    """What a decision costs that is none: read the request, set one variable."""
    await session.request()
    await session.finish([("SET", "VARIABLE", "DP_STEPS", "0")])


def floor() -> None:
    """One call after another, by blocking sockets: what no server can be faster than."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_answer, args=(listener,), daemon=True).start()
        sys.stdin.read()


def _answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            held = b""
            while not held.endswith(b"\n\n"):
                held += connection.recv(65536)
            connection.sendall(b"SET VARIABLE DP_STEPS 0\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


async def queues(folder: str, database: str) -> None:
    """The resident server as `dialplane agi serve` runs it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = asyncio.create_task(run(Settings("media1", Kind.MEDIA, database, Path(folder)), port))
    while not serving.done():
        await asyncio.sleep(0.1)
        with suppress(NodeUnreachable):
            await ask("127.0.0.1", port, "ping", ())
            break
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving


async def main(kind: str, *path: str) -> None:
    """Serve. The store is never connected: a group that rings all at once remembers nothing."""
    failures = Failures()
    answer: Callable[[Session], Awaitable[None]] = nothing
    if kind == "decides":
        answer = App(
            Entries(Path(*path)), Live(Store("", "bench")), lambda: datetime.now(UTC), failures.error
        )
    server = Server(answer, failures=failures, port=0, deadline_s=_DEADLINE_S)
    await server.start()
    print(server.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["floor"]:
            floor()
        case ["queues", folder, database]:
            asyncio.run(queues(folder, database))
        case arguments:
            asyncio.run(main(*arguments))
