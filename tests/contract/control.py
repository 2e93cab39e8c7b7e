"""A database of the suite: the real schema in an embedded PostgreSQL, and revisions published by hand."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from controller.schema.migrate import migrate


def made(url: str) -> None:
    """Migrate, and add an edge and a media node."""
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO public.clusters (name) VALUES ('c1') ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO public.device_groups (name) VALUES ('g1') ON CONFLICT DO NOTHING")
        connection.execute("""
            INSERT INTO public.nodes (name, kind, device_group_id, address)
            SELECT 'edge1', 'edge', id, '10.0.0.1' FROM public.device_groups WHERE name = 'g1'""")
        connection.execute("""
            INSERT INTO public.nodes (name, kind, cluster_id, address)
            SELECT 'media1', 'media', id, '10.0.0.2' FROM public.clusters WHERE name = 'c1'""")


class Control:
    """Publishes as the controller does, and reads what the nodes report."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)

    def publish(self, kind: str, changes: list[tuple[str, str, str | None]], scope: str = "*") -> int:
        """One revision with these (table, key, value); its number."""
        with self.connection.transaction():
            row = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM control.revisions").fetchone()
            assert row is not None
            number = int(row[0])
            self.connection.execute(
                "INSERT INTO control.revisions (id, state, digest, author, reason)"
                " VALUES (%s, 'configuration', %s, 'test', 'test')",
                (number, f"digest {number}"),
            )
            for table, key, value in changes:
                place = (kind, scope, table, key)
                old = self.connection.execute(
                    "DELETE FROM control.entries WHERE (kind, scope, tbl, key) = (%s, %s, %s, %s) RETURNING value",
                    place,
                ).fetchone()
                if value is not None:
                    self.connection.execute(
                        "INSERT INTO control.entries (kind, scope, tbl, key, value, revision)"
                        " VALUES (%s, %s, %s, %s, %s, %s)",
                        (*place, value, number),
                    )
                if value != (old[0] if old else None):
                    self.connection.execute(
                        "INSERT INTO control.changes VALUES (%s, %s, %s, %s, %s, null, %s, %s, 'test')",
                        (number, *place, old[0] if old else None, value),
                    )
            self.connection.execute("SELECT pg_notify('dialplane_revision', %s)", (str(number),))
        return number

    def state(self, node: str) -> dict[str, Any]:
        """The node's report; empty before the first."""
        row = self.connection.execute(
            "SELECT to_json(s)::text FROM control.node_state s WHERE node = %s", (node,)
        ).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def live(self, node: str, revision: int) -> bool:
        """The node says it holds the revision."""
        state = self.state(node)
        return state.get("revision", 0) >= revision and not state["pending"] and not state["last_error"]
