"""Two edges of one device group, in the stack: phones are reached by either, and either may be killed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.live import stack
from tests.live.company import BOB, CAROL, DESK1, ERIN, LOBBY
from tests.live.phones import EDGE, Phones
from tests.live.talk import both_hear, record, went_well

OTHER = "10.213.0.12:5060"


@pytest.fixture(autouse=True)
def at_edge1_again(phones: Phones) -> Iterator[None]:
    """What other tests expect: all phones at edge1, both edges up and in sync."""
    yield
    stack.compose("up", "--detach", "--wait", "edge1", "edge2")
    went_well(*(phones.register(phone) for phone in (DESK1, BOB, CAROL, ERIN, LOBBY)))
    stack.until(lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", 40, 1)


def test_a_phone_is_called_by_the_edge_it_is_not_at(phones: Phones) -> None:
    since = stack.now()
    went_well(phones.register(BOB))
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", target=OTHER, talk_ms=1500)
        leg, called = desk.wait(), callee.wait()
    went_well(leg, called)
    both_hear((leg, DESK1), (called, BOB))
    assert record(since)["answered_at"]


def test_a_registration_is_told_of_once(phones: Phones) -> None:
    """Of the edge that is its home, and of the other when the phone moves."""

    def homes() -> dict[str, int]:
        rows = stack.documents(
            "SELECT edge, contacts FROM control.registered WHERE aor = 'carol@acme.example' AND contacts > 0"
        )
        return {str(row["edge"]): int(row["contacts"]) for row in rows}

    went_well(phones.register(CAROL))
    stack.until(lambda: homes() == {"edge1": 1}, "carol at edge1")
    went_well(phones.register(CAROL, target=OTHER))
    stack.until(lambda: homes() == {"edge2": 1}, "carol at edge2")


@pytest.fixture
def globex_is_elsewhere() -> Iterator[None]:
    """The phones of account globex belong to another device group."""
    stack.sql(
        "WITH g AS (INSERT INTO device_groups (name) VALUES ('g2') RETURNING id) "
        "UPDATE accounts SET device_group_id = g.id FROM g WHERE accounts.name = 'globex'"
    )
    stack.dialplane("apply", "--yes", "--reason", "other edges")
    yield
    stack.sql(
        "UPDATE accounts SET device_group_id = NULL WHERE name = 'globex'; DELETE FROM device_groups WHERE name = 'g2'"
    )
    stack.dialplane("apply", "--yes", "--reason", "any edge")


def test_at_the_wrong_edge_a_phone_is_served_and_told_the_right_one(
    globex_is_elsewhere: None, phones: Phones
) -> None:
    for edge, phone, told in ((f"{EDGE}:5060", ERIN, True), (OTHER, ERIN, True), (OTHER, LOBBY, False)):
        leg = phones.register(phone, target=edge)
        went_well(leg)
        assert leg.received[-1].headers("X-DP-Edge") == ["globex.phones.dialplane.internal"] * told
    went_well(phones.run("call", ERIN, to="*43", target=OTHER, talk_ms=200))


def test_an_edge_is_killed(phones: Phones) -> None:
    """A phone on UDP is rung by the other edge at once, and registers there."""
    went_well(phones.register(BOB), phones.register(DESK1, target=OTHER))
    stack.compose("kill", "edge1")
    began = time.monotonic()
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", target=OTHER, talk_ms=1000)
        callee.until("INVITE")
        print(f"rang {time.monotonic() - began:.2f} s after edge1 was killed")
        went_well(desk.wait(), callee.wait())
    went_well(phones.register(BOB, target=OTHER))
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", target=OTHER, talk_ms=1000)
        went_well(desk.wait(), callee.wait())
    assert len(callee.received("INVITE")) == 1
