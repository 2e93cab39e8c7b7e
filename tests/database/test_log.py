"""Change log, audit and the cursor."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from controller.schema import synthetic

ACME = "(SELECT id FROM accounts WHERE name = 'acme')"


def logged(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Changes of this transaction."""
    return connection.execute(
        "SELECT state, account, tbl, key, verb FROM control.change_log "
        "WHERE transaction = pg_current_xact_id() ORDER BY id"
    ).fetchall()


LOGGED = [
    (
        "UPDATE users SET enabled = false WHERE name = 'bob'",
        [("configuration", "acme", "users", "acme/bob", "update")],
    ),
    ("UPDATE users SET enabled = enabled", []),
    (
        "UPDATE devices SET call_limit = 3 WHERE name = 'app1'",
        [("configuration", "acme", "devices", "app1@acme.example", "update")],
    ),
    (
        "UPDATE domains SET account_id = (SELECT id FROM accounts WHERE name = 'acme') WHERE name = 'new.example'",
        [
            ("configuration", "acme", "domains", "new.example", "update"),
            ("configuration", "globex", "domains", "new.example", "update"),
        ],
    ),
    # The last account of its country goes: the shared rules of that country go as well.
    (
        "DELETE FROM accounts WHERE name = 'acme'",
        [
            ("configuration", "acme", "accounts", "acme", "delete"),
            ("configuration", None, "accounts", "countries", "delete"),
        ],
    ),
    (
        "INSERT INTO accounts (name, display_name, cluster_id, country) SELECT 'beta', 'Beta', id, 'DE' FROM clusters",
        [("configuration", "beta", "accounts", "beta", "insert")],
    ),
    (
        "INSERT INTO accounts (name, display_name, cluster_id, country) SELECT 'beta', 'Beta', id, 'FR' FROM clusters",
        [
            ("configuration", "beta", "accounts", "beta", "insert"),
            ("configuration", None, "accounts", "countries", "insert"),
        ],
    ),
    (
        "UPDATE accounts SET country = 'FR' WHERE name = 'acme'",
        [
            ("configuration", "acme", "accounts", "acme", "update"),
            ("configuration", None, "accounts", "countries", "update"),
        ],
    ),
    (
        "UPDATE accounts SET call_limit = 7 WHERE name = 'acme'",
        [("configuration", "acme", "accounts", "acme", "update")],
    ),
    (
        "UPDATE nodes SET state = 'draining' WHERE name = 'media1'",
        [("operational", None, "nodes", "media1", "update")],
    ),
    (
        "UPDATE nodes SET state = 'draining', sip_port = 5070 WHERE name = 'media1'",
        [("configuration", None, "nodes", "media1", "update")],
    ),
    (
        "INSERT INTO blocks (scope, subject, what, reason) VALUES ('account', 'acme', '+88213', 'fraud')",
        [("operational", None, "blocks", "account:acme:+88213", "insert")],
    ),
    (
        "UPDATE routes SET weight = 5 WHERE prefix = '44'",
        [
            ("configuration", None, "routes", "*/44/carrier-b", "update"),
            ("configuration", None, "routes", "*/44/carrier-a", "update"),
        ],
    ),
    (
        "DELETE FROM trunk_addresses WHERE address = '10.213.0.31'",
        [("configuration", None, "trunk_addresses", "10.213.0.31/32", "delete")],
    ),
    ("UPDATE settings SET value = 'zone.example'", [("configuration", None, "settings", "zone", "update")]),
    (
        "DELETE FROM emergency_routes USING emergency_numbers n, trunks t WHERE n.id = emergency_number_id "
        "AND t.id = trunk_id AND n.number = '110' AND t.name = 'carrier-b'",
        [("configuration", None, "emergency_routes", "DE:110/carrier-b", "delete")],
    ),
]


@pytest.fixture(autouse=True)
def _another_domain(rows: psycopg.Connection) -> None:
    rows.execute(
        "INSERT INTO domains (account_id, name) SELECT id, 'new.example' FROM accounts WHERE name = 'globex' "
        "ON CONFLICT DO NOTHING"
    )
    rows.commit()


@pytest.mark.parametrize(("statement", "changes"), LOGGED, ids=[one[0][:60] for one in LOGGED])
def test_logged(rows: psycopg.Connection, statement: str, changes: list[tuple[Any, ...]]) -> None:
    rows.execute(statement.encode())
    assert sorted(map(str, logged(rows))) == sorted(map(str, changes))


def test_audit_tells_who_and_what_without_digests(rows: psycopg.Connection) -> None:
    rows.execute("SET LOCAL dialplane.actor = 'anna'")
    rows.execute("SELECT set_device_password('desk1@acme.example', 'a brand new secret')")
    rows.execute("SELECT set_mailbox_pin('101', 'acme', '987654')")
    rows.execute("UPDATE users SET display_name = 'Alice Aal' WHERE name = 'alice'")
    found = rows.execute(
        "SELECT by, tbl, key, verb, old, new FROM control.audit ORDER BY id DESC LIMIT 3"
    ).fetchall()
    user, mailbox, device = found
    assert user[:4] == ("postgres (anna)", "users", "acme/alice", "update")
    assert (user[4]["display_name"], user[5]["display_name"]) == ("Alice Anders", "Alice Aal")
    assert mailbox[5]["pin_digest"] == "changed"
    assert device[5]["ha1_md5"] == device[5]["ha1_sha256"] == device[4]["ha1_md5"] == "changed"
    everything = str(rows.execute("SELECT * FROM control.audit").fetchall())
    for secret in rows.execute("SELECT ha1_md5 FROM devices UNION SELECT pin_digest FROM voicemail_boxes"):
        assert str(secret[0]) not in everything
    rows.execute("UPDATE devices SET call_limit = 9 WHERE name = 'desk1'")
    last = rows.execute("SELECT new FROM control.audit ORDER BY id DESC LIMIT 1").fetchone()
    assert last is not None
    assert "ha1_md5" not in last[0]


def test_one_notification_per_transaction(sample: str, rows: psycopg.Connection) -> None:
    with psycopg.connect(sample, autocommit=True) as listener:
        listener.execute("LISTEN dialplane_change")
        rows.execute("UPDATE users SET language = 'de'")
        rows.execute("UPDATE devices SET call_limit = 4")
        rows.commit()
        rows.execute("UPDATE users SET language = language")
        rows.commit()
        heard = list(listener.notifies(timeout=0.5))
    assert [one.channel for one in heard] == ["dialplane_change"]


def test_no_change_is_lost_that_commits_late(sample: str) -> None:
    """A smaller id of the log may commit after a publisher has seen a greater one."""
    with (
        psycopg.connect(sample) as slow,
        psycopg.connect(sample) as fast,
        psycopg.connect(sample) as publisher,
    ):
        slow.execute("UPDATE users SET display_name = 'Slow' WHERE name = 'bob'")
        fast.execute("UPDATE users SET display_name = 'Fast' WHERE name = 'carol'")
        fast.commit()
        publisher.execute(
            "INSERT INTO control.change_cursor (state, position, snapshot) "
            "SELECT 'configuration', max(id), pg_current_snapshot() FROM control.change_log"
        )
        publisher.commit()
        pending = "SELECT key FROM control.pending_changes ORDER BY key"
        assert publisher.execute(pending).fetchall() == []
        publisher.commit()
        slow.commit()
        assert publisher.execute(pending).fetchall() == [("acme/bob",)]
        fast.execute("UPDATE users SET display_name = 'Later' WHERE name = 'alice'")
        fast.commit()
        assert publisher.execute(pending).fetchall() == [("acme/alice",), ("acme/bob",)]
        publisher.execute("DELETE FROM control.change_cursor")


def test_bulk_load_stays_fast(database: str) -> None:
    """The floor is far below what is measured (25,000 rows/s): it catches a trigger per row, not a slow day."""
    with psycopg.connect(database) as connection:
        synthetic.fill(connection, 300, 10)
        found = connection.execute(
            "SELECT count(*), count(*) / extract(epoch FROM clock_timestamp() - now()) FROM control.change_log"
        ).fetchone()
        sample = connection.execute(
            "SELECT ha1_md5 = md5('d1:bench000007.example:' || %s) FROM devices AS d "
            "JOIN domains AS m ON m.id = domain_id WHERE m.name = 'bench000007.example' AND d.name = 'd1'",
            (synthetic.password("d1@bench000007.example"),),
        ).fetchone()
    assert found is not None
    assert found[0] == 1 + 1 + 300 * 2 + 3000 * 4  # cluster, country, rows
    assert found[1] > 4000
    assert sample == (True,)
