"""Registrations per second with authentication, against a bare registrar: REGISTER, 401, REGISTER, 200."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from tests.bench.figures import Figure
from tests.bench.lab import Lab
from tests.bench.pairs import compare, costs, in_turns, ratio
from tests.bench.signalling import BARE, DEVICES, EDGE, PHONE, Signalling, signalling

PAIRS = 5
REGISTRATIONS = 20_000


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """DEVICES phones behind one address and port register again and again."""
    place = signalling(lab)
    for server in (EDGE, BARE):
        place.run(server, "register", PHONE, count=50, at_once=1, port=5080)
    once = partial(place.run, scenario="register", source=PHONE, count=REGISTRATIONS, port=5080)
    runs = in_turns("register", (EDGE, BARE), PAIRS, once)
    yield from compare(
        "register_per_second",
        runs[EDGE],
        runs[BARE],
        "registrations/s",
        f"{DEVICES:,} devices, SHA-256, stored to SQLite",
    )
    yield beside(place)


def beside(place: Signalling) -> Figure:
    """The same with a second edge that is told of every contact, on the same processors."""
    pair = place.pair()
    place.run(pair, "register", PHONE, count=50, at_once=1, port=5080)
    once = partial(place.run, scenario="register", source=PHONE, count=REGISTRATIONS, port=5080)
    runs = in_turns("register beside a peer", (EDGE, pair), PAIRS, once)
    note = f"against one edge alone, the peer's own processor time apart: {costs(runs[pair], runs[EDGE])}"
    return ratio("register_per_second.with_peer", runs[pair], runs[EDGE], None, note)
