"""What a benchmark yields, and how it is shown."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `bound` is the largest value allowed, or the least with `at_least`; None: for information."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False
    note: str = ""
    # Load average of the last minute when it was made: others on the machine show there.
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    @property
    def held(self) -> bool | None:
        """Whether the value keeps its bound; None without one."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        sign = ">=" if self.at_least else "<="
        bound = "" if self.bound is None else f"{sign} {_number(self.bound)}"
        held = {None: "", True: "held", False: "MISSED"}[self.held]
        return self.name, _number(self.value), self.unit, bound, held, self.note


def write(figures: Sequence[Figure], path: Path) -> None:
    """bench.json: a list of objects."""
    path.write_text(
        json.dumps(
            [
                {
                    "name": one.name,
                    "value": round(one.value, 4),
                    "unit": one.unit,
                    "bound": one.bound,
                    "held": one.held,
                    "better": "higher" if one.at_least else "lower",
                    "note": one.note,
                    "load": round(one.load, 1),
                }
                for one in figures
            ],
            indent=1,
        )
        + "\n"
    )


def table(figures: Sequence[Figure]) -> str:
    """Aligned columns: name, value, unit, bound, verdict, note."""
    rows = [("figure", "value", "unit", "bound", "", "note"), *(one.row() for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for name, value, unit, bound, held, note in rows:
        cells = (
            name.ljust(widths[0]),
            value.rjust(widths[1]),
            unit.ljust(widths[2]),
            bound.ljust(widths[3]),
            held.ljust(widths[4]),
        )
        lines.append("  ".join((*cells, note)).rstrip())
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.4g}"
