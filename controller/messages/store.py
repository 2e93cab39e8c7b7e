"""Messages in PostgreSQL: what edges ship, what is decided, who sends what. The only psycopg file of the room.

A message is routed in one transaction that holds its row, so however many processes look, it is routed once. A
delivery is sent by who holds its lease; an outcome counts only while it does. Every function raises DatabaseError
or psycopg.Error; then nothing was done, or all of it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from controller.calls.facts import MESSAGE, Fact
from controller.calls.store import Connection, tell
from controller.errors import DatabaseError
from controller.messages import cpim
from controller.messages.http import Inbound
from controller.messages.model import Delivery, Held, Letter, Message, Outcome, Routed
from controller.messages.outbox import Accepted
from controller.messages.settle import settle
from controller.messages.text import one_time_code, plain
from controller.policy import Entries
from controller.revision.entries import Published
from controller.schema.database import connect

# From the claim until somebody is asked, and from then until the outcome: an outage in between delays it for so long.
CLAIM_S, LEASE_S = 10.0, 60.0
_ROUTE_BATCH = 50
_OK = 300

_SHIP = """
    INSERT INTO control.messages (id, account, at, way, edge, sender, sender_user, called, target, content_type, body,
                                  size, why, state, reason, expires_at, ended_at)
    VALUES (%s, %s, %s, 'accepted', %s, %s, nullif(%s, ''), %s, nullif(%s, ''), %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO NOTHING"""
_STRAIGHT = """
    INSERT INTO control.messages (id, account, at, way, edge, sender, sender_user, called, target, lead, content_type,
                                  size, state, status, reason, ended_at)
    VALUES (%(id)s, %(account)s, %(at)s, 'straight', %(edge)s, %(device)s, nullif(%(caller)s, ''), %(called)s,
            nullif(%(target)s, ''), nullif(%(lead)s, ''), '',
            %(size)s, %(state)s, %(status)s, %(reason)s, %(at)s)
    ON CONFLICT (id) DO NOTHING"""
_STRAIGHT_TO = """
    INSERT INTO control.message_deliveries (message, kind, address, state, tries, edge, status, reason, ended_at)
    SELECT %(id)s, %(kind)s, %(to)s, %(state)s, 1, %(edge)s, %(status)s, %(reason)s, %(at)s WHERE %(to)s <> ''
    ON CONFLICT DO NOTHING"""
_COLUMNS = """
    id, account, sender, coalesce(sender_user, '') AS sender_user, called, coalesce(target, '') AS target, way,
    content_type, coalesce(body, '') AS body, taking, state, coalesce(shown, '') AS shown"""
_WAITING = f"""
    SELECT {_COLUMNS}
      FROM control.messages WHERE state = 'accepted' ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED"""
_ONE = f"SELECT {_COLUMNS} FROM control.messages WHERE id = %s FOR UPDATE"
_ROUTED = """
    UPDATE control.messages SET lead = nullif(%(lead)s, ''), shown = coalesce(nullif(%(shown)s, ''), shown),
           taking = %(taking)s, state = 'open' WHERE id = %(id)s"""
_TO = """
    INSERT INTO control.message_deliveries (message, purpose, kind, address, member, shown, place, state)
    VALUES (%s, %s, %s, %s, nullif(%s, ''), nullif(%s, ''), %s, %s) ON CONFLICT DO NOTHING"""
_LOCK_ROUTING = "SELECT pg_advisory_xact_lock(hashtext('dialplane.messages.route'))"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('dialplane.messages'))"
# The oldest of each address that is due, where nothing is on its way there: a phone gets them in their order.
_CLAIM = """
    UPDATE control.message_deliveries AS d
       SET state = 'sending', tries = d.tries + 1, lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
     WHERE d.id IN (
        SELECT min(w.id) FROM control.message_deliveries AS w
         WHERE (w.state = 'due' AND w.due_at <= clock_timestamp()
                OR w.state = 'sending' AND w.lease_until < clock_timestamp())
           AND NOT EXISTS (
                SELECT FROM control.message_deliveries AS s
                 WHERE s.state = 'sending' AND s.address = w.address AND s.lease_until >= clock_timestamp())
         GROUP BY w.kind, w.address ORDER BY min(w.id) LIMIT %(most)s)
    RETURNING d.id, d.message, d.kind, d.address, d.tries"""
_HOLD = """
    UPDATE control.message_deliveries SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
     WHERE id = %(id)s AND state = 'sending' AND tries = %(tries)s AND lease_until > clock_timestamp()"""
_DONE = """
    UPDATE control.message_deliveries
       SET state = %(state)s, status = %(status)s, reason = %(reason)s, edge = coalesce(%(edge)s, edge),
           lease_until = NULL, due_at = clock_timestamp() + make_interval(secs => %(pause_s)s),
           ended_at = CASE WHEN %(state)s IN ('delivered', 'failed') THEN clock_timestamp() END
     WHERE id = %(id)s AND state = 'sending' AND tries = %(tries)s"""
_HELD = """
    SELECT id, purpose, place, state, status, reason
      FROM control.message_deliveries WHERE message = %s ORDER BY place, id"""
_STATES = """
    UPDATE control.message_deliveries SET state = %(state)s, due_at = clock_timestamp(),
           ended_at = CASE WHEN %(state)s IN ('withdrawn', 'expired') THEN clock_timestamp() END
     WHERE id = ANY (%(ids)s)"""
_SETTLED = """
    UPDATE control.messages SET state = %(state)s, status = coalesce(%(status)s, status), reason = %(reason)s,
           ended_at = CASE WHEN %(over)s THEN clock_timestamp() END, body = CASE WHEN %(over)s THEN NULL ELSE body END
     WHERE id = %(id)s"""
_REPORT = """
    INSERT INTO control.messages (id, account, way, sender, called, target, content_type, body, size, parent, state)
    VALUES (%(id)s, %(account)s, 'report', %(sender)s, %(called)s, %(called)s, 'message/cpim', %(body)s, %(size)s,
            %(parent)s, 'accepted')"""
_LETTER = """
    SELECT d.message, d.id AS delivery, d.address AS aor, m.content_type, coalesce(m.body, '') AS body,
           coalesce(d.shown, m.sender) AS sender,
           CASE WHEN d.purpose = 'copy' THEN m.called ELSE d.address END AS to, d.tries AS number, m.at
      FROM control.message_deliveries AS d JOIN control.messages AS m ON m.id = d.message
     WHERE d.id = %s AND d.state = 'sending'"""
_SHEET = """
    SELECT m.account, coalesce(d.shown, '') AS sender, d.address AS to, m.content_type, coalesce(m.body, '') AS body
      FROM control.message_deliveries AS d JOIN control.messages AS m ON m.id = d.message
     WHERE d.id = %s AND d.state = 'sending'"""
_CARRIERS = uuid.UUID("5a1e3c5e-7d0f-4f0c-9d5e-0d9a3b7c1f21")
_INBOUND = """
    WITH owner AS (
        SELECT value AS account FROM control.entries
         WHERE kind = 'edge' AND scope = '*' AND tbl = 'number' AND key = %(to)s),
    new AS (
        INSERT INTO control.messages (id, account, way, sender, called, body, size, why, state)
        SELECT %(id)s, account, 'inbound', %(sender)s, %(to)s, %(body)s, %(size)s, %(carrier)s, 'accepted' FROM owner
        ON CONFLICT (id) DO NOTHING)
    SELECT %(id)s::uuid FROM owner"""
_CAME = """
    UPDATE control.message_deliveries SET state = 'due', due_at = clock_timestamp()
     WHERE kind = 'device' AND state = 'away' AND address = ANY (%s)"""
_CAME_UNHEARD = """
    UPDATE control.message_deliveries AS d SET state = 'due', due_at = clock_timestamp()
     WHERE d.kind = 'device' AND d.state = 'away'
       AND d.due_at < clock_timestamp() - make_interval(secs => least(5 * d.tries, 300)) AND EXISTS (
        SELECT FROM control.registered AS r WHERE r.aor = d.address AND r.state = 'registered')"""
_EXPIRED = """
    SELECT m.id FROM control.messages AS m
     WHERE m.ended_at IS NULL AND m.expires_at < clock_timestamp() AND m.state <> 'accepted'
     ORDER BY m.expires_at LIMIT 100 FOR UPDATE SKIP LOCKED"""
_EXPIRE = """
    UPDATE control.message_deliveries SET state = 'expired', ended_at = clock_timestamp()
     WHERE message = %s AND state IN ('held', 'due', 'away')"""
_EDGES = """
    SELECT r.edge, r.state FROM control.registered AS r WHERE r.aor = %s ORDER BY r.since DESC"""
_ALIVE = """
    SELECT n.name AS edge FROM public.nodes AS n JOIN control.node_state AS s ON s.node = n.name
     WHERE n.kind = 'edge' AND n.state <> 'disabled' AND s.heard_at > clock_timestamp() - interval '10 seconds'
     ORDER BY n.name"""


class Claimed(NamedTuple):
    """A delivery that is this process's to send. `tries`: with this one."""

    id: int
    message: uuid.UUID
    kind: str
    address: str
    tries: int


# --- what edges say -----------------------------------------------------------------------------------------------


async def ship(connection: Connection, edge: str, rows: Sequence[Accepted]) -> None:
    """Store what an edge has accepted; twice the same changes nothing. On disk when this returns."""
    values = [
        (
            one.id, one.account, one.at, edge, one.sender, one.user, one.called, one.target, one.content_type,
            None if one.bad else one.body, len(one.body), one.why, "failed" if one.bad else "accepted", one.bad,
            one.expires_at, one.at if one.bad else None,
        )
        for one in rows
    ]  # fmt: skip
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        async with connection.cursor() as cursor:
            await cursor.executemany(_SHIP, values)
        await tell(connection, [_fact(edge, one) for one in rows if not one.bad])


def _fact(edge: str, one: Accepted) -> Fact:
    """An accepted message as the line that an edge writes of one that it relayed."""
    said = {
        "account": one.account, "caller": one.user, "device": one.sender, "called": one.called, "to": one.target,
        "status": 202, "reason": one.why, "size": len(one.body), "source": one.source, "agent": one.agent,
    }  # fmt: skip
    if one_time_code(plain(one.content_type, one.body) or ""):
        said["code"] = 1
    return Fact(f"{MESSAGE}{one.id}", edge, one.at, "message", f"{MESSAGE}{one.id}", 0, said)


async def straight(connection: Connection, facts: Iterable[Fact]) -> None:
    """Store lines of the spool: messages that an edge relayed or refused."""
    rows = []
    for fact in facts:
        said, status = fact.detail, int(fact.detail["status"])
        to = str(said.get("to", ""))
        kind = "device" if "@" in to or not to else "application"
        rows.append(
            {
                name: str(said.get(name, ""))
                for name in ("account", "device", "caller", "called", "to", "reason")
            }
            | {
                "id": uuid.UUID(fact.call_id.removeprefix(MESSAGE)),
                "at": fact.at,
                "edge": fact.node,
                "target": to if kind == "device" else "",
                "lead": f"{kind}:{to}" if to else "",
                "kind": kind,
                "status": status,
                "size": int(said.get("size") or 0),
                "state": "delivered" if status < _OK else "failed" if said.get("to") else "refused",
            }
        )
    if not rows:
        return
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.executemany(_STRAIGHT, rows)
        await cursor.executemany(_STRAIGHT_TO, rows)


async def letter(connection: Connection, delivery: int) -> Letter | None:
    """What a delivery consists of; None: it is not under way."""
    row = await (await connection.execute(_LETTER, (delivery,))).fetchone()
    if row is None:
        return None
    domain = str(row["aor"]).partition("@")[2]
    for name in ("sender", "to"):
        row[name] = row[name] if "@" in row[name] else f"{row[name]}@{domain}"
    return Letter(**row)


@contextmanager
def connection(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection. DatabaseError: there is none, or it broke."""
    try:
        with connect(dsn, autocommit=True) as one:
            yield one
    except psycopg.Error as error:
        raise DatabaseError(f"PostgreSQL: {str(error).strip().partition(chr(10))[0]}") from None


class Sheet(NamedTuple):
    """What a delivery to a number outside consists of. `sender`: the number it carries."""

    account: str
    sender: str
    to: str
    content_type: str
    body: bytes


async def sheet(connection: Connection, delivery: int) -> Sheet | None:
    """What a delivery to a number consists of; None: it is not under way."""
    row = await (await connection.execute(_SHEET, (delivery,))).fetchone()
    return Sheet(**row) if row else None


def inbound(connection: psycopg.Connection[Any], one: Inbound) -> str | None:
    """Store what a carrier brings, once however often it does; its id. None: nobody here has that number."""
    id_, body = uuid.uuid5(_CARRIERS, f"{one.carrier}/{one.id}"), one.text.encode()
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        row = connection.execute(
            _INBOUND, one._asdict() | {"id": id_, "body": body, "size": len(body)}
        ).fetchone()
    return str(row[0]) if row else None


# --- routing ------------------------------------------------------------------------------------------------------

Decide = Callable[[Message, Entries], Routed]


def route_waiting(connection: psycopg.Connection[Any], decide: Decide) -> int:
    """Route the oldest messages that nobody has looked at; how many. One transaction."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        # One process at a time, or deliveries to one address would not have the order of their messages.
        cursor.execute(_LOCK_ROUTING)
        found = [Message(**row) for row in cursor.execute(_WAITING, (_ROUTE_BATCH,)).fetchall()]
        if not found:
            return 0
        entries = Published(connection)
        for message in found:
            routed = decide(message, entries)
            cursor.execute(_ROUTED, routed._asdict() | {"id": message.id})
            first = min((to.place for to in routed.deliveries), default=0)
            cursor.executemany(_TO, [_row(message, to, first) for to in routed.deliveries])
            _settle(cursor, message, routed.reason)
    return len(found)


def _row(message: Message, to: Delivery, first: int) -> tuple[object, ...]:
    state = "due" if to.purpose == "copy" or to.place == first else "held"
    return (message.id, to.purpose, to.kind, to.address, to.member, to.shown, to.place, state)


def _settle(cursor: psycopg.Cursor[dict[str, Any]], message: Message, why: str = "") -> None:
    """What the deliveries come to together, in the transaction that holds the message's row."""
    held = [Held(**row) for row in cursor.execute(_HELD, (message.id,)).fetchall()]
    found = settle(message.taking, held)
    for state in set(found.states.values()):
        ids = [one for one, to in found.states.items() if to == state]
        cursor.execute(_STATES, {"state": state, "ids": ids})
    cursor.execute(
        _SETTLED,
        {"id": message.id, "state": found.state, "status": found.status, "over": found.over}
        | {"reason": found.reason or why},
    )
    if found.state not in (message.state, "open"):
        _report(cursor, message, found.state)


def _report(cursor: psycopg.Cursor[dict[str, Any]], message: Message, state: str) -> None:
    """Tell the sender, if it asked for that."""
    asked = cpim.asked(message.content_type, message.body)
    if asked is None or "@" not in message.sender or message.way == "report":
        return
    status = "delivered" if state == "delivered" else "failed"
    if not (asked.delivered if status == "delivered" else asked.failed):
        return
    who = message.called if "@" in message.called else f"{message.called}@{message.sender.partition('@')[2]}"
    body = cpim.notice(asked, status, f"sip:{who}", dt.datetime.now(dt.UTC))
    cursor.execute(
        _REPORT,
        {"id": uuid.uuid4(), "account": message.account, "sender": who, "called": message.sender}
        | {"body": body, "size": len(body), "parent": message.id},
    )


# --- sending ------------------------------------------------------------------------------------------------------


def claim(connection: psycopg.Connection[Any], most: int, lease_s: float = CLAIM_S) -> list[Claimed]:
    """Deliveries that are due, now this process's; those whose process was lost too."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        rows = cursor.execute(_CLAIM, {"most": most, "lease_s": lease_s}).fetchall()
    return sorted(Claimed(*row) for row in rows)


async def hold(connection: Connection, one: Claimed) -> bool:
    """Somebody is asked now to deliver it. False: its lease was lost."""
    values = {"id": one.id, "tries": one.tries, "lease_s": LEASE_S}
    return (await connection.execute(_HOLD, values)).rowcount == 1


def done(connection: psycopg.Connection[Any], one: Claimed, outcome: Outcome, edge: str | None) -> bool:
    """The attempt came to this. False: its lease was lost, somebody else sends it."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_ONE, (one.message,)).fetchone()
        values = outcome._asdict() | {"id": one.id, "tries": one.tries, "edge": edge}
        if row is None or cursor.execute(_DONE, values).rowcount != 1:
            return False
        _settle(cursor, Message(**row))
    return True


def came(connection: psycopg.Connection[Any], aors: Sequence[str]) -> int:
    """These devices registered, or left: what waits for them is due."""
    with connection.transaction():
        return connection.execute(_CAME, (list(aors),)).rowcount


def sweep(connection: psycopg.Connection[Any]) -> int:
    """What no notification told of: devices that registered, and messages whose time is over; how many of these."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_CAME_UNHEARD)
        expired = [row["id"] for row in cursor.execute(_EXPIRED).fetchall()]
        for id_ in expired:
            cursor.execute(_EXPIRE, (id_,))
            row = cursor.execute(_ONE, (id_,)).fetchone()
            if row is not None:
                _settle(cursor, Message(**row))
    return len(expired)


def forget(connection: psycopg.Connection[Any], most: int = 5_000) -> int:
    """Remove messages that were kept long enough, so many at most; how many."""
    with connection.transaction():
        row = connection.execute("SELECT control.forget_messages(%s)", (most,)).fetchone()
    return int(row[0]) if row else 0


async def edge_of(connection: Connection, aor: str) -> str | None:
    """An edge to reach the device by: where it is registered; where that is not known, any that lives; None: it is
    away."""
    rows = await (await connection.execute(_EDGES, (aor,))).fetchall()
    there = [row["edge"] for row in rows if row["state"] == "registered"]
    if there:
        return str(there[0])
    if any(row["state"] == "unknown" for row in rows):
        alive = await (await connection.execute(_ALIVE)).fetchall()
        return str(alive[0]["edge"]) if alive else None
    return None


async def notices(connection: Connection) -> AsyncIterator[tuple[str, str]]:
    """(channel, payload) of what processes of this room wait for, until the connection is lost."""
    await connection.execute("LISTEN dialplane_message")
    await connection.execute("LISTEN dialplane_registration")
    yield "", ""
    async for one in connection.notifies():
        yield one.channel, one.payload
