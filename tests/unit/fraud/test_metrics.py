"""Each indicator: what it counts, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.fraud.metrics import METRICS
from controller.fraud.model import USED, Event
from tests.unit.fraud.calls import (
    BERLIN,
    GENEVA,
    TUNIS,
    answer,
    end,
    failed,
    message,
    registered,
    rule,
    run,
    start,
)

Events = list[Event]


def calls(count: int, apart: float = 1, called: str = TUNIS) -> Events:
    return [start(f"c{number}", apart * number, called) for number in range(count)]


def answered(count: int, called: str = TUNIS, apart: float = 1) -> Events:
    return [event for begun in calls(count, apart, called) for event in (begun, answer(begun, 0.5))]


def talked(count: int, talk_s: float, called: str = TUNIS) -> Events:
    found = []
    for number in range(count):
        begun = start(f"t{number}", (talk_s + 10) * number, called)
        found += [begun, answer(begun, 5), end(begun, talk_s + 5, talk_s, cost=talk_s / 60)]
    return found


def cut(
    count: int,
    status: int = 487,
    ring_s: float = 3,
    called: Callable[[int], str] = lambda n: f"+4930234560{n:02}",
) -> Events:
    found = []
    for number in range(count):
        begun = start(f"s{number}", number, called(number))
        found += [begun, end(begun, ring_s, 0.0, status=status)]
    return found


def codes(sent: int, used: int) -> Events:
    found = [message(f"m{number}", number, TUNIS, code=True) for number in range(sent)]
    return found + [answer(one, 100)._replace(kind=USED) for one in found[:used]]


# (metric, changes of the rule, events that reach 3, events that nearly do)
CASES: list[tuple[str, dict[str, Any], Events, Events]] = [
    ("calls", {}, calls(3), calls(2)),
    ("calls", {"window_s": 60}, calls(3, 20), calls(3, 90)),
    ("calls", {"destinations": ("high_risk",)}, calls(3), calls(9, called=GENEVA)),
    ("calls", {"destinations": ("CH", "+4930")}, [*calls(2, called=GENEVA), start("x", 5, BERLIN)], calls(9)),
    ("calls", {}, calls(3), calls(9, called="101")),
    ("calls", {"destinations": ("internal",)}, calls(3, called="101"), calls(9)),
    ("answered", {}, answered(3), calls(9)),
    ("messages", {}, [message(f"m{n}", n, TUNIS) for n in range(3)], calls(9)),
    ("concurrent", {}, calls(3), talked(9, 60)),
    ("prefix_calls", {}, answered(3), answered(2) + answered(2, GENEVA)[2:]),
    ("prefix_concurrent", {"scope": "user"}, calls(3), [*calls(2), start("y", 3, GENEVA), start("z", 4, BERLIN)]),
    ("sequential", {}, [start(f"c{n}", n, f"+493023456{n}") for n in range(3)],
     [start(f"c{n}", n, f"+493023456{2 * n}") for n in range(5)]),
    ("minutes", {}, talked(3, 61), talked(2, 80)),
    ("cost", {}, talked(3, 61), talked(2, 80)),
    ("destinations", {}, [start(f"c{n}", n, f"+4930234567{n}") for n in range(3)], calls(9)),
    ("new_destinations", {"destinations": ("international", "high_risk")}, calls(3), calls(9, called=BERLIN)),
    ("failed_auth", {"scope": "source"}, [failed(f"f{n}", n) for n in range(3)],
     [registered(f"r{n}", n) for n in range(9)]),
    ("failed_names", {"scope": "source"}, [failed(f"f{n}", n, device=f"{n}@acme.example") for n in range(3)],
     [failed(f"f{n}", n) for n in range(9)]),
    ("same_tail", {"destinations": ("internal",)}, [start(f"c{n}", n, f"{9 * n}21620123456") for n in range(3)],
     calls(9, called="0021620123456") + [start(f"y{n}", n, f"{n}") for n in range(9)]),
    ("prefix_messages", {}, [message(f"m{n}", n, f"+2162012345{n}") for n in range(3)],
     [message(f"m{n}", n, f"+21620{n}23456") for n in range(9)]),
    ("unanswered_codes", {}, codes(3, 0), [*codes(2, 0), message("m9", 9, TUNIS)]),
    ("new_sources", {"scope": "device"}, [registered(f"r{n}", n, source=f"198.51.100.{n}") for n in range(4)],
     [registered(f"r{n}", n, source=f"198.51.100.{n % 3}") for n in range(9)]),
    ("new_sources", {"scope": "device"}, [message(f"m{n}", n, "103", source=f"198.51.100.{n}") for n in range(4)],
     [message(f"m{n}", n, "103", source=f"198.51.100.{n % 3}") for n in range(9)]),
    ("new_agents", {"scope": "device"}, [registered(f"r{n}", n, agent=f"phone/{n}") for n in range(4)],
     [registered(f"r{n}", n, agent=f"phone/{n % 3}") for n in range(9)]),
    ("new_agents", {"scope": "device"}, [message(f"m{n}", n, "103", agent=f"phone/{n}") for n in range(4)],
     [message(f"m{n}", n, "103", agent=f"phone/{n % 3}") for n in range(9)]),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "changes", "enough", "few"), CASES)
def test_an_indicator_reaches_its_threshold(
    metric: str, changes: dict[str, Any], enough: Events, few: Events
) -> None:
    found = run([rule(metric, **changes)], enough)
    assert [verdict.value for verdict in found] == [pytest.approx(3, abs=0.1)]
    assert run([rule(metric, **changes)], few) == []


def test_every_indicator_is_here_or_below() -> None:
    assert {case[0] for case in CASES} | {"short_pct", "running_s", "impossible_travel"} == set(METRICS)


def test_codes_that_are_used_are_no_answered_calls() -> None:
    assert run([rule("answered", 1), rule("prefix_calls", 1)], codes(3, 3)) == []


def test_codes_that_are_used_are_none() -> None:
    later = [message(f"n{number}", 200 + number, TUNIS, code=True) for number in range(3)]
    assert run([rule("unanswered_codes", 6)], codes(5, 3) + later) == []


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        (cut(6), True),
        (cut(5), False),
        # Who is busy, whom nobody knows, and who lets it ring.
        (cut(9, status=486), False),
        (cut(9, status=404), False),
        (cut(9, ring_s=15), False),
        # The same number again and again is one.
        (cut(9, called=lambda _: BERLIN), False),
        (cut(9, called=lambda _: "101"), False),
        (cut(5) + talked(1, 5, GENEVA), True),
        (cut(5) + talked(1, 50, GENEVA), False),
    ],
)
def test_short_calls_are_a_share_of_different_numbers(events: Events, reached: bool) -> None:
    found = run([rule("short_pct", 90, at_least=6)], events)
    assert [verdict.value for verdict in found] == ([100] if reached else [])


PARIS, TOKYO = (48.9, 2.4), (35.7, 139.7)


@pytest.mark.parametrize(
    ("places", "hops"),
    [
        ([(0, PARIS), (3600, TOKYO), (7200, PARIS), (10_800, TOKYO)], 3),
        ([(0, PARIS), (3600, TOKYO), (7200, TOKYO), (10_800, PARIS)], 2),
        ([(600, TOKYO), (0, PARIS), (400, PARIS), (200, TOKYO)], 3),
        # A stay, and a flight of thirteen hours.
        ([(0, PARIS), (13 * 3600, TOKYO), (14 * 3600, TOKYO), (15 * 3600, TOKYO)], 0),
        # Where it was last counts, not where the stay began.
        ([(0, PARIS), (3600, PARIS), (12 * 3600, PARIS), (13 * 3600, TOKYO)], 1),
        ([(0, PARIS), (60, (51.5, -0.1))], 0),
        ([(0, PARIS), (60, None)], 0),
    ],
)
def test_nobody_travels_so_fast(places: list[tuple[float, tuple[float, float] | None]], hops: int) -> None:
    events = [registered(f"r{at}", at, place=place) for at, place in places]
    found = run([rule("impossible_travel", 0.5, scope="device", window_s=86_400)], events[:-1])
    at_last = run([rule("impossible_travel", hops or 0.5, scope="device", window_s=86_400)], events)
    assert len(at_last) == (hops > 0)
    assert len(found) <= 1
