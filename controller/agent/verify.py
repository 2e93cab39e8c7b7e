"""What is against what is meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from controller.agent.server import Coverage, Slice
from controller.agent.state import Wanted
from controller.agent.values import canonical
from controller.agreement import digests
from controller.agreement.digests import Digests

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


@dataclass(slots=True)
class Comparison:
    """A comparison of everything: what was `found` to differ, and what of it is `left` after the repair.

    `reason`: why the server was in doubt as a whole; None: it was not, so what differed was changed by hand.
    """

    revision: int
    reason: str | None
    compared: int = 0
    found: list[Difference] = field(default_factory=list)
    left: list[Difference] = field(default_factory=list)
    held: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def note(self, kind: str, table: str, part: Slice, repaired: Mapping[str, str | None]) -> None:
        """Sum up what the server holds of a slice by now, for the tables that say where accounts are served."""
        if table not in digests.TABLES[kind]:
            return
        count, sums = self.held.get(table, (0, [0] * digests.BUCKETS))
        for key in dict.fromkeys((*part.meant, *part.found)):
            if not digests.counts(kind, table, key):
                continue
            value = repaired[key] if key in repaired else part.found.get(key)
            # What means the same to the server is what is meant.
            if value is not None and canonical(table, value) == canonical(table, part.meant.get(key)):
                value = part.meant[key]
            if value is not None:
                count += 1
                sums[digests.bucket(key)] += digests.part(key, value)
        self.held[table] = (count, sums)

    def digests(self, kind: str) -> dict[str, Digests]:
        """The sums of all those tables."""
        return {
            table: Digests(self.held[table][0], tuple(self.held[table][1]))
            if table in self.held
            else digests.NONE
            for table in digests.TABLES[kind]
        }

    @property
    def repaired(self) -> int:
        return len(self.found) - len(self.left)

    def drift(self, base: list[Difference]) -> list[Difference]:
        """What counts as drift; `base`: fixed files that differ."""
        if self.reason is not None:
            return [*base, *self.left]
        return [*base, *self.left, *(one for one in self.found if one not in self.left)]

    def sentence(self, drift: list[Difference], told: list[str]) -> str:
        """What came of it; `told`: more to say."""
        text = f"revision {self.revision} verified: {self.compared} entries compared"
        if self.reason is not None:
            text += f", {self.repaired} brought to the server ({self.reason})"
        elif self.repaired:
            text += f", {self.repaired} repaired"
        if drift:
            text += f", {len(drift)} differed: {described(drift)}"
        if told:
            text += f"; {told[0]}"
        if self.left:
            text += f"; {len(self.left)} cannot be repaired"
        return text


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


def edited(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Fixed files whose fingerprint (path -> digest) is not the one recorded."""
    return [
        Difference("base file", path, _sum(recorded.get(path)), _sum(now.get(path)))
        for path in sorted(recorded.keys() | now.keys())
        if recorded.get(path) != now.get(path)
    ]


def _sum(fingerprint: str | None) -> str | None:
    return None if fingerprint is None else fingerprint[:12]


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
