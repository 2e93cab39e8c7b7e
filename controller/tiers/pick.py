"""Which media node gets a call, and why each other does not.

The same rules as `control.condition_of` and `control.target_value` (migration 0310, which publish targets) and
`kamailio/media.cfg` (which chooses among them). A node's condition is a function of its row, its agent's
last report and its condition before:

| condition | from | until |
|---|---|---|
| out | its row is not `enabled` | the row is |
| lost | never reported, silent for over 3 s, its server does not answer, or behind for 10 s | a report says otherwise |
| full | calls reach `call_cap` | a tenth of the cap is free |
| busy | load reaches `load_limit_pct` | load is a tenth of the limit lower |
| takes | none of these | one of these |

Targets of a cluster are the nodes that take calls; where all enabled ones are lost these, for it may be that only
reports do not arrive. A call goes to a target of its cluster by weight, else to one of the overflow cluster, else to
one that failed a moment ago, else it is refused with Retry-After.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

SILENT_S = 3.0
# In seconds, what a refused caller's phone or carrier is told to wait.
RETRY_AFTER_S = 30
_NEWS_TENTHS = 2


class Node(NamedTuple):
    """A media node as its row says. `call_cap` in calls, `load_limit_pct` in percent of processors; None: no limit."""

    name: str
    weight: int = 10
    state: str = "enabled"
    call_cap: int | None = None
    load_limit_pct: int | None = None


class Report(NamedTuple):
    """What its agent said last, `silent_s` seconds ago (None: it never did). `calls`, `load_pct`: None if not told."""

    silent_s: float | None
    up: bool = True
    revision: int | None = None
    calls: int | None = None
    load_pct: int | None = None


class Condition(NamedTuple):
    """What follows for new calls. `why` is empty when it takes them; its weight counts times `share_tenths` / 10."""

    takes: bool
    lost: bool
    why: str
    share_tenths: int


class Target(NamedTuple):
    """A node that edges send calls to."""

    name: str
    weight: int


class Cluster(NamedTuple):
    """A cluster with its media nodes and their conditions."""

    name: str
    nodes: tuple[tuple[Node, Condition], ...]


class Refused(NamedTuple):
    """A node that does not get the call, and why."""

    cluster: str
    node: str
    why: str


class Choice(NamedTuple):
    """Where a call goes. `node` None: it is refused with 503 and Retry-After."""

    node: str | None
    cluster: str | None
    why: str
    others: tuple[Refused, ...]
    retry_after_s: int | None = None


def condition(node: Node, report: Report, needed: int | None, before: Condition | None) -> Condition:
    """The condition of a node; `needed` is the newest revision that is 10 s old (None: there is none)."""
    _, _, state, cap, limit = node
    silent_s, up, revision, told_calls, told_load = report
    calls, load = told_calls or 0, told_load or 0
    was = before.why if before is not None else ""
    lost = True
    if state != "enabled":
        why, lost = state, False
    elif silent_s is None:
        why = "its agent never reported"
    elif silent_s > SILENT_S:
        why = "not heard of"
    elif not up:
        why = "its server does not answer"
    elif needed is not None and revision is not None and revision < needed:
        why = f"behind: at revision {revision}, not {needed}"
    else:
        lost = False
        # What was full stays so until a tenth is free again.
        if cap is not None and 10 * calls >= cap * (9 if was.startswith("full: ") else 10):
            why = f"full: {cap} of {cap} calls"
        elif limit is not None and 10 * load >= limit * (9 if was.startswith("busy: ") else 10):
            why = f"busy: load over {limit} %"
        else:
            why = ""
    tenths = _share_tenths(calls, cap, load, limit)
    # A share changes by that much or not at all: else each call that comes and goes would be news.
    if before is not None and abs(tenths - before.share_tenths) < _NEWS_TENTHS:
        tenths = before.share_tenths
    found = (not why, lost, why, tenths)
    return before if before is not None and before == found else Condition(*found)


def _share_tenths(calls: int, cap: int | None, load: int, limit: int | None) -> int:
    """Tenths of cap and load limit that are free, rounded up: 1 to 10. In whole numbers, as exact as SQL's numeric."""
    free = 10
    if cap is not None:
        free = min(free, -(-10 * (cap - calls) // cap))
    if limit is not None:
        free = min(free, -(-10 * (limit - load) // limit))
    return max(1, free)


def targets(nodes: Iterable[tuple[Node, Condition]]) -> tuple[Target, ...]:
    """The targets of a cluster, by name: nodes that take calls; all enabled ones when all are lost."""
    listed = sorted((one for one in nodes if one[0].state == "enabled"), key=lambda one: one[0].name.encode())
    all_lost = all(now.lost for _, now in listed)
    taking = [one for one in listed if one[1].takes or all_lost]
    # Half a unit goes up, as in PostgreSQL's round().
    return tuple(
        Target(node.name, max(1, (node.weight * now.share_tenths + 5) // 10)) for node, now in taking
    )


def choose(
    offered: Iterable[Target],
    draw: Callable[[int], int],
    *,
    passed: Collection[str] = (),
    talking: Collection[str] = (),
) -> str | None:
    """One of the targets, as `route[PICK]` chooses; None: none is left.

    Args:
        offered: The targets.
        draw: A random number from 0 to below its argument.
        passed: Nodes that are passed over: they had this call already, or failed at this edge in the last 10 s.
        talking: Nodes where the calling device is in a call: only there can the two be joined, so they go first.
    """
    found, total = None, 0
    for name, weight in offered:
        if name in passed:
            continue
        if name in talking:
            return name
        total += weight
        # Each replaces the one before it with probability weight / sum so far.
        if found is None or draw(total) < weight:
            found = name
    return found


def pick(
    cluster: Cluster,
    overflow: Cluster | None,
    draw: Callable[[int], int],
    *,
    tried: Collection[str] = (),
    down: Collection[str] = (),
    talking: Collection[str] = (),
) -> Choice:
    """Where one call of an account of `cluster` goes, with a sentence for the choice and for each other candidate.

    Args:
        cluster: The account's.
        overflow: The one that takes over; None: there is none.
        draw: A random number from 0 to below its argument.
        tried: Nodes that had this call already; not again.
        down: Nodes that failed at this edge in the last 10 s; taken when nobody else is left in both clusters.
        talking: Nodes where the calling device is in a call.
    """
    passed = {*tried, *down}
    roles = [(cluster, "its cluster")] + ([(overflow, "its overflow cluster")] if overflow else [])
    offers = [targets(one.nodes) for one, _ in roles]
    for (one, role), offered in zip(roles, offers, strict=True):
        found = choose(offered, draw, passed=passed, talking=talking)
        if found is not None:
            return _chosen(roles, offers, found, _why(one, role, offered, found, talking), tried, down)
    for (one, role), offered in zip(roles, offers, strict=True):
        left = [target.name for target in offered if target.name not in tried]
        if left:
            why = f"{one.name} is {role}; it failed a moment ago, but no other is left"
            return _chosen(roles, offers, left[-1], why, tried, down)
    why = "no media node is left in its cluster" + (
        ", which has no overflow" if overflow is None else " and its overflow"
    )
    return Choice(None, None, why, _refusals(roles, offers, None, tried, down), RETRY_AFTER_S)


_Roles = list[tuple[Cluster, str]]
_Offers = list[tuple[Target, ...]]


def _chosen(
    roles: _Roles, offers: _Offers, found: str, why: str, tried: Collection[str], down: Collection[str]
) -> Choice:
    cluster = next(one.name for one, _ in roles if any(node.name == found for node, _ in one.nodes))
    return Choice(found, cluster, why, _refusals(roles, offers, found, tried, down))


def _why(
    cluster: Cluster, role: str, offered: tuple[Target, ...], found: str, talking: Collection[str]
) -> str:
    state = next(now for node, now in cluster.nodes if node.name == found)
    if found in talking:
        return f"{cluster.name} is {role}; the calling device is in a call there"
    if not state.takes:
        return f"{cluster.name} is {role}; no node there takes calls, this one may only be lost: {state.why}"
    weight = next(one.weight for one in offered if one.name == found)
    return f"{cluster.name} is {role}; drawn with weight {weight} of {sum(one.weight for one in offered)}"


def _refusals(
    roles: _Roles, offers: _Offers, found: str | None, tried: Collection[str], down: Collection[str]
) -> tuple[Refused, ...]:
    said = []
    reached = True
    for (cluster, role), offered in zip(roles, offers, strict=True):
        weights = dict(offered)
        for node, now in cluster.nodes:
            if node.name == found:
                continue
            if node.name not in weights:
                why = now.why
            elif node.name in tried:
                why = "had this call already"
            elif node.name in down:
                why = "failed at this edge a moment ago"
            elif not reached:
                why = f"not needed: {cluster.name} is {role}"
            else:
                why = f"not drawn: weight {weights[node.name]} of {sum(weights.values())}"
            said.append(Refused(cluster.name, node.name, why))
        reached = reached and all(node.name != found for node, _ in cluster.nodes)
    return tuple(said)
