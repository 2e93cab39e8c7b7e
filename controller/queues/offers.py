"""Who rings for whom: decisions reserved in the moment they are made, and what members do with an offer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from controller.queues import statements as sql
from controller.queues.engine import Offer, Rival, autopause, offer
from controller.queues.model import Caller, Member, Queue, Setup
from controller.queues.rows import (
    Rows,
    called_back,
    caller_of,
    devices_of,
    heavier,
    member_of,
    queue_of,
    stats_key,
    texts,
)
from controller.queues.waiting import Ringing

if TYPE_CHECKING:
    from psycopg.rows import DictRow

_ROUNDS = 5


class Offers(Rows):
    """Of the store: who rings and talks."""

    async def claim(self, setup: Setup, name: str) -> list[int]:
        """Decide for everybody who waits in a queue, and reserve; gives the callers who have an offer now.

        Their sessions are told, and take it. Of a caller who is called back, the process that claimed is the session.
        """
        queue = queue_of(setup, name)
        offered: list[int] = []
        # A round is a transaction: one that held members already and wanted others could block another one.
        for _ in range(_ROUNDS):
            made, whole = await self._round(setup, queue)
            offered += made
            if whole:
                break
        return offered

    async def _round(self, setup: Setup, queue: Queue) -> tuple[list[int], bool]:
        """One decision; False: other queues took members of it meanwhile, others may be free."""
        async with self._transaction():
            now = await self._lock(setup.account, queue.name)
            callers, members, alerted = await self._next(setup, queue, now)
            if not callers:
                return [], True
            rivals = [Rival(one, *await self._next(setup, one, now)) for one in heavier(setup, queue)]
            seed = f"{setup.account}/{queue.name}/{now.timestamp()}"
            decided = offer(queue, callers, members, now, seed, rivals, alerted)
            if not decided.offers:
                return [], True
            return await self._reserve(setup.account, queue.name, decided.offers)

    async def _next(
        self, setup: Setup, queue: Queue, now: datetime
    ) -> tuple[list[Caller], dict[str, Member], int]:
        """What a decision goes by and no more: members who are free, callers they could be offered, telephones that
        are alerted."""
        devices = devices_of(setup, queue)
        values = {"account": setup.account, "queue": queue.name, "now": now}
        rows = await self._all(sql.FREE, values | texts(devices) | {"round": queue.strategy == "round_robin"})
        members = {row["member"]: member_of(row, devices) for row in rows}
        free = sum(1 for row in rows if not row["reserved"])
        if not free:
            return [], members, 0
        found = await self._all(sql.NEXT, values | {"free": free, "lease_s": self._lease_s})
        callers = [caller_of(row) for row in found]
        return callers, members, await self._alerted(setup, queue, now) if callers else 0

    async def calls_back(self, callers: Iterable[int], node: str) -> list[int]:
        """Of callers who have an offer, those who hung up are called back from this node; gives them."""
        async with self._transaction():
            rows = await self._all(sql.CALLS_BACK, {"ids": sorted(callers), "node": node})
            return [row["id"] for row in rows]

    async def _reserve(self, account: str, queue: str, offers: Sequence[Offer]) -> tuple[list[int], bool]:
        """Callers whose offer holds; whether all did. Members another queue took meanwhile are left out."""
        legs: dict[tuple[str, int], list[str]] = {}
        for one in offers:
            for leg in one.legs:
                legs.setdefault((leg.member, one.caller), []).append(str(leg))
        why = {one.caller: one.why for one in offers}
        # In one order everywhere: two transactions that want the same members wait, they do not block each other.
        wanted = sorted(legs)
        held = await self._all(
            sql.OFFER,
            {
                "account": account,
                "queue": queue,
                "members": [member for member, _ in wanted],
                "callers": [caller for _, caller in wanted],
                "legs": [" ".join(legs[key]) for key in wanted],
                "why": [why[caller] for _, caller in wanted],
                "take_s": self._take_s,
            },
        )
        return sorted({row["caller_id"] for row in held}), len(held) == len(wanted)

    async def take(self, caller: int) -> Ringing | None:
        """The offer this caller has, for its session to ring; None: there is none, or it rings already."""
        async with self._statement():
            rows = await self._all(sql.TAKE, {"id": caller, "lease_s": self._lease_s})
        if not rows:
            return None
        rings = {row["member"]: tuple(row["legs"]) for row in rows}
        return Ringing(caller, rings, rows[0]["callback_number"], rows[0]["callback_device"])

    async def answered(self, caller: int, member: str) -> bool:
        """A member took the call; the others who rang are free. False: the caller is gone, or another took it.

        Who is called back is answered later: `reached`.
        """
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or (row["state"] == "gone" and row["outcome"] != "lost"):
                return False
            if row["state"] == "talking":
                return bool(row["member"] == member)
            if row["state"] == "gone":
                await self._event(caller, "rejoined", detail="it was thought lost")
            await self._run(sql.ANSWERED, {"id": caller, "member": member})
            await self._run(sql.HOLD, {"id": caller, "member": member})
            await self._run(sql.NOT_IGNORED, stats_key(row, member))
            if row["callback_number"]:
                await self._event(caller, "calling", member=member, detail=row["callback_number"])
            else:
                await self._run(sql.STATS_ANSWERED, stats_key(row, member))
                await self._event(caller, "answered", member=member)
            # Reserved until the talk is over: nobody else may ring this member, whenever it was read.
            await self._free(row, but=member)
            return True

    async def missed(self, caller: int, queue: Queue, refused: Iterable[str] = ()) -> list[str]:
        """Nobody took the call: those who rang are free, and others are tried after `retry_s`; gives who rang.

        `refused`: those who said no (busy, declined); the others let it ring.
        """
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or row["state"] != "ringing":
                return []
            rang = await self._free(row)
            said = set(refused)
            await self._run(sql.MISSED, {"id": caller, "rang": rang, "retry_s": queue.retry_s})
            for one in await self._rest(caller, rang, said):
                if why := autopause(queue, one["ignored"]):
                    await self._row(
                        sql.AUTOPAUSE, {"account": one["account"], "member": one["member"], "why": why}
                    )
                    await self._run(sql.NOT_IGNORED, stats_key(row, one["member"]))
            await self._events(
                caller, [("refused" if member in said else "ignored", member) for member in rang]
            )
            return rang

    async def refused(self, caller: int, member: str) -> bool:
        """A member said no, and none of its telephones rings any more: it is free, while others ring. False: it was."""
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or row["state"] != "ringing":
                return False
            rang = await self._free(row, only=member)
            if rang:
                await self._run(sql.REFUSED, {"id": caller, "rang": rang})
                await self._rest(caller, rang, rang)
                await self._event(caller, "refused", member=member)
            return bool(rang)

    async def _rest(self, caller: int, rang: Sequence[str], refused: Iterable[str]) -> list[DictRow]:
        """Who said no, or was not reached, is offered nobody for a moment (REST_S).

        Gives how many calls in a row each has let ring out.
        """
        values = {"id": caller, "rang": rang, "refused": list(refused), "rest_s": self._rest_s}
        return await self._all(sql.REST, values)

    async def ended(self, caller: int, queue: Queue, member: str = "") -> bool:
        """The talk (with this member) is over, the member wraps up. False: it was over, or never began."""
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or row["state"] != "talking" or member not in ("", row["member"]):
                return False
            if called_back(row):
                await self._unanswered(row, queue, "the member hung up before")
            else:
                await self._end(row, queue)
            return True

    async def calls(self, caller: int, call_id: str) -> None:
        """Members ring for a caller who is called back, by a call of its own."""
        async with self._statement():
            await self._run(sql.CALLED, {"id": caller, "call_id": call_id})

    async def reached(self, caller: int) -> bool:
        """Who is called back answered, and talks to the member. False: that is known, or over."""
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or not called_back(row):
                return False
            await self._run(sql.REACHED, {"id": caller})
            await self._run(sql.STATS_ANSWERED, stats_key(row, row["member"]))
            await self._event(caller, "answered", member=row["member"])
            return True

    async def unreached(self, caller: int, queue: Queue, why: str) -> bool:
        """Who is called back did not answer: the member is free at once, as if it had not been called.

        It is tried again after `callback_pause_s`, `callback_tries` times in all. False: reached, or this is known.
        """
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or not called_back(row):
                return False
            await self._unanswered(row, queue, why)
            return True
