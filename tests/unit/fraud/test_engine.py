"""Verdicts: which rule holds, when it is said, what it stops, and what it never touches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from controller.fraud import engine as module
from controller.fraud.engine import Engine
from controller.fraud.model import (
    CRITICAL,
    OBSERVE,
    RELEASED,
    WARNING,
    Allow,
    Owner,
    Permission,
    Profile,
    Rule,
)
from tests.unit.fraud.calls import (
    BERLIN,
    DESK,
    GENEVA,
    NOON,
    PREMIUM,
    TUNIS,
    answer,
    end,
    failed,
    message,
    rule,
    run,
    start,
)


def test_a_verdict_is_said_once_and_again_when_it_becomes_critical() -> None:
    found = run([rule("calls", 5, warning=2)], [start(f"c{n}", n) for n in range(9)])
    assert [(one.level, one.value, one.threshold) for one in found] == [(WARNING, 2, 2), (CRITICAL, 5, 5)]
    assert found[1].subject == "acme"
    assert found[1].until == NOON + 4 + 86_400
    assert found[1].evidence[:2] == (TUNIS, "c4")


def test_it_is_released_on_time_and_said_again_if_it_still_holds() -> None:
    held = Engine([rule("calls", 2, release_s=60)])
    for number in range(3):
        held.feed(start(f"c{number}", number))
    assert held.blocks(start("x", 5)) is not None
    assert held.tick(NOON + 60) == []
    (released,) = held.tick(NOON + 61)
    assert (released.level, released.subject) == (RELEASED, "acme")
    assert held.blocks(start("x", 61)) is None
    assert [one.level for one in held.feed(start("c9", 62))] == [CRITICAL]


OWNERS = [
    Owner(),
    Owner("acme"),
    Owner("acme", group="sales"),
    Owner("acme", user="alice"),
    Owner("acme", device=DESK),
]


@pytest.mark.parametrize("most", range(len(OWNERS)))
def test_the_most_specific_rule_holds(most: int) -> None:
    rules = [
        rule("calls", 2 + place, scope="device", owner=owner)
        for place, owner in enumerate(OWNERS[: most + 1])
    ]
    found = run(reversed(rules), [start(f"c{n}", n, groups=("sales",)) for n in range(9)])
    assert [(one.rule.owner, one.value) for one in found] == [(OWNERS[most], 2 + most)]
    others = run(rules, [start(f"c{n}", n, account="other", user="x", device="x@y") for n in range(9)])
    assert [one.rule.owner for one in others] == [Owner()]


def test_a_reseller_is_more_than_everybody_and_less_than_an_account() -> None:
    owners = (Owner(), Owner(reseller="r1"), Owner("acme"))
    rules = [rule("calls", 2 + place, owner=owner) for place, owner in enumerate(owners)]

    def of(**changes: str) -> list[float]:
        return [one.value for one in run(rules, [start(f"c{n}", n, **changes) for n in range(9)])]

    assert of(account="b") == [2]
    assert of(account="b", reseller="r1") == [3]
    assert of(reseller="r1") == [4]


def test_a_reseller_is_counted_over_its_accounts_and_no_others() -> None:
    owners = (("acme", "north"), ("beta", "north"), ("gamma", "south"), ("delta", ""))
    events = [
        start(f"c{n}", n, account=owners[n % 4][0], reseller=owners[n % 4][1], user="", device="")
        for n in range(12)
    ]
    rules = [rule("calls", 5, scope="reseller", warning=3)]
    found = run(rules, events)
    assert [(one.scope, one.subject, one.level, one.value, one.account) for one in found] == [
        ("reseller", "north", WARNING, 3, "acme"),
        ("reseller", "north", CRITICAL, 5, "acme"),
        ("reseller", "south", WARNING, 3, "gamma"),
    ]
    # A rule of one reseller alone, which stops calls of all of its accounts.
    held = Engine([rule("calls", 5, scope="reseller", owner=Owner(reseller="north"))])
    assert [one.subject for event in events for one in held.feed(event)] == ["north"]
    stopped = [
        held.blocks(start("x", 20, account=name, reseller=reseller)) is not None for name, reseller in owners
    ]
    assert stopped == [True, True, False, False]


def test_a_class_may_be_called_by_the_accounts_of_one_reseller_alone() -> None:
    rows = [Permission("premium", False), Permission("premium", True, Owner(reseller="north"))]
    held = Engine([], permissions=[*rows, Permission("premium", False, Owner("beta"))])
    asked = [("acme", "north"), ("acme", "south"), ("beta", "north")]
    calls = [start("x", 0, PREMIUM, account=account, reseller=reseller) for account, reseller in asked]
    assert [held.blocks(one, as_if=True) is None for one in calls] == [True, False, False]


def test_a_family_is_off_for_whom_its_rule_is_not_enabled() -> None:
    rules = [rule("calls", 2), rule("calls", 2, owner=Owner("acme", user="alice"), enabled=False)]
    assert run(rules, [start(f"c{n}", n) for n in range(9)]) == []
    assert len(run(rules, [start(f"c{n}", n, user="bob") for n in range(9)])) == 1


def test_a_rule_of_one_user_counts_with_the_others_of_the_account() -> None:
    """Limits differ, what is counted does not."""
    rules = [rule("calls", 3), rule("calls", 6, owner=Owner("acme", user="alice"))]
    events = [start(f"c{n}", n, user="bob" if n % 2 else "alice") for n in range(9)]
    assert [(one.rule.owner.user, one.value) for one in run(rules, events)] == [("", 4), ("alice", 7)]


@pytest.mark.parametrize(
    "allow",
    [
        Allow(Owner("acme")),
        Allow(Owner("acme", user="alice"), what="+216"),
        Allow(Owner("acme", device=DESK)),
        Allow(source="198.51.100.9"),
        Allow(what="+216", until=NOON + 3600),
    ],
)
def test_what_is_allowed_is_neither_counted_nor_blocked(allow: Allow) -> None:
    events = [start(f"c{n}", n) for n in range(9)]
    assert run([rule("calls", 2)], events, allows=[allow]) == []
    held = Engine([rule("calls", 2)], allows=[allow])
    held.hold(run([rule("calls", 2)], events)[0])
    assert held.blocks(start("x", 10)) is None
    other = start("x", 10, account="b", user="u", device="d@b", source="203.0.113.1", called=GENEVA)
    assert not held.holding.allowed(other, NOON)


@pytest.mark.parametrize(
    "allow",
    [
        Allow(Owner("other")),
        Allow(Owner("acme", user="bob")),
        Allow(Owner("acme"), what="+4122"),
        Allow(source="198.51.100.8"),
        Allow(Owner("acme"), until=NOON - 1),
    ],
)
def test_what_allows_something_else_allows_nothing(allow: Allow) -> None:
    assert len(run([rule("calls", 2)], [start(f"c{n}", n) for n in range(3)], allows=[allow])) == 1


def test_emergency_calls_are_never_counted_nor_blocked() -> None:
    calls = [start(f"c{n}", n, called="112", emergency=True, cls="premium") for n in range(9)]
    also = start("x", 10, called="112", emergency=True, cls="national")
    held = Engine(
        [rule("calls", 2, actions=("outbound_off", "suspend"))], permissions=[Permission("premium", False)]
    )
    assert [held.feed(one) for one in calls] == [[]] * 9
    for number in range(3):
        held.feed(start(f"d{number}", number))
    assert held.blocks(start("x", 10)) is not None
    assert held.blocks(also._replace(emergency=False)) is not None
    assert held.blocks(also) is None


@pytest.mark.parametrize(
    ("actions", "called", "stopped"),
    [
        (("notify",), TUNIS, False),
        (("block_destination",), TUNIS, True),
        (("block_destination",), GENEVA, False),
        (("outbound_off",), GENEVA, True),
        (("outbound_off",), "101", False),
        (("unregister", "rotate"), BERLIN, True),
    ],
)
def test_what_a_verdict_stops(actions: tuple[str, ...], called: str, stopped: bool) -> None:
    held = Engine([rule("calls", 2, actions=actions, destinations=("high_risk",))])
    for number in range(2):
        held.feed(start(f"c{number}", number))
    assert (held.blocks(start("x", 5, called)) is not None) == stopped
    assert held.blocks(start("x", 5, called, account="other", user="u", device="d@o")) is None


def test_a_rule_that_observes_stops_nothing_but_says_what_it_would() -> None:
    held = Engine([rule("calls", 2, mode=OBSERVE)])
    (verdict,) = [one for number in range(2) for one in held.feed(start(f"c{number}", number))]
    assert (verdict.actions, verdict.would) == (("notify",), ("notify", "block_destination"))
    assert held.blocks(start("x", 5)) is None
    assert held.blocks(start("x", 5), as_if=True) == verdict


def test_an_address_that_is_blocked_does_nothing_more() -> None:
    held = Engine([rule("failed_auth", 2, scope="source", actions=("block_source",))])
    for number in range(2):
        held.feed(failed(f"f{number}", number))
    assert held.blocks(failed("f9", 5)) is not None
    assert held.blocks(start("x", 5, source="203.0.113.9")) is not None
    assert held.blocks(start("x", 5)) is None


def test_a_class_that_may_not_be_called() -> None:
    permissions = [
        Permission("premium", False, mode="enforce"),
        Permission("premium", True, Owner("acme", user="bob")),
    ]
    held = Engine([], permissions=permissions)
    (verdict,) = held.feed(start("c1", 0, PREMIUM))
    assert (verdict.rule.name, verdict.scope, verdict.subject) == ("permission-premium", "user", "acme/alice")
    assert held.feed(start("c2", 1, PREMIUM)) == []
    assert held.blocks(start("c3", 2, PREMIUM)) is verdict
    assert held.blocks(start("c4", 3, BERLIN)) is None
    assert held.blocks(start("c5", 4, PREMIUM, user="bob")) is None


def test_a_call_that_is_up_grows() -> None:
    held = Engine([rule("running_s", 600, name="long"), rule("minutes", 9, name="many", window_s=3600)])
    begun = start("c1", 0)
    assert held.feed(begun) + held.feed(answer(begun, 10)) == []
    assert held.tick(NOON + 400) == []
    assert [one.rule.name for one in held.tick(NOON + 560)] == ["many"]
    assert [one.rule.name for one in held.tick(NOON + 620)] == ["long"]
    assert held.value(rule("minutes", 9, window_s=3600), "acme") == pytest.approx(610 / 60)
    held.feed(end(begun, 630, 620))
    assert held.value(rule("minutes", 9, window_s=3600), "acme") == pytest.approx(620 / 60)
    assert held.calls() == ()


def test_what_a_call_costs_is_counted_once_while_it_is_up_and_after() -> None:
    dear = rule("cost", 1e9, window_s=3600)
    held = Engine([dear])
    for number, rate in enumerate((2.0, 5.0)):
        begun = start(f"c{number}", number, rate=rate)
        held.feed(begun)
        held.feed(answer(begun, 10))
        if rate == 5.0:
            held.feed(end(begun, 70, 60, cost=rate))
    held.tick(NOON + 130)
    assert held.value(dear, "acme") == pytest.approx(2.0 * 2 + 5.0)


def test_a_call_whose_end_nobody_tells_is_forgotten() -> None:
    held = Engine([rule("concurrent", 2)])
    held.feed(start("c1", 0))
    held.tick(NOON + module.LOST_S + 1)
    assert held.calls() == ()
    assert held.feed(start("c2", module.LOST_S + 2)) == []


def test_what_comes_much_too_late_counts_nothing() -> None:
    held = Engine([rule("calls", 2, window_s=86_400)])
    held.feed(start("c1", 0))
    assert held.feed(start("c2", -module.LATE_S - 1)) == []
    assert held.late == 1
    assert len(held.feed(start("c3", -module.LATE_S + 1))) == 1


def test_a_clock_that_is_ahead_does_not_make_all_others_late() -> None:
    held = Engine([rule("calls", 3)])
    held.feed(start("c1", 1e6), clock=NOON)
    assert held.now == NOON
    held.feed(start("c2", 1), clock=NOON + 1)
    assert len(held.feed(start("c3", 2), clock=NOON + 2)) == 1


def test_a_schedule_counts_by_the_clock_of_the_account() -> None:
    """10:00 in UTC is 12:00 in Berlin and 06:00 in New York."""
    lunch = rule("calls", 2, days=("tue",), from_minute=12 * 60, to_minute=13 * 60)
    events = [start(f"c{n}", n) for n in range(3)]
    berlin, york = (Profile("DE", ZoneInfo(zone)) for zone in ("Europe/Berlin", "America/New_York"))
    assert len(run([lunch], events, profiles={"acme": berlin})) == 1
    assert run([lunch], events, profiles={"acme": york}) == []
    assert run([replace(lunch, days=("wed",))], events, profiles={"acme": berlin}) == []


@pytest.mark.parametrize(
    ("hour", "day", "open_"),
    [(23, "tue", True), (2, "tue", False), (2, "wed", True), (23, "wed", False), (7, "wed", False)],
)
def test_a_night_belongs_to_the_day_it_began(hour: int, day: str, open_: bool) -> None:
    night = rule("calls", 2, days=("tue",), from_minute=22 * 60, to_minute=6 * 60)
    date = datetime(2026, 5, 5 if day == "tue" else 6, hour, tzinfo=UTC)
    assert night.measure.is_open(date.timestamp(), UTC) == open_


def test_a_rule_for_new_accounts() -> None:
    young = rule("calls", 2, new_account_days=7)
    events = [start(f"c{n}", n) for n in range(3)]
    assert len(run([young], events, profiles={"acme": Profile(since=NOON - 6 * 86_400)})) == 1
    assert run([young], events, profiles={"acme": Profile(since=NOON - 8 * 86_400)}) == []
    assert run([young], events) == []


@pytest.mark.parametrize(("usual", "factor"), [(0.5, 1), (2, 2), (10, 10), (1000, module.MOST_TIMES)])
def test_thresholds_follow_the_usual_and_no_further_than_that(usual: float, factor: float) -> None:
    with_history = rule("calls", 2, baseline=2)
    events = [start(f"c{n}", n) for n in range(99)]
    (verdict,) = run([with_history], events, usual={("acme", "r"): usual})
    assert (verdict.value, verdict.factor) == (2 * factor, factor)
    assert run([with_history], events, usual={("other", "r"): usual})[0].value == 2
    assert run([rule("calls", 2)], events, usual={("acme", "r"): usual})[0].value == 2


def test_what_was_learnt_is_not_new() -> None:
    new = rule("new_destinations", 2, destinations=("high_risk", "international"))
    held = Engine([new])
    held.learn(start("old", -40 * 3600))
    assert [one for number in range(5) for one in held.feed(start(f"c{number}", number))] == []
    found = [one for number in range(5) for one in held.feed(start(f"d{number}", number, GENEVA))]
    assert [one.value for one in found] == [2]


def test_an_end_before_its_start_leaves_no_call() -> None:
    held = Engine([rule("concurrent", 1)])
    begun = start("c1", 0)
    held.feed(end(begun, 5, 2))
    held.feed(answer(begun, 3))
    assert held.feed(begun) == []
    assert held.calls() == ()


def test_a_message_counts_for_its_own_account_and_group() -> None:
    by_group: Rule = rule("messages", 2, scope="group")
    found = run([by_group], [message(f"m{n}", n, TUNIS, groups=("a", "b")) for n in range(2)])
    assert [one.subject for one in found] == ["acme/a", "acme/b"]
