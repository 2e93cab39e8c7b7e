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


class NodeState(NamedTuple):
    """What a node's agent last reported, beside its row. `silent_s` is None when it never reported."""

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
    silent_s: float | None

    @property
    def down(self) -> bool:
        """Not heard of within HEARD_LIMIT_S."""
        return self.silent_s is None or self.silent_s > HEARD_LIMIT_S

    def holds(self, revision: int) -> bool:
        """The agent read the revision back from its server: applied, nothing pending, no error."""
        return self.revision >= revision and self.pending == 0 and not self.last_error

    def sentence(self, revision: int) -> str:
        """What is true of this node, for a progress line."""
        if self.last_error:
            return f"failed: {self.last_error}"
        if self.holds(revision):
            return f"live and verified at revision {self.revision}"
        if self.silent_s is None:
            return "its agent never reported; it catches up when it starts"
        if self.down:
            return f"not heard of for {self.silent_s:.0f} s; it catches up by itself when it is back"
        return f"at revision {self.revision}, {self.pending} operations pending"


_STATES = """
    SELECT n.name AS node, n.kind, coalesce(c.name, g.name) AS "group", n.state,
           coalesce(s.revision, 0) AS revision, coalesce(s.verified_revision, 0) AS verified_revision, s.verified_at,
           coalesce(s.drift, 0) AS drift, s.drift_detail, coalesce(s.repaired, 0) AS repaired, s.last_error,
           coalesce(s.pending, 0) AS pending, extract(epoch FROM clock_timestamp() - s.heard_at)::float8 AS silent_s
      FROM public.nodes n
      LEFT JOIN public.clusters c ON c.id = n.cluster_id
      LEFT JOIN public.device_groups g ON g.id = n.device_group_id
      LEFT JOIN control.node_state s ON s.node = n.name
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
    of: Callable[[list[NodeState]], list[NodeState]] = lambda states: states,
) -> list[NodeState]:
    """Wait until every node, or those `of` chooses, reports the revision live, at most `deadline_s`; the last states
    of all either way.

    The connection must be in autocommit mode. A node that failed is not waited for longer than the others need.
    """
    ends = time.monotonic() + deadline_s
    connection.execute("LISTEN dialplane_node")
    try:
        for now_states in _looks(connection, ends):
            progress(now_states)
            if all(state.holds(revision) for state in of(now_states)):
                break
    finally:
        connection.execute("UNLISTEN dialplane_node")
    return now_states


def _looks(connection: Connection[Any], ends: float) -> Iterator[list[NodeState]]:
    """States now, then again at each report or second, until the deadline."""
    while True:
        yield states(connection)
        left = ends - time.monotonic()
        if left <= 0:
            return
        for _ in connection.notifies(timeout=min(left, 1.0), stop_after=1):
            pass
