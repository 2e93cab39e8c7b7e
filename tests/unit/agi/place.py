"""A node's state file with an account that decides, and an AGI server on it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controller.agent.state import State, Wanted
from controller.agi.decide_app import App
from controller.agi.entries import Entries
from controller.agi.live import Live
from controller.agi.server import Failures, Server
from controller.errors import DatabaseError
from controller.policy.notices import Notice
from tests.unit.policy.acme import ENTRIES, NOW

SALES = {"strategy": "in_order", "members": [{"user": "bob"}, {"user": "carol"}]}


class Away:
    """A database that is not there."""

    async def turn(self, account: str, group: str) -> dict[str, Any]:
        raise DatabaseError("away")

    async def keep_turn(
        self, account: str, group: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bool:
        raise DatabaseError("away")

    async def registered(self, aors: Sequence[str]) -> dict[str, int]:
        raise DatabaseError("away")

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        raise DatabaseError("away")

    async def release(self, account: str, group: str, call_id: str) -> None:
        raise DatabaseError("away")

    async def membership(self, account: str, group: str, user: str, device: str) -> str:
        raise DatabaseError("away")

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        raise DatabaseError("away")


def stage(state: State, revision: int, table: str = "policy", **values: object) -> None:
    """Set `group__sales={...}` of acme, or a flag `dnd__acme__bob="1"`; None removes."""
    prefix = "acme/" if table == "policy" else ""
    state.stage(
        [
            Wanted(
                table,
                f"{prefix}{key.replace('__', '/')}",
                value if value is None or isinstance(value, str) else json.dumps(value),
            )
            for key, value in values.items()
        ],
        revision,
    )


def filled(path: Path, **more: Mapping[str, Any]) -> State:
    """An agent's state file with the account acme and its group sales in it."""
    state = State(path)
    entries: dict[str, object] = {"group/sales": SALES, **ENTRIES, **more}
    stage(state, 1, "policy", **{key.replace("/", "__"): value for key, value in entries.items()})
    return state


@asynccontextmanager
async def serving(
    path: Path, shared: Any = None, **options: Any
) -> AsyncIterator[tuple[Server, App, Failures]]:
    """A server that decides from the file, at NOW."""
    failures, entries = Failures(), Entries(path)
    app = App(entries, Live(shared or Away()), lambda: NOW, failures.error)
    server = Server(app, failures=failures, port=0, **options)
    await server.start()
    try:
        yield server, app, failures
    finally:
        await server.stop()
        entries.close()
