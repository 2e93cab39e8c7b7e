"""Calls of a simulation: how many come, which node each gets, how long they last.

A cluster's calls are drawn over its targets all at once, from the multinomial distribution: that of `pick.choose` for
each of them. Where a node fails that is still a target, each edge is looked at alone, as it passes over a node for 10 s
after a failure of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from controller.tiers.world import ANSWERED, EDGES_PER_GROUP, RING_S, TALK_S, Floats, Ints, World

# A node that said nothing for 2 s is given up, and passed over for 10 s (kamailio/media.cfg).
_SILENCE_S, _PASSED_S = 2.0, 10.0
# Of the phones of an edge that is gone, half sign in over TCP or TLS and have to connect again, which takes so long in
# the mean; until then calls to them fail. The others are reached through the other edge. Half of all calls go to
# phones.
_TCP, _CONNECT_S, _TO_PHONES = 0.5, 30.0, 0.5

OK, REFUSES, SILENT = 0, 1, 2


@dataclass(slots=True)
class Retry:
    """Calls of a cluster, by edge, that waited in vain and look for the next target."""

    due_s: float
    cluster: int
    calls: Ints
    waited_s: float


@dataclass(slots=True)
class Count:
    """What became of calls since it was made. `longest_s`: the longest any waited in vain.

    `refused`: no node was left; `starved`: of these, calls of accounts that had no more than their fair share of an
    overloaded cluster. `shed`: refused for overload; `shed_below`: of these, calls of accounts below their share.
    """

    tried: int = 0
    overflowed: int = 0
    refused: int = 0
    shed: int = 0
    shed_below: int = 0
    starved: int = 0
    unreachable: int = 0
    delayed: int = 0
    longest_s: float = 0.0
    retried: int = 0
    lost_ringing: int = 0
    lost_talking: int = 0

    @property
    def trouble(self) -> int:
        """Calls that found nobody, or late."""
        return self.refused + self.shed + self.unreachable + self.delayed + self.lost_ringing

    def add(self, other: Count) -> None:
        """Sum up."""
        for name in (
            "tried",
            "overflowed",
            "refused",
            "shed",
            "shed_below",
            "starved",
            "unreachable",
            "delayed",
            "retried",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lost_ringing += other.lost_ringing
        self.lost_talking += other.lost_talking
        self.longest_s = max(self.longest_s, other.longest_s)


Refuse = Callable[[float, Ints, Count], Ints]


@dataclass(slots=True)
class Traffic:
    """Calls that ring and talk on each node; which nodes answer; what each edge remembers."""

    world: World
    random: np.random.Generator
    edges: int
    ringing: Ints = field(init=False)
    talking: Ints = field(init=False)
    status: Ints = field(init=False)
    received: Ints = field(init=False)
    # In the last step, by cluster: calls that came from the cluster that overflows to it, and those of its own accounts
    # that found no node.
    came: Ints = field(init=False)
    turned: Ints = field(init=False)
    # Edge x node: passed over from, until.
    down_from: dict[int, Floats] = field(default_factory=dict)
    down_until: dict[int, Floats] = field(default_factory=dict)
    retries: list[Retry] = field(default_factory=list)
    # Device group -> when an edge of it went, for each that is gone.
    gone: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.world.cap.shape
        self.ringing, self.talking = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.status, self.received = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.came, self.turned = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)

    @property
    def calls(self) -> Ints:
        """Calls up, by cluster and node."""
        return self.ringing + self.talking

    def troubled(self, weights: Ints) -> bool:
        """Whether calls are sent to a node that does not answer, or wait for their next target."""
        return bool(self.retries) or bool(((self.status > OK) & (weights > 0)).any())

    def step(self, now_s: float, for_s: float, rate: Floats, weights: Ints, refuse: Refuse) -> Count:
        """`for_s` seconds of calls at so many per second for each cluster, over targets of these weights.

        `refuse` says how many new calls of each cluster edges refuse for overload, and counts them.
        """
        count = Count()
        self.came, self.turned = np.zeros_like(self.came), np.zeros_like(self.turned)
        self._end(for_s)
        fresh = self.random.poisson(rate * for_s)
        count.tried = int(fresh.sum())
        unreachable = self._unreachable(now_s)
        if unreachable > 0:
            failed = self.random.binomial(fresh, unreachable)
            count.unreachable = int(failed.sum())
            fresh = fresh - failed
        fresh = fresh - refuse(now_s, fresh, count)
        failing = (self.status > OK) & (weights > 0)
        alone = set(np.flatnonzero(failing.any(axis=1)).tolist())
        due = [one for one in self.retries if one.due_s <= now_s]
        self.retries = [one for one in self.retries if one.due_s > now_s]
        over = np.zeros_like(fresh)
        for cluster in sorted(alone | {one.cluster for one in due}):
            waiting = [one for one in due if one.cluster == cluster]
            over[cluster] = self._by_edge(now_s, cluster, int(fresh[cluster]), waiting, weights, count)
            fresh[cluster] = 0
        answering = np.where(self.status > OK, 0, weights)
        over += self._spread(fresh, answering)
        if over.any():
            self._overflow(over, answering, count)
        return count

    def _end(self, for_s: float) -> None:
        ended = self.random.binomial(self.ringing, 1 - np.exp(-for_s / RING_S))
        answered = self.random.binomial(ended, ANSWERED)
        self.talking += answered - self.random.binomial(self.talking, 1 - np.exp(-for_s / TALK_S))
        self.ringing -= ended

    def _spread(self, calls: Ints, weights: Ints) -> Ints:
        """Draw a target for each call; what is left over where there is none."""
        total = weights.sum(axis=1)
        served = total > 0
        if served.any():
            got = self.random.multinomial(calls[served], weights[served] / total[served, None])
            self.ringing[served] += got
            self.received[served] += got
        return np.asarray(np.where(served, 0, calls), dtype=np.int64)

    def _overflow(self, over: Ints, answering: Ints, count: Count) -> None:
        to = np.zeros_like(over)
        for cluster in np.flatnonzero(over).tolist():
            other = int(self.world.overflow[cluster])
            if other < 0:
                self.turned[cluster] = over[cluster]
            else:
                to[other] += over[cluster]
        left = self._spread(to, answering)
        self.came = to - left
        # Each takes over for one other.
        self.turned += np.where(self.world.overflow >= 0, left[self.world.overflow], 0)
        count.refused += int(self.turned.sum())
        count.overflowed += int(self.came.sum())

    def _by_edge(
        self, now_s: float, cluster: int, fresh: int, waiting: list[Retry], weights: Ints, count: Count
    ) -> int:
        """Calls of one cluster, edge by edge. How many found no target of it that answers."""
        even = np.full(self.edges, 1 / self.edges)
        batches = [(self.random.multinomial(fresh, even), 0.0)] + [
            (one.calls, one.waited_s) for one in waiting
        ]
        over = 0
        most_s = _SILENCE_S * int(((weights[cluster] > 0) & (self.status[cluster] == SILENT)).sum())
        for calls, waited_s in batches:
            left = calls
            # A refusal sends a call on at once, so at most as many rounds as there are nodes.
            while left.any():
                usable = np.where(self._passed(now_s, cluster), 0, weights[cluster])
                if waited_s >= most_s:
                    # It had all that are silent.
                    usable[:, self.status[cluster] == SILENT] = 0
                total = usable.sum(axis=1)
                none = total == 0
                over += int(left[none].sum())
                left = np.where(none, 0, left)
                usable[none, 0], total[none] = 1, 1
                got = self.random.multinomial(left, usable / total[:, None])
                left = self._answers(now_s, cluster, got, waited_s, count)
        return over

    def _passed(self, now_s: float, cluster: int) -> np.typing.NDArray[np.bool_]:
        """Edge x node of a cluster: passed over now."""
        passed = np.zeros((self.edges, self.world.cap.shape[1]), dtype=bool)
        if cluster in self.down_from:
            passed = (self.down_from[cluster] <= now_s) & (now_s < self.down_until[cluster])
        return passed

    def _answers(self, now_s: float, cluster: int, got: Ints, waited_s: float, count: Count) -> Ints:
        """Calls (edge x node) reach their nodes. Those that were refused, by edge: they go on at once."""
        status = self.status[cluster]
        taken = np.where(status == OK, got, 0).sum(axis=0)
        self.ringing[cluster] += taken
        self.received[cluster] += taken
        begins = self.down_from.setdefault(cluster, np.full(got.shape, np.inf))
        until = self.down_until.setdefault(cluster, np.zeros(got.shape))
        silent = np.where(status == SILENT, got, 0)
        if silent.any():
            waits = silent.sum(axis=1)
            if not waited_s:
                count.delayed += int(waits.sum())
            waited_s += _SILENCE_S
            count.longest_s = max(count.longest_s, waited_s)
            self.retries.append(Retry(now_s + _SILENCE_S, cluster, waits, waited_s))
            first = (silent > 0) & ~((begins > now_s) & np.isfinite(begins))
            begins[first] = now_s + _SILENCE_S
            until[first] = now_s + _SILENCE_S + _PASSED_S
        refused = np.where(status == REFUSES, got, 0)
        begins[refused > 0] = now_s
        until[refused > 0] = now_s + _PASSED_S
        count.retried += int(refused.sum())
        return np.asarray(refused.sum(axis=1), dtype=np.int64)

    def fail(self, cluster: int, nodes: slice | int, status: int) -> Count:
        """Nodes of a cluster stop: their calls are lost, but those that ring go on elsewhere if connections close."""
        count = Count(lost_talking=int(self.talking[cluster, nodes].sum()))
        ringing = int(self.ringing[cluster, nodes].sum())
        if status == REFUSES:
            # The edge hears that the connection is gone and sends them to the next target.
            self.retries.append(
                Retry(
                    0.0, cluster, self.random.multinomial(ringing, np.full(self.edges, 1 / self.edges)), 0.0
                )
            )
            count.retried = ringing
        else:
            count.lost_ringing = ringing
        self.ringing[cluster, nodes] = 0
        self.talking[cluster, nodes] = 0
        self.status[cluster, nodes] = status
        return count

    def edge_gone(self, group: int, now_s: float) -> Count:
        """An edge stops. Calls that ring through it are lost; those that talk go on, as audio does not pass it."""
        part = float(self.world.group_part[group]) / EDGES_PER_GROUP
        self.gone.setdefault(group, []).append(now_s)
        lost = self.random.binomial(self.ringing, part)
        self.ringing -= lost
        return Count(lost_ringing=int(lost.sum()))

    def _unreachable(self, now_s: float) -> float:
        """The part of all calls that reach nobody because an edge is gone."""
        part = 0.0
        for group, since in self.gone.items():
            if len(since) >= EDGES_PER_GROUP:
                part += float(self.world.group_part[group])
            else:
                waiting = np.exp(-(now_s - since[0]) / _CONNECT_S)
                part += float(self.world.group_part[group]) / EDGES_PER_GROUP * _TCP * _TO_PHONES * waiting
        return min(1.0, part)
