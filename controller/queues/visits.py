"""Callers come, go and are lost: a visit of a queue from its first row to its outcome, and the leases it lives by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from controller.errors import DatabaseError
from controller.queues import statements as sql
from controller.queues import waiting
from controller.queues.model import Queue, Setup
from controller.queues.rows import Rows, called_back, queue_of
from controller.queues.waiting import Joined, Swept, Visit

if TYPE_CHECKING:
    from psycopg.rows import DictRow

# Sessions renew every 4 s: who calls again need not wait for the end of the lease.
LATE_S = 6.0
_CALLBACK_S = 24 * 3600
_KEPT_S = 24 * 3600


class Visits(Rows):
    """Of the store: who waits."""

    async def join(self, setup: Setup, visit: Visit) -> Joined:
        """A caller comes. The same ticket again: the same place, or how the visit ended.

        Who was lost and calls again within `rejoin_s` is a new visit that has the old place; so is who calls again when
        the session of the old one was not renewed for LATE_S. Who waits to be called back and calls again goes on with
        its visit, on the telephone. Who may not wait is told where to go.
        """
        queue = queue_of(setup, visit.queue)
        async with self._transaction():
            await self._lock(visit.account, visit.queue)
            values = _values(visit) | {"rejoin_s": queue.rejoin_s}
            found = await self._row(sql.FIND, values | {"late_s": LATE_S})
            if found is not None and found["ticket"] == visit.ticket:
                return await self._again(queue, visit, found)
            if found is not None and found["state"] == "callback":
                await self._run(sql.REJOIN, values | {"id": found["id"]})
                await self._event(found["id"], "rejoined", detail="called again before it was called back")
                await self._tell(visit.account, visit.queue)
                return Joined(found["id"], None, again=True)
            way = None if found else await self._goes_elsewhere(setup, queue)
            outcome, why = (way.outcome, way.why) if way else (None, None)
            made = await self._row(sql.JOIN, values | {"outcome": outcome, "why": why})
            if made is None:
                raise DatabaseError(f"queue {visit.queue} of {visit.account}: the caller was not stored")
            if found is not None:
                if found["outcome"] is None:
                    await self._run(sql.LEAVE, {"id": found["id"], "outcome": "lost"})
                    await self._free(found)
                await self._succeeds(found["id"], made["id"])
            return Joined(made["id"], way, again=found is not None)

    async def _goes_elsewhere(self, setup: Setup, queue: Queue) -> waiting.Way | None:
        members = {} if queue.join_empty else await self._somebody(setup, queue)
        counted = await self._row(sql.COUNT, {"account": setup.account, "queue": queue.name})
        return waiting.joins(queue, counted["callers"] if counted else 0, members)

    async def _again(self, queue: Queue, visit: Visit, row: DictRow) -> Joined:
        """The dialplan asks again, so what the session before it did is over: no member rings, nobody talks."""
        if row["state"] == "talking":
            await self._end(row, queue)
        outcome = "answered" if row["state"] == "talking" else row["outcome"]
        if outcome not in (None, "lost"):
            steps = {"full": queue.on_full, "empty": queue.on_empty, "timeout": queue.on_timeout}
            way = waiting.Way(outcome, steps.get(outcome, "hangup"), "this visit is over")
            return Joined(row["id"], way, again=True)
        await self._run(sql.REJOIN, _values(visit) | {"id": row["id"]})
        if outcome == "lost":
            await self._event(row["id"], "rejoined")
        await self._free(row)
        return Joined(row["id"], None, again=True)

    async def leave(self, caller: int, outcome: str) -> str:
        """A caller goes; gives how the visit ended, which is what was first: nothing happens twice."""
        async with self._transaction():
            row = await self._locked(caller)
            if row is None:
                return "lost"
            if row["state"] in ("gone", "talking"):
                return str(row["outcome"] or "answered")
            await self._run(sql.LEAVE, {"id": caller, "outcome": outcome})
            await self._free(row)
            return outcome

    async def call_back(self, caller: int, number: str, device: str | None = None) -> bool:
        """A caller hangs up and wants to be called at that E.164 number, or where the user of that device is; it keeps
        its place. False: it waits no more."""
        async with self._transaction():
            row = await self._row(sql.CALL_BACK, {"id": caller, "number": number, "device": device})
            if row is not None:
                await self._event(caller, "callback", detail=number)
                await self._free(row)
                await self._tell(row["account"], row["queue"])
            return row is not None

    # ------------------------------------------------------------------------------------------------- leases

    async def heartbeat(self, callers: Iterable[int]) -> set[int]:
        """These callers are still there, and their members ring; gives those who are. The others must join again."""
        async with self._statement():
            rows = await self._all(sql.HEARTBEAT, {"ids": sorted(callers), "lease_s": self._lease_s})
        return {row["id"] for row in rows}

    async def sweep(self) -> Swept:
        """End what nobody renewed, of killed sessions or nodes: callers are `lost` and may come again, members free."""
        async with self._transaction():
            if not (await self._row(sql.SWEEPS, {}) or {}).get("mine"):
                return Swept(0, 0, ())
            late = await self._all(sql.LATE, {"lease_s": self._lease_s, "callback_s": _CALLBACK_S})
            freed = 0
            for row in late:
                freed += len(await self._free(row))
                if called_back(row):
                    queue = await self._published(row["account"], row["queue"])
                    await self._unanswered(row, queue, "its session was lost")
                elif row["state"] == "talking":
                    await self._run(sql.ENDED_UNSEEN, {"id": row["id"]})
                    await self._run(sql.EVENT_ENDED, {"id": row["id"], "detail": "its session was lost"})
                elif row["callback_number"] and row["state"] == "ringing":
                    await self._run(sql.RING_NOT, {"ids": [row["id"]]})
                else:
                    outcome = "unreached" if row["callback_number"] else "lost"
                    await self._run(sql.LEAVE, {"id": row["id"], "outcome": outcome})
            for row in await self._all(sql.UNTAKEN, {}):
                freed += len(await self._free(row))
                await self._run(sql.WITHDRAWN, {"id": row["id"], "take_s": self._take_s})
            await self._run(sql.FORGET, {"kept_s": _KEPT_S})
            waits = await self._all(sql.CALLBACKS, {})
        await self._succeed()
        return Swept(len(late), freed, tuple((row["account"], row["queue"]) for row in waits))

    async def _succeed(self) -> None:
        """Who called again before its loss was noticed has the old place."""
        async with self._transaction():
            done: set[int] = set()
            for row in await self._all(sql.SUCCESSORS, {}):
                if not done & {row["lost"], row["newer"]}:
                    await self._succeeds(row["lost"], row["newer"])
                    done |= {row["lost"], row["newer"]}


def _values(visit: Visit) -> dict[str, Any]:
    return asdict(visit) | {"skills": list(visit.skills)}
