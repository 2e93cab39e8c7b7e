"""Accounts on their way, nodes and facts for tests: acme from c1 to c2, two nodes each, two edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.moves.model import Action, Batch, Facts, Move, Node, Outcome, Step

BEGAN = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)
GROUPS = {
    "media1": ("c1",), "media2": ("c1",), "media3": ("c2",), "media4": ("c2",), "edge1": ("g1",), "edge2": ("g1",),
}  # fmt: skip


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def move(step: Step = Step.PLANNED, account: str = "acme", **changes: Any) -> Move:
    """An account as it is when a step begins, in a batch that does not go back."""
    as_usual: dict[Step, dict[str, Any]] = {
        Step.PLANNED: {},
        Step.ADDING: {"holds_target": True, "revision": 5},
        Step.MOVING: {"holds_target": True, "at_target": True, "tied": True, "revision": 6},
        Step.WAITING: {"holds_target": True, "at_target": True, "tied": True},
        Step.DRAINING: {"holds_target": True, "at_target": True, "tied": True},
        Step.REMOVING: {"holds_target": True, "at_target": True, "revision": 7},
        Step.DONE: {"holds_target": True, "at_target": True, "holds_source": False},
        Step.ROLLED_BACK: {},
    }
    moved = {} if step in (Step.PLANNED, Step.ADDING) else {"moved_at": BEGAN}
    return Move(account, "c1", "c2", False, step, BEGAN, **(moved | as_usual[step] | changes))


def batch(*moves: Move, **changes: Any) -> Batch:
    return Batch(1, moves or (move(),), **changes)


def nodes(revision: int = 10, **others: Any) -> tuple[Node, ...]:
    """All nodes at that revision; `media3=4`: at another, `media3="not heard of"`: not to be relied on."""
    found = []
    for name, groups in GROUPS.items():
        node = Node(name, "edge" if name.startswith("edge") else "media", groups, revision)
        said = others.get(name)
        if isinstance(said, int):
            node = node._replace(revision=said)
        elif said is not None:
            node = node._replace(problem=str(said), silent_s=12.0)
        found.append(node)
    return tuple(found)


def facts(
    seconds: float = 0,
    *,
    calls: Mapping[str, int] | None = None,
    having: tuple[Node, ...] | None = None,
    apart: Mapping[str, frozenset[str]] | None = None,
) -> Facts:
    return Facts(at(seconds), having or nodes(), 15.0, calls or {}, apart or {})


def only(outcome: Outcome) -> Action:
    (action,) = outcome.actions
    return action


def quiet(one: Move, seconds: float) -> Move:
    """No call was seen since then."""
    return replace(one, quiet_at=at(seconds))
