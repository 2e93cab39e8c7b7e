"""One of two edges is killed, frozen, or comes back."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.edge.conftest import DOMAIN, credential
from tests.edge.edge import Edge
from tests.edge.pair import AOR, KNOWN_S, contacts, eventually, group, together
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up
from tests.edge.test_lamps import Watch

pytestmark = pytest.mark.live
MANY = 10_000
# What one edge alone has: refusal is at once, silence is 2 s.
AT_ONCE_S = 1.0
Make = Callable[..., Endpoint]


@pytest.fixture
def edges(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Edge]]:
    both = group(net, tmp_path_factory)
    for one in both:
        one.start()
    together(both)
    yield both
    for one in both:
        one.stop(kill=True)


@pytest.fixture
def make(net: str) -> Iterator[Make]:
    """Endpoints at `.host` of the net, of the edge with that number."""
    made: list[Endpoint] = []

    def one(user: str, host: int, at: int = 1, domain: str = DOMAIN, **more: Any) -> Endpoint:
        made.append(Endpoint(user, domain, f"{net}.{host}", (f"{net}.{at}", 5060), **more))
        return made[-1]

    yield one
    for endpoint in made:
        endpoint.close()


def known(edge: Edge, phone: Endpoint) -> None:
    """It is told of the phone."""
    eventually(lambda: contacts(edge, f"{phone.user}@{DOMAIN}"), KNOWN_S)


def kill(edge: Edge) -> None:
    """As by kill -9; its files stay."""
    subprocess.run(["docker", "kill", edge.name], check=True, capture_output=True, timeout=30)


def test_the_home_is_killed(edges: list[Edge], make: Make, net: str) -> None:
    plain, natted = make("limited", 40), make("mobile", 41, claims="192.168.77.5", port=4096)
    streamed, media = make("lobby", 42, transport="tcp"), make("media1", 21, at=2, transport="tcp")
    for phone in (plain, natted, streamed):
        phone.register()
        known(edges[1], phone)
    kill(edges[0])
    for _ in range(2):
        # UDP without NAT: rung from here, which counts for it. The limit of the device is one call.
        began = time.monotonic()
        invite = media.invite(f"sip:limited@{DOMAIN}", sign=False, headers=(("X-DP-Call", "c-lost"),))
        incoming = plain.expect("INVITE", AT_ONCE_S)
        print(f"rung after {time.monotonic() - began:.3f} s")
        assert incoming.source == (f"{net}.2", 5060)
        leg = answered(media, invite, plain, incoming)
        assert media.final(media.invite(f"sip:limited@{DOMAIN}", sign=False)).status == 486
        hang_up(media, leg, plain)
    assert [(one["event"], one["media"]) for one in edges[1].events("c-lost")] == [
        ("start", "media1"), ("answered", "media1"), ("end", "media1"),
    ] * 2  # fmt: skip
    for user in ("mobile", "lobby"):
        assert media.final(media.invite(f"sip:{user}@{DOMAIN}", sign=False), AT_ONCE_S).status == 480
    back = make("lobby", 42, at=2, transport="tcp", port=5070)
    back.register()
    invite = media.invite(f"sip:{AOR}", sign=False)
    hang_up(media, answered(media, invite, back, back.expect("INVITE")), back)
    assert back.silent(0.1)


def test_the_home_is_frozen(edges: list[Edge], make: Make) -> None:
    plain, streamed = make("limited", 43), make("lobby", 44, transport="tcp")
    media = make("media1", 21, at=2, transport="tcp")
    for phone in (plain, streamed):
        phone.register()
        known(edges[1], phone)
    subprocess.run(["docker", "pause", edges[0].name], check=True, capture_output=True, timeout=30)
    try:
        invite = media.invite(f"sip:limited@{DOMAIN}", sign=False)
        hang_up(media, answered(media, invite, plain, plain.expect("INVITE", 3)), plain)
        assert media.final(media.invite(f"sip:{AOR}", sign=False), AT_ONCE_S).status == 480
    finally:
        subprocess.run(["docker", "unpause", edges[0].name], check=True, capture_output=True, timeout=30)
    # Passed over for 10 s.
    edges[1].rpc("htable.flush", "down")
    invite = media.invite(f"sip:{AOR}", sign=False)
    hang_up(media, answered(media, invite, streamed, streamed.expect("INVITE")), streamed)


def test_the_edge_that_asked_is_killed(edges: list[Edge], make: Make) -> None:
    phone, media = make("lobby", 45), make("media1", 21, at=2, transport="tcp")
    phone.register()
    known(edges[1], phone)
    media.invite(f"sip:{AOR}", sign=False)
    ringing = phone.expect("INVITE")
    phone.answer(ringing, 180)
    media.expect(180)
    kill(edges[1])
    phone.answer(phone.expect("CANCEL"), 200)
    phone.answer(ringing, 487)
    phone.expect("ACK")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_media_node_that_asked_is_killed(edges: list[Edge], make: Make, transport: str) -> None:
    phone, media = make("lobby", 50, transport=transport), make("media1", 21, at=2, transport="tcp")
    phone.register()
    known(edges[1], phone)
    media.invite(f"sip:{AOR}", sign=False)
    ringing = phone.expect("INVITE")
    phone.answer(ringing, 180)
    media.expect(180)
    time.sleep(0.3)
    media.close()
    phone.answer(phone.expect("CANCEL"), 200)
    phone.answer(ringing, 487)
    phone.expect("ACK")


def test_calls_and_lamps_of_an_edge_that_is_killed_are_over(edges: list[Edge], make: Make) -> None:
    for edge in edges:
        edge.put("lamp", f"103@{DOMAIN}", "acme/lobby")
        edge.put("credential", AOR, credential("lobby", lamp="1"))
    media, node = make("media1", 21, transport="tcp"), make("media2", 22, at=2, transport="tcp")
    phone, caller = make("lobby", 51), make("s1", 52, domain="small.example")
    phone.register()
    watch = Watch(make("desk1", 53, at=2), f"sip:103@{DOMAIN}")
    assert watch.subscribe().status == 200
    assert watch.notified() == ("active", "terminated")
    edges[1].put("target", "c1", f"media2={node.address}:5060,10")
    invite = caller.invite("sip:101@small.example")
    answered(caller, invite, media, media.expect("INVITE"))
    media.invite(f"sip:{AOR}", sign=False)
    phone.answer(phone.expect("INVITE"), 180)
    assert watch.notified() == ("active", "early")
    other = make("s2", 54, at=2, domain="small.example")
    assert other.final(other.invite("sip:101@small.example")).status == 486
    kill(edges[0])
    assert watch.notified() == ("active", "terminated")
    invite = other.invite("sip:101@small.example")
    answered(other, invite, node, node.expect("INVITE"))


def test_an_edge_that_lost_all_gets_it_back(edges: list[Edge], make: Make) -> None:
    plain, natted = make("limited", 46), make("mobile", 47, claims="192.168.77.5", port=4096)
    streamed, there = make("lobby", 48, transport="tcp"), make("desk1", 49, at=2, transport="tcp")
    for phone in (plain, natted, streamed):
        phone.register()
        known(edges[1], phone)
    there.register()
    edges[0].stop(kill=True)
    edges[0].location.unlink()
    edges[0].start()
    for user in ("limited", "mobile", "lobby", "desk1"):
        eventually(lambda user=user: contacts(edges[0], f"{user}@{DOMAIN}"), 5)  # type: ignore[misc]
    for at in (1, 2):
        edges[at - 1].rpc("htable.flush", "down")
        media = make("media1", 20 + at, at=at, transport="tcp")
        for phone in (plain, natted, there):
            invite = media.invite(f"sip:{phone.user}@{DOMAIN}", sign=False)
            hang_up(media, answered(media, invite, phone, phone.expect("INVITE")), phone)
        # Its connection ended with the edge's process.
        assert media.final(media.invite(f"sip:{AOR}", sign=False), AT_ONCE_S).status == 480


def test_three_edges(net: str, tmp_path_factory: pytest.TempPathFactory, make: Make) -> None:
    """Homes of one device ring together; when all of them are gone, what can be reached is rung, once each."""
    edges = group(net, tmp_path_factory, 3)
    try:
        for edge in edges:
            edge.start()
        together(edges)
        phones = [make("lobby", 55 + at, at=at) for at in (1, 2)]
        streamed = make("lobby", 58, at=1, transport="tcp")
        for phone in (*phones, streamed):
            phone.register()
        media = make("media1", 21, at=3, transport="tcp")
        eventually(lambda: len(contacts(edges[2])) == 3, KNOWN_S)
        for lost in (False, True):
            if lost:
                for edge in edges[:2]:
                    kill(edge)
            invite = media.invite(f"sip:{AOR}", sign=False)
            one, two = (phone.expect("INVITE", 4) for phone in phones)
            phones[0].answer(one, 180)
            media.expect(180)
            phones[1].answer(two, 200)
            leg = media.established(invite, media.final(invite))
            phones[0].answer(phones[0].expect("CANCEL"), 200)
            phones[0].answer(one, 487)
            phones[1].expect("ACK")
            if not lost:
                streamed.answer(streamed.expect("INVITE"), 180)
                streamed.expect("CANCEL")
            media.within(leg, "BYE")
            phones[1].answer(phones[1].expect("BYE"), 200)
            media.expect(200)
            phones[0].expect("ACK")
            assert phones[1].silent(0.1)
            assert phones[0].silent(0.1)
    finally:
        for edge in edges:
            edge.stop(kill=True)


def test_an_edge_is_trusted_when_its_row_is_live(edges: list[Edge], make: Make, net: str) -> None:
    """A new installation: servers start before there is a row."""
    phone, media = make("lobby", 60), make("media1", 21, at=2, transport="tcp")
    for edge in edges:
        edge.rpc("htable.flush", "edge_node")
    phone.register()
    time.sleep(KNOWN_S)
    assert contacts(edges[1]) == []
    for edge in edges:
        for one in (1, 2):
            edge.put("edge_node", f"{net}.{one}", f"edge{one}")
    phone.register()
    known(edges[1], phone)
    invite = media.invite(f"sip:{AOR}", sign=False)
    hang_up(media, answered(media, invite, phone, phone.expect("INVITE")), phone)


def contacts_of(edge: Edge) -> int:
    return int(next(value for name, value in edge.metrics().items() if "location_contacts" in name))


def test_many_registrations_at_a_start(net: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """How long a new edge takes to know them."""
    first, second = group(net, tmp_path_factory, shm_mb=512)
    first.start()
    try:
        mine = first.home / "fill.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(mine))
            sock.settimeout(10)
            sock.connect(str(first.home / "rpc.sock"))
            for number in range(MANY):
                what = [
                    "location", f"d{number}@{DOMAIN}", f"sip:d{number}@{net}.50:5060", 3600, "1.0", "", 0, 0, 0,
                ]  # fmt: skip
                ask = {"jsonrpc": "2.0", "method": "ul.add", "params": what, "id": number}
                sock.send(json.dumps(ask).encode())
                sock.recv(4096)
        assert contacts_of(first) == MANY
        second.start()
        began = time.monotonic()
        eventually(lambda: contacts_of(second) == MANY, 30)
        print(f"{MANY} registrations known {time.monotonic() - began:.1f} s after the start")
    finally:
        first.stop(kill=True)
        second.stop(kill=True)
