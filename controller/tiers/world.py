"""The installation that is simulated: clusters of media nodes, device groups of edges, accounts of all sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.tiers.rendezvous import digest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]

# A forwarding name has at most eight targets.
NODES_PER_CLUSTER = 8
EDGES_PER_GROUP = 2
# Calls that a media node of weight 10 can carry; one of five machines is twice as large.
NODE_CALLS = 400
_LARGE_PART = 0.2
# All calls of the busiest moment, as a part of what all nodes can carry.
_PEAK = 0.6
# Sizes of accounts: Pareto with this exponent, cut at so much of a cluster of eight.
_TAIL = 1.25
_LARGEST = 0.25
# A call rings, and is then answered or not, and talks: means of exponential times.
RING_S, TALK_S, ANSWERED = 10.0, 180.0, 0.7
CALL_S = RING_S + ANSWERED * TALK_S
# Traffic by hour of the day, of the busiest hour; straight lines between. Two peaks, as offices have.
_CURVE = (5, 4, 3, 3, 4, 8, 20, 45, 75, 95, 100, 92, 72, 78, 93, 96, 88, 68, 45, 30, 22, 16, 11, 7)
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Size:
    """How large, how long, and the seed of all that is random."""

    nodes: int = 1000
    edges: int = 200
    accounts: int = 1_000_000
    hours: float = 24.0
    seed: int = 1


@dataclass(slots=True)
class World:
    """Clusters by nodes (padded to eight), accounts in one row each. Rates are calls per second in the busiest hour."""

    clusters: list[str]
    nodes: list[list[str]]
    weight: Ints
    cap: Ints
    # How warm a machine gets at its cap, in percent of its processors.
    load_at_cap: Floats
    overflow: Ints
    groups: list[str]
    group_part: Floats
    digests: Digests
    rate: Floats
    cluster: Ints

    @property
    def capacity(self) -> Floats:
        """Calls a cluster can carry."""
        return np.asarray(self.cap.sum(axis=1), dtype=np.float64)

    def cluster_rate(self) -> Floats:
        """Calls per second of each cluster in the busiest hour."""
        return np.asarray(np.bincount(self.cluster, self.rate, len(self.clusters)), dtype=np.float64)


def curve(at_s: float) -> float:
    """Traffic at that second of the day, of the busiest moment."""
    hour = at_s / 3600 % 24
    first = int(hour)
    part = hour - first
    return (_CURVE[first] * (1 - part) + _CURVE[(first + 1) % 24] * part) / 100


def mix(keys: Digests, place: int) -> Digests:
    """`rendezvous.mixed` of many keys."""
    x = keys ^ np.uint64(place)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def scores(keys: Digests, place: str, weight: float) -> Floats:
    """`rendezvous.score` of many keys."""
    u = ((mix(keys, digest(place)) >> np.uint64(11)).astype(np.float64) + 0.5) / float(1 << 53)
    return np.asarray(-weight / np.log(u), dtype=np.float64)


def placed(keys: Digests, weights: dict[str, float]) -> Ints:
    """`rendezvous.place` of many keys, as index into `weights`."""
    found = np.zeros(len(keys), dtype=np.int64)
    for begin in range(0, len(keys), _CHUNK):
        part = keys[begin : begin + _CHUNK]
        best = np.zeros(len(part))
        where = np.zeros(len(part), dtype=np.int64)
        for index, (name, weight) in enumerate(weights.items()):
            if weight > 0:
                now = scores(part, name, weight)
                better = now > best
                best[better] = now[better]
                where[better] = index
        found[begin : begin + _CHUNK] = where
    return found


def digests(names: list[str]) -> Digests:
    """`rendezvous.digest` of many names."""
    return np.fromiter((digest(name) for name in names), dtype=np.uint64, count=len(names))


def account_name(index: int) -> str:
    """The name of the account in that row."""
    return f"a{index:07}"


def build(size: Size, random: np.random.Generator) -> World:
    """An installation of that size; accounts and devices placed by rendezvous hashing, by capacity."""
    count = -(-size.nodes // NODES_PER_CLUSTER)
    there = np.arange(count * NODES_PER_CLUSTER).reshape(count, -1) < size.nodes
    large = random.random(there.shape) < _LARGE_PART
    weight = np.where(there, np.where(large, 20, 10), 0).astype(np.int64)
    cap = weight * NODE_CALLS // 10
    clusters = [f"c{number:03}" for number in range(1, count + 1)]
    groups = [f"g{number:03}" for number in range(1, -(-size.edges // EDGES_PER_GROUP) + 1)]
    keys = digests([account_name(index) for index in range(size.accounts)])
    sizes = np.minimum((1 - random.random(size.accounts)) ** (-1 / _TAIL), float("inf"))
    peak = _PEAK * float(cap.sum())
    rate = sizes / sizes.sum() * peak
    # Cutting the largest leaves less for all: twice is near enough.
    for _ in range(2):
        rate = np.minimum(rate, _LARGEST * NODES_PER_CLUSTER * NODE_CALLS)
        rate *= peak / rate.sum()
    capacity = {name: float(one) for name, one in zip(clusters, cap.sum(axis=1), strict=True)}
    group = placed(keys, dict.fromkeys(groups, 1.0))
    by_group = np.bincount(group, weights=rate, minlength=len(groups))
    return World(
        clusters=clusters,
        nodes=[[f"{name}-m{number}" for number in range(1, NODES_PER_CLUSTER + 1)] for name in clusters],
        weight=weight,
        cap=cap,
        load_at_cap=72 * random.uniform(0.9, 1.3, there.shape),
        overflow=(np.arange(count) + max(1, count // 2)) % count if count > 1 else np.array([-1]),
        groups=groups,
        group_part=by_group / by_group.sum(),
        digests=keys,
        rate=rate / CALL_S,
        cluster=placed(keys, capacity),
    )
