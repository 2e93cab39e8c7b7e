"""Plots of a simulation: bars for a terminal, and an SVG picture. Text in, text out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from controller.tiers.results import Result, Sample
from controller.tiers.story import clock, heading

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 72, 5
_MARKS = 13

# Colours that people with any colour vision tell apart (M. Okabe, K. Ito, "Color Universal Design", 2008).
_BLUE, _RED, _GREEN, _BLACK, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#555555", "#E69F00"
_PAGE, _LEFT, _RIGHT, _TOP, _PANEL, _GAP = 1060, 76, 24, 74, 190, 56


def bars(title: str, values: Sequence[float], hours: float, low: float = 0.0) -> Iterator[str]:
    """A chart of `_WIDTH` columns for a terminal; each shows the greatest value of its part of the time."""
    columns = [
        max(
            values[
                len(values) * n // _WIDTH : max(
                    len(values) * (n + 1) // _WIDTH, len(values) * n // _WIDTH + 1
                )
            ]
        )
        for n in range(min(_WIDTH, len(values)))
    ]
    top = max([*columns, low + 1e-9])
    levels = [round((value - low) / (top - low) * 8 * _HEIGHT) for value in columns]
    yield title
    for row in reversed(range(_HEIGHT)):
        line = "".join(_BLOCKS[max(0, min(8, level - 8 * row))] for level in levels)
        label = _short(top) if row == _HEIGHT - 1 else _short(low) if row == 0 else ""
        yield f"{label:>8} |{line.rstrip()}"
    marks = "".join(f"{clock(hours * 3600 * n / 6):<12}" for n in range(6))
    yield f"{'':>8} +{'-' * len(columns)}"
    yield f"{'':>10}{marks}{clock(hours * 3600)}"


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def terminal(result: Result) -> Iterator[str]:
    """What a day looks like, in a terminal."""
    samples, hours = result.samples, result.size.hours
    if not samples:
        return
    yield from bars("calls up", [one.calls for one in samples], hours)
    yield ""
    yield from bars(
        "fullest cluster by the mean of all (1 is level)", [one.cluster_max for one in samples], hours, 1.0
    )
    yield ""
    yield from bars(
        "calls refused, shed, late or lost per minute",
        [one.refused + one.shed + one.delayed + one.lost for one in samples],
        hours,
    )


class Line(NamedTuple):
    """One series of a panel."""

    name: str
    colour: str
    values: list[float]


def svg(result: Result) -> str:
    """A picture of three panels over the same hours, with the events numbered."""
    samples = result.samples
    outcomes = result.outcomes
    height = _TOP + 3 * (_PANEL + _GAP) + 26 + 18 * (len(outcomes) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PAGE}" height="{height}" viewBox="0 0 {_PAGE} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{_PAGE}" height="{height}" fill="white"/>',
        _text(_LEFT, 26, "dialplane simulate", size=17, weight="bold"),
        _text(_LEFT, 46, heading(result)),
    ]
    span = result.size.hours * 3600

    def x(at_s: float) -> float:
        return _LEFT + (_PAGE - _LEFT - _RIGHT) * min(1.0, at_s / span)

    panels: list[tuple[str, list[Line], bool, float]] = [
        (
            "Calls up (thousands)",
            [Line("calls up", _BLUE, [one.calls / 1000 for one in samples])],
            False,
            0.0,
        ),
        (
            "How full, by the mean of all (1 is level)",
            [
                Line("fullest node", _BLACK, [one.node_max for one in samples]),
                Line("fullest hundredth of nodes", _BLUE, [one.node_p99 for one in samples]),
                Line("fullest cluster", _RED, [one.cluster_max for one in samples]),
            ],
            False,
            1.0,
        ),
        (
            "Calls per minute, logarithmic",
            [
                Line("overflowed", _BLACK, [one.overflowed for one in samples]),
                Line("late", _BLUE, [one.delayed for one in samples]),
                Line("refused or unreachable", _GREEN, [one.refused for one in samples]),
                Line("shed for overload", _ORANGE, [one.shed for one in samples]),
                Line("lost", _RED, [one.lost for one in samples]),
            ],
            True,
            0.0,
        ),
    ]
    for number, (title, lines, log, low) in enumerate(panels):
        top = _TOP + 20 + number * (_PANEL + _GAP)
        parts += _events(result, top, x)
        parts += _panel(title, lines, samples, top, x, log=log, low=low)
        parts += _hours(result.size.hours, top + _PANEL, x)
    top = _TOP + 3 * (_PANEL + _GAP)
    parts.append(
        _text(
            (_LEFT + _PAGE - _RIGHT) / 2, top, "hours and minutes after the start", anchor="middle", size=11
        )
    )
    top += 24
    parts.append(_text(_LEFT, top, "Events", weight="bold"))
    for number, one in enumerate(outcomes, 1):
        said = f"{number}  {clock(one.event.at_s)}  {one.event.kind}: {one.what}, {one.event.for_s:g} s"
        parts.append(_text(_LEFT, top + 18 * number, said))
    return "\n".join([*parts, "</svg>", ""])


def _events(result: Result, top: float, x: Callable[[float], float]) -> Iterator[str]:
    for number, one in enumerate(result.outcomes, 1):
        begin, end = x(one.event.at_s), x(one.event.at_s + one.event.for_s)
        yield (
            f'<rect x="{begin:.1f}" y="{top}" width="{max(2.0, end - begin):.1f}" height="{_PANEL}" fill="#eceff3"/>'
        )
        yield _text((begin + end) / 2, top + 12, str(number), anchor="middle", size=11)


def _hours(hours: float, bottom: float, x: Callable[[float], float]) -> Iterator[str]:
    step = next((one for one in (0.25, 0.5, 1, 2, 3, 6, 12, 24) if hours / one <= _MARKS), 48)
    for n in range(int(hours / step + 1e-9) + 1):
        at = n * step * 3600
        yield f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#888"/>'
        yield _text(x(at), bottom + 17, clock(at), anchor="middle", size=11)


def _panel(
    title: str,
    lines: list[Line],
    samples: list[Sample],
    top: float,
    x: Callable[[float], float],
    *,
    log: bool,
    low: float,
) -> Iterator[str]:
    largest = max((value for line in lines for value in line.values), default=1.0)
    bottom = top + _PANEL
    # Room at the top for the numbers of events.
    ticks: list[float] = _decades(2 * largest) if log else _ticks(low, largest)
    high = ticks[-1]

    def y(value: float) -> float:
        part: float = log10(max(value, 1)) / log10(high) if log else (value - low) / (high - low)
        return bottom - _PANEL * max(0.0, min(1.0, part))

    yield _text(_LEFT, top - 8, title, weight="bold")
    place = float(_PAGE - _RIGHT)
    for line in reversed(lines):
        place -= 8 + 6.6 * len(line.name)
        yield _text(place, top - 8, line.name)
        yield f'<rect x="{place - 15:.1f}" y="{top - 17}" width="10" height="10" fill="{line.colour}"/>'
        place -= 24
    for tick in ticks:
        yield f'<line x1="{_LEFT}" x2="{_PAGE - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>'
        yield _text(_LEFT - 8, y(tick) + 4, f"{tick:,.10g}", anchor="end", size=11)
    for line in lines:
        points = [(x(one.at_s), y(value), value) for one, value in zip(samples, line.values, strict=True)]
        if log:
            yield f'<g fill="{line.colour}" fill-opacity="0.75">'
            yield from (f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b, value in points if value)
            yield "</g>"
        else:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
            yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
    yield f'<line x1="{_LEFT}" x2="{_PAGE - _RIGHT}" y1="{bottom}" y2="{bottom}" stroke="#888"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round values from low to at least high, about five."""
    raw = max(high - low, 1e-6) / 5
    size = 10.0 ** floor(log10(raw))
    step = next(size * one for one in (1, 2, 2.5, 5, 10) if size * one >= raw)
    return [round(low + n * step, 9) for n in range(max(1, ceil((high - low) / step)) + 1)]


def _decades(high: float) -> list[float]:
    return [10.0**n for n in range(max(1, ceil(log10(max(high, 1)))) + 1)]


def _text(
    x: float, y: float, said: str, *, anchor: str = "start", size: int = 12, weight: str = "normal"
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(said)}</text>'
