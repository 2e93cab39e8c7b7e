"""Runs through two servers in turns: what differs from machine to machine, and from minute to minute, is in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, geometric_mean

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


def side_by_side(
    sides: tuple[str, str],
    servers: Sequence[str],
    couples: int,
    become: Callable[[str, str], None],
    once: Callable[[str], Run],
) -> dict[str, list[Run]]:
    """What differs by a hundredth. Both sides have calls at the same time on the same processors, so each moment of the
    machine is in both. Then the other way round: of two servers that do the same one is faster by some hundredths as
    long as it runs. A run of a side is the mean of the two, of the time when both had calls.

    `become(server, side)` makes a server that side, `once(server)` sends it calls."""
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    with ThreadPoolExecutor(len(servers)) as pool:
        for number in range(couples):
            halves = [
                _at_once(pool, dict(zip(sides, order, strict=True)), become, once)
                for order in (servers, servers[::-1])
            ]
            for side, done in runs.items():
                done.append(_mean([half[side] for half in halves]))
            say(
                f"{number + 1}/{couples}: "
                + ", ".join(f"{side} {done[-1].per_s:.0f}/s" for side, done in runs.items())
            )
    return runs


def _at_once(
    pool: ThreadPoolExecutor,
    where: dict[str, str],
    become: Callable[[str, str], None],
    once: Callable[[str], Run],
) -> dict[str, Run]:
    for side, server in where.items():
        become(server, side)
    waits = {side: pool.submit(once, server) for side, server in where.items()}
    found = {side: wait.result() for side, wait in waits.items()}
    began = max(run.finished[0][0] for run in found.values())
    ended = min(run.finished[-1][0] for run in found.values())
    return {side: run._replace(per_s=_rate(run, began, ended)) for side, run in found.items()}


def _mean(runs: Sequence[Run]) -> Run:
    """Geometric, as the ratios of rates are what counts."""
    return Run(
        geometric_mean(run.per_s for run in runs),
        fmean(run.cpu_us for run in runs),
        sum(run.retransmissions for run in runs),
        (),
    )


def _rate(run: Run, began: float, ended: float) -> float:
    within = [(at, done) for at, done in run.finished if began <= at <= ended]
    (first, before), (last, after) = within[0], within[-1]
    return (after - before) / (last - first)


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
