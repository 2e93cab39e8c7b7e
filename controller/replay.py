"""Recorded calls against the rows as they are now: which would have gone elsewhere. Nothing is published.

Each account is compiled once, as a plan would, and its calls are walked by `policy/replay.py` with the clock, and with
the overrides, do-not-disturb and absences, of the moment of each call. Memory is that of one account.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import dict_row

from controller.compiler import compile_account, compile_system
from controller.desired import read
from controller.desired.model import Account, System
from controller.entries import Entry
from controller.pipeline import OnePicture
from controller.policy import snapshot as policy
from controller.policy.nodes import of_target
from controller.policy.replay import ELSEWHERE, SAME, UNKNOWN, Verdict, recorded, replay
from controller.tiers.pick import Condition, Node

# Records fetched at a time; progress is told as often.
BATCH = 500
_WHERE = """
    FROM control.call_records
   WHERE complete AND started_at >= %(since)s AND started_at < %(until)s AND account IS NOT NULL
     AND (%(account)s::text IS NULL OR account = %(account)s)"""
_CALLS = f"""
    SELECT call_id, account, caller, called, started_at, decisions, legs {_WHERE} ORDER BY account, started_at"""
# What flags were worth before the first change since then, and the changes.
_CHANGES = """
    SELECT c.key, c.old, c.new, r.created_at
      FROM control.changes c JOIN control.revisions r ON r.id = c.revision
     WHERE c.kind = 'media' AND c.scope = %(cluster)s AND c.tbl = 'flag' AND c.account = %(account)s
       AND c.revision >= %(first)s
     ORDER BY c.revision, c.key"""


class Replayed(NamedTuple):
    """A call and what would have become of it."""

    call_id: str
    started_at: datetime
    account: str
    caller: str | None
    called: str | None
    verdict: Verdict


def run(
    connection: Connection[Any],
    *,
    account: str | None,
    since: datetime,
    until: datetime,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[Replayed]:
    """Every call of that time that media nodes had or that went straight to a phone, by account and time.

    `progress` hears how many records are done, of how many.
    """
    asked = {"account": account, "since": since, "until": until}
    with OnePicture(connection):
        total = _one(connection, f"SELECT count(*) {_WHERE}", asked)
        first = _one(
            connection,
            "SELECT coalesce(min(id), 0) FROM control.revisions WHERE created_at >= %(since)s",
            asked,
        )
        system = read.system(connection)
        shared = _tables(compile_system(system))
        done = 0
        with connection.cursor("replay", row_factory=dict_row) as calls:
            calls.itersize = BATCH
            for name, records in itertools.groupby(
                calls.execute(_CALLS, asked), key=lambda row: row["account"]
            ):
                rows = next(read.accounts(connection, [name]), None)
                entries = None if rows is None else Rows(connection, rows, system, shared, first)
                for record in records:
                    found = _replayed(record, entries)
                    done += 1
                    if done % BATCH == 0:
                        progress(done, total)
                    if found is not None:
                        yield found
        progress(done, total)


def _replayed(record: dict[str, Any], entries: Rows | None) -> Replayed | None:
    head = (record["call_id"], record["started_at"], record["account"], record["caller"], record["called"])
    if entries is None:
        gone = f"account {record['account']} has no rows any more"
        return Replayed(*head, Verdict(ELSEWHERE, "", "refuse: 404", gone))
    call = recorded(record, entries.cluster)
    if call is None:
        return None
    entries.go_to(record["started_at"])
    return Replayed(*head, replay(call, entries))


class Rows:
    """The entries that an account's rows compile to; implements `controller.policy.Entries`.

    Numbers of other accounts are those published. No block applies: what an edge refused is no matter of rows.
    """

    def __init__(
        self,
        connection: Connection[Any],
        account: Account,
        system: System,
        shared: dict[tuple[str, str], dict[str, str]],
        first: int,
    ) -> None:
        self.now = datetime.now(UTC)
        self.cluster = account.cluster
        self._connection = connection
        self._own = _tables(compile_account(account, system))
        self._shared = shared
        self._account = account.name
        self._snapshot = policy.snapshot(
            account.name, self._own["media", "policy"], policy.live(account.name, {})
        )
        self._contexts: dict[str, dict[str, str]] = defaultdict(dict)
        for tables in (self._own, shared):
            for key, value in tables["media", "dialplan"].items():
                context, _, extension = key.partition("/")
                self._contexts[context][extension] = value
        changes = connection.execute(
            _CHANGES, {"cluster": account.cluster, "account": account.name, "first": first}
        ).fetchall()
        self._flags = dict(
            connection.execute(
                "SELECT key, value FROM control.entries WHERE kind = 'media' AND scope = %s AND tbl = 'flag'"
                " AND account = %s",
                (account.cluster, account.name),
            ).fetchall()
        )
        for key, old, _, _ in reversed(changes):
            self._set(key, old)
        self._changes = changes[::-1]

    def go_to(self, at: datetime) -> None:
        """The moment in question: not before the one of the last call."""
        self.now = at
        while self._changes and self._changes[-1][3] <= at:
            key, _, new, _ = self._changes.pop()
            self._set(key, new)

    def edge(self, table: str, key: str) -> str | None:
        """Value in a table of the edges."""
        for tables in (self._own, self._shared):
            if key in tables["edge", table]:
                return tables["edge", table][key]
        return self._others(key) if table == "number" else None

    def media(self, cluster: str) -> tuple[tuple[Node, Condition], ...]:
        """What nodes had no room then is not kept: those of the targets."""
        return of_target(self.edge("target", cluster))

    def mailbox(self, cluster: str, key: str) -> str | None:
        """A mailbox as the media nodes of a cluster hold it."""
        return self._own["media", "mailbox"].get(key)

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        """A whole context as the media nodes of a cluster hold it: extension -> value."""
        return self._contexts.get(context, {})

    def snapshot(self, cluster: str, account: str) -> policy.Snapshot:
        """What decisions look at, at `now`."""
        return replace(self._snapshot, live=policy.live(account, self._flags))

    def _set(self, key: str, value: str | None) -> None:
        if value is None:
            self._flags.pop(key, None)
        else:
            self._flags[key] = value

    def _others(self, number: str) -> str | None:
        row = self._connection.execute(
            "SELECT value FROM control.entries WHERE kind = 'edge' AND scope = '*' AND tbl = 'number' AND key = %s"
            " AND account IS DISTINCT FROM %s",
            (number, self._account),
        ).fetchone()
        return None if row is None else str(row[0])


def _tables(entries: Iterator[Entry]) -> dict[tuple[str, str], dict[str, str]]:
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for entry in entries:
        found[entry.address.kind, entry.address.table][entry.address.key] = entry.value
    return found


def _one(connection: Connection[Any], statement: str, values: dict[str, Any]) -> int:
    row = connection.execute(statement, values).fetchone()
    return int(row[0]) if row else 0


__all__ = ["BATCH", "ELSEWHERE", "SAME", "UNKNOWN", "Replayed", "run"]
