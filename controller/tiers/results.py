"""What a simulation finds out: each minute, each event, and all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.tiers.balance import Proposal
from controller.tiers.events import Event
from controller.tiers.traffic import Count
from controller.tiers.world import Size


@dataclass(frozen=True, slots=True)
class Sample:
    """A minute. Full: calls by what can be carried, by the mean of all that answer. Counts are of the minute."""

    at_s: float
    calls: int
    per_s: float
    node_max: float
    node_p99: float
    cluster_max: float
    overflowed: int
    refused: int
    shed: int
    delayed: int
    lost: int


@dataclass(slots=True)
class Outcome:
    """What an event did, from its begin until three minutes after its end. `None` seconds: not within the run.

    `up`, `ringing`: calls on what failed, when it failed. `shed_accounts`: accounts of the calls that were refused for
    overload. `recovered_s`: from its begin until calls had no more trouble; `level_s`: from its end until nodes were as
    level as before.
    """

    event: Event
    what: str
    count: Count = field(default_factory=Count)
    shed_accounts: int = 0
    up: int = 0
    ringing: int = 0
    recovered_s: float | None = None
    level_s: float | None = None


@dataclass(slots=True)
class Result:
    """All that a simulation says."""

    size: Size
    samples: list[Sample]
    outcomes: list[Outcome]
    total: Count
    shed_accounts: int
    proposal: Proposal | None
    # Accounts that one more cluster would take, those that would move between old ones, and its part of all capacity.
    one_more: tuple[int, int, float]
    # Nodes, in percent of what their weight says, over the time without any event: mean, p99, most.
    distribution_pct: tuple[float, float, float]
    clusters: int
    groups: int
    conditions: int
