"""Who rings for whom: each strategy, batches, alerting, skills, penalties, weights between queues, and the reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.queues.engine import Decision, Rival, autopause, offer
from controller.queues.model import STRATEGIES, Caller, Member, Place, Queue

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
USERS = ("alice", "bob", "carol", "dave")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def made(strategy: str = "in_order", users: tuple[str, ...] = USERS, **changes: Any) -> Queue:
    return Queue("support", strategy, members=tuple(Place(user) for user in users), **changes)


def there(users: tuple[str, ...] = USERS, **changes: Member) -> dict[str, Member]:
    return {user: Member((f"{user}@acme.example",)) for user in users} | changes


def member(user: str, **changes: Any) -> Member:
    return Member((f"{user}@acme.example",), **changes)


def waiting(count: int) -> list[Caller]:
    return [Caller(number, ago(60 - number)) for number in range(1, count + 1)]


def rung(decision: Decision) -> list[tuple[str, ...]]:
    return [one.members for one in decision.offers]


@pytest.mark.parametrize(
    ("strategy", "members", "order"),
    [
        ("in_order", there(), ["alice", "bob", "carol", "dave"]),
        ("round_robin", there(), ["alice", "bob", "carol", "dave"]),
        (
            "round_robin",
            there(
                alice=member("alice", last_offer_at=ago(90)),
                bob=member("bob", last_offer_at=ago(10)),
                carol=member("carol", last_offer_at=ago(80)),
            ),
            ["carol", "dave", "alice", "bob"],
        ),
        # The one who rang last is not free: it begins after that one all the same.
        (
            "round_robin",
            there(bob=member("bob", last_offer_at=ago(10), busy=True)),
            ["carol", "dave", "alice"],
        ),
        (
            "least_recent",
            there(alice=member("alice", last_call_at=ago(10)), carol=member("carol", last_call_at=ago(20))),
            ["bob", "dave", "carol", "alice"],
        ),
        (
            "fewest_calls",
            there(
                alice=member("alice", calls_today=2),
                bob=member("bob", calls_today=1, last_call_at=ago(10)),
                carol=member("carol", calls_today=1, last_call_at=ago(20)),
            ),
            ["dave", "carol", "bob", "alice"],
        ),
    ],
)
def test_one_member_for_each_caller_in_the_order_of_the_strategy(
    strategy: str, members: dict[str, Member], order: list[str]
) -> None:
    decision = offer(made(strategy), waiting(len(order)), members, NOW, "seed")
    assert rung(decision) == [(user,) for user in order]
    assert [one.caller for one in decision.offers] == list(range(1, len(order) + 1))


def test_ring_all_rings_all_who_are_free_for_the_first_caller() -> None:
    decision = offer(made("ring_all"), waiting(2), there(bob=member("bob", busy=True)), NOW, "seed")
    assert rung(decision) == [("alice", "carol", "dave")]
    assert decision.offers[0].why == "all who are free: alice, carol, dave"
    assert decision.waits == {2: "no member is free"}
    assert decision.idle_not == {"bob": "is on the telephone"}


@pytest.mark.parametrize("strategy", ["random", "weighted"])
def test_what_is_drawn_is_the_same_for_the_same_seed_and_follows_the_weights(strategy: str) -> None:
    queue = replace(
        made(strategy),
        members=(Place("alice", weight=30), Place("bob", weight=10), Place("carol", weight=10)),
    )
    drawn = Counter(
        offer(queue, waiting(1), there(), NOW, f"call {number}").offers[0].members[0]
        for number in range(2000)
    )
    assert offer(queue, waiting(3), there(), NOW, "s") == offer(queue, waiting(3), there(), NOW, "s")
    share = {"random": 1 / 3, "weighted": 0.6}[strategy]
    assert abs(drawn["alice"] / 2000 - share) < 0.05
    assert abs(drawn["bob"] - drawn["carol"]) < 150


@pytest.mark.parametrize(
    ("percents", "first", "second"),
    [
        # (first %, at least, second %) of 10 free members
        ((25, 1, 25), 3, 3),
        ((10, 4, 0), 4, 0),
        ((100, 1, 50), 10, 0),
        ((50, 1, 100), 5, 5),
        ((1, 1, 1), 1, 1),
    ],
)
def test_batches_are_sized_by_who_is_free(percents: tuple[int, int, int], first: int, second: int) -> None:
    users = tuple(f"u{number}" for number in range(12))
    members = {user: member(user, last_call_at=ago(100 - number)) for number, user in enumerate(users)}
    members["u0"] = replace(members["u0"], paused=True)
    members["u1"] = replace(members["u1"], registered=False)
    queue = made(
        "batch", users, batch_first_percent=percents[0], batch_first_min=percents[1],
        batch_second_percent=percents[2], batch_wait_s=7,
    )  # fmt: skip
    (only, *_) = offer(queue, waiting(1), members, NOW, "seed").offers
    assert [leg.delay_s for leg in only.legs] == [0] * first + [7] * second
    assert list(only.members) == [f"u{number}" for number in range(2, 2 + first + second)]
    assert str(only.legs[-1]).endswith("~7" if second else "acme.example")


def test_the_next_caller_is_rung_by_those_whom_the_first_batches_left() -> None:
    users = tuple(f"u{number}" for number in range(8))
    decision = offer(
        made("batch", users, batch_second_percent=0),
        waiting(3),
        {user: member(user) for user in users},
        NOW,
        "s",
    )
    assert rung(decision) == [("u0", "u1"), ("u2", "u3"), ("u4",)]


def test_prioritised_alerting_is_in_order_and_never_more_than_there_is_room_for() -> None:
    queue = replace(
        made("ring_all", alert_limit=3),
        members=(
            Place("alice", priority_alert=30),
            Place("bob", priority_alert=10),
            Place("carol", priority_alert=20),
        ),
    )
    members = there(bob=Member(("desk@acme.example", "app@acme.example")))
    decision = offer(queue, waiting(2), members, NOW, "seed")
    assert [str(leg) for leg in decision.offers[0].legs] == [
        "desk@acme.example", "app@acme.example", "carol@acme.example",
    ]  # fmt: skip
    assert decision.waits == {2: "3 telephones are alerted, 3 may be at once"}
    # Callers who came before alert theirs: bob is next, and waits until there is room for both of his telephones.
    assert rung(offer(queue, waiting(2), members, NOW, "seed", alerted=1)) == [("bob",)]
    decision = offer(queue, waiting(2), members, NOW, "seed", alerted=2)
    assert (decision.offers, decision.waits) == (
        (), dict.fromkeys((1, 2), "2 telephones are alerted, 3 may be at once"),
    )  # fmt: skip
    assert decision.idle_not == {}


def test_each_caller_takes_room_from_those_behind() -> None:
    queue = made("in_order", alert_limit=2)
    decision = offer(queue, waiting(3), there(), NOW, "s")
    assert rung(decision) == [("alice",), ("bob",)]
    assert decision.waits == {3: "2 telephones are alerted, 2 may be at once"}
    # Who needs nobody that is free does not stand in the way.
    callers = [Caller(1, ago(9), skills={"german": 1}), Caller(2, ago(8))]
    assert rung(offer(queue, callers, there(), NOW, "s", alerted=1)) == [("alice",)]


def test_telephones_that_begin_later_have_their_room_from_the_beginning() -> None:
    queue = made("batch", batch_first_percent=50, batch_second_percent=50, batch_wait_s=7, alert_limit=3)
    decision = offer(queue, waiting(2), there(), NOW, "s")
    assert [str(leg) for leg in decision.offers[0].legs] == [
        "alice@acme.example", "bob@acme.example", "carol@acme.example~7",
    ]  # fmt: skip
    assert list(decision.waits) == [2]


def test_a_member_with_more_telephones_than_ever_have_room_rings_with_one_after_the_other() -> None:
    queue = made("in_order", ("alice",), alert_limit=2, ring_time_s=20)
    members = {"alice": Member(("a@acme.example", "b@acme.example", "c@acme.example"))}
    assert offer(queue, waiting(1), members, NOW, "s", alerted=1).offers == ()
    (only,) = offer(queue, waiting(1), members, NOW, "s").offers
    assert [str(leg) for leg in only.legs] == [
        "a@acme.example~0~10", "b@acme.example~0~10", "c@acme.example~10~10",
    ]  # fmt: skip


def test_a_heavier_queue_without_room_takes_nobody() -> None:
    light = made(users=("alice", "bob"))
    heavy = replace(made(users=("alice",), alert_limit=1), name="vip", weight=20)
    assert rung(offer(light, waiting(1), there(), NOW, "s", [Rival(heavy, waiting(1), there())])) == [
        ("bob",)
    ]
    full = Rival(heavy, waiting(1), there(), alerted=1)
    assert rung(offer(light, waiting(1), there(), NOW, "s", [full])) == [("alice",)]


def test_a_lower_penalty_rings_first() -> None:
    members = (Place("alice", penalty=5), Place("bob"), Place("carol", penalty=5), Place("dave"))
    for strategy, both in (
        ("ring_all", [("bob", "dave"), ("alice", "carol")]),
        ("in_order", [("bob",), ("dave",)]),
    ):
        queue = replace(made(strategy), members=members)
        assert rung(offer(queue, waiting(2), there(), NOW, "s")) == both
    only = there(bob=member("bob", busy=True), dave=member("dave", paused=True))
    assert rung(offer(replace(made("ring_all"), members=members), waiting(1), only, NOW, "s")) == [
        ("alice", "carol")
    ]


def test_skills_and_their_levels() -> None:
    queue = replace(
        made(required_skills={"german": 2}),
        members=(
            Place("alice", skills={"german": 1}),
            Place("bob", skills={"german": 3}),
            Place("carol", skills={"german": 2, "billing": 1}),
        ),
    )
    callers = [
        Caller(1, ago(9), skills={"billing": 1}),
        Caller(2, ago(8)),
        Caller(3, ago(7), skills={"german": 3}),
    ]
    decision = offer(queue, callers, there(), NOW, "s")
    assert rung(decision) == [("carol",), ("bob",)]
    assert decision.offers[1].why == "first in order: bob who has german 2"
    assert decision.waits == {3: "no member is free who has german 3"}


def test_priorities_come_first_and_retries_wait() -> None:
    callers = [
        Caller(1, ago(50)),
        Caller(2, ago(10), priority=5),
        Caller(3, ago(90), retry_at=NOW + timedelta(seconds=2.5)),
    ]
    decision = offer(made(), callers, there(), NOW, "s")
    assert [(one.caller, one.members) for one in decision.offers] == [(2, ("alice",)), (1, ("bob",))]
    assert decision.waits == {3: "nobody took the call, others are tried in 3 s"}


def test_who_did_not_take_the_call_rings_again_when_all_have_rung() -> None:
    caller = Caller(1, ago(9), tried=frozenset({"alice", "bob"}))
    assert rung(offer(made(), [caller], there(), NOW, "s")) == [("carol",)]
    assert rung(offer(made("ring_all"), [caller], there(), NOW, "s")) == [("carol", "dave")]
    caller = replace(caller, tried=frozenset(USERS))
    assert rung(offer(made(), [caller], there(), NOW, "s")) == [("alice",)]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (Member(), "has no device"),
        (member("alice", logged_in=False, paused=True), "is logged out"),
        (member("alice", paused=True), "pauses"),
        (member("alice", paused=True, pause_reason="lunch"), "pauses (lunch)"),
        (member("alice", disturb_not=True), "does not want to be disturbed"),
        (member("alice", registered=False), "has no device that is registered"),
        (member("alice", reserved=True), "rings for a caller or talks to one"),
        (member("alice", busy=True), "is on the telephone"),
        (member("alice", wrap_until=NOW + timedelta(seconds=4)), "wraps up for another 4 s"),
    ],
)
def test_why_nobody_is_offered_to_a_member(state: Member, why: str) -> None:
    for strategy in STRATEGIES:
        decision = offer(made(strategy, ("alice",)), waiting(1), {"alice": state}, NOW, "s")
        assert decision.idle_not == {"alice": why}
        assert decision.offers == ()
        assert decision.waits == {1: "no member is free"}


def test_wrap_up_is_over_at_its_end() -> None:
    assert rung(
        offer(made(users=("alice",)), waiting(1), {"alice": member("alice", wrap_until=NOW)}, NOW, "s")
    )


def test_a_heavier_queue_takes_shared_members_first() -> None:
    light, heavy = made(users=("alice", "bob")), replace(made(users=("alice",)), name="vip", weight=20)
    rival = Rival(heavy, waiting(1), there())
    decision = offer(light, waiting(2), there(), NOW, "s", [rival])
    assert rung(decision) == [("bob",)]
    assert decision.idle_not == {"alice": "is for a caller of queue vip, which weighs more"}
    # Not when the heavier one cannot use the member now, or does not weigh more.
    later = [Caller(1, ago(9), retry_at=NOW + timedelta(seconds=9))]
    assert rung(offer(light, waiting(1), there(), NOW, "s", [Rival(heavy, later, there())])) == [("alice",)]
    equal = Rival(replace(heavy, weight=10), waiting(1), there())
    assert rung(offer(light, waiting(1), there(), NOW, "s", [equal])) == [("alice",)]
    # Of three queues the heaviest takes alice, so that the middle one takes bob.
    middle = Rival(replace(made(users=("alice", "bob")), name="mid", weight=15), waiting(1), there())
    assert rung(offer(light, waiting(1), there(), NOW, "s", [middle, rival])) == []


def test_who_is_called_back_has_its_turn() -> None:
    callers = [Caller(1, ago(9), callback=True), Caller(2, ago(8))]
    assert [one.caller for one in offer(made(users=("alice",)), callers, there(), NOW, "s").offers] == [1]


@pytest.mark.parametrize(
    ("after", "ignored", "why"),
    [
        (None, 99, ""), (3, 2, ""), (3, 3, "let 3 calls of queue support ring out"),
        (1, 1, "let a call of queue support ring out"),
    ],
)  # fmt: skip
def test_who_pauses_after_letting_calls_ring_out(after: int | None, ignored: int, why: str) -> None:
    assert autopause(made(autopause_after=after), ignored) == why
