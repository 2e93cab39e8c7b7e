"""Calls to and from media nodes: headers, failover, events."""

from __future__ import annotations

import time

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import SPOOF, UUID, answered, dp, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]


def test_to_media_with_our_headers_only(make: Make, edge: Edge, media: Endpoint) -> None:
    caller = make("desk1", 40)
    invite = caller.invite(f"sip:101@{DOMAIN}", headers=SPOOF, algorithm="SHA-256")
    incoming = media.expect("INVITE")
    assert incoming.uri == "sip:101@voice.acme.dialplane.internal"
    found = dp(incoming)
    call = found.pop("X-DP-Call")
    assert len(call) == UUID
    assert found == {"X-DP-Account": "acme", "X-DP-Caller": "desk", "X-DP-Device": f"desk1@{DOMAIN}"}
    assert incoming.all("Proxy-Authorization") == []
    assert incoming.body.startswith("v=0")
    media.answer(incoming, 180, "Ringing")
    caller.expect(180)
    hang_up(caller, answered(caller, invite, media, incoming), media)
    story = edge.events(call)
    assert [(e["event"], e["leg"], e["media"], e["by"]) for e in story] == [
        ("start", "in", "media1", ""),
        ("answered", "in", "media1", ""),
        ("end", "in", "media1", "caller"),
    ]
    assert story[0]["account"] == "acme"
    assert story[0]["caller"] == "desk"
    assert story[0]["called"] == "101"
    assert abs(story[0]["ts"] / 1000 - time.time()) < 5


def test_media_failure_answers_pass(make: Make, edge: Edge, media: Endpoint) -> None:
    caller = make("desk1", 41)
    for status, provisional in ((486, True), (404, False), (500, False), (503, True)):
        invite = caller.invite(f"sip:101@{DOMAIN}")
        incoming = media.expect("INVITE")
        if provisional:
            media.answer(incoming, 100, "Trying")
        media.answer(incoming, status, "No")
        # A 503 speaks of the hop that said it: a proxy hands it on as 500 (RFC 3261 16.7).
        assert caller.final(invite).status == (500 if status == 503 else status)
        media.expect("ACK")
        assert [(e["event"], e["status"]) for e in edge.events(dp(incoming)["X-DP-Call"])] == [
            ("start", 0),
            ("failed", status),
        ]
    assert edge.rpc("htable.dump", "down") == []


@pytest.mark.parametrize("how", ["refuses", "503", "silent", "closes"])
def test_failover_to_the_next_target(make: Make, edge: Edge, net: str, how: str) -> None:
    caller, second = make("desk1", 42), make("media2", 22, transport="tcp")
    first = None if how == "refuses" else make("media1", 21, transport="tcp")
    edge.put("target", "c1", f"media1={net}.21:5060,1000000 media2={net}.22:5060,1")
    began = time.monotonic()
    invite = caller.invite(f"sip:101@{DOMAIN}")
    if first is not None:
        lost = first.expect("INVITE")
        if how == "503":
            first.answer(lost, 503, "Service Unavailable")
        if how == "closes":
            first.close()
    incoming = second.expect("INVITE", 4)
    took = time.monotonic() - began
    assert took < (0.5 if how == "503" else 3), took
    leg = answered(caller, invite, second, incoming)
    if how == "silent":
        assert first is not None
        caller.expect(100)
        # It finds its voice again: a caller takes the last 200 for the one that counts.
        first.answer(lost, 200)
        assert caller.silent(0.3)
    hang_up(caller, leg, second)
    story = edge.events(dp(incoming)["X-DP-Call"])
    assert [e["media"] for e in story] == ["media1", "media2", "media2"]
    # For some seconds the first is passed over without asking.
    began = time.monotonic()
    invite = caller.invite(f"sip:101@{DOMAIN}")
    incoming = second.expect("INVITE")
    assert time.monotonic() - began < 0.5
    second.answer(incoming, 486)
    assert caller.final(invite).status == 486


@pytest.mark.parametrize("rings", [False, True])
def test_a_node_dies_with_the_call_in_set_up(make: Make, edge: Edge, net: str, *, rings: bool) -> None:
    caller, phone = make("desk1", 42), make("desk2", 59)
    first, second = make("media1", 21, transport="tcp"), make("media2", 22, transport="tcp")
    phone.register()
    edge.put("target", "c1", f"media1={net}.21:5060,1000000 media2={net}.22:5060,1")
    invite = caller.invite(f"sip:101@{DOMAIN}")
    lost = first.expect("INVITE")
    first.answer(lost, 100, "Trying")
    if rings:
        first.answer(lost, 180, "Ringing")
        caller.expect(180)
    first.invite(f"sip:desk2@{DOMAIN}", sign=False, headers=(("X-DP-Call", f"c-lost-{rings}"),))
    ringing = phone.expect("INVITE")
    phone.answer(ringing, 180)
    first.expect(180)
    began = time.monotonic()
    first.close()
    incoming = second.expect("INVITE", 4)
    assert time.monotonic() - began < 1
    assert dp(incoming)["X-DP-Call"] == dp(lost)["X-DP-Call"]
    cancel = phone.expect("CANCEL")
    phone.answer(cancel, 200)
    phone.answer(ringing, 487)
    phone.expect("ACK")
    hang_up(caller, answered(caller, invite, second, incoming), second)
    assert [e["event"] for e in edge.events(dp(lost)["X-DP-Call"])] == ["start", "answered", "end"]
    assert [e["event"] for e in edge.events(f"c-lost-{rings}")] == ["start", "failed"]
    assert edge.rpc("htable.dump", "taken") == []
    assert edge.rpc("htable.dump", "asked") == []
    phone.register(expires=0)


def test_all_targets_down_are_tried_nevertheless(make: Make, edge: Edge, media: Endpoint) -> None:
    caller = make("desk1", 43)
    edge.put("down", "media1", "1")
    invite = caller.invite(f"sip:101@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert caller.final(invite).status == 486


def test_no_target_at_all(make: Make, edge: Edge, net: str) -> None:
    caller = make("l1", 44, "lonely.example")
    assert caller.final(caller.invite("sip:101@lonely.example")).status == 503
    caller = make("desk1", 45)
    edge.put("target", "c1", f"media1={net}.21:5060,1 media2={net}.22:5060,1")
    invite = caller.invite(f"sip:101@{DOMAIN}")
    assert caller.final(invite).status == 503
    assert edge.events()[-1]["status"] == 503


def test_weights_share_the_calls(make: Make, edge: Edge, net: str, media: Endpoint) -> None:
    caller, second = make("desk1", 46), make("media2", 22, transport="tcp")
    edge.put("target", "c1", f"media1={net}.21:5060,3 media2={net}.22:5060,1")
    count = {"media1": 0, "media2": 0}
    for _ in range(60):
        invite = caller.invite(f"sip:101@{DOMAIN}")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            for node in (media, second):
                try:
                    incoming = node.expect("INVITE", 0.01)
                except TimeoutError:
                    continue
                count[node.user] += 1
                node.answer(incoming, 486)
                break
            else:
                continue
            break
        caller.final(invite)
    assert 30 <= count["media1"] <= 57, count


def test_media_to_device(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("desk2", 47)
    invite = media.invite(f"sip:desk2@{DOMAIN}", sign=False)
    assert media.final(invite).status == 404
    phone.register()
    headers = (("X-DP-Call", "c-1"), ("X-DP-Account", "acme"))
    invite = media.invite(f"sip:desk2@{DOMAIN}", sign=False, headers=headers)
    incoming = phone.expect("INVITE")
    assert dp(incoming) == {}
    phone.answer(incoming, 180)
    media.expect(180)
    leg = answered(media, invite, phone, incoming)
    phone.within(phone.callee(incoming), "BYE")
    media.answer(media.expect("BYE"), 200)
    phone.expect(200)
    assert leg.routes
    assert [(e["event"], e["leg"], e["device"], e["by"]) for e in edge.events("c-1")] == [
        ("start", "out", f"desk2@{DOMAIN}", ""),
        ("answered", "out", f"desk2@{DOMAIN}", ""),
        ("end", "out", f"desk2@{DOMAIN}", "callee"),
    ]
    media.send("NOTIFY", f"sip:desk2@{DOMAIN}", headers=(("Event", "message-summary"),))
    phone.answer(phone.expect("NOTIFY"), 200)
    assert media.expect(200)
    phone.register(expires=0)


def test_a_device_that_never_answers_is_a_408(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("desk2", 48)
    phone.register()
    invite = media.invite(f"sip:desk2@{DOMAIN}", sign=False, headers=(("X-DP-Call", "c-2"),))
    assert media.final(invite, 8).status == 408
    assert [(e["event"], e["status"]) for e in edge.events("c-2")] == [("start", 0), ("failed", 408)]
    phone.register(expires=0)


def test_only_media_nodes_may_use_the_internal_names(make: Make, media: Endpoint) -> None:
    stranger = make("desk1", 49)
    stranger.send("INVITE", "sip:+4930123@trunk.dialplane.internal", headers=(("X-DP-Trunk", "carrier-a"),))
    assert stranger.expect(407)
    invite = stranger.invite("sip:+4930123@trunk.dialplane.internal", headers=(("X-DP-Trunk", "carrier-a"),))
    assert stranger.final(invite).status == 404
    assert media.silent(0.2)


def test_a_forged_udp_source_is_no_media_node(make: Make) -> None:
    forger = make("media1", 21)
    forger.send("INVITE", "sip:+4930123@trunk.dialplane.internal", headers=(("X-DP-Trunk", "carrier-a"),))
    assert forger.expect(407)


def test_a_device_taken_away_is_not_called(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("mobile", 58)
    phone.register()
    value = edge.rpc("htable.get", "credential", f"mobile@{DOMAIN}")["item"]["value"]
    edge.drop("credential", f"mobile@{DOMAIN}")
    assert media.final(media.invite(f"sip:mobile@{DOMAIN}", sign=False)).status == 404
    assert phone.silent(0.2)
    edge.put("credential", f"mobile@{DOMAIN}", value)
    phone.register(expires=0)
