"""Do not disturb is live on edges and media nodes at commit."""

from __future__ import annotations

import psycopg

ENTRIES = "SELECT kind, scope, tbl, key, value FROM control.entries WHERE tbl IN ('dnd', 'flag')"
SET = "INSERT INTO user_states (account_id, user_id, dnd) SELECT account_id, id, %s FROM users WHERE name = 'alice'"


def held(rows: psycopg.Connection) -> list[tuple[str, ...]]:
    return rows.execute(f"{ENTRIES} ORDER BY kind").fetchall()


def both(user: str) -> list[tuple[str, ...]]:
    return [("edge", "*", "dnd", f"acme/{user}", "1"), ("media", "c1", "flag", f"dnd/acme/{user}", "1")]


def test_edges_and_media_nodes_hear_of_it(rows: psycopg.Connection) -> None:
    rows.execute(SET, (True,))
    assert held(rows) == both("alice")
    rows.execute("UPDATE users SET name = 'alicia' WHERE name = 'alice'")
    assert held(rows) == both("alicia")
    rows.execute("UPDATE user_states SET dnd = false")
    assert held(rows) == []
    rows.execute("UPDATE user_states SET dnd = true")
    rows.execute("DELETE FROM user_states")
    assert held(rows) == []


def test_who_may_be_disturbed_has_no_entry(rows: psycopg.Connection) -> None:
    rows.execute(SET, (False,))
    assert held(rows) == []
