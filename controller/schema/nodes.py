"""The operational columns of `nodes`: live at commit, by the triggers."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from controller.errors import InputError


def set_state(connection: Connection[Any], name: str, state: str) -> str:
    """Set a node's state (enabled, draining, disabled); return the one before. Commit is the caller's."""
    row = connection.execute("SELECT state FROM public.nodes WHERE name = %s FOR UPDATE", (name,)).fetchone()
    if row is None:
        raise InputError(f"there is no node {name} (dialplane node list)")
    connection.execute(
        "UPDATE public.nodes SET state = %s WHERE name = %s AND state <> %s", (state, name, state)
    )
    return str(row[0])


def registered(connection: Connection[Any], edge: str) -> int | None:
    """How many devices are registered at an edge; None: its agent does not say at present."""
    row = connection.execute(
        """
        SELECT count(r.aor) FROM control.registrars_known k
          LEFT JOIN control.registrations r ON r.edge = k.edge AND r.contacts > 0
         WHERE k.edge = %s AND k.known GROUP BY k.edge""",
        (edge,),
    ).fetchone()
    return None if row is None else int(row[0])
