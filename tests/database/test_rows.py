"""What the database refuses, and the sentence that says why."""

from __future__ import annotations

import psycopg
import pytest

from controller.schema.explain import explain

ACME = "(SELECT id FROM accounts WHERE name = 'acme')"
GLOBEX = "(SELECT id FROM accounts WHERE name = 'globex')"
DOMAIN = "(SELECT id FROM domains WHERE name = 'acme.example')"
TRUNK = "(SELECT id FROM trunks WHERE name = 'carrier-a')"
PRIVATE = f"INSERT INTO trunks (name, host, account_id) VALUES ('pbx', '10.9.9.9', {GLOBEX}); "
ROUTE = "INSERT INTO routes (account_id, prefix, trunk_id) VALUES "
ADDRESS = f"INSERT INTO trunk_addresses (trunk_id, address) VALUES ({TRUNK}, "
USER = f"INSERT INTO users (account_id, name, display_name) VALUES ({ACME}, "
BLOCK = "INSERT INTO blocks (scope, subject, what, reason) VALUES "
EXTENSION_101 = f"UPDATE extensions SET {{}} WHERE account_id = {ACME} AND extension = '101'"

# statement, constraint, part of the sentence
REFUSED = [
    ("UPDATE clusters SET name = 'Acme Inc'", "clusters_name_form", "lower-case letters"),
    (f"{USER} E'x\\ny', 'X')", "users_name_form", "such as alice"),
    (f"{USER} 'x', 'Eve; Mallory')", "users_display_name_form", "without ; ="),
    (f"{USER} 'x', E'Eve\\r\\nVia: x')", "users_display_name_form", "control characters"),
    (f"{USER} 'x', E'Eve\\u202e')", "users_display_name_form", "control characters"),
    (f"{USER} 'x', 'Eve\"')", "users_display_name_form", "quotes"),
    (f"{USER} 'x', 'Eve ${{EXTEN}}')", "users_display_name_form", "{ }"),
    (f"{USER} 'x', ' Eve')", "users_display_name_form", "80 characters"),
    (f"{USER} 'x', '{'x' * 81}')", "users_display_name_form", "80 characters"),
    (f"{USER} 'x', NULL)", None, "display_name is missing: it needs a value"),
    (f"{USER} 'alice', 'Alice')", "users_name_key", "user of this name already"),
    ("UPDATE users SET permission = 'galactic'", "users_permission", "internal, national or international"),
    ("UPDATE nodes SET weight = 0", "nodes_weight_form", "1 to 1000"),
    ("UPDATE nodes SET address = '10.0.0.0/24'", "nodes_address_form", "not a network"),
    ("UPDATE nodes SET state = 'asleep'", "nodes_state", "enabled, draining or disabled"),
    ("UPDATE nodes SET kind = 'edge'", "nodes_group", "an edge has a device group"),
    (
        "UPDATE nodes SET address = '10.213.0.21', sip_port = 5070 WHERE name = 'media2'",
        "nodes_media_address_key",
        "another media node",
    ),
    (
        f"INSERT INTO numbers (account_id, e164, extension_id) VALUES ({ACME}, '030 1234', 1)",
        "numbers_e164_form",
        "with + and country code",
    ),
    (
        f"INSERT INTO numbers (account_id, e164, extension_id) SELECT {GLOBEX}, '+4930555099', id "
        f"FROM extensions WHERE account_id = {ACME} LIMIT 1",
        "numbers_extension_fkey",
        "the account has no such extension",
    ),
    (
        f"INSERT INTO devices (account_id, domain_id, name, ha1_md5, ha1_sha256) "
        f"VALUES ({ACME}, {DOMAIN}, 'x', 'my clear password', 'x')",
        "devices_ha1_md5_form",
        "set_device_password",
    ),
    (f"{ADDRESS}'10.213.0.31')", "trunk_addresses_overlap", "an address belongs to one trunk"),
    (f"{ADDRESS}'10.213.0.0/24')", "trunk_addresses_overlap", "an address belongs to one trunk"),
    (f"{ADDRESS}'10.0.0.0/16')", "trunk_addresses_size", "256 hosts at most"),
    (f"{ADDRESS}'10.213.0.21')", "trunk_addresses_node", "contains the address of node media1"),
    (
        "UPDATE nodes SET address = '10.213.0.31' WHERE name = 'media1'",
        "trunk_addresses_node",
        "trunk carrier-a contains the address of node media1",
    ),
    ("UPDATE trunks SET register = true WHERE name = 'carrier-a'", "trunks_register", "register needs"),
    ("UPDATE trunks SET auth_user = 'x' WHERE name = 'carrier-a'", "trunks_auth", "give all three"),
    ("DELETE FROM trunks WHERE name = 'carrier-a'", "routes_trunk_fkey", "routes leave by this trunk"),
    ("DELETE FROM clusters", "nodes_cluster_fkey", "move them first"),
    ("UPDATE accounts SET country = 'XX'", "accounts_country_fkey", "no such country"),
    (f"{ROUTE}(NULL, '', {TRUNK})", "routes_key", "this route is there already"),
    (f"{ROUTE}(NULL, '+49', {TRUNK})", "routes_prefix_form", "after the +"),
    (
        f"{PRIVATE}{ROUTE}({ACME}, '', (SELECT id FROM trunks WHERE name = 'pbx'))",
        "routes_trunk_account",
        "route (every number) of account acme: trunk pbx belongs to account globex alone. Name a shared",
    ),
    (
        f"{PRIVATE}{ROUTE}(NULL, '49', (SELECT id FROM trunks WHERE name = 'pbx'))",
        "routes_trunk_account",
        "route 49 of all accounts: trunk pbx",
    ),
    (
        f"UPDATE trunks SET account_id = {ACME} WHERE name = 'carrier-a'",
        "routes_trunk_account",
        "belongs to account acme alone",
    ),
    (
        f"{PRIVATE}INSERT INTO emergency_routes (emergency_number_id, trunk_id) "
        "SELECT n.id, t.id FROM emergency_numbers n, trunks t WHERE t.name = 'pbx' LIMIT 1",
        "emergency_routes_trunk_shared",
        "name a shared trunk",
    ),
    (EXTENSION_101.format("on_busy = 'somewhere'"), "extensions_on_busy_form", "extension:102"),
    (
        EXTENSION_101.format("on_busy = 'extension:999'"),
        "extensions_steps",
        "extension 101 of account acme: on_busy leads to extension 999, which does not exist. Create extension",
    ),
    (
        EXTENSION_101.format("on_busy = 'extension:101'"),
        "extensions_circle",
        "in a circle: 101 -> 101",
    ),
    (
        EXTENSION_101.format("on_busy = 'extension:104'")
        + f"; UPDATE extensions SET on_busy = 'extension:101' WHERE extension = '102' AND account_id = {ACME}",
        "extensions_circle",
        "in a circle: ",
    ),
    (
        EXTENSION_101.format("extension = '105'")
        + f"; UPDATE extensions SET extension = '111' WHERE account_id = {ACME} AND extension = '102'",
        "extensions_steps",
        "extension 104 of account acme: on_busy leads to extension 102",
    ),
    (
        f"DELETE FROM numbers; DELETE FROM extensions WHERE extension = '102' AND account_id = {ACME}",
        "extensions_steps",
        "leads to extension 102, which does not exist",
    ),
    (
        f"DELETE FROM voicemail_boxes WHERE account_id = {ACME}",
        "extensions_voicemail",
        "its user has no mailbox. Create a mailbox",
    ),
    (
        f"DELETE FROM extensions WHERE extension = '*101' AND account_id = {ACME}; "
        "DELETE FROM voicemail_boxes WHERE mailbox = '101'",
        "extensions_voicemail",
        "extension 101 of account acme: a step is voicemail, but its user has no mailbox",
    ),
    (
        f"UPDATE extensions SET target = '999' WHERE kind = 'voicemail' AND account_id = {ACME}",
        "extensions_mailbox",
        "target is mailbox 999, which does not exist",
    ),
    ("UPDATE extensions SET target = 'x' WHERE kind = 'echo'", "extensions_target", "empty for the others"),
    ("UPDATE extensions SET user_id = NULL WHERE kind = 'user'", "extensions_user", "kind user needs a user"),
    (
        "UPDATE devices SET name = 'desk9' WHERE name = 'desk1'",
        "devices_rename",
        "device desk1 cannot be renamed like this",
    ),
    ("UPDATE domains SET name = 'acme.test' WHERE name = 'acme.example'", "domains_rename", "new passwords"),
    ("UPDATE accounts SET name = 'acme2' WHERE name = 'acme'", "accounts_rename", "set new PINs"),
    ("UPDATE voicemail_boxes SET mailbox = '199' WHERE mailbox = '101'", "voicemail_boxes_rename", "new PIN"),
    (f"{BLOCK}('account', 'acmee', '*', 'fraud')", "blocks_known", "no account of that name"),
    (f"{BLOCK}('device', 'x@acme.example', '*', 'fraud')", "blocks_known", "no device of that name"),
    (
        f"{BLOCK}('account', 'acme', '+49112', 'fraud')",
        "blocks_emergency",
        "112 is an emergency number of DE",
    ),
    (f"{BLOCK}('all', '*', '+999', 'fraud')", "blocks_emergency", "999 is an emergency number of GB"),
    (f"{BLOCK}('all', '*', '*', 'fraud')", "blocks_everything", "would stop every call"),
    (f"{BLOCK}('source', '10.0.0.999', '*', 'scan')", "blocks_subject", "an IP address"),
    (f"{BLOCK}('source', '10.0.0.0/8', '*', 'scan')", "blocks_subject", "an IP address"),
    ("UPDATE settings SET value = 'a b'", "settings_value_form", "255 letters"),
    ("UPDATE settings SET value = 'Zone' WHERE name = 'zone'", "settings_zone", "such as dialplane.internal"),
]


@pytest.mark.parametrize(
    ("statement", "constraint", "words"), REFUSED, ids=[f"{c}-{s[:40]}" for s, c, _ in REFUSED]
)
def test_refused_with_a_sentence(
    rows: psycopg.Connection, statement: str, constraint: str | None, words: str
) -> None:
    with pytest.raises(psycopg.Error) as refused:  # noqa: PT012 - rules over several rows are checked at commit
        for part in statement.split("; ") if "Mallory" not in statement else [statement]:
            rows.execute(part.encode())
        rows.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert refused.value.diag.constraint_name == constraint
    assert words in explain(refused.value)


ACCEPTED = [
    f"{USER} 'x', 'Zoë O’Brien (Büro, 2. Stock) & Söhne')",
    f"{USER} 'x', 'Pat O''Brien')",
    f"{BLOCK}('account', 'acme', '+88213', 'fraud'), ('source', '2001:db8::1', '*', 'scanner')",
    f"{BLOCK}('account', 'acme', '+49', 'late')",
    f"{BLOCK}('account', 'acme', '+999', 'not-an-emergency-number-here')",
    "UPDATE devices SET name = 'desk9', ha1_md5 = md5('x'), ha1_sha256 = encode(sha256('x'), 'hex') "
    "WHERE name = 'desk1'",
    "DELETE FROM accounts WHERE name = 'acme'",
    "DELETE FROM users WHERE name = 'alice' AND false",
    EXTENSION_101.format("on_busy = 'number:+49301234567'"),
    f"{ADDRESS}'198.51.100.0/24'), ({TRUNK}, '2001:db8::/120')",
]


@pytest.mark.parametrize("statement", ACCEPTED)
def test_accepted(rows: psycopg.Connection, statement: str) -> None:
    rows.execute(statement.encode())
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_steps_may_come_before_what_they_lead_to(rows: psycopg.Connection) -> None:
    rows.execute(EXTENSION_101.format("on_busy = 'extension:150'").encode())
    rows.execute(
        f"INSERT INTO extensions (account_id, extension, kind) VALUES ({ACME}, '150', 'echo')".encode()
    )
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_truncate_is_refused(rows: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="nothing would log"):
        rows.execute("TRUNCATE blocks")
