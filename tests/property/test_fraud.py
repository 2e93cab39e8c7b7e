"""Fraud: whatever the order, the repetitions and the restarts, what is counted is the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fraud.defaults import RULES
from controller.fraud.engine import LATE_S, Engine
from controller.fraud.metrics import METRICS
from controller.fraud.model import ANSWER, END, FAILED_AUTH, MESSAGE, REGISTER, SCOPES, START, Event, Rule
from controller.fraud.windows import PARTS, Distinct, Neighbours, Sums

BEGIN = 1_777_975_200.0
TIMES = st.floats(0, LATE_S - 1).map(lambda seconds: round(BEGIN + seconds, 3))
KINDS = st.sampled_from((START, ANSWER, END, MESSAGE, FAILED_AUTH, REGISTER))
NUMBERS = st.sampled_from(
    [f"+2162012345{digit}" for digit in range(9)] + ["+41227301111", "101", "0021620123456"]
)
# Every indicator, with limits that nothing reaches, so that nothing is left out; every scope.
EVERYTHING = tuple(
    Rule(f"{metric.replace('_', '-')}-{scope}", metric, scope, 600, critical=1e9)
    for place, (metric, about) in enumerate(METRICS.items())
    for scope in about.scopes or (SCOPES[place % len(SCOPES)], "account")
)


def _made(number: int, drawn: tuple[Any, ...]) -> Event:
    at, kind, call, called, source, agent, user = drawn
    outside = called.startswith("+")
    # One end of a call, one start, one answer: as the record of a call has them.
    identity = f"{call}/{kind}" if kind in (START, ANSWER, END) else f"e{number}"
    return Event(
        identity, at, kind, "acme", call if kind in (START, ANSWER, END) else "", user, ("g",), f"{user}@acme", "r1",
        source, agent, called, "TN" if outside else "", "high_risk" if outside else "internal", 60.0, 30.0, 1.0, 0.5,
    )  # fmt: skip


EVENTS = st.lists(
    st.tuples(
        TIMES,
        KINDS,
        st.sampled_from([f"c{number}" for number in range(12)]),
        NUMBERS,
        st.sampled_from(["198.51.100.1", "198.51.100.2", "198.51.100.3"]),
        st.sampled_from(["phone/1", "phone/2"]),
        st.sampled_from(["alice", "bob"]),
    ),
    max_size=60,
).map(lambda drawn: list({one.id: one for one in (_made(*pair) for pair in enumerate(drawn))}.values()))


def consistent(events: Iterable[Event]) -> list[Event]:
    """Events of a call agree about whose it is and whom it reaches, as all that is said of one call does."""
    first: dict[str, Event] = {}
    found = []
    for event in events:
        of = first.setdefault(event.call or event.id, event)
        found.append(
            event._replace(
                user=of.user, device=of.device, called=of.called, country=of.country, cls=of.cls, source=of.source,
                agent=of.agent,
            )
        )  # fmt: skip
    return found


SUBJECTS = {
    "device": ("alice@acme", "bob@acme"),
    "user": ("acme/alice", "acme/bob"),
    "group": ("acme/g",),
    "account": ("acme",),
    "reseller": ("r1",),
    "source": ("198.51.100.1", "198.51.100.2", "198.51.100.3"),
}


def values(engine: Engine, rules: Iterable[Rule] = EVERYTHING) -> dict[tuple[str, str], Any]:
    """What is counted for every subject by now."""
    engine.tick(BEGIN + LATE_S)
    return {
        (rule.name, subject): pytest.approx(engine.value(rule, subject), abs=1e-6)
        for rule in rules
        for subject in SUBJECTS[rule.scope]
    }


def fed(events: Iterable[Event], rules: Iterable[Rule] = EVERYTHING) -> Engine:
    engine = Engine(rules)
    for event in events:
        engine.feed(event)
    return engine


@given(EVENTS, st.randoms(use_true_random=False))
def test_order_does_not_matter_for_what_is_counted(events: list[Event], rng: Any) -> None:
    ordered = sorted(consistent(events), key=lambda event: event.at)
    mixed = list(ordered)
    rng.shuffle(mixed)
    assert values(fed(mixed)) == values(fed(ordered))


@given(EVENTS, st.data())
def test_what_is_told_again_changes_nothing(events: list[Event], data: st.DataObject) -> None:
    once = consistent(events)
    again = data.draw(st.lists(st.sampled_from(once), max_size=30)) if once else []
    engine = fed(once)
    before = values(engine)
    assert [verdict for event in again for verdict in engine.feed(event)] == []
    assert values(engine) == before
    assert engine.repeated == len(again)


@given(EVENTS, st.integers(0, 60), st.integers(0, 60))
def test_an_engine_made_anew_from_the_events_counts_the_same(
    events: list[Event], killed: int, overlap: int
) -> None:
    """It is killed after some events; the new one reads those kept, and hears the last ones again from their sender."""
    ordered = sorted(consistent(events), key=lambda event: event.at)
    old = fed(ordered)
    kept = ordered[:killed]
    new = fed([*kept, *kept[max(0, killed - overlap) :], *ordered[killed:]])
    assert values(new) == values(old)
    assert new.counted == old.counted


@given(EVENTS)
def test_a_restart_keeps_what_is_in_force(events: list[Event]) -> None:
    rules = [Rule("r", "calls", "account", 600, critical=2, mode="enforce", actions=("outbound_off",))]
    ordered = sorted(consistent(events), key=lambda event: event.at)
    old = fed(ordered, rules)
    new = Engine(rules)
    for verdict in old.holding.in_force():
        new.hold(verdict)
    said = [verdict for event in ordered for verdict in new.feed(event)]
    assert said == []
    probe = Event("x", BEGIN + LATE_S, START, "acme", "x", called="+41227301111", cls="international")
    assert (old.blocks(probe) is None) == (new.blocks(probe) is None)


@given(EVENTS)
def test_no_call_stays_up_after_its_end(events: list[Event]) -> None:
    ordered = consistent(events)
    ended = {event.call for event in ordered if event.kind == END}
    engine = fed(ordered)
    assert not ended & {call.call for call in engine.calls()}
    for place, call in enumerate(engine.calls()):
        engine.feed(call._replace(id=f"end{place}", kind=END, at=BEGIN + LATE_S))
    counted = values(engine)
    live = {
        rule.name for rule in EVERYTHING if rule.metric in ("concurrent", "prefix_concurrent", "running_s")
    }
    assert all(value == 0 for (name, _), value in counted.items() if name in live)


@given(EVENTS)
def test_a_critical_verdict_is_said_when_its_value_is_reached_and_not_before(events: list[Event]) -> None:
    engine = Engine(RULES)
    for event in sorted(consistent(events), key=lambda event: event.at):
        for verdict in engine.feed(event):
            limits = (verdict.rule.warning, verdict.rule.critical)
            assert verdict.threshold in limits
            assert verdict.value >= verdict.threshold


@given(EVENTS)
def test_emergency_calls_leave_no_trace(events: list[Event]) -> None:
    engine = fed(event._replace(emergency=True) for event in events)
    assert engine.counted == 0
    assert engine.size() == 0


NOWS = st.lists(st.tuples(st.floats(0, 500), st.integers(0, 20)), max_size=60)


def _window(seen: list[tuple[float, int]], now: float, window: float) -> list[int]:
    """What a window of whole parts holds, said the plain way."""
    part = window / PARTS
    return [value for at, value in seen if at // part >= now // part - PARTS]


@given(NOWS)
def test_windows_hold_what_the_plain_way_finds(drawn: list[tuple[float, int]]) -> None:
    sums, distinct, row = Sums(60), Distinct(60), Neighbours(60)
    now, seen = 0.0, []
    for at, value in drawn:
        now = max(now, at)
        seen.append((at, value))
        here = _window(seen, now, 60)
        assert sums.add("k", at, value, now) == sum(here)
        assert distinct.add("k", at, str(value), now) == len(set(here))
        row.add("k", at, value, now)
        links = sum(one - 1 in here for one in set(here))
        assert row.size("k", now) == (links + 1 if links else 0)
    later = now + 30
    assert sums.total("k", later) == sum(_window(seen, later, 60))
    assert distinct.size("k", later) == len(set(_window(seen, later, 60)))
