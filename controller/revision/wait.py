"""Waiting until every node holds a revision, by the nodes' own reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import class_row

# A node not heard of for so long is down as far as we know.
HEARD_LIMIT_S = 3
# One that was down for so long before is not expected back within a wait: an agent that restarts is sooner.
AWAY_S = 10
# A node that a revision does not touch only has to say its number: so long after the others it is not waited for.
UNTOUCHED_S = 1.0

_UNITS = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (120, 60, "min"))


class NodeState(NamedTuple):
    """What a node's agent last reported, beside its row. `heard_at`, `silent_s` are None when it never reported.

    `calls` that are up and `load_pct` of its processors: None, not told. `refuses`: why a media node gets no new calls,
    empty when it gets some, None for an edge.
    """

    node: str
    kind: str
    group: str
    state: str
    revision: int
    verified_revision: int
    verified_at: datetime | None
    drift: int
    drift_detail: str | None
    repaired: int
    last_error: str | None
    pending: int
    heard_at: datetime | None
    silent_s: float | None
    calls: int | None
    load_pct: int | None
    refuses: str | None

    @property
    def down(self) -> bool:
        """Not heard of within HEARD_LIMIT_S."""
        return self.silent_s is None or self.silent_s > HEARD_LIMIT_S

    def holds(self, revision: int) -> bool:
        """The agent lives and read the revision back from its server: applied, nothing pending, no error."""
        return not self.down and self.revision >= revision and self.pending == 0 and not self.last_error

    def sentence(self, revision: int) -> str:
        """What is true of this node, for a progress line. What a node said before it fell silent counts for nothing."""
        if self.silent_s is None:
            return "its agent never reported; it catches up when it starts"
        if self.down:
            return (
                f"not heard of for {duration(self.silent_s)}, then at revision {self.revision}; "
                "it catches up by itself when it is back"
            )
        if self.last_error:
            return f"failed: {self.last_error}"
        if self.holds(revision):
            return f"live and verified at revision {self.revision}"
        return f"at revision {self.revision}, {self.pending} operations pending"


def duration(seconds: float) -> str:
    """For people: `45 s`, `12 min`, `5 h`, `3 days`."""
    for above, unit, name in _UNITS:
        if seconds >= above:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"


_STATES = """
    SELECT n.name AS node, n.kind, coalesce(c.name, g.name) AS "group", n.state,
           coalesce(s.revision, 0) AS revision, coalesce(s.verified_revision, 0) AS verified_revision, s.verified_at,
           coalesce(s.drift, 0) AS drift, s.drift_detail, coalesce(s.repaired, 0) AS repaired, s.last_error,
           coalesce(s.pending, 0) AS pending, s.heard_at,
           extract(epoch FROM clock_timestamp() - s.heard_at)::float8 AS silent_s, s.calls, s.load_pct, d.why AS refuses
      FROM public.nodes n
      LEFT JOIN public.clusters c ON c.id = n.cluster_id
      LEFT JOIN public.device_groups g ON g.id = n.device_group_id
      LEFT JOIN control.node_state s ON s.node = n.name
      LEFT JOIN control.node_condition d ON d.node = n.name
     WHERE n.state <> 'disabled'
     ORDER BY n.kind, n.name"""


def states(connection: Connection[Any]) -> list[NodeState]:
    """Every node that is not disabled, edges first."""
    with connection.cursor(row_factory=class_row(NodeState)) as cursor:
        return cursor.execute(_STATES).fetchall()


def until_live(
    connection: Connection[Any],
    revision: int,
    *,
    deadline_s: float,
    progress: Callable[[list[NodeState]], None] = lambda _: None,
    touches: Callable[[NodeState], bool] = lambda _: True,
) -> list[NodeState]:
    """Wait until every node that the revision touches reports it live, at most `deadline_s`; the last states of all
    nodes either way.

    Not waited for: a node that was not heard of for AWAY_S when the wait began, unless it comes back meanwhile, and one
    that is not touched and down or failed. One that never reported is new, and is waited for. The connection must be in
    autocommit mode.
    """
    ends = time.monotonic() + deadline_s
    away: set[str] | None = None
    others_until: float | None = None
    connection.execute("LISTEN dialplane_node")
    try:
        for now_states in _looks(connection, ends):
            progress(now_states)
            if away is None:
                away = {one.node for one in now_states if (one.silent_s or 0) > AWAY_S}
            missing = [
                one for one in now_states if not one.holds(revision) and not (one.down and one.node in away)
            ]
            if any(touches(one) for one in missing):
                continue
            others_until = others_until or time.monotonic() + UNTOUCHED_S
            if all(one.down or one.last_error for one in missing) or time.monotonic() >= others_until:
                break
    finally:
        connection.execute("UNLISTEN dialplane_node")
    return now_states


def until_empty(
    connection: Connection[Any],
    name: str,
    *,
    deadline_s: float,
    progress: Callable[[NodeState], None] = lambda _: None,
) -> int | None:
    """Wait until a media node that gets no new calls carries none, at most `deadline_s`; how many are left then.

    None: it does not say.

    Two reports in a row must say so: the first may be older than a call that was on its way to the node. The
    connection must be in autocommit mode.
    """
    ends = time.monotonic() + deadline_s
    empty_at: datetime | None = None
    for now_states in _looks(connection, ends):
        one = next((state for state in now_states if state.node == name), None)
        if one is None or one.down or one.calls is None:
            empty_at = None
            continue
        progress(one)
        if one.calls:
            empty_at = None
        elif empty_at is None:
            empty_at = one.heard_at
        elif one.heard_at != empty_at:
            return 0
    return None if one is None or one.down else one.calls


def _looks(connection: Connection[Any], ends: float) -> Iterator[list[NodeState]]:
    """States now, then again at each report or second, until the deadline."""
    while True:
        yield states(connection)
        left = ends - time.monotonic()
        if left <= 0:
            return
        for _ in connection.notifies(timeout=min(left, 1.0), stop_after=1):
            pass
