"""The entries as a decider asks for them: as published now, or as they were (or will be) at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from controller.policy import snapshot as policy
from controller.policy.nodes import of_target
from controller.tiers.pick import Condition, Node

# One row per entry: as published now, without do not disturb and members away whose time will be over. Blocks and
# overrides of schedules say their end themselves.
_NOW = """
    SELECT e.key, e.value FROM control.entries e
     WHERE e.kind = %(kind)s AND e.scope = ANY (%(scopes)s) AND e.tbl = %(table)s AND {condition}
       AND NOT (e.tbl IN ('flag', 'dnd') AND EXISTS (
            SELECT FROM (SELECT published, until FROM public.user_states
                         UNION ALL SELECT published, until FROM public.group_away) AS s
             WHERE s.until <= %(at)s
               AND s.published @> jsonb_build_array(jsonb_build_object('tbl', e.tbl, 'key', e.key))))"""
# The same from history: the last value an entry had by then.
_THEN = """
    SELECT key, value FROM (
        SELECT DISTINCT ON (e.kind, e.scope, e.key) e.key, e.new AS value
          FROM control.changes e JOIN control.revisions r ON r.id = e.revision
         WHERE e.kind = %(kind)s AND e.scope = ANY (%(scopes)s) AND e.tbl = %(table)s AND {condition}
           AND r.created_at <= %(at)s
         ORDER BY e.kind, e.scope, e.key, e.revision DESC) AS latest
     WHERE value IS NOT NULL"""
_TURNS = "SELECT group_name, memory FROM control.group_turns WHERE account = %s"
_RINGING = "SELECT group_name FROM control.group_calls WHERE account = %s AND until > clock_timestamp()"
_REGISTERED = "SELECT aor, sum(contacts)::int FROM control.registrations WHERE aor = ANY (%s) GROUP BY aor"
_MEDIA = """
    SELECT n.name, n.weight, n.state, n.call_cap, n.load_limit_pct, coalesce(d.takes, false), coalesce(d.lost, true),
           coalesce(d.why, 'its agent never reported'), coalesce(d.share_tenths, 10)
      FROM public.nodes n
      JOIN public.clusters c ON c.id = n.cluster_id
      LEFT JOIN control.node_condition d ON d.node = n.name
     WHERE c.name = %s AND n.kind = 'media' ORDER BY n.name"""
_FLAGS = ("dnd", "away", "override")


class Published:
    """What every node holds; implements `controller.policy.Entries`.

    `at` in the past answers from the history of revisions, in the future from the present ones less the blocks and
    states of users that will have ended; None: now. Who was registered then, and what groups remembered, is not kept.
    """

    def __init__(self, connection: Connection[Any], at: datetime | None = None) -> None:
        self._connection = connection
        self._at = at
        self._contexts: dict[tuple[str, str], dict[str, str]] = {}
        self._snapshots: dict[tuple[str, str], policy.Snapshot] = {}
        self.now = at or datetime.now(UTC)
        self._past = at is not None and at < datetime.now(UTC)
        self._statement = _THEN if self._past else _NOW

    def edge(self, table: str, key: str) -> str | None:
        """Value in a table of the edges."""
        return self._value("edge", ["*"], table, key)

    def media(self, cluster: str) -> tuple[tuple[Node, Condition], ...]:
        """Media nodes of a cluster and their conditions; of the past only those that took calls are kept."""
        if self._past:
            return of_target(self.edge("target", cluster))
        rows = self._connection.execute(_MEDIA, (cluster,)).fetchall()
        return tuple((Node(*row[:5]), Condition(*row[5:])) for row in rows)

    def mailbox(self, cluster: str, key: str) -> str | None:
        """A mailbox as the media nodes of a cluster hold it."""
        return self._value("media", ["*", cluster], "mailbox", key)

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        """A whole context as the media nodes of a cluster hold it: extension -> value."""
        if (cluster, context) not in self._contexts:
            rows = self._query("media", ["*", cluster], "dialplan", "e.key ^@ %(key)s", f"{context}/")
            self._contexts[cluster, context] = {key[len(context) + 1 :]: value for key, value in rows}
        return self._contexts[cluster, context]

    def snapshot(self, cluster: str, account: str) -> policy.Snapshot:
        """What decisions about calls of an account look at, as the AGI server beside a node finds it."""
        if (cluster, account) not in self._snapshots:
            self._snapshots[cluster, account] = self._snapshot(cluster, account)
        return self._snapshots[cluster, account]

    def _snapshot(self, cluster: str, account: str) -> policy.Snapshot:
        scopes = ["*", cluster]
        entries = dict(self._query("media", scopes, "policy", "e.key ^@ %(key)s", f"{account}/"))
        flags: dict[str, str] = {}
        for family in _FLAGS:
            flags |= dict(self._query("media", scopes, "flag", "e.key ^@ %(key)s", f"{family}/{account}/"))
        found = policy.snapshot(account, entries, policy.live(account, flags))
        if not entries or self._past:
            return found
        aors = [device for user in found.users.values() for device in user.devices]
        aors += [one.device for group in found.groups.values() for one in group.members if one.device]
        registered = dict.fromkeys(aors, 0) | dict(self._connection.execute(_REGISTERED, (aors,)).fetchall())
        turns = {
            group: policy.Turn.of(memory) for group, memory in self._connection.execute(_TURNS, (account,))
        }
        rings = self._connection.execute(_RINGING, (account,)).fetchall() if self._at is None else ()
        ringing = frozenset(group for (group,) in rings)
        return replace(found, live=replace(found.live, registered=registered, turns=turns, ringing=ringing))

    def _value(self, kind: str, scopes: list[str], table: str, key: str) -> str | None:
        rows = self._query(kind, scopes, table, "e.key = %(key)s", key)
        return rows[0][1] if rows else None

    def _query(
        self, kind: str, scopes: list[str], table: str, condition: str, key: str
    ) -> list[tuple[str, str]]:
        parameters = {"kind": kind, "scopes": scopes, "table": table, "key": key, "at": self._at}
        return self._connection.execute(self._statement.format(condition=condition), parameters).fetchall()
