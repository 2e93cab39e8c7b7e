"""The entries as a decider asks for them: as published now, or as they were (or will be) at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import Connection

# One row per entry: as published now, without the blocks whose time will be over.
_NOW = """
    SELECT e.key, e.value FROM control.entries e
     WHERE e.kind = %(kind)s AND e.scope = ANY (%(scopes)s) AND e.tbl = %(table)s AND {condition}
       AND NOT (e.tbl = 'block' AND EXISTS (
            SELECT FROM public.blocks b
             WHERE concat_ws(':', b.scope, b.subject, b.what) = e.key AND b.expires_at <= %(at)s))"""
# The same from history: the last value an entry had by then.
_THEN = """
    SELECT key, value FROM (
        SELECT DISTINCT ON (e.kind, e.scope, e.key) e.key, e.new AS value
          FROM control.changes e JOIN control.revisions r ON r.id = e.revision
         WHERE e.kind = %(kind)s AND e.scope = ANY (%(scopes)s) AND e.tbl = %(table)s AND {condition}
           AND r.created_at <= %(at)s
         ORDER BY e.kind, e.scope, e.key, e.revision DESC) AS latest
     WHERE value IS NOT NULL"""


class Published:
    """What every node holds; implements `controller.policy.Entries`.

    `at` in the past answers from the history of revisions, in the future from the present ones less the blocks that
    will have expired; None: now.
    """

    def __init__(self, connection: Connection[Any], at: datetime | None = None) -> None:
        self._connection = connection
        self._at = at
        self._contexts: dict[tuple[str, str], dict[str, str]] = {}
        self._statement = _THEN if at is not None and at < datetime.now(at.tzinfo) else _NOW

    def edge(self, table: str, key: str) -> str | None:
        """Value in a table of the edges."""
        return self._value("edge", ["*"], table, key)

    def mailbox(self, cluster: str, key: str) -> str | None:
        """A mailbox as the media nodes of a cluster hold it."""
        return self._value("media", ["*", cluster], "mailbox", key)

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        """A whole context as the media nodes of a cluster hold it: extension -> value."""
        if (cluster, context) not in self._contexts:
            rows = self._query("media", ["*", cluster], "dialplan", "e.key ^@ %(key)s", f"{context}/")
            self._contexts[cluster, context] = {key[len(context) + 1 :]: value for key, value in rows}
        return self._contexts[cluster, context]

    def _value(self, kind: str, scopes: list[str], table: str, key: str) -> str | None:
        rows = self._query(kind, scopes, table, "e.key = %(key)s", key)
        return rows[0][1] if rows else None

    def _query(
        self, kind: str, scopes: list[str], table: str, condition: str, key: str
    ) -> list[tuple[str, str]]:
        parameters = {"kind": kind, "scopes": scopes, "table": table, "key": key, "at": self._at}
        return self._connection.execute(self._statement.format(condition=condition), parameters).fetchall()
