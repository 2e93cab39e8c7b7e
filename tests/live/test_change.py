"""One changed row on its way: planned, applied, verified, rolled back, repaired, and interrupted at any point."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

import pytest

from tests.live import stack
from tests.live.company import BOB, DESK1
from tests.live.phones import Phones

RPC = ("dialplane", "rpc", "edge1")


@pytest.fixture(autouse=True)
def ring_time(company: None) -> Iterator[None]:
    """Alice's ring time as the sample says, and everything live, before and after."""
    set_ring_time(20)
    apply()
    yield
    set_ring_time(20)
    apply()


def set_ring_time(seconds: int) -> None:
    stack.sql(
        f"UPDATE extensions SET ring_time_s = {seconds} WHERE extension = '101' "
        "AND account_id = (SELECT id FROM accounts WHERE name = 'acme')"
    )


def apply(*options: str, expect: int | None = 0) -> stack.Done:
    return stack.dialplane("apply", "--yes", *options, expect=expect)


def on_media(node: str) -> str:
    """Extension 101 as Asterisk runs it."""
    return stack.execute(node, "asterisk", "-rx", "dialplan show 101@account-acme").out


def rpc(*words: str) -> stack.Done:
    return stack.execute("ops", *RPC, *words, user="dialplane")


def states() -> dict[str, dict[str, object]]:
    return {row["node"]: row for row in stack.documents("SELECT * FROM control.node_state")}


def newest() -> int:
    return int(stack.sql("SELECT max(id) FROM control.revisions"))


def test_a_row_is_planned_applied_and_running_on_every_node() -> None:
    set_ring_time(33)
    planned = stack.dialplane("plan", expect=3)
    assert "20 -> 33" in planned.out
    assert "calls to 101 go differently" in planned.out
    applied = apply()
    assert applied.out.rstrip().endswith("live and verified on 4 nodes")
    for node in ("media1", "media2"):
        assert ",33," in on_media(node)
    assert "nothing to do" in stack.dialplane("plan").out


def test_what_is_applied_is_what_was_seen() -> None:
    set_ring_time(31)
    seen = json.loads(stack.dialplane("plan", "--format", "json", expect=3).out)
    set_ring_time(32)
    refused = apply("--plan", seen["id"], expect=7)
    assert "look at it again" in refused.err
    assert ",20," in on_media("media1")


def test_a_rollback_is_shown_then_restores_and_holds_the_account_back() -> None:
    before = newest()
    set_ring_time(34)
    apply()
    rolled = stack.dialplane("rollback", str(before), "--yes")
    assert "34 -> 20" in rolled.out
    assert ",20," in on_media("media2")
    assert "was rolled back; the rows still want this" in stack.dialplane("plan", expect=3).out


def test_two_people_applying_at_once_publish_once() -> None:
    set_ring_time(35)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: apply(expect=None), range(2)))
    assert 0 in [done.exit for done in both]
    for done in both:
        assert done.exit in (0, 7), str(done)
    changes = stack.sql(
        f"SELECT count(*) FROM control.changes WHERE new LIKE '%,35,%' AND revision > {newest() - 2}"
    )
    assert changes == "1"


@pytest.mark.parametrize(
    ("node", "command"),
    [
        ("edge1", ("ops", *RPC, "htable.delete", "number", "+4930555011")),
        ("edge1", ("ops", *RPC, "htable.sets", "number", "+4930555011", "globex")),
        ("edge1", ("ops", *RPC, "htable.sets", "number", "+4930999", "acme")),
        ("media1", ("media1", "asterisk", "-rx", "dialplan remove extension 101@account-acme")),
        (
            "media1",
            ("media1", "asterisk", "-rx", "dialplan add extension 101,1,NoOp() into account-acme replace"),
        ),
        ("media1", ("media1", "asterisk", "-rx", "dialplan add extension 666,1,NoOp() into account-acme")),
    ],
)
def test_a_change_by_hand_is_found_and_repaired(node: str, command: tuple[str, ...]) -> None:
    repaired = int(str(states()[node]["repaired"]))
    service, *words = command
    done = stack.execute(service, *words, user="dialplane" if service == "ops" else "root")
    assert done.exit == 0, str(done)
    found = stack.dialplane("verify", expect=3)
    assert node in found.out
    assert int(str(states()[node]["repaired"])) > repaired
    stack.dialplane("verify", expect=0)


def test_an_edited_file_is_found_and_repaired() -> None:
    path = "/etc/asterisk/dialplane.d/pjsip-edges.conf"
    stack.execute("media1", "sh", "-c", f"echo '; by hand' >> {path}", user="root")
    found = stack.dialplane("verify", expect=3)
    assert "pjsip-edges.conf" in found.out
    assert "by hand" not in stack.execute("media1", "cat", path, user="root").out


# Signals the agent so many ms after its state file holds the change: that is before, in and after the work on Asterisk.
KILLER = """
import os, pathlib, signal, sqlite3, sys, time
base = sqlite3.connect("/var/lib/dialplane/state.db", isolation_level=None)
def held():
    return base.execute("SELECT text FROM line WHERE context = 'account-acme' AND exten = '101'").fetchall()
agents = [int(one.parent.name) for one in pathlib.Path("/proc").glob("[0-9]*/cmdline")
          if b"agent\\0run" in one.read_bytes()]
before = held()
print("watching", flush=True)
ends = time.monotonic() + 20
while held() == before and time.monotonic() < ends:
    time.sleep(0.0002)
time.sleep(int(sys.argv[1]) / 1000)
for agent in agents:
    os.kill(agent, signal.Signals[sys.argv[2]])
print("killed", len(agents), "pending", base.execute("SELECT count(*) FROM pending").fetchone()[0], flush=True)
"""


@contextmanager
def signalled(name: str, delay_ms: int) -> Iterator[IO[str]]:
    """The agent of media1 gets that signal so long after the next change is staged; then a line says so."""
    seat = ["docker", "exec", "-u", "dialplane", stack.container("media1"), "/opt/dialplane/bin/python"]
    command = [*seat, "-c", KILLER, str(delay_ms), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdout
        assert killer.stdout.readline() == "watching\n"
        yield killer.stdout


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 20])
def test_an_agent_killed_during_an_apply_finishes_by_itself(delay_ms: int) -> None:
    started = states()["media1"]["agent_started"]
    set_ring_time(40 + delay_ms)
    with signalled("SIGKILL", delay_ms) as killer:
        apply("--wait", "30")
        told = killer.readline()
    print(f"after {delay_ms} ms: {told.strip()}")
    assert told.startswith("killed 1 ")
    stack.until(lambda: states()["media1"]["agent_started"] != started, "another agent", limit_s=20)
    number = newest()
    stack.until(lambda: states()["media1"]["revision"] == number, "media1 has finished", limit_s=20)
    assert states()["media1"]["pending"] == 0
    for node in ("media1", "media2"):
        assert f",{40 + delay_ms}," in on_media(node)


def test_a_node_that_is_down_is_said_and_catches_up_by_itself() -> None:
    stack.compose("kill", "media2")
    try:
        set_ring_time(36)
        partly = apply("--wait", "4", expect=5)
        assert "media2" in partly.err
        assert "catches up by itself" in partly.err
        assert ",36," in on_media("media1")
    finally:
        stack.compose("up", "--detach", "--wait", "media2")
    number = newest()
    stack.until(lambda: states()["media2"]["revision"] == number, "media2 catches up", limit_s=20)
    assert ",36," in on_media("media2")


@pytest.mark.parametrize(("node", "server"), [("edge1", "kamailio"), ("media1", "asterisk")])
def test_a_server_restarted_during_an_apply_holds_what_was_meant(node: str, server: str) -> None:
    set_ring_time(37)
    stack.signal(node, "KILL", f"{server} *")
    apply("--wait", "40")
    stack.until(
        lambda: stack.dialplane("verify", expect=None).exit == 0, f"{node} is in sync", limit_s=40, pause_s=1
    )
    assert ",37," in on_media("media1")


def test_a_database_gone_for_a_while_stops_no_call_and_loses_no_change(phones: Phones) -> None:
    assert phones.register(BOB).ok
    stack.compose("stop", "postgres")
    try:
        with phones.answering(BOB):
            assert phones.run("call", DESK1, to="102").ok
    finally:
        stack.compose("start", "postgres")
        stack.until(lambda: stack.healthy("postgres"), "PostgreSQL is back", limit_s=30)
    set_ring_time(38)
    apply("--wait", "30")
    assert ",38," in on_media("media2")


def test_a_drained_node_is_live_at_commit() -> None:
    try:
        stack.sql("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
        stack.until(
            lambda: "media1" not in rpc("htable.get", "target", "c1").out, "media1 takes no new calls", 5
        )
    finally:
        stack.dialplane("node", "resume", "media1")
    stack.until(lambda: "media1" in rpc("htable.get", "target", "c1").out, "media1 takes calls again", 5)


def test_an_apply_and_a_rollback_drop_no_call(phones: Phones) -> None:
    assert phones.register(BOB).ok
    assert phones.register(DESK1).ok
    with phones.answering(BOB):
        call = phones.start("call", DESK1, to="102", talk_ms=6000)
        call.until(200)
        before = newest()
        set_ring_time(39)
        apply()
        stack.dialplane("rollback", str(before), "--yes")
        leg = call.wait()
    assert leg.ok, str(leg)
    assert leg.hears(BOB) > 150
