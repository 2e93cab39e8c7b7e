"""What members are told of a call to their group."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.model import Live
from controller.policy.notices import Call, Notice, notice
from tests.unit.policy.acme import ENTRIES, seen

MEMBERS = [{"user": "alice"}, {"user": "bob"}, {"device": "carol@acme.example"}, {"number": "+491701234567"}]


def told(
    leg: str, caller: str = "+4930", user: str = "", live: Live | None = None, **group: Any
) -> Notice | None:
    alice = {**ENTRIES["user/alice"], "name": "Alice A."}
    snapshot = seen(live, group__sales={"members": MEMBERS, **group}, user__alice=alice)
    call = Call("answered" if leg else "missed", leg, caller, user)
    return notice(snapshot.groups["sales"], snapshot, call)


def test_all_others_hear_who_answered() -> None:
    assert told("desk1@acme.example") == Notice(
        "answered", "alice", "+4930", "", "", "sales: +4930 answered by Alice A.",
        ("bob@acme.example", "carol@acme.example"),
    )  # fmt: skip
    outside = told("+491701234567")
    assert outside
    assert outside.member == "+491701234567"
    assert outside.phones == (
        "app1@acme.example",
        "desk1@acme.example",
        "bob@acme.example",
        "carol@acme.example",
    )


def test_all_hear_of_a_call_that_was_missed() -> None:
    missed = told("", caller="")
    assert missed
    assert (missed.outcome, missed.member, missed.text) == ("missed", "", "sales: missed call of anonymous")
    assert len(missed.phones) == 4


def test_a_leg_of_nobody_is_no_answer_of_the_group() -> None:
    assert told("stranger@acme.example") is None


@pytest.mark.parametrize(
    ("live", "user"),
    [(Live(dnd=frozenset({"bob"})), ""), (Live(away=frozenset({("sales", "bob")})), ""), (None, "bob")],
    ids=["must not be disturbed", "away", "caller"],
)
def test_who_is_not_told(live: Live | None, user: str) -> None:
    found = told("", user=user, live=live)
    assert found
    assert "bob@acme.example" not in found.phones
    assert "carol@acme.example" in found.phones


@pytest.mark.parametrize(
    ("outcome", "user", "device", "member", "text"),
    [
        ("called", "alice", "desk1@acme.example", "alice", "sales: Alice A. called +4940123456"),
        ("unanswered", "bob", "", "bob", "sales: bob called +4940123456: no answer"),
        (
            "called",
            "carol",
            "carol@acme.example",
            "carol@acme.example",
            "sales: carol@acme.example called +4940123456",
        ),
    ],
)
def test_the_others_hear_of_a_call_in_the_groups_name(
    outcome: str, user: str, device: str, member: str, text: str
) -> None:
    snapshot = seen(
        group__sales={"members": MEMBERS}, user__alice={**ENTRIES["user/alice"], "name": "Alice A."}
    )
    found = notice(snapshot.groups["sales"], snapshot, Call(outcome, "+4940123456", "", user, device))
    assert found
    assert found[:6] == (outcome, member, "", "", "+4940123456", text)
    assert device not in found.phones
    assert len(found.phones) in (2, 3)


def test_a_call_outside_of_nobody_in_the_group_is_not_told() -> None:
    snapshot = seen(group__sales={"members": MEMBERS})
    assert (
        notice(snapshot.groups["sales"], snapshot, Call("called", "+4940123456", "", "dave", "d@x")) is None
    )
