"""Call events, call records and node commands in PostgreSQL: the only psycopg file of the room.

Connections are opened by the caller (async, autocommit); a lost one raises DatabaseError.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from controller.calls.facts import LINKED, NO_CALLS, NODE, Fact
from controller.calls.fold import Record, fold, recordings
from controller.errors import DatabaseError, NodeRefused, NodeUnreachable
from controller.wire.ami import OutcomeUnknown
from controller.wire.postgresql import held

Connection = psycopg.AsyncConnection[dict[str, Any]]
UNKNOWN = "unknown"
NOT_RUN = "not run"

_INSERT = """INSERT INTO control.call_events (call_id, node, at, event, detail, file_id, position)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
# The channel that began names the call (its uniqueid is the linkedid). After an attended transfer the channels of
# one call carry the linkedid of the other, so what those say of it joins nothing.
_CALLS_OF_LINKED = """SELECT DISTINCT call_id FROM control.call_events
    WHERE detail ? 'linkedid' AND detail ->> 'uniqueid' = detail ->> 'linkedid'
    AND node || '/' || (detail ->> 'linkedid') = ANY (%s) AND node = ANY (%s)
    AND detail ->> 'linkedid' = ANY (%s) AND NOT starts_with(call_id, 'linked:')"""
_OPEN_ON = """SELECT call_id FROM control.call_records WHERE NOT complete AND (edge = ANY (%(nodes)s)
    OR media_node = ANY (%(nodes)s) OR EXISTS (SELECT FROM jsonb_array_elements(legs) leg
    WHERE leg ->> 'node' = ANY (%(nodes)s)))"""
_FACTS = """WITH own AS (SELECT * FROM control.call_events WHERE call_id = %s),
    linked AS (SELECT * FROM control.call_events WHERE call_id IN (
        SELECT 'linked:' || node || '/' || (detail ->> 'linkedid') FROM own
        WHERE detail ? 'linkedid' AND detail ->> 'uniqueid' = detail ->> 'linkedid')),
    told AS (SELECT * FROM own UNION ALL SELECT * FROM linked)
    SELECT call_id, node, at, event, file_id, position, detail FROM told
    UNION ALL SELECT call_id, node, at, event, file_id, position, detail FROM control.call_events
    WHERE call_id IN (SELECT 'node:' || node FROM told) AND event = 'restart'"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that this agent has taken and must now do."""

    id: int
    verb: str
    arguments: dict[str, Any]


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Connection]:
    """A connection for this room; DatabaseError if there is none or it breaks."""
    try:
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, row_factory=dict_row, application_name="dialplane calls", **held(dsn)
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"calls: PostgreSQL: {error}") from error


async def ship(
    connection: Connection, facts: Iterable[Fact], *, stored: Callable[[Fact], bool] = lambda _: False
) -> set[str]:
    """Store what is new and bring the records of the calls touched up to date, in one transaction.

    Returns the ids of the records written. Twice the same changes nothing; `stored`: whether `tell` did a part of it.
    Two agents may ship parts of one call at once: each holds the call's lock while it folds, so the later one sees
    what both have said.
    """
    facts = list(facts)
    async with connection.transaction():
        await tell(connection, [one for one in facts if not stored(one)])
        return await _fold_all(connection, await _touched(connection, facts))


async def tell(connection: Connection, facts: Iterable[Fact]) -> None:
    """Store what is new, for those who follow what happens; records are brought up to date by `ship`."""
    rows = [
        (one.call_id, one.node, one.at, one.event, Jsonb(one.detail), one.file_id, one.position)
        for one in facts
    ]
    if rows:
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)


async def _touched(connection: Connection, facts: list[Fact]) -> set[str]:
    calls = {one.call_id for one in facts if not one.call_id.startswith(NO_CALLS)}
    linked = {one.call_id.removeprefix(LINKED) for one in facts if one.call_id.startswith(LINKED)}
    if linked:
        nodes, ids = zip(*(one.split("/", 1) for one in linked), strict=True)
        rows = await connection.execute(_CALLS_OF_LINKED, (list(linked), list(nodes), list(ids)))
        calls |= {row["call_id"] for row in await rows.fetchall()}
    nodes_told = [one.node for one in facts if one.call_id.startswith(NODE)]
    if nodes_told:
        rows = await connection.execute(_OPEN_ON, {"nodes": nodes_told})
        calls |= {row["call_id"] for row in await rows.fetchall()}
    return calls


async def _fold_all(connection: Connection, calls: set[str]) -> set[str]:
    written = set()
    for call in sorted(calls):
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('dialplane.call'), hashtext(%s))", (call,)
        )
        record = fold(call, await facts_of(connection, call))
        if record is not None and not await _forgotten(connection, record):
            await _write(connection, record)
            written.add(call)
    return written


async def _forgotten(connection: Connection, record: Record) -> bool:
    """Whether the beginning of the call is not among its events any more (control.forget): its record stays."""
    rows = await connection.execute(
        "SELECT FROM control.call_records WHERE call_id = %s AND complete AND started_at < %s",
        (record.call_id, record.started_at),
    )
    return await rows.fetchone() is not None


async def facts_of(connection: Connection, call: str) -> list[Fact]:
    """Everything said about the call, restarts of its servers included."""
    rows = await connection.execute(_FACTS, (call,))
    return [Fact(**row) for row in await rows.fetchall()]


async def _write(connection: Connection, record: Record) -> None:
    row = asdict(record) | {"legs": Jsonb(record.legs), "decisions": Jsonb(record.decisions)}
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    updates = ", ".join(f"{name} = excluded.{name}" for name in row if name != "call_id")
    await connection.execute(
        f"INSERT INTO control.call_records ({names}) VALUES ({values}) ON CONFLICT (call_id) DO UPDATE SET {updates}",
        row,
    )
    for one in recordings(record):
        await connection.execute(
            """INSERT INTO control.recordings (node, path, call_id, account, began_at, why)
            VALUES (%(node)s, %(path)s, %(call_id)s, %(account)s, %(began_at)s, %(why)s) ON CONFLICT DO NOTHING""",
            asdict(one) | {"call_id": record.call_id, "account": record.account},
        )


async def record_of(connection: Connection, call: str) -> dict[str, Any] | None:
    """The row of control.call_records."""
    rows = await connection.execute("SELECT * FROM control.call_records WHERE call_id = %s", (call,))
    return await rows.fetchone()


# --- commands ---------------------------------------------------------------------------------------------


async def take(connection: Connection, node: str) -> Command | None:
    """The oldest command nobody has taken; taken by now, whatever happens next."""
    rows = await connection.execute(
        """UPDATE control.node_commands SET taken_at = now() WHERE id = (
            SELECT id FROM control.node_commands WHERE node = %s AND taken_at IS NULL ORDER BY id
            LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, verb, arguments""",
        (node,),
    )
    row = await rows.fetchone()
    return None if row is None else Command(row["id"], row["verb"], row["arguments"])


async def finish(connection: Connection, command: int, result: dict[str, Any]) -> None:
    """The command's outcome is known."""
    await connection.execute(
        "UPDATE control.node_commands SET done_at = now(), result = %s WHERE id = %s AND done_at IS NULL",
        (Jsonb(result), command),
    )


async def close_abandoned(connection: Connection, node: str, too_old_s: float = 30) -> int:
    """At the start of an agent: what its predecessor took is of unknown outcome, what is old is not run."""
    rows = await connection.execute(
        """UPDATE control.node_commands SET taken_at = coalesce(taken_at, now()), done_at = now(), result =
            CASE WHEN taken_at IS NULL
            THEN jsonb_build_object('outcome', 'not run', 'error', 'no agent took it in time')
            ELSE jsonb_build_object('outcome', 'unknown', 'error', 'the agent ended while it ran') END
        WHERE node = %s AND done_at IS NULL
            AND (taken_at IS NOT NULL OR asked_at < now() - make_interval(secs => %s))""",
        (node, too_old_s),
    )
    return rows.rowcount


async def ask(
    connection: Connection, node: str, verb: str, arguments: dict[str, Any], timeout_s: float = 10
) -> dict[str, Any]:
    """Have the agent of `node` do it; its result.

    NodeUnreachable: no agent took it, it was withdrawn and will not run. OutcomeUnknown: taken, but it is not
    known what came of it. NodeRefused: done, and the server said no.
    """
    rows = await connection.execute(
        "INSERT INTO control.node_commands (node, verb, arguments) VALUES (%s, %s, %s) RETURNING id",
        (node, verb, Jsonb(arguments)),
    )
    row = await rows.fetchone()
    assert row is not None  # noqa: S101 - INSERT RETURNING gives a row
    command = row["id"]
    result = await _outcome(connection, command, timeout_s)
    if result is None:
        rows = await connection.execute(
            """UPDATE control.node_commands SET taken_at = now(), done_at = now(), result = %s
            WHERE id = %s AND taken_at IS NULL RETURNING id""",
            (Jsonb({"outcome": NOT_RUN, "error": "withdrawn: nobody took it"}), command),
        )
        if await rows.fetchone() is not None:
            raise NodeUnreachable(
                f"{verb} on {node}: its agent took nothing in {timeout_s:g} s; withdrawn, it will not run: is it up?"
            )
        result = await _outcome(connection, command, 0) or {"outcome": UNKNOWN, "error": "no result in time"}
    if "error" not in result:
        return result
    kinds = {UNKNOWN: OutcomeUnknown, NOT_RUN: NodeUnreachable}
    raise kinds.get(result.get("outcome", ""), NodeRefused)(f"{verb} on {node}: {result['error']}")


async def _outcome(connection: Connection, command: int, timeout_s: float) -> dict[str, Any] | None:
    """Polled: an answer takes milliseconds, and a second connection to listen on costs more than a few reads."""
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + timeout_s, 0.005
    while True:
        rows = await connection.execute(
            "SELECT result FROM control.node_commands WHERE id = %s AND done_at IS NOT NULL", (command,)
        )
        row = await rows.fetchone()
        if row is not None:
            return dict(row["result"])
        if loop.time() >= deadline:
            return None
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.2)


async def wait_for_command(connection: Connection, timeout_s: float) -> None:
    """Return when some node was asked something, or after `timeout_s`. The connection must LISTEN already."""
    async for _ in connection.notifies(timeout=timeout_s, stop_after=1):
        return


async def devices_of_mailbox(connection: Connection, account: str, mailbox: str) -> list[str]:
    """AORs of the enabled devices of the user whose mailbox it is."""
    rows = await connection.execute(
        """SELECT d.name || '@' || dom.name AS aor FROM public.devices d
            JOIN public.domains dom ON dom.id = d.domain_id
            JOIN public.voicemail_boxes box ON box.user_id = d.user_id
            JOIN public.accounts a ON a.id = box.account_id
        WHERE a.name = %s AND box.mailbox = %s AND d.enabled ORDER BY 1""",
        (account, mailbox),
    )
    return [row["aor"] for row in await rows.fetchall()]


def utc_now() -> dt.datetime:
    """The clock of the doors of this room."""
    return dt.datetime.now(dt.UTC)


async def records(connection: Connection, account: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest call records, of one account or of all."""
    rows = await connection.execute(
        """SELECT * FROM control.call_records WHERE %(account)s::text IS NULL OR account = %(account)s
        ORDER BY started_at DESC LIMIT %(limit)s""",
        {"account": account, "limit": limit},
    )
    return await rows.fetchall()


async def open_legs(connection: Connection, edge: str, older_than_s: float) -> list[tuple[str, str, str]]:
    """(call id, dialog, kind) of the legs on that edge that no line has ended, of calls begun so long ago."""
    rows = await connection.execute(
        """SELECT r.call_id, leg ->> 'id' AS id, leg ->> 'leg' AS kind
        FROM control.call_records r CROSS JOIN jsonb_array_elements(r.legs) AS leg
        WHERE NOT r.complete AND r.started_at < clock_timestamp() - make_interval(secs => %s)
            AND leg ->> 'node' = %s AND leg ->> 'ended_at' IS NULL""",
        (older_than_s, edge),
    )
    return [(row["call_id"], row["id"], row["kind"]) for row in await rows.fetchall()]


async def whole_id(connection: Connection, beginning: str) -> str:
    """The id of the one call that begins so; the text itself when none or several do."""
    rows = await connection.execute(
        "SELECT DISTINCT call_id FROM control.call_events WHERE call_id ^@ %s LIMIT 2", (beginning,)
    )
    found = await rows.fetchall()
    return str(found[0]["call_id"]) if len(found) == 1 else beginning
