"""What AGI servers share in PostgreSQL: turns, calls and members of groups, who is registered, that they live.
The only psycopg file here.

One connection is held and made again in the background. A call never waits for it longer than DEADLINE_S: with the
database away, or slow, it gets a DatabaseError at once and goes on with what this process remembers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from controller.errors import DatabaseError
from controller.policy.notices import Notice
from controller.wire.postgresql import held

DEADLINE_S = 0.2
# Nobody rings meanwhile: a caller who leaves a group hears whether that was done.
MEMBERSHIP_S = 1.5
_BACKOFF_S = (0.5, 10.0)
_LOOK_S = 1.0

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_TURN = "SELECT memory FROM control.group_turns WHERE account = %s AND group_name = %s"
# Of two who saw the same memory one writes: whoever comes second finds another one, and no row comes back.
_KEEP = """
INSERT INTO control.group_turns AS t (account, group_name, memory) VALUES (%s, %s, %s)
ON CONFLICT (account, group_name) DO UPDATE SET memory = excluded.memory, changed_at = clock_timestamp()
 WHERE t.memory = %s
RETURNING 1"""
# One statement: of two calls that come at once one finds the other's row.
_CLAIM = """
INSERT INTO control.group_calls AS c (account, group_name, call_id, until)
VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (account, group_name) DO UPDATE SET call_id = excluded.call_id, until = excluded.until
 WHERE c.call_id = excluded.call_id OR c.until <= clock_timestamp()
RETURNING 1"""
_RELEASE = "DELETE FROM control.group_calls WHERE account = %s AND group_name = %s AND call_id = %s"
_TELL = """
INSERT INTO control.group_notices (account, group_name, call_id, outcome, member, caller, caller_user, called)
VALUES (%s, %s, %s, %s, nullif(%s, ''), nullif(%s, ''), nullif(%s, ''), nullif(%s, ''))"""
_MEMBERSHIP = "SELECT control.change_membership(%s, %s, %s, %s)"
# A device that nobody ever saw has no row. Where an edge cannot be asked, only what other edges know of it counts.
_REGISTERED = """
SELECT asked.aor, coalesce(sum(r.contacts), 0)::int
  FROM unnest(%s::text[]) AS asked (aor) LEFT JOIN control.registered AS r ON r.aor = asked.aor
 GROUP BY asked.aor
HAVING coalesce(sum(r.contacts), 0) > 0 OR NOT coalesce(bool_or(r.state = 'unknown'), false)"""
_REPORT = """
INSERT INTO control.agi_state (node, started_at, decisions, failures, error) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (node) DO UPDATE SET (started_at, heard_at, decisions, failures, error)
     = (excluded.started_at, clock_timestamp(), excluded.decisions, excluded.failures, excluded.error)"""


class Report(NamedTuple):
    """A row of control.agi_state."""

    node: str
    started_at: datetime
    decisions: int
    failures: dict[str, int]
    error: str | None


class Store:
    """The database, for one event loop. Every method but `run`, `membership` raises DatabaseError within DEADLINE_S."""

    def __init__(self, conninfo: str, node: str) -> None:
        self._conninfo = conninfo
        self._node = node
        self._connection: AsyncConnection | None = None
        self._leaving: set[asyncio.Task[Any]] = set()

    @property
    def connected(self) -> bool:
        """A connection stands, as far as is known."""
        return self._connection is not None

    async def connect(self) -> None:
        """One attempt. DatabaseError: there is no connection."""
        try:
            self._connection = await self._connect()
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def run(self) -> None:
        """Keep a connection, until cancelled."""
        delay_s, most_s = _BACKOFF_S
        said = ""
        try:
            while True:
                if self._connection is None:
                    try:
                        await self.connect()
                    except DatabaseError as error:
                        if str(error) != said:
                            log.warning("%s; turns of groups are remembered by this process alone", error)
                        said = str(error)
                        await asyncio.sleep(delay_s)
                        delay_s = min(delay_s * 2, most_s)
                        continue
                    delay_s, said = _BACKOFF_S[0], ""
                    log.info("connected to PostgreSQL")
                await asyncio.sleep(_LOOK_S)
        finally:
            await self.close()

    async def turn(self, account: str, group: str) -> dict[str, Any]:
        """The memory of a group; empty: none yet."""
        row = await self._ask(lambda connection: _one(connection, _TURN, (account, group)))
        return dict(row[0]) if row else {}

    async def keep_turn(
        self, account: str, group: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bool:
        """Make `before` `after`; False: it is not `before` any more, another call was first."""
        values = (account, group, Jsonb(after), Jsonb(before))
        return await self._ask(lambda connection: _one(connection, _KEEP, values)) is not None

    async def registered(self, aors: Sequence[str]) -> dict[str, int]:
        """How many contacts each of these has, over all edges; without those of which that is not known."""
        return dict(await self._ask(lambda connection: _all(connection, _REGISTERED, (list(aors),))))

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        """Let this call be the one that rings in the group, for so long at most; False: another one is."""
        values = (account, group, call_id, seconds)
        return await self._ask(lambda connection: _one(connection, _CLAIM, values)) is not None

    async def release(self, account: str, group: str, call_id: str) -> None:
        """This call rings in the group no more."""
        await self._ask(lambda connection: connection.execute(_RELEASE, (account, group, call_id)))

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        """A row of control.group_notices."""
        values = (account, group, call_id, *notice[:5])
        await self._ask(lambda connection: connection.execute(_TELL, values))

    async def membership(self, account: str, group: str, user: str, device: str) -> str:
        """The member leaves the group, or joins it again: left, joined, or stranger."""

        async def change(connection: AsyncConnection) -> tuple[Any, ...] | None:
            # The server gives up first: then nothing was changed.
            await connection.execute(f"SET statement_timeout = '{MEMBERSHIP_S}s'".encode())
            return await _one(connection, _MEMBERSHIP, (account, group, user, device))

        # A connection of its own: it waits for whoever publishes, and calls must not wait with it.
        try:
            connection = await asyncio.wait_for(self._connect(), MEMBERSHIP_S)
        except (psycopg.Error, TimeoutError) as error:
            raise DatabaseError(f"PostgreSQL: {str(error) or 'no connection'}") from None
        try:
            row = await self._ask_on(connection, change, MEMBERSHIP_S + DEADLINE_S)
        finally:
            await connection.close()
        return str(row[0]) if row else ""

    async def report(self, report: Report) -> None:
        """Say that this server lives."""
        values = (*report[:3], Jsonb(report.failures), report.error)
        await self._ask(lambda connection: connection.execute(_REPORT, values))

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            application_name=f"dialplane agi {self._node}",
            **held(self._conninfo),
        )

    async def _ask(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T:
        connection = self._connection
        if connection is None:
            raise DatabaseError("PostgreSQL: not connected")
        return await self._ask_on(connection, work, DEADLINE_S)

    async def _ask_on(
        self,
        connection: AsyncConnection,
        work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]],
        deadline_s: float,
    ) -> _T:
        task = asyncio.create_task(work(connection))
        # Not a timeout around the query: cancelling one waits for an answer of the server, which may be frozen.
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
        if not done:
            self._leave(connection, task)
            raise DatabaseError(f"PostgreSQL: no answer in {deadline_s:g} s")
        try:
            return task.result()
        except psycopg.Error as error:
            if connection.closed and self._connection is connection:
                self._connection = None
            raise DatabaseError(f"PostgreSQL: {_first_line(error)}") from None

    def _leave(self, connection: AsyncConnection, task: asyncio.Task[Any]) -> None:
        """Give up a connection that does not answer; it is closed when the query ends, however long that takes."""
        if self._connection is connection:
            self._connection = None

        async def end() -> None:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            await connection.close()

        leaving = asyncio.create_task(end())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def _one(connection: AsyncConnection, sql: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
    return await (await connection.execute(sql.encode(), values)).fetchone()


async def _all(connection: AsyncConnection, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    return await (await connection.execute(sql.encode(), values)).fetchall()
