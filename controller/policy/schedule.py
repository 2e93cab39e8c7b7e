"""Whether a schedule is open at a moment, and why. Pure: `now` is an argument.

Times are those on a clock in the schedule's zone, in whole minutes, half-open: 09:00 to 17:30 is open at 09:00 and at
17:29, closed at 17:30. `to` not after `from` runs over midnight. An hour that a clock skips in spring is in no range;
one that it shows twice in autumn is in the range both times.

What holds in a minute, the first of:

1. An override, until it ends.
2. A special day with times, while they last (also over midnight); of two, a closed one beats an open one.
3. A weekly range that began the day before: it ends when it says, also on a holiday. A holiday ends what begins on
   that day: Friday's night shift is cancelled on Friday.
4. A special day without times; a closed one beats an open one.
5. Closed, if the day has special opening times: they are the day's only ones.
6. The weekly times. None: closed.

So special opening times and whole days replace the weekly times of their day; special closing times only interrupt
them. 29 February of every year is a special day in leap years alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from controller.policy.model import DAY_MINUTES, WEEKDAYS, Day, Override, Schedule, Times

# A change is looked for on so many days after the present one.
_AHEAD_DAYS = 8


class State(NamedTuple):
    """`why`: what holds, since when today, and until when."""

    open: bool
    why: str


class _Span(NamedTuple):
    """From `start` until before `end`, in minutes from the beginning of a day; may begin before it and end after it.

    `row` of `day` says so; None: no row does.
    """

    start: int
    end: int
    open: bool
    row: Times | Day | None
    day: date


def state(schedule: Schedule, override: Override | None, now: datetime) -> State:
    """Whether it is open at `now` (aware), and why."""
    local = now.astimezone(schedule.zone)
    if override is not None and (override.until is None or now < override.until):
        until = (
            "it is taken back"
            if override.until is None
            else f"{override.until.astimezone(schedule.zone):%Y-%m-%d %H:%M}"
        )
        return State(override.open, f"{_word(override.open)} by hand until {until}")
    today, minute = local.date(), local.hour * 60 + local.minute
    parts = _day(schedule, today)
    here = max(place for place, part in enumerate(parts) if part.start <= minute)
    open_ = parts[here].open
    lasts = f"{_since(parts, here)}{_until(schedule, today, parts[here:], open_)}"
    return State(open_, f"{_word(open_)}{lasts}: {_why(parts[here])}")


def _word(open_: bool) -> str:
    return "open" if open_ else "closed"


def _since(parts: list[_Span], here: int) -> str:
    while here and parts[here - 1].open == parts[here].open:
        here -= 1
    return f" since {_clock(parts[here].start)}" if here else ""


def _until(schedule: Schedule, today: date, rest: list[_Span], open_: bool) -> str:
    for ahead in range(_AHEAD_DAYS + 1):
        day = today + timedelta(ahead)
        for part in rest if ahead == 0 else _day(schedule, day):
            if part.open != open_:
                clock = _clock(part.start)
                return f" until {clock}" if ahead == 0 else f" until {WEEKDAYS[day.weekday()]} {day} {clock}"
    return f" for more than {_AHEAD_DAYS} days"


def _day(schedule: Schedule, day: date) -> list[_Span]:
    """The day from 0 to 24 hours in parts, each with what holds."""
    spans = list(_spans(schedule, day))
    edges = {0} | {edge for span in spans for edge in (span.start, span.end) if 0 < edge < DAY_MINUTES}
    starts = sorted(edges)
    return [
        next(
            (span._replace(start=start, end=end) for span in spans if span.start <= start < span.end),
            _Span(start, end, False, None, day),
        )
        for start, end in zip(starts, [*starts[1:], DAY_MINUTES], strict=True)
    ]


def _spans(schedule: Schedule, day: date) -> Iterator[_Span]:
    """What may hold on a day, the stronger first: numbers 2 to 6 of the rule above."""
    yesterday = day - timedelta(1)
    before, here = _special(schedule, yesterday), _special(schedule, day)
    timed = [_yesterday(_timed(one, yesterday)) for one in before if one.start is not None]
    timed += [_timed(one, day) for one in here if one.start is not None]
    yield from sorted(timed, key=_closed_first)
    if not _replaced(before):
        for one in _weekly(schedule, yesterday):
            yield _yesterday(one)
    whole = [_Span(0, DAY_MINUTES, one.open, one, day) for one in here if one.start is None]
    yield from sorted(whole, key=_closed_first)
    for special in here:
        if special.open and special.start is not None:
            yield _Span(0, DAY_MINUTES, False, special, day)
    if not _replaced(here):
        yield from _weekly(schedule, day)


def _special(schedule: Schedule, day: date) -> list[Day]:
    return [
        one
        for one in schedule.days
        if one.day == day or (one.yearly and (one.day.month, one.day.day) == (day.month, day.day))
    ]


def _replaced(special: list[Day]) -> bool:
    """Whether special days stand for the weekly times of their day."""
    return any(one.open or one.start is None for one in special)


def _weekly(schedule: Schedule, day: date) -> Iterator[_Span]:
    name = WEEKDAYS[day.weekday()]
    for one in schedule.times:
        if (
            name in one.days
            and (one.from_date is None or one.from_date <= day)
            and (one.to_date is None or day <= one.to_date)
        ):
            yield _Span(one.start, _end(one.start, one.end), True, one, day)


def _timed(one: Day, day: date) -> _Span:
    start, end = one.start or 0, one.end or 0
    return _Span(start, _end(start, end), one.open, one, day)


def _end(start: int, end: int) -> int:
    return end if end > start else end + DAY_MINUTES


def _yesterday(span: _Span) -> _Span:
    return span._replace(start=span.start - DAY_MINUTES, end=span.end - DAY_MINUTES)


def _closed_first(span: _Span) -> bool:
    return span.open


def _why(span: _Span) -> str:
    row = span.row
    if row is None:
        return "outside its times"
    times = "" if row.start is None or row.end is None else f"{_clock(row.start)} to {_clock(row.end)}"
    if isinstance(row, Times):
        first = f" from {row.from_date}" if row.from_date else ""
        last = f" to {row.to_date}" if row.to_date else ""
        return f"{' '.join(row.days)} {times}{first}{last}"
    named = f"{row.name or 'special day'} ({span.day})"
    if span.open != row.open:
        return f"outside the times of {named}"
    return f"{named} from {times}" if times else named


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
