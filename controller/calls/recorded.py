"""Rows of control.recordings. Connections as in `store.py`, whose errors hold here too."""

from __future__ import annotations

from typing import Any

from controller.calls.store import Connection

BATCH = 500
_COLUMNS = """SELECT r.call_id, r.began_at, r.account, r.why, r.node, r.path, r.asked_at, r.asked_by, r.removed_at,
    r.removed_because, c.caller, c.called, c.talk_ms
    FROM control.recordings r LEFT JOIN control.call_records c ON c.call_id = r.call_id"""


async def due(connection: Connection, node: str, *, old: bool, but: list[str]) -> list[tuple[str, str]]:
    """(path, why) of what the agent of the node shall remove: what was asked for, with `old` what is old; not `but`."""
    rows = await connection.execute(
        "SELECT path, because FROM control.recordings_due WHERE node = %s AND path <> ALL (%s)"
        + ("" if old else " AND asked_at IS NOT NULL")
        + " ORDER BY began_at LIMIT %s",
        (node, but, BATCH),
    )
    return [(row["path"], row["because"]) for row in await rows.fetchall()]


async def removed(connection: Connection, node: str, path: str, because: str) -> None:
    """The file is gone; its row stays."""
    await connection.execute(
        """UPDATE control.recordings SET removed_at = clock_timestamp(), removed_because = %s
        WHERE node = %s AND path = %s""",
        (because, node, path),
    )


async def newest(
    connection: Connection, account: str | None, limit: int, *, gone: bool
) -> list[dict[str, Any]]:
    """The newest recordings, of one account or of all; with `gone` also those whose files were removed."""
    rows = await connection.execute(
        f"{_COLUMNS} WHERE (%(account)s::text IS NULL OR r.account = %(account)s)"
        " AND (%(gone)s OR r.removed_at IS NULL) ORDER BY r.began_at DESC LIMIT %(limit)s",
        {"account": account, "limit": limit, "gone": gone},
    )
    return await rows.fetchall()


async def of_call(connection: Connection, call: str) -> list[dict[str, Any]]:
    """The recordings of the calls whose id begins so."""
    rows = await connection.execute(f"{_COLUMNS} WHERE r.call_id ^@ %s ORDER BY r.began_at, r.path", (call,))
    return await rows.fetchall()


async def ask_removal(connection: Connection, call: str) -> list[dict[str, Any]]:
    """Ask the agents to remove the recordings of the one call whose id begins so; which."""
    rows = await connection.execute(
        """UPDATE control.recordings SET asked_at = now(), asked_by = control.actor()
        WHERE removed_at IS NULL AND call_id = (SELECT min(call_id) FROM control.recordings WHERE call_id ^@ %s
            HAVING count(DISTINCT call_id) = 1) RETURNING node, path""",
        (call,),
    )
    return await rows.fetchall()
