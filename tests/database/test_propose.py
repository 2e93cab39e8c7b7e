"""account propose: from records of calls to the commands that move, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.cli import main

Run = Callable[..., Result]

# c1 has two accounts more than its part; c3 has no enabled node.
ROWS = """
INSERT INTO clusters (name) VALUES ('c1'), ('c2'), ('c3');
INSERT INTO nodes (name, kind, cluster_id, address, state)
SELECT 'media' || n, 'media', (SELECT id FROM clusters WHERE name = 'c' || n), ('10.0.0.' || n)::inet,
       CASE n WHEN 3 THEN 'draining' ELSE 'enabled' END
  FROM generate_series(1, 3) AS n;
INSERT INTO accounts (name, display_name, cluster_id, country)
SELECT name, name, (SELECT id FROM clusters WHERE clusters.name = 'c1'), 'DE'
  FROM unnest(ARRAY['acme', 'globex', 'initech', 'umbrella']) AS name;
"""
# Calls of an hour each, at the same time of the last two days; and what does not count.
CALLS = """
INSERT INTO control.call_records (call_id, account, started_at, duration_ms, media_node)
SELECT gen_random_uuid()::text, c.account,
       now() - make_interval(days => d, mins => 1), 3600000, 'media1'
  FROM (VALUES ('acme', 30), ('globex', 20), ('initech', 10)) AS c (account, calls),
       generate_series(1, c.calls), generate_series(0, 1) AS d;
INSERT INTO control.call_records (call_id, account, started_at, duration_ms, media_node) VALUES
    ('straight', 'umbrella', now() - interval '1 min', 9e9, NULL),
    ('long ago', 'umbrella', now() - interval '40 days', 9e9, 'media1'),
    ('of nobody', 'gone', now() - interval '1 min', 3600000, 'media1');
"""


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ROWS.encode())
    return url


@pytest.fixture
def run(url: str) -> Run:
    def call(*words: str) -> Result:
        return CliRunner().invoke(main, ["--database", url, "account", "propose", *words])

    return call


def where(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "SELECT a.name, c.name FROM accounts a JOIN clusters c ON c.id = a.cluster_id"
            ).fetchall()
        )


def test_the_proposal_is_measured_explained_and_changes_nothing(url: str, run: Run) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CALLS.encode())
    done = run("--days", "2", "--target", "1.05")
    assert done.exit_code == 0, done.output
    first, second, _, busy, then, *_ = done.stdout.splitlines()
    assert first.split() == ["batch", "account", "calls", "from", "to", "why"]
    assert second.split(maxsplit=5)[:5] == ["1", "acme", "30.00", "c1", "c2"]
    assert second.rstrip().endswith("c1 is at 2.00 of the mean, then 1.00; c2 goes from 0.00 to 1.00")
    assert busy.startswith("busiest hour ")
    assert busy.endswith(":00 UTC, mean of 2 days: 60.00 calls at the same time of 3 accounts")
    assert then == (
        "fullest cluster by the mean of all: 2.00, then 1.00; no cluster is above 1.05 times the mean"
    )
    assert set(where(url).values()) == {"c1"}


def test_it_says_the_command_that_moves_each_batch(url: str, run: Run) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CALLS.encode())
        data = json.loads(run("--days", "2", "--format", "json").stdout)
        hour = connection.execute(
            "SELECT extract(hour FROM max(started_at) AT TIME ZONE 'UTC') FROM control.call_records"
        )
        assert data["busy_hour_utc"] == (hour.fetchone() or [None])[0]
        assert (data["imbalance"], data["imbalance_then"]) == (2.0, 1.0)
        assert [[move["account"] for move in batch] for batch in data["batches"]] == [["acme"]]
        assert data["commands"] == [["dialplane account move acme --to c2"]]
        assert run("--days", "2").stdout.splitlines()[-2:] == ["# batch 1 of 1", data["commands"][0][0]]
        connection.execute(b"UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c3')")
    done = run("--days", "2", "--format", "tsv")
    assert {line.split("\t")[3] for line in done.stdout.splitlines()[1:]} == {"c3"}
    assert "c3 has no capacity" in done.stdout


def test_without_records_there_is_nothing_to_go_by(run: Run) -> None:
    done = run()
    assert done.exit_code == 0
    assert done.stdout == (
        "there are no records of calls that media nodes carried in the last 7 days: nothing to go by\n"
    )


def test_a_new_account_is_placed_by_hashing_and_an_old_one_by_its_row(url: str, run: Run) -> None:
    done = run("--new", "acme", "--new", "hooli", "--new", "vandelay", "--format", "json")
    found = {one["account"]: one for one in json.loads(done.stdout)}
    assert (found["acme"]["cluster"], found["acme"]["why"]) == ("c1", "its row says so")
    assert found["hooli"]["cluster"] in {"c1", "c2"}
    assert found["hooli"]["why"] == "rendezvous hashing; the cluster has 50% of the weights of all"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"UPDATE nodes SET state = 'disabled'")
    done = run("--new", "hooli")
    assert done.exit_code == 2
    assert "error: --new hooli: nowhere to put it" in done.stderr
