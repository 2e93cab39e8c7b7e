"""What happens in a simulation, and when: failures, swings of load, and the rebalancing.

| kind | what it is | `count` |
|---|---|---|
| `node_crash` | the server of a media node is gone: connections are refused, its agent says so | media nodes |
| `node_freeze` | a media node with its agent stands still: nothing is refused, nothing answers | media nodes |
| `edge_crash` | an edge is gone; its phones go to the other edge of their device group | edges |
| `cluster_loss` | a whole cluster is gone with its network: nothing is refused, nothing answers | clusters |
| `reports_lost` | agents cannot reach PostgreSQL, nodes carry calls as ever | media nodes |
| `control_away` | PostgreSQL, controllers and name servers are away: targets stay as they are | (none) |
| `load_swing` | accounts of a cluster call `factor` times as much | clusters |
| `overload` | the same, and those of the cluster that takes over as well | clusters |
| `rebalance` | moves from the load measured so far, in batches of `for_s` seconds | most accounts to move |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from controller.errors import BadRows

KINDS = (
    "node_crash", "node_freeze", "edge_crash", "cluster_loss", "reports_lost", "control_away", "load_swing",
    "overload", "rebalance",
)  # fmt: skip
_FIELDS = {"at", "kind", "count", "for_s", "factor"}


@dataclass(frozen=True, slots=True)
class Event:
    """One of the table above, `at_s` seconds after the start, for `for_s` seconds."""

    at_s: float
    kind: str
    count: int = 1
    for_s: float = 600.0
    factor: float = 1.0


def default(hours: float, nodes: int, edges: int) -> tuple[Event, ...]:
    """One of each in a run of that length: a hundredth of the nodes, the rebalancing in the middle."""
    few, some_edges = max(1, nodes // 100), max(1, edges // 100)

    def at(part: float) -> float:
        return round(hours * 3600 * part / 60) * 60.0

    return (
        Event(at(0.08), "control_away", for_s=900),
        Event(at(0.16), "reports_lost", count=max(1, nodes // 10), for_s=600),
        Event(at(0.33), "node_crash", count=few),
        Event(at(0.38), "node_freeze", count=few),
        Event(at(0.50), "rebalance", count=1000, for_s=60),
        Event(at(0.58), "edge_crash", count=some_edges),
        Event(at(0.60), "overload", count=1, for_s=900, factor=2.0),
        Event(at(0.63), "cluster_loss", count=1),
        Event(at(0.68), "load_swing", count=max(1, nodes // 200), for_s=1200, factor=2.0),
        Event(at(0.76), "node_crash", count=5 * few),
    )


def read(data: object) -> tuple[Event, ...]:
    """Events from a YAML list of mappings, by time.

    Raises:
        BadRows: names every item that cannot be used.
    """
    if not isinstance(data, list):
        raise BadRows(["events: write a list, each item with at, kind and what the kind needs"])
    problems: list[str] = []
    events = [_event(f"item {number}", item, problems.append) for number, item in enumerate(data, 1)]
    if problems:
        raise BadRows(problems)
    return tuple(sorted((one for one in events if one), key=lambda one: one.at_s))


def _event(where: str, item: object, problem: Callable[[str], None]) -> Event | None:
    if not isinstance(item, dict):
        problem(f"{where}: write a mapping, for example {{at: '09:00', kind: node_crash, count: 10}}")
        return None
    for name in sorted(set(map(str, item)) - _FIELDS):
        problem(f"{where}: {name}: no such field; there are {', '.join(sorted(_FIELDS))}")
    if item.get("kind") not in KINDS:
        problem(f"{where}: kind: {item.get('kind')}: choose {', '.join(KINDS)}")
    at_s = _seconds(item.get("at"))
    if at_s is None:
        problem(
            f"{where}: at: {item.get('at')}: write hours and minutes after the start in quotes, as '09:30'"
        )
    numbers = {"count": 1.0, "for_s": 600.0, "factor": 1.0}
    for name, least in (("count", 1), ("for_s", 1), ("factor", 0)):
        value = item.get(name, numbers[name])
        if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
            problem(f"{where}: {name}: {value}: write a number from {least}")
        else:
            numbers[name] = float(value)
    kind = str(item.get("kind"))
    return Event(at_s or 0.0, kind, int(numbers["count"]), numbers["for_s"], numbers["factor"])


def _seconds(text: object) -> float | None:
    match = re.fullmatch(r"(\d{1,3}):([0-5]\d)", text) if isinstance(text, str) else None
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0 if match else None


def many(number: int, what: str) -> str:
    """So many of something, in words."""
    plural = {"batch": "batches"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"
