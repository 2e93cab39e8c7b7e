"""Whose new calls are refused when a cluster is nearly full, so that those of the others still find a place.

The same rules as `control.overload_of` (migration 0341, which publishes the edges' table `shed`). A cluster's room is
what caps and load limits of its media nodes that are there leave for calls; without a limit on one of them there is
room for all. The fair level: all but a tenth of the room, shared so that nobody who wants less gets more (max-min).

| | from | until |
|---|---|---|
| a cluster is overloaded | calls reach 90 % of its room | they are below 80 % |
| an account is refused | its calls are above the level | they are at most 90 % of it, or the above is over |

An account with one call is never refused, and where one account has all calls nobody is: the cap alone ends that.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from fractions import Fraction
from math import floor
from typing import Generic, NamedTuple, TypeVar

BEGINS, ENDS, BACK = Fraction(9, 10), Fraction(8, 10), Fraction(9, 10)


Account = TypeVar("Account", bound=Hashable)


class Overload(NamedTuple, Generic[Account]):
    """A cluster that is overloaded: the fair level in calls, and the accounts above it, by name or number."""

    level: Fraction
    refused: frozenset[Account]


class Carrier(NamedTuple):
    """A media node that is enabled and heard of. `call_cap`, `load_limit_pct` None: no limit."""

    calls: int
    load_pct: int = 0
    call_cap: int | None = None
    load_limit_pct: int | None = None


def room(nodes: Iterable[Carrier]) -> Fraction | None:
    """For how many calls there is room in all; None: for all, or nobody is there."""
    found: Fraction | None = None
    for calls, load, cap, limit in nodes:
        if cap is None and limit is None:
            return None
        # At its limit a node carries as many calls as it has now, times what the load may still grow.
        by_load = Fraction(calls * limit, load) if limit is not None and calls and load else None
        least = [Fraction(cap)] if cap is not None else []
        least += [by_load] if by_load is not None else []
        if not least:
            return None
        found = (found or Fraction(0)) + min(least)
    return found


def level(calls: Collection[int], places: Fraction) -> Fraction | None:
    """The most that each may have so that all have `places` together (max-min fair); None: there are places for all."""
    # From the largest down, as few are above; in whole parts of a call, as fractions are slow and accounts many.
    left, part = places.numerator - sum(calls) * places.denominator, places.denominator
    if left >= 0:
        return None
    for above, one in enumerate(sorted(calls, reverse=True)):
        if one * part * above <= left:
            return Fraction(left, part * above)
        left += one * part
    return Fraction(left, part * len(calls))


def look(
    calls: Mapping[Account, int], places: Fraction | None, before: Overload[Account] | None
) -> Overload[Account] | None:
    """What follows from the calls of accounts on a cluster with that room; None: it is not overloaded."""
    total = sum(calls.values())
    if places is None or total < places * (ENDS if before is not None else BEGINS):
        return None
    found = level(list(calls.values()), places * BEGINS)
    if found is None:
        # Between the two marks: as it was.
        found = before.level if before is not None else places
    if found < 1:
        found = Fraction(1)
    if len(calls) == 1:
        return Overload(found, frozenset())
    was: frozenset[Account] = before.refused if before is not None else frozenset()
    # Calls are whole, so the part below one of a level does not matter; one call is never refused.
    above, back = floor(found), max(1, floor(found * BACK))
    near = [(account, count) for account, count in calls.items() if count > back]
    return Overload(found, frozenset(one for one, count in near if count > above or one in was))
