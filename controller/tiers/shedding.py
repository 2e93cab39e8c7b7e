"""Whose calls a simulation refuses for overload: `overload.look` at clusters that are nearly full, as reports arrive.

As in the product (`control.look_at_overload`, `kamailio/media.cfg`) edges refuse what is above the fair share on a
cluster when the one that takes over is overloaded too, for 90 s after they were told last.

Calls come by cluster, not by account. As long as all are taken, who makes them follows from how much each account
calls: it is drawn for those that are up when a cluster becomes overloaded, and from then on for each that comes, until
the cluster is less than three quarters full. Accounts whose calls are refused leave the draw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from controller.tiers import overload
from controller.tiers.overload import Carrier, Overload
from controller.tiers.reports import LOAD_LIMIT_PCT, Reports
from controller.tiers.traffic import Count
from controller.tiers.world import Floats, Ints, World

# As agents tell the calls of accounts (`control.counts_accounts`), and how long edges obey (migration 0341).
_COUNTS = 0.75
_OBEY_S = 90.0


@dataclass(slots=True)
class _Counted:
    """A cluster whose calls are counted by account."""

    # The account of each call that is up.
    who: Ints
    # Account, by row -> calls, as it was told last.
    told: dict[int, int] = field(default_factory=dict)


class Shedding:
    """Overloaded clusters, and what edges know of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        # Its own numbers: a day without overload is the same day with and without this.
        self._random = np.random.default_rng([seed, 1])
        self.overloads: dict[int, Overload[int]] = {}
        self._until: dict[int, float] = {}
        self._counted: dict[int, _Counted] = {}
        # Calls up, by cluster, of accounts of the cluster that overflows to it.
        self._foreign = np.zeros(len(world.clusters), np.int64)
        self._before = np.zeros(len(world.clusters), np.int64)
        self._giver = np.full(len(world.clusters), -1)
        takes_over = np.flatnonzero(world.overflow >= 0)
        self._giver[world.overflow[takes_over]] = takes_over
        # Accounts whose calls were refused in this step, by row.
        self.hit: Ints = np.zeros(0, np.int64)
        # Cluster -> accounts whose calls edges refuse in this step.
        self._refused: dict[int, Ints] = {}
        self.moved()

    def moved(self) -> None:
        """Accounts are at other clusters than they were."""
        order = np.argsort(self.world.cluster, kind="stable")
        ends = np.searchsorted(self.world.cluster[order], np.arange(len(self.world.clusters) + 1))
        self._rows = [order[ends[one] : ends[one + 1]] for one in range(len(self.world.clusters))]
        self._sums: dict[int, Floats] = {}

    @property
    def counts(self) -> dict[int, Ints]:
        """Of clusters that are counted: the account of each call that is up."""
        return {cluster: one.who for cluster, one in self._counted.items()}

    def look(self, now_s: float, calls: Ints, reports: Reports) -> None:
        """Reports arrived: which clusters are overloaded, and whose calls are refused there."""
        total = self._before = calls.sum(axis=1)
        if reports.away:
            return
        self._refused = {}
        heard, room = reports.heard, self._room(calls, reports)
        begins = self._may_begin(np.asarray(total, np.float64), room)
        for cluster in sorted({*np.flatnonzero(begins).tolist(), *self._counted}):
            if cluster in self.overloads or begins[cluster]:
                if cluster not in self._counted:
                    foreign = int(self._foreign[cluster])
                    who = self._callers(cluster, int(total[cluster]) - foreign, foreign)
                    self._counted[cluster] = _Counted(who)
                self._judge(now_s, cluster, calls[cluster], heard[cluster], reports.load[cluster])
            elif total[cluster] < _COUNTS * room[cluster] or not room[cluster]:
                self._forget(cluster)

    def _room(self, calls: Ints, reports: Reports) -> Floats:
        """For how many calls there is room on each cluster: `overload.room`, nearly."""
        by_load = calls * (LOAD_LIMIT_PCT / np.maximum(reports.load, 1))
        room = np.where((calls > 0) & (reports.load > 0), np.minimum(by_load, self.world.cap), self.world.cap)
        return np.asarray(np.where(reports.heard, room, 0).sum(axis=1))

    def _judge(self, now_s: float, cluster: int, calls: Ints, heard: Ints, load: Ints) -> None:
        """What the database finds when agents of the cluster tell calls of accounts."""
        cap = self.world.cap[cluster]
        places = overload.room(
            Carrier(int(calls[one]), int(load[one]), int(cap[one]), LOAD_LIMIT_PCT)
            for one in np.flatnonzero(heard).tolist()
        )
        counted, before = self._counted[cluster], self.overloads.get(cluster)
        known = int(calls[heard].sum())
        who = counted.who
        if known < len(who):
            # Nodes that are not heard of tell nothing.
            who = self._random.choice(who, known, replace=False, shuffle=False)
        accounts, many = np.unique(who, return_counts=True)
        counted.told = dict(zip(accounts.tolist(), many.tolist(), strict=True))
        found = overload.look(counted.told, places, before)
        if found is None:
            self.overloads.pop(cluster, None)
            self._until.pop(cluster, None)
            return
        self.overloads[cluster] = found
        # It is said again when half of the time is over.
        if self._until.get(cluster, 0) < now_s + _OBEY_S / 2:
            self._until[cluster] = now_s + _OBEY_S

    @staticmethod
    def _may_begin(calls: Floats, room: Floats) -> np.typing.NDArray[np.bool_]:
        """Where not, `overload.look` finds no overload, whatever the accounts; less by what floats may be wrong."""
        return (room > 0) & (calls >= 0.999 * float(overload.BEGINS) * room)

    def _forget(self, cluster: int) -> None:
        who = self._counted.pop(cluster).who
        self._foreign[cluster] = np.count_nonzero(self.world.cluster[who] != cluster)

    def obeyed(self, cluster: int, now_s: float) -> bool:
        """Whether edges refuse calls of accounts of that cluster that are above their share."""
        over = int(self.world.overflow[cluster])
        return self._until.get(cluster, 0) >= now_s and (over < 0 or self._until.get(over, 0) >= now_s)

    def active(self, now_s: float) -> bool:
        """Whether any calls are refused for overload."""
        return any(one.refused and self.obeyed(cluster, now_s) for cluster, one in self.overloads.items())

    def refuse(self, now_s: float, fresh: Ints, count: Count) -> Ints:
        """How many of these new calls, by cluster, edges refuse."""
        shed = np.zeros_like(fresh)
        hit = []
        self._refused = {}
        for cluster, state in self.overloads.items():
            if not self.obeyed(cluster, now_s):
                continue
            above = np.array(sorted(state.refused), np.int64)
            above = above[self.world.cluster[above] == cluster]
            if not len(above):
                continue
            self._refused[cluster] = above
            rates = self.world.rate[above]
            part = rates.sum() / self.world.rate[self._rows[cluster]].sum()
            shed[cluster] = self._random.binomial(fresh[cluster], min(1.0, part))
            accounts = self._random.choice(above, shed[cluster], p=rates / rates.sum())
            count.shed_below += self._below(cluster, accounts, state.level * overload.BACK)
            hit.append(accounts)
        count.shed += int(shed.sum())
        self.hit = np.concatenate(hit) if hit else self.hit[:0]
        return shed

    def _below(self, cluster: int, accounts: Ints, level: Fraction) -> int:
        """How many of these calls are of accounts with no more calls than that."""
        told = self._counted[cluster].told
        return sum(told.get(one, 0) <= level for one in accounts.tolist())

    def settle(self, calls: Ints, received: Ints, came: Ints, turned: Ints, count: Count) -> None:
        """After a step, by cluster: calls that are up; what its nodes took, and of this what came from the cluster that
        overflows to it; and calls of its accounts that found no node at all.
        """
        ended = self._before + received - calls
        if self._foreign.any() or came.any():
            self._foreign += came - self._random.hypergeometric(
                self._foreign, self._before - self._foreign, ended
            )
        for cluster, counted in self._counted.items():
            over = self._random.choice(len(counted.who), ended[cluster], replace=False, shuffle=False)
            new = self._callers(cluster, int(received[cluster] - came[cluster]), int(came[cluster]))
            counted.who = np.concatenate([np.delete(counted.who, over), new])
        for cluster in np.flatnonzero(turned).tolist():
            if cluster in self.overloads:
                accounts = self._draw(cluster, int(turned[cluster]))
                count.starved += self._below(cluster, accounts, self.overloads[cluster].level)

    def _callers(self, cluster: int, own: int, foreign: int) -> Ints:
        """Who makes so many calls on a cluster: its accounts, and those of the cluster that overflows to it."""
        return np.concatenate([self._draw(cluster, own), self._draw(int(self._giver[cluster]), foreign)])

    def _draw(self, cluster: int, many: int) -> Ints:
        """The accounts of so many calls that edges let through."""
        if not many:
            return np.zeros(0, np.int64)
        rows = self._rows[cluster]
        if not len(rows):
            # They all moved elsewhere since: it may be anybody.
            return self._random.integers(len(self.world.cluster), size=many)
        sums = self._sums.get(cluster)
        if sums is None:
            sums = self._sums[cluster] = np.cumsum(self.world.rate[rows])
        if cluster in self._refused:
            left = np.where(np.isin(rows, self._refused[cluster]), 0.0, self.world.rate[rows]).cumsum()
            sums = left if left[-1] > 0 else sums
        found: Ints = rows[np.searchsorted(sums, self._random.random(many) * sums[-1], side="right")]
        return found
