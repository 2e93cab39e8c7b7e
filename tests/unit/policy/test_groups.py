"""Groups: who rings, in which order, for how long, and what the group remembers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from controller.policy import groups
from controller.policy.conditions import Situation
from controller.policy.decide import decide
from controller.policy.model import STRATEGIES, Live, Snapshot, Turn
from tests.unit.policy.acme import EVENING, NOW, call, decided, inside, seen

THREE = [{"user": "alice"}, {"user": "bob"}, {"user": "carol"}]
SALES = call("group", "sales")


def order(snapshot: Snapshot, call_id: str = "call-1") -> list[str]:
    """Who begins to ring in each stage."""
    situation = Situation(replace(SALES, call_id=call_id), snapshot, NOW)
    stages = groups.ring(snapshot.groups["sales"], situation).stages
    return [member for stage in stages for member in stage.members]


def sales(live: Live | None = None, **group: Any) -> Snapshot:
    return seen(live, group__sales={"members": THREE, "ring_s": 45, "step_s": 15, **group})


def test_all_at_once_each_with_its_delay() -> None:
    members = [{"user": "alice"}, {"user": "bob", "delay_s": 5}, {"number": "+491709999", "delay_s": 10}]
    program, reasons = decided(
        SALES, sales(members=members, ring_s=30, on_no_answer="voicemail:600", prefix="Sales")
    )
    assert program == [
        "dp-caller,s,1(,Sales)",
        "dp-legs,s,1(app1@acme.example&desk1@acme.example&bob@acme.example~5&+491709999~10,30,)",
        "dp-otherwise,s,1(voicemail:600,busy,hangup)",
    ]
    assert reasons == [
        ("ring alice, bob after 5 s, +491709999 after 10 s for 30 s", "group sales rings all at once"),
        ("then voicemail 600", "if no answer"),
        ("then busy", "if busy"),
        ("then hangup", "if no device registered"),
    ]


def test_a_member_whose_delay_is_too_long_does_not_ring() -> None:
    members = [{"user": "alice"}, {"user": "bob", "delay_s": 45}]
    program, reasons = decided(SALES, sales(members=members))
    assert program[0] == "dp-legs,s,1(app1@acme.example&desk1@acme.example,45,)"
    why = "it would begin after 45 s, when the group has rung for 45 s"
    assert reasons[0] == ("bob does not ring", why)


def test_a_device_of_two_members_rings_once_as_early_as_it_may() -> None:
    members = [{"device": "desk1@acme.example", "delay_s": 9}, {"user": "alice", "delay_s": 3}]
    program, _ = decided(SALES, sales(members=members))
    assert program[0] == "dp-legs,s,1(desk1@acme.example~3&app1@acme.example~3,45,)"


@pytest.mark.parametrize(
    ("group", "members", "flags"),
    [
        ({}, THREE, ""),
        ({"skip_busy": True}, THREE, "s"),
        ({"confirm": True}, THREE, ""),
        ({"confirm": True}, [{"number": "+491709999"}], "c"),
        ({"confirm": True, "skip_busy": True}, [{"number": "+491709999"}], "sc"),
    ],
)
def test_flags(group: dict[str, Any], members: list[dict[str, Any]], flags: str) -> None:
    program, _ = decided(SALES, sales(members=members, **group))
    assert program[0].endswith(f",45,{flags})")


def test_in_order_until_the_time_of_the_group_is_over() -> None:
    program, reasons = decided(SALES, sales(strategy="in_order", ring_s=70, step_s=20))
    assert program == [
        "dp-legs,s,1(app1@acme.example&desk1@acme.example,20,)",
        "dp-legs,s,1(bob@acme.example,20,)",
        "dp-legs,s,1(carol@acme.example,20,)",
        "dp-legs,s,1(app1@acme.example&desk1@acme.example,10,)",
        "dp-otherwise,s,1(hangup,busy,hangup)",
    ]
    assert reasons[:4] == [
        ("ring alice for 20 s", "group sales: in order"),
        ("ring bob for 20 s", "group sales: in order"),
        ("ring carol for 20 s", "group sales: in order"),
        ("then alice again, and so on", "until the group has rung for 70 s"),
    ]


def test_members_for_whom_no_time_is_left_are_told() -> None:
    program, reasons = decided(SALES, sales(strategy="in_order", ring_s=20, step_s=15))
    assert program[:2] == [
        "dp-legs,s,1(app1@acme.example&desk1@acme.example,15,)",
        "dp-legs,s,1(bob@acme.example,5,)",
    ]
    assert ("carol would be next", "the 20 s of the group are over then") in reasons


def test_the_only_member_rings_all_the_time() -> None:
    program, _ = decided(SALES, sales(strategy="in_order", members=[{"user": "bob"}]))
    assert program[0] == "dp-legs,s,1(bob@acme.example,45,)"
    assert len(program) == 2


def test_round_robin_begins_after_the_one_that_began() -> None:
    snapshot = sales(strategy="round_robin")
    begun = []
    for _ in range(4):
        begun.append(order(snapshot))
        turn = decide(SALES, snapshot, NOW).turn
        assert turn is not None
        snapshot = replace(snapshot, live=Live(turns={"sales": turn}))
    assert begun == [
        ["alice", "bob", "carol"],
        ["bob", "carol", "alice"],
        ["carol", "alice", "bob"],
        ["alice", "bob", "carol"],
    ]


def test_round_robin_passes_over_who_is_away_and_forgets_who_left() -> None:
    away = frozenset({("sales", "bob")})
    assert order(sales(Live(away=away, turns={"sales": Turn("alice")}), strategy="round_robin")) == [
        "carol", "alice", "carol",
    ]  # fmt: skip
    # The last one is away itself: its place still counts.
    assert order(sales(Live(away=away, turns={"sales": Turn("bob")}), strategy="round_robin"))[0] == "carol"
    assert order(sales(Live(turns={"sales": Turn("gone")}), strategy="round_robin"))[0] == "alice"


def test_least_recent_and_fewest_calls_follow_who_answered() -> None:
    snapshot = sales()
    for leg, minutes in (("bob@acme.example", 0), ("desk1@acme.example", 1), ("bob@acme.example", 2)):
        turn = groups.answered(snapshot.groups["sales"], snapshot, leg, NOW + timedelta(minutes=minutes))
        assert turn is not None
        snapshot = replace(snapshot, live=Live(turns={"sales": turn}))
    live = snapshot.live
    assert live.turns["sales"].calls == {"bob": 2, "alice": 1}
    assert order(sales(live, strategy="least_recent")) == ["carol", "alice", "bob"]
    assert order(sales(live, strategy="fewest_calls")) == ["carol", "alice", "bob"]
    again = groups.answered(snapshot.groups["sales"], snapshot, "app1@acme.example", NOW + timedelta(hours=1))
    assert again is not None
    more = Live(turns={"sales": again})
    assert order(sales(more, strategy="least_recent")) == ["carol", "bob", "alice"]
    assert order(sales(more, strategy="fewest_calls")) == ["carol", "alice", "bob"]


def test_calls_of_yesterday_do_not_count_and_days_begin_in_the_accounts_zone() -> None:
    snapshot = sales(
        Live(turns={"sales": Turn("", {"alice": 5}, {"alice": 7}, "2026-11-19")}), strategy="fewest_calls"
    )
    assert order(snapshot)[0] == "alice"
    past_midnight = datetime.fromisoformat("2026-11-19T23:30:00+00:00")
    turn = groups.answered(snapshot.groups["sales"], snapshot, "bob@acme.example", past_midnight)
    assert turn is not None
    assert (turn.day, turn.calls) == ("2026-11-20", {"bob": 1})
    assert turn.answered == {"alice": 5, "bob": int(past_midnight.timestamp())}


def test_an_answer_of_nobody_in_the_group_changes_nothing() -> None:
    snapshot = sales()
    assert groups.answered(snapshot.groups["sales"], snapshot, "lobby@acme.example", NOW) is None


def test_random_depends_on_the_call_alone() -> None:
    snapshot = sales(strategy="random")
    assert order(snapshot) == order(snapshot)
    firsts = [order(snapshot, f"call-{number}")[0] for number in range(600)]
    assert all(150 < firsts.count(name) < 250 for name in ("alice", "bob", "carol"))


def test_weights_are_shares_of_who_rings_first() -> None:
    members = [{"user": "alice", "weight": 6}, {"user": "bob", "weight": 3}, {"user": "carol", "weight": 1}]
    snapshot = sales(strategy="weighted", members=members)
    firsts = [order(snapshot, f"call-{number}")[0] for number in range(1000)]
    assert 550 < firsts.count("alice") < 650
    assert 250 < firsts.count("bob") < 350
    assert 60 < firsts.count("carol") < 140
    none = sales(strategy="weighted", members=[{"user": "alice", "weight": 0}, *members[1:]])
    assert {order(none, f"call-{number}")[2] for number in range(50)} == {"alice"}


@pytest.mark.parametrize(
    ("member", "live", "why"),
    [
        ({"user": "bob", "enabled": False}, Live(), "it is not enabled in group sales"),
        ({"user": "bob"}, Live(away=frozenset({("sales", "bob")})), "it is away from group sales"),
        ({"user": "bob"}, Live(dnd=frozenset({"bob"})), "bob does not want to be disturbed"),
        ({"device": "bob@acme.example"}, Live(dnd=frozenset({"bob"})), "bob does not want to be disturbed"),
        ({"user": "dave"}, Live(), "user dave has no enabled device"),
        ({"user": "zoe"}, Live(), "user zoe is not enabled"),
        ({"user": "carol"}, Live(), "carol is who calls"),
        ({"device": "carol@acme.example"}, Live(), "carol is who calls"),
        ({"user": "bob", "list": "vip"}, Live(), "caller carol is not on list vip"),
        (
            {"user": "bob", "schedule": "office"},
            Live(),
            "outside schedule office (closed since 17:30 until mon 2026-11-23 09:00: outside its times)",
        ),
    ],
)
def test_who_does_not_ring_and_why(member: dict[str, Any], live: Live, why: str) -> None:
    snapshot = sales(live, members=[member, {"user": "alice"}])
    program, reasons = decided(inside("group", "sales"), snapshot, EVENING)
    name = member.get("user") or member["device"]
    assert program[0] == "dp-legs,s,1(app1@acme.example&desk1@acme.example,45,)"
    assert reasons[0] == (f"{name} does not ring", why)


def test_a_member_that_calls_from_its_outside_number_does_not_ring() -> None:
    program, _ = decided(
        replace(SALES, caller="00491709999"), sales(members=[{"number": "+491709999"}, {"user": "bob"}])
    )
    assert program[0] == "dp-legs,s,1(bob@acme.example,45,)"


def test_away_from_one_group_is_not_away_from_another() -> None:
    program, _ = decided(SALES, sales(Live(away=frozenset({("support", "bob")})), members=[{"user": "bob"}]))
    assert program[0] == "dp-legs,s,1(bob@acme.example,45,)"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_left(strategy: str) -> None:
    live = Live(dnd=frozenset({"alice", "bob"}), away=frozenset({("sales", "carol")}))
    decision = decide(SALES, sales(live, strategy=strategy, on_nobody="group:support"), NOW)
    assert [act.line for act in decision.program] == ["dp-next,s,1(group:support,20)"]
    assert decision.turn is None
    assert [step.what for step in decision.reasons] == [
        "alice does not ring", "bob does not ring", "carol does not ring", "then group support",
    ]  # fmt: skip
    assert decision.reasons[-1].why == "nobody in group sales is left to ring"


@pytest.mark.parametrize(
    ("registered", "rings"),
    [
        ({"bob@acme.example": 1, "carol@acme.example": 0}, "bob"), ({"bob@acme.example": 0}, ""),
        ({}, "bob"), (None, "bob"),
    ],
    ids=["registered", "not registered", "not known", "nothing known"],
)  # fmt: skip
def test_a_member_that_joins_by_registering(registered: dict[str, int] | None, rings: str) -> None:
    members = [{"user": "bob", "joins": True}]
    snapshot = seen(Live(registered=registered), group__sales={"members": members, "on_nobody": "busy"})
    program, reasons = decided(SALES, snapshot)
    assert program[0].startswith("dp-legs,s,1(bob@" if rings else "dp-next,s,1(busy")
    why = ("bob does not ring", "it joins group sales by registering, and is not registered")
    assert (why in reasons) == (not rings)


def test_a_group_that_takes_one_call_is_busy_while_another_rings() -> None:
    live = Live(ringing=frozenset({"sales"}))
    program, reasons = decided(SALES, sales(live, one_call=True, on_busy="voicemail:600"))
    assert program == ["dp-next,s,1(voicemail:600,17)"]
    assert reasons == [("then voicemail 600", "another call rings in group sales, which takes one")]
    assert decided(SALES, sales(live))[0][0].startswith("dp-legs")
    assert decided(SALES, sales(one_call=True))[0][0].startswith("dp-legs")
