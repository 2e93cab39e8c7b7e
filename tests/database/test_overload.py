"""Overload: which accounts' new calls edges are told to refuse, from reports of agents; and the same in Python."""

from __future__ import annotations

import json
import random
from fractions import Fraction

import psycopg
import pytest

from controller.tiers import overload
from tests.database.test_conditions import reports
from tests.database.test_operational import newest

Shed = dict[str, str]


@pytest.fixture
def capped(rows: psycopg.Connection) -> psycopg.Connection:
    """Two media nodes with room for 50 calls each."""
    rows.execute("UPDATE nodes SET call_cap = 50 WHERE kind = 'media'")
    for node in ("media1", "media2"):
        reports(rows, node, calls=0, load_pct=1)
    return rows


def counted(rows: psycopg.Connection, **accounts: int) -> None:
    """Reports of both nodes: the calls of these accounts, half of each on either."""
    half = {name: count // 2 for name, count in accounts.items()}
    for node, counts in (
        ("media1", half),
        ("media2", {name: accounts[name] - half[name] for name in accounts}),
    ):
        reports(rows, node, calls=sum(counts.values()), load_pct=1)
        told = {name: count for name, count in counts.items() if count}
        rows.execute(
            "INSERT INTO control.node_calls (node, accounts) VALUES (%s, %s) "
            "ON CONFLICT (node) DO UPDATE SET accounts = excluded.accounts, at = clock_timestamp()",
            (node, json.dumps(told)),
        )


def shed(rows: psycopg.Connection) -> Shed:
    """The edges' table."""
    return dict(
        rows.execute("SELECT key, value FROM control.entries WHERE tbl = 'shed' ORDER BY key").fetchall()
    )


def test_who_is_above_its_share_is_refused_until_it_is_below(capped: psycopg.Connection) -> None:
    counted(capped, big=69, small=20)
    assert shed(capped) == {}
    counted(capped, big=75, small=20)
    found = shed(capped)
    assert list(found) == ["c1", "c1/big"]
    assert found["c1/big"].endswith(";level=70.0")
    row = capped.execute("SELECT reason FROM control.changes WHERE key = 'c1/big'").fetchone()
    assert row is not None
    assert row[0].startswith("cluster c1 is overloaded: ")
    counted(capped, big=65, small=20)
    assert list(shed(capped)) == ["c1", "c1/big"], "above nine tenths of its share"
    counted(capped, big=62, small=20)
    assert list(shed(capped)) == ["c1"], "the cluster is overloaded until it is below eight tenths"
    counted(capped, big=59, small=20)
    assert shed(capped) == {}
    assert capped.execute("SELECT count(*) FROM control.overloads").fetchone() == (0,)


def test_reports_while_nothing_changes_are_no_revision(capped: psycopg.Connection) -> None:
    counted(capped, big=75, small=20)
    before = newest(capped)["id"]
    for big in (76, 75, 77):
        counted(capped, big=big, small=20)
    assert newest(capped)["id"] == before


def test_what_edges_obey_ends_by_itself_and_is_said_again(capped: psycopg.Connection) -> None:
    counted(capped, big=75, small=20)
    [until] = capped.execute(
        "SELECT substring(value FROM 'until=([0-9]+)')::bigint - extract(epoch FROM clock_timestamp())::bigint "
        "FROM control.entries WHERE key = 'c1/big'"
    ).fetchone() or (0,)
    assert 85 <= until <= 90
    capped.execute("UPDATE control.entries SET value = 'until=1;level=70.0' WHERE tbl = 'shed'")
    counted(capped, big=75, small=20)
    assert "until=1;" not in "".join(shed(capped).values())


def test_agents_that_fall_silent_refuse_nobody(capped: psycopg.Connection) -> None:
    counted(capped, big=75, small=20)
    for node in ("media1", "media2"):
        reports(capped, node, calls=48, ago_s=5)
    capped.execute("SELECT control.look_at_overloads()")
    assert shed(capped) == {}


def test_without_caps_nobody_counts(capped: psycopg.Connection) -> None:
    def wanted() -> bool:
        row = capped.execute("SELECT control.counts_accounts('media1')").fetchone()
        return bool(row and row[0])

    reports(capped, "media1", calls=36)
    reports(capped, "media2", calls=38)
    assert not wanted()
    reports(capped, "media2", calls=39)
    assert wanted()
    capped.execute("UPDATE nodes SET call_cap = NULL WHERE name = 'media2'")
    assert not wanted(), "one node has room for all"
    counted(capped, big=300, small=20)
    assert shed(capped) == {}


def test_one_that_is_alone_is_not_refused(capped: psycopg.Connection) -> None:
    counted(capped, big=98)
    assert list(shed(capped)) == ["c1"]


def test_sql_and_python_share_alike(rows: psycopg.Connection) -> None:
    chance = random.Random(7)
    for _ in range(300):
        calls = [chance.randint(1, chance.choice((3, 50))) for _ in range(chance.randint(1, 12))]
        places = Fraction(chance.randint(1, 400), 2)
        row = rows.execute(
            "SELECT control.fair_level(%s::bigint[], %s::numeric)", (calls, float(places))
        ).fetchone()
        assert row is not None
        expected = overload.level(calls, places)
        assert (row[0] is None) == (expected is None), (calls, places)
        assert expected is None or abs(float(row[0]) - float(expected)) < 1e-9


def test_sql_and_python_refuse_alike(capped: psycopg.Connection) -> None:
    chance = random.Random(11)
    before: overload.Overload[str] | None = None
    overloaded = 0
    accounts = {name: chance.randint(2, 30) for name in ("a", "b", "c", "d", "e")}
    for _ in range(80):
        accounts = {name: max(1, count + chance.randint(-6, 6)) for name, count in accounts.items()}
        counted(capped, **accounts)
        before = overload.look(accounts, Fraction(100), before)
        expected = set() if before is None else {"c1", *(f"c1/{name}" for name in before.refused)}
        assert set(shed(capped)) == expected, accounts
        overloaded += before is not None and bool(before.refused)
    assert overloaded > 10


def test_the_agents_role_may_tell(capped: psycopg.Connection) -> None:
    capped.execute("SET LOCAL ROLE dialplane_agent")
    counted(capped, big=75, small=20)
    capped.execute("DELETE FROM control.node_calls WHERE node = 'media1'")
    capped.execute("RESET ROLE")
    assert "c1" in shed(capped)
