"""What is against what is meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import ceil
from typing import NamedTuple

from controller.agent.server import Coverage, Slice
from controller.agent.state import Wanted
from controller.agent.values import canonical

_SHOWN = 5
_SECRET = re.compile(r'((?:md5|sha256|ha1)=|"pin": ?")[0-9A-Za-z]+')
_LONG = 120


class Difference(NamedTuple):
    """One key whose value on the server is not the one meant; None: nothing."""

    table: str
    key: str
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        """`table key: expected ..., found ...`."""
        return f"{self.table} {self.key}: expected {_short(self.expected)}, found {_short(self.found)}"

    @property
    def repair(self) -> Wanted:
        """What makes it as meant."""
        return Wanted(self.table, self.key, self.expected)


def differences(table: str, part: Slice) -> list[Difference]:
    """Keys of the slice that differ, those nobody meant included."""
    keys = dict.fromkeys((*part.meant, *part.found))
    return [
        Difference(table, key, part.meant.get(key), part.found.get(key))
        for key in keys
        if canonical(table, part.meant.get(key)) != canonical(table, part.found.get(key))
    ]


def unlike(wanted: Iterable[Wanted], found: Mapping[tuple[str, str], str | None]) -> list[Difference]:
    """Those of `wanted` that the server does not hold."""
    return [
        Difference(one.table, one.key, one.value, found.get((one.table, one.key)))
        for one in wanted
        if canonical(one.table, one.value) != canonical(one.table, found.get((one.table, one.key)))
    ]


def described(found: list[Difference]) -> str:
    """The first few for people, and how many more there are."""
    text = "; ".join(str(one) for one in found[:_SHOWN])
    more = len(found) - _SHOWN
    return f"{text}; and {more} more" if more > 0 else text


def covered(coverage: Coverage, interval_s: float) -> str:
    """What was listed of a big node, and when the rest will have been."""
    text = f"{coverage.listed:,} of {coverage.total:,} contexts listed"
    if not coverage.more:
        return text + ", the rest before"
    if not interval_s:
        return text + f"; the rest in {coverage.more} more comparisons"
    return text + f"; the rest within {ceil(coverage.more * interval_s / 60)} min"


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    # Digests sign people in: they belong neither into logs nor into reports.
    shown = _SECRET.sub(r"\1…", value).replace("\n", " | ")
    return repr(shown if len(shown) <= _LONG else shown[:_LONG] + "…")
