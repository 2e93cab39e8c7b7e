"""Entries of table `policy`, and that decisions read what was written."""

from __future__ import annotations

import json
from dataclasses import replace

from controller.compiler import compile_account
from controller.compiler.policy import account_entries, with_identities
from controller.desired.model import (
    Account,
    CallerList,
    Extension,
    Forwarding,
    Group,
    GroupMember,
    Menu,
    Policy,
    PolicyRule,
    Schedule,
    ScheduleDay,
    ScheduleTime,
    Step,
)
from controller.policy.snapshot import Live, snapshot
from tests.unit.samples import ACME, BUSY, HANGUP, SYSTEM, device

OFFICE = Schedule(
    "office",
    "Europe/Berlin",
    (ScheduleTime(("mon", "tue"), "09:00", "17:30", to_date="2027-06-30"),),
    (
        ScheduleDay("2026-12-25", True, False, name="Christmas"),
        ScheduleDay("2026-12-31", False, True, "09:00", "12:00"),
    ),
)  # fmt: skip
SALES = Group(
    "sales", "Sales", "all", 25, 15, False, False, False, None, None, BUSY, HANGUP, HANGUP,
    (GroupMember(user="alice"), GroupMember(number="+4917012345")),
)  # fmt: skip
MAIN = Policy(
    "main",
    Step("group", "sales"),
    (PolicyRule(10, "voicemail", "101", schedule="office", schedule_open=False),),
)
DECIDING = replace(
    ACME,
    time_zone="Europe/Berlin",
    flags=("silver", "gold"),
    lists=(CallerList("vip", ("+4930*", "anonymous")),),
    schedules=(OFFICE,),
    policies=(MAIN,),
    groups=(SALES,),
    forwardings=(Forwarding("lobby", "busy", Step("voicemail"), "vip", "office", False),),
)


def entries(account: Account) -> dict[str, str]:
    return {entry.address.key: entry.value for entry in account_entries(account)}


def test_an_account_that_decides_nothing_has_no_entries() -> None:
    only_lists = replace(ACME, lists=DECIDING.lists, schedules=DECIDING.schedules)
    assert entries(ACME) == entries(only_lists) == {}
    assert not [entry for entry in compile_account(only_lists, SYSTEM) if entry.address.table == "policy"]


def test_every_kind_of_entry() -> None:
    assert entries(DECIDING) == {
        "acme/account/-": '{"country":"DE","flags":["gold","silver"],"language":"de","zone":"Europe/Berlin"}',
        "acme/user/alice": '{"devices":["desk1@acme.example","app1@acme.example"],"extension":"101","mailbox":"101",'
        '"name":"Alice","on_busy":"voicemail:101","on_no_answer":"voicemail:101","on_unregistered":"voicemail:101",'
        '"permission":"international"}',
        "acme/user/lobby": '{"devices":["lobby@acme.example"],"extension":"103","forward":[{"list":"vip","open":false,'
        '"schedule":"office","step":"voicemail:103","when":"busy"}],"name":"Lobby","permission":"internal"}',
        "acme/list/vip": '{"patterns":["+4930*","anonymous"]}',
        "acme/schedule/office": '{"days":[{"day":"2026-12-25","name":"Christmas","open":false,"yearly":true},'
        '{"day":"2026-12-31","from":"09:00","open":true,"to":"12:00"}],'
        '"times":[{"days":["mon","tue"],"from":"09:00","to":"17:30","to_date":"2027-06-30"}],"zone":"Europe/Berlin"}',
        "acme/policy/main": '{"otherwise":"group:sales","rules":[{"do":{"action":"voicemail","target":"101"},'
        '"if":{"open":false,"schedule":"office"},"position":10}]}',
        "acme/group/sales": '{"members":[{"user":"alice"},{"number":"+4917012345"}]}',
    }
    addresses = [
        entry.address for entry in compile_account(DECIDING, SYSTEM) if entry.address.table == "policy"
    ]
    assert {(one.kind, one.scope) for one in addresses} == {("media", "c1")}
    assert len(addresses) == 7


def test_every_part_of_a_rule_and_a_group() -> None:
    rule = PolicyRule(
        20, "ring", "bob", "for VIPs", "+4930*", "vip", "sales", "600", "carrier-a", False, "office", True, "de",
        "alice", "registered", 0, 2, "X-Tag", "a", "gold", "en", "VIP", "acme/hello", "acme/wait",
    )  # fmt: skip
    group = replace(
        SALES, strategy="weighted", ring_time_s=40, step_time_s=10, skip_busy=True, one_call=True, confirm=True,
        caller_name_prefix="Sales", identity="+4930555010", notices="phones", messages="present",
        on_busy=Step("voicemail", "600"), on_nobody=BUSY, on_no_answer=Step("menu", "main"),
        members=(GroupMember(device="desk1@acme.example", weight=20, delay_s=5, schedule="office", schedule_open=False,
                             caller_list="vip", outgoing=True),),
    )  # fmt: skip
    found = entries(replace(DECIDING, policies=(replace(MAIN, rules=(rule,)),), groups=(group,)))
    assert json.loads(found["acme/policy/main"])["rules"] == [
        {
            "position": 20,
            "comment": "for VIPs",
            "if": {
                "caller": "+4930*", "list": "vip", "group": "sales", "called": "600", "trunk": "carrier-a",
                "inside": False, "schedule": "office", "language": "de", "user": "alice", "presence": "registered",
                "min_devices": 0, "max_devices": 2, "header": ["X-Tag", "a"], "flag": "gold",
            },
            "do": {
                "action": "ring", "target": "bob", "language": "en", "caller_name": "VIP", "early": "acme/hello",
                "late": "acme/wait",
            },
        }
    ]  # fmt: skip
    assert json.loads(found["acme/group/sales"]) == {
        "strategy": "weighted", "ring_s": 40, "step_s": 10, "skip_busy": True, "one_call": True, "confirm": True,
        "prefix": "Sales", "identity": "+4930555010", "notices": "phones", "on_busy": "voicemail:600",
        "on_no_answer": "menu:main", "on_nobody": "busy", "messages": "present",
        "members": [{"device": "desk1@acme.example", "weight": 20, "delay_s": 5, "schedule": "office", "open": False,
                     "list": "vip", "outgoing": True}],
    }  # fmt: skip


def test_decisions_read_what_was_written() -> None:
    read = snapshot("acme", entries(DECIDING), Live())
    assert read.account.flags == ("gold", "silver")
    assert read.users["lobby"].forward[0].open is False
    assert read.users["lobby"].ring_s == 25
    assert [(day.open, day.yearly) for day in read.schedules["office"].days] == [(False, True), (True, False)]
    assert read.policies["main"].rules[0].condition.open is False
    assert (read.groups["sales"].ring_s, read.groups["sales"].members[0].weight) == (25, 10)


def test_a_disabled_user_and_a_disabled_device_do_not_ring() -> None:
    users = tuple(replace(user, enabled=user.name != "lobby") for user in ACME.users)
    devices = (device("desk1", "alice", enabled=False), *ACME.devices[1:])
    found = entries(replace(DECIDING, users=users, devices=devices))
    assert json.loads(found["acme/user/alice"])["devices"] == ["app1@acme.example"]
    assert "devices" not in json.loads(found["acme/user/lobby"])


def test_every_extension_of_a_user_says_how_long_it_rings() -> None:
    more = Extension("199", "user", "alice", None, 5, BUSY, Step("voicemail"), HANGUP)
    found = json.loads(entries(replace(DECIDING, extensions=(*ACME.extensions, more)))["acme/user/alice"])
    assert (found["extension"], found.get("ring_s")) == ("101", None)
    assert found["lines"] == [{"extension": "199", "ring_s": 5, "on_no_answer": "voicemail:101"}]
    assert (
        snapshot("acme", {"acme/account/-": "{}", "acme/user/alice": json.dumps(found)}, Live())
        .users["alice"]
        .lines
    )


def test_outgoing_members_show_the_identity_of_the_first_group_by_name() -> None:
    members = (
        GroupMember(user="alice", outgoing=True),
        GroupMember(device="lobby@acme.example", outgoing=True),
    )
    account = replace(
        ACME,
        devices=(*ACME.devices, device("desk2", "alice", caller_id="+4930555099")),
        groups=(
            replace(SALES, identity="+4930555020", members=members),
            replace(SALES, name="back", identity="+4930555030", members=members[:1]),
            replace(SALES, name="all", identity=None, members=members),
        ),
    )
    changed = with_identities(account)
    assert {user.name: user.caller_id for user in changed.users} == {"alice": "+4930555030", "lobby": None}
    own = {
        one.name: one.emergency_caller_id for one in changed.devices if one.emergency_caller_id is not None
    }
    assert own == {"desk1": "+4930555010", "app1": "+4930555010", "lobby": "+4930555000"}
    shown = {one.name: one.caller_id for one in changed.devices if one.caller_id}
    assert shown == {"lobby": "+4930555020", "desk2": "+4930555099"}
    data = {entry.address.key: entry.value for entry in compile_account(account, SYSTEM)}
    assert "+4930555030" in data["account-acme/:user:alice"]


def test_a_user_with_a_forwarding_is_not_called_straight() -> None:
    def straight(account: Account) -> set[str]:
        return {
            entry.address.key for entry in compile_account(account, SYSTEM) if "straight=1" in entry.value
        }

    forwarded = replace(ACME, forwardings=(Forwarding("lobby", "no_answer", HANGUP),))
    assert straight(ACME) == {"acme/103"}
    assert straight(forwarded) == set()


def test_a_menu_alone_makes_an_account_decide() -> None:
    menu = Menu("welcome", "acme/welcome", 5, 3, None, HANGUP, HANGUP, False)
    extension = Extension("700", "menu", None, "welcome", 25, BUSY, HANGUP, HANGUP)
    found = entries(replace(ACME, menus=(menu,), extensions=(*ACME.extensions, extension)))
    assert set(found) == {"acme/account/-", "acme/user/alice", "acme/user/lobby"}
