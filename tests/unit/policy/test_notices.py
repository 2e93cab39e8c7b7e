"""What members are told of a call to their group."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.model import Live
from controller.policy.notices import Notice, notice
from tests.unit.policy.acme import ENTRIES, seen

MEMBERS = [{"user": "alice"}, {"user": "bob"}, {"device": "carol@acme.example"}, {"number": "+491701234567"}]


def told(
    leg: str, caller: str = "+4930", user: str = "", live: Live | None = None, **group: Any
) -> Notice | None:
    alice = {**ENTRIES["user/alice"], "name": "Alice A."}
    snapshot = seen(live, group__sales={"members": MEMBERS, **group}, user__alice=alice)
    return notice(snapshot.groups["sales"], snapshot, leg, caller, user)


def test_all_others_hear_who_answered() -> None:
    assert told("desk1@acme.example") == Notice(
        "answered", "alice", "+4930", "", "sales: +4930 answered by Alice A.",
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
