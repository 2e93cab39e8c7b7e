"""What holds at the moment and is in no file: whose turn it is in a group, which call rings in it, who is registered.

From PostgreSQL while it answers; else what this process saw last.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

from controller.errors import DatabaseError
from controller.policy.model import Turn
from controller.policy.notices import Notice

# So often a decision is made anew because another node was first (its turn costs a millisecond); then it stands, and
# two calls in a row begin with the same member.
_TRIES = 50
_STEP_S = 0.004
_T = TypeVar("_T")


class Shared(Protocol):
    """What nodes share: `store.Store`. Every method raises DatabaseError."""

    async def turn(self, account: str, group: str) -> dict[str, Any]:
        """The memory of a group; empty: none yet."""

    async def keep_turn(
        self, account: str, group: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bool:
        """Make `before` `after`; False: it is not `before` any more."""

    async def registered(self, aors: Sequence[str]) -> dict[str, int]:
        """AOR -> contacts, of those whose number is known."""

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        """Let this call be the one that rings in the group, for so long at most; False: another one is."""

    async def release(self, account: str, group: str, call_id: str) -> None:
        """This call rings no more."""

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        """Write a notice for clients."""

    async def membership(self, account: str, group: str, user: str, device: str) -> str:
        """The member leaves the group, or joins it again: left, joined, or stranger."""


class Live:
    """The present, for one event loop."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._turns: dict[tuple[str, str], dict[str, Any]] = {}
        self._registered: dict[str, int] = {}
        self._ringing: dict[tuple[str, str], tuple[str, float]] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def registered(self, aors: Sequence[str]) -> dict[str, int] | None:
        """AOR -> contacts, of these; None: of one of them it was never known here."""
        if not aors:
            return None
        with suppress(DatabaseError):
            self._registered |= await self._shared.registered(aors)
        if not all(aor in self._registered for aor in aors):
            return None
        return {aor: self._registered[aor] for aor in aors}

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        """Let this call be the one that rings in the group; False: another does. `seconds`: no call rings longer."""
        key, now = (account, group), asyncio.get_running_loop().time()
        try:
            free = await self._shared.claim(account, group, call_id, seconds)
        except DatabaseError:
            # Calls of other nodes are not seen then.
            held, until = self._ringing.get(key, (call_id, 0.0))
            free = held == call_id or until <= now
        if free:
            self._ringing[key] = (call_id, now + seconds)
        return free

    async def release(self, account: str, group: str, call_id: str) -> None:
        """This call rings in the group no more."""
        if self._ringing.get((account, group), ("", 0.0))[0] == call_id:
            del self._ringing[account, group]
        with suppress(DatabaseError):
            await self._shared.release(account, group, call_id)

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        """A notice for clients; without the database there is none."""
        with suppress(DatabaseError):
            await self._shared.tell(account, group, call_id, notice)

    async def membership(self, account: str, group: str, user: str, device: str) -> str:
        """The member leaves the group, or joins it again: left, joined, or stranger. DatabaseError: neither."""
        return await self._shared.membership(account, group, user, device)

    async def turned(self, account: str, group: str, decide: Callable[[Turn], tuple[_T, Turn | None]]) -> _T:
        """What `decide` makes of the group's memory. It runs again when another node changed the memory meanwhile."""
        key = (account, group)
        async with self._locks[key]:
            for _ in range(_TRIES):
                try:
                    before = self._turns[key] = await self._shared.turn(account, group)
                    found, turn = decide(Turn.of(before))
                    if turn is None or await self._shared.keep_turn(account, group, before, _memory(turn)):
                        break
                    # Out of step with the other node, or it would be first each time.
                    await asyncio.sleep(random.uniform(0, _STEP_S))  # noqa: S311
                except DatabaseError:
                    found, turn = decide(Turn.of(self._turns.get(key, {})))
                    break
            if turn is not None:
                self._turns[key] = _memory(turn)
            return found


def _memory(turn: Turn) -> dict[str, Any]:
    return {name: value for name, value in asdict(turn).items() if value}
