"""A connection to the rows of queues: transactions, locks, what is told and noted, and rows as values. The only psycopg
file of the room.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from controller.errors import DatabaseError, InputError
from controller.queues import statements as sql
from controller.queues.model import Caller, Member, Queue, Setup, skills
from controller.queues.model import queue as parsed
from controller.wire.postgresql import held

CHANNEL = "dialplane_queue"
LEASE_S = 15.0
# An offer that the session of its caller does not take in this time is withdrawn.
TAKE_S = 5.0
# A member who said no is offered nobody for so long, whatever the rows say: else telephones that refuse at once are
# rung as fast as the network can.
REST_S = 1.0


class Rows:
    """One connection, one transaction at a time. `lease_s`, `take_s`, `rest_s`: see LEASE_S, TAKE_S, REST_S."""

    def __init__(
        self,
        connection: AsyncConnection[DictRow],
        *,
        lease_s: float = LEASE_S,
        take_s: float = TAKE_S,
        rest_s: float = REST_S,
    ) -> None:
        self._connection = connection
        self._lease_s = lease_s
        self._take_s = take_s
        self._rest_s = rest_s
        self._one = asyncio.Lock()

    @classmethod
    async def connect(cls, conninfo: str, *, timeout_s: float = 2.0, **times_s: float) -> Self:
        """A store with a connection of its own; a statement that takes longer than `timeout_s` fails."""
        # What is lost with the last moments of a database: who just came asks again with the same ticket.
        ours = f"-c statement_timeout={int(timeout_s * 1000)} -c synchronous_commit=off"
        try:
            made = held(conninfo)
            connection = await AsyncConnection.connect(
                conninfo,
                autocommit=True,
                row_factory=dict_row,
                application_name="dialplane queues",
                **made | {"options": f"{made['options']} {ours}"},
            )
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None
        return cls(connection, **times_s)

    @property
    def closed(self) -> bool:
        """The connection is gone: nothing will ever be answered here."""
        return self._connection.closed

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

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

    # ---------------------------------------------------------------------------------------------- who is there

    async def _somebody(self, setup: Setup, queue: Queue) -> dict[str, Member]:
        """One member who is on duty, or none."""
        devices = devices_of(setup, queue)
        row = await self._row(sql.ON_DUTY, {"account": setup.account} | texts(devices))
        return {row["member"]: Member(devices[row["member"]])} if row else {}

    async def _members(self, setup: Setup, queue: Queue) -> dict[str, Member]:
        devices = devices_of(setup, queue)
        rows = await self._all(sql.MEMBERS, {"account": setup.account, "queue": queue.name} | texts(devices))
        return {row["member"]: member_of(row, devices) for row in rows}

    async def _alerted(self, setup: Setup, queue: Queue, now: datetime) -> int:
        """Telephones that have a place of prioritised alerting."""
        if queue.alert_limit is None:
            return 0
        values = {"account": setup.account, "queue": queue.name, "now": now, "pace_ms": queue.alert_pace_ms}
        row = await self._row(sql.ALERTED, values | texts(devices_of(setup, queue)))
        return int(row["alerted"]) if row else 0

    async def _end(self, row: DictRow, queue: Queue) -> None:
        await self._run(sql.ENDED, {"id": row["id"]})
        await self._run(
            sql.STATS_ENDED, stats_key(row, row["member"]) | {"wrap_up_s": queue.wraps_up_s(row["member"])}
        )
        await self._run(sql.EVENT_ENDED, {"id": row["id"], "detail": None})
        await self._free(row)

    async def _unanswered(self, row: DictRow, queue: Queue, why: str) -> None:
        """A member waited in vain for who is called back."""
        tries = row["callback_tries"] + 1
        await self._run(sql.UNANSWERED, {"id": row["id"], "pause_s": queue.callback_pause_s})
        said = f"call {tries} of {queue.callback_tries}: {why}"
        await self._event(row["id"], "unanswered", member=row["member"], detail=said)
        if again := await self._row(sql.CALLED_AGAIN, {"id": row["id"]}):
            await self._run(sql.LEAVE, {"id": row["id"], "outcome": "lost"})
            await self._succeeds(row["id"], again["id"])
        elif tries >= queue.callback_tries:
            await self._run(sql.LEAVE, {"id": row["id"], "outcome": "unreached"})
        await self._free(row)

    async def _succeeds(self, old: int, newer: int) -> None:
        """One who was lost, or was to be called back, called again: the newer visit has the place."""
        await self._run(sql.SUCCEED, {"lost": old, "newer": newer})
        await self._event(old, "rejoined", detail=f"its place is that of caller {newer}")
        await self._event(newer, "rejoined", detail=f"has the place of caller {old}")

    async def _published(self, account: str, name: str) -> Queue:
        """A queue as published, for who holds no entries of the account; its defaults, where that cannot be read."""
        row = await self._row(sql.PUBLISHED, {"account": account, "key": f"{account}/queue/{name}"})
        try:
            return parsed(name, json.loads(row["value"])) if row else Queue(name)
        except (ValueError, TypeError):
            return Queue(name)


def stats_key(row: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Of a row of queue_member_stats."""
    return {"account": row["account"], "queue": row["queue"], "member": member}


def called_back(row: Mapping[str, Any]) -> bool:
    """A member waits for this caller to answer."""
    return row["state"] == "talking" and row["callback_number"] is not None and row["reached_at"] is None


def caller_of(row: Mapping[str, Any]) -> Caller:
    """From a row of queue_callers."""
    return Caller(
        row["id"],
        row["joined_at"],
        row["priority"],
        skills(row["skills"]),
        row["retry_at"],
        frozenset(row["tried"]),
        row["state"] == "callback",
        row["called_at"],
    )


def devices_of(setup: Setup, queue: Queue) -> dict[str, tuple[str, ...]]:
    """The members of a queue, and their devices."""
    return {place.user: setup.devices.get(place.user, ()) for place in queue.members}


def texts(devices: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """As statements take them."""
    return {
        "users": " ".join(devices),
        "owners": " ".join(user for user, aors in devices.items() for _ in aors),
        "aors": " ".join(aor for aors in devices.values() for aor in aors),
    }


def member_of(row: DictRow, devices: Mapping[str, tuple[str, ...]]) -> Member:
    """From a row of MEMBERS or FREE."""
    values = dict(row)
    return Member(devices=devices[values.pop("member")], **values)


def queue_of(setup: Setup, name: str) -> Queue:
    """A queue as this node holds it. InputError: it holds none."""
    if name not in setup.queues:
        raise InputError(f"account {setup.account} has no queue {name}; publish it first (dialplane apply)")
    return setup.queues[name]


def heavier(setup: Setup, queue: Queue) -> list[Queue]:
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
            conninfo, autocommit=True, application_name="dialplane queues", **held(conninfo)
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None
