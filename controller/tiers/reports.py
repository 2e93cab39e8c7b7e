"""What agents of a simulation report each second or ten, and which targets follow for the edges."""

from __future__ import annotations

import numpy as np

from controller.tiers import pick
from controller.tiers.traffic import REFUSES, SILENT
from controller.tiers.world import Floats, Ints, World

LOAD_LIMIT_PCT = 85
# Agents connect to PostgreSQL again within so many seconds.
CONNECT_S = 5.0
NEVER = float("inf")


class Reports:
    """Conditions of all nodes, and the weights of targets as edges have them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = [
            (cluster, place, pick.Node(name, int(weight), "enabled", int(cap), LOAD_LIMIT_PCT))
            for cluster, names in enumerate(world.nodes)
            for place, name in enumerate(names)
            if (weight := world.weight[cluster, place]) and (cap := world.cap[cluster, place])
        ]
        there = world.cap > 0
        self._there = there
        self._cap = world.cap[there]
        self._load_per_call = world.load_at_cap[there] / self._cap
        self.conditions: list[pick.Condition | None] = [None] * len(self.rows)
        self.heard_s = np.zeros(len(self.rows))
        # From when on reports of a node arrive again.
        self.arrive_s = np.zeros(len(self.rows))
        # PostgreSQL is away: no report arrives, no condition is looked at, targets stay.
        self.away = False
        self.weights = np.zeros_like(world.weight)
        # What was said last: nodes that are heard of and answer, and how busy they are, in percent.
        self.heard = np.zeros(world.cap.shape, dtype=bool)
        self.load = np.zeros_like(world.cap)
        self.changes = 0
        self._seen = np.full((len(self.rows), 3), -1)
        self._first = np.searchsorted([row[0] for row in self.rows], range(len(world.clusters) + 1))

    def look(self, now_s: float, calls: Ints, status: Ints) -> None:
        """Reports arrive; where one is news, the condition is looked at, and the cluster's targets are published."""
        if self.away:
            return
        told, state = calls[self._there], status[self._there]
        load = np.rint(told * self._load_per_call).astype(np.int64)
        self.heard_s[(state != SILENT) & (self.arrive_s <= now_s)] = now_s
        silent_s = now_s - self.heard_s
        self.heard[self._there] = (silent_s <= pick.SILENT_S) & (state != REFUSES)
        self.load[self._there] = load
        news = self._news(told, load, silent_s, state)
        touched = set()
        for index in news.tolist():
            cluster, _, node = self.rows[index]
            report = pick.Report(
                float(silent_s[index]),
                bool(state[index] != REFUSES),
                None,
                int(told[index]),
                int(load[index]),
            )
            before = self.conditions[index]
            found = pick.condition(node, report, None, before)
            if found is not before:
                self.conditions[index] = found
                self.changes += 1
                touched.add(cluster)
        for cluster in touched:
            self._publish(cluster)

    def _news(self, calls: Ints, load: Ints, silent_s: Floats, state: Ints) -> Ints:
        """Nodes whose condition can have changed.

        A condition is made of its last one, of calls and load by tenths, and of whether the node is heard of and
        answers. With all these as they were when it was made, it is made again the same.
        """
        seen = np.stack(
            [
                10 * calls // self._cap,
                10 * load // LOAD_LIMIT_PCT,
                2 * (silent_s > pick.SILENT_S) + (state == REFUSES),
            ],
            axis=1,
        )
        news = np.flatnonzero((seen != self._seen).any(axis=1))
        self._seen = seen
        return news

    def _publish(self, cluster: int) -> None:
        members = range(int(self._first[cluster]), int(self._first[cluster + 1]))
        known = [(self.rows[one][2], now) for one in members if (now := self.conditions[one]) is not None]
        weights = dict(pick.targets(known))
        self.weights[cluster] = [weights.get(name, 0) for name in self.world.nodes[cluster]]

    def connect(self, nodes: range, now_s: float, random: np.random.Generator) -> None:
        """Agents of these nodes connect again, each after a while of its own."""
        self.arrive_s[nodes.start : nodes.stop] = now_s + random.uniform(0, CONNECT_S, len(nodes))
