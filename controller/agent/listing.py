"""Which contexts of a media node one comparison lists. Pure: time is told.

Listing a context costs Asterisk a walk over all of them under the lock that calls need (1.4 ms with 20,000 contexts,
2.3 ms with 100,000), so a comparison lists for `budget_s` of Asterisk's time, and the next one goes on where it ended.
A round lists every context that holds entries, then, by the beginnings of their names, those that no entry names.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from controller.agent.server import Coverage

BUDGET_S = 45.0
# Contexts are dialplane's by their names (ARCHITECTURE.md, "Dialplan of a media node").
FAMILIES = ("account-", "class-", "country-", "emergency-", "inbound-", "routes-")
SINGLE = ("routes", "system", "trunks")
# A change waits for the slice before it: what one costs is bounded by how many contexts are walked for it.
_WALKED = 160_000
_BATCH = 8
_COMPLETED = 5_000_000
_GROUP = 1_000
# Characters of contexts' names. Asterisk completes them whatever their case.
_CHARACTERS = "*+-.0123456789_abcdefghijklmnopqrstuvwxyz"
_SECTION = re.compile(r"^\s*\[([^]\s]+)\]", re.MULTILINE)


class Listing:
    """Where the rotation is: the name of a context, or `~` and a beginning of names, which sorts after all of them."""

    def __init__(self) -> None:
        self.budget_s = BUDGET_S
        self.group = _GROUP
        self.batch = _BATCH
        self._reached = ""
        self._spent_s = 0.0
        self._names: Sequence[str] = ()
        self._groups: list[str] = []
        self._listed = self._done = 0

    def begin(self, names: Sequence[str]) -> None:
        """A comparison begins; `names`: contexts that hold entries, in order."""
        count = len(names) or 1
        self.batch = max(1, min(_BATCH, _WALKED // count))
        self._names, self._groups = names, beginnings(names, max(1, min(self.group, _COMPLETED // count)))
        self._spent_s, self._listed, self._done = 0.0, 0, 0
        if not self._left():
            self._reached = ""

    def wants(self, place: str) -> bool:
        """Whether this comparison lists here."""
        return place > self._reached and self._spent_s <= self.budget_s

    def took(self, seconds: float) -> None:
        """Asterisk's time for a list."""
        self._spent_s += seconds

    def listed(self, place: str, contexts: int = 0) -> None:
        """Everything up to this place was listed, that many contexts of it just now."""
        self._reached = place
        self._listed += contexts
        self._done += contexts or 1

    def groups(self, after: str) -> list[str]:
        """The next beginnings of names to ask for, `after` as a place; none: no more in this comparison."""
        at = bisect_right(self._groups, max(after, self._reached)[1:])
        found = self._groups[at : at + (1 if len(self._names) > _GROUP else _BATCH)]
        return found if found and self.wants("~" + found[-1]) else []

    def coverage(self) -> Coverage | None:
        """What this comparison listed; None: everything."""
        if self._listed == len(self._names) and not self._left():
            return None
        return Coverage(self._listed, len(self._names), ceil(self._left() / max(1, self._done)))

    def _left(self) -> int:
        groups = bisect_right(self._groups, self._reached[1:]) if self._reached >= "~" else 0
        return len(self._names) - bisect_right(self._names, self._reached) + len(self._groups) - groups


def beginnings(names: Sequence[str], most: int) -> list[str]:
    """Beginnings that every name of dialplane's contexts has one of, each of at most `most` of `names`; in order."""

    def split(start: str, low: int, high: int) -> Iterator[str]:
        low, high = bisect_left(names, start, low, high), bisect_left(names, start + "\x7f", low, high)
        if high - low <= most:
            yield start
        else:
            for character in _CHARACTERS:
                yield from split(start + character, low, high)

    return sorted([*SINGLE, *(one for family in FAMILIES for one in split(family, 0, len(names)))])


def ours(name: str) -> bool:
    """Whether a context of this name belongs to dialplane."""
    return name in SINGLE or name.startswith(FAMILIES)


def sections(texts: Iterable[str]) -> set[str]:
    """The contexts that configuration files declare."""
    return {name for text in texts for name in _SECTION.findall(text)}
