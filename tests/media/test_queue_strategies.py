"""Which members of a queue ring for a caller, in which order, and when: every strategy on real legs."""

from __future__ import annotations

import itertools

import pytest

from controller.desired.model import QueueMember
from controller.queues.model import STRATEGIES
from tests.media.floor import AT_ONCE_S, SLACK_S, TICK_S, Floor, apart, between
from tests.media.resident import awaited

RING_S = 1
# Beyond what the column allows: that a member of less weight is drawn first never happens in the life of this test.
HEAVY = 10**9

# Mia, ned and oda have the phones w1, w2 and w3. Under this history every strategy has an order of its own.
HISTORY = {
    "mia": {"rang": "30 min", "talked": "1 min", "calls": 1},
    "ned": {"rang": "5 min", "talked": "1 hour", "calls": 5},
    "oda": {"rang": "20 min", "talked": "10 min", "calls": 3},
}
WEIGHTS = {"mia": 1, "ned": HEAVY, "oda": HEAVY**2}
MEMBERS = tuple(QueueMember(name, weight=weight) for name, weight in WEIGHTS.items())
ONE_BY_ONE = {
    "in_order": ["w1", "w2", "w3"],
    "round_robin": ["w3", "w1", "w2"],
    "least_recent": ["w2", "w3", "w1"],
    "fewest_calls": ["w1", "w3", "w2"],
    "weighted": ["w3", "w2", "w1"],
}
DRAWN = ("random", "weighted")
TOGETHER = ("ring_all", "batch")


def test_every_strategy_is_in_these_tables() -> None:
    assert {*ONE_BY_ONE, *DRAWN, *TOGETHER} == set(STRATEGIES)
    assert len({tuple(order) for order in ONE_BY_ONE.values()}) == len(ONE_BY_ONE)


def history(floor: Floor) -> None:
    for member, was in HISTORY.items():
        floor.history(member, **was)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "retry_s"),
    [("in_order", 2), *((strategy, 0) for strategy in ONE_BY_ONE if strategy != "in_order")],
)
def test_one_member_after_another(floor: Floor, strategy: str, retry_s: int) -> None:
    floor.queue(*MEMBERS, strategy=strategy, ring_time_s=RING_S, retry_s=retry_s)
    history(floor)
    floor.edge.answers = {"w1": "ring", "w2": "ring", "w3": "ring"}
    leg = floor.call()
    rings = floor.rings(3)
    assert [one.user for one in rings] == ONE_BY_ONE[strategy]
    for before, after in itertools.pairwise(rings):
        stopped = floor.stopped(before)
        assert between(stopped - before.at, RING_S, RING_S + SLACK_S), "each rings for ring_time_s"
        assert between(after.at - stopped, retry_s, retry_s + TICK_S + SLACK_S), "the next one after retry_s"
    leg.bye()


@pytest.mark.parametrize(("strategy", "callers"), [("random", 8), ("weighted", 4)])
def test_who_rings_first_is_drawn(floor: Floor, strategy: str, callers: int) -> None:
    floor.queue(*MEMBERS, "pam", strategy=strategy, ring_time_s=9)
    history(floor)
    floor.edge.answers = {f"w{number}": "ring" for number in range(1, 5)}
    for caller in range(callers):
        leg = floor.call(f"+493012{caller}")
        floor.rings(caller + 1)
        leg.wait("200")
        leg.bye()
        awaited(lambda so_far=caller + 1: len(floor.outcomes()) == so_far, "it did not leave")  # type: ignore[misc]
    first = floor.rang()
    assert len(first) == callers, "one rang for each caller"
    if strategy == "weighted":
        assert set(first) == {"w3"}
    else:
        # Once in 8,000 runs all draws are the same, or those of a round.
        assert len(set(first)) > 1
        assert not all(first[place] == first[place % 4] for place in range(callers))


def test_ring_all_is_at_once_and_again_after_a_pause(floor: Floor) -> None:
    floor.queue("mia", "ned", "oda", "pam", strategy="ring_all", ring_time_s=RING_S, retry_s=1)
    floor.edge.answers = {f"w{number}": "ring" for number in range(1, 5)}
    leg = floor.call()
    rings = floor.rings(8)
    for first in (0, 4):
        these = rings[first : first + 4]
        assert sorted(one.user for one in these) == ["w1", "w2", "w3", "w4"]
        assert these[-1].at - these[0].at < AT_ONCE_S, "all at once"
    stopped = [floor.stopped(one) for one in rings[:4]]
    assert all(between(at - rings[0].at, RING_S, RING_S + SLACK_S) for at in stopped)
    assert between(rings[4].at - max(stopped), 1, 1 + TICK_S + SLACK_S)
    leg.bye()


def test_a_batch_rings_then_more_besides_then_who_did_not(floor: Floor) -> None:
    floor.queue(
        "mia", "ned", "oda", "pam", strategy="batch", ring_time_s=3, retry_s=0,
        batch_first_percent=50, batch_second_percent=25, batch_wait_s=2,
    )  # fmt: skip
    history(floor)
    floor.edge.answers = {f"w{number}": "ring" for number in range(1, 5)}
    leg = floor.call()
    rings = floor.rings(4)
    # Whose last call is longest ago comes first; pam never had one.
    assert sorted(one.user for one in rings[:2]) == ["w2", "w4"]
    assert [one.user for one in rings[2:]] == ["w3", "w1"]
    gaps = apart(rings)
    assert gaps[0] < AT_ONCE_S, "the first batch at once"
    assert between(rings[2].at - rings[0].at, 2, 2 + SLACK_S), "the second after batch_wait_s"
    stopped = [floor.stopped(one) for one in rings[:3]]
    assert all(between(at - rings[0].at, 3, 3 + SLACK_S) for at in stopped), "together for ring_time_s"
    assert rings[3].at >= max(stopped), "the rest only then"
    leg.bye()
