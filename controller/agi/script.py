"""A decision in a process of its own, for one call: what asterisk/agi-bin/dialplane-decide runs.

The same functions as the server's, without anything resident: each call starts Python, and reads the account anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from controller.agi.decide_app import App
from controller.agi.entries import Entries
from controller.agi.live import Live
from controller.errors import DialplaneError
from controller.policy.notices import Notice
from controller.wire.agi import Request, encode

if TYPE_CHECKING:
    from controller.agent.settings import Settings
    from controller.agi.store import Store


class Agi(Protocol):
    """What is used of pyst2's AGI."""

    env: dict[str, str]

    def execute(self, command: str) -> dict[str, tuple[str, str]]:
        """Send a line, wait for its reply."""


class Pipe:
    """pyst2's AGI object as an exchange. Its own `set_variable` does not escape, so lines are made here."""

    def __init__(self, agi: Agi) -> None:
        self._agi = agi

    async def request(self) -> Request:
        """What Asterisk said on standard input."""
        given = dict(self._agi.env)
        arguments: list[str] = []
        while (argument := given.pop(f"agi_arg_{len(arguments) + 1}", None)) is not None:
            arguments.append(argument)
        variables = {name.removeprefix("agi_"): value for name, value in given.items()}
        return Request({**variables, "network_script": "decide"}, tuple(arguments))

    async def full_variable(self, expression: str) -> str:
        """An expression as the call's channel evaluates it."""
        return self._command(("GET", "FULL", "VARIABLE", expression))["result"][1]

    async def finish(self, commands: Sequence[Sequence[str]]) -> None:
        """One after another: each waits for its reply."""
        for command in commands:
            self._command(command)

    def _command(self, words: Sequence[str]) -> dict[str, tuple[str, str]]:
        return self._agi.execute(encode(words).decode().removesuffix("\n"))


class OnDemand:
    """The database, connected to by the first question: most decisions ask nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: Store | None = None

    async def turn(self, account: str, group: str) -> dict[str, Any]:
        """The memory of a group."""
        return await (await self._connected()).turn(account, group)

    async def keep_turn(
        self, account: str, group: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bool:
        """Make `before` `after`."""
        return await (await self._connected()).keep_turn(account, group, before, after)

    async def registered(self, aors: Sequence[str]) -> dict[str, int]:
        """AOR -> contacts."""
        return await (await self._connected()).registered(aors)

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        """Let this call be the one that rings in the group."""
        return await (await self._connected()).claim(account, group, call_id, seconds)

    async def release(self, account: str, group: str, call_id: str) -> None:
        """This call rings no more."""
        await (await self._connected()).release(account, group, call_id)

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        """Write a notice."""
        await (await self._connected()).tell(account, group, call_id, notice)

    async def membership(self, account: str, group: str, user: str, device: str) -> str:
        """Leave the group, or join it again."""
        return await (await self._connected()).membership(account, group, user, device)

    async def _connected(self) -> Store:
        from controller.agi.store import Store

        if self._store is None:
            self._store = Store(self._settings.database, self._settings.node)
            await self._store.connect()
        return self._store

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._store is not None:
            await self._store.close()


async def decide(agi: Agi, settings: Settings) -> str | None:
    """One decision; why there is none, or None."""
    failures: list[DialplaneError] = []
    entries, shared = Entries(settings.state_file), OnDemand(settings)
    try:
        await App(entries, Live(shared), lambda: datetime.now(UTC), failures.append)(Pipe(agi))
    finally:
        await shared.close()
        entries.close()
    return str(failures[0]) if failures else None
