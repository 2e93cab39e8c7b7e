"""Operational state: published by the transaction that changes the row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from controller.entries import Address, Change, digest

BLOCK = "INSERT INTO blocks (scope, subject, what, reason) VALUES "


def target(connection: psycopg.Connection, cluster: str = "c1") -> str | None:
    row = connection.execute(
        "SELECT value FROM control.entries WHERE (kind, scope, tbl, key) = ('edge', '*', 'target', %s)",
        (cluster,),
    ).fetchone()
    return None if row is None else str(row[0])


def newest(connection: psycopg.Connection) -> dict[str, Any]:
    cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
    return cursor.execute("SELECT * FROM control.revisions ORDER BY id DESC LIMIT 1").fetchone() or {}


def changes(connection: psycopg.Connection, revision: int) -> list[Change]:
    return [
        Change(Address(*row[:4]), *row[4:])
        for row in connection.execute(
            "SELECT kind, scope, tbl, key, old, new, account, reason FROM control.changes WHERE revision = %s "
            "ORDER BY tbl, key",
            (revision,),
        )
    ]


BOTH = "media1=10.213.0.21:5060,10 media2=10.213.0.22:5060,10"


def test_targets_follow_the_nodes(rows: psycopg.Connection) -> None:
    assert target(rows) == BOTH
    rows.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    assert target(rows) == "media2=10.213.0.22:5060,10"
    rows.execute("UPDATE nodes SET state = 'enabled', weight = 20 WHERE name = 'media1'")
    assert target(rows) == "media1=10.213.0.21:5060,20 media2=10.213.0.22:5060,10"
    rows.execute("UPDATE nodes SET address = '2001:db8::21' WHERE name = 'media1'")
    assert target(rows) == "media1=[2001:db8::21]:5060,20 media2=10.213.0.22:5060,10"
    rows.execute("UPDATE nodes SET state = 'disabled' WHERE kind = 'media'")
    assert target(rows) is None


def test_node_moves_and_cluster_is_renamed(rows: psycopg.Connection) -> None:
    rows.execute("INSERT INTO clusters (name) VALUES ('c2')")
    rows.execute(
        "UPDATE nodes SET cluster_id = c.id FROM clusters c WHERE c.name = 'c2' AND nodes.name = 'media2'"
    )
    assert target(rows) == "media1=10.213.0.21:5060,10"
    assert target(rows, "c2") == "media2=10.213.0.22:5060,10"
    rows.execute("UPDATE clusters SET name = 'c3' WHERE name = 'c2'")
    assert target(rows, "c2") is None
    assert target(rows, "c3") == "media2=10.213.0.22:5060,10"
    rows.execute("DELETE FROM nodes WHERE name = 'media2'")
    assert target(rows, "c3") is None


def test_one_revision_per_transaction_with_the_controllers_digest(rows: psycopg.Connection) -> None:
    before = newest(rows)["id"]
    rows.execute("SET LOCAL dialplane.actor = 'fraud-watch'")
    rows.execute(f"{BLOCK} ('account', 'acme', '+88213', 'fraud'), ('all', '*', '+88216', 'fraud')".encode())
    rows.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    rows.execute("UPDATE blocks SET reason = 'fraud-2' WHERE subject = 'acme'")
    revision = newest(rows)
    assert revision["id"] == before + 1
    assert revision["base"] == before
    assert revision["state"] == "operational"
    assert revision["author"] == "postgres (fraud-watch)"
    assert (revision["creates"], revision["updates"], revision["deletes"]) == (4, 1, 0)
    found = changes(rows, revision["id"])
    assert [(one.address.key, one.old, one.new, one.account) for one in found] == [
        ("account:acme", None, "0/+88/;lengths=06", "acme"),
        ("account:acme:+88213", None, "fraud-2", "acme"),
        ("all:*", None, "0/+88/;lengths=06", None),
        ("all:*:+88216", None, "fraud", None),
        ("c1", BOTH, "media2=10.213.0.22:5060,10", None),
    ]
    assert revision["digest"] == digest(found)


def test_a_change_taken_back_in_the_same_transaction_is_none(rows: psycopg.Connection) -> None:
    rows.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    rows.execute("UPDATE nodes SET state = 'enabled' WHERE name = 'media1'")
    revision = newest(rows)
    assert changes(rows, revision["id"]) == []
    assert revision["digest"] == digest([])
    assert target(rows) == BOTH


def test_nothing_published_when_no_value_changes(rows: psycopg.Connection) -> None:
    before = newest(rows)["id"]
    rows.execute("UPDATE nodes SET weight = weight")
    rows.execute("UPDATE nodes SET sip_port = 5061 WHERE kind = 'edge'")
    assert newest(rows)["id"] == before


def test_blocks_are_renamed_lifted_and_expire(rows: psycopg.Connection) -> None:
    keys = "SELECT key FROM control.entries WHERE tbl = 'block' AND key LIKE '%:%:%' ORDER BY key"
    rows.execute(
        f"{BLOCK} ('source', '203.0.113.9', '*', 'scanner'), ('all', '*', '+88216', 'fraud')".encode()
    )
    rows.execute("UPDATE blocks SET subject = '203.0.113.10' WHERE scope = 'source'")
    assert rows.execute(keys.encode()).fetchall() == [("all:*:+88216",), ("source:203.0.113.10:*",)]
    rows.execute("UPDATE blocks SET expires_at = now() - interval '1 s' WHERE scope = 'all'")
    rows.execute("UPDATE blocks SET expires_at = now() + interval '1 h' WHERE scope = 'source'")
    assert rows.execute("SELECT control.release_expired_blocks()").fetchone() == (1,)
    assert rows.execute(keys.encode()).fetchall() == [("source:203.0.113.10:*",)]
    rows.execute("DELETE FROM blocks")
    assert rows.execute("SELECT key FROM control.entries WHERE tbl = 'block'").fetchall() == []


def test_listeners_hear_the_number_at_commit(sample: str) -> None:
    with psycopg.connect(sample, autocommit=True) as listener, psycopg.connect(sample) as admin:
        listener.execute("LISTEN dialplane_revision")
        for state in ("draining", "enabled"):
            admin.execute("UPDATE nodes SET state = %s WHERE name = 'media1'", (state,))
            admin.commit()
        last = newest(admin)["id"]
        heard = [one.payload for one in listener.notifies(timeout=0.5)]
    assert heard == [str(last - 1), str(last)]


def test_two_nodes_of_a_cluster_drained_at_once_are_both_gone(sample: str) -> None:
    """The second must look again after the first has committed."""
    with psycopg.connect(sample) as first, psycopg.connect(sample) as second, ThreadPoolExecutor() as pool:
        first.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
        waiting = pool.submit(second.execute, "UPDATE nodes SET state = 'draining' WHERE name = 'media2'")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        first.commit()
        waiting.result(timeout=10)
        second.commit()
        assert target(first) is None
        first.execute("UPDATE nodes SET state = 'enabled'")
        first.commit()
        assert target(first) == BOTH


def test_publishers_take_turns_and_numbers_have_no_gap(sample: str) -> None:
    def drain(name: str) -> None:
        with psycopg.connect(sample) as one:
            for state in ("draining", "enabled") * 5:
                one.execute("UPDATE nodes SET state = %s WHERE name = %s", (state, name))
                one.commit()

    with ThreadPoolExecutor() as pool:
        list(pool.map(drain, ("media1", "media2")))
    with psycopg.connect(sample) as connection:
        numbers = [number for (number,) in connection.execute("SELECT id FROM control.revisions ORDER BY id")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert target(connection) == BOTH
        for number, kept in connection.execute("SELECT id, digest FROM control.revisions").fetchall():
            assert digest(changes(connection, number)) == kept


def test_news_of_a_node_is_told_and_a_sign_of_life_is_not(sample: str) -> None:
    with (
        psycopg.connect(sample, autocommit=True) as listener,
        psycopg.connect(sample, autocommit=True) as agent,
    ):
        listener.execute("LISTEN dialplane_node")
        agent.execute("INSERT INTO control.node_state (node, kind) VALUES ('edge1', 'edge')")
        agent.execute("UPDATE control.node_state SET heard_at = now()")
        agent.execute("UPDATE control.node_state SET revision = 2, heard_at = now()")
        assert [one.payload for one in listener.notifies(timeout=0.5)] == ["edge1", "edge1"]
