"""What stops a call: limits, blocks, suspension; and what none of them stops."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, CARRIER, DAVE, DESK1, ERIN, LOBBY
from tests.live.phones import Phone, Phones
from tests.live.talk import both_hear, record, went_well


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """All phones are registered."""
    phones.registered(DESK1, APP1, BOB, CAROL, LOBBY, DAVE, ERIN)


@contextmanager
def published(change: str, back: str) -> Iterator[None]:
    """A changed row, live on every node, and the row as before."""
    stack.sql(change)
    try:
        stack.dialplane("apply", "--yes", "--reason", "a limit")
        yield
    finally:
        stack.sql(back)
        stack.dialplane("apply", "--yes", "--reason", "as before")


@contextmanager
def blocked(scope: str, subject: str, what: str = "*") -> Iterator[None]:
    """A row of table blocks, committed; nothing is applied."""
    stack.sql(
        f"INSERT INTO blocks (scope, subject, what, reason) VALUES ('{scope}', '{subject}', '{what}', 'fraud')"
    )
    try:
        yield
    finally:
        stack.sql(f"DELETE FROM blocks WHERE scope = '{scope}' AND subject = '{subject}' AND what = '{what}'")


def limit(table: str, name: str, calls: int | None) -> str:
    return f"UPDATE {table} SET call_limit = {'NULL' if calls is None else calls} WHERE name = '{name}'"


def test_an_account_over_its_limit_until_a_call_ends(phones: Phones) -> None:
    with published(limit("accounts", "globex", 1), limit("accounts", "globex", 10)):
        with phones.answering(ERIN) as [callee]:
            first = phones.start("call", DAVE, to="202", talk_ms=3000)
            first.until(200)
            full = phones.run("call", replace(ERIN, port=5161), to="201", expect=486)
            went_well(full, first.wait(), callee.wait())
        with phones.answering(ERIN) as [callee]:
            went_well(phones.run("call", DAVE, to="202", talk_ms=200), callee.wait())


def test_a_device_over_its_limit_calls_no_more(phones: Phones) -> None:
    """bob's phone may hold two calls: the third one it makes is refused."""
    with (
        phones.answering(LOBBY) as [lobby],
        phones.answering(CAROL) as [carol],
        phones.start("call", BOB, to="103", talk_ms=4500) as one,
    ):
        one.until(200)
        with phones.start("call", replace(BOB, port=5151), to="104", talk_ms=3000) as two:
            two.until(200)
            third = phones.run("call", replace(BOB, port=5152), to="101", expect=486)
            went_well(third, two.wait(), carol.wait(), one.wait(), lobby.wait())


def test_a_full_trunk_is_followed_by_the_next(phones: Phones, carrier_a: Phones, carrier_b: Phones) -> None:
    with (
        published(limit("trunks", "carrier-a", 1), limit("trunks", "carrier-a", None)),
        carrier_a.answering(CARRIER) as [a],
        carrier_b.answering(CARRIER) as [b],
    ):
        first = phones.start("call", BOB, to="0891234567", talk_ms=3500)
        first.until(200)
        second = phones.run("call", DESK1, to="0891234568", talk_ms=700)
        went_well(second, first.wait(), a.wait(), b.wait())


@pytest.mark.parametrize(
    ("scope", "subject", "what", "phone", "dialled", "expect"),
    [
        ("account", "acme", "*", BOB, "103", 403),
        ("device", "bob@acme.example", "*", BOB, "103", 403),
        ("account", "acme", "+4989", BOB, "0891234567", 403),
        ("all", "*", "+88213", DESK1, "0088213123456", 403),
        ("device", "desk1@acme.example", "+88213", DESK1, "0088213123456", 403),
    ],
)
def test_a_block_refuses_the_next_call_at_once(
    phones: Phones, scope: str, subject: str, what: str, phone: Phone, dialled: str, expect: int
) -> None:
    """The commit is enough: no plan, no apply. A number blocked as a trunk has it is refused there, finally."""
    since = stack.now()
    with blocked(scope, subject, what):
        leg = phones.run("call", phone, to=dialled, expect=expect, limit_s=20)
    assert leg.ok, leg
    written = record(since)
    assert written["answered_at"] is None
    # The edge's half of the record may come a moment after the media node's.
    stack.until(lambda: "blocked" in str(record(since)["decisions"]), "the record says why")


WATCH = """
import sys, time
from pathlib import Path
from controller.wire.jsonrpc import JsonRpc
from controller.errors import DialplaneError
edge = JsonRpc(Path("/run/dialplane/kamailio.sock"))
print("watching", flush=True)
ends = time.time() + 20
while time.time() < ends:
    try:
        edge.call("htable.get", "block", sys.argv[1])
    except DialplaneError:
        time.sleep(0.01)
    else:
        print(time.time(), flush=True)
        break
"""


def test_a_block_is_in_the_edges_memory_within_a_second_of_its_commit() -> None:
    seat = ["docker", "exec", "-u", "dialplane", stack.container("edge1")]
    python = ["/opt/dialplane/bin/python", "-c", WATCH, "device:carol@acme.example:*"]
    with subprocess.Popen([*seat, *python], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert watching.stdout.readline() == "watching\n"
        stack.sql(
            "INSERT INTO blocks (scope, subject, reason) VALUES ('device', 'carol@acme.example', 'fraud')"
        )
        try:
            committed = float(
                stack.sql(
                    "SELECT extract(epoch FROM at) FROM control.audit "
                    "WHERE tbl = 'blocks' ORDER BY id DESC LIMIT 1"
                )
            )
            seen = float(watching.stdout.readline())
        finally:
            stack.sql("DELETE FROM blocks WHERE subject = 'carol@acme.example'")
    print(json.dumps({"block_live_s": round(seen - committed, 3)}))
    assert seen - committed < 1


def test_a_lifted_block_is_gone_at_once(phones: Phones) -> None:
    with blocked("device", "bob@acme.example"):
        refused = phones.run("call", BOB, to="103", expect=403)
    with phones.answering(LOBBY) as [lobby]:
        went_well(refused, phones.run("call", BOB, to="103", talk_ms=200), lobby.wait())


def test_a_suspended_account_still_reaches_help(phones: Phones, carrier_b: Phones) -> None:
    """No call in or out, but 999."""
    change = "UPDATE accounts SET status = '{}' WHERE name = 'globex'"
    with published(change.format("suspended"), change.format("active")):
        out = phones.run("call", DAVE, to="202", expect=403)
        inbound = carrier_b.run(
            "call", CARRIER, to="442079460100", host="10.213.0.11", challenge=0, expect=403
        )
        with carrier_b.answering(CARRIER) as [far]:
            emergency = phones.run("call", DAVE, to="999", talk_ms=1500)
            called = far.wait()
        went_well(out, inbound, emergency, called)
        both_hear((emergency, DAVE), (called, CARRIER))


def test_emergency_passes_a_block(phones: Phones, carrier_a: Phones) -> None:
    with blocked("account", "acme"), carrier_a.answering(CARRIER) as [far]:
        went_well(phones.run("call", BOB, to="112", talk_ms=300), far.wait())
