"""Moves that something stands against: servers that are away, calls that fail, rows that changed, a killed walker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from controller import mover, reconciler
from controller.cli import main
from controller.moves import model
from tests.database.agents import Agents, silent
from tests.database.moving import (  # noqa: F401 - fixtures
    CALL,
    NODES,
    OVER,
    Run,
    a_agents,
    a_run,
    a_url,
    edge,
    held,
    row,
    sql,
    steps,
    two_clusters,
    until,
    wholly,
)

pytestmark = pytest.mark.thorough


def test_nothing_points_to_nodes_that_have_it_not_read_back(url: str, run: Run) -> None:
    with Agents(url, *NODES[:-1], media4="full disk"):
        waits = run("move", "acme", "--to", "c2", "--yes", "--wait", "1")
    assert waits.exit_code == 5
    assert "adding: until the nodes of c2 have it: media4: failed: full disk" in waits.stderr
    assert row(url) == "c1"
    assert edge(url).startswith("cluster=c1;")


def test_an_edge_that_is_away_keeps_the_old_cluster(url: str, run: Run) -> None:
    silent(url, "edge2", 60)
    with Agents(url, "edge1", *NODES[2:]):
        waits = run("move", "acme", "--to", "c2", "--yes", "--wait", "2")
        assert "moving: until the edges know: edge2: not heard of for" in waits.stderr
        assert set(held(url)) == {"c1", "c2"}
        # It is taken out of service: it sends no calls any more.
        sql(url, "UPDATE nodes SET state = 'disabled' WHERE name = 'edge2'")
        assert run("moves", "resume", "1").exit_code == 0
    assert wholly(url, "c2")


def test_it_stops_when_calls_fail_there(url: str, run: Run, agents: None) -> None:
    sql(url, CALL)
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "1.5").exit_code == 5
    sql(
        url,
        """
        INSERT INTO control.call_records (call_id, account, started_at, ended_at, cause, cause_text, complete)
        SELECT 'c' || n, 'acme', now(), now(), CASE n WHEN 1 THEN 41 ELSE 17 END, 'x', true
          FROM generate_series(1, 10) n""",
    )
    stopped = run("moves", "resume", "1", "--wait", "5")
    assert stopped.exit_code == 5
    why = "1 of 10 calls of accounts that moved failed, more than 5 %; most of account acme (1 of 10)"
    assert f"move 1 is stopped: {why}" in stopped.stderr
    again = run("moves", "resume", "1")
    assert again.exit_code == 2
    assert "allow more with --failed-pct" in again.stderr
    sql(url, OVER)
    assert run("moves", "resume", "1", "--failed-pct", "10").exit_code == 0


def test_rows_that_somebody_changed_are_his_to_apply(url: str, run: Run, agents: None) -> None:
    sql(url, "UPDATE extensions SET ring_time_s = 33 WHERE extension = '101'")
    planned = run("move", "acme", "--to", "c2", "--yes", "--wait", "1")
    assert planned.exit_code == 5
    assert "! its rows changed and are not applied: it waits for that" in planned.stdout
    assert set(held(url)) == {"c1"}
    (shown,) = json.loads(run("moves", "show", "1", "--format", "json").stdout)
    assert shown["waits"].startswith(
        "! add refused: rows of acme changed and are not applied (dialplan account-acme/101)"
    )
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    assert run("moves", "resume", "1").exit_code == 0
    assert wholly(url, "c2")


def test_messages_that_would_stay_behind_are_refused_and_all_problems_are_said_at_once(
    url: str, run: Run, agents: None
) -> None:
    sql(
        url,
        "UPDATE clusters SET voicemail_store = NULL WHERE name = 'c2'; INSERT INTO clusters (name) VALUES ('c9')",
    )
    refused = run("move", "acme", "nobody", "globex", "globex", "--to", "c2", "--yes")
    assert refused.exit_code == 2
    assert "c1 and c2 do not share their messages" in refused.stderr
    assert "there is no account nobody" in refused.stderr
    assert "account globex: named twice" in refused.stderr
    assert "has no enabled media node" in run("move", "globex", "--to", "c9", "--yes").stderr
    assert "is at cluster c1 already" in run("move", "globex", "--to", "c1", "--yes").stderr
    assert "there is no cluster c7" in run("move", "globex", "--to", "c7", "--yes").stderr
    assert run("move", "globex").exit_code == 2
    assert sql(url, "SELECT count(*) FROM control.moves") == [(0,)]
    assert (
        run(
            "move", "acme", "--to", "c2", "--leave-messages", "copied by hand", "--yes", "--wait", "0"
        ).exit_code
        == 0
    )
    assert sql(url, "SELECT messages FROM control.moves") == [("copied by hand",)]
    assert "is on its way in move 1" in run("move", "acme", "--to", "c2", "--yes").stderr
    # On a pipe it asks for --yes; a plan that was seen is the one that is taken.
    globex = ("move", "globex", "--to", "c2", "--leave-messages", "x")
    assert "there is no terminal to ask on: give --yes to move" in run(*globex).stderr
    assert run(*globex, "--yes", "--plan", "000000").exit_code == 7


def test_rows_hold_what_a_move_promises(url: str, run: Run) -> None:
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "0").exit_code == 0
    to_c2 = "UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c2') WHERE name = 'acme'"
    for statement, said in (
        (to_c2, "accounts acme: its cluster cannot be changed, it is on its way in move 1 and at c1"),
        ("DELETE FROM clusters WHERE name = 'c2'", "clusters c2: it cannot go, account acme is on its way"),
        ("UPDATE control.account_moves SET at_target = true", "account_moves_held"),
        ("UPDATE control.account_moves SET tied = true", "account_moves_tied"),
    ):
        with pytest.raises(psycopg.errors.IntegrityError, match=said):
            sql(url, statement)
    with Agents(url, *NODES):
        assert run("moves", "rollback", "1", "--yes").exit_code == 0
    sql(url, to_c2)


def test_the_roles_of_operators_and_controllers_suffice(url: str, run: Run, agents: None) -> None:
    roles = ("mover_admin", "mover_controller")
    try:
        for role in roles:
            sql(url, f"CREATE ROLE {role} LOGIN IN ROLE dialplane_{role.removeprefix('mover_')}")
        with psycopg.connect(make_conninfo(url, user="mover_admin")) as connection:
            made = mover.draft(connection, [("acme", "c2", "")], model.Batch(0, ()))
            mover.begin(connection, made, author="anna", reason="")
            connection.commit()
            with psycopg.connect(make_conninfo(url, user="mover_controller")) as walker:
                until(lambda: mover.walk(walker) or steps(url) == {"acme": "draining"})  # type: ignore[func-returns-value]
                mover.stop(connection, 1, "a test")
                mover.resume(connection, 1, {})
                mover.turn(connection, 1)
                connection.commit()
                until(lambda: mover.walk(walker) or steps(url) == {"acme": "rolled_back"})  # type: ignore[func-returns-value]
        assert wholly(url, "c1")
    finally:
        for role in roles:
            sql(url, f"DROP ROLE IF EXISTS {role}")


def test_a_command_that_is_killed_ends_nothing_and_the_controller_goes_on(
    url: str, run: Run, agents: None
) -> None:
    words = ["account", "move", "acme", "--to", "c2", "--yes"]
    killed = subprocess.Popen(
        [sys.executable, "-c", f"from controller.cli import main; main({words!r})"],
        env=os.environ | {"DIALPLANE_DATABASE": url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: "moving" in steps(url).values() or "waiting" in steps(url).values())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert set(held(url)) == {"c1", "c2"}
    ends = time.monotonic() + 20
    reconciler.run(url, auto=False, stop=lambda: time.monotonic() > ends or steps(url)["acme"] == "done")
    assert wholly(url, "c2")


def test_several_that_walk_at_once_take_each_step_once(url: str, run: Run, agents: None) -> None:
    sql(url, "UPDATE clusters SET voicemail_store = 'all'")
    assert run("move", "acme", "globex", "--to", "c2", "--canary", "0", "--yes", "--wait", "0").exit_code == 0
    failed: list[BaseException] = []

    def walks() -> None:
        try:
            with psycopg.connect(url) as connection:
                while not set(steps(url).values()) <= {"done"}:
                    mover.walk(connection)
        except psycopg.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=walks) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    taken = sql(url, "SELECT reason FROM control.revisions WHERE reason LIKE 'move 1: %'")
    assert len(taken) == len(set(taken)) == 8
    assert wholly(url, "c2", "acme")
    assert wholly(url, "c2", "globex")


def test_a_rollback_of_a_revision_in_between_is_waited_for(url: str, run: Run, agents: None) -> None:
    sql(url, CALL)
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "1.5").exit_code == 5
    (before,) = sql(url, "SELECT min(id) - 1 FROM control.revisions WHERE reason LIKE 'move 1: %'")[0]
    undone = ["--database", url, "rollback", str(before), "--yes", "--wait", "0"]
    assert CliRunner().invoke(main, [*undone, "--allow-unsafe", "a test"]).exit_code == 0
    sql(url, OVER)
    waits = run("moves", "resume", "1", "--wait", "1")
    assert "rolled it back, its rows are held" in waits.stderr
    verified = CliRunner().invoke(main, ["--database", url, "verify", "--deadline", "0"])
    assert "It differs: edges are told c1" in verified.stderr
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    assert run("moves", "resume", "1").exit_code == 0
    assert wholly(url, "c2")
