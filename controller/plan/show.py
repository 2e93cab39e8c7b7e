"""A plan for people and for programs. Secrets are left out here, so nothing prints a plan another way."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from controller.catalog import TABLES
from controller.entries import Change
from controller.plan import Plan
from controller.plan.callers import notices
from controller.plan.reasons import redact

_SIGNS = {"create": "+", "update": "~", "delete": "-"}
# Changes listed per account, and accounts listed, before the rest is counted.
SHOWN_CHANGES = 12
SHOWN_ACCOUNTS = 20


def sentence(plan: Plan) -> str:
    """`1 add, 1 change, 0 remove; worst: 1 extension, calls kept; safe`."""
    if plan.empty:
        return "nothing to do: what is published is what the rows say"
    safe = f"REFUSED unless allowed: {len(plan.dangers)} dangers" if plan.dangers else "safe"
    return (
        f"{plan.summary.total('create'):,} add, {plan.summary.total('update'):,} change, "
        f"{plan.summary.total('delete'):,} remove; worst: {_worst(plan)}; {safe}"
    )


def text(plan: Plan) -> Iterator[str]:
    """The plan as aligned lines."""
    what = f"rollback to revision {plan.rolls_back}" if plan.rolls_back is not None else "plan"
    yield f"{what} {plan.id}  on revision {plan.base}  {len(plan.nodes)} nodes"
    groups = _groups(plan)
    for account, changes in groups[:SHOWN_ACCOUNTS]:
        verbs = {change.verb for change in changes}
        sign = _SIGNS[verbs.pop()] if len(verbs) == 1 else "~"
        title = f"account {account}" if account else "shared by all accounts"
        yield f"  {sign} {title:<38}  {'; '.join(notices(changes)) or 'no caller notices'}"
        yield from _lines(plan, changes)
    if len(groups) > SHOWN_ACCOUNTS:
        rest = sum(len(changes) for _, changes in groups[SHOWN_ACCOUNTS:])
        yield f"  ... {len(groups) - SHOWN_ACCOUNTS:,} more accounts with {rest:,} changes"
    if plan.staged:
        counts = ", ".join(
            f"{count:,} {kind} {table} {verb}s" for (kind, table, verb), count in sorted(_counts(plan))
        )
        yield f"  in all {plan.summary.total():,} changes, the first {len(plan.changes):,} of them above: {counts}"
    for account in plan.held:
        name = f"account {account}" if account else "shared rows"
        yield f"  ! {name}: was rolled back; the rows still want this"
    for note in plan.notes:
        yield f"  ! {note}"
    for danger in plan.dangers:
        yield f"  X {danger.sentence}"
    yield sentence(plan)


def _lines(plan: Plan, changes: list[Change]) -> Iterator[str]:
    shown = changes[:SHOWN_CHANGES]
    rows = [
        (
            " ".join(plan.nodes_of(change.address.kind, change.address.scope))
            or f"no {change.address.kind} node",
            change.address.table,
            f"{_SIGNS[change.verb]} {change.address.key}",
            change.reason,
            TABLES[change.address.kind, change.address.table].cost,
        )
        for change in shown
    ]
    widths = [min(max(len(row[column]) for row in rows), 48) for column in range(4)]
    for row in rows:
        cells = "  ".join(cell[:76].ljust(width) for cell, width in zip(row[:4], widths, strict=True))
        yield f"      {cells}  {row[4]}"
    if len(changes) > len(shown):
        yield f"      ... {len(changes) - len(shown):,} more: {_by_table(changes[len(shown) :])}"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, every change in it."""
    return {
        "id": plan.id,
        "digest": plan.digest,
        "base": plan.base,
        "rolls_back": plan.rolls_back,
        "nodes": sorted(plan.nodes),
        "complete": plan.staged is None,
        "creates": plan.summary.total("create"),
        "updates": plan.summary.total("update"),
        "deletes": plan.summary.total("delete"),
        "held": list(plan.held),
        "notes": list(plan.notes),
        "dangers": [danger.sentence for danger in plan.dangers],
        "accounts": [{"account": account, "callers": notices(changes)} for account, changes in _groups(plan)],
        "changes": [
            {
                "kind": change.address.kind,
                "scope": change.address.scope,
                "nodes": plan.nodes_of(change.address.kind, change.address.scope),
                "table": change.address.table,
                "key": change.address.key,
                "account": change.account,
                "verb": change.verb,
                "old": redact(change.address.table, change.old),
                "new": redact(change.address.table, change.new),
                "reason": change.reason,
                "operation": TABLES[change.address.kind, change.address.table].operation,
            }
            for change in plan.changes
        ],
    }


def _counts(plan: Plan) -> list[tuple[tuple[str, str, str], int]]:
    return list(plan.summary.counts.items())


def _groups(plan: Plan) -> list[tuple[str | None, list[Change]]]:
    ordered = sorted(plan.changes, key=lambda change: (change.account or "", change.address))
    return [
        (account or None, list(changes))
        for account, changes in itertools.groupby(ordered, key=lambda change: change.account or "")
    ]


def _by_table(changes: Iterable[Change]) -> str:
    counts: dict[str, int] = {}
    for change in changes:
        name = f"{change.address.kind} {change.address.table}"
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


# From cheap to dear: what the worst change of a plan costs.
_DEARNESS = (
    "1 row, calls kept",
    "1 item, calls kept",
    "1 extension, calls kept",
    "1 registration sent",
    "1 reload, calls kept",
)


def _worst(plan: Plan) -> str:
    costs = {TABLES[kind, table].cost for kind, table, _ in plan.summary.counts}
    return max(costs, key=_DEARNESS.index)
