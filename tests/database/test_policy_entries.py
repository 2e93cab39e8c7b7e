"""Rows of decisions per call: as entries, and as a company file has them."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from controller import pipeline
from controller.compiler import compile_account
from controller.compiler.policy import account_entries
from controller.desired import decisions, read
from controller.policy.snapshot import Live, snapshot
from controller.schema.importer import check, load, read_company
from tests.database.policy_rows import (
    ACME,
    ALICE,
    CAROL,
    MEMBER,
    Rows,
    one,
)

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
