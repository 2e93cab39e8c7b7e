"""The agent's side of PostgreSQL: what its node must hold, and what it reports. The only psycopg file of the room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from controller.agent.state import State, Wanted
from controller.agreement.digests import Digests
from controller.errors import DatabaseError, InputError
from controller.wire.postgresql import held

# Beyond it a snapshot costs less than replaying.
MAX_CHANGES = 200_000
CHANNELS = ("dialplane_revision", "dialplane_verify")


class Node(NamedTuple):
    """The node's row. `group`: whose entries it holds, its device group, or its cluster and those that one takes over
    for, joined with +."""

    kind: str
    group: str


class Step(NamedTuple):
    """From what is held to the newest revision. `changes` None: only a snapshot leads there. `group`: as it is now."""

    revision: int
    digest: str
    changes: list[Wanted] | None
    group: str


class Report(NamedTuple):
    """A row of control.node_state, but for its name and kind."""

    revision: int
    verified_revision: int | None
    verified_at: datetime | None
    drift: int
    drift_detail: str | None
    repaired: int
    last_error: str | None
    server_started: str | None
    agent_started: datetime
    pending: int
    up: bool
    calls: int | None
    load_pct: int | None


# What goes from one of the node's groups may stay in another: then it is what that one has.
_STEP = """
SELECT (SELECT control.node_group(%(node)s)), now.id, now.digest, now.known, c.tbl, c.key, coalesce(c.new,
       (SELECT e.value FROM control.entries e
         WHERE (e.kind, e.tbl, e.key) = (%(kind)s, c.tbl, c.key) AND e.scope = ANY(%(scopes)s) AND e.scope <> c.scope
         LIMIT 1))
  FROM (SELECT r.id, r.digest,
               EXISTS (SELECT FROM control.revisions h WHERE h.id = %(held)s AND h.digest = %(digest)s) AS known
          FROM control.revisions r ORDER BY r.id DESC LIMIT 1) AS now
  LEFT JOIN LATERAL (
       SELECT revision, scope, tbl, key, new FROM control.changes
        WHERE kind = %(kind)s AND scope = ANY(%(scopes)s) AND revision > %(held)s AND revision <= now.id AND now.known
        ORDER BY revision LIMIT %(limit)s) AS c ON true
 ORDER BY c.revision"""

_SNAPSHOT = """
COPY (SELECT {distinct} tbl, key, value FROM control.entries WHERE kind = %s AND scope = ANY(%s)
       ORDER BY tbl COLLATE "C", key COLLATE "C") TO STDOUT"""

_NODE = """
SELECT n.kind, control.node_group(n.name) FROM public.nodes n WHERE n.name = %s"""

_REPORT = """
INSERT INTO control.node_state AS s
       (node, kind, revision, verified_revision, verified_at, drift, drift_detail, repaired, last_error, server_started,
        agent_started, heard_at, pending, up, calls, load_pct)
VALUES (%(node)s, %(kind)s, %(revision)s, %(verified_revision)s,
        %(verified_at)s, %(drift)s, %(drift_detail)s, %(repaired)s,
        %(last_error)s, %(server_started)s, %(agent_started)s,
        clock_timestamp(), %(pending)s, %(up)s, %(calls)s, %(load_pct)s)
ON CONFLICT (node) DO UPDATE SET (kind, revision, verified_revision, verified_at, drift, drift_detail, repaired,
       last_error, server_started, agent_started, heard_at, pending, up, calls, load_pct)
     = (excluded.kind, excluded.revision, coalesce(excluded.verified_revision, s.verified_revision),
        coalesce(excluded.verified_at, s.verified_at), excluded.drift, excluded.drift_detail, excluded.repaired,
        excluded.last_error, excluded.server_started, excluded.agent_started, excluded.heard_at, excluded.pending,
        excluded.up, excluded.calls, excluded.load_pct)
RETURNING CASE WHEN %(kind)s = 'media' THEN control.counts_accounts(%(node)s) END"""
_ACCOUNTS = """
INSERT INTO control.node_calls (node, accounts) VALUES (%(node)s, %(accounts)s)
ON CONFLICT (node) DO UPDATE SET (accounts, at) = (excluded.accounts, clock_timestamp())"""

_DIGESTS = """
INSERT INTO control.node_digests AS d (node, tbl, revision, of_group, entries, buckets, at)
VALUES (%(node)s, %(table)s, %(revision)s, %(group)s, %(entries)s, %(buckets)s, %(at)s)
ON CONFLICT (node, tbl) DO UPDATE SET (revision, of_group, entries, buckets, at)
     = (excluded.revision, excluded.of_group, excluded.entries, excluded.buckets, excluded.at)"""


class Store:
    """One connection for work, one that listens. Every psycopg error comes out as DatabaseError."""

    def __init__(self, conninfo: str, node: str) -> None:
        self._conninfo = conninfo
        self._node = node
        self._work: AsyncConnection | None = None
        self._listen: AsyncConnection | None = None
        self._kind = ""
        self._ahead = timedelta()

    @property
    def connected(self) -> bool:
        """Both connections stand, as far as is known."""
        return self._work is not None and not self._work.closed

    async def connect(self, kind: str) -> Node:
        """Connect, listen, read the node's row. InputError: there is none, or it is of another kind."""
        await self.close()
        with _named(self._conninfo):
            self._listen = await self._connection("listens")
            for channel in CHANNELS:
                await self._listen.execute(f"LISTEN {channel}")
            self._work = await self._connection("works")
            # What is lost with the last moments of a database is reported again anyway.
            await self._work.execute("SET synchronous_commit = off")
            before = datetime.now(UTC)
            clock = await (await self._work.execute("SELECT clock_timestamp()")).fetchone()
            if clock is not None:
                self._ahead = clock[0] - before
            row = await (await self._work.execute(_NODE, (self._node,))).fetchone()
        if row is None:
            raise InputError(
                f"node {self._node}: no such row in public.nodes; insert it, or set DIALPLANE_NODE to the node's name"
            )
        if row[0] != kind:
            raise InputError(
                f"node {self._node} is of kind {row[0]} in the database, this agent serves {kind}: correct the row,"
                " or DIALPLANE_NODE"
            )
        self._kind = row[0]
        return Node(row[0], row[1] or "")

    async def _connection(self, what: str) -> AsyncConnection:
        return await AsyncConnection.connect(
            self._conninfo,
            application_name=f"dialplane agent {self._node} {what}",
            autocommit=True,
            **held(self._conninfo),
        )

    async def close(self) -> None:
        """Close both connections."""
        for connection in (self._work, self._listen):
            if connection is not None:
                await connection.close()
        self._work = self._listen = None

    def _working(self) -> AsyncConnection:
        if self._work is None:
            raise DatabaseError("not connected to PostgreSQL")
        return self._work

    async def notifications(self) -> AsyncIterator[str]:
        """Channel names, as notifications come; ends with DatabaseError."""
        if self._listen is None:
            raise DatabaseError("not connected to PostgreSQL")
        with _named(self._conninfo):
            async for notify in self._listen.notifies():
                yield notify.channel
        raise DatabaseError("PostgreSQL closed the connection that listens")

    async def step(self, group: str, held: int, digest: str) -> Step:
        """What leads from the held revision to the newest, squashed to one change per key."""
        with _named(self._conninfo):
            cursor = await self._working().execute(
                _STEP,
                {
                    "held": held,
                    "digest": digest,
                    "kind": self._kind,
                    "node": self._node,
                    "scopes": scopes(group),
                    "limit": MAX_CHANGES + 1,
                },
            )
            rows = await cursor.fetchall()
        if not rows:
            return Step(0, "", [], group)
        now, newest, newest_digest, known = rows[0][:4]
        if not known or held > newest or len(rows) > MAX_CHANGES:
            return Step(newest, newest_digest, None, now or group)
        changes = squashed(Wanted(*row[4:]) for row in rows if row[4] is not None)
        return Step(newest, newest_digest, changes, now or group)

    async def report(self, report: Report) -> bool:
        """Write the node's state. A trigger tells those who listen, unless only the time differs.

        Whether the calls of each account are wanted too: the cluster is nearly full.
        """
        with _named(self._conninfo):
            cursor = await self._working().execute(
                _REPORT, {"node": self._node, "kind": self._kind} | report._asdict()
            )
            row = await cursor.fetchone()
        return bool(row and row[0])

    async def accounts(self, counts: Mapping[str, int] | None) -> None:
        """Write how many calls each account has here; None: nobody wants to know any more."""
        with _named(self._conninfo):
            if counts is None:
                await self._working().execute("DELETE FROM control.node_calls WHERE node = %s", (self._node,))
            else:
                await self._working().execute(
                    _ACCOUNTS, {"node": self._node, "accounts": Jsonb(dict(counts))}
                )

    async def digests(self, revision: int, group: str, at: datetime, found: Mapping[str, Digests]) -> None:
        """Write what the server held of each table when a comparison that began at that revision ended."""
        with _named(self._conninfo):
            for table, one in found.items():
                await self._working().execute(
                    _DIGESTS,
                    {"node": self._node, "table": table, "revision": revision, "group": group, "at": at}
                    | {"entries": one.entries, "buckets": list(one.buckets)},
                )

    def now(self) -> datetime:
        """The database's time: whoever asked for a comparison compares with that."""
        return datetime.now(UTC) + self._ahead

    def snapshot(self, state: State, group: str) -> tuple[int, int]:
        """Load everything the node holds into the state file; revision and number of entries.

        Synchronous, on a connection of its own: run it in a thread.
        """
        with (
            _named(self._conninfo),
            psycopg.connect(
                self._conninfo,
                application_name=f"dialplane agent {self._node} snapshot",
                **held(self._conninfo),
            ) as connection,
        ):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = connection.execute(
                "SELECT id, digest FROM control.revisions ORDER BY id DESC LIMIT 1"
            ).fetchone()
            revision, digest = row or (0, "")
            # An account may be served by two of the node's groups: each entry once.
            distinct = 'DISTINCT ON (tbl COLLATE "C", key COLLATE "C")' if "+" in group else ""
            with connection.cursor().copy(
                _SNAPSHOT.format(distinct=distinct), (self._kind, scopes(group))
            ) as copy:
                count = state.load(_rows(copy), revision, digest, group)
        return revision, count


def scopes(group: str) -> list[str]:
    """Scopes of the entries that a node of this group holds."""
    return ["*", *group.split("+")]


def squashed(changes: Iterator[Wanted]) -> list[Wanted]:
    """The last change of each key, in the order of those last changes."""
    last: dict[tuple[str, str], Wanted] = {}
    for change in changes:
        last.pop((change.table, change.key), None)
        last[change.table, change.key] = change
    return list(last.values())


def _rows(copy: psycopg.Copy) -> Iterator[tuple[str, str, str]]:
    yield from copy.rows()


@contextmanager
def _named(conninfo: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        parts = conninfo_to_dict(conninfo)
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        host, name = (
            parts.get("host") or "local socket",
            parts.get("dbname") or "of the same name as the user",
        )
        raise DatabaseError(f"PostgreSQL at {host}, database {name}: {said}") from error
