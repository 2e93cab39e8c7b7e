"""What a look at agreement reads from the database, and what it writes there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.types.json import Jsonb

from controller.agreement import compare, digests
from controller.agreement.compare import Finding, Placed, Suspicion, Told
from controller.agreement.digests import Digests

# Of each kind of difference between rows and what is published so many are read; the rest when these are gone.
MOST = 1_000
# How often at most a node is asked to load everything anew.
RELOAD_S = 900
_SILENT_S = 10

# A row of what all share may be what an account waits for.
_PLACED = """
WITH pending AS MATERIALIZED (SELECT DISTINCT account FROM control.pending_changes)
SELECT d.account, d.what, d.expected, d.found,
       p.account IS NOT NULL OR EXISTS (SELECT FROM pending WHERE account IS NULL), h.account IS NOT NULL
  FROM control.placement_differences(%s) d
  LEFT JOIN pending p ON p.account = d.account
  LEFT JOIN control.held h ON h.account = coalesce(d.account, '')"""
_NODES = """
SELECT n.name, n.kind, control.node_group(n.name),
       s.heard_at IS NULL OR s.heard_at < clock_timestamp() - make_interval(secs => %s)
  FROM public.nodes n LEFT JOIN control.node_state s ON s.node = n.name
 WHERE n.state <> 'disabled' ORDER BY n.kind, n.name"""
_EMPTY = """
SELECT c.name, count(DISTINCT a.id), string_agg(DISTINCT n.name || ': ' || t.why, '; ')
  FROM public.accounts a
  JOIN public.clusters c ON c.id = a.cluster_id
  LEFT JOIN public.nodes n ON n.cluster_id = c.id
  LEFT JOIN control.takes_calls t ON t.node = n.name
 WHERE NOT EXISTS (SELECT FROM control.takes_calls u JOIN public.nodes m ON m.name = u.node
                    WHERE m.cluster_id = c.id AND u.takes)
 GROUP BY c.name ORDER BY c.name"""


class Node(NamedTuple):
    """A node that is not disabled; `group`: whose entries it holds, `scopes` of these."""

    name: str
    kind: str
    group: str
    silent: bool

    @property
    def scopes(self) -> tuple[str, ...]:
        return ("*", *self.group.split("+"))


def may_repair(connection: Connection[Any]) -> bool:
    """Whether the role may publish targets again, and ask agents."""
    row = connection.execute(
        "SELECT has_function_privilege('control.repair_targets()', 'execute')"
        " AND has_table_privilege('control.node_commands', 'insert')"
    ).fetchone()
    return bool(row and row[0])


def placed(connection: Connection[Any]) -> list[Placed]:
    """Accounts, clusters and edges whose published entries say otherwise than the rows."""
    found = connection.execute(_PLACED, (MOST,))
    return [Placed(*row) for row in found]


def empty_clusters(connection: Connection[Any]) -> list[Finding]:
    """Clusters that serve accounts and of which no media node takes calls."""
    return [
        Finding(
            None, f"cluster {cluster}, of {accounts} accounts", "media nodes", "one that takes calls",
            why or "no node", compare.LIST,
        )
        for cluster, accounts, why in connection.execute(_EMPTY)
    ]  # fmt: skip


def targets(connection: Connection[Any]) -> list[Finding]:
    """Targets that are not what rows and conditions say; they are published again."""
    found = connection.execute("SELECT cluster, expected, found FROM control.repair_targets()").fetchall()
    return [
        Finding(None, f"target {cluster}", "published", expected, now, compare.AGAIN)
        for cluster, expected, now in found
    ]


def told(connection: Connection[Any]) -> Iterator[Told]:
    """Each node's tables beside what is published for it; nodes with the same scopes are read for once."""
    nodes = [
        Node(name, kind, group or "", silent)
        for name, kind, group, silent in connection.execute(_NODES, (_SILENT_S,)).fetchall()
    ]
    kept = {
        (node, table): (revision, group, Digests(entries, tuple(buckets)))
        for node, table, revision, group, entries, buckets in connection.execute(
            "SELECT node, tbl, revision, of_group, entries, buckets FROM control.node_digests"
        )
    }
    oldest = min((revision for revision, *_ in kept.values()), default=None)
    changed: list[tuple[str, str, str, int]] = []
    if oldest is not None:
        changed = connection.execute("SELECT * FROM control.agreed_changes(%s)", (oldest,)).fetchall()
    published: dict[tuple[str, tuple[str, ...]], dict[str, Digests]] = {}
    used: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    for node in nodes:
        if (node.kind, node.scopes) not in used:
            used[node.kind, node.scopes] = _used(connection, node)
        scopes = used[node.kind, node.scopes]
        if (node.kind, scopes) not in published:
            published[node.kind, scopes] = _published(connection, node.kind, scopes)
        for table in digests.TABLES[node.kind]:
            revision, group, found = kept.get((node.name, table), (None, "", None))
            passed: set[int] = set()
            if found is not None and group != node.group:
                # It takes what its new group holds, and compares.
                passed = set(range(digests.BUCKETS))
            elif revision is not None:
                passed = {
                    digests.bucket(key)
                    for scope, one, key, since in changed
                    if since > revision and one == table and scope in scopes
                }
            expected = published[node.kind, scopes].get(table, digests.NONE)
            yield Told(node.name, node.kind, table, revision, node.silent, found, expected, passed)


def _used(connection: Connection[Any], node: Node) -> tuple[str, ...]:
    row = connection.execute("SELECT control.used_scopes(%s, %s)", (node.kind, list(node.scopes))).fetchone()
    return tuple(row[0]) if row else ()


def _published(connection: Connection[Any], kind: str, scopes: tuple[str, ...]) -> dict[str, Digests]:
    rows = connection.execute(
        "SELECT tbl, entries, buckets FROM control.published_digests(%s, %s)", (kind, list(scopes))
    )
    return {table: Digests(entries, tuple(buckets)) for table, entries, buckets in rows}


def entries(connection: Connection[Any], one: Suspicion) -> dict[str, str]:
    """What is published under the keys of the suspicious buckets."""
    row = connection.execute("SELECT control.node_group(%s)", (one.node,)).fetchone()
    scopes = ["*", *((row[0] if row else None) or "").split("+")]
    found = connection.execute(
        """SELECT key, value FROM control.agreed_entries(%s, %s)
            WHERE tbl = %s AND ('x' || left(md5(key), 2))::bit(8)::integer = ANY (%s)""",
        (one.kind, scopes, one.table, list(one.buckets)),
    )
    return dict(found.fetchall())


def reload(connection: Connection[Any], nodes: Iterable[str]) -> list[str]:
    """Ask agents to load everything anew, each at most once in RELOAD_S; the nodes asked."""
    asked = connection.execute(
        """INSERT INTO control.node_commands (node, verb, arguments)
           SELECT n.node, 'reload', '{}' FROM unnest(%s::text[]) AS n (node)
            WHERE NOT EXISTS (SELECT FROM control.node_commands c WHERE c.node = n.node AND c.verb = 'reload'
                                 AND c.asked_at > now() - make_interval(secs => %s))
           RETURNING node""",
        (sorted(set(nodes)), RELOAD_S),
    )
    return [node for (node,) in asked.fetchall()]


def keep(connection: Connection[Any], findings: list[Finding], sentence: str, took_ms: int) -> None:
    """Write what a look found, for doctor and for measures; what was found before keeps its time."""
    kept = Jsonb([one._asdict() for one in {one[:3]: one for one in findings[:MOST]}.values()])
    with connection.transaction():
        connection.execute(
            """DELETE FROM control.disagreements d WHERE NOT EXISTS (
                SELECT FROM jsonb_to_recordset(%s) AS s (account text, what text, "where" text)
                 WHERE (s.what, s."where") = (d.what, d.place) AND s.account IS NOT DISTINCT FROM d.account)""",
            (kept,),
        )
        connection.execute(
            """INSERT INTO control.disagreements (account, what, place, expected, found, done)
               SELECT account, what, "where", expected, found, done FROM jsonb_to_recordset(%s)
                   AS s (account text, what text, "where" text, expected text, found text, done text)
               ON CONFLICT (account, what, place) DO UPDATE
               SET (expected, found, done) = (excluded.expected, excluded.found, excluded.done)""",
            (kept,),
        )
        connection.execute(
            """INSERT INTO control.agreement (looked_at, took_ms, found, sentence)
               VALUES (clock_timestamp(), %s, %s, %s)
               ON CONFLICT (one) DO UPDATE SET (looked_at, took_ms, found, sentence)
                 = (excluded.looked_at, excluded.took_ms, excluded.found, excluded.sentence)""",
            (took_ms, len(findings), sentence),
        )
