"""Rows of decisions per call: what is refused, accepted, logged and granted."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.schema.explain import explain
from tests.database.policy_rows import (
    ACME,
    ALICE,
    AWAY,
    CAROL,
    DAVE,
    DND,
    MAIN,
    MEMBER,
    OFFICE,
    OVERRIDE,
    RULE,
    SALES,
    VIP,
    Rows,
)

REFUSED = [
    # (statement, constraint, part of the sentence)
    ("UPDATE accounts SET flags = '{Gold}'", "accounts_flags", "{gold,night-service}"),
    ("UPDATE accounts SET flags = '{NULL}'", "accounts_flags", "{gold,night-service}"),
    ("UPDATE accounts SET time_zone = 'Europe/Atlantis'", "accounts_time_zone", "no time zone Europe/Atlantis"),
    ("UPDATE schedules SET time_zone = 'EST5EDT'", "schedules_time_zone_form", "such as Europe/Berlin"),
    ("UPDATE caller_list_entries SET pattern = '030*'", "caller_list_entries_pattern_form", "+4930*"),
    ("UPDATE schedule_times SET days = '{monday}'", "schedule_times_days", "mon, tue"),
    ("UPDATE schedule_times SET days = '{}'", "schedule_times_days", "mon, tue"),
    ("UPDATE schedule_times SET to_time = '17:30:30'", "schedule_times_minutes", "whole minutes"),
    ("UPDATE schedule_times SET from_date = '2027-01-02', to_date = '2027-01-01'", "schedule_times_dates", "later"),
    ("UPDATE schedule_days SET from_time = NULL", "schedule_days_times", "neither for the whole day"),
    ("UPDATE groups SET strategy = 'loudest'", "groups_strategy", "round_robin"),
    ("UPDATE groups SET on_busy = 'voicemail'", "groups_voicemail", "voicemail:600"),
    ("UPDATE menus SET tries = 0", "menus_tries", "1 to 10"),
    ("UPDATE menus SET greeting = '../etc/passwd'", "menus_greeting_form", "acme/welcome"),
    ("UPDATE menu_choices SET digits = 'a'", "menu_choices_digits", "* and #"),
    (RULE.format("action, target", "'ring', NULL"), "policy_rules_target", "device@domain"),
    (RULE.format("action, target", "'reject', 'no'"), "policy_rules_target", "declined"),
    (RULE.format("action, target", "'next', '101'"), "policy_rules_target", "nothing for next"),
    (RULE.format("action, target", "'queues', 'sales'"), "policy_rules_action", "choose ring"),
    (RULE.format("action, presence", "'next', 'registered'"), "policy_rules_user", "set user_id"),
    (RULE.format("action, header_name", "'next', 'X-Tag'"), "policy_rules_header", "both"),
    (RULE.format("action", "'next'").replace(" 90,", " 10,"), "policy_rules_position_key", "take another"),
    (MEMBER.format("user_id, number", f"{ALICE}, '+4930123456'"), "group_members_who", "exactly one"),
    (MEMBER.format("number, outgoing", "'+4930123456', true"), "group_members_outgoing", "its own number"),
    (MEMBER.format("user_id", ALICE), "group_members_key", "has this member already"),
    (MEMBER.format("user_id", DAVE), "group_members_user_fkey", "no such user"),
    ("UPDATE extensions SET kind = 'group' WHERE extension = '101'", "extensions_group", "group_id"),
    # What steps and targets name has to be there.
    (RULE.format("action, target", "'ring', 'nobody'"), "policy_rules_steps", "rule 90 leads to user nobody"),
    (RULE.format("action, target", "'ring', 'x@acme.example'"), "policy_rules_steps", "device x@acme.example"),
    (RULE.format("action, target", "'voicemail', '999'"), "policy_rules_steps", "mailbox 999"),
    (
        "UPDATE menus SET on_timeout = 'menu:gone'",
        "menus_steps",
        "menu welcome of account acme: on_timeout leads to menu gone, which does not exist",
    ),
    ("UPDATE groups SET on_nobody = 'voicemail:999'", "groups_steps", "on_nobody leads to mailbox 999"),
    ("UPDATE policies SET otherwise = 'policy:gone'", "policies_steps", "otherwise leads to policy gone"),
    (
        f"UPDATE extensions SET on_busy = 'group:gone' WHERE extension = '101' AND account_id = {ACME}",
        "extensions_steps",
        "extension 101 of account acme: on_busy leads to group gone",
    ),
    ("UPDATE forwardings SET step = 'voicemail'", "forwardings_voicemail", "the user has no mailbox"),
    ("UPDATE forwardings SET step = 'extension:104'", "forwardings_circle", "leads back to the user"),
    (
        "INSERT INTO trunks (account_id, name, host) "
        "SELECT id, 'pbx', 'x.example' FROM accounts WHERE name = 'globex'; "
        + RULE.format("action, trunk_id", "'next', (SELECT id FROM trunks WHERE name = 'pbx')"),
        "policy_rules_trunk_account",
        "belongs to account globex alone",
    ),
    # What is named by text neither goes nor takes another name; what is named by id does not go.
    (f"UPDATE groups SET name = 'selling' WHERE id = {SALES}", "forwardings_steps", "group sales"),
    (
        f"DELETE FROM extensions WHERE kind = 'menu' AND account_id = {ACME}; DELETE FROM menus",
        "policies_steps",
        "policy main of account acme: otherwise leads to menu welcome",
    ),
    ("DELETE FROM voicemail_boxes WHERE mailbox = '600'", "groups_steps", "mailbox 600"),
    (f"DELETE FROM groups WHERE id = {SALES}", "extensions_group_fkey", "extensions lead to this group"),
    (f"DELETE FROM schedules WHERE id = {OFFICE}", "policy_rules_schedule_fkey", "rules of policies ask"),
    (f"DELETE FROM caller_lists WHERE id = {VIP}", "policy_rules_caller_list_fkey", "rules of policies ask"),
    (
        RULE.format("action, target", "'ring', 'desk1@acme.example'")
        + "; DELETE FROM devices WHERE name = 'desk1'",
        "policy_rules_steps",
        "device desk1@acme.example",
    ),
    (
        RULE.format("action, user_id, presence", f"'next', {CAROL}, 'registered'")
        + "; UPDATE menu_choices SET step = 'hangup' WHERE digits = '2'; "
        f"DELETE FROM extensions WHERE user_id = {CAROL}; DELETE FROM users WHERE id = {CAROL}",
        "policy_rules_user_fkey",
        "rules of policies ask for this user",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "constraint", "said"), REFUSED, ids=[f"{c}-{s[:40]}" for s, c, _ in REFUSED]
)
def test_refused_with_a_sentence(rows: Rows, statement: str, constraint: str, said: str) -> None:
    with pytest.raises(psycopg.Error) as refused:  # noqa: PT012 - what rows name is checked at commit
        rows.execute(statement.encode())
        rows.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert refused.value.diag.constraint_name == constraint
    assert said in explain(refused.value)


ACCEPTED = [
    "UPDATE accounts SET flags = '{gold,night-2}', time_zone = 'America/New_York'",
    "UPDATE schedule_times SET from_time = '22:00', to_time = '24:00'",
    f"UPDATE policy_rules SET position = position + 10 WHERE policy_id = {MAIN}",
    # By id they follow; by text both change in one transaction.
    "UPDATE schedules SET name = 'opening'; UPDATE caller_lists SET name = 'gold'; UPDATE policies SET name = 'first'",
    "UPDATE groups SET name = 'selling'; UPDATE forwardings SET step = 'group:selling'; "
    "UPDATE menus SET on_timeout = 'group:selling'; UPDATE menu_choices SET step = 'group:selling' WHERE digits = '1'; "
    "UPDATE policy_rules SET target = 'selling' WHERE action = 'group'",
    # A member goes with its user, a rule with its policy.
    f"DELETE FROM numbers; DELETE FROM extensions WHERE kind = 'policy'; DELETE FROM policies WHERE id = {MAIN}",
    "DELETE FROM accounts WHERE name = 'acme'",
]


@pytest.mark.parametrize("statement", ACCEPTED)
def test_accepted(rows: Rows, statement: str) -> None:
    rows.execute(statement.encode())
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")


# ------------------------------------------------------------------------------------------------ change log

LOGGED = [
    ("UPDATE caller_lists SET comment = 'x'", "caller_lists", "acme/vip", "configuration"),
    ("UPDATE caller_list_entries SET pattern = '101'", "caller_list_entries", "acme/vip/+4930777*", "configuration"),
    ("DELETE FROM schedule_times WHERE days = '{fri}'", "schedule_times", "acme/office/fri/09:00", "configuration"),
    ("DELETE FROM schedule_days WHERE open", "schedule_days", "acme/office/2026-12-31", "configuration"),
    ("UPDATE groups SET confirm = false", "groups", "acme/sales", "configuration"),
    ("UPDATE group_members SET delay_s = 11 WHERE number IS NOT NULL", "group_members", "acme/sales/+4930888600",
     "configuration"),
    ("UPDATE menu_choices SET step = 'hangup' WHERE digits = '1'", "menu_choices", "acme/welcome/1", "configuration"),
    ("UPDATE policy_rules SET comment = 'x' WHERE position = 10", "policy_rules", "acme/main/10", "configuration"),
    ("UPDATE forwardings SET enabled = false", "forwardings", "acme/carol/10", "configuration"),
    (f"INSERT INTO user_states (account_id, user_id, dnd) SELECT {ACME}, {ALICE}, true", "user_states", "acme/alice",
     "operational"),
    (f"INSERT INTO schedule_overrides (account_id, schedule_id, open) SELECT {ACME}, {OFFICE}, true",
     "schedule_overrides", "acme/office", "operational"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "table", "key", "state"), LOGGED, ids=[one[1] for one in LOGGED])
def test_logged(rows: Rows, statement: str, table: str, key: str, state: str) -> None:
    rows.execute(statement.encode())
    found = rows.execute(
        "SELECT state, account, tbl, key FROM control.change_log WHERE transaction = pg_current_xact_id()"
    ).fetchall()
    assert (state, "acme", table, key) in found
    assert {row[1] for row in found} == {"acme"}
    audited = rows.execute("SELECT tbl FROM control.audit ORDER BY id DESC LIMIT 1").fetchone()
    assert audited == (table,)


def test_what_goes_with_its_owner_is_the_owners_change(rows: Rows) -> None:
    rows.execute("DELETE FROM accounts WHERE name = 'acme'")
    found = rows.execute(
        "SELECT tbl FROM control.change_log WHERE transaction = pg_current_xact_id() AND tbl <> 'accounts'"
    ).fetchall()
    assert found == []


# ------------------------------------------------------------------------------------------------- grants


@pytest.fixture(scope="module")
def roles(sample: str) -> Iterator[None]:
    names = ("admin", "controller", "agent", "reader")
    with psycopg.connect(sample, autocommit=True) as owner:
        for name in names:
            owner.execute(f"CREATE ROLE rows_{name} LOGIN IN ROLE dialplane_{name}".encode())
        yield
        for name in names:
            owner.execute(f"DROP ROLE rows_{name}".encode())


MAY = [
    ("admin", "UPDATE groups SET on_busy = 'group:sales'"),
    ("admin", "UPDATE policy_rules SET target = '101' WHERE action = 'voicemail'"),
    ("admin", "UPDATE extensions SET on_busy = 'group:sales' WHERE extension = '101'"),
    ("admin", "UPDATE accounts SET time_zone = 'Pacific/Chatham'"),
    ("admin", "UPDATE users SET name = 'alicia' WHERE name = 'alice'"),
    ("admin", DND),
    ("admin", "SELECT control.release_expired()"),
    ("controller", DND),
    ("controller", AWAY),
    ("controller", OVERRIDE),
    ("controller", "SELECT control.release_expired()"),
    ("controller", "SELECT * FROM policy_rules, group_members, menus, forwardings"),
    ("reader", "SELECT * FROM groups, schedules, caller_lists"),
]
MAY_NOT = [
    ("controller", "UPDATE groups SET confirm = true"),
    ("reader", "UPDATE groups SET confirm = true"),
    ("reader", DND),
    ("agent", "SELECT * FROM policy_rules"),
]


@pytest.mark.parametrize(("role", "statement"), MAY)
def test_may(sample: str, roles: None, role: str, statement: str) -> None:
    with psycopg.connect(make_conninfo(sample, user=f"rows_{role}")) as connection:
        connection.execute(statement.encode())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.rollback()


@pytest.mark.parametrize(("role", "statement"), MAY_NOT)
def test_may_not(sample: str, roles: None, role: str, statement: str) -> None:
    with psycopg.connect(make_conninfo(sample, user=f"rows_{role}")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        connection.rollback()
