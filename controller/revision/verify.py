"""Asking every agent for a full comparison, and waiting for its answer."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from psycopg import Connection

from controller.revision.wait import NodeState, states


class Verified(NamedTuple):
    """States after the comparison; `silent` names nodes whose agent did not answer in time."""

    states: list[NodeState]
    silent: list[str]


def now(connection: Connection[Any], *, deadline_s: float) -> Verified:
    """Every agent compares all it holds with its server. The connection must be in autocommit mode."""
    ends = time.monotonic() + deadline_s
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    asked_at = row[0]
    connection.execute("LISTEN dialplane_node")
    connection.execute("SELECT pg_notify('dialplane_verify', '')")
    while True:
        found = states(connection)
        silent = [state.node for state in found if state.verified_at is None or state.verified_at < asked_at]
        left = ends - time.monotonic()
        if not silent or left <= 0:
            return Verified(found, silent)
        for _ in connection.notifies(timeout=min(left, 1.0), stop_after=1):
            pass
