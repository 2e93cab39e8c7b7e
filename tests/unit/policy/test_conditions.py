"""Conditions of a rule: each one holding, and the first reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.conditions import Situation, matches
from controller.policy.snapshot import Live
from tests.unit.policy.acme import EVENING, NOW, call, inside, seen

OUTSIDE = call("policy", "main")
HIDDEN = call("policy", "main", caller="anonymous")
CAROL = inside("policy", "main")
KNOWN = Live(registered={"desk1@acme.example": 2, "app1@acme.example": 1, "bob@acme.example": 0})
OFFICE = "open since 09:00 until 17:30: mon tue wed thu fri 09:00 to 17:30"
CLOSED = "closed since 17:30 until mon 2026-11-23 09:00: outside its times"

CASES: list[tuple[dict[str, Any], Any, bool, str]] = [
    ({}, OUTSIDE, True, "it has no condition"),
    ({"caller": "+4930*"}, OUTSIDE, True, "caller +49301234567 fits +4930*"),
    ({"caller": "+49301234567"}, OUTSIDE, True, "caller +49301234567 fits +49301234567"),
    ({"caller": "+4930123456"}, OUTSIDE, False, "caller +49301234567 does not fit +4930123456"),
    ({"caller": "+49301234567*"}, OUTSIDE, True, "caller +49301234567 fits +49301234567*"),
    ({"caller": "+493012345678*"}, OUTSIDE, False, "caller +49301234567 does not fit +493012345678*"),
    # Carriers write numbers in their own ways.
    (
        {"caller": "+4930*"},
        call("policy", "main", caller="004930123"),
        True,
        "caller +4930123 fits +4930*",
    ),
    ({"caller": "+4930*"}, call("policy", "main", caller="4930123"), True, "caller +4930123 fits +4930*"),
    ({"caller": "103"}, CAROL, True, "caller carol fits 103"),
    # Whoever calls from outside may show the number of an extension.
    ({"caller": "103"}, call("policy", "main", caller="103"), False, "caller +103 does not fit 103"),
    ({"caller": "anonymous"}, HIDDEN, True, "caller anonymous fits anonymous"),
    (
        {"caller": "anonymous"},
        call("policy", "main", caller="Restricted"),
        True,
        "caller anonymous fits anonymous",
    ),
    ({"caller": "anonymous"}, call("policy", "main", caller=""), True, "caller anonymous fits anonymous"),
    (
        {"caller": "anonymous"},
        inside("policy", "main", number=""),
        False,
        "caller carol does not fit anonymous",
    ),
    ({"caller": "+4930*"}, HIDDEN, False, "caller anonymous does not fit +4930*"),
    ({"list": "vip"}, OUTSIDE, True, "caller +49301234567 is on list vip (+4930*)"),
    (
        {"list": "vip"},
        call("policy", "main", caller="+33123456789"),
        True,
        "caller +33123456789 is on list vip (+33123456789)",
    ),
    ({"list": "vip"}, inside("policy", "main", "bob", "102"), True, "caller bob is on list vip (102)"),
    ({"list": "vip"}, CAROL, False, "caller carol is not on list vip"),
    ({"list": "hidden"}, HIDDEN, True, "caller anonymous is on list hidden (anonymous)"),
    ({"list": "hidden"}, OUTSIDE, False, "caller +49301234567 is not on list hidden"),
    ({"list": "gone"}, OUTSIDE, False, "caller list gone is not known"),
    ({"group": "sales"}, CAROL, True, "caller carol is a member of group sales"),
    (
        {"group": "sales"},
        inside("policy", "main", "bob", "102"),
        False,
        "caller bob is no member of group sales",
    ),
    (
        {"group": "sales"},
        call("policy", "main", trunk="", device="desk1@acme.example", caller_user="alice"),
        True,
        "caller alice is a member of group sales",
    ),
    (
        {"group": "sales"},
        call("policy", "main", trunk="", device="app1@acme.example", caller_user="alice"),
        False,
        "caller alice is no member of group sales",
    ),
    (
        {"group": "sales"},
        call("policy", "main", caller="491709999"),
        True,
        "caller +491709999 is a member of group sales",
    ),
    ({"group": "gone"}, CAROL, False, "group gone is not known"),
    ({"called": "+4930555010"}, OUTSIDE, True, "called +4930555010 fits +4930555010"),
    ({"called": "+4930*"}, OUTSIDE, True, "called +4930555010 fits +4930*"),
    ({"called": "600"}, OUTSIDE, False, "called +4930555010 does not fit 600"),
    ({"called": "6*"}, CAROL, False, "called 600 does not fit 6*"),
    ({"trunk": "carrier-a"}, OUTSIDE, True, "it came by trunk carrier-a"),
    ({"trunk": "carrier-b"}, OUTSIDE, False, "it came by trunk carrier-a, not by trunk carrier-b"),
    ({"trunk": "carrier-b"}, CAROL, False, "it came from inside, not by trunk carrier-b"),
    ({"inside": True}, CAROL, True, "it came from inside"),
    ({"inside": True}, OUTSIDE, False, "it came from outside, by trunk carrier-a"),
    ({"inside": False}, OUTSIDE, True, "it came from outside, by trunk carrier-a"),
    ({"inside": False}, CAROL, False, "it came from inside"),
    ({"schedule": "office"}, OUTSIDE, True, f"inside schedule office ({OFFICE})"),
    ({"schedule": "office", "open": False}, OUTSIDE, False, f"inside schedule office ({OFFICE})"),
    ({"schedule": "gone", "open": False}, OUTSIDE, False, "schedule gone is not known"),
    ({"language": "de"}, OUTSIDE, True, "the language is de"),
    ({"language": "de"}, call("policy", "main", language="de-AT"), True, "the language is de-AT"),
    ({"language": "de"}, call("policy", "main", language="den"), False, "the language is den, not de"),
    ({"language": "de"}, call("policy", "main", language=""), False, "the language is not known, not de"),
    ({"user": "alice", "presence": "registered"}, OUTSIDE, True, "alice is registered"),
    ({"user": "bob", "presence": "registered"}, OUTSIDE, False, "bob is unregistered"),
    ({"user": "bob", "presence": "unregistered"}, OUTSIDE, True, "bob is unregistered"),
    ({"user": "carol", "presence": "unregistered"}, OUTSIDE, True, "carol is unregistered"),
    ({"user": "alice", "presence": "disturb_not"}, OUTSIDE, False, "alice may be disturbed"),
    (
        {"user": "alice", "min_devices": 2},
        OUTSIDE,
        True,
        "2 devices of alice are registered, 2 at least asked",
    ),
    (
        {"user": "alice", "min_devices": 3},
        OUTSIDE,
        False,
        "2 devices of alice are registered, 3 at least asked",
    ),
    ({"user": "bob", "max_devices": 0}, OUTSIDE, True, "0 devices of bob are registered, 0 at most asked"),
    (
        {"user": "alice", "max_devices": 1},
        OUTSIDE,
        False,
        "2 devices of alice are registered, 1 at most asked",
    ),
    (
        {"header": ["X-Tier", "Gold"]},
        call("policy", "main", headers={"x-tier": " gold"}),
        True,
        "header X-Tier is Gold",
    ),
    (
        {"header": ["X-Tier", "Gold"]},
        call("policy", "main", headers={"X-Tier": "golden"}),
        False,
        "header X-Tier is not Gold",
    ),
    ({"header": ["X-Tier", "Gold"]}, OUTSIDE, False, "there is no header X-Tier"),
    (
        {"header": ["X-Tier", "Gold"]},
        call("policy", "main", headers={"x-tier": ""}),
        False,
        "there is no header X-Tier",
    ),
    ({"flag": "beta"}, OUTSIDE, True, "account acme has the flag beta"),
    ({"flag": "alpha"}, OUTSIDE, False, "account acme has no flag alpha"),
    # All of them have to hold; the first that does not is told.
    ({"flag": "beta", "language": "de"}, OUTSIDE, True, "the language is de, account acme has the flag beta"),
    ({"flag": "alpha", "inside": False, "language": "fr"}, OUTSIDE, False, "the language is de, not fr"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "one", "holds", "why"), CASES)
def test_a_condition(condition: dict[str, Any], one: Any, holds: bool, why: str) -> None:
    sales = {"members": [{"user": "carol"}, {"device": "desk1@acme.example"}, {"number": "+491709999"}]}
    snapshot = seen(KNOWN, policy__main={"rules": [{"position": 1, "if": condition}]}, group__sales=sales)
    asked = snapshot.policies["main"].rules[0].condition
    assert matches(asked, Situation(one, snapshot, NOW)) == (holds, why)


@pytest.mark.parametrize(
    "condition",
    [{"presence": "registered"}, {"presence": "unregistered"}, {"min_devices": 0}, {"max_devices": 9}],
)
def test_nothing_holds_of_registrations_that_are_not_known(condition: dict[str, Any]) -> None:
    snapshot = seen(policy__main={"rules": [{"position": 1, "if": {"user": "alice", **condition}}]})
    found = matches(snapshot.policies["main"].rules[0].condition, Situation(OUTSIDE, snapshot, NOW))
    assert not found.holds
    assert "alice" in found.why
    assert found.why.endswith("not known")


def test_do_not_disturb_is_known_without_registrations() -> None:
    asked = {"rules": [{"position": 1, "if": {"user": "alice", "presence": "disturb_not"}}]}
    snapshot = seen(Live(dnd=frozenset({"alice"})), policy__main=asked)
    found = matches(snapshot.policies["main"].rules[0].condition, Situation(OUTSIDE, snapshot, NOW))
    assert found == (True, "alice does not want to be disturbed")


def test_a_closed_schedule_is_what_is_asked_for() -> None:
    snapshot = seen(policy__main={"rules": [{"position": 1, "if": {"schedule": "office", "open": False}}]})
    found = matches(snapshot.policies["main"].rules[0].condition, Situation(OUTSIDE, snapshot, EVENING))
    assert found == (True, f"outside schedule office ({CLOSED})")
