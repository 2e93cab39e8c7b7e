"""The SQL of publishing: entries held, revisions, changes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection, errors
from psycopg.rows import class_row

from controller.catalog import TABLES
from controller.entries import Address, Change, Entry, State
from controller.errors import StalePlan
from controller.plan import Plan

# Held from taking the next number to commit, so revisions become visible in order.
PUBLISH_LOCK = "SELECT pg_advisory_xact_lock(hashtext('dialplane.publish'))"
LOCK_TIMEOUT_S = 10

_OPERATIONAL = sorted({name for (_, name), table in TABLES.items() if table.state is State.OPERATIONAL})


_MOVE_CURSOR = """
    INSERT INTO control.change_cursor (state, position, snapshot)
    VALUES ('configuration', %s, %s::pg_snapshot)
    ON CONFLICT (state) DO UPDATE SET position = excluded.position, snapshot = excluded.snapshot"""


class Revision(NamedTuple):
    """One line of the history."""

    id: int
    state: str
    base: int | None
    digest: str
    author: str
    reason: str
    unsafe_reason: str | None
    created_at: datetime
    creates: int
    updates: int
    deletes: int
    rolls_back: int | None


_REVISION = """
    SELECT id, state, base, digest, author, reason, unsafe_reason, created_at,
           creates, updates, deletes, rolls_back
      FROM control.revisions"""


def base(connection: Connection[Any]) -> int:
    """Number of the newest configuration revision, 0 when nothing was ever published."""
    row = connection.execute(
        "SELECT coalesce(max(id), 0) FROM control.revisions WHERE state = 'configuration'"
    ).fetchone()
    return int(row[0]) if row else 0


def newest(connection: Connection[Any]) -> int:
    """Number of the newest revision of either class, 0 when there is none."""
    row = connection.execute("SELECT coalesce(max(id), 0) FROM control.revisions").fetchone()
    return int(row[0]) if row else 0


def published(connection: Connection[Any], accounts: Sequence[str | None]) -> dict[Address, Entry]:
    """Configuration entries of these accounts (None: the shared ones), by address."""
    found: dict[Address, Entry] = {}
    statement = """
        SELECT kind, scope, tbl, key, value, account FROM control.entries
         WHERE {where} AND tbl <> ALL (%(operational)s)"""
    names = [name for name in accounts if name is not None]
    conditions = [("account = ANY (%(names)s)", bool(names)), ("account IS NULL", None in accounts)]
    for where, wanted in conditions:
        if not wanted:
            continue
        rows = connection.execute(
            statement.format(where=where), {"names": names, "operational": _OPERATIONAL}
        )
        for kind, scope, table, key, value, account in rows:
            address = Address(kind, scope, table, key)
            found[address] = Entry(address, value, account)
    return found


def counts(connection: Connection[Any], tables: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Entries published per (kind, table), of the tables asked for."""
    found = {}
    for kind, table in tables:
        row = connection.execute(
            "SELECT count(*) FROM control.entries WHERE kind = %s AND tbl = %s", (kind, table)
        ).fetchone()
        found[kind, table] = int(row[0]) if row else 0
    return found


def publish(
    connection: Connection[Any], plan: Plan, *, author: str, reason: str, unsafe_reason: str | None
) -> int:
    """Publish exactly the changes of the plan as the next revision, in one transaction, and return its number.

    Raises StalePlan when another configuration revision came in between, when an entry no longer has the value
    the plan saw, when staged changes are gone, or when the lock is held for longer than LOCK_TIMEOUT_S.
    """
    staged = plan.staged or str(uuid.uuid4())
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        try:
            connection.execute(PUBLISH_LOCK)
        except errors.LockNotAvailable:
            raise StalePlan(
                f"another publisher has held the lock for {LOCK_TIMEOUT_S} s; try again, "
                "or look for it: SELECT * FROM pg_stat_activity"
            ) from None
        now_base = base(connection)
        if now_base != plan.base:
            raise StalePlan(_stale(connection, plan.base, now_base))
        if plan.staged is None:
            stage(connection, staged, plan.changes)
        _check_staged(connection, staged, plan.summary.total())
        number = newest(connection) + 1
        connection.execute(
            """
            INSERT INTO control.revisions (id, state, base, digest, author, reason, unsafe_reason, created_at,
                                           creates, updates, deletes, rolls_back)
            VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s, %s, %s, %s)""",
            (
                number, State.CONFIGURATION, plan.base or None, plan.digest, author, reason, unsafe_reason,
                *(plan.summary.total(verb) for verb in ("create", "update", "delete")), plan.rolls_back or None,
            ),
        )  # fmt: skip
        _write(connection, plan, staged, number)
        if plan.cursor is not None:
            connection.execute(_MOVE_CURSOR, plan.cursor)
        _hold(connection, plan, number)
        connection.execute("SELECT pg_notify('dialplane_revision', %s)", (str(number),))
    return number


def settle(connection: Connection[Any], plan: Plan) -> bool:
    """Account for changed rows from which nothing follows (an empty plan), so that nobody looks at them again; whether
    there were any. Commit is the caller's."""
    row = connection.execute("SELECT EXISTS (SELECT FROM control.pending_changes)").fetchone()
    if plan.cursor is None or not plan.empty or row is None or not row[0]:
        return False
    with connection.transaction():
        connection.execute(PUBLISH_LOCK)
        if base(connection) == plan.base:
            connection.execute(_MOVE_CURSOR, plan.cursor)
    return True


def stage(connection: Connection[Any], staged: str, changes: Iterable[Change]) -> None:
    """Add changes to the staged plan of that key."""
    columns = "plan, kind, scope, tbl, key, account, old, new, reason"
    with connection.cursor() as cursor, cursor.copy(f"COPY control.staged ({columns}) FROM STDIN") as copy:
        for address, old, new, account, why in changes:
            copy.write_row((staged, *address, account, old, new, why))


def _hold(connection: Connection[Any], plan: Plan, number: int) -> None:
    """A rollback holds the accounts it touches; publishing their rows again releases them."""
    connection.execute("DELETE FROM control.held WHERE account = ANY (%s)", (list(plan.held),))
    if plan.rolls_back is not None:
        touched = sorted({change.account or "" for change in plan.changes})
        connection.execute(
            """
            INSERT INTO control.held (account, revision) SELECT unnest(%s::text[]), %s
            ON CONFLICT (account) DO UPDATE SET revision = excluded.revision, since = now()""",
            (touched, number),
        )


def _check_staged(connection: Connection[Any], staged: str, total: int) -> None:
    """The staged changes are all there, and every entry still has the value the plan saw."""
    row = connection.execute("SELECT count(*) FROM control.staged WHERE plan = %s", (staged,)).fetchone()
    if row is None or row[0] != total:
        raise StalePlan(
            f"the plan's changes are no longer staged ({row[0] if row else 0} of {total:,}); make a new plan"
        )
    rows = connection.execute(
        """
        SELECT s.kind, s.tbl, s.key, e.revision
          FROM control.staged s LEFT JOIN control.entries e USING (kind, scope, tbl, key)
         WHERE s.plan = %s AND s.old IS DISTINCT FROM e.value LIMIT 5""",
        (staged,),
    ).fetchall()
    if rows:
        named = ", ".join(
            f"{kind} {table} {key} (revision {revision or 'none'})" for kind, table, key, revision in rows
        )
        raise StalePlan(f"published entries are not what the plan saw: {named}; make a new plan")


_CHANGES = """
INSERT INTO control.changes (revision, kind, scope, tbl, key, account, old, new, reason)
SELECT %(number)s, kind, scope, tbl, key, account, old, new, reason FROM control.staged WHERE plan = %(plan)s"""
# What was there was checked: no ON CONFLICT, which makes millions of new entries half as slow again.
_ENTRIES = {
    "create": """
        INSERT INTO control.entries (kind, scope, tbl, key, value, account, revision)
        SELECT kind, scope, tbl, key, new, account, %(number)s
          FROM control.staged WHERE plan = %(plan)s AND old IS NULL""",
    "update": """
        UPDATE control.entries AS e SET value = s.new, account = s.account, revision = %(number)s
          FROM control.staged AS s
         WHERE s.plan = %(plan)s AND s.old IS NOT NULL AND s.new IS NOT NULL
           AND (e.kind, e.scope, e.tbl, e.key) = (s.kind, s.scope, s.tbl, s.key)""",
    "delete": """
        DELETE FROM control.entries AS e USING control.staged AS s
         WHERE s.plan = %(plan)s AND s.new IS NULL
           AND (e.kind, e.scope, e.tbl, e.key) = (s.kind, s.scope, s.tbl, s.key)""",
}


def _write(connection: Connection[Any], plan: Plan, staged: str, number: int) -> None:
    """Changes and entries of the revision, from what is staged; the staged rows go."""
    parameters = {"plan": staged, "number": number}
    connection.execute(_CHANGES, parameters)
    for verb, statement in _ENTRIES.items():
        if plan.summary.total(verb):
            connection.execute(statement.encode(), parameters)
    # Plans that nobody published go with this one, a day later.
    connection.execute(
        "DELETE FROM control.staged WHERE plan = %(plan)s OR staged_at < now() - interval '1 day'", parameters
    )


def _stale(connection: Connection[Any], on_base: int, now_base: int) -> str:
    revision = one(connection, now_base)
    who = f" by {revision.author} at {revision.created_at:%H:%M:%S}" if revision else ""
    return f"the plan was made on revision {on_base}, but revision {now_base}{who} is newer; make a new plan"


def one(connection: Connection[Any], number: int) -> Revision | None:
    """One revision, None when there is no such number."""
    with connection.cursor(row_factory=class_row(Revision)) as cursor:
        return cursor.execute(f"{_REVISION} WHERE id = %s", (number,)).fetchone()


def history(connection: Connection[Any], limit: int, account: str | None = None) -> list[Revision]:
    """Newest first; with `account`, only revisions that changed its entries."""
    where = (
        ""
        if account is None
        else "WHERE id IN (SELECT revision FROM control.changes WHERE account = %(account)s)"
    )
    with connection.cursor(row_factory=class_row(Revision)) as cursor:
        return cursor.execute(
            f"{_REVISION} {where} ORDER BY id DESC LIMIT %(limit)s", {"limit": limit, "account": account}
        ).fetchall()


def changes_of(connection: Connection[Any], number: int) -> Iterator[Change]:
    """What a revision changed."""
    for kind, scope, table, key, account, old, new, reason in connection.execute(
        """
        SELECT kind, scope, tbl, key, account, old, new, reason FROM control.changes
         WHERE revision = %s ORDER BY account NULLS FIRST, kind, tbl, key""",
        (number,),
    ):
        yield Change(Address(kind, scope, table, key), old, new, account, reason)


def entries_before(
    connection: Connection[Any], number: int
) -> Mapping[Address, tuple[str | None, str | None]]:
    """For every configuration entry changed after revision `number`: its (value then, account)."""
    rows = connection.execute(
        """
        SELECT DISTINCT ON (c.kind, c.scope, c.tbl, c.key) c.kind, c.scope, c.tbl, c.key, c.old, c.account
          FROM control.changes c JOIN control.revisions r ON r.id = c.revision
         WHERE c.revision > %s AND r.state = 'configuration'
         ORDER BY c.kind, c.scope, c.tbl, c.key, c.revision""",
        (number,),
    )
    return {
        Address(kind, scope, table, key): (old, account) for kind, scope, table, key, old, account in rows
    }


def current(connection: Connection[Any], addresses: Sequence[Address]) -> dict[Address, Entry]:
    """The entries published now at these addresses."""
    rows = connection.execute(
        """
        SELECT kind, scope, tbl, key, value, account FROM control.entries
          JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS a (kind, scope, tbl, key)
         USING (kind, scope, tbl, key)""",
        tuple([address[part] for address in addresses] for part in range(4)),
    )
    return {
        Address(kind, scope, table, key): Entry(Address(kind, scope, table, key), value, account)
        for kind, scope, table, key, value, account in rows
    }
