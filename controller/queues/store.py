"""Who waits, rings and talks, in PostgreSQL.

Decisions about a queue are made one at a time (advisory lock of the transaction), by whichever process is there; a
member is reserved by the primary key of `control.queue_offers`, so that two queues cannot have one member either. Every
transaction is short. A caller and its reservations live by a lease that its session renews (`heartbeat`); `sweep` ends
what nobody renews. Every method raises DatabaseError; then nothing was done, or all of it: each may be called again.

A change somebody may wait for is told on channel `dialplane_queue`: `account/queue` (claim: it decides for everybody),
or `account/queue/caller id` (this caller has an offer: take): `notices()` hears it.
"""

from __future__ import annotations

from datetime import datetime

from controller.errors import DatabaseError
from controller.queues import statements as sql
from controller.queues import waiting
from controller.queues.engine import Decision, Rival, offer
from controller.queues.model import Caller, Member, Queue, Setup
from controller.queues.offers import Offers
from controller.queues.rows import caller_of, heavier, notices, queue_of
from controller.queues.visits import Visits

__all__ = ["Store", "notices"]


class Store(Visits, Offers):
    """Visits and offers, and looks at them. One connection, one transaction at a time."""

    async def leaving(self, setup: Setup, name: str) -> dict[int, waiting.Way]:
        """Callers who have to go on, and where to (see `waiting.leaves`)."""
        queue = queue_of(setup, name)
        async with self._transaction():
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
            clock = await self._row(sql.CLOCK, {})
            members = await self._members(setup, queue) if queue.leave_empty else {}
        ways = {
            row["id"]: waiting.leaves(queue, caller_of(row), members, clock["now"])
            for row in rows
            if clock is not None and row["state"] == "waiting"
        }
        return {caller: way for caller, way in ways.items() if way is not None}

    async def told(self, setup: Setup, name: str) -> dict[int, waiting.Told]:
        """What to tell each caller who waits of its position."""
        queue = queue_of(setup, name)
        async with self._transaction():
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
            talk = await self._row(sql.TALK, {"account": setup.account, "queue": name})
            members = await self._members(setup, queue)
        return waiting.told(queue, map(caller_of, rows), members, talk["talk_s"] if talk else None)

    async def look(self, setup: Setup, name: str) -> tuple[Decision, dict[int, int], dict[str, Member]]:
        """What `claim` would decide now, the position of each caller who waits, and the members; reserves nothing."""
        queue = queue_of(setup, name)
        async with self._transaction():
            clock = await self._row(sql.CLOCK, {})
            if clock is None:
                raise DatabaseError("PostgreSQL: no clock")
            now = clock["now"]
            callers, members, alerted = await self._everybody(setup, queue, now)
            rivals = [Rival(one, *await self._everybody(setup, one, now)) for one in heavier(setup, queue)]
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
        decided = offer(queue, callers, members, now, f"{setup.account}/{name}", rivals, alerted)
        return decided, waiting.positions(map(caller_of, rows)), members

    async def _everybody(
        self, setup: Setup, queue: Queue, now: datetime
    ) -> tuple[list[Caller], dict[str, Member], int]:
        """All who wait, all members, and the telephones that are alerted."""
        values = {"account": setup.account, "queue": queue.name, "lease_s": self._lease_s}
        callers = [caller_of(row) for row in await self._all(sql.WAITING, values)]
        return callers, await self._members(setup, queue), await self._alerted(setup, queue, now)
