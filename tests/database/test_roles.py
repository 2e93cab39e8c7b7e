"""What each group role may and may not do, as a login role that is a member of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

Login = Callable[[str], psycopg.Connection]
ROLES = ("admin", "controller", "agent", "reader", "fraud")


@pytest.fixture(scope="module")
def login(sample: str) -> Iterator[Login]:
    """Connect as a member of dialplane_<name>."""
    opened: list[psycopg.Connection] = []
    with psycopg.connect(sample, autocommit=True) as owner:
        for role in ROLES:
            owner.execute(f"CREATE ROLE test_{role} LOGIN IN ROLE dialplane_{role}".encode())

    def connect(name: str) -> psycopg.Connection:
        opened.append(psycopg.connect(make_conninfo(sample, user=f"test_{name}")))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
    with psycopg.connect(sample, autocommit=True) as owner:
        for role in ROLES:
            owner.execute(f"DROP ROLE test_{role}".encode())


REVISION = (
    "INSERT INTO control.revisions (id, state, digest, author, reason) "
    "SELECT max(id) + 1, 'configuration', '', 'x', 'x' FROM control.revisions"
)
MAY = [
    ("admin", "UPDATE users SET enabled = false WHERE name = 'bob'"),
    ("admin", "DELETE FROM accounts WHERE name = 'acme'"),
    ("admin", "INSERT INTO clusters (name) VALUES ('c7')"),
    ("admin", "UPDATE nodes SET state = 'draining'"),
    ("admin", "INSERT INTO blocks (scope, subject, what, reason) VALUES ('all', '*', '+88213', 'fraud')"),
    ("admin", "UPDATE extensions SET on_busy = 'extension:102' WHERE extension = '101'"),
    ("admin", "UPDATE routes SET priority = 30 WHERE prefix = '44'"),
    ("admin", "SELECT set_device_password('desk1@acme.example', 'a brand new secret')"),
    ("admin", "SELECT set_mailbox_pin('101', 'acme', '987654')"),
    ("admin", "SELECT set_trunk_password('carrier-a', 'us', 'carrier-a', 'x')"),
    ("admin", "SELECT * FROM control.audit"),
    ("controller", "SELECT ha1_md5 FROM devices"),
    ("controller", "SELECT * FROM control.pending_changes"),
    ("controller", REVISION),
    ("controller", "DELETE FROM control.entries"),
    ("controller", "UPDATE nodes SET state = 'draining' WHERE name = 'media1'"),
    (
        "controller",
        "INSERT INTO blocks (scope, subject, what, reason) VALUES ('all', '*', '+88213', 'fraud')",
    ),
    ("controller", "SELECT control.release_expired_blocks()"),
    ("controller", "SELECT control.publish_operational('media', '*', 'flag', 'dnd/acme/alice', '1')"),
    ("agent", "SELECT * FROM control.entries"),
    ("agent", "SELECT * FROM control.changes, control.revisions"),
    (
        "agent",
        "INSERT INTO control.node_state (node, kind) VALUES ('edge1', 'edge') "
        "ON CONFLICT (node) DO UPDATE SET heard_at = now()",
    ),
    (
        "agent",
        "INSERT INTO control.call_events (call_id, node, at, event, file_id, position) "
        "VALUES ('c', 'edge1', now(), 'start', 'f', 0) ON CONFLICT DO NOTHING",
    ),
    ("agent", "INSERT INTO control.call_records (call_id, started_at) VALUES ('c', now())"),
    ("reader", "SELECT name, user_id FROM devices"),
    ("reader", "SELECT * FROM control.call_records"),
    ("fraud", "SELECT name, user_id FROM devices"),
    ("fraud", "SELECT * FROM control.call_events, fraud_rules"),
    (
        "fraud",
        "INSERT INTO control.fraud_verdicts (rule, owner, scope, subject, level, mode, actions, value, "
        "threshold, at, until) "
        "VALUES ('x', 'everybody', 'account', 'acme', 'warning', 'observe', '{notify}', 1, 1, now(), now())",
    ),
]
MAY_NOT = [
    ("admin", "UPDATE control.entries SET value = 'x'"),
    ("admin", "DELETE FROM control.audit"),
    ("admin", "INSERT INTO control.change_log (by, state, tbl, key, verb) VALUES ('', '', '', '', '')"),
    ("admin", REVISION),
    ("admin", "SELECT control.publish_operational('edge', '*', 'credential', 'x@y', 'z')"),
    ("admin", "TRUNCATE blocks"),
    ("admin", "UPDATE countries SET calling_code = '1'"),
    ("admin", "CREATE TABLE public.mine (id integer)"),
    ("admin", "ALTER TABLE users DISABLE TRIGGER ALL"),
    ("admin", "CREATE ROLE mallory"),
    ("controller", "UPDATE users SET enabled = false"),
    ("controller", "UPDATE nodes SET address = '10.0.0.1'"),
    ("controller", "UPDATE control.revisions SET reason = 'x'"),
    ("controller", "DELETE FROM control.changes"),
    ("controller", "SELECT set_device_password('desk1@acme.example', 'a brand new secret')"),
    ("agent", "SELECT * FROM devices"),
    ("agent", "UPDATE nodes SET state = 'enabled'"),
    ("agent", "UPDATE control.entries SET value = 'x'"),
    ("agent", "DELETE FROM control.call_records"),
    ("agent", "UPDATE control.call_events SET node = 'x'"),
    ("reader", "SELECT ha1_md5 FROM devices"),
    ("reader", "SELECT pin_digest FROM voicemail_boxes"),
    ("reader", "SELECT auth_ha1_md5 FROM trunks"),
    ("reader", "SELECT * FROM control.entries"),
    ("reader", "UPDATE users SET enabled = false"),
    ("reader", "INSERT INTO control.node_state (node, kind) VALUES ('x', 'edge')"),
    ("fraud", "SELECT ha1_md5 FROM devices"),
    ("fraud", "SELECT new FROM control.audit"),
    ("fraud", "SELECT body FROM control.messages"),
    ("fraud", "SELECT * FROM control.entries"),
    ("fraud", "DELETE FROM blocks"),
    ("fraud", "UPDATE fraud_rules SET critical = 1"),
    ("fraud", "UPDATE fraud_incidents SET rule = 'another'"),
    ("fraud", "UPDATE control.fraud_verdicts SET level = 'released'"),
    ("fraud", "DELETE FROM control.call_events"),
]


@pytest.mark.parametrize(("role", "statement"), MAY)
def test_may(login: Login, role: str, statement: str) -> None:
    with login(role) as connection:
        connection.execute(statement.encode())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.rollback()


@pytest.mark.parametrize(("role", "statement"), MAY_NOT)
def test_may_not(login: Login, role: str, statement: str) -> None:
    with login(role) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        connection.rollback()


def test_triggers_write_for_the_admin_and_name_him(login: Login) -> None:
    with login("admin") as connection:
        connection.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
        for table, column in (("change_log", "by"), ("audit", "by"), ("revisions", "author")):
            found = connection.execute(
                f"SELECT {column} FROM control.{table} ORDER BY id DESC LIMIT 1".encode()
            ).fetchone()
            assert found == ("test_admin",)
        connection.rollback()


def test_group_roles_have_no_power_of_their_own(sample: str) -> None:
    with psycopg.connect(sample) as connection:
        found = connection.execute(
            "SELECT rolsuper OR rolcanlogin OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication "
            "FROM pg_roles WHERE rolname LIKE 'dialplane\\_%'"
        ).fetchall()
    assert found == [(False,)] * 6


def test_a_shadow_in_a_temporary_schema_changes_nothing(login: Login) -> None:
    """Functions that run as the owner must not find a caller's own tables."""
    with login("admin") as connection:
        connection.execute("CREATE TEMP TABLE nodes AS SELECT * FROM public.nodes")
        connection.execute("SET LOCAL search_path = pg_temp, public, control")
        connection.execute("UPDATE pg_temp.nodes SET address = '6.6.6.6'")
        connection.execute("UPDATE public.nodes SET weight = 11 WHERE name = 'media1'")
        found = connection.execute("SELECT value FROM control.entries WHERE tbl = 'target'").fetchone()
        assert found == ("media1=10.213.0.21:5060,11 media2=10.213.0.22:5060,10",)
        connection.rollback()
