"""Something stands still (SIGSTOP): it is there, keeps its connections, and says nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.live import stack
from tests.live.company import BOB, DESK1
from tests.live.phones import Phones
from tests.live.talk import both_hear, node_of, records, went_well
from tests.live.test_change import (
    apply,
    holds,
    newest,
    on_edge,
    on_media,
    ring_time,
    rpc,
    set_call_limit,
    set_ring_time,
    signalled,
    states,
)

__all__ = ["ring_time"]  # a fixture, for every test
AGENT, KAMAILIO, ASTERISK, POSTGRESQL = "*dialplane agent run*", "kamailio *", "asterisk *", "*postgres[: ]*"


@pytest.fixture(autouse=True)
def registered(ring_time: None, phones: Phones) -> None:
    """The two phones of these tests are registered; the rows are as they were, and live, after each."""
    phones.registered(DESK1, BOB)


def test_an_agent_that_stands_still_is_waited_for_and_goes_on(phones: Phones) -> None:
    """Its node is the one named, the others are live; nobody calls live what is not."""
    with stack.frozen("media2", AGENT):
        set_ring_time(41)
        partly = apply("--wait", "5", expect=5)
        assert "live on 3 of 4 nodes" in partly.err
        assert "media2: not heard of for" in partly.err
        assert "catches up by itself" in partly.err
        assert "media1" not in partly.err.split("error:")[1]
        number = newest()
        assert {name: holds(name, number) for name in states()} == {
            "edge1": True, "edge2": True, "media1": True, "media2": False,
        }  # fmt: skip
        assert ",41," in on_media("media1")
        assert ",41," not in on_media("media2")
        doctor = stack.dialplane("doctor", expect=1)
        assert "look at the agent on media2" in doctor.out
        with phones.answering(BOB) as [callee]:
            went_well(phones.run("call", DESK1, to="102", talk_ms=300), callee.wait())
    stack.until(lambda: holds("media2", number), "media2 has caught up", limit_s=20)
    assert ",41," in on_media("media2")


@pytest.mark.parametrize("delay_ms", [0, 3])
def test_an_agent_that_stops_in_the_middle_of_an_apply_calls_nothing_live(delay_ms: int) -> None:
    """The state file holds the change, the server perhaps: what it had not read back when it stopped is not live."""
    set_ring_time(44 + delay_ms)
    try:
        with signalled("SIGSTOP", delay_ms) as stopper:
            done = apply("--wait", "4", expect=None)
            assert stopper.readline().startswith("killed 1 ")
        number = newest()
        if done.exit == 0:  # it was through already
            assert holds("media1", number)
            assert f",{44 + delay_ms}," in on_media("media1")
        else:
            assert done.exit == 5, str(done)
            assert "media1: not heard of for" in done.err
            assert not holds("media1", number)
    finally:
        stack.signal("media1", "CONT", AGENT)
    stack.until(lambda: holds("media1", number), "media1 has finished", limit_s=20)
    assert states()["media1"]["pending"] == 0
    assert f",{44 + delay_ms}," in on_media("media1")


def test_a_kamailio_that_stands_still_is_said_and_calls_go_on_after(phones: Phones) -> None:
    """Sound does not need it; what was signalled meanwhile is answered when it goes on."""
    since = stack.now()
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", talk_ms=6000)
        desk.until(200)
        with stack.frozen("edge1", KAMAILIO):
            told = stack.until(lambda: states()["edge1"]["last_error"], "the agent says so", limit_s=10)
            assert "no answer in 2 s" in str(told)
            doctor = stack.dialplane("doctor", expect=1)
            assert "no answer in 2 s" in doctor.out
            set_call_limit(21)
            partly = apply("--wait", "2", expect=5)
            assert "edge1: failed: Kamailio at" in partly.err
        leg, called = desk.wait(), callee.wait()
    went_well(leg, called)
    both_hear((leg, DESK1), (called, BOB), frames=200)
    number = newest()
    stack.until(lambda: holds("edge1", number), "the edge has what was published", limit_s=10)
    assert not states()["edge1"]["last_error"]
    assert "limit=21" in on_edge()
    with phones.answering(BOB) as [callee]:
        went_well(phones.run("call", DESK1, to="102", talk_ms=300), callee.wait())
    assert [row["cause"] for row in records(since, 2)] == [16, 16]


@contextmanager
def preferred(node: str) -> Iterator[None]:
    """Nearly every new call goes to that media node."""

    def weights(this: int, others: int) -> None:
        stack.sql(
            f"UPDATE nodes SET weight = CASE name WHEN '{node}' THEN {this} ELSE {others} END WHERE kind = 'media'"
        )
        stack.until(lambda: rpc("htable.get", "target", "c1").out.count(f",{this}"), "weights are live")

    weights(100, 1)
    try:
        yield
    finally:
        weights(10, 10)


def test_an_asterisk_that_stands_still_is_passed_over_and_comes_back(phones: Phones) -> None:
    def call() -> tuple[str, float]:
        """The node a call rang by, and how long that took."""
        began = time.monotonic()
        with phones.answering(BOB) as [callee]:
            desk = phones.start("call", DESK1, to="102", talk_ms=300)
            invite = callee.until("INVITE")
            rang = time.monotonic() - began
            went_well(desk.wait(), callee.wait())
        return node_of(invite), rang

    with preferred("media1"):
        with stack.frozen("media1", ASTERISK):
            rang = [call() for _ in range(3)]
            print("rang by, after s:", rang)
            assert [node for node, _ in rang] == ["media2"] * 3
            assert max(after for _, after in rang) < 8  # 2 s of silence, and a busy machine
            stack.until(lambda: states()["media1"]["last_error"], "the agent says so", limit_s=20)
        stack.until(lambda: call()[0] == "media1", "media1 takes calls again", limit_s=30, pause_s=1)
        stack.until(lambda: not states()["media1"]["last_error"], "media1 answers its agent", limit_s=20)


def test_a_database_that_stands_still_holds_up_nobody_for_ever(phones: Phones) -> None:
    """A command ends and says why; calls go on; agents go on when it does."""
    since = stack.now()
    set_ring_time(43)
    with stack.frozen("postgres", POSTGRESQL):
        began = time.monotonic()
        plan = stack.dialplane("plan", expect=1)
        print(f"refused after {time.monotonic() - began:.1f} s: {plan.err}")
        assert "PostgreSQL at postgres" in plan.err
        assert "Is it running" in plan.err
        with phones.answering(BOB) as [callee]:
            went_well(phones.run("call", DESK1, to="102", talk_ms=300), callee.wait())
    apply()
    assert ",43," in on_media("media1")
    records(since, 1)
