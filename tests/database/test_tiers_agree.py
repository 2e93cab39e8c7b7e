"""PostgreSQL and `controller/tiers/pick.py` say the same of media nodes: conditions, one after another, and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.tiers.pick import Condition, Node, Report, Target, condition, targets

NAMES = ("m1", "m10", "m2")
# A revision that every node must have, and one that is too new for that.
NEEDED, NEWEST = 50, 60
STEPS = 6


@st.composite
def nodes(draw: st.DrawFn, name: str) -> tuple[Node, list[Report]]:
    """A row, and what its agent reports, often near its limits. Who never reported told nothing."""
    node = Node(
        name,
        draw(st.integers(1, 100)),
        draw(st.sampled_from(["enabled"] * 5 + ["draining", "disabled"])),
        draw(st.none() | st.integers(1, 40) | st.just(100_000)),
        draw(st.none() | st.integers(10, 100)),
    )
    # Percent of a limit: a tenth below it is where what was full is no more.
    parts = st.integers(0, 120) | st.integers(88, 101)
    reports = []
    for _ in range(STEPS):
        calls = draw(st.none() | parts.map(lambda part: (node.call_cap or 20) * part // 100))
        load = draw(st.none() | parts.map(lambda part: (node.load_limit_pct or 80) * part // 100))
        silent_s = draw(st.sampled_from([0.1] * 8 + [1.0, 3.5, 60.0]))
        up = draw(st.sampled_from([True] * 7 + [False]))
        revision = draw(st.sampled_from([NEEDED, NEWEST, NEWEST, NEWEST, NEEDED - 1]))
        reports.append(Report(silent_s, up, revision, calls, load))
    if draw(st.integers(0, 4)) == 0:
        reports[0] = Report(None)
    return node, reports


@pytest.fixture(scope="module")
def rows(new_database: Callable[[], str]) -> Any:
    """A cluster of three media nodes. No trigger runs: each test says itself what was before."""
    with psycopg.connect(new_database(), autocommit=True) as connection:
        connection.execute("INSERT INTO clusters (name) VALUES ('c1')")
        connection.execute(
            "INSERT INTO nodes (name, kind, cluster_id, address) SELECT x.name, 'media', c.id, ('10.0.0.' || n)::inet "
            "FROM clusters AS c, unnest(%s::text[]) WITH ORDINALITY AS x (name, n)",
            (list(NAMES),),
        )
        connection.execute("SET session_replication_role = replica")
        for number, age in ((NEEDED, "1 hour"), (NEWEST, "-1 hour")):
            connection.execute(
                "INSERT INTO control.revisions (id, state, created_at, author, digest, reason) "
                "VALUES (%s, 'configuration', now() - %s::interval, 'test', '', '')",
                (number, age),
            )
        yield connection


def write(rows: psycopg.Connection, node: Node, report: Report, before: Condition | None) -> None:
    """The row, the last report and the condition before it, as they are at this moment."""
    rows.execute(
        "UPDATE nodes SET weight = %s, state = %s, call_cap = %s, load_limit_pct = %s WHERE name = %s",
        (*node[1:], node.name),
    )
    rows.execute("DELETE FROM control.node_state WHERE node = %s", (node.name,))
    if report.silent_s is not None:
        rows.execute(
            "INSERT INTO control.node_state (node, kind, heard_at, up, revision, calls, load_pct) "
            "VALUES (%s, 'media', clock_timestamp() - make_interval(secs => %s), %s, %s, %s, %s)",
            (node.name, *report),
        )
    rows.execute("DELETE FROM control.node_condition WHERE node = %s", (node.name,))
    if before is not None:
        rows.execute(
            "INSERT INTO control.node_condition (node, takes, lost, why, share_tenths) VALUES (%s, %s, %s, %s, %s)",
            (node.name, *before),
        )


def agreed(rows: psycopg.Connection, node: Node, report: Report, before: Condition | None) -> Condition:
    """What both say, and the row of it."""
    write(rows, node, report, before)
    said = rows.execute(
        "SELECT takes, lost, why, share_tenths FROM control.condition_of(%s)", (node.name,)
    ).fetchone()
    found = condition(node, report, NEEDED, before)
    assert said == tuple(found), (node, report, before)
    write(rows, node, report, found)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*map(nodes, NAMES)))
@pytest.mark.thorough
def test_conditions_and_targets_are_the_same(
    rows: psycopg.Connection, world: tuple[tuple[Node, list[Report]], ...]
) -> None:
    before: dict[str, Condition | None] = dict.fromkeys(NAMES)
    for step in range(STEPS):
        known = []
        for node, reports in world:
            found = agreed(rows, node, reports[step], before[node.name])
            before[node.name] = found
            known.append((node, found))
        value = rows.execute("SELECT control.target_value(id) FROM clusters").fetchone()
        assert value is not None
        assert targets(known) == tuple(map(_target, (value[0] or "").split()))


@pytest.mark.parametrize("limit", [100, 7])
@pytest.mark.parametrize("what", ["calls", "load_pct"])
def test_both_keep_what_is_full_until_a_tenth_is_free(
    rows: psycopg.Connection, what: str, limit: int
) -> None:
    node = Node("m1", call_cap=limit) if what == "calls" else Node("m1", load_limit_pct=max(10, limit))
    before = None
    for percent in (80, 100, 99, 91, 90, 89, 99, 120, 92, 85, 100, 0):
        value = max(10, limit) * percent // 100
        told = (value, None) if what == "calls" else (None, value)
        report = Report(0.1, True, NEWEST, *told)
        before = agreed(rows, node, report, before)


def _target(text: str) -> Target:
    name, _, place = text.partition("=")
    return Target(name, int(place.rpartition(",")[2]))
