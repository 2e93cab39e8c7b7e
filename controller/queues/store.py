"""Who waits, rings and talks, in PostgreSQL. The only psycopg file of the room.

Decisions about a queue are made one at a time (advisory lock of the transaction), by whichever process is there; a
member is reserved by the primary key of `control.queue_offers`, so that two queues cannot have one member either. Every
transaction is short. A caller and its reservations live by a lease that its session renews (`heartbeat`); `sweep` ends
what nobody renews. Every method raises DatabaseError; then nothing was done, or all of it: each may be called again.

A change somebody may wait for is told on channel `dialplane_queue`: `account/queue` (claim: it decides for everybody),
or `account/queue/caller id` (this caller has an offer: take): `notices()` hears it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from controller.errors import DatabaseError, InputError
from controller.queues import statements as sql
from controller.queues import waiting
from controller.queues.engine import Decision, Offer, Rival, offer
from controller.queues.model import Caller, Member, Queue, Setup, skills
from controller.queues.waiting import Joined, Ringing, Swept, Visit
from controller.wire.postgresql import HELD

CHANNEL = "dialplane_queue"
LEASE_S = 15.0
# Sessions renew every 4 s: who calls again need not wait for the end of the lease.
LATE_S = 6.0
# An offer that the session of its caller does not take in this time is withdrawn.
TAKE_S = 5.0
_CALLBACK_S = 24 * 3600
_KEPT_S = 24 * 3600
_ROUNDS = 5


class Store:
    """One connection, one transaction at a time. `lease_s`, `take_s`: see LEASE_S, TAKE_S."""

    def __init__(
        self, connection: AsyncConnection[DictRow], *, lease_s: float = LEASE_S, take_s: float = TAKE_S
    ) -> None:
        self._connection = connection
        self._lease_s = lease_s
        self._take_s = take_s
        self._one = asyncio.Lock()

    @classmethod
    async def connect(
        cls, conninfo: str, *, lease_s: float = LEASE_S, take_s: float = TAKE_S, timeout_s: float = 2.0
    ) -> Store:
        """A store with a connection of its own; a statement that takes longer than `timeout_s` fails."""
        try:
            connection = await AsyncConnection.connect(
                conninfo,
                row_factory=dict_row,
                application_name="dialplane queues",
                # What is lost with the last moments of a database: who just came asks again with the same ticket.
                options=f"-c statement_timeout={int(timeout_s * 1000)} -c synchronous_commit=off",
                **HELD,
            )
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None
        return cls(connection, lease_s=lease_s, take_s=take_s)

    @property
    def closed(self) -> bool:
        """The connection is gone: nothing will ever be answered here."""
        return self._connection.closed

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    # --------------------------------------------------------------------------------------------- come and go

    async def join(self, setup: Setup, visit: Visit) -> Joined:
        """A caller comes. The same ticket again: the same place, or how the visit ended.

        Who was lost and calls again within `rejoin_s` is a new visit that has the old place; so is who calls again when
        the session of the old one was not renewed for LATE_S. Who may not wait is told where to go.
        """
        queue = _queue(setup, visit.queue)
        async with self._transaction():
            await self._lock(visit.account, visit.queue)
            values = _values(visit) | {"rejoin_s": queue.rejoin_s}
            found = await self._row(sql.FIND, values | {"late_s": LATE_S})
            if found is not None and found["ticket"] == visit.ticket:
                return await self._again(queue, visit, found)
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

    async def _succeeds(self, lost: int, newer: int) -> None:
        """One who was lost called again: the newer visit has the place."""
        await self._run(sql.SUCCEED, {"lost": lost, "newer": newer})
        await self._event(lost, "rejoined", detail=f"its place is that of caller {newer}")
        await self._event(newer, "rejoined", detail=f"has the place of caller {lost}")

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

    async def call_back(self, caller: int, number: str) -> bool:
        """A caller hangs up and wants to be called at that number; it keeps its place. False: it waits no more."""
        async with self._transaction():
            row = await self._row(sql.CALL_BACK, {"id": caller, "number": number})
            if row is not None:
                await self._event(caller, "callback", detail=number)
                await self._tell(row["account"], row["queue"])
            return row is not None

    # ------------------------------------------------------------------------------------------ who rings for whom

    async def claim(self, setup: Setup, name: str) -> list[int]:
        """Decide for everybody who waits in a queue, and reserve; gives the callers who have an offer now.

        Their sessions are told, and take it. Of a caller who is called back, the process that claimed is the session.
        """
        queue = _queue(setup, name)
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
            rivals = [Rival(one, *await self._next(setup, one, now)) for one in _heavier(setup, queue)]
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
        devices = _devices(setup, queue)
        values = {"account": setup.account, "queue": queue.name, "now": now}
        rows = await self._all(
            sql.FREE, values | _texts(devices) | {"round": queue.strategy == "round_robin"}
        )
        members = {row["member"]: _member(row, devices) for row in rows}
        free = sum(1 for row in rows if not row["reserved"])
        if not free:
            return [], members, 0
        found = await self._all(sql.NEXT, values | {"free": free, "lease_s": self._lease_s})
        callers = [_caller(row) for row in found]
        return callers, members, await self._alerted(setup, queue, now) if callers else 0

    async def _alerted(self, setup: Setup, queue: Queue, now: datetime) -> int:
        """Telephones that have a place of prioritised alerting."""
        if queue.alert_limit is None:
            return 0
        values = {"account": setup.account, "queue": queue.name, "now": now, "pace_ms": queue.alert_pace_ms}
        row = await self._row(sql.ALERTED, values | _texts(_devices(setup, queue)))
        return int(row["alerted"]) if row else 0

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
        return Ringing(
            caller, {row["member"]: tuple(row["legs"]) for row in rows}, rows[0]["callback_number"]
        )

    async def answered(self, caller: int, member: str) -> bool:
        """A member took the call; the others who rang are free. False: the caller is gone, or another took it."""
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
            await self._run(sql.STATS_ANSWERED, _key(row, member))
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
                await self._event(caller, "refused", member=member)
            return bool(rang)

    async def ended(self, caller: int, queue: Queue, member: str = "") -> bool:
        """The talk (with this member) is over, the member wraps up. False: it was over, or never began."""
        async with self._transaction():
            row = await self._locked(caller)
            if row is None or row["state"] != "talking" or member not in ("", row["member"]):
                return False
            await self._end(row, queue)
            return True

    async def _end(self, row: DictRow, queue: Queue) -> None:
        await self._run(sql.ENDED, {"id": row["id"]})
        await self._run(sql.STATS_ENDED, _key(row, row["member"]) | {"wrap_up_s": queue.wrap_up_s})
        await self._run(sql.EVENT_ENDED, {"id": row["id"], "detail": None})
        await self._free(row)

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
                if row["state"] == "talking":
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

    # --------------------------------------------------------------------------------------------------- looks

    async def leaving(self, setup: Setup, name: str) -> dict[int, waiting.Way]:
        """Callers who have to go on, and where to (see `waiting.leaves`)."""
        queue = _queue(setup, name)
        async with self._transaction():
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
            clock = await self._row(sql.CLOCK, {})
            members = await self._members(setup, queue) if queue.leave_empty else {}
        ways = {
            row["id"]: waiting.leaves(queue, _caller(row), members, clock["now"])
            for row in rows
            if clock is not None and row["state"] == "waiting"
        }
        return {caller: way for caller, way in ways.items() if way is not None}

    async def told(self, setup: Setup, name: str) -> dict[int, waiting.Told]:
        """What to tell each caller who waits of its position."""
        queue = _queue(setup, name)
        async with self._transaction():
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
            talk = await self._row(sql.TALK, {"account": setup.account, "queue": name})
            members = await self._members(setup, queue)
        return waiting.told(queue, map(_caller, rows), members, talk["talk_s"] if talk else None)

    async def look(self, setup: Setup, name: str) -> tuple[Decision, dict[int, int], dict[str, Member]]:
        """What `claim` would decide now, the position of each caller who waits, and the members; reserves nothing."""
        queue = _queue(setup, name)
        async with self._transaction():
            clock = await self._row(sql.CLOCK, {})
            if clock is None:
                raise DatabaseError("PostgreSQL: no clock")
            now = clock["now"]
            callers, members, alerted = await self._everybody(setup, queue, now)
            rivals = [Rival(one, *await self._everybody(setup, one, now)) for one in _heavier(setup, queue)]
            rows = await self._all(sql.LINE, {"account": setup.account, "queue": name})
        decided = offer(queue, callers, members, now, f"{setup.account}/{name}", rivals, alerted)
        return decided, waiting.positions(map(_caller, rows)), members

    async def _everybody(
        self, setup: Setup, queue: Queue, now: datetime
    ) -> tuple[list[Caller], dict[str, Member], int]:
        """All who wait, all members, and the telephones that are alerted."""
        values = {"account": setup.account, "queue": queue.name, "lease_s": self._lease_s}
        callers = [_caller(row) for row in await self._all(sql.WAITING, values)]
        return callers, await self._members(setup, queue), await self._alerted(setup, queue, now)

    async def _somebody(self, setup: Setup, queue: Queue) -> dict[str, Member]:
        """One member who is on duty, or none."""
        devices = _devices(setup, queue)
        row = await self._row(sql.ON_DUTY, {"account": setup.account} | _texts(devices))
        return {row["member"]: Member(devices[row["member"]])} if row else {}

    async def _members(self, setup: Setup, queue: Queue) -> dict[str, Member]:
        devices = _devices(setup, queue)
        rows = await self._all(sql.MEMBERS, {"account": setup.account, "queue": queue.name} | _texts(devices))
        return {row["member"]: _member(row, devices) for row in rows}

    # ---------------------------------------------------------------------------------------------------- wires

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[None]:
        """One statement, which is a transaction by itself."""
        async with self._one:
            try:
                yield
            except psycopg.Error as error:
                raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._statement(), self._connection.transaction():
            yield

    async def _lock(self, account: str, queue: str) -> datetime:
        """Wait until it is our turn to decide about a queue; the time then."""
        row = await self._row(sql.LOCK, {"name": f"dialplane.queue:{account}/{queue}"})
        if row is None:
            raise DatabaseError("PostgreSQL: no clock")
        now: datetime = row["now"]
        return now

    async def _locked(self, caller: int) -> DictRow | None:
        return await self._row(sql.FOR_UPDATE, {"id": caller})

    async def _free(self, row: Mapping[str, Any], but: str = "", only: str = "") -> list[str]:
        """The members who rang for a caller are free; whoever waits in the account may want them, or the place."""
        values = {"id": row["id"], "account": row["account"], "but": but, "only": only}
        found = await self._row(sql.LET_GO, values)
        return list(found["members"]) if found else []

    async def _event(
        self, caller: int, event: str, *, member: str | None = None, detail: str | None = None
    ) -> None:
        await self._events(caller, [(event, member)], detail)

    async def _events(
        self, caller: int, events: Sequence[tuple[str, str | None]], detail: str | None = None
    ) -> None:
        values = {"events": [event for event, _ in events], "members": [member for _, member in events]}
        await self._run(sql.EVENTS, values | {"id": caller, "detail": detail})

    async def _tell(self, account: str, queue: str, caller: int | None = None) -> None:
        said = f"{account}/{queue}" + (f"/{caller}" if caller is not None else "")
        await self._run(sql.NOTIFY, {"said": said})

    async def _run(self, statement: str, values: Mapping[str, Any]) -> None:
        await self._connection.execute(statement.encode(), values)

    async def _all(self, statement: str, values: Mapping[str, Any]) -> list[DictRow]:
        return await (await self._connection.execute(statement.encode(), values)).fetchall()

    async def _row(self, statement: str, values: Mapping[str, Any]) -> DictRow | None:
        return await (await self._connection.execute(statement.encode(), values)).fetchone()


def _values(visit: Visit) -> dict[str, Any]:
    return asdict(visit) | {"skills": list(visit.skills)}


def _key(row: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Of a row of queue_member_stats."""
    return {"account": row["account"], "queue": row["queue"], "member": member}


def _caller(row: Mapping[str, Any]) -> Caller:
    return Caller(
        row["id"],
        row["joined_at"],
        row["priority"],
        skills(row["skills"]),
        row["retry_at"],
        frozenset(row["tried"]),
        row["state"] == "callback",
    )


def _devices(setup: Setup, queue: Queue) -> dict[str, tuple[str, ...]]:
    """The members of a queue, and their devices."""
    return {place.user: setup.devices.get(place.user, ()) for place in queue.members}


def _texts(devices: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """As statements take them."""
    return {
        "users": " ".join(devices),
        "owners": " ".join(user for user, aors in devices.items() for _ in aors),
        "aors": " ".join(aor for aors in devices.values() for aor in aors),
    }


def _member(row: DictRow, devices: Mapping[str, tuple[str, ...]]) -> Member:
    values = dict(row)
    return Member(devices=devices[values.pop("member")], **values)


def _queue(setup: Setup, name: str) -> Queue:
    if name not in setup.queues:
        raise InputError(f"account {setup.account} has no queue {name}; publish it first (dialplane apply)")
    return setup.queues[name]


def _heavier(setup: Setup, queue: Queue) -> list[Queue]:
    """Queues that weigh more and share members."""
    users = {place.user for place in queue.members}
    return [
        one
        for one in setup.queues.values()
        if one.weight > queue.weight and any(place.user in users for place in one.members)
    ]


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def notices(conninfo: str) -> AsyncIterator[str]:
    """What is told on the channel, as long as the connection lasts. DatabaseError: it is over."""
    try:
        async with await AsyncConnection.connect(
            conninfo, autocommit=True, connect_timeout=5, application_name="dialplane queues",
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
        ) as connection:  # fmt: skip
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None
