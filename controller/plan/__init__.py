"""Room 3: the difference between what is wanted and what is published. Pure.

`difference` finds the changes, `summary` adds them up, `safety` says what is suspicious about them, `callers` who
notices, `show` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.entries import Change, Cursor
from controller.plan.safety import Danger
from controller.plan.summary import Summary


@dataclass(frozen=True)
class Plan:
    """What would change, and on what it was computed.

    `base` is the newest configuration revision when the plan was made; `staged` the key under which all of its changes
    lie in control.staged, None when `summary.kept` has them all; `cursor` the part of the change log it accounts for
    (None: a rollback accounts for none); `nodes` maps a node's name to (kind, group); `held` names accounts whose rows
    were rolled back and that this plan publishes again.
    """

    base: int
    summary: Summary
    cursor: Cursor | None
    staged: str | None = None
    nodes: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    dangers: tuple[Danger, ...] = ()
    notes: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    rolls_back: int | None = None

    @property
    def changes(self) -> list[Change]:
        """The changes, or the first of them when the plan is big (`staged`)."""
        return self.summary.kept

    @property
    def digest(self) -> str:
        """What was seen is what is applied: 64 hex digits over all changes."""
        return self.summary.digest

    @property
    def id(self) -> str:
        """First six digits of the digest, for people."""
        return self.digest[:6]

    @property
    def empty(self) -> bool:
        """Nothing would change."""
        return self.summary.total() == 0

    def nodes_of(self, kind: str, scope: str) -> list[str]:
        """Names of the nodes that hold entries of this kind and scope."""
        return sorted(
            name
            for name, (node_kind, groups) in self.nodes.items()
            if node_kind == kind and (scope == "*" or scope in groups)
        )

    @property
    def touched(self) -> frozenset[str]:
        """Names of the nodes on which something changes."""
        return frozenset(name for scope in self.summary.scopes for name in self.nodes_of(*scope))
