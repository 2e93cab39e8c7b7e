"""Accounts that move to another cluster, through the command line, with agents that report what they hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller import mover, reconciler
from controller.cli import main
from controller.cli import moves as commands
from controller.moves import model, store
from tests.database.agents import Agents, silent

Run = Callable[..., Result]
# A second cluster, and answers of name servers that are forgotten soon.
C2 = """
INSERT INTO clusters (name) VALUES ('c2');
INSERT INTO nodes (name, kind, cluster_id, address)
SELECT 'media' || n, 'media', (SELECT id FROM clusters WHERE name = 'c2'), ('10.213.0.2' || n)::inet
  FROM generate_series(3, 4) n;
INSERT INTO settings (name, value) VALUES ('dns_ttl_s', '1'), ('dns_refresh_s', '1');
UPDATE clusters SET voicemail_store = 'all';
INSERT INTO user_states (account_id, user_id, dnd)
SELECT u.account_id, u.id, true FROM users u JOIN accounts a ON a.id = u.account_id
 WHERE a.name = 'acme' AND u.name = 'alice';
"""
NODES = ("edge1", "edge2", "media1", "media2", "media3", "media4")
CALL = """
INSERT INTO control.call_records (call_id, account, started_at, media_node, legs)
VALUES ('up', 'acme', now() - interval '1 min', 'media1', '[{"node": "media1", "ended_at": null}]')"""
OVER = "UPDATE control.call_records SET complete = true, ended_at = now(), legs = '[]'"


@pytest.fixture(scope="module")
def two_clusters(published_sample: str, new_database: Callable[..., str]) -> str:
    """Name of a database with both clusters, to make others from."""
    url = new_database(published_sample)
    sql(url, C2)
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    return str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def url(two_clusters: str, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(commands, "POLL_S", 0.02)
    monkeypatch.setattr(model, "QUIET_S", 0.3)
    facts = store.facts
    monkeypatch.setattr(store, "facts", lambda *of: replace(facts(*of), names_s=0.2))
    return new_database(two_clusters)


@pytest.fixture
def run(url: str) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--database", url, "account", *words], input=stdin)

    return call


@pytest.fixture
def agents(url: str) -> Iterator[None]:
    with Agents(url, *NODES):
        yield


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def held(url: str, account: str = "acme") -> dict[str, int]:
    """Entries of an account on media nodes, by cluster."""
    return dict(
        sql(
            url,
            f"SELECT scope, count(*) FROM control.entries WHERE kind = 'media' AND account = '{account}' GROUP BY 1",
        )
    )


def edge(url: str, account: str = "acme") -> str:
    """What edges are told of it."""
    return str(
        sql(url, f"SELECT value FROM control.entries WHERE tbl = 'account' AND key = '{account}'")[0][0]
    )


def row(url: str, account: str = "acme") -> str:
    found = sql(
        url,
        f"SELECT c.name FROM accounts a JOIN clusters c ON c.id = a.cluster_id WHERE a.name = '{account}'",
    )
    return str(found[0][0])


def steps(url: str) -> dict[str, str]:
    return dict(
        sql(url, "SELECT a.name, m.step FROM control.account_moves m JOIN accounts a ON a.id = m.account_id")
    )


def until(condition: Callable[[], Any], limit_s: float = 15) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + limit_s
        time.sleep(0.02)


def wholly(url: str, cluster: str, account: str = "acme") -> bool:
    """Rows, edges, nodes and names say that cluster, and nothing else."""
    names = {
        content.split()[-1].split(".")[1]
        for (content,) in sql(
            url, f"SELECT content FROM dns.lookup('_sip._tcp.voice.{account}.dialplane.internal')"
        )
    }
    told = edge(url, account)
    return (row(url, account), set(held(url, account)), names) == (cluster, {cluster}, {cluster}) and (
        told.startswith(f"cluster={cluster};") and "was=" not in told
    )


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
