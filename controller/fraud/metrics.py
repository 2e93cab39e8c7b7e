"""The indicators. Each is counted for a subject over a window, from some kinds of events.

| metric | unit | is |
|---|---|---|
| calls, answered, messages | n | that were begun, taken, sent |
| concurrent | n | calls that are up now |
| sequential | n | called numbers that follow one another (201, 202, 203) |
| running_s | s | the longest call that is up now |
| minutes, cost | min, money | of talk; calls that are up count as far as they are |
| destinations | n | different numbers called or written to |
| new_destinations | n | calls to countries that were first called in the window |
| short_pct | % | of the different numbers called: those cut by the caller, or talked to, within 10 s |
| failed_auth, failed_names | n | sign-ins that failed; different names that failed |
| same_tail | n | different prefixes that were dialled before the same last 8 digits, of longer numbers |
| prefix_calls, prefix_messages | n | answered calls, messages to the same 10,000 numbers |
| prefix_concurrent | n | calls to the same 10,000 numbers that are up now |
| unanswered_codes | n | one-time codes that were sent and not used |
| new_sources, new_agents | n | addresses, user agents that the subject had never before the window |
| impossible_travel | n | changes of place, over 500 km, faster than 1,000 km/h |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

from controller.fraud.destinations import block_of
from controller.fraud.model import (
    ANSWER,
    ANY,
    CLASSES,
    END,
    FAILED_AUTH,
    INTERNAL,
    MESSAGE,
    REGISTER,
    START,
    USED,
    Event,
)
from controller.fraud.windows import PARTS, Distinct, Firsts, Generations, Neighbours, Sums

SHORT_S = 10
GAVE_UP = 487
TAIL = 8
FAR_KM, FAST_KMH = 500, 1000
_EARTH_KM = 6371
_PLACES = 8


class Metric(NamedTuple):
    """Which events it counts, its unit, and whether it goes by destinations (else every event counts)."""

    kinds: tuple[str, ...]
    unit: str
    destinations: bool = True
    scopes: tuple[str, ...] = ()  # none: all


METRICS = {
    "calls": Metric((START,), "calls"),
    "answered": Metric((ANSWER,), "answered calls"),
    "messages": Metric((MESSAGE,), "messages"),
    "concurrent": Metric((START, END), "calls at the same time"),
    "prefix_concurrent": Metric((START, END), "calls at the same time to one block of numbers"),
    "sequential": Metric((START,), "numbers in a row"),
    "running_s": Metric((ANSWER, END), "s of one call"),
    "minutes": Metric((ANSWER, END), "minutes"),
    "cost": Metric((ANSWER, END, MESSAGE), "cost"),
    "destinations": Metric((START, MESSAGE), "different numbers"),
    "new_destinations": Metric((START,), "calls to countries never called before"),
    "short_pct": Metric((END,), "% short calls"),
    "failed_auth": Metric((FAILED_AUTH,), "failed sign-ins", destinations=False),
    "failed_names": Metric((FAILED_AUTH,), "names that failed", destinations=False, scopes=("source",)),
    "same_tail": Metric((START,), "prefixes before the same digits"),
    "prefix_calls": Metric((ANSWER,), "answered calls to one block of numbers"),
    "prefix_messages": Metric((MESSAGE,), "messages to one block of numbers"),
    "unanswered_codes": Metric((MESSAGE, USED), "codes nobody used"),
    "new_sources": Metric((REGISTER, START, MESSAGE), "addresses never seen before", destinations=False),
    "new_agents": Metric((REGISTER, START, MESSAGE), "user agents never seen before", destinations=False),
    "impossible_travel": Metric((REGISTER, START), "impossible changes of place", destinations=False),
}  # fmt: skip


class Destinations:
    """What a rule's `destinations` fit."""

    __slots__ = ("_classes", "_countries", "_outside", "_prefixes")

    def __init__(self, destinations: tuple[str, ...]) -> None:
        self._outside = ANY in destinations
        self._classes = frozenset(one for one in destinations if one in CLASSES)
        self._countries = frozenset(one for one in destinations if one.isupper())
        self._prefixes = tuple(one for one in destinations if one.startswith("+"))

    def sure(self, cls: str) -> bool | None:
        """Whether numbers of the class fit: all, none, or None: look at the number."""
        if cls in self._classes or (self._outside and cls != INTERNAL):
            return True
        return None if self._countries or self._prefixes else False

    def fits(self, event: Event) -> bool:
        """Whether what was called does."""
        known = self.sure(event.cls)
        if known is not None:
            return known
        return event.country in self._countries or bool(
            self._prefixes and event.called.startswith(self._prefixes)
        )


class Meter:
    """Counts one metric over one window, for any number of subjects. `count` gives the value then."""

    def __init__(self, window_s: float, at_least: int) -> None:
        self.window_s = window_s
        self.at_least = at_least

    def count(self, event: Event, subject: str, now: float) -> float:
        """One event more; the value as of `now`."""
        raise NotImplementedError

    def value(self, subject: str, now: float) -> float:
        """The value, without counting; 0 where it is one of many of the subject (a prefix, a tail)."""
        raise NotImplementedError

    def size(self) -> int:
        """How many subjects it knows."""
        raise NotImplementedError


class _Sum(Meter):
    def __init__(self, window_s: float, at_least: int, part: str) -> None:
        super().__init__(window_s, at_least)
        self.sums = Sums(window_s)
        self._part = part

    def count(self, event: Event, subject: str, now: float) -> float:
        key = f"{subject}|{block_of(event.called)}" if self._part else subject
        return self.sums.add(key, event.at, 1.0, now)

    def value(self, subject: str, now: float) -> float:
        return self.sums.total(subject, now)

    def size(self) -> int:
        return len(self.sums)


class _Codes(_Sum):
    """Sent less used. What is used after its code left the window counts nothing."""

    def count(self, event: Event, subject: str, now: float) -> float:
        if not event.code:
            return 0.0
        return max(0.0, self.sums.add(subject, event.at, 1.0 if event.kind == MESSAGE else -1.0, now))


class _Distinct(Meter):
    def __init__(self, window_s: float, at_least: int, what: Callable[[Event], tuple[str, str]]) -> None:
        super().__init__(window_s, at_least)
        self.held = Distinct(window_s)
        self._what = what

    def count(self, event: Event, subject: str, now: float) -> float:
        part, value = self._what(event)
        if not value:
            return 0.0
        return self.held.add(f"{subject}|{part}" if part else subject, event.at, value, now)

    def value(self, subject: str, now: float) -> float:
        return self.held.size(subject, now)

    def size(self) -> int:
        return len(self.held)


def _called(event: Event) -> tuple[str, str]:
    return "", event.called


def _name(event: Event) -> tuple[str, str]:
    return "", event.device


def _tail(event: Event) -> tuple[str, str]:
    return event.called[-TAIL:], event.called[:-TAIL]


class _Short(Meter):
    def __init__(self, window_s: float, at_least: int) -> None:
        super().__init__(window_s, at_least)
        self.all = Distinct(window_s)
        self.short = Distinct(window_s)

    def count(self, event: Event, subject: str, now: float) -> float:
        if event.cls == INTERNAL:
            return 0.0
        of = self.all.add(subject, event.at, event.called, now)
        cut = (
            event.talk_s < SHORT_S if event.talk_s else event.status == GAVE_UP and event.duration_s < SHORT_S
        )
        short = self.short.add(subject, event.at, event.called, now) if cut else self.short.size(subject, now)
        return self._share(short, of)

    def value(self, subject: str, now: float) -> float:
        return self._share(self.short.size(subject, now), self.all.size(subject, now))

    def _share(self, short: float, of: float) -> float:
        return 0.0 if of < max(1, self.at_least) else min(100.0, 100 * short / of)

    def size(self) -> int:
        return len(self.all)


class _Row(Meter):
    def __init__(self, window_s: float, at_least: int) -> None:
        super().__init__(window_s, at_least)
        self.held = Neighbours(window_s)

    def count(self, event: Event, subject: str, now: float) -> float:
        digits = event.called.removeprefix("+")
        if not (digits.isascii() and digits.isdigit()):
            return 0.0
        return self.held.add(subject, event.at, int(digits), now)

    def value(self, subject: str, now: float) -> float:
        return self.held.size(subject, now)

    def size(self) -> int:
        return len(self.held)


class FirstMeter(Meter):
    """What was never seen before the window."""

    def __init__(self, window_s: float, at_least: int, field: str) -> None:
        super().__init__(window_s, at_least)
        self.firsts = Firsts(window_s)
        self._field = field
        self._times = field == "country"

    def count(self, event: Event, subject: str, now: float) -> float:
        seen = self._seen(event)
        return self.firsts.add(subject, seen, event.at, now, times=self._times) if seen else 0.0

    def recall(self, event: Event, subject: str, now: float) -> None:
        """History: the subject had it then. Nothing is counted."""
        if seen := self._seen(event):
            self.firsts.learn(subject, seen, event.at, now)

    def _seen(self, event: Event) -> str:
        seen: str = getattr(event, self._field)
        return seen or (event.cls if self._times else "")

    def value(self, subject: str, now: float) -> float:
        return self.firsts.size(subject, now, times=self._times)

    def size(self) -> int:
        return len(self.firsts)


class _Travel(Meter):
    def __init__(self, window_s: float, at_least: int) -> None:
        super().__init__(window_s, at_least)
        # Where the subject was, in the order of time.
        self.places: Generations[list[tuple[float, float, float]]] = Generations(window_s * (1 + 2 / PARTS))

    def count(self, event: Event, subject: str, now: float) -> float:
        if event.place is None:
            return self.value(subject, now)
        places = self.places.get(subject, now)
        if places is None:
            places = []
            self.places.put(subject, places)
        here = (event.at, *event.place)
        if places and here < places[-1]:
            places.append(here)
            places.sort()
        elif len(places) > 1 and places[-1][1:] == places[-2][1:] == here[1:]:
            # Of a stay its beginning and its end are enough.
            places[-1] = here
        else:
            places.append(here)
        del places[: -8 * _PLACES]
        return self.value(subject, now)

    def value(self, subject: str, now: float) -> float:
        places = [one for one in self.places.peek(subject) or () if one[0] >= now - self.window_s]
        return float(sum(_impossible(one, other) for one, other in itertools.pairwise(places)))

    def size(self) -> int:
        return len(self.places)


def _impossible(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    far = km(one[1:], other[1:])
    return far > FAR_KM and far > FAST_KMH * (other[0] - one[0]) / 3600


def km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance of two places (latitude, longitude), along the ground."""
    (a, b), (c, d) = map(math.radians, one), map(math.radians, other)
    half = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(half))


class LiveMeter(Meter):
    """Of calls that are up: the engine says when they begin, are answered and end. `ticks`: it grows by itself."""

    def __init__(self, window_s: float, at_least: int, metric: str) -> None:
        super().__init__(window_s, at_least)
        self.metric = metric
        self.ticks = metric not in ("concurrent", "prefix_concurrent")
        self.sums = Sums(window_s)
        # subject -> calls, and of the answered ones: weight (calls, or their rates), weight times their time of answer.
        self._up: dict[str, list[float]] = {}
        # running_s: subject -> call -> when it was answered.
        self._since: dict[str, dict[str, float]] = {}

    def key(self, event: Event, subject: str) -> str:
        """Under which its calls are counted: a subject, or one of its blocks of numbers."""
        return f"{subject}|{block_of(event.called)}" if self.metric == "prefix_concurrent" else subject

    def began(self, subject: str) -> None:
        """One call more is up."""
        self._up.setdefault(subject, [0, 0.0, 0.0])[0] += 1

    def answered(self, subject: str, call: str, at: float, rate: float) -> None:
        """It talks since then."""
        up = self._up.setdefault(subject, [0, 0.0, 0.0])
        weight = rate if self.metric == "cost" else 1.0
        up[1] += weight
        up[2] += weight * at
        if self.metric == "running_s":
            self._since.setdefault(subject, {})[call] = at

    def over(self, subject: str, call: str, answered_at: float | None, rate: float) -> None:
        """It is up no more; what it was worth is counted by `count`."""
        up = self._up.get(subject)
        if up is None:
            return
        if answered_at is not None:
            weight = rate if self.metric == "cost" else 1.0
            up[1] -= weight
            up[2] -= weight * answered_at
            self._since.get(subject, {}).pop(call, None)
        up[0] -= 1
        if up[0] <= 0:
            del self._up[subject]
            self._since.pop(subject, None)

    def count(self, event: Event, subject: str, now: float) -> float:
        if self.metric == "minutes" and event.kind == END and event.talk_s:
            self.sums.add(subject, event.at, event.talk_s / 60, now)
        elif self.metric == "cost" and event.cost:
            self.sums.add(subject, event.at, event.cost, now)
        return self.value(self.key(event, subject), now)

    def value(self, subject: str, now: float) -> float:
        up = self._up.get(subject)
        if not self.ticks:
            return up[0] if up else 0.0
        if self.metric == "running_s":
            since = self._since.get(subject)
            return max(0.0, now - min(since.values())) if since else 0.0
        running = max(0.0, (up[1] * now - up[2]) / 60) if up else 0.0
        return self.sums.total(subject, now) + running

    def size(self) -> int:
        return max(len(self.sums), len(self._up))


_MAKERS: dict[str, Callable[[float, int], Meter]] = {
    "calls": lambda window, least: _Sum(window, least, ""),
    "answered": lambda window, least: _Sum(window, least, ""),
    "messages": lambda window, least: _Sum(window, least, ""),
    "failed_auth": lambda window, least: _Sum(window, least, ""),
    "prefix_calls": lambda window, least: _Sum(window, least, "block"),
    "prefix_messages": lambda window, least: _Sum(window, least, "block"),
    "unanswered_codes": lambda window, least: _Codes(window, least, ""),
    "destinations": lambda window, least: _Distinct(window, least, _called),
    "failed_names": lambda window, least: _Distinct(window, least, _name),
    "same_tail": lambda window, least: _Distinct(window, least, _tail),
    "short_pct": _Short,
    "sequential": _Row,
    "new_destinations": lambda window, least: FirstMeter(window, least, "country"),
    "new_sources": lambda window, least: FirstMeter(window, least, "source"),
    "new_agents": lambda window, least: FirstMeter(window, least, "agent"),
    "impossible_travel": _Travel,
}


def meter(metric: str, window_s: float, at_least: int) -> Meter:
    """A new one, with nothing counted."""
    if metric in _MAKERS:
        return _MAKERS[metric](window_s, at_least)
    return LiveMeter(window_s, at_least, metric)
