"""Changes of decisions in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.entries import Address, Change
from controller.plan.callers import notices
from controller.plan.reasons import reason, redact


def change(key: str, old: Any, new: Any, table: str = "policy") -> Change:
    values = [json.dumps(one) if isinstance(one, dict) else one for one in (old, new)]
    where = Address("media", "c1", table, key)
    return Change(where, values[0], values[1], "acme", reason(where, values[0], values[1]))


ALICE, BOB, CAROL = {"user": "alice"}, {"user": "bob"}, {"user": "carol", "delay_s": 5}
RULE = {
    "position": 20,
    "if": {"schedule": "office"},
    "do": {"action": "group", "target": "sales"},
    "comment": "a=b",
}
WEEK = {"days": ["mon", "fri"], "from": "09:00", "to": "17:00"}


@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [
        (
            "acme/group/sales",
            {"members": [ALICE]},
            {"members": [ALICE, CAROL]},
            "carol added, rings 5 s later",
        ),
        (
            "acme/group/sales",
            {"members": [ALICE, BOB]},
            {"members": [BOB], "ring_s": 40},
            "alice removed; ring_s default -> 40",
        ),
        ("acme/group/sales", {"members": [ALICE, BOB]}, {"members": [BOB, ALICE]}, "in another order"),
        (
            "acme/group/sales",
            {"members": [CAROL]},
            {"members": [{"user": "carol"}]},
            "carol: delay_s 5 -> default",
        ),
        ("acme/group/sales", {"skip_busy": True}, {}, "skip_busy yes -> default"),
        (
            "acme/policy/main",
            {"rules": []},
            {"rules": [RULE]},
            "rule 20 added, group, sales",
        ),
        (
            "acme/policy/main",
            {"rules": [RULE]},
            {"rules": [RULE | {"if": {"schedule": "office", "open": False}}]},
            "rule 20: if open default -> no",
        ),
        (
            "acme/schedule/office",
            {"times": [WEEK]},
            {"times": [], "days": [{"day": "2026-12-25", "open": False, "name": "Christmas"}]},
            "day 2026-12-25 added, Christmas; mon,fri 09:00-17:00 removed",
        ),
        (
            "acme/list/vip",
            {"patterns": ["+4930*"]},
            {"patterns": ["anonymous"]},
            "anonymous added; +4930* removed",
        ),
        (
            "acme/user/carol",
            {},
            {"forward": [{"when": "always", "step": "extension:102"}]},
            "forwarding always to extension:102 added",
        ),
        ("acme/user/carol", None, {"name": "Carol"}, "new user in decisions"),
        ("acme/group/sales", {"members": []}, None, "group is gone"),
    ],
)
def test_a_change_says_why(key: str, old: Any, new: Any, said: str) -> None:
    one = change(key, old, new)
    assert one.reason == said
    assert redact("policy", one.new) == one.new


def test_who_notices() -> None:
    assert notices([change("acme/group/sales", {"members": [ALICE]}, {"members": [BOB]})]) == [
        "group sales rings differently"
    ]
    assert notices([change("acme/policy/main", None, {"rules": []})]) == ["policy main decides"]
    assert notices([change("acme/schedule/office", {"zone": "UTC"}, {"zone": "Europe/Berlin"})]) == [
        "schedule office is open at other times"
    ]
    assert notices([change("acme/user/carol", {"name": "C"}, {"name": "Carol"})]) == []
    assert notices([change("acme/user/carol", {}, {"forward": [{"when": "busy", "step": "hangup"}]})]) == [
        "calls to carol are forwarded differently"
    ]


@pytest.mark.parametrize(
    "line",
    ["Gosub(dp-decide,s,1(policy,main))\nGosub(dp-next,s,1(hangup,16))", "Goto(account-acme,:policy:main,1)"],
)
def test_numbers_that_now_reach_what_decides(line: str) -> None:
    user = "Gosub(dp-user,s,1(alice,national,25,a@b,hangup,busy,hangup))"
    moved = [
        change("account-acme/600", user, line, "dialplan"),
        change("inbound-acme/+4930555010", None, "Goto(account-acme,600,1)", "dialplan"),
        change("inbound-acme/+4930555011", None, "Goto(account-acme,101,1)", "dialplan"),
    ]
    assert notices(moved) == [
        "calls to 600, +4930555010 now reach policy main",
        "calls to +4930555011 are taken",
    ]
    again = [change("account-acme/600", line, line.replace("main", "main") + "\nNoOp()", "dialplan")]
    assert notices(again) == ["calls to 600 go differently"]
