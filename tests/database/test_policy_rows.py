"""Rows of decisions per call: what is refused, logged, live at commit, released, granted, read and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller import pipeline, reconciler
from controller.compiler import compile_account
from controller.compiler.policy import account_entries
from controller.desired import decisions, read
from controller.policy.snapshot import Live, snapshot
from controller.schema.explain import explain
from controller.schema.importer import check, load, read_company
from tests.database.conftest import SAMPLE

ACME = "(SELECT id FROM accounts WHERE name = 'acme')"
Rows = psycopg.Connection[Any]


def one(table: str, name: str, account: str = ACME) -> str:
    return f"(SELECT id FROM {table} WHERE name = '{name}' AND account_id = {account})"


SALES, MAIN, WELCOME = one("groups", "sales"), one("policies", "main"), one("menus", "welcome")
OFFICE, VIP = one("schedules", "office"), one("caller_lists", "vip")
ALICE, CAROL = one("users", "alice"), one("users", "carol")
DAVE = one("users", "dave", "(SELECT id FROM accounts WHERE name = 'globex')")
RULE = f"INSERT INTO policy_rules (account_id, policy_id, position, {{}}) SELECT {ACME}, {MAIN}, 90, {{}}"
MEMBER = f"INSERT INTO group_members (account_id, group_id, {{}}) SELECT {ACME}, {SALES}, {{}}"

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


# --------------------------------------------------------------------------------------- live at commit


def held(rows: Rows) -> dict[tuple[str, str, str], str]:
    found = rows.execute("SELECT scope, tbl, key, value FROM control.entries WHERE tbl IN ('flag', 'dnd')")
    return {(scope, tbl, key): value for scope, tbl, key, value in found}


DND = f"INSERT INTO user_states (account_id, user_id, dnd) SELECT {ACME}, {ALICE}, true"
AWAY = f"INSERT INTO group_away (account_id, member_id) SELECT {ACME}, id FROM group_members WHERE user_id = {ALICE}"
OVERRIDE = (
    "INSERT INTO schedule_overrides (account_id, schedule_id, open, until) "
    f"SELECT {ACME}, {OFFICE}, false, '2030-12-24 18:00+01'"
)
LIVE = {
    ("c1", "flag", "dnd/acme/alice"): "1",
    ("*", "dnd", "acme/alice"): "1",
    ("c1", "flag", "away/acme/sales/alice"): "1",
    ("c1", "flag", "override/acme/office"): "closed;2030-12-24T17:00:00Z",
}


def test_what_people_say_is_live_at_commit(rows: Rows) -> None:
    for statement in (DND, AWAY, OVERRIDE):
        rows.execute(statement.encode())
    assert held(rows) == LIVE
    flags = {key: value for (_, tbl, key), value in held(rows).items() if tbl == "flag"}
    rows.execute("UPDATE user_states SET dnd = false")
    rows.execute("UPDATE schedule_overrides SET open = true, until = NULL")
    assert held(rows) == {
        ("c1", "flag", "away/acme/sales/alice"): "1",
        ("c1", "flag", "override/acme/office"): "open",
    }
    assert flags["dnd/acme/alice"] == "1"


def test_a_new_name_or_cluster_moves_it(rows: Rows) -> None:
    for statement in (DND, AWAY, OVERRIDE):
        rows.execute(statement.encode())
    rows.execute("UPDATE users SET name = 'alicia' WHERE name = 'alice'")
    rows.execute("UPDATE schedules SET name = 'opening'")
    rows.execute("UPDATE groups SET name = 'selling'")
    rows.execute("INSERT INTO clusters (name) VALUES ('c2')")
    rows.execute("UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c2')")
    assert held(rows) == {
        ("c2", "flag", "dnd/acme/alicia"): "1",
        ("*", "dnd", "acme/alicia"): "1",
        ("c2", "flag", "away/acme/selling/alicia"): "1",
        ("c2", "flag", "override/acme/opening"): "closed;2030-12-24T17:00:00Z",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM user_states; DELETE FROM group_away; DELETE FROM schedule_overrides",
        "DELETE FROM accounts WHERE name = 'acme'",
    ],
)
def test_it_goes_with_its_row_and_its_account(rows: Rows, statement: str) -> None:
    for insert in (DND, AWAY, OVERRIDE):
        rows.execute(insert.encode())
    rows.execute(statement.encode())
    assert held(rows) == {}


def test_a_member_that_goes_is_no_longer_away(rows: Rows) -> None:
    rows.execute(AWAY.encode())
    rows.execute(f"DELETE FROM group_members WHERE user_id = {ALICE}".encode())
    assert held(rows) == {}


def test_what_is_over_is_released_and_said(sample: str) -> None:
    with psycopg.connect(sample) as connection:
        load(connection, read_company(SAMPLE))
        for statement in (DND, AWAY, OVERRIDE):
            connection.execute(statement.encode())
        connection.execute("UPDATE user_states SET until = now() + interval '1 hour'")
        connection.execute("UPDATE schedule_overrides SET until = now() - interval '1 s'")
        connection.execute("UPDATE group_away SET until = now() - interval '1 s'")
        connection.commit()
        said = reconciler.cycle(connection, auto=False)
        assert said.startswith("1 overrides ended, 1 members back in their group; ")
        assert set(held(connection)) == {("c1", "flag", "dnd/acme/alice"), ("*", "dnd", "acme/alice")}
        connection.execute("DELETE FROM user_states")
        connection.commit()
        assert "ended" not in reconciler.cycle(connection, auto=False)


def test_what_is_live_waits_for_no_apply(rows: Rows) -> None:
    before = rows.execute("SELECT count(*) FROM control.pending_changes").fetchone()
    rows.execute(DND.encode())
    assert rows.execute("SELECT count(*) FROM control.pending_changes").fetchone() == before


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


# ----------------------------------------------------------------------------------------- rows to entries


def test_the_sample_as_decisions_see_it(rows: Rows) -> None:
    (acme,) = read.accounts(rows, ["acme"])
    entries = {entry.address.key: entry.value for entry in account_entries(acme)}
    found = snapshot("acme", entries, Live())
    assert str(found.account.zone) == "Europe/Berlin"
    assert [(one.key, one.delay_s, one.weight) for one in found.groups["sales"].members] == [
        ("alice", 0, 10),
        ("bob", 0, 10),
        ("+4930888600", 10, 10),
    ]
    assert (found.groups["sales"].ring_s, found.groups["sales"].confirm) == (30, True)
    assert [(one.position, one.effect.target) for one in found.policies["main"].rules] == [
        (10, "sales"),
        (20, "600"),
    ]
    (forwarding,) = found.users["carol"].forward
    assert (forwarding.step, forwarding.list, forwarding.open) == ("group:sales", "vip", False)
    assert set(found.lists["vip"]) == {"+4930777*"}
    assert [(one.days, one.start, one.end) for one in found.schedules["office"].times] == [
        (("fri",), 540, 900),
        (("mon", "tue", "wed", "thu"), 540, 1050),
    ]


def test_the_defaults_of_columns_are_those_of_decisions(rows: Rows) -> None:
    rows.execute(
        f"INSERT INTO groups (account_id, name, display_name) SELECT {ACME}, 'plain', 'Plain'; "
        f"INSERT INTO group_members (account_id, group_id, user_id) SELECT {ACME}, {one('groups', 'plain')}, {ALICE}; "
        f"INSERT INTO policies (account_id, name) SELECT {ACME}, 'plain'; "
        f"INSERT INTO extensions (account_id, extension, kind, user_id) SELECT {ACME}, '109', 'user', id "
        "FROM users WHERE name = 'bob'; DELETE FROM numbers; "
        f"DELETE FROM extensions WHERE account_id = {ACME} AND extension <> '109'".encode()
    )
    row = rows.execute(
        "SELECT strategy, ring_time_s, step_time_s, skip_busy, one_call, confirm, on_busy, on_no_answer, on_nobody "
        "FROM groups WHERE name = 'plain'"
    ).fetchone()
    (acme,) = read.accounts(rows, ["acme"])
    entries = {entry.address.key: entry.value for entry in account_entries(acme)}
    assert entries["acme/group/plain"] == '{"members":[{"user":"alice"}]}'
    found = snapshot("acme", entries, Live())
    plain = found.groups["plain"]
    assert row == (
        plain.strategy, plain.ring_s, plain.step_s, plain.skip_busy, plain.one_call, plain.confirm, plain.on_busy,
        plain.on_no_answer, plain.on_nobody,
    )  # fmt: skip
    assert rows.execute("SELECT DISTINCT weight FROM group_members").fetchall() == [
        (plain.members[0].weight,)
    ]
    assert rows.execute("SELECT otherwise FROM policies WHERE name = 'plain'").fetchone() == (
        found.policies["plain"].otherwise,
    )
    bob = found.users["bob"]
    assert rows.execute(
        "SELECT ring_time_s, on_busy, on_no_answer, on_unregistered FROM extensions WHERE extension = '109'"
    ).fetchone() == (bob.ring_s, bob.on_busy, bob.on_no_answer, bob.on_unregistered)


def test_rows_that_are_disabled_are_not_compiled(rows: Rows) -> None:
    rows.execute("UPDATE policy_rules SET enabled = false WHERE position = 10")
    rows.execute(f"UPDATE group_members SET enabled = false WHERE user_id = {ALICE}".encode())
    rows.execute("UPDATE forwardings SET enabled = false")
    (acme,) = read.accounts(rows, ["acme"])
    assert [rule.position for rule in acme.policies[0].rules] == [20]
    assert [member.name for member in acme.groups[0].members] == ["bob", "+4930888600"]
    assert acme.forwardings == ()


def test_an_account_without_such_rows_costs_one_statement(rows: Rows) -> None:
    (number,) = rows.execute("SELECT id FROM accounts WHERE name = 'globex'").fetchone() or (0,)
    assert decisions.read(rows, [number]) == {}
    (globex,) = read.accounts(rows, ["globex"])
    assert not globex.deciding
    assert (globex.time_zone, globex.flags) == ("Europe/London", ())
    system = read.system(rows)
    assert not [one for one in compile_account(globex, system) if one.address.table == "policy"]


def test_a_changed_row_changes_its_entry_and_says_why(sample: str) -> None:
    with psycopg.connect(sample) as connection:
        plan = pipeline.make_plan(connection)
        pipeline.publish(connection, plan, author="test", reason="test", unsafe_reason="a test")
        connection.commit()
        connection.execute(MEMBER.format("user_id, delay_s", f"{CAROL}, 5").encode())
        connection.commit()
        plan = pipeline.make_plan(connection)
        assert ("acme/group/sales", "carol added, rings 5 s later") in [
            (one.address.key, one.reason) for one in plan.changes
        ]
        connection.execute(f"DELETE FROM group_members WHERE user_id = {CAROL}".encode())
        connection.commit()


# --- files ------------------------------------------------------------------------------------------

BAD = """
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    country: DE
    flags: [gold, Silver]
    groups:
      - name: night
        display_name: Night
        strategy: loudest
      - name: day
        display_name: Day
        members:
          - {user: nobody}
          - {number: "+4930123456", delay_s: 900}
          - {user: alice}
          - {user: alice}
    schedules:
      - name: odd
        times:
          - {days: monday, from_time: "9:00", to_time: "25:00"}
    policies:
      - name: odd
        rules:
          - {action: group, target: gone}
          - {caller_list: gone, action: next, group: sales}
    menus:
      - {name: odd}
    extensions:
      - {extension: "609", group: gone}
"""
TOLD = [
    "flags: 'gold Silver' must be words of lower-case letters",
    "groups acme/night: strategy: 'loudest' must be all or in_order",
    "group_members acme/day/nobody: user: nobody is not in users",
    "group_members acme/day/+4930123456: delay_s: '900' must be a time from 0 to 600 seconds",
    "group_members acme/day/alice: stands here twice",
    "days: 'monday' must be days of the week",
    "from_time: '9:00' must be a time from 00:00 to 24:00",
    "to_time: '25:00' must be a time from 00:00 to 24:00",
    "policy_rules acme/odd/20: group: no such column",
    "menus acme/odd: greeting is missing",
]


def test_every_problem_of_a_file_is_told(rows: Rows, tmp_path: Any) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    problems = check(read_company(path), rows)
    for text in TOLD:
        assert any(text in problem for problem in problems), (text, problems)
    assert all(problem.startswith(f"{path}:") for problem in problems)
    path.write_text(BAD.replace("Silver", "silver"))
    problems = check(read_company(path), rows)
    said = "policy_rules acme/odd/10: policy odd of account acme: rule 10 leads to group gone"
    assert any(said in one for one in problems)
    assert any("extensions acme/609: group: gone is not in groups" in one for one in problems)


def test_csv_and_yaml_are_the_same(rows: Rows, tmp_path: Any) -> None:
    (tmp_path / "group_members.csv").write_text(
        "account,group,user,device,number,position,delay_s\n"
        "acme,sales,alice,,,10,\nacme,sales,,lobby@acme.example,,40,7\nacme,sales,,,+4930888600,30,10\n"
    )
    (tmp_path / "schedule_times.csv").write_text(
        "account,schedule,days,from_time,to_time\n"
        "acme,office,mon tue wed thu,09:00,17:30\nacme,office,sat,10:00,24:00\n"
    )
    counts = load(rows, read_company(tmp_path))
    assert (counts.added, counts.changed, counts.unchanged) == (2, 0, 3)
    (acme,) = read.accounts(rows, ["acme"])
    assert [member.name for member in acme.groups[0].members] == [
        "alice",
        "bob",
        "+4930888600",
        "lobby@acme.example",
    ]
    assert ("sat",) in [time.days for time in acme.schedules[0].times]
    entries = {entry.address.key: entry.value for entry in account_entries(acme)}
    assert {"device": "lobby@acme.example", "delay_s": 7} in json.loads(entries["acme/group/sales"])[
        "members"
    ]
