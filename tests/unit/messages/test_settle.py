"""What answers mean, and what the deliveries of a message come to together."""

from __future__ import annotations

import pytest

from controller.messages.model import Held
from controller.messages.settle import Settled, answered, settle, unheard


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (480, "due"),
        (404, "failed"),
        (415, "failed"),
        (405, "failed"),
        (501, "failed"),
        (603, "failed"),
        (302, "failed"),
        (408, "due"),
        (486, "due"),
        (503, "due"),
        (500, "due"),
        (410, "due"),
    ],
)
def test_what_an_answer_means(status: int, state: str) -> None:
    found = answered(status, "As it says", 0)
    assert (found.state, found.status, found.reason) == (state, status, "As it says")


def test_who_is_away_waits_for_no_time() -> None:
    assert answered(480, "Not Registered", 3, away=True) == ("away", 480, "Not Registered", 0)


def test_pauses_grow_to_a_quarter_of_an_hour() -> None:
    assert [unheard("", tries).pause_s for tries in (0, 1, 2, 3, 4, 50)] == [5, 15, 60, 300, 900, 900]


def held(*states: str, place: bool = False, purpose: str = "to") -> list[Held]:
    return [Held(number, purpose, number if place else 0, state) for number, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "state", "over"),
    [
        (("due",), "open", False),
        (("away", "sending"), "open", False),
        (("delivered", "away"), "delivered", False),
        (("delivered", "failed"), "delivered", True),
        (("failed", "failed"), "failed", True),
        (("failed", "expired"), "expired", True),
        ((), "failed", True),
    ],
)
def test_all(states: tuple[str, ...], state: str, over: bool) -> None:
    found = settle("all", held(*states))
    assert (found.states, found.state, found.over) == ({}, state, over)


@pytest.mark.parametrize(
    ("states", "changes", "state"),
    [
        (("due", "held", "held"), {}, "open"),
        (("sending", "held", "held"), {}, "open"),
        (("away", "held", "held"), {1: "due"}, "open"),
        (("failed", "held", "held"), {1: "due"}, "open"),
        (("away", "away", "held"), {2: "due"}, "open"),
        (("away", "away", "away"), {}, "open"),
        (("away", "delivered", "held"), {0: "withdrawn", 2: "withdrawn"}, "delivered"),
        (("failed", "failed", "failed"), {}, "failed"),
    ],
)
def test_one_after_the_other(states: tuple[str, ...], changes: dict[int, str], state: str) -> None:
    found = settle("one", held(*states, place=True))
    assert (found.states, found.state) == (changes, state)
    assert found.over == (state == "failed" or "withdrawn" in changes.values())


def test_devices_of_one_member_have_their_turn_together() -> None:
    both = [
        Held(0, "to", 0, "away"),
        Held(1, "to", 1, "held"),
        Held(2, "to", 1, "held"),
        Held(3, "to", 2, "held"),
    ]
    assert settle("one", both).states == {1: "due", 2: "due"}


def test_a_copy_is_no_delivery_to_whom_it_was_meant_for() -> None:
    both = [*held("failed"), Held(7, "copy", 0, "away")]
    found = settle("one", both)
    assert (found.states, found.state, found.over) == ({}, "failed", False)


def test_what_is_told_of_it() -> None:
    found = settle(
        "all", [Held(0, "to", 0, "failed", 415, "Unsupported"), Held(1, "to", 0, "delivered", 200, "OK")]
    )
    assert found == Settled({}, "delivered", True, 200, "")
    found = settle("all", [Held(0, "to", 0, "failed", 415, "Unsupported")])
    assert (found.status, found.reason) == (415, "Unsupported")
