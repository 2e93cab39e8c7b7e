"""Two edges of one device group: each knows who is registered, and rings phones by the edge they are at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from controller.calls.contacts import unregister
from controller.entries import server_id
from controller.wire.jsonrpc import JsonRpc
from tests.edge.conftest import DOMAIN, credential
from tests.edge.edge import Edge
from tests.edge.pair import AOR, KNOWN_S, contacts, eventually, group, together
from tests.edge.phone import Endpoint
from tests.edge.steps import SPOOF, answered, dp, hang_up
from tests.edge.test_lamps import Watch
from tests.edge.test_registrations import signed

pytestmark = pytest.mark.live
Make = Callable[..., Endpoint]


@pytest.fixture(scope="module")
def edges(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Edge]]:
    both = group(net, tmp_path_factory)
    for one in both:
        one.start()
    together(both)
    yield both
    complaints = [line for one in both for line in one.complaints()]
    for one in both:
        one.stop()
    assert complaints == []


@pytest.fixture
def make(edges: list[Edge], net: str) -> Iterator[Make]:
    """Endpoints at `.host` of the net, of the edge with that number."""
    made: list[Endpoint] = []

    def one(user: str, host: int, at: int = 1, domain: str = DOMAIN, **more: Any) -> Endpoint:
        port = 5061 if more.get("transport") == "tls" else 5060
        made.append(Endpoint(user, domain, f"{net}.{host}", (f"{net}.{at}", port), **more))
        return made[-1]

    for edge in edges:
        edge.rpc("htable.flush", "down")
    yield one
    for endpoint in made:
        endpoint.close()
    for edge in edges:
        for aor in (AOR, f"limited@{DOMAIN}"):
            with suppress(LookupError):
                edge.rpc("ul.rm", "location", aor)
    eventually(lambda: not any(contacts(edge) for edge in edges), 1)


WAYS: dict[str, dict[str, Any]] = {
    "udp": {},
    "tcp": {"transport": "tcp"},
    "tls": {"transport": "tls"},
    "udp behind nat": {"claims": "192.168.77.5", "port": 4096},
    "tcp behind nat": {"transport": "tcp", "claims": "192.168.77.5"},
}


@pytest.mark.parametrize("way", WAYS)
def test_comes_refreshes_and_leaves_at_both(edges: list[Edge], make: Make, way: str) -> None:
    phone = make("lobby", 40, **WAYS[way])
    phone.register()
    took = eventually(lambda: contacts(edges[1]) == [phone.contact], KNOWN_S)
    print(f"known at the other edge after {1000 * took:.0f} ms")
    phone.register()
    phone.register(expires=0)
    eventually(lambda: contacts(edges[1]) == [], KNOWN_S)


def test_a_closed_connection_is_known_at_both(edges: list[Edge], make: Make) -> None:
    phone = make("lobby", 41, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    phone.close()
    time.sleep(0.3)
    media = make("media1", 21, at=2, transport="tcp")
    invite = media.invite(f"sip:{AOR}", sign=False)
    assert media.final(invite).status == 404
    eventually(lambda: contacts(edges[1]) == [], 15)


@pytest.mark.parametrize("way", WAYS)
def test_a_call_by_the_other_edge(edges: list[Edge], make: Make, way: str) -> None:
    phone, media = make("lobby", 42, **WAYS[way]), make("media1", 21, at=2, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    call = f"c-{way.replace(' ', '-')}"
    invite = media.invite(f"sip:{AOR}", sign=False, headers=(("X-DP-Call", call), ("X-DP-Account", "acme")))
    incoming = phone.expect("INVITE")
    assert dp(incoming) == {}
    phone.answer(incoming, 180)
    media.expect(180)
    leg = answered(media, invite, phone, incoming)
    theirs = phone.callee(incoming)
    # Both ways, inside the dialog.
    media.within(leg, "INVITE")
    phone.answer(phone.expect("INVITE"), 200)
    media.expect(200)
    media.within(leg, "ACK", cseq=leg.cseq)
    phone.expect("ACK")
    phone.within(theirs, "INVITE")
    media.answer(media.expect("INVITE"), 200)
    phone.expect(200)
    phone.within(theirs, "ACK", cseq=theirs.cseq)
    media.expect("ACK")
    phone.within(
        theirs, "REFER", headers=(("Refer-To", f"<sip:desk2@{DOMAIN}>"), ("Referred-By", "<sip:evil@x>"))
    )
    refer = media.expect("REFER")
    assert refer.all("Referred-By") == [f"<sip:{AOR}>"]
    media.answer(refer, 202)
    phone.expect(202)
    phone.within(theirs, "BYE")
    media.answer(media.expect("BYE"), 200)
    phone.expect(200)
    story = [(one["event"], one["media"], one["edge"]) for one in edges[0].events(call)]
    assert story == [(event, "media1", "edge1") for event in ("start", "answered", "end")]
    assert edges[1].events(call) == []


def test_a_phone_is_hung_up_by_the_other_edge(edges: list[Edge], make: Make) -> None:
    phone, media = make("lobby", 43, transport="tcp"), make("media1", 21, at=2, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    invite = media.invite(f"sip:{AOR}", sign=False)
    hang_up(media, answered(media, invite, phone, phone.expect("INVITE")), phone)


def test_a_call_is_given_up(edges: list[Edge], make: Make) -> None:
    phone, media = make("lobby", 44), make("media1", 21, at=2, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    invite = media.invite(f"sip:{AOR}", sign=False)
    incoming = phone.expect("INVITE")
    phone.answer(incoming, 180)
    media.expect(180)
    media.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], from_=invite["From"], to=invite["To"], via=invite["Via"],
        headers=(("Reason", "SIP;cause=200"),),
    )  # fmt: skip
    cancel = phone.expect("CANCEL")
    assert cancel["Reason"] == "SIP;cause=200"
    phone.answer(cancel, 200)
    phone.answer(incoming, 487)
    assert media.final(invite).status == 487


def test_phones_at_both_edges_ring_together(edges: list[Edge], make: Make) -> None:
    one, two = make("lobby", 45, at=1, transport="tcp"), make("lobby", 46, at=2)
    media = make("media1", 21, at=2, transport="tcp")
    one.register()
    two.register()
    eventually(lambda: len(contacts(edges[0])) == len(contacts(edges[1])) == 2, KNOWN_S)
    told = (("X-DP-Call", "c-both"), ("X-DP-Account", "acme"), ("X-DP-Group", "sales"))
    invite = media.invite(f"sip:{AOR}", sign=False, headers=told)
    first, second = one.expect("INVITE"), two.expect("INVITE")
    assert (dp(first), dp(second)) == ({}, {})
    two.answer(second, 180)
    media.expect(180)
    one.answer(first, 200)
    leg = media.established(invite, media.final(invite))
    two.answer(two.expect("CANCEL"), 200)
    two.answer(second, 487)
    one.expect("ACK")
    media.within(leg, "BYE")
    one.answer(one.expect("BYE"), 200)
    media.expect(200)
    assert one.silent(0.1)
    # Both edges ring, and each says so.
    assert [[e["event"] for e in edge.events("c-both")] for edge in edges] == [
        ["start", "answered", "end"]
    ] * 2


@pytest.mark.parametrize("decliner", [1, 2])
def test_a_phone_at_another_edge_declines_for_itself(edges: list[Edge], make: Make, decliner: int) -> None:
    """Its home sees that the contact does not ring for the group."""
    for edge in edges:
        edge.put("shared", AOR, "sales/600")
    phones = {at: make("lobby", 58 + at, at=at) for at in (1, 2)}
    media = make("media1", 21, at=2, transport="tcp")
    for at, phone in phones.items():
        more = ";decline=sales" if at == decliner else ""
        signed(phone, f"<{phone.contact}{more}>")
    eventually(lambda: len(contacts(edges[0])) == len(contacts(edges[1])) == 2, KNOWN_S)
    invite = media.invite(f"sip:{AOR}", sign=False, headers=(("X-DP-Group", "sales"),))
    other = phones[3 - decliner]
    other.answer(other.expect("INVITE"), 486)
    assert media.final(invite).status in (404, 486)
    assert phones[decliner].silent(0.1)
    for edge in edges:
        edge.drop("shared", AOR)


def test_a_registration_that_runs_out_is_gone_at_both(edges: list[Edge], make: Make, net: str) -> None:
    edges[0].rpc("ul.add", "location", AOR, f"sip:lobby@{net}.61:5060", 2, "0.5", "", 0, 0, 0)
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    media = make("media1", 21, at=2, transport="tcp")
    eventually(lambda: contacts(edges[0]) == contacts(edges[1]) == [], 5)
    assert media.final(media.invite(f"sip:{AOR}", sign=False)).status == 404


def test_a_limit_of_a_device_is_counted_once(edges: list[Edge], make: Make) -> None:
    phone = make("limited", 47)
    phone.register()
    eventually(lambda: contacts(edges[1], f"limited@{DOMAIN}"), KNOWN_S)
    here, there = make("media1", 21, at=1, transport="tcp"), make("media2", 22, at=2, transport="tcp")
    for first, second in pairwise((here, there, here)):
        invite = first.invite(f"sip:limited@{DOMAIN}", sign=False)
        leg = answered(first, invite, phone, phone.expect("INVITE"))
        assert second.final(second.invite(f"sip:limited@{DOMAIN}", sign=False)).status == 486
        hang_up(first, leg, phone)


def test_busy_is_asked_of_the_home(edges: list[Edge], make: Make) -> None:
    phone, media = make("lobby", 48), make("media1", 21, at=2, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    leg = answered(media, media.invite(f"sip:{AOR}", sign=False), phone, phone.expect("INVITE"))
    again = media.invite(f"sip:{AOR}", sign=False, headers=(("X-DP-Skip-Busy", "1"),))
    assert media.final(again).status == 486
    hang_up(media, leg, phone)


def test_a_message_reaches_a_phone_of_the_other_edge(edges: list[Edge], make: Make) -> None:
    phone, media = make("lobby", 49, transport="tcp"), make("media1", 21, at=2, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    media.send("NOTIFY", f"sip:{AOR}")
    phone.answer(phone.expect("NOTIFY"), 200)
    media.expect(200)


def test_who_moves_to_the_other_edge_rings_once(edges: list[Edge], make: Make, net: str) -> None:
    phone, media = make("lobby", 50), make("media1", 21, at=1, transport="tcp")
    phone.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    before = [len(one.registrations(AOR)) for one in edges]
    phone.edge = (f"{net}.2", 5060)
    phone.register()
    time.sleep(KNOWN_S)
    assert contacts(edges[0]) == contacts(edges[1]) == [phone.contact]
    said = [one.registrations(AOR)[seen:] for one, seen in zip(edges, before, strict=True)]
    assert said == [[("gone", "moved")], [("registered", "")]]
    invite = media.invite(f"sip:{AOR}", sign=False)
    incoming = phone.expect("INVITE")
    assert incoming.source == (f"{net}.2", 5060)
    hang_up(media, answered(media, invite, phone, incoming), phone)
    assert phone.silent(0.1)


def test_a_call_from_phone_to_phone_at_another_edge_passes_a_media_node(
    edges: list[Edge], make: Make
) -> None:
    called, caller = make("lobby", 51, at=1), make("desk1", 52, at=2)
    media = make("media1", 21, at=2, transport="tcp")
    called.register()
    eventually(lambda: contacts(edges[1]), KNOWN_S)
    invite = caller.invite(f"sip:103@{DOMAIN}")
    incoming = media.expect("INVITE")
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
    assert called.silent(0.1)


def test_strangers_are_no_edges(edges: list[Edge], make: Make, net: str) -> None:
    victim = make("lobby", 53)
    victim.register()
    for transport in ("udp", "tcp"):
        stranger = make("desk1", 54, transport=transport)
        stranger.send("KDMQ", f"sip:usrloc@{net}.1", body=f'{{"action":2,"aor":"{AOR}","ruid":"x"}}')
        stranger.expect(405)
        stranger.send("INVITE", f"sip:{AOR}", headers=(*SPOOF, ("X-DP-Node", "media1")))
        stranger.expect(407)
    # An edge's address over UDP is not an edge's.
    forged = make("desk1", 3, at=1)
    forged.send("KDMQ", f"sip:usrloc@{net}.1", body="{}")
    forged.expect(405)
    assert contacts(edges[0]) == [victim.contact]
    assert victim.silent(0.1)


def small(edge: Edge, whose: str = "account:small") -> int | None:
    """Calls of account small at edge1, as that edge knows them."""
    try:
        return int(edge.rpc("htable.get", "calls", f"{whose}/edge1")["item"]["value"])
    except LookupError:
        return None


def test_a_limit_of_an_account_holds_over_both(edges: list[Edge], make: Make) -> None:
    here, there = make("s1", 55, 1, "small.example"), make("s2", 56, 2, "small.example")
    media = make("media1", 21, transport="tcp")
    for _ in range(2):
        invite = here.invite("sip:101@small.example")
        incoming = media.expect("INVITE")
        media.answer(incoming, 180)
        here.expect(180)
        eventually(lambda: small(edges[1]) == 1, KNOWN_S)
        assert there.final(there.invite("sip:101@small.example")).status == 486
        leg = answered(here, invite, media, incoming)
        assert there.final(there.invite("sip:101@small.example")).status == 486
        hang_up(here, leg, media)
        eventually(lambda: small(edges[1]) is None, 2.5)
    second = there.invite("sip:101@small.example")
    incoming = media.expect("INVITE")
    media.answer(incoming, 486)
    assert there.final(second).status == 486


def test_a_limit_of_a_trunk_holds_over_both(edges: list[Edge], make: Make) -> None:
    here, there = make("media1", 21, at=1, transport="tcp"), make("media2", 22, at=2, transport="tcp")
    carrier = make("carrier", 33)
    asks = (("X-DP-Trunk", "carrier-s"), ("X-DP-Account", "acme"))
    for first, second in pairwise((here, there, here)):
        invite = first.invite("sip:+4915112345@trunk.dialplane.internal", sign=False, headers=asks)
        incoming = carrier.expect("INVITE")
        # Each tells the other of its calls; until then both would let one in.
        eventually(lambda: all(edge.rpc("htable.dump", "calls") for edge in edges), 2.5)
        again = second.invite("sip:+4915112345@trunk.dialplane.internal", sign=False, headers=asks)
        assert second.final(again).status == 503
        hang_up(first, answered(first, invite, carrier, incoming), carrier)
        eventually(
            lambda: edges[1].rpc("htable.dump", "calls") == edges[0].rpc("htable.dump", "calls") == [], 2.5
        )


def test_a_lamp_shows_what_happens_at_the_other_edge(edges: list[Edge], make: Make) -> None:
    for edge in edges:
        edge.put("lamp", f"103@{DOMAIN}", "acme/lobby")
        edge.put("credential", AOR, credential("lobby", lamp="1"))
    phone, media = make("lobby", 57), make("media1", 21, transport="tcp")
    phone.register()
    watch = Watch(make("desk1", 58, at=2), f"sip:103@{DOMAIN}")
    assert watch.subscribe().status == 200
    assert watch.notified() == ("active", "terminated")
    invite = media.invite(f"sip:{AOR}", sign=False)
    incoming = phone.expect("INVITE")
    began = time.monotonic()
    assert watch.notified() == ("active", "early")
    print(f"told after {1000 * (time.monotonic() - began):.0f} ms")
    leg = answered(media, invite, phone, incoming)
    assert watch.notified() == ("active", "confirmed")
    hang_up(media, leg, phone)
    assert watch.notified() == ("active", "terminated")
    # One that was not told may ask.
    edges[0].put("said", "acme/lobby", "busy")
    edges[1].rpc("htable.delete", "young", "asked")
    assert watch.quiet()
    assert watch.subscribe(0).status == 200


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_is_asked_by_its_home_and_unregistered_everywhere(
    edges: list[Edge], make: Make, transport: str
) -> None:
    phone = make("lobby", 90, 2, transport=transport)
    phone.register()
    eventually(lambda: contacts(edges[0]), KNOWN_S * 10)
    told = []
    for rest in (False, True):
        for number, edge in enumerate(edges, 1):
            rpc = JsonRpc(edge.home / "rpc.sock")
            told += unregister(rpc, AOR, server_id(f"edge{number}"), rest=rest)
            rpc.close()
    assert [one["asked"] for one in told][:1] == [True]
    assert not any(one["asked"] for one in told[1:])
    assert phone.expect("NOTIFY")["Event"] == "check-sync"
    with pytest.raises(TimeoutError):
        phone.expect("NOTIFY", 0.3)
    eventually(lambda: not any(contacts(edge) for edge in edges), 2)
