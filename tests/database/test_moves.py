"""Accounts that move to another cluster, through the command line, with agents that report what they hold."""

from __future__ import annotations

import json

import psycopg
import pytest
from click.testing import CliRunner

from controller import mover, reconciler
from controller.cli import main
from tests.database.agents import Agents
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


def test_an_account_moves_step_by_step_and_nothing_else_changes(url: str, run: Run, agents: None) -> None:
    before, told = held(url)["c1"], edge(url)
    done = run("move", "acme", "--to", "c2", "--yes", "--reason", "ticket 812")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].startswith("move plan ")
    assert f"~ acme  c1 -> c2  {before} entries to media3 media4; 0 calls are up on c1" in done.stdout
    assert done.stdout.splitlines()[-1] == "move 1 is done: all accounts moved"
    assert "  acme  c1 -> c2  draining: until no call was seen on c1 for 0.3 s" in done.stderr.splitlines()
    assert wholly(url, "c2")
    assert held(url) == {"c2": before}
    assert edge(url) == told.replace("cluster=c1", "cluster=c2")
    revisions = sql(url, "SELECT author, reason, creates, updates, deletes FROM control.revisions "
                         "WHERE reason LIKE 'move 1: %' ORDER BY id")  # fmt: skip
    flags = 1  # do not disturb is operational: it went with its own revision
    assert [one[2:] for one in revisions] == [
        (before - flags, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, before - flags),
    ]  # fmt: skip
    assert revisions[0][1] == "move 1: acme, add: to the media nodes of c2"
    # Nothing is left to publish, and nobody looks at its rows again and again.
    with psycopg.connect(url) as connection:
        assert "in sync" in reconciler.cycle(connection, auto=True).sentence
    assert sql(url, "SELECT count(*) FROM control.pending_changes") == [(0,)]
    listed = json.loads(run("moves", "list", "--format", "json").stdout)
    assert [(one["move"], one["state"], one["accounts"], one["over"], one["reason"]) for one in listed] == [
        (1, "done", 1, 1, "ticket 812")
    ]
    (shown,) = json.loads(run("moves", "show", "1", "--format", "json").stdout)
    assert (shown["account"], shown["step"], shown["at"]) == ("acme", "done", "c2")


def test_a_call_that_is_up_keeps_its_cluster_until_it_is_over(url: str, run: Run, agents: None) -> None:
    sql(url, CALL)
    waits = run("move", "acme", "--to", "c2", "--yes", "--wait", "1.5")
    assert waits.exit_code == 5, waits.output
    assert "1 call is up on c1" in waits.stdout
    assert "acme  c1 -> c2  draining: until 1 call on c1 is over" in waits.stderr
    assert "move 1 is not done after 1.5 s; it goes on" in waits.stderr
    assert set(held(url)) == {"c1", "c2"}
    assert edge(url).startswith("cluster=c2;")
    assert edge(url).endswith(";was=c1")
    explained = (
        CliRunner().invoke(main, ["--database", url, "route", "explain", "desk1@acme.example", "102"]).stdout
    )
    assert "account acme moves from cluster c1" in explained
    # Rows and what is published agree all the way.
    everything = CliRunner().invoke(main, ["--database", url, "plan", "--all"])
    assert everything.exit_code == 0, everything.output
    sql(url, OVER)
    assert run("moves", "resume", "1").exit_code == 0
    assert wholly(url, "c2")


def test_callers_of_a_queue_are_waited_for_and_a_drain_that_is_late_says_so(
    url: str, run: Run, agents: None
) -> None:
    sql(url, "INSERT INTO control.queue_callers (ticket, account, queue, call_id, node) "
             "VALUES ('t', 'acme', 'support', 'q', 'media2')")  # fmt: skip
    waits = run("move", "acme", "--to", "c2", "--yes", "--wait", "2.5", "--drain-s", "1")
    assert waits.exit_code == 5
    assert "until 1 call on c1 is over, longer than 1 s: waits for their end, or for you" in waits.stderr
    doctor = CliRunner().invoke(main, ["--database", url, "doctor", "--format", "json"])
    (said,) = [one for one in json.loads(doctor.stdout) if one["about"] == "moves"]
    assert said["found"].startswith(
        "account acme is on its way in move 1 (running), draining, at c2, held by c1"
    )
    assert said["remedy"]
    # Somebody decides that its entries go all the same: the caller is not hung up.
    done = run("moves", "resume", "1", "--after-drain", "remove")
    assert done.exit_code == 0, done.output
    assert wholly(url, "c2")


@pytest.mark.parametrize("step", ["planned", "adding", "moving", "draining", "removing", "done"])
def test_it_is_taken_back_from_every_step(url: str, run: Run, step: str) -> None:
    """Walked by hand to the step; then back."""
    before = held(url)["c1"]
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "0").exit_code == 0
    with Agents(url, *NODES), psycopg.connect(url) as connection:
        while steps(url)["acme"] != step:
            mover.walk(connection)
            connection.commit()
    assert (row(url) == "c2") == (step not in ("planned", "adding"))
    with Agents(url, *NODES):
        back = run("moves", "rollback", "1", "--yes")
    assert back.exit_code == 0, back.output
    assert back.stdout == "move 1 is rolled back: all accounts are back where they were\n"
    assert wholly(url, "c1")
    assert held(url) == {"c1": before}
    assert run("moves", "rollback", "1", "--yes").exit_code == 2


def test_stopping_lets_nothing_go_on_and_resuming_does(url: str, run: Run, agents: None) -> None:
    sql(url, CALL)
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "1.5").exit_code == 5
    stopped = run("moves", "stop", "1", "--reason", "lunch")
    assert stopped.exit_code == 0, stopped.output
    sql(url, OVER)
    with psycopg.connect(url) as connection:
        for _ in range(5):
            mover.walk(connection)
    assert steps(url) == {"acme": "draining"}
    assert ": lunch" in run("moves", "list").stdout
    assert run("moves", "stop", "1").exit_code == 2
    assert run("moves", "resume", "1").exit_code == 0
    assert wholly(url, "c2")


def test_the_canary_goes_first_and_others_follow_a_few_at_once(url: str, run: Run, agents: None) -> None:
    sql(url, "INSERT INTO accounts (name, display_name, cluster_id, country) "
             "SELECT 'a' || n, 'A', (SELECT id FROM clusters WHERE name = 'c1'), 'DE' "
             "FROM generate_series(1, 3) n")  # fmt: skip
    assert CliRunner().invoke(
        main, ["--database", url, "apply", "--yes", "--wait", "0"]
    ).exit_code == 0  # fmt: skip
    done = run("move", "acme", "a1", "a2", "a3", "--to", "c2", "--yes", "--watch-s", "1", "--at-once", "2")
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.stderr.splitlines()]
    over = {line.split()[0]: place for place, line in enumerate(lines) if "done: it is at c2" in line}
    began = {name: next(place for place, line in enumerate(lines) if line.startswith(name)) for name in over}
    assert next(iter(over)) == "acme"
    assert min(began["a1"], began["a2"]) > over["acme"]
    assert began["a3"] > min(over["a1"], over["a2"])


def test_a_cluster_that_took_over_for_the_old_one_does_not_wait_for_its_own_calls(
    url: str, run: Run, agents: None
) -> None:
    """Nodes of c2 held the account before; they are not drained of it."""
    sql(
        url,
        "UPDATE clusters SET overflow_cluster_id = (SELECT id FROM clusters WHERE name = 'c2') WHERE name = 'c1'",
    )
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    sql(url, CALL.replace("media1", "media3"))
    done = run("move", "acme", "--to", "c2", "--yes", "--wait", "10")
    assert done.exit_code == 0, done.output
    assert wholly(url, "c2")


def test_states_are_at_both_clusters_while_it_moves(url: str, run: Run, agents: None) -> None:
    flags = "SELECT scope FROM control.entries WHERE tbl = 'flag' AND key = 'dnd/acme/alice' ORDER BY 1"
    sql(url, CALL)
    assert run("move", "acme", "--to", "c2", "--yes", "--wait", "1.5").exit_code == 5
    assert sql(url, flags) == [("c1",), ("c2",)]
    sql(url, "DELETE FROM user_states")
    assert sql(url, flags) == []
    sql(url, "INSERT INTO user_states (account_id, user_id, dnd) "
             "SELECT u.account_id, u.id, true FROM users u WHERE u.name = 'alice' LIMIT 1")  # fmt: skip
    assert sql(url, flags) == [("c1",), ("c2",)]
    sql(url, OVER)
    assert run("moves", "resume", "1").exit_code == 0
    assert sql(url, flags) == [("c2",)]


def test_what_is_proposed_is_moved(url: str, run: Run, agents: None) -> None:
    assert run("move", "--proposed", "--yes").stdout.startswith("nothing is proposed")
    sql(
        url,
        """
        INSERT INTO control.call_records (call_id, account, started_at, ended_at, duration_ms, media_node, complete)
        SELECT a || n, a, now() - interval '61 min', now() - interval '1 min', 3600000, 'media1', true
          FROM unnest('{acme,globex}'::text[]) a, generate_series(1, 10) n""",
    )
    done = run("move", "--proposed", "--days", "1", "--yes")
    assert done.exit_code == 0, done.output
    assert "c1 is at 2.00 of the mean, then 1.00" in done.stdout
    assert sorted((row(url, "acme"), row(url, "globex"))) == ["c1", "c2"]


def test_all_accounts_of_a_device_group_move_by_name_but_those_that_are_there(
    url: str, run: Run, agents: None
) -> None:
    sql(
        url,
        """
        INSERT INTO device_groups (name) VALUES ('g2'), ('g3');
        INSERT INTO accounts (name, display_name, cluster_id, device_group_id, country)
        SELECT a, 'A', (SELECT id FROM clusters WHERE name = CASE a WHEN 'b2' THEN 'c2' ELSE 'c1' END),
               (SELECT id FROM device_groups WHERE name = CASE a WHEN 'b4' THEN 'g1' ELSE 'g2' END), 'DE'
          FROM unnest('{b4,b1,b3,b2}'::text[]) a;
        UPDATE accounts SET device_group_id = (SELECT id FROM device_groups WHERE name = 'g2') WHERE name = 'globex'""",
    )
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    words = ("move", "--device-group", "g2", "--to", "c2", "--watch-s", "0", "--yes")
    done = run(*words, "--reason", "site 2")
    assert done.exit_code == 0, done.output
    moved = "SELECT a.name FROM control.account_moves m JOIN accounts a ON a.id = m.account_id ORDER BY m.position"
    assert sql(url, moved) == [("b1",), ("b3",), ("globex",)]
    assert sql(url, "SELECT canary, at_once, state, reason FROM control.moves") == [(1, 10, "done", "site 2")]
    over = [line.split()[0] for line in done.stderr.splitlines() if "done: it is at c2" in line]
    assert over[0] == "b1", "the canary"
    assert all(wholly(url, "c2", account) for account in ("b1", "b2", "b3", "globex"))
    assert (row(url, "acme"), row(url, "b4")) == ("c1", "c1")
    # An ordinary batch: it goes back as any does. One that was there before stays.
    assert run("moves", "rollback", "1", "--yes").exit_code == 0
    assert [row(url, account) for account in ("b1", "b2", "b3", "globex")] == ["c1", "c2", "c1", "c1"]
    sql(url, "UPDATE accounts SET device_group_id = NULL WHERE name <> 'b2'")
    nothing = run(*words)
    assert (nothing.exit_code, nothing.stdout) == (
        0, "nothing to move: all accounts of device group g2 are at cluster c2\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--device-group g9 --to c2", "error: there is no device group g9 (table device_groups)"),
        ("--device-group g1 --to c9", "error: there is no cluster c9 (table clusters)"),
        ("--device-group g1 --to c2", "error: no account belongs to device group g1 (accounts.device_group_id; "
                                      "without one every edge serves them)"),
        *(
            (wrong, "error: name accounts and --to CLUSTER, or --device-group GROUP and --to CLUSTER, or give "
                    "--proposed alone")
            for wrong in ("acme --device-group g1 --to c2", "--device-group g1 --proposed", "--device-group g1",
                          "--device-group g1 --proposed --to c2", "acme", "--to c2", "--proposed --to c2")
        ),
    ],
)  # fmt: skip
def test_what_no_device_group_can_be_moved_by_is_said(url: str, run: Run, words: str, said: str) -> None:
    sql(url, "UPDATE accounts SET device_group_id = NULL")
    refused = run("move", *words.split(), "--yes")
    assert (refused.exit_code, refused.stderr.strip()) == (2, said)
    assert sql(url, "SELECT count(*) FROM control.moves") == [(0,)]
