"""Members who refuse, go, wrap up; queues that nobody serves."""

from __future__ import annotations

import time

import pytest

from controller.desired.model import QueueMember, Step
from tests.media.floor import SLACK_S, TICK_S, Floor, apart, between
from tests.media.queues import PHONES
from tests.media.resident import awaited

PAM = Step("extension", "104")


@pytest.mark.parametrize("code", ["486", "603"])
def test_a_member_refuses_and_the_next_one_rings(floor: Floor, code: str) -> None:
    floor.queue("mia", "ned", ring_time_s=5, retry_s=1)
    floor.edge.answers = {"w1": code, "w2": "answer"}
    leg = floor.call()
    first, second = floor.rings(2)
    assert [first.user, second.user] == ["w1", "w2"]
    assert between(second.at - first.at, 1, 1 + TICK_S + SLACK_S), "after retry_s"
    awaited(lambda: floor.states() == ["talking"], "nobody talks")
    assert floor.happened() == ["joined", "offered mia", "refused mia", "offered ned", "answered ned"]
    leg.bye()


@pytest.mark.parametrize("code", ["486", "404"])
def test_a_telephone_that_says_no_is_not_rung_as_fast_as_it_says_so(floor: Floor, code: str) -> None:
    """Two wait, no pause between two rings, one member."""
    floor.queue("mia", ring_time_s=5, retry_s=0)
    floor.edge.answers = {"w1": code}
    legs = [floor.joins(f"+493012{caller}") for caller in (1, 2)]
    time.sleep(4)
    rang = floor.rings(2)
    assert len(floor.rang()) <= 6
    assert min(apart(floor.edge.invites)) > 0.9, apart(rang)
    for leg in legs:
        leg.bye()


@pytest.mark.parametrize("member", ["mia", "quin"])
@pytest.mark.parametrize("code", ["404", "480", "404 Not Found", "480 Temporarily Unavailable", "408", "503"])
def test_a_member_whose_telephones_are_not_reached_has_not_refused(
    floor: Floor, member: str, code: str
) -> None:
    """One telephone, or two that begin one after the other."""
    floor.queue(member, retry_s=30, ring_time_s=4, alert_limit=1)
    floor.edge.answers = {"w1": code, "w5": code, "w6": code}
    leg = floor.call()
    awaited(lambda: len(floor.happened()) > 2, "what became of the offer is not told")
    assert floor.happened() == ["joined", f"offered {member}", f"ignored {member}"]
    leg.bye()


def test_a_member_learns_and_who_waits_for_that_is_served_at_once(floor: Floor) -> None:
    """From the moment its node holds the new row: before, nobody can be offered the caller."""
    asks = {"ring_time_s": 9, "required_skills": ("german:2",)}
    took = []
    for turn in range(4):
        floor.queue(QueueMember("mia", skills=("german",)), **asks)
        floor.edge.answers = {"w1": "ring"}
        leg = floor.joins()
        # Not in step with the look once a second.
        time.sleep(1 + turn / 4)
        assert len(floor.rang()) == turn
        learned = time.monotonic()
        floor.queue(QueueMember("mia", skills=("german:3",)), **asks)
        took.append(floor.rings(turn + 1)[turn].at - learned)
        leg.bye()
        awaited(lambda so_far=turn + 1: len(floor.outcomes()) == so_far, "it did not leave")  # type: ignore[misc]
    print(f"until the telephone rings: {', '.join(f'{one * 1000:.0f} ms' for one in took)}")
    # The figure, 100 ms, is that of a machine that does nothing else (tests/bench).
    assert max(took) < 0.3, took


@pytest.mark.parametrize("code", ["404", "480"])
def test_a_member_unregisters_and_the_callers_keep_their_places(floor: Floor, code: str) -> None:
    floor.queue("mia", "ned", ring_time_s=5, retry_s=0)
    floor.registered(PHONES.values())
    floor.rests("ned")
    floor.edge.answers = {"w1": code, "w2": "answer"}
    first = floor.joins("+4930121")
    floor.rings(1)
    second = floor.joins("+4930122")
    waiting = "SELECT id, caller, joined_at FROM control.queue_callers ORDER BY joined_at"
    before = floor.rows(waiting)
    if code == "404":
        floor.gone("mia")
    else:
        floor.registered([PHONES["mia"]], 0)
    time.sleep(0.3)
    floor.edge.invites.clear()
    time.sleep(TICK_S + 0.3)
    assert floor.rang() == [], "it rings no more"
    floor.rests("ned", 0)
    awaited(lambda: floor.states() == ["talking", "waiting"], "the first is not served first")
    assert floor.rang() == ["w2"]
    assert floor.rows(waiting) == before
    first.bye()
    awaited(lambda: floor.states() == ["gone", "talking"], "the second is not served")
    assert [one.get("x-dp-call") for one in floor.edge.invites] == [
        f"call-{leg.call_id}" for leg in (first, second)
    ]
    second.bye()


def test_of_all_who_ring_one_is_not_registered(floor: Floor) -> None:
    floor.queue("mia", "ned", "oda", strategy="ring_all", ring_time_s=5)
    floor.edge.answers = {"w1": "404", "w2": "ring", "w3": "480"}
    leg = floor.call()
    floor.rings(3)
    time.sleep(1)
    assert floor.states() == ["ringing"]
    floor.edge.answer(floor.edge.leg_to("w2"))
    awaited(lambda: floor.states() == ["talking"], "nobody talks")
    assert len(floor.rang()) == 3
    leg.bye()


def test_a_member_is_left_alone_until_its_wrap_up_is_over(floor: Floor) -> None:
    floor.queue("mia", wrap_up_s=2)
    floor.edge.answers = {"w1": "answer"}
    first = floor.joins("+4930121")
    awaited(lambda: floor.states() == ["talking"], "nobody talks")
    second = floor.joins("+4930122")
    floor.edge.leg_to("w1").bye()
    over = time.monotonic()
    first.wait("BYE")
    again = floor.rings(2)[1]
    assert between(again.at - over, 2, 2 + TICK_S + SLACK_S)
    awaited(lambda: floor.states() == ["gone", "talking"], "the second is not served")
    second.bye()


_ROWS = """
INSERT INTO clusters (name) VALUES ('c1');
INSERT INTO accounts (name, display_name, cluster_id, country) SELECT 'wait-1', 'Waiting', id, 'DE' FROM clusters;
INSERT INTO users (account_id, name, display_name) SELECT id, 'mia', 'Mia' FROM accounts;
INSERT INTO queues (account_id, name, display_name) SELECT id, 'one', 'One' FROM accounts;
INSERT INTO queue_members (account_id, queue_id, user_id)
SELECT q.account_id, q.id, u.id FROM queues AS q, users AS u"""


def test_who_lets_calls_ring_out_pauses_and_is_rung_no_more(floor: Floor) -> None:
    for row in _ROWS.split(";"):
        floor.rows(row)
    try:
        floor.queue("mia", ring_time_s=2, retry_s=0, autopause_after=2)
        floor.edge.answers = {"w1": "ring"}
        leg = floor.joins()
        awaited(lambda: "paused mia" in floor.happened(), "she does not pause")
        why = floor.rows("SELECT detail FROM control.queue_events WHERE event = 'paused'")
        assert why == [("let 2 calls of queue one ring out",)]
        time.sleep(2 * TICK_S)
        assert floor.rang() == ["w1", "w1"]
        assert floor.states() == ["waiting"]
        floor.rows("DELETE FROM member_states")
        floor.rings(3)
        leg.bye()
    finally:
        for table in ("accounts", "clusters"):
            floor.rows(f"DELETE FROM {table}")


def test_nobody_waits_where_no_member_is_on_duty(floor: Floor) -> None:
    floor.queue("oda", join_empty=False, on_empty=PAM)
    floor.registered([])
    floor.edge.answers = {"w3": "ring", "w4": "answer"}
    leg = floor.call()
    floor.edge.leg_to("w4").hear(10)
    leg.bye()
    assert floor.outcomes() == ["empty"]
    assert floor.rang() == ["w4"]
    floor.registered([PHONES["oda"]])
    leg = floor.call()
    floor.edge.leg_to("w3")
    leg.bye()


@pytest.mark.parametrize("leaves", [True, False])
def test_the_last_member_goes_and_who_waits_goes_on(floor: Floor, *, leaves: bool) -> None:
    floor.queue("oda", join_empty=False, leave_empty=leaves, on_empty=PAM)
    floor.registered([PHONES["oda"]])
    floor.rests("oda")
    floor.edge.answers = {"w3": "ring", "w4": "answer"}
    leg = floor.joins()
    time.sleep(TICK_S + 0.3)
    assert floor.states() == ["waiting"], "who wraps up is on duty"
    floor.gone("oda")
    if leaves:
        floor.edge.leg_to("w4").hear(10)
        assert floor.outcomes() == ["empty"]
    else:
        time.sleep(TICK_S + 0.3)
        assert floor.states() == ["waiting"]
    assert "w3" not in floor.rang()
    leg.bye()
