"""What an agent is asked about the tables that say where accounts are served: verbs of control.node_commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from controller.agent.server import Server
from controller.agent.state import State
from controller.agent.values import canonical
from controller.agreement import digests
from controller.errors import InputError

# Keys that one answer may name, and how many are read from the server in one go.
_MOST, _PAGE = 20_000, 500
_SCAN = 20_000


class Questions:
    """`lock`: one at a time at the server. `reload`: has everything loaded anew."""

    def __init__(self, server: Server, state: State, lock: asyncio.Lock, reload: Callable[[], None]) -> None:
        self._server, self._state, self._lock, self._reload = server, state, lock, reload
        self.handlers: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "held": self.held,
            "reload": self.reload,
        }

    async def held(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the server holds now under the keys of `buckets` of a `table`, and under `keys`: `{"entries": ...}`."""
        table, asked = str(arguments["table"]), set(map(int, arguments["buckets"]))
        if table not in digests.TABLES[self._server.kind]:
            raise InputError(f"table {table} is none of those compared by digest")
        keys = await asyncio.to_thread(self._keys, table, asked) | set(map(str, arguments["keys"]))
        listed = sorted(keys)[:_MOST]
        found: dict[str, str | None] = {}
        for start in range(0, len(listed), _PAGE):
            async with self._lock:
                found |= await self._server.read(table, listed[start : start + _PAGE])
        for key, value in found.items():
            meant = self._state.value(table, key)
            if canonical(table, meant) == canonical(table, value):
                found[key] = meant
        return {"entries": found}

    def _keys(self, table: str, asked: set[int]) -> set[str]:
        found: set[str] = set()
        after = ""
        while page := self._state.page(table, after, _SCAN):
            found |= {
                key
                for key in page
                if digests.counts(self._server.kind, table, key) and digests.bucket(key) in asked
            }
            after = max(page)
        return found

    async def reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Load everything anew from the database, and compare."""
        self._reload()
        return {"asked": True}
