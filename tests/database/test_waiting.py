"""Nodes that are silent, failed, or not touched by a change: what is said, and how long they are waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.cli import main
from controller.revision import wait
from tests.database.agents import Agents, report, silent

pytestmark = pytest.mark.thorough

Run = Callable[..., Result]
# Changes an extension: media nodes of cluster c1, not the edge.
RING = "UPDATE extensions SET ring_time_s = 30 WHERE extension = '101'"


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    return new_database(published_sample)


@pytest.fixture
def run(url: str) -> Run:
    return lambda *arguments: CliRunner().invoke(main, ["--database", url, *arguments])


@pytest.fixture
def changed(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(RING)


def timed(run: Run, *arguments: str) -> tuple[Result, float]:
    began = time.monotonic()
    return run(*arguments), time.monotonic() - began


def test_a_node_that_died_at_the_newest_revision_is_not_called_live(run: Run, url: str) -> None:
    silent(url, "media2", 3 * 3600)
    report(url, {"edge1": None, "edge2": None, "media1": None})
    listed = {one["node"]: one for one in json.loads(run("node", "list", "--format", "json").stdout)}
    assert listed["media1"]["is"].startswith("live and verified at revision")
    assert listed["media2"]["is"].startswith("not heard of for 3 h, then at revision")
    assert "live" not in listed["media2"]["is"]
    shown = json.loads(run("node", "show", "media2", "--format", "json").stdout)
    assert shown["is"] == listed["media2"]["is"]
    found = {one["about"]: one for one in json.loads(run("doctor", "--format", "json").stdout)}
    assert found["node media2"]["found"] == listed["media2"]["is"]
    assert "journalctl -u dialplane-agent" in found["node media2"]["remedy"]


def test_an_error_of_a_node_that_died_since_is_no_news(run: Run, url: str) -> None:
    silent(url, "media2", 60)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE control.node_state SET last_error = 'x' WHERE node = 'media2'")
    assert "not heard of for 60 s" in run("node", "list").stdout


@pytest.mark.parametrize("form", ["text", "json", "tsv"])
def test_the_list_says_when_a_node_was_heard_of(run: Run, url: str, form: str) -> None:
    silent(url, "media1", 7200)
    told = run("node", "list", "--format", form).stdout
    heard = datetime.fromtimestamp(time.time() - 7200, UTC)
    assert "heard_at" in told
    assert f"{heard:%Y-%m-%dT%H:}" in told
    assert told.count("Z") == 1, "edge1 and media2 were never heard of"
    assert f"{heard:%Y-%m-%dT%H:}" in run("node", "show", "media1", "--format", form).stdout


def test_verify_does_not_call_a_dead_node_in_sync(run: Run, url: str) -> None:
    silent(url, "media1", 100)
    told = run("verify", "--deadline", "0.2", "--format", "json")
    assert told.exit_code == 1
    found = {one["node"]: one["detail"] for one in json.loads(told.stdout)}
    assert found["media1"].startswith("not heard of for 100 s")


@pytest.mark.usefixtures("changed")
def test_a_node_that_was_long_away_costs_no_wait(run: Run, url: str) -> None:
    silent(url, "media2", 60)
    with Agents(url, "edge1", "edge2", "media1"):
        partly, took_s = timed(run, "apply", "--yes", "--wait", "20")
    assert partly.exit_code == 5
    assert "live on 3 of 4 nodes" in partly.stderr
    assert "media2: not heard of for 6" in partly.stderr
    assert took_s < 10


@pytest.mark.usefixtures("changed")
def test_a_node_that_fell_silent_just_now_is_waited_for(run: Run, url: str) -> None:
    """Its agent restarts, as at an upgrade."""
    silent(url, "media2", 5)
    with Agents(url, "edge1", "edge2", "media1"):
        partly, took_s = timed(run, "apply", "--yes", "--wait", "2")
    assert partly.exit_code == 5
    assert took_s > 2


def test_a_node_that_was_away_and_comes_back_meanwhile_is_waited_for(url: str) -> None:
    silent(url, "media2", 60)
    says: dict[str, str | None] = {"edge1": None, "edge2": None, "media1": "at it"}
    report(url, says, pending=1)
    then: dict[int, dict[str, str | None]]
    then = {1: {"media2": "starting"}, 2: {"media1": None}, 3: {"media2": None}}
    looks = 0

    def back(_: list[wait.NodeState]) -> None:
        nonlocal looks
        looks += 1
        says.update(then.get(looks, {}))
        report(url, says, pending=1)

    with psycopg.connect(url, autocommit=True) as connection:
        states = wait.until_live(connection, 1, deadline_s=10, progress=back)
    assert all(one.holds(1) for one in states)
    assert looks > 3


@pytest.mark.usefixtures("changed")
@pytest.mark.parametrize("how", ["failed", "away", "never"])
def test_a_node_that_the_change_does_not_touch_does_not_fail_the_apply(run: Run, url: str, how: str) -> None:
    """The edge is frozen, or away: nothing of this revision is missing there."""
    if how == "away":
        silent(url, "edge1", 100)
    frozen = Agents(url, "media1", "media2", edge1="Kamailio at x: no answer in 2 s")
    with frozen if how == "failed" else Agents(url, "media1", "media2"):
        done, took_s = timed(run, "apply", "--yes", "--wait", "20")
    assert done.exit_code == 0, done.output
    assert "is live and verified on 2 nodes, all that it touches" in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("  edge1: ")]
    assert len(told) == 1
    assert told[0].endswith("(this revision changes nothing there)")
    assert took_s < 10


@pytest.mark.usefixtures("changed")
def test_a_failure_on_a_node_that_has_the_revision_and_is_touched_ends_with_6(run: Run, url: str) -> None:
    with Agents(url, "edge1", "edge2", "media1", media2="cannot be repaired: dialplan account-acme/101"):
        done = run("apply", "--yes", "--wait", "1")
    assert done.exit_code == 6, done.output
    assert "was applied, but reading back does not show it" in done.stderr
    assert "media2: failed: cannot be repaired" in done.stderr


@pytest.mark.usefixtures("changed")
def test_operations_that_are_pending_on_a_touched_node_end_with_5(run: Run, url: str) -> None:
    with Agents(url, "edge1", "edge2", "media1", pending=1, media2="AMI of media2: nobody listens"):
        done = run("apply", "--yes", "--wait", "1")
    assert done.exit_code == 5, done.output
    assert "media2: failed: AMI of media2" in done.stderr


def test_live_at_commit_says_of_a_dead_node_that_it_does_not_have_it(run: Run, url: str) -> None:
    report(url, {"edge1": None, "edge2": None, "media2": None})
    silent(url, "media1", 100)
    with Agents(url, "edge1", "edge2", "media2"):
        done, took_s = timed(run, "group", "leave", "sales@acme", "bob", "--wait", "20")
    assert done.exit_code == 5, done.output
    assert "live on media2" in done.stdout
    assert "media1: not heard of for 1" in done.stderr
    assert took_s < 10
