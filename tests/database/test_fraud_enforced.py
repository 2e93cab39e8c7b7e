"""Verdicts of fraud that are enforced: one transaction, what nodes have to do, whatever is killed, and release."""

from __future__ import annotations

import asyncio
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
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from controller import pipeline, reconciler
from controller.calls import store as calls
from controller.fraud import nodes as carried
from controller.fraud.enforce import act
from controller.fraud.model import CRITICAL, ENFORCE, OBSERVE, RELEASED, WARNING, Owner, Rule, Verdict
from controller.provisioning import secret
from controller.provisioning import store as provisioning
from controller.revision import store
from tests.database.fraud_nodes import DESK, LOBBY, Nodes

pytestmark = pytest.mark.thorough

TAKEN = ("notify", "outbound_off", "end_calls", "unregister", "rotate")
KEY = "SELECT key, value FROM control.entries WHERE tbl = 'block' ORDER BY key"


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    """The sample company, published."""
    return new_database(published_sample)


@pytest.fixture
def working(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a controller, who has no right that it does not need."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE enforcer LOGIN IN ROLE dialplane_controller")
    with psycopg.connect(make_conninfo(url, user="enforcer"), autocommit=True) as connection:
        yield connection
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE enforcer")


def verdict(*actions: str, scope: str = "device", subject: str = DESK, **more: Any) -> Verdict:
    rule: dict[str, Any] = {"destinations": ("any",), "mode": ENFORCE, "threshold": 5.0} | more
    threshold, level = rule.pop("threshold"), rule.pop("level", CRITICAL)
    at = rule.pop("at", time.time())
    evidence = rule.pop("evidence", ("+88213555", "call-1"))
    one = Rule("abroad", "concurrent", scope, 60, critical=threshold, actions=actions or ("notify",), **rule)
    account = "" if scope == "source" else "acme"
    return Verdict(
        one, scope, subject, level, 6.0, threshold, at, at + 3600, evidence=evidence, account=account
    )


def blocks(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """What edges hold, without ends."""
    return {key: value.partition(";until")[0] for key, value in connection.execute(KEY.encode())}


def states(connection: psycopg.Connection[Any]) -> dict[str, str]:
    return dict(connection.execute("SELECT action, state FROM control.fraud_actions ORDER BY id").fetchall())


def receipts(connection: psycopg.Connection[Any], action: str) -> list[dict[str, Any]]:
    row = connection.execute(
        "SELECT receipt FROM control.fraud_actions WHERE action = %s", (action,)
    ).fetchone()
    return list(row[0]) if row else []


def state(connection: psycopg.Connection[Any]) -> list[tuple[str, str | None]]:
    return connection.execute("SELECT state, ended_by FROM fraud_incidents ORDER BY id").fetchall()


def resume(url: str) -> int:
    async def run() -> int:
        async with calls.connect(url) as connection:
            return await carried.resume(connection)

    return asyncio.run(run())


WORDS = [
    (verdict("block_destination", destinations=("premium", "TN", "+88213")), {
        f"device:{DESK}": "1/+21/+88/TN/premium/;lengths=06", f"device:{DESK}:+88213": "fraud;incident=1",
        f"device:{DESK}:TN": "fraud;incident=1", f"device:{DESK}:premium": "fraud;incident=1"}),
    (verdict("outbound_off", scope="user", subject="acme/alice"), {
        "user:acme/alice": "4/", "user:acme/alice:outside": "fraud;incident=1"}),
    (verdict("block_destination", scope="account", subject="acme"), {
        "account:acme": "4/", "account:acme:outside": "fraud;incident=1"}),
    (verdict("cap_calls", scope="account", subject="acme"), {"account:acme": "16/;most=5"}),
    (verdict("suspend"), {"account:acme": "8/", "account:acme:*": "fraud;incident=1"}),
    (verdict("block_source", scope="source", subject="203.0.113.9"), {
        "source:203.0.113.9": "8/", "source:203.0.113.9:*": "fraud;incident=1"}),
    (verdict("block_destination", destinations=("unallocated",), evidence=("+49123", "x")), {
        f"device:{DESK}": "1/unallocated/", f"device:{DESK}:unallocated": "fraud;incident=1"}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "wanted"), WORDS)
def test_what_edges_hold_is_live_at_commit(
    working: psycopg.Connection[Any], said: Verdict, wanted: dict[str, str]
) -> None:
    before = working.execute("SELECT max(id) FROM control.revisions").fetchone()
    act(working, said)
    assert blocks(working) == wanted
    assert set(states(working).values()) == {"done"}
    after = working.execute("SELECT max(id) FROM control.revisions").fetchone()
    assert before is not None
    assert after == (before[0] + 1,)


def test_all_or_nothing_and_once(working: psycopg.Connection[Any]) -> None:
    said = verdict(*TAKEN)
    with working.transaction(force_rollback=True):
        act(working, said)
        assert len(blocks(working)) == 2
    assert (blocks(working), state(working), states(working)) == ({}, [], {})
    first = act(working, said)
    assert act(working, said) == first
    assert state(working) == [("open", None)]
    assert states(working) == {
        "notify": "done", "outbound_off": "done", "end_calls": "pending", "unregister": "pending", "rotate": "done",
    }  # fmt: skip
    # Its evidence and its end stand with it, and who wrote it.
    row = working.execute(
        "SELECT rule, subject, evidence, until > clock_timestamp(), opened_by FROM fraud_incidents"
    ).fetchone()
    assert row == ("abroad", DESK, ["+88213555", "call-1"], True, "enforcer")
    audited = working.execute("SELECT verb FROM control.audit WHERE tbl = 'fraud_incidents'").fetchall()
    assert audited == [("insert",)]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (verdict(*TAKEN, mode=OBSERVE), {}),
        (verdict(*TAKEN, level=WARNING), {"notify": "done"}),
        (verdict("block_destination", destinations=("internal",)), {"block_destination": "failed"}),
        (verdict("block_source"), {"block_source": "failed"}),
        (verdict("outbound_off", scope="source", subject="203.0.113.9"), {"outbound_off": "failed"}),
        (verdict("outbound_off", subject="gone@acme.example"), {"outbound_off": "failed"}),
        (verdict("block_destination", destinations=("+49112",)), {"block_destination": "failed"}),
        (
            verdict("rotate", scope="source", subject="203.0.113.9"),
            {"unregister": "failed", "rotate": "failed"},
        ),
    ],
)
def test_what_blocks_nothing(working: psycopg.Connection[Any], said: Verdict, wanted: dict[str, str]) -> None:
    act(working, said)
    assert (states(working), blocks(working)) == (wanted, {})
    for action, held in wanted.items():
        assert held != "failed" or receipts(working, action)[0]["text"]


def test_a_group_is_its_members(url: str, working: psycopg.Connection[Any]) -> None:
    with psycopg.connect(url) as owner:
        row = owner.execute(
            "SELECT g.name FROM groups g JOIN group_members m ON m.group_id = g.id LIMIT 1"
        ).fetchone()
    assert row is not None
    act(working, verdict("outbound_off", scope="group", subject=f"acme/{row[0]}"))
    held = [key for key in blocks(working) if key.endswith(":outside")]
    assert held, receipts(working, "outbound_off")
    assert all(key.startswith(("user:acme/", "device:")) for key in held)


@pytest.mark.parametrize("how", ["rule", "time", "person", "gone"])
def test_release(url: str, working: psycopg.Connection[Any], how: str) -> None:
    said = verdict(
        "outbound_off", "end_calls", "suspend", at=time.time() - (3599.5 if how != "person" else 0)
    )
    act(working, said)
    other = act(working, verdict("outbound_off", at=time.time() + 1))
    assert f"device:{DESK}:outside" in blocks(working)
    if how == "rule":
        act(working, replace(said, level=RELEASED, at=said.until))
    elif how == "time":
        time.sleep(0.6)
        working.execute("SELECT * FROM control.release_expired()")
    elif how == "person":
        working.execute("UPDATE fraud_incidents SET state = 'released' WHERE id <> %s", (other,))
    else:
        with psycopg.connect(url) as owner:
            owner.execute("DELETE FROM fraud_incidents WHERE id <> %s", (other,))
    # What another incident blocks stays blocked.
    assert blocks(working) == {
        f"device:{DESK}": "4/",
        f"device:{DESK}:outside": f"fraud;incident={other}",
    }
    if how != "gone":
        assert state(working)[0] == ("released", "enforcer" if how == "person" else how)
        assert states(working)["suspend"] == "undone"
        with (
            psycopg.connect(url) as owner,
            pytest.raises(psycopg.errors.CheckViolation, match="over stays so"),
        ):
            owner.execute("UPDATE fraud_incidents SET state = 'open', ended_at = NULL, ended_by = ''")
    assert resume(url) == 0


def test_edges_are_told_when_a_block_ends(working: psycopg.Connection[Any]) -> None:
    """So they let go in time though nobody is there to remove it; a person moves the end."""
    said = verdict("suspend")
    act(working, said)
    held = dict(working.execute(KEY.encode()).fetchall())
    assert held["account:acme:*"] == f"fraud;incident=1;until={-int(-said.until // 1)}"
    working.execute("UPDATE fraud_incidents SET until = '2035-01-01'")
    held = dict(working.execute(KEY.encode()).fetchall())
    assert held["account:acme:*"] == "fraud;incident=1;until=2051222400"
    # A person's block of the same has no end, so it stays when the incident does not.
    working.execute("INSERT INTO blocks (scope, subject, reason) VALUES ('account', 'acme', 'unpaid')")
    assert dict(working.execute(KEY.encode()).fetchall())["account:acme:*"] == "unpaid"
    working.execute("UPDATE fraud_incidents SET state = 'released'")
    assert blocks(working) == {"account:acme": "8/", "account:acme:*": "unpaid"}


ACME = "(SELECT id FROM accounts WHERE name = 'acme')"


def test_allow_lists_win(url: str, working: psycopg.Connection[Any]) -> None:
    with psycopg.connect(url) as owner:
        owner.execute(
            f"INSERT INTO fraud_allows (account_id, device_id, reason) SELECT {ACME}, id, 'ours' FROM devices"
            f" WHERE name = 'desk1' AND account_id = {ACME}".encode()
        )
        owner.execute("INSERT INTO fraud_allows (source, reason) VALUES ('203.0.113.9', 'monitoring')")
        owner.execute(
            "INSERT INTO fraud_allows (what, reason, expires_at) VALUES ('+22177', 'x', '2035-01-01')"
        )
    act(working, verdict("outbound_off"))
    act(working, verdict("block_source", scope="source", subject="203.0.113.9"))
    assert state(working) == [("closed", "allow-list")] * 2
    assert (blocks(working), states(working)) == ({}, {})
    act(working, verdict("outbound_off", subject=LOBBY))
    assert state(working)[2] == ("open", None)
    allow = "SELECT key, value FROM control.entries WHERE tbl = 'allow' ORDER BY key"
    assert working.execute(allow.encode()).fetchall() == [
        ("all:*:+22177", "allowed=1;until=2051222400"),
        (f"device:{DESK}:*", "allowed=1"),
        ("source:203.0.113.9:*", "allowed=1"),
    ]
    with psycopg.connect(url) as owner:
        owner.execute(
            "UPDATE devices SET name = 'desk9', ha1_md5 = repeat('0', 32), ha1_sha256 = repeat('0', 64)"
            " WHERE name = 'desk1'"
        )
        owner.execute("DELETE FROM fraud_allows WHERE device_id IS NULL")
    assert working.execute(allow.encode()).fetchall() == [("device:desk9@acme.example:*", "allowed=1")]


# --- what nodes have to do ------------------------------------------------------------------------------------------


def test_calls_end_and_contacts_go_with_a_receipt_each(url: str, working: psycopg.Connection[Any]) -> None:
    with Nodes(url) as nodes:
        nodes.add("call-1")
        nodes.add("call-2")
        nodes.add("call-3", device=LOBBY, user="lobby")
        nodes.add("urgent", number="112")
        nodes.contacts = {DESK: 2, LOBBY: 1}
        act(working, verdict(*TAKEN))
        assert resume(make_conninfo(url, user="enforcer")) == 2
        assert nodes.up() == {"call-3", "urgent"}
        assert nodes.contacts == {LOBBY: 1}
        assert resume(url) == 0
    assert set(states(working).values()) == {"done"}
    ended = {(one["call"], one["leg"], one["ok"]) for one in receipts(working, "end_calls")}
    assert ended == {(f"call-{n}", f"PJSIP/{leg}-call-{n}", True) for n in (1, 2) for leg in ("edge", "out")}
    assert [(one["node"], one["contact"], one["asked"]) for one in receipts(working, "unregister")] == [
        ("edge1", "sip:0", True), ("edge1", "sip:1", True),
    ]  # fmt: skip


def test_only_calls_to_where_the_rule_looks_end(url: str, working: psycopg.Connection[Any]) -> None:
    with Nodes(url) as nodes:
        nodes.add("sat", number="+88213555")
        nodes.add("home", number="+4930123456")
        said = verdict(
            "block_destination", "end_calls", scope="account", subject="acme", destinations=("satellite", "high_risk"),
            evidence=(),
        )  # fmt: skip
        act(working, said)
        resume(url)
        assert nodes.up() == {"home"}


def test_a_node_that_does_not_answer_is_asked_again(url: str, working: psycopg.Connection[Any]) -> None:
    with Nodes(url) as nodes:
        nodes.add("call-1")
        nodes.failing = {"media1"}
        act(working, verdict("outbound_off", "end_calls"))
        assert resume(url) == 0
        assert states(working)["end_calls"] == "pending"
        assert any(one["ok"] is None and one["node"] == "media1" for one in receipts(working, "end_calls"))
        nodes.failing = set()
        assert resume(url) == 1
        assert nodes.up() == set()


@pytest.mark.thorough
def test_a_silent_node_keeps_nobody_waiting(url: str, working: psycopg.Connection[Any]) -> None:
    """Calls of this incident and of the next one end where they can, before anybody knows what the node has."""
    over = threading.Event()
    follower = threading.Thread(target=lambda: asyncio.run(carried.follow(url, over.is_set)))
    with Nodes(url) as nodes:
        nodes.silent = {"media1"}
        nodes.add("call-1")
        nodes.add("call-2", device=LOBBY, user="lobby")
        follower.start()
        took = []
        for device, left in ((DESK, {"call-2"}), (LOBBY, set())):
            began = time.monotonic()
            act(working, verdict("outbound_off", "end_calls", subject=device, evidence=()))
            while set(nodes.calls["edge1"]) != left and time.monotonic() < began + 10:
                time.sleep(0.01)
            took.append(time.monotonic() - began)
        pending = states(working)
        over.set()
        follower.join()
    assert max(took) < 2, took
    assert pending["end_calls"] == "pending"


_SCRIPT = """
import asyncio, sys
from controller.calls import store
from controller.fraud import nodes
async def run():
    async with store.connect(sys.argv[1]) as connection:
        await nodes.resume(connection)
asyncio.run(run())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("step", range(1, 8))
def test_killed_at_any_step_the_next_one_finishes(
    url: str, working: psycopg.Connection[Any], step: int
) -> None:
    """The steps: list calls twice, hang both up, list again; contacts of the device twice in between."""
    act(working, verdict(*TAKEN))
    with Nodes(url, stop_at=step) as nodes:
        nodes.add("call-1")
        nodes.add("call-2")
        nodes.contacts = {DESK: 1, LOBBY: 1}
        process = subprocess.Popen([sys.executable, "-c", _SCRIPT, url])
        reached = nodes.stopped.wait(8)
        process.send_signal(signal.SIGKILL)
        process.wait()
        nodes.go_on.set()
        assert reached
        assert "pending" in states(working).values()
        nodes.settle()
        # Two at once: an action is done by one of them.
        # What the killed one had asked for is done, as agents do.
        waiting = "SELECT FROM control.node_commands WHERE done_at IS NULL"
        wait(lambda: working.execute(waiting.encode()).fetchone() is None)
        asked = len(nodes.did)
        both = [subprocess.Popen([sys.executable, "-c", _SCRIPT, url]) for _ in range(2)]
        assert [one.wait(30) for one in both] == [0, 0]
        assert nodes.did[asked:].count("edge1 unregister") <= 2
        resume(url)
        assert nodes.up() == set()
        assert nodes.contacts == {LOBBY: 1}
        done = len(nodes.did)
        assert resume(url) == 0
        assert len(nodes.did) == done
    assert set(states(working).values()) == {"done"}


def test_an_action_is_one_processs_at_a_time(url: str, working: psycopg.Connection[Any]) -> None:
    act(working, verdict("unregister"))
    with Nodes(url) as nodes, psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtext('dialplane.fraud_action'), id::integer) FROM control.fraud_actions"
        )
        assert resume(url) == 0
        assert nodes.did == []
        other.close()
        assert resume(url) == 1


@pytest.mark.thorough
def test_the_controller_has_nodes_do_it(url: str, working: psycopg.Connection[Any]) -> None:
    over = threading.Event()
    thread = threading.Thread(target=reconciler.enforce, args=(url, over))
    with Nodes(url) as nodes:
        nodes.add("call-1")
        act(working, verdict("end_calls", "outbound_off"))
        thread.start()
        wait(lambda: states(working)["end_calls"] == "done")
        assert nodes.up() == set()
        # Woken, not found by looking every second.
        nodes.add("call-2", device=LOBBY, user="lobby")
        began = time.monotonic()
        act(working, verdict("end_calls", "outbound_off", subject=LOBBY))
        wait(lambda: not nodes.up())
        assert time.monotonic() - began < 0.9
        over.set()
        thread.join(5)
    assert not thread.is_alive()


def wait(test: Callable[[], bool], longest_s: float = 10) -> None:
    deadline = time.monotonic() + longest_s
    while not test():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_messages_on_their_way_outside_are_withdrawn(url: str, working: psycopg.Connection[Any]) -> None:
    with psycopg.connect(url) as owner:
        for sender, address in ((DESK, "+49301"), (DESK, "+49302"), (LOBBY, "+49303")):
            owner.execute(
                "WITH m AS (INSERT INTO control.messages (id, account, way, sender, called, state, body)"
                " VALUES (gen_random_uuid(), 'acme', 'accepted', %s, %s, 'open', 'x') RETURNING id)"
                " INSERT INTO control.message_deliveries (message, kind, address, state)"
                " SELECT id, 'number', %s, 'due' FROM m",
                (sender, address, address),
            )
    act(working, verdict("outbound_off", "end_calls"))
    assert [one["to"] for one in receipts(working, "end_calls")] == ["+49301", "+49302"]
    left = working.execute(
        "SELECT called, state, body IS NULL FROM control.messages ORDER BY called"
    ).fetchall()
    assert left == [("+49301", "failed", True), ("+49302", "failed", True), ("+49303", "open", False)]


# --- secrets --------------------------------------------------------------------------------------------------------


def sign(connection: psycopg.Connection[Any], aor: str = DESK) -> tuple[str, ...]:
    """HA1 as the row, and as every edge, has them."""
    row = connection.execute(
        "SELECT d.ha1_md5, d.ha1_sha256, e.value FROM devices d JOIN domains o ON o.id = d.domain_id"
        " JOIN control.entries e ON e.tbl = 'credential' AND e.key = d.name || '@' || o.name"
        " WHERE d.name || '@' || o.name = %s",
        (aor,),
    ).fetchone()
    assert row is not None
    assert f"md5={row[0]};sha256={row[1]}" in row[2]
    return row[0], row[1]


def test_a_secret_changes_with_the_block_and_the_phone_fetches_the_next(
    url: str, working: psycopg.Connection[Any]
) -> None:
    old = sign(working)
    token = provisioning.new_token(working, DESK)
    assert sign(working) == old
    first = provisioning.fetch(working, DESK, token, "192.0.2.1")
    assert first is not None
    assert sign(working) == secret.digests(DESK, first.password) != old
    assert provisioning.fetch(working, DESK, token, "192.0.2.1") == first
    assert (first.user, first.domain, first.server) == (
        "desk1",
        "acme.example",
        "acme.phones.dialplane.internal",
    )
    with Nodes(url) as nodes:
        nodes.contacts = {DESK: 1}
        act(working, verdict(*TAKEN))
        dead = sign(working)
        assert dead not in (old, secret.digests(DESK, first.password))
        # Fetched before nodes have done their part: the incident waits for them.
        second = provisioning.fetch(working, DESK, token, "192.0.2.1")
        assert state(working) == [("open", None)]
        resume(url)
    assert second is not None
    assert (second.generation, sign(working)) == (2, secret.digests(DESK, second.password))
    assert second.password != first.password
    assert (state(working), blocks(working)) == ([("closed", "provisioning")], {})
    assert states(working) == {
        "notify": "done", "outbound_off": "undone", "end_calls": "done", "unregister": "done", "rotate": "done",
    }  # fmt: skip
    # Nothing that a row says lets anybody in.
    with psycopg.connect(url, row_factory=dict_row) as owner:
        dump = [
            str(owner.execute(f"SELECT * FROM {table}".encode()).fetchall())
            for table in (
                "control.device_provisioning", "control.fraud_actions", "fraud_incidents", "control.audit", "devices",
                "control.entries", "control.changes",
            )
        ]  # fmt: skip
    for word in (token, first.password, second.password):
        assert not any(word in text for text in dump)


def test_who_has_no_token_or_another_gets_nothing(url: str, working: psycopg.Connection[Any]) -> None:
    token = provisioning.new_token(working, DESK)
    newer = provisioning.new_token(working, DESK)
    old = sign(working)
    for aor, shown in ((DESK, token), (DESK, ""), (LOBBY, newer), ("x@acme.example", newer)):
        assert provisioning.fetch(working, aor, shown, "192.0.2.1") is None
    assert sign(working) == old
    with psycopg.connect(url) as owner:
        owner.execute("UPDATE devices SET enabled = false WHERE name = 'desk1'")
    assert provisioning.fetch(working, DESK, newer, "192.0.2.1") is None


def test_a_device_without_a_token_waits_for_a_person(working: psycopg.Connection[Any]) -> None:
    act(working, verdict("rotate"))
    (said,) = receipts(working, "rotate")
    assert "set a password" in said["text"]


def test_owners_of_rules_keep_incidents_apart(working: psycopg.Connection[Any]) -> None:
    said = verdict("notify")
    act(working, said)
    act(working, replace(said, rule=replace(said.rule, owner=Owner("acme"))))
    assert len(state(working)) == 2


def test_a_changed_secret_leaves_no_plan_and_no_rollback_takes_it_back(
    url: str, working: psycopg.Connection[Any]
) -> None:
    with psycopg.connect(url) as connection:
        before = store.base(connection)
        connection.execute("UPDATE devices SET call_limit = 3 WHERE name = 'desk1'")
        connection.commit()
        plan = pipeline.make_plan(connection)
        number = pipeline.publish(connection, plan, author="test", reason="x")
        connection.commit()
        assert number == before + 1
        act(working, verdict("rotate"))
        assert pipeline.make_plan(connection).empty
        connection.rollback()
        dead = sign(working)
        rollback = pipeline.make_rollback(connection, before)
        pipeline.publish(connection, rollback, author="test", reason="undo")
        connection.commit()
        row = connection.execute(
            "SELECT value FROM control.entries WHERE tbl = 'credential' AND key = %s", (DESK,)
        ).fetchone()
    assert row is not None
    assert "limit=3" not in row[0]
    assert f"md5={dead[0]};sha256={dead[1]}" in row[0]


def test_who_follows_what_goes_on_may_do_all_of_it(url: str, working: psycopg.Connection[Any]) -> None:
    """As a member of dialplane_fraud, which is all that `dialplane fraud serve` is."""
    provisioning.new_token(working, DESK)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE follower LOGIN IN ROLE dialplane_fraud")
    try:
        with psycopg.connect(make_conninfo(url, user="follower"), autocommit=True) as follower:
            for said, _ in WORDS:
                assert act(follower, replace(said, at=time.time()))
            said = verdict(*TAKEN, "suspend")
            assert act(follower, said)
            act(follower, replace(said, level=RELEASED, at=said.until))
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("DROP ROLE follower")
    assert "failed" not in states(working).values(), states(working)
