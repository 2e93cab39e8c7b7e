"""`python -m tests.bench.agi_server decides STATE | nothing`: prints its port, serves until its standard input ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from controller.agi.decide_app import App
from controller.agi.entries import Entries
from controller.agi.live import Live
from controller.agi.server import Failures, Server
from controller.agi.store import Store
from controller.wire.agi import Session

# Long, so that open sessions can be held and looked at.
_DEADLINE_S = 120


async def nothing(session: Session) -> None:
    """What a decision costs that is none: read the request, set one variable."""
    await session.request()
    await session.finish([("SET", "VARIABLE", "DP_STEPS", "0")])


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
    asyncio.run(main(*sys.argv[1:]))
