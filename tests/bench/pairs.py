"""Runs through two servers in turns: what differs from machine to machine, and from minute to minute, is in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.bench.figures import Figure, median
from tests.bench.lab import say
from tests.bench.signalling import Run

RATIO = 0.9


def in_turns(
    what: str, servers: Sequence[str], pairs: int, once: Callable[[str], Run]
) -> dict[str, list[Run]]:
    """So many runs through each."""
    runs: dict[str, list[Run]] = {server: [] for server in servers}
    for number in range(pairs):
        # The order changes from pair to pair, so that a drift of the machine favours neither.
        for server, done in sorted(runs.items(), reverse=bool(number % 2)):
            done.append(once(server))
        say(f"{what} {number + 1}/{pairs}: " + ", ".join(f"{done[-1].per_s:.0f}/s" for done in runs.values()))
    return runs


def compare(name: str, ours: Sequence[Run], bare: Sequence[Run], unit: str, note: str) -> Iterator[Figure]:
    """Both rates, processor time, and the ratio with its bound."""
    rates = [median([run.per_s for run in side]) for side in (ours, bare)]
    yield Figure(f"{name}.edge", rates[0], unit, note=note)
    yield Figure(f"{name}.bare", rates[1], unit, note=costs(ours, bare))
    yield ratio(f"{name}.ratio", ours, bare, RATIO)


def costs(ours: Sequence[Run], others: Sequence[Run]) -> str:
    """Processor time and repeated messages of both sides, in words."""
    cpu = [median([run.cpu_us for run in side]) for side in (ours, others)]
    again = [sum(run.retransmissions for run in side) for side in (ours, others)]
    return f"{cpu[0]:.0f} us of processor time each against {cpu[1]:.0f}; repeated messages {again[0]}, {again[1]}"


def ratio(
    name: str, ours: Sequence[Run], others: Sequence[Run], bound: float | None, note: str = ""
) -> Figure:
    """The median of the pairs."""
    ratios = [one.per_s / other.per_s for one, other in zip(ours, others, strict=True)]
    pairs = " ".join(f"{one:.2f}" for one in sorted(ratios))
    said = f"{note}; pairs {pairs}" if note else f"median of the pairs {pairs}"
    return Figure(name, median(ratios), "x", bound, at_least=True, note=said)
