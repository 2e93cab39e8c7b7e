"""Registrations per second with authentication, against a bare registrar: REGISTER, 401, REGISTER, 200."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure, median
from tests.bench.lab import Lab, say
from tests.bench.signalling import BARE, DEVICES, EDGE, PHONE, Run, Signalling, compare, signalling

PAIRS = 5
REGISTRATIONS = 20_000


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """DEVICES phones behind one address and port register again and again."""
    place = signalling(lab)
    runs: dict[str, list[Run]] = {EDGE: [], BARE: []}
    for server in runs:
        place.run(server, "register", PHONE, count=50, at_once=1, port=5080)
    for number in range(PAIRS):
        # The order changes from pair to pair, so that a drift of the machine favours neither.
        for server, done in sorted(runs.items(), reverse=bool(number % 2)):
            done.append(place.run(server, "register", PHONE, count=REGISTRATIONS, port=5080))
        say(
            f"register {number + 1}/{PAIRS}: "
            + ", ".join(f"{done[-1].per_s:.0f}/s" for done in runs.values())
        )
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
    ratios = []
    costs: dict[str, list[float]] = {pair: [], EDGE: []}
    place.run(pair, "register", PHONE, count=50, at_once=1, port=5080)
    for number in range(PAIRS):
        done = {
            server: place.run(server, "register", PHONE, count=REGISTRATIONS, port=5080)
            for server in sorted((EDGE, pair), reverse=bool(number % 2))
        }
        ratios.append(done[pair].per_s / done[EDGE].per_s)
        for server, run in done.items():
            costs[server].append(run.cpu_us)
    return Figure(
        "register_per_second.with_peer", median(ratios), "x",
        note=f"against one edge alone; {median(costs[pair]):.0f} us of processor time each against "
        f"{median(costs[EDGE]):.0f}, "
        f"the peer's own apart; pairs {' '.join(f'{one:.2f}' for one in sorted(ratios))}",
    )  # fmt: skip
