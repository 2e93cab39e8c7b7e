"""The command line on a real PostgreSQL: what it prints, asks, refuses, and ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.cli import main
from controller.cli.common import EXIT_CODES

Run = Callable[..., Result]


@pytest.fixture
def url(request: pytest.FixtureRequest, published_sample: str, new_database: Callable[..., str]) -> str:
    """Empty, or what `live` promises."""
    return new_database(published_sample) if "live" in request.fixturenames else new_database()


@pytest.fixture
def run(url: str) -> Run:
    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--database", url, *arguments], input=stdin)

    return call


@pytest.fixture
def live(run: Run) -> Run:
    """The sample company, published (no agent reports: nobody is waited for)."""
    return run


def sql(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


RING = "UPDATE extensions SET ring_time_s = 30 WHERE extension = '101'"


def test_the_exit_codes_are_in_the_help(run: Run) -> None:
    assert " ".join(EXIT_CODES.split()) in " ".join(run("--help").output.split())


def test_plan_ends_with_3_when_something_is_pending_and_0_when_nothing_is(live: Run, url: str) -> None:
    assert live("plan").exit_code == 0
    sql(url, RING)
    planned = live("plan")
    assert planned.exit_code == 3
    assert "20 -> 30" in planned.stdout


def test_apply_wants_yes_where_nobody_can_be_asked(live: Run, url: str) -> None:
    sql(url, RING)
    refused = live("apply", stdin="")
    assert refused.exit_code == 2
    assert "give --yes" in refused.stderr


def test_yes_does_not_lift_safety_and_a_reason_does_and_is_kept(live: Run, url: str) -> None:
    sql(url, "DELETE FROM emergency_numbers WHERE country = 'DE' AND number = '110'")
    refused = live("apply", "--yes")
    assert refused.exit_code == 4
    assert "DE:110: an emergency number stops working" in refused.stdout
    assert live("apply", "--yes", "--wait", "0", "--allow-unsafe", "moved").exit_code == 0
    assert "unsafe, allowed: moved" in live("history").stdout


def test_a_plan_that_changed_is_stale(live: Run, url: str) -> None:
    sql(url, RING)
    assert live("apply", "--yes", "--plan", "000000").exit_code == 7


def test_nodes_that_never_reported_make_it_partly_applied_and_are_named(live: Run, url: str) -> None:
    sql(url, RING)
    partly = live("apply", "--yes", "--wait", "0.3")
    assert partly.exit_code == 5
    assert "live on 0 of 4 nodes" in partly.stderr
    assert "edge1: its agent never reported; it catches up when it starts" in partly.stderr


def test_rollback_without_a_number_undoes_the_newest(live: Run, url: str) -> None:
    sql(url, RING)
    live("apply", "--yes", "--wait", "0")
    rolled = live("rollback", "--yes", "--wait", "0")
    assert rolled.exit_code == 0, rolled.output
    assert "30 -> 20" in rolled.stdout
    assert "rollback to" in live("history").stdout


def test_listings_come_as_json_and_tsv(live: Run) -> None:
    nodes = json.loads(live("node", "list", "--format", "json").stdout)
    assert [node["node"] for node in nodes] == ["edge1", "edge2", "media1", "media2"]
    lines = live("history", "--format", "tsv").stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["revision", "at", "by"]
    assert lines[1].split("\t")[1].endswith("Z")


def test_show_leaves_secrets_out(live: Run) -> None:
    shown = live("show", "2").stdout
    assert "md5=***" in shown


def test_explain_says_every_step(live: Run) -> None:
    told = live("route", "explain", "desk1@acme.example", "102")
    assert "ring bob@acme.example for 15 s" in told.stdout
    assert live("route", "explain", "desk1@acme.example", "102", "--at", "soon").exit_code == 2


def test_verify_says_which_agents_did_not_answer(live: Run) -> None:
    silent = live("verify", "--deadline", "0.3")
    assert silent.exit_code == 1
    assert "edge1, edge2, media1, media2" in silent.stderr


def test_doctor_names_what_is_wrong_with_its_remedy(live: Run, url: str) -> None:
    looked = live("doctor", "--format", "json")
    assert looked.exit_code == 1
    found = {row["about"]: row for row in json.loads(looked.stdout)}
    assert found["node edge1"]["remedy"].startswith("start the agent on edge1")
    assert found["database"]["remedy"] is None


def test_an_import_with_problems_tells_all_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "clusters: [c1]\naccounts:\n  - {name: 'Bad Name', country: DE, cluster: c1}\n"
        "  - {name: good, display_name: Good, country: DE, cluster: nowhere}\n"
    )
    refused = run("import", str(path))
    assert refused.exit_code == 2
    assert refused.stderr.count("bad.yaml:") > 2
    assert "account" not in run("plan", "--format", "tsv").stdout.partition("\n")[2]


def test_a_database_that_is_away_is_said_with_the_remedy() -> None:
    away = CliRunner().invoke(main, ["--database", "postgresql://nobody@127.0.0.1:1/none", "plan"])
    assert away.exit_code == 1
    assert "Is it running" in away.stderr


def test_a_password_on_the_command_line_is_refused() -> None:
    told = CliRunner().invoke(main, ["--database", "postgresql://nobody:secret@127.0.0.1:1/none", "plan"])
    assert told.exit_code == 2
    assert "secret" not in told.stderr
    assert "PGPASSFILE" in told.stderr
