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
from tests.live.company import APP1, BOB, CAROL, CARRIER, DESK1, LOBBY
from tests.live.phones import Phones
from tests.live.talk import hear_each_other, records, went_well

RPC = ("dialplane", "rpc", "edge1")


@pytest.fixture(autouse=True)
def ring_time(company: None) -> Iterator[None]:
    """Alice's ring time and the company's limit as the sample says, and live, after each test."""
    yield
    set_ring_time(20)
    set_call_limit(20)
    apply()


def set_ring_time(seconds: int) -> None:
    """Of extension 101: media nodes hold it."""
    stack.sql(
        f"UPDATE extensions SET ring_time_s = {seconds} WHERE extension = '101' "
        "AND account_id = (SELECT id FROM accounts WHERE name = 'acme')"
    )


def set_call_limit(calls: int) -> None:
    """Of acme: edges hold it."""
    stack.sql(f"UPDATE accounts SET call_limit = {calls} WHERE name = 'acme'")


def apply(*options: str, expect: int | None = 0) -> stack.Done:
    return stack.dialplane("apply", "--yes", *options, expect=expect)


def on_media(node: str) -> str:
    """Extension 101 as Asterisk runs it."""
    return stack.execute(node, "asterisk", "-rx", "dialplan show 101@account-acme").out


def on_edge() -> str:
    """Account acme as Kamailio runs it."""
    return rpc("htable.get", "account", "acme").out


def rpc(*words: str) -> stack.Done:
    return stack.execute("ops", *RPC, *words, user="dialplane")


def states() -> dict[str, dict[str, object]]:
    return {row["node"]: row for row in stack.documents("SELECT * FROM control.node_state")}


def holds(node: str, number: int) -> bool:
    """It reports that revision, or a later one: that a node is silent, or takes calls again, is one too."""
    return int(str(states()[node]["revision"])) >= number


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


# Signals processes so many ms after the node's state file holds the change: that is before, in and after the work on
# its server. A process is named by a part of its command line.
KILLER = """
import os, pathlib, signal, sqlite3, sys, time
table, key, process, delay_ms, name = sys.argv[1:]
base = sqlite3.connect("/var/lib/dialplane/state.db", isolation_level=None)
def held():
    return base.execute("SELECT value FROM entry WHERE tbl = ? AND key = ?", (table, key)).fetchall()
found = [int(one.parent.name) for one in pathlib.Path("/proc").glob("[0-9]*/cmdline")
         if process in one.read_bytes().replace(b"\\0", b" ").decode() and int(one.parent.name) != os.getpid()]
before = held()
print("watching", flush=True)
ends = time.monotonic() + 20
while held() == before and time.monotonic() < ends:
    time.sleep(0.0002)
time.sleep(int(delay_ms) / 1000)
for one in found:
    os.kill(one, signal.Signals[name])
print("killed", len(found), "pending", base.execute("SELECT count(*) FROM pending").fetchone()[0], flush=True)
"""
WATCHED = {"media1": ("dialplan", "account-acme/101"), "edge1": ("account", "acme")}
AGENT = "dialplane agent run"


@contextmanager
def signalled(name: str, delay_ms: int, node: str = "media1", process: str = AGENT) -> Iterator[IO[str]]:
    """Processes of a node get that signal so long after its next change is staged; then a line says so."""
    user = "dialplane" if process == AGENT else "root"
    seat = ["docker", "exec", "-u", user, stack.container(node), "/opt/dialplane/bin/python"]
    command = [*seat, "-c", KILLER, *WATCHED[node], process, str(delay_ms), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdout
        assert killer.stdout.readline() == "watching\n"
        yield killer.stdout


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 20])
def test_agents_killed_during_an_apply_finish_by_themselves(delay_ms: int) -> None:
    """One of a media node, and that of the edge."""
    nodes = ("media1", "edge1")
    started = {node: states()[node]["agent_started"] for node in nodes}
    set_ring_time(40 + delay_ms)
    set_call_limit(40 + delay_ms)
    with signalled("SIGKILL", delay_ms, "media1") as media, signalled("SIGKILL", delay_ms, "edge1") as edge:
        apply("--wait", "30")
        told = [one.readline().strip() for one in (media, edge)]
    print(f"after {delay_ms} ms: {told}")
    assert all(one.startswith("killed 1 ") for one in told), told

    def others() -> bool:
        now = states()
        return all(now[node]["agent_started"] != started[node] for node in nodes)

    stack.until(others, "other agents", limit_s=20)
    number = newest()

    def finished() -> bool:
        now = states()
        return all(holds(node, number) and now[node]["pending"] == 0 for node in nodes)

    stack.until(finished, "both have finished", limit_s=20)
    for node in ("media1", "media2"):
        assert f",{40 + delay_ms}," in on_media(node)
    assert f"limit={40 + delay_ms}" in on_edge()


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
    stack.until(lambda: holds("media2", number), "media2 catches up", limit_s=20)
    assert ",36," in on_media("media2")


@pytest.mark.parametrize(
    ("node", "server", "delay_ms"),
    [("edge1", "kamailio ", 0), ("edge1", "kamailio ", 3), ("media1", "asterisk ", 0)],
)
def test_a_server_killed_during_an_apply_holds_what_was_meant(
    phones: Phones, node: str, server: str, delay_ms: int
) -> None:
    set_ring_time(50 + delay_ms)
    set_call_limit(50 + delay_ms)
    with signalled("SIGKILL", delay_ms, node, server) as killer:
        apply("--wait", "40")
        told = killer.readline().strip()
    print(f"after {delay_ms} ms: {told}")
    assert told.startswith("killed "), told
    assert not told.startswith("killed 0 "), told
    phones.forget()
    stack.until(
        lambda: stack.dialplane("verify", expect=None).exit == 0, f"{node} is in sync", limit_s=40, pause_s=1
    )
    assert f",{50 + delay_ms}," in on_media("media1")
    assert f"limit={50 + delay_ms}" in on_edge()


def test_a_drained_node_is_live_at_commit() -> None:
    try:
        stack.sql("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
        stack.until(
            lambda: "media1" not in rpc("htable.get", "target", "c1").out, "media1 takes no new calls", 5
        )
    finally:
        stack.dialplane("node", "resume", "media1")
    stack.until(lambda: "media1" in rpc("htable.get", "target", "c1").out, "media1 takes calls again", 5)


_OF_ACME = "account_id = (SELECT id FROM accounts WHERE name = 'acme')"
# With another step when it is busy, 103 is no straight extension any more.
_UNDER_THEM = f"""
UPDATE extensions SET ring_time_s = 39, on_busy = 'extension:102' WHERE extension IN ('103', '104') AND {_OF_ACME};
UPDATE devices SET call_limit = 39 WHERE {_OF_ACME};
UPDATE accounts SET call_limit = 39, caller_id = '+4930555012' WHERE name = 'acme';
UPDATE trunks SET call_limit = 39 WHERE name = 'carrier-a';
"""
_AS_BEFORE = f"""
UPDATE extensions SET ring_time_s = DEFAULT, on_busy = 'busy' WHERE extension = '103' AND {_OF_ACME};
UPDATE extensions SET ring_time_s = 10 WHERE extension = '104' AND {_OF_ACME};
UPDATE devices SET call_limit = CASE name WHEN 'carol' THEN NULL WHEN 'lobby' THEN 1 ELSE 2 END WHERE {_OF_ACME};
UPDATE accounts SET call_limit = 20, caller_id = '+4930555010' WHERE name = 'acme';
UPDATE trunks SET call_limit = NULL WHERE name = 'carrier-a';
"""


def test_an_apply_and_a_rollback_drop_no_call(phones: Phones, carrier_a: Phones) -> None:
    """From phone to phone, through a media node, by a trunk; all that is theirs changes while they are up."""
    phones.registered(BOB, LOBBY, APP1, CAROL, DESK1)
    since = stack.now()
    with (
        phones.answering(LOBBY, CAROL, limit_s=60) as [lobby, carol],
        carrier_a.answering(CARRIER, limit_s=60) as [far],
    ):
        bob, app, desk = (
            phones.start("call", who, to=to, talk_ms=50000, limit_s=60)
            for who, to in ((BOB, "103"), (APP1, "104"), (DESK1, "0891234567"))
        )
        for one in (bob, app, desk):
            one.until(200)
        pairs = (
            ((bob, BOB), (lobby, LOBBY)),
            ((app, APP1), (carol, CAROL)),
            ((desk, DESK1), (far, CARRIER)),
        )
        before = newest()
        try:
            stack.sql(_UNDER_THEM)
            apply()
            assert "limit=39" in rpc("htable.get", "credential", "lobby@acme.example").out
            assert "limit=39" in rpc("htable.get", "trunk", "carrier-a").out
            assert ",39," in stack.execute("media1", "asterisk", "-rx", "dialplan show 104@account-acme").out
            hear_each_other(*pairs)
            stack.dialplane("rollback", str(before), "--yes")
            assert 'limit=1"' in rpc("htable.get", "credential", "lobby@acme.example").out
            hear_each_other(*pairs)
        finally:
            stack.sql(_AS_BEFORE)
        went_well(
            *(one.hang_up().wait() for one in (bob, app, desk)), *(one.wait() for one in (lobby, carol, far))
        )
    ways = {
        (row["called"], row["trunk"], row["media_node"] is None, row["cause"]) for row in records(since, 3)
    }
    assert ways == {("103", None, True, 16), ("104", None, False, 16), ("0891234567", "carrier-a", False, 16)}
