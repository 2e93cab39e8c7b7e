"""A day of a large installation in half a minute: calls, failures, and a rebalancing in the middle.

The rules are the product's own: accounts are placed by `rendezvous`, nodes take calls by `pick.condition` and get them
by `pick.targets`, those of whom calls are refused for overload are found by `overload.look`, accounts move as
`balance.rebalance` says. Time goes in steps of 10 s, of 1 s around events, while calls are refused for overload, and
wherever they go to a node that does not answer. Everything random comes from one seed: the same seed, the same result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from controller.tiers.balance import Limits, Move, Proposal, rebalance
from controller.tiers.events import Event, many
from controller.tiers.reports import NEVER, Reports
from controller.tiers.results import Outcome, Result, Sample
from controller.tiers.shedding import Shedding
from controller.tiers.traffic import OK, REFUSES, SILENT, Count, Traffic
from controller.tiers.world import (
    CALL_S,
    EDGES_PER_GROUP,
    Floats,
    Ints,
    Size,
    World,
    account_name,
    build,
    curve,
    placed,
)

Progress = Callable[[float, str], None]

_STEP_S, _FINE_S = 10.0, 1.0
# So long after an event begins or ends, steps are fine.
_LOOK_S = 120.0
# So long after its end, calls are still an event's.
_AFTER_S = 180.0
_SAMPLE_S = 60.0
# An event is over when fewer than one of so many calls has trouble, over so many seconds.
_QUIET, _QUIET_S = 10_000, 10.0
# And nodes are level again when the fullest hundredth is as full, against the mean, as it was; but for this.
_LEVEL = 1.05


def simulate(size: Size, events: Sequence[Event], progress: Progress | None = None) -> Result:
    """Run it.

    Args:
        size: What is simulated.
        events: By time; those after the end do not happen.
        progress: Is told how much is done, 0 to 1, and what is being done.
    """
    tell = progress or (lambda _part, _what: None)
    tell(0.0, f"placing {size.accounts:,} accounts")
    random = np.random.default_rng(size.seed)
    world = build(size, random)
    run = _Run(size, world, random, sorted(events, key=lambda one: one.at_s))
    run.go(tell)
    tell(0.98, "one cluster more")
    return run.result()


class _Run:
    """The state of one simulation."""

    def __init__(self, size: Size, world: World, random: np.random.Generator, events: list[Event]) -> None:
        self.size, self.world, self.random = size, world, random
        self.traffic = Traffic(world, random, size.edges)
        self.pending = [one for one in events if one.at_s < size.hours * 3600]
        self.edges_of_time = sorted({t for one in self.pending for t in (one.at_s, one.at_s + one.for_s)})
        self.active: list[tuple[Outcome, Callable[[], None]]] = []
        self.outcomes: list[Outcome] = []
        self.nodes = Reports(world)
        self.shedding = Shedding(world, size.seed)
        # Accounts whose calls were refused for overload, in all and by event.
        self.hit: set[int] = set()
        self.hit_by: dict[int, set[int]] = {}
        self.rate = world.cluster_rate()
        self.placed = world.cluster.copy()
        self.swing = np.ones(len(world.clusters))
        self.proposal: Proposal | None = None
        self.batches: list[tuple[float, tuple[Move, ...]]] = []
        self.total = Count()
        self.minute = Count()
        self.samples: list[Sample] = []
        self.trouble: list[tuple[float, int, int]] = []
        # Over the time without events: what came to each node, and what its weight says.
        self.calm_got = np.zeros(world.cap.shape)
        self.calm_due = np.zeros(world.cap.shape)
        self.spread = 1.0
        self.busiest = 0.0

    def go(self, tell: Progress) -> None:
        """From the first second to the last."""
        now, end, next_sample = 0.0, self.size.hours * 3600, _SAMPLE_S
        # Calls are up at the start, as if it had gone on for ever.
        steady = self.random.poisson(self.rate[:, None] * curve(0) * CALL_S * self._share())
        self.traffic.talking += steady
        while now < end:
            # What happens now is in the next reports.
            self.nodes.look(now, self.traffic.calls, self.traffic.status)
            self.shedding.look(now, self.traffic.calls, self.nodes)
            self._begin(now)
            step = min(self._length(now), end - now)
            self._calls(now, step)
            now += step
            self._finish(now)
            if now >= next_sample:
                self._sample(now)
                next_sample += _SAMPLE_S
                tell(0.1 + 0.87 * now / end, f"{int(now // 3600):02}:{int(now % 3600 // 60):02}")

    def _share(self) -> Floats:
        weight = self.world.weight
        return np.asarray(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1))

    def _length(self, now: float) -> float:
        """Fine steps near events and trouble; never across an event."""
        index = bisect_right(self.edges_of_time, now)
        if index and now - self.edges_of_time[index - 1] < _LOOK_S:
            return _FINE_S
        if self.traffic.troubled(self.nodes.weights) or self.shedding.active(now):
            return _FINE_S
        ahead = self.edges_of_time[index] - now if index < len(self.edges_of_time) else _STEP_S
        return min(_STEP_S, ahead)

    # Calls.

    def _calls(self, now: float, step: float) -> None:
        wanted = curve(now)
        self.busiest = max(self.busiest, wanted)
        received = self.traffic.received.copy()
        rate = self.rate * wanted * self.swing
        count = self.traffic.step(now, step, rate, self.nodes.weights, self.shedding.refuse)
        got = self.traffic.received - received
        self.shedding.settle(
            self.traffic.calls.sum(axis=1), got.sum(axis=1), self.traffic.came, self.traffic.turned, count
        )
        for one in (self.total, self.minute, *(outcome.count for outcome, _ in self.active)):
            one.add(count)
        self.hit.update(hit := self.shedding.hit.tolist())
        for outcome, _ in self.active if hit else ():
            by = self.hit_by.setdefault(id(outcome), set())
            by.update(hit)
            outcome.shed_accounts = len(by)
        self.trouble.append((now, count.trouble, count.tried))
        if not self.active:
            self.calm_got += got
            self.calm_due += got.sum(axis=1, keepdims=True) * self._share()

    def _fullness(self) -> tuple[Floats, float]:
        """How full each node that answers is, and the mean."""
        there = (self.world.cap > 0) & (self.traffic.status == OK)
        if not there.any():
            return np.zeros(1), 0.0
        calls, cap = self.traffic.calls[there], self.world.cap[there]
        return calls / cap, float(calls.sum() / cap.sum())

    def _sample(self, now: float) -> None:
        full, mean = self._fullness()
        mean = max(mean, 1e-9)
        clusters = self.traffic.calls.sum(axis=1) / self.world.capacity
        minute, self.minute = self.minute, Count()
        self.samples.append(
            Sample(
                now,
                int(self.traffic.calls.sum()),
                minute.tried / _SAMPLE_S,
                float(full.max()) / mean,
                float(np.percentile(full, 99)) / mean,
                float(clusters.max()) / mean,
                minute.overflowed,
                minute.refused + minute.unreachable,
                minute.shed,
                minute.delayed,
                minute.lost_ringing + minute.lost_talking,
            )
        )

    # Events.

    def _begin(self, now: float) -> None:
        while self.pending and self.pending[0].at_s <= now:
            event = self.pending.pop(0)
            full, mean = self._fullness()
            self.spread = float(np.percentile(full, 99)) / max(mean, 1e-9)
            outcome = Outcome(event, "")
            self.outcomes.append(outcome)
            undo: Callable[[], None] = getattr(self, f"_{event.kind}")(event, outcome, now)
            for one in (self.total, self.minute):
                one.add(outcome.count)
            self.active.append((outcome, undo))
            self.trouble.append((now, outcome.count.trouble, 0))
        while self.batches and self.batches[0][0] <= now:
            self._move(self.batches.pop(0)[1])

    def _finish(self, now: float) -> None:
        kept = []
        for outcome, todo in self.active:
            event, undo = outcome.event, todo
            over = event.at_s + event.for_s
            if outcome.recovered_s is None and now - event.at_s >= _QUIET_S:
                outcome.recovered_s = self._recovered(event, now)
            elif outcome.recovered_s is not None:
                self._again(outcome, now)
            if now >= over:
                undo()
                undo = _nothing
                full, mean = self._fullness()
                if outcome.level_s is None and np.percentile(full, 99) <= _LEVEL * self.spread * mean:
                    outcome.level_s = now - over
            if now < over + _AFTER_S or (outcome.level_s is None and now < over + 10 * _AFTER_S):
                kept.append((outcome, undo))
        self.active = kept

    def _recovered(self, event: Event, now: float) -> float | None:
        """Seconds from its begin to the last call with trouble, if calls have been well since."""
        recent = [one for one in self.trouble[-400:] if one[0] >= max(event.at_s, now - _QUIET_S)]
        troubled = sum(bad for _, bad, _ in recent)
        if troubled * _QUIET > sum(tried for _, _, tried in recent):
            return None
        last = max(
            (at for at, bad, _ in self.trouble[-4000:] if bad and at >= event.at_s), default=event.at_s
        )
        return last - event.at_s + (1.0 if last > event.at_s or troubled else 0.0)

    def _again(self, outcome: Outcome, now: float) -> None:
        """Trouble that comes back while it lasts is its own."""
        _, bad, tried = self.trouble[-1]
        if bad * _QUIET > max(tried, 1) * 10 and now <= outcome.event.at_s + outcome.event.for_s + _AFTER_S:
            outcome.recovered_s = None

    def _some(self, count: int, of: int) -> list[int]:
        return sorted(self.random.choice(of, size=min(count, of), replace=False).tolist())

    def _stop(self, chosen: list[tuple[int, int]], status: int, outcome: Outcome) -> Callable[[], None]:
        for cluster, place in chosen:
            outcome.ringing += int(self.traffic.ringing[cluster, place])
            outcome.up += int(self.traffic.talking[cluster, place])
            outcome.count.add(self.traffic.fail(cluster, place, status))

        def undo() -> None:
            for cluster, place in chosen:
                self.traffic.status[cluster, place] = OK

        return undo

    def _node_crash(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        chosen = [self.nodes.rows[index][:2] for index in self._some(event.count, len(self.nodes.rows))]
        outcome.what = many(len(chosen), "media node")
        return self._stop(chosen, REFUSES, outcome)

    def _node_freeze(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        chosen = [self.nodes.rows[index][:2] for index in self._some(event.count, len(self.nodes.rows))]
        outcome.what = many(len(chosen), "media node")
        return self._stop(chosen, SILENT, outcome)

    def _cluster_loss(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        clusters = self._some(event.count, len(self.world.clusters))
        outcome.what = ", ".join(self.world.clusters[one] for one in clusters)
        return self._stop([row[:2] for row in self.nodes.rows if row[0] in clusters], SILENT, outcome)

    def _edge_crash(self, event: Event, outcome: Outcome, now: float) -> Callable[[], None]:
        chosen = [one // EDGES_PER_GROUP for one in self._some(event.count, self.size.edges)]
        outcome.what = many(len(chosen), "edge")
        for group in chosen:
            part = float(self.world.group_part[group]) / EDGES_PER_GROUP
            outcome.up += round(self.traffic.talking.sum() * part)
            outcome.ringing += round(self.traffic.ringing.sum() * part)
            outcome.count.add(self.traffic.edge_gone(group, now))

        def undo() -> None:
            for group in chosen:
                self.traffic.gone.pop(group, None)

        return undo

    def _reports_lost(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        # Those of one site: clusters in a row.
        count = min(event.count, len(self.nodes.rows))
        first = int(self.random.integers(len(self.nodes.rows) - count + 1))
        chosen = range(first, first + count)
        outcome.what = many(count, "media node")
        self.nodes.arrive_s[first : first + count] = NEVER
        return lambda: self.nodes.connect(chosen, event.at_s + event.for_s, self.random)

    def _control_away(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        outcome.what = "database, controllers, names"
        self.nodes.away = True

        def undo() -> None:
            self.nodes.away = False
            self.nodes.connect(range(len(self.nodes.rows)), event.at_s + event.for_s, self.random)

        return undo

    def _load_swing(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        clusters = self._some(event.count, len(self.world.clusters))
        outcome.what = f"{many(len(clusters), 'cluster')}, load x {event.factor:g}"
        return self._swing(clusters, event.factor)

    def _overload(self, event: Event, outcome: Outcome, _now: float) -> Callable[[], None]:
        clusters = self._some(event.count, len(self.world.clusters))
        over = {int(one) for one in self.world.overflow[clusters] if one >= 0}
        clusters = [*clusters, *sorted(over.difference(clusters))]
        outcome.what = f"{', '.join(self.world.clusters[one] for one in clusters)}, load x {event.factor:g}"
        return self._swing(clusters, event.factor)

    def _swing(self, clusters: list[int], factor: float) -> Callable[[], None]:
        self.swing[clusters] = factor

        def undo() -> None:
            self.swing[clusters] = 1.0

        return undo

    def _rebalance(self, event: Event, outcome: Outcome, now: float) -> Callable[[], None]:
        # Load as call records of the busiest hour so far would have it.
        world = self.world
        calls = self.random.poisson(world.rate * self.busiest * 3600)
        load = {account_name(int(i)): float(calls[i]) * CALL_S / 3600 for i in np.flatnonzero(calls)}
        where = world.cluster
        assigned = {name: world.clusters[where[int(name[1:])]] for name in load}
        capacity = dict(zip(world.clusters, world.capacity.tolist(), strict=True))
        self.proposal = rebalance(load, assigned, capacity, Limits(most_moves=event.count))
        self.batches = [(now + n * event.for_s, batch) for n, batch in enumerate(self.proposal.batches)]
        outcome.event = replace(event, for_s=event.for_s * max(1, len(self.batches)))
        outcome.what = f"{many(len(self.proposal.moves), 'account')}, {many(len(self.batches), 'batch')}"
        return _nothing

    def _move(self, batch: tuple[Move, ...]) -> None:
        index = {name: n for n, name in enumerate(self.world.clusters)}
        for move in batch:
            self.world.cluster[int(move.account[1:])] = index[move.to]
        self.rate = self.world.cluster_rate()
        self.shedding.moved()

    # The end.

    def result(self) -> Result:
        """Everything in one place."""
        world = self.world
        capacity = dict(zip(world.clusters, world.capacity.tolist(), strict=True))
        new = float(np.median(world.capacity))
        more = placed(world.digests, {**capacity, "new": new})
        taken = more == len(capacity)
        moved = int(((more != self.placed) & ~taken).sum())
        part = new / (float(world.capacity.sum()) + new)
        error = np.abs(self.calm_got / np.maximum(self.calm_due, 1) - 1)[world.cap > 0] * 100
        return Result(
            self.size,
            self.samples,
            self.outcomes,
            self.total,
            len(self.hit),
            self.proposal,
            (int(taken.sum()), moved, part),
            (float(error.mean()), float(np.percentile(error, 99)), float(error.max())),
            len(world.clusters),
            len(world.groups),
            self.nodes.changes,
        )


def _nothing() -> None:
    """Nothing to undo."""


__all__ = ["Ints", "Outcome", "Result", "Sample", "simulate"]
