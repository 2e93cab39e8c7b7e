"""Counters over the last so many seconds, one for each key: sums, distinct values, neighbours, what was never seen
before.

A window is cut into PARTS (12) parts; what happened in a part leaves together. So a window covers what it says and up
to a twelfth more: nothing is missed, a little is counted longer. Parts are those of the clock, not of the first
event: events of the same times give the same counts in any order, as long as none is older than the window.

Memory goes by what is active: a counter is a short list of the parts in which something happened; one that was not
touched for a window is dropped with its whole generation. Distinct values are exact up to EXACT, then a sketch of 512
bytes for each quarter of the window, within 5 % up to 10,000 values.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar
from zlib import crc32

PARTS = 12
EXACT = 64
_QUARTERS = 4
_BITS = 4096
T = TypeVar("T")


class Generations(Generic[T]):
    """A dictionary that forgets what nobody touched for `keep_s`, and keeps nothing for twice as long."""

    __slots__ = ("_keep_s", "_old", "_turn", "_young")

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}
        self._turn = float("-inf")

    def get(self, key: str, now: float) -> T | None:
        """The value, which is thereby touched."""
        if now >= self._turn:
            self._rotate(now)
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self._young[key] = found
        return found

    def put(self, key: str, value: T) -> None:
        """Right after a `get` that found nothing."""
        self._young[key] = value

    def peek(self, key: str) -> T | None:
        """The value, without touching it."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _rotate(self, now: float) -> None:
        # After a long silence both are too old.
        self._old = self._young if now < self._turn + self._keep_s else {}
        self._young = {}
        self._turn = now + self._keep_s


class _Parts:
    __slots__ = ("part_s", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.part_s = window_s / PARTS

    def keep_s(self) -> float:
        return self.window_s + 2 * self.part_s


class Sums(_Parts):
    """Sums of what was added in the window."""

    __slots__ = ("_cells",)

    def __init__(self, window_s: float) -> None:
        super().__init__(window_s)
        # number of a part, sum, number of the next one, sum, ...: in order.
        self._cells: Generations[list[float]] = Generations(self.keep_s())

    def add(self, key: str, at: float, value: float, now: float) -> float:
        """Count, and say the sum as of `now` (not before any `now` of earlier calls)."""
        cells = self._cells.get(key, now)
        part, oldest = at // self.part_s, now // self.part_s - PARTS
        if cells is None:
            if part < oldest:
                return 0.0
            self._cells.put(key, [part, value])
            return value
        if part >= oldest:
            if cells[-2] == part:
                cells[-1] += value
            elif cells[-2] < part:
                cells += (part, value)
            else:
                _insert(cells, part, value)
        while cells[0] < oldest and len(cells) > 2:  # noqa: PLR2004
            del cells[:2]
        return sum(cells[1::2]) if cells[0] >= oldest else 0.0

    def total(self, key: str, now: float) -> float:
        """The sum as of `now`."""
        cells = self._cells.peek(key)
        if cells is None:
            return 0.0
        oldest = now // self.part_s - PARTS
        return sum(cells[place + 1] for place in range(0, len(cells), 2) if cells[place] >= oldest)

    def __len__(self) -> int:
        return len(self._cells)


def _insert(cells: list[float], part: float, value: float) -> None:
    for place in range(0, len(cells), 2):
        if cells[place] == part:
            cells[place + 1] += value
            return
        if cells[place] > part:
            cells[place:place] = (part, value)
            return


class _Held:
    """Distinct values of one key: value -> part in which it was seen last; above EXACT as bits by quarter."""

    __slots__ = ("links", "purged", "quarters", "seen")

    def __init__(self, part: float) -> None:
        self.seen: dict[int, float] = {}
        self.purged = part
        self.links = 0
        self.quarters: dict[float, int] | None = None


class Distinct(_Parts):
    """How many different values were seen in the window."""

    __slots__ = ("_held",)

    def __init__(self, window_s: float) -> None:
        super().__init__(window_s)
        self._held: Generations[_Held] = Generations(self.keep_s())

    def add(self, key: str, at: float, value: str, now: float) -> float:
        """Count, and say how many there are as of `now`."""
        part, oldest = at // self.part_s, now // self.part_s - PARTS
        held = self._held.get(key, now)
        if held is None:
            held = _Held(oldest)
            self._held.put(key, held)
        if part < oldest:
            return self._size(held, oldest)
        number = crc32(value.encode())
        if held.quarters is None:
            seen = held.seen
            if part > seen.get(number, -1.0):
                seen[number] = part
            if held.purged != oldest:
                _purge(held, oldest)
            if len(seen) > EXACT:
                held.quarters = {}
                for one, its in seen.items():
                    _mark(held.quarters, its // (PARTS / _QUARTERS), one)
                held.seen = {}
        else:
            _mark(held.quarters, part // (PARTS / _QUARTERS), number)
        return self._size(held, oldest)

    def size(self, key: str, now: float) -> float:
        """How many as of `now`."""
        held = self._held.peek(key)
        if held is None:
            return 0.0
        return self._size(held, now // self.part_s - PARTS)

    def _size(self, held: _Held, oldest: float) -> float:
        if held.quarters is None:
            if held.purged != oldest:
                _purge(held, oldest)
            return float(len(held.seen))
        first = oldest // (PARTS / _QUARTERS)
        bits = 0
        for quarter in [*held.quarters]:
            if quarter < first:
                del held.quarters[quarter]
            else:
                bits |= held.quarters[quarter]
        empty = _BITS - bits.bit_count()
        return round(-_BITS * math.log(max(empty, 1) / _BITS))

    def __len__(self) -> int:
        return len(self._held)


def _mark(quarters: dict[float, int], quarter: float, number: int) -> None:
    # The remainder of a checksum is no good: numbers in a row would not collide as chance has it.
    quarters[quarter] = quarters.get(quarter, 0) | 1 << ((number * 2_654_435_761 >> 13) % _BITS)


def _purge(held: _Held, oldest: float) -> None:
    seen = held.seen
    for number in [number for number, part in seen.items() if part < oldest]:
        del seen[number]
    held.purged = oldest


class Neighbours(_Parts):
    """How many numbers seen in the window follow one that was seen too: 201, 202, 203 are 3, 201 and 300 are 0."""

    __slots__ = ("_held",)
    MOST = 512

    def __init__(self, window_s: float) -> None:
        super().__init__(window_s)
        self._held: Generations[_Held] = Generations(self.keep_s())

    def add(self, key: str, at: float, number: int, now: float) -> float:
        """Count, and say how many there are as of `now`."""
        part, oldest = at // self.part_s, now // self.part_s - PARTS
        held = self._held.get(key, now)
        if held is None:
            held = _Held(oldest)
            self._held.put(key, held)
        seen = held.seen
        if part >= oldest and number not in seen:
            seen[number] = part
            held.links += (number - 1 in seen) + (number + 1 in seen)
        elif part >= oldest:
            seen[number] = max(part, seen[number])
        if held.purged != oldest or len(seen) > self.MOST:
            _purge(held, oldest)
            while len(seen) > self.MOST:
                del seen[min(seen, key=seen.__getitem__)]
            held.links = sum(one - 1 in seen for one in seen)
        return float(held.links + 1 if held.links else 0)

    def size(self, key: str, now: float) -> float:
        """How many as of `now`."""
        held = self._held.peek(key)
        oldest = now // self.part_s - PARTS
        there = set() if held is None else {one for one, part in held.seen.items() if part >= oldest}
        links = sum(one - 1 in there for one in there)
        return float(links + 1 if links else 0)

    def __len__(self) -> int:
        return len(self._held)


class Firsts(_Parts):
    """What was seen in the window of values that were never seen before it. What is seen first of all is not new."""

    __slots__ = ("_known", "_sums")
    MEMORY_S = 30 * 86_400.0
    MOST = 64

    def __init__(self, window_s: float) -> None:
        super().__init__(window_s)
        self._known: Generations[dict[str, float]] = Generations(max(self.MEMORY_S, self.keep_s()))
        self._sums = Sums(window_s)

    def learn(self, key: str, value: str, at: float, now: float) -> dict[str, float]:
        """The value was seen then; gives all that are known of the key, with their first time."""
        known = self._known.get(key, now)
        if known is None:
            known = {}
            self._known.put(key, known)
        if at < known.get(value, float("inf")):
            known[value] = at
            if len(known) > self.MOST:
                del known[max(known, key=known.__getitem__)]
        return known

    def add(self, key: str, value: str, at: float, now: float, *, times: bool) -> float:
        """Count. Says how often new values were seen as of `now`, or (not `times`) how many there are."""
        known = self.learn(key, value, at, now)
        if times:
            self._sums.add(f"{key}|{value}", at, 1.0, now)
        return self._size(key, known, now, times=times)

    def size(self, key: str, now: float, *, times: bool) -> float:
        """The same without counting."""
        return self._size(key, self._known.peek(key) or {}, now, times=times)

    def _size(self, key: str, known: dict[str, float], now: float, *, times: bool) -> float:
        oldest = (now // self.part_s - PARTS) * self.part_s
        new = [value for value, first in known.items() if first >= oldest]
        if times:
            return sum(self._sums.total(f"{key}|{value}", now) for value in new)
        return float(len(new) - (len(new) == len(known) and len(new) > 0))

    def __len__(self) -> int:
        return len(self._known)
