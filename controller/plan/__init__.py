"""Room 3: the difference between what is wanted and what is published. Pure.

`difference` finds the changes, `safety` what is suspicious about them, `callers` who notices, `show` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.entries import Change, Cursor, digest
from controller.plan.safety import Danger


@dataclass(frozen=True)
class Plan:
    """What would change, and on what it was computed.

    `base` is the newest configuration revision when the plan was made; `cursor` the snapshot of the change
    log it accounts for (None: a rollback accounts for none); `nodes` maps a node's name to (kind, group);
    `held` names accounts whose rows were rolled back and that this plan publishes again.
    """

    base: int
    changes: tuple[Change, ...]
    cursor: Cursor | None
    nodes: dict[str, tuple[str, str]] = field(default_factory=dict)
    dangers: tuple[Danger, ...] = ()
    notes: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    rolls_back: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of base and changes: what was seen is what is applied."""
        return digest(self.changes)

    @property
    def id(self) -> str:
        """First six digits of the digest, for people."""
        return self.digest[:6]

    @property
    def empty(self) -> bool:
        """Nothing would change."""
        return not self.changes

    def count(self, verb: str) -> int:
        """How many changes are `create`, `update` or `delete`."""
        return sum(change.verb == verb for change in self.changes)

    def nodes_of(self, kind: str, scope: str) -> list[str]:
        """Names of the nodes that hold entries of this kind and scope."""
        return sorted(
            name
            for name, (node_kind, group) in self.nodes.items()
            if node_kind == kind and scope in ("*", group)
        )
