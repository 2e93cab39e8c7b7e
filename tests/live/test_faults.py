"""Something dies, is away, or is shouted at, while calls are set up and while they are up."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, CARRIER, DAVE, DESK1, ERIN, LOBBY
from tests.live.phones import EDGE, Phones
from tests.live.talk import both_hear, hear_each_other, node_of, records, went_well
from tests.live.test_change import apply, on_media, set_ring_time

SUPERVISOR = ("supervisorctl", "-c", "/run/supervisord.conf")


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """All phones are registered."""
    phones.registered(DESK1, APP1, BOB, CAROL, LOBBY, DAVE, ERIN)


@contextmanager
def down(*services: str) -> Iterator[None]:
    """Services killed inside the block are up, healthy and in sync after it."""
    try:
        yield
    finally:
        stack.compose("up", "--detach", "--wait", *services)
        stack.until(
            lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", limit_s=40, pause_s=1
        )


def test_a_node_killed_while_the_phone_rings_costs_the_caller_a_moment(phones: Phones) -> None:
    """The phone it rang stops; the other node rings it again."""
    since = stack.now()
    with phones.start("answer", BOB, calls=2, ring_ms=2500, arguments=("-m", "2")) as callee:
        desk = phones.start("call", DESK1, to="102", talk_ms=2000)
        desk.until(180)
        first = callee.until("INVITE")
        with down(node_of(first)):
            began = time.monotonic()
            stack.compose("kill", node_of(first))
            killed = time.monotonic()
            second = callee.until("INVITE", times=2)
            rang_again = time.monotonic()
            leg, called = desk.wait(), callee.wait()
    print(f"killed in {killed - began:.2f} s, rang again {rang_again - killed:.2f} s later")
    assert rang_again - killed < 3
    went_well(leg, called)
    both_hear((leg, DESK1), (called, BOB))
    assert node_of(second) != node_of(first)
    [written] = records(since, 1, limit_s=20)
    assert written["answered_at"]
    assert written["media_node"] == node_of(second)


def test_a_node_killed_with_calls_up_takes_its_own_and_no_other(phones: Phones) -> None:
    """Every call has one complete record: those of the dead node say why they ended."""
    since = stack.now()
    pairs = ((DESK1, "102", BOB), (APP1, "104", CAROL), (ERIN, "201", DAVE))
    with phones.answering(*(called for _, _, called in pairs), limit_s=25) as answering:
        callers = [phones.start("call", who, to=to, talk_ms=7000, limit_s=25) for who, to, _ in pairs]
        nodes = [node_of(one.until("INVITE")) for one in answering]
        for one in callers:
            one.until(200)
        with down(nodes[0]):
            time.sleep(1)
            stack.compose("kill", nodes[0])
            stack.until(lambda: all(one.over() for one in callers), "the callers hang up", 30, 0.5)
        for one in answering:
            one.stop()
    written = {row["caller"]: row for row in records(since, 3, limit_s=30)}
    for (who, _, _), node, call in zip(pairs, nodes, callers, strict=True):
        row = written[f"{who.user}@{who.domain}"]
        assert row["media_node"] == node
        assert row["cause_text"], row
        if node != nodes[0]:
            leg = call.wait()
            assert leg.ok, leg
            assert leg.heard, leg
            assert row["cause"] == 16, row


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_an_edge_that_restarts_keeps_calls_and_registrations(phones: Phones, how: str) -> None:
    """Sound goes on, the BYE passes, and a phone that did not register again still rings."""
    since = stack.now()
    with phones.answering(BOB, limit_s=60) as [callee]:
        desk = phones.start("call", DESK1, to="102", talk_ms=50000, limit_s=60)
        desk.until(200)
        with down("edge1"):
            stack.compose(how, *(("--timeout", "3") if how == "restart" else ()), "edge1")
            hear_each_other(((desk, DESK1), (callee, BOB)))
        hear_each_other(((desk, DESK1), (callee, BOB)))
        went_well(desk.hang_up().wait(), callee.wait())
    with phones.answering(BOB) as [again]:
        went_well(phones.run("call", DESK1, to="102", talk_ms=300), again.wait())
    assert records(since, 2, limit_s=20)[0]["cause"] == 16


def test_a_minute_without_postgresql_and_at_first_all_of_python(phones: Phones, carrier_a: Phones) -> None:
    """Straight, through a node, 112, and voicemail; a talk all the time. A change says that it cannot be published,
    agents start without the database. Then every record arrives, and the change is live."""
    since = stack.now()
    set_ring_time(38)
    try:
        with phones.answering(DAVE, limit_s=120) as [dave]:
            erin = phones.start("call", ERIN, to="201", talk_ms=110000, limit_s=120)
            erin.until(200)
            python("stop")
            stack.compose("stop", "--timeout", "5", "controller", "postgres")
            gone = time.monotonic()
            try:
                with phones.answering(LOBBY) as [lobby]:
                    went_well(phones.run("call", BOB, to="103", talk_ms=300), lobby.wait())
                with phones.answering(BOB) as [callee]:
                    desk = phones.run("call", DESK1, to="102", talk_ms=1500)
                    called = callee.wait()
                went_well(desk, called, phones.register(CAROL))
                both_hear((desk, DESK1), (called, BOB))
                with carrier_a.answering(CARRIER) as [far]:
                    went_well(phones.run("call", BOB, to="112", talk_ms=300), far.wait())
                with phones.start("call", DESK1, to="*101", talk_ms=17000) as left:
                    went_well(left.until_heard(None, 50).hang_up().wait())
                python("start")
                refused = apply(expect=1)
                assert "PostgreSQL at postgres" in refused.err, refused
                hear_each_other(((erin, ERIN), (dave, DAVE)))
                time.sleep(max(0.0, 60 - (time.monotonic() - gone)))
                with phones.answering(CAROL) as [carol]:
                    went_well(phones.run("call", APP1, to="104", talk_ms=300), carol.wait())
                hear_each_other(((erin, ERIN), (dave, DAVE)))
            finally:
                stack.compose("start", "postgres")
                stack.until(lambda: stack.healthy("postgres"), "PostgreSQL is back", limit_s=40)
                stack.compose("start", "controller")
            apply()
            assert all(",38," in on_media(node) for node in ("media1", "media2"))
            went_well(erin.hang_up().wait(), dave.wait())
    finally:
        set_ring_time(20)
    dialled = [row["called"] for row in records(since, 6, limit_s=30)]
    assert dialled == ["201", "103", "102", "112", "*101", "104"]
    apply()
    stack.until(
        lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", limit_s=30, pause_s=1
    )


def python(word: str) -> None:
    """Stops or starts the processes of dialplane on every node."""
    for node, processes in (("edge1", ["agent"]), ("media1", ["agent", "agi"]), ("media2", ["agent", "agi"])):
        done = stack.execute(node, *SUPERVISOR, word, *processes)
        assert done.exit == 0, done


def test_garbage_at_the_edge_costs_no_call(phones: Phones) -> None:
    """Noise, torture and half messages over UDP and TCP for the time of a call."""
    since = stack.now()
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", talk_ms=4000)
        desk.until(200)
        sent = shout(seconds=3)
        leg, called = desk.wait(), callee.wait()
    assert sent > 100
    went_well(leg, called)
    both_hear((leg, DESK1), (called, BOB), frames=150)
    records(since, 1)
    assert phones.register(DESK1).ok


LINES = b"INVITE sip:102@acme.example SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=z9hG4bK%d\r\n"
NOISE = (
    b"\0" * 900,
    b"\r\n\r\n" * 200,
    b"INVITE",
    b"INVITE sip:102@acme.example SIP/2.0\r\n\r\n",
    b"INVITE sip:102@acme.example SIP/2.0\r\nContent-Length: 999999999999999999999\r\n\r\n",
    b"INVITE sip:102@acme.example SIP/2.0\r\nVia: " + b"a" * 6000 + b"\r\n\r\n",
    b"BYE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.213.0.1;branch=\r\nFrom: ;tag=\r\nTo: <>\r\nCSeq: -1 BYE\r\n\r\n",
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.213.0.11:5060;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n",
    b"REGISTER sip:acme.example SIP/2.0\r\nTo: \"\xff\xfe" + b"<" * 500 + b"\r\nCSeq: 1 REGISTER\r\n\r\n",
    b"OPTIONS sip:%s SIP/2.0\r\nMax-Forwards: 0\r\n" + b"X: y\r\n" * 1500 + b"\r\n",
)  # fmt: skip


def shout(seconds: float) -> int:
    """Noise from this host at the edge, over UDP and over connections that are cut; returns how many pieces."""
    ends, sent = time.monotonic() + seconds, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        while time.monotonic() < ends:
            for piece in (*NOISE, os.urandom(1200)):
                udp.sendto(piece, (EDGE, 5060))
                with contextlib.suppress(OSError), socket.create_connection((EDGE, 5060), timeout=1) as tcp:
                    tcp.sendall(piece)
                sent += 2
            time.sleep(0.05)
    return sent
