"""Which accounts to move so that no cluster is much fuller than the mean: few moves, in batches, each explained.

How full a cluster is: its load by its capacity, both in the same unit (calls at the same time). Imbalance: the fullest
cluster by the mean of all (whole load by whole capacity); 1.0 is level. To find the fewest moves is bin packing, so
this is a greedy choice: from the fullest cluster the smallest account that alone takes off what is too much, else the
largest that fits, to where most is free. The last move off a cluster is never larger than those before, so none of them
could be left out. Nothing is moved to a cluster that would then be above the target, or that has no capacity.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Loads are sums of floats.
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a proposal goes.

    `target`: imbalance it aims for, above 1. `canary`: accounts in the first batch. `batch_accounts`, `batch_pct`: at
    most so many accounts, and so much of the whole load in percent, in one batch; one account alone may be more.
    `most_moves`: accounts in all batches. `room_pct`: a cluster is filled to at most so much of its capacity; None:
    capacities only say how large clusters are by each other.
    """

    target: float = 1.10
    canary: int = 1
    batch_accounts: int = 50
    batch_pct: float = 1.0
    most_moves: int = 1000
    room_pct: float | None = 80.0


@dataclass(frozen=True, slots=True)
class Move:
    """An account, from where to where, its load, and why."""

    account: str
    source: str
    to: str
    load: float
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Batches in order, the canary first. `before` and `after`: imbalance; `why`: why it ends there."""

    batches: tuple[tuple[Move, ...], ...]
    before: float
    after: float
    why: str

    @property
    def moves(self) -> tuple[Move, ...]:
        """All moves, in order."""
        return tuple(move for batch in self.batches for move in batch)


def imbalance(load: Mapping[str, float], capacity: Mapping[str, float]) -> float:
    """The fullest cluster by the mean. Infinite if a cluster without capacity has load; 1 without any load."""
    whole, room = sum(load.values()), sum(capacity.values())
    if whole <= _EPSILON:
        return 1.0
    if room <= 0:
        return float("inf")
    return max(_fullness(load.get(name, 0.0), size) for name, size in capacity.items()) * room / whole


def _fullness(load: float, capacity: float) -> float:
    if capacity > 0:
        return load / capacity
    return float("inf") if load > _EPSILON else 0.0


def rebalance(
    load: Mapping[str, float],
    assigned: Mapping[str, str],
    capacity: Mapping[str, float],
    limits: Limits | None = None,
) -> Proposal:
    """Moves that bring the imbalance to the target, or as near as they can.

    Args:
        load: Account -> calls at the same time, measured. Accounts without load are never moved.
        assigned: Account -> cluster, for each of them.
        capacity: Cluster -> calls at the same time that it can carry; 0: it is to be emptied.
        limits: See `Limits`.
    """
    limits = limits or Limits()
    floor = _Floor(load, assigned, capacity, limits)
    before = imbalance(floor.load, capacity)
    if floor.mean <= 0:
        why = "no cluster has capacity" if sum(capacity.values()) <= 0 else "no load was measured"
        return Proposal((), before, before, why)
    found: list[tuple[str, str, str]] = []
    why = ""
    while not why and (source := floor.too_full()) is not None:
        if len(found) == limits.most_moves:
            why = f"{limits.most_moves} moves are the most that were asked for; {source} is still too full"
        elif (step := floor.step(source)) is None:
            floor.give_up(source)
        else:
            found.append(step)
            floor.move(*step)
    why = why or floor.left or f"no cluster is above {limits.target:.2f} times the mean"
    batches = _batches(found, floor, limits)
    return Proposal(batches, before, imbalance(floor.load, capacity), why)


class _Floor:
    """Clusters with what is on them, as moves change it."""

    def __init__(
        self,
        load: Mapping[str, float],
        assigned: Mapping[str, str],
        capacity: Mapping[str, float],
        limits: Limits,
    ) -> None:
        self.of = load
        self.capacity = capacity
        self.load = dict.fromkeys(capacity, 0.0)
        self.limits = limits
        self.left = ""
        self.whole = 0.0
        # Cluster -> its accounts as (load, name), smallest first. An account moves once.
        self.movable: dict[str, list[tuple[float, str]]] = {name: [] for name in capacity}
        for account, size in load.items():
            if size > 0:
                self.load[assigned[account]] += size
                self.whole += size
                self.movable[assigned[account]].append((size, account))
        for accounts in self.movable.values():
            accounts.sort()
        room = sum(capacity.values())
        self.mean = self.whole / room if room > 0 else 0.0
        self.given_up: set[str] = set()

    def most(self, cluster: str) -> float:
        """Load above which a cluster is too full."""
        return self.limits.target * self.mean * self.capacity[cluster] + _EPSILON

    def room(self, cluster: str) -> float:
        """Load it may still be given."""
        room = self.most(cluster)
        if self.limits.room_pct is not None:
            room = min(room, self.capacity[cluster] * self.limits.room_pct / 100)
        return room - self.load[cluster]

    def too_full(self) -> str | None:
        """The fullest of those above the target."""
        above = [
            name
            for name, load in self.load.items()
            if name not in self.given_up and load > self.most(name) + _EPSILON
        ]
        return max(
            above, key=lambda name: (_fullness(self.load[name], self.capacity[name]), name), default=None
        )

    def step(self, source: str) -> tuple[str, str, str] | None:
        """(account, source, to): the best single move off it; None: none fits."""
        to = self.emptiest(source)
        accounts = self.movable[source]
        if to is None or not accounts:
            return None
        fits = bisect_left(accounts, (self.room(to) + _EPSILON,))
        if not fits:
            return None
        enough = bisect_left(accounts, (self.load[source] - self.most(source),))
        _, account = accounts.pop(enough if enough < fits else fits - 1)
        return account, source, to

    def emptiest(self, source: str) -> str | None:
        """Where most is free."""
        free = [
            (self.room(name), name) for name, size in self.capacity.items() if name != source and size > 0
        ]
        room, name = max(free, default=(0.0, ""))
        return name if room > 0 else None

    def give_up(self, source: str) -> None:
        """Nothing more can leave this cluster; others may still be looked at."""
        self.left = self.left or f"{source} stays too full: {self.why_not(source)}"
        self.given_up.add(source)

    def why_not(self, source: str) -> str:
        """Why nothing leaves it."""
        to = self.emptiest(source)
        if to is None:
            return "no other cluster has room"
        if not self.movable[source]:
            return "it has no account left that could move"
        size, account = self.movable[source][0]
        return (
            f"its smallest account {account} ({size:.3g} calls) does not fit anywhere; "
            f"{to} has room for {self.room(to):.3g}"
        )

    def move(self, account: str, source: str, to: str) -> None:
        """As if it were done."""
        self.load[source] -= self.of[account]
        self.load[to] += self.of[account]

    def reason(self, account: str, source: str, to: str) -> str:
        """A sentence, said before the move is done."""
        size = self.of[account]

        def times(cluster: str, change: float = 0.0) -> str:
            if self.capacity[cluster] <= 0:
                return "without capacity"
            return f"{(self.load[cluster] + change) / self.capacity[cluster] / self.mean:.2f}"

        if self.capacity[source] <= 0:
            begin = f"{source} has no capacity"
        else:
            begin = f"{source} is at {times(source)} of the mean, then {times(source, -size)}"
        return f"{begin}; {to} goes from {times(to)} to {times(to, size)}"


def _batches(
    moves: list[tuple[str, str, str]], floor: _Floor, limits: Limits
) -> tuple[tuple[Move, ...], ...]:
    """Canaries are the smallest; then the rest as they were found, which is the fullest cluster first.

    A cluster that gives some away and gets others has room only in the order found:
    no canary goes there if another can.
    """
    for account, source, to in moves:
        floor.move(account, to, source)
    givers = {source for _, source, _ in moves}
    small = sorted(moves, key=lambda move: (floor.of[move[0]], move[0]))
    canaries = ([move for move in small if move[2] not in givers] or moves)[: limits.canary]
    rest = [move for move in moves if move not in canaries]
    batches = []
    for batch in (*_cut(canaries, floor, limits), *_cut(rest, floor, limits)):
        said = []
        for account, source, to in batch:
            said.append(Move(account, source, to, floor.of[account], floor.reason(account, source, to)))
            floor.move(account, source, to)
        batches.append(tuple(said))
    return tuple(batches)


def _cut(
    moves: list[tuple[str, str, str]], floor: _Floor, limits: Limits
) -> Iterator[list[tuple[str, str, str]]]:
    most = floor.whole * limits.batch_pct / 100
    batch: list[tuple[str, str, str]] = []
    size = 0.0
    for move in moves:
        load = floor.of[move[0]]
        if batch and (len(batch) == limits.batch_accounts or size + load > most):
            yield batch
            batch, size = [], 0.0
        batch.append(move)
        size += load
    if batch:
        yield batch
