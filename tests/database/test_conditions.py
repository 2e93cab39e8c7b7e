"""Which media nodes take new calls: what rows say, what agents report, and what nobody reports any more."""

from __future__ import annotations

import psycopg
import pytest

from tests.database.test_operational import BOTH, newest, target

ONE, TWO = "media1=10.213.0.21:5060", "media2=10.213.0.22:5060"


def reports(rows: psycopg.Connection, node: str, **said: object) -> None:
    """A report of an agent, now, or so long ago (`ago_s`) as if it had come then."""
    ago_s = said.pop("ago_s", 0)
    revision = said.setdefault("revision", newest(rows)["id"])
    assert revision is not None
    columns = ["node", "kind", "heard_at", *said]
    marks = ", ".join(["%s"] * len(said))
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    rows.execute(
        f"INSERT INTO control.node_state ({', '.join(columns)}) VALUES (%s, 'media', "
        f"clock_timestamp() - make_interval(secs => %s), {marks}) ON CONFLICT (node) DO UPDATE SET {updates}".encode(),
        (node, ago_s, *said.values()),
    )


def why(rows: psycopg.Connection, node: str) -> str:
    """Why it takes no calls; empty: it does."""
    row = rows.execute("SELECT takes, why FROM control.node_condition WHERE node = %s", (node,)).fetchone()
    assert row is not None
    assert row[0] == (row[1] == "")
    return str(row[1])


@pytest.fixture
def both(rows: psycopg.Connection) -> psycopg.Connection:
    """Two media nodes that take calls."""
    for node in ("media1", "media2"):
        reports(rows, node, calls=0, load_pct=1)
    assert (why(rows, "media1"), why(rows, "media2")) == ("", "")
    assert target(rows) == BOTH
    return rows


def test_before_any_report_all_enabled_nodes_are_tried(rows: psycopg.Connection) -> None:
    assert why(rows, "media1") == "its agent never reported"
    assert target(rows) == BOTH
    reports(rows, "media1")
    assert target(rows) == f"{ONE},10"


def test_a_silent_node_gets_no_calls_unless_all_are_silent(both: psycopg.Connection) -> None:
    reports(both, "media1", ago_s=5)
    both.execute("SELECT control.look_at_nodes()")
    assert why(both, "media1") == "not heard of"
    assert target(both) == f"{TWO},10"
    reports(both, "media2", ago_s=5)
    both.execute("SELECT control.look_at_nodes()")
    assert target(both) == BOTH
    reports(both, "media1")
    assert target(both) == f"{ONE},10"
    reports(both, "media2")
    assert target(both) == BOTH


def test_a_report_alone_is_no_revision(both: psycopg.Connection) -> None:
    before = newest(both)["id"]
    for calls in (1, 2, 3):
        reports(both, "media1", calls=calls, load_pct=calls * 20)
    both.execute("SELECT control.look_at_nodes()")
    assert newest(both)["id"] == before


def test_a_server_that_does_not_answer(both: psycopg.Connection) -> None:
    reports(both, "media1", up=False)
    assert why(both, "media1") == "its server does not answer"
    assert target(both) == f"{TWO},10"


@pytest.mark.parametrize(
    ("column", "said", "limit", "below", "word"),
    [
        ("call_cap", "calls", 20, 18, "full: 20 of 20 calls"),
        ("load_limit_pct", "load_pct", 80, 72, "busy: load over 80 %"),
    ],
)  # fmt: skip
def test_what_is_full_stays_so_until_a_tenth_is_free(
    both: psycopg.Connection, column: str, said: str, limit: int, below: int, word: str
) -> None:
    both.execute(f"UPDATE nodes SET {column} = %s WHERE name = 'media1'".encode(), (limit,))
    reports(both, "media1", **{said: limit - 1})
    assert why(both, "media1") == ""
    reports(both, "media1", **{said: limit})
    assert why(both, "media1") == word
    assert target(both) == f"{TWO},10"
    reports(both, "media1", **{said: below})
    assert why(both, "media1") == word
    reports(both, "media1", **{said: below - 1})
    assert why(both, "media1") == ""


def test_weight_follows_what_is_free_but_not_every_call(both: psycopg.Connection) -> None:
    both.execute("UPDATE nodes SET call_cap = 10 WHERE name = 'media1'")
    weights = []
    for calls in (1, 2, 3, 4, 9, 8, 7, 0):
        reports(both, "media1", calls=calls)
        weights.append(str(target(both)).split()[0].rpartition(",")[2])
    assert weights == ["10", "8", "8", "6", "1", "1", "3", "10"]


def test_all_full_is_nobody_and_a_drained_node_is_never_tried(both: psycopg.Connection) -> None:
    both.execute("UPDATE nodes SET call_cap = 1 WHERE kind = 'media'")
    reports(both, "media1", calls=1)
    reports(both, "media2", calls=1)
    assert target(both) is None
    reports(both, "media2", calls=1, ago_s=5)
    both.execute("SELECT control.look_at_nodes()")
    assert target(both) is None, "one is full, the other lost: the overflow takes over"
    both.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    reports(both, "media2", calls=1, ago_s=5)
    both.execute("SELECT control.look_at_nodes()")
    assert why(both, "media1") == "draining"
    assert target(both) == f"{TWO},1"
    # No report makes an admin's word undone.
    reports(both, "media1", calls=0)
    assert why(both, "media1") == "draining"
    assert target(both) == f"{TWO},1"


def test_a_node_behind_gets_no_calls(both: psycopg.Connection) -> None:
    needed = newest(both)["id"]
    reports(both, "media1", revision=needed - 1, calls=1)
    assert why(both, "media1") == ""
    # Ten seconds later.
    both.execute("UPDATE control.revisions SET created_at = created_at - interval '11 s'")
    both.execute("SELECT control.look_at_nodes()")
    assert why(both, "media1") == f"behind: at revision {needed - 1}, not {needed}"
    assert target(both) == f"{TWO},10"
    reports(both, "media1", revision=needed, calls=2)
    assert why(both, "media1") == ""
