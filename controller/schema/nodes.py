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
