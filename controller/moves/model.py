"""Moves as the decider sees them: batches, accounts with their steps, nodes, and what may come next. Pure.

An account that moves is always at one cluster, which its row names and edges are told; meanwhile the nodes of the other
one hold it too. `goal` is the cluster it shall end at: the target, or the source when the batch goes back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Step(enum.StrEnum):
    """Where an account is on its way; ARCHITECTURE.md, "Moving accounts", has what each waits for."""

    PLANNED = "planned"
    ADDING = "adding"
    MOVING = "moving"
    WAITING = "waiting"
    DRAINING = "draining"
    REMOVING = "removing"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


OVER = frozenset({Step.DONE, Step.ROLLED_BACK})
# Records of calls come a moment after the calls: so long none must be seen before a cluster counts as drained.
QUIET_S = 5.0
# A node that was not heard of for so long takes no calls: it need not hold an account before others get its calls.
AWAY_S = 10.0


@dataclass(frozen=True, slots=True)
class Move:
    """An account on its way. `revision`: what nodes have to hold before the next step, None: nothing.

    `made` and `failed`: its calls that ended since `moved_at`, and how many of them failed by a fault of ours.
    """

    account: str
    source: str
    target: str
    canary: bool
    step: Step
    since: datetime
    at_target: bool = False
    holds_source: bool = True
    holds_target: bool = False
    tied: bool = False
    revision: int | None = None
    moved_at: datetime | None = None
    quiet_at: datetime | None = None
    made: int = 0
    failed: int = 0

    @property
    def at(self) -> str:
        """Cluster that edges send its calls to."""
        return self.target if self.at_target else self.source

    @property
    def held_by(self) -> frozenset[str]:
        """Clusters whose nodes hold it for the sake of the move."""
        return frozenset(
            name
            for name, holds in ((self.source, self.holds_source), (self.target, self.holds_target))
            if holds
        )

    @property
    def open(self) -> bool:
        """It is not over."""
        return self.step not in OVER

    def goal(self, *, back: bool) -> str:
        """Cluster it shall end at."""
        return self.source if back else self.target

    def other(self, *, back: bool) -> str:
        """Cluster that it shall leave."""
        return self.target if back else self.source


@dataclass(frozen=True, slots=True)
class Batch:
    """Accounts that move together. `watch_s`, `failed_pct`: how long calls of canaries are watched, and how many of the
    calls of accounts that moved may fail; `drain_s`, `after_drain` (wait or remove): how long calls have to end, and
    what then. `why` it stands where it stands."""

    id: int
    moves: tuple[Move, ...]
    state: str = "running"
    back: bool = False
    canary: int = 1
    watch_s: float = 60
    at_once: int = 10
    failed_pct: float = 5
    drain_s: float = 3600
    after_drain: str = "wait"
    why: str = ""


class Node(NamedTuple):
    """A node that is not disabled. `groups`: whose entries it holds, its own group first. `problem`: why it cannot be
    relied on (`not heard of for 12 s`), "": it can. `revision`: what is live there. `silent_s`: None, never heard
    of."""

    name: str
    kind: str
    groups: tuple[str, ...]
    revision: int
    problem: str = ""
    silent_s: float | None = 0.0
    enabled: bool = True

    def lacks(self, revision: int) -> str:
        """What is missing until the revision is live and read back there; "": nothing."""
        if self.problem:
            return f"{self.name}: {self.problem}"
        return (
            "" if self.revision >= revision else f"{self.name}: at revision {self.revision}, not {revision}"
        )

    @property
    def away(self) -> bool:
        """Not heard of for so long that it takes no calls."""
        return self.silent_s is None or self.silent_s > AWAY_S


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so now.

    `calls`: account -> calls up on nodes that will not hold it, of those that drain. `apart`: account -> clusters that
    hold it for other reasons (services). `names_s`: how long old answers of name servers live.
    """

    now: datetime
    nodes: tuple[Node, ...]
    names_s: float
    calls: Mapping[str, int]
    apart: Mapping[str, frozenset[str]]
    quiet_s: float = QUIET_S


class Verb(enum.StrEnum):
    """What is done with an account. The first four publish a revision, in one transaction with the account's row."""

    ADD = "add"  # the nodes of the goal hold it
    POINT = "point"  # row, names and edges say the goal; who talks on the other one is led there
    UNTIE = "untie"  # nobody is led to the other one any more
    REMOVE = "remove"  # the nodes of the other one do not hold it
    ENTER = "enter"  # the next step begins
    NOTE = "note"  # nothing changes but what is said


class Action(NamedTuple):
    """What to do with one account now, and why. `step`: where it is then; `wrong`: it needs somebody; `quiet_at`: since
    when no call of it is seen on the cluster it leaves."""

    account: str
    verb: Verb
    step: Step
    why: str
    wrong: bool = False
    quiet_at: datetime | None = None
    calls: int = 0


class Outcome(NamedTuple):
    """One look at a batch: what to do, its state after it, and why."""

    actions: tuple[Action, ...]
    state: str
    why: str
