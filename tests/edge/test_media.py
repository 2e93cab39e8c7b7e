"""Calls to and from media nodes: headers, failover, events, limits, emergencies, blocks, trunks."""

from __future__ import annotations

import hashlib
import re
import socket
import time

import pytest

from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint, Leg, Message, challenge_of

pytestmark = pytest.mark.live
UUID = 36
SPOOF = (
    ("X-DP-Account", "evil"), ("x-dp-call", "evil"), ("X-DP-Emergency", "1"), ("X-Dp-Anything", "evil"),
    ("Route", "<sip:127.0.0.9;lr>"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def clean(edge: Edge, net: str) -> None:
    """One target, nothing down, nothing blocked, before each test."""
    edge.rpc("htable.flush", "down")
    edge.rpc("htable.flush", "block")
    edge.put("target", "c1", f"media1={net}.21:5060,10")


@pytest.fixture
def media(make: Make) -> Endpoint:
    """Media node media1."""
    return make("media1", 21, transport="tcp")


def dp(message: Message) -> dict[str, str]:
    """Its X-DP-* headers."""
    return {name: value for name, value in message.headers if name.lower().startswith("x-dp-")}


def hang_up(caller: Endpoint, leg: Leg, called: Endpoint) -> None:
    """The caller ends the call."""
    caller.within(leg, "BYE")
    called.answer(called.expect("BYE"), 200)
    caller.expect(200)


def answered(caller: Endpoint, invite: Message, called: Endpoint, incoming: Message) -> Leg:
    """The call is answered and acknowledged."""
    called.answer(incoming, 200, "OK")
    leg = caller.established(invite, caller.final(invite))
    called.expect("ACK")
    return leg


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


# -- limits ------------------------------------------------------------------------------------------


def test_account_limit_refuses_and_frees(make: Make, edge: Edge, media: Endpoint) -> None:
    one, two = make("s1", 50, "small.example"), make("s2", 51, "small.example")
    for ending in ("bye", "refused", "cancel"):
        invite = one.invite("sip:101@small.example")
        incoming = media.expect("INVITE")
        second = two.invite("sip:101@small.example")
        assert two.final(second).status == 486
        assert edge.events()[-1]["reason"] == "limit"
        if ending == "bye":
            hang_up(one, answered(one, invite, media, incoming), media)
        elif ending == "refused":
            media.answer(incoming, 603)
            assert one.final(invite).status == 603
        else:
            media.answer(incoming, 100)
            time.sleep(0.1)
            one.send(
                "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=2, from_=invite["From"], to=invite["To"],
                via=invite["Via"],
            )  # fmt: skip
            media.answer(media.expect("CANCEL"), 200)
            media.answer(incoming, 487)
            assert one.final(invite).status == 487
    invite = two.invite("sip:101@small.example")
    media.answer(media.expect("INVITE"), 486)
    assert two.final(invite).status == 486
    assert edge.rpc("dlg.profile_get_size", "call", "account:small") == 0


def test_device_limit_counts_both_directions(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("limited", 52)
    phone.register()
    invite = phone.invite(f"sip:101@{DOMAIN}")
    leg = answered(phone, invite, media, media.expect("INVITE"))
    assert media.final(media.invite(f"sip:limited@{DOMAIN}", sign=False)).status == 486
    assert phone.final(phone.invite(f"sip:102@{DOMAIN}")).status == 486
    hang_up(phone, leg, media)
    invite = media.invite(f"sip:limited@{DOMAIN}", sign=False)
    phone.answer(phone.expect("INVITE"), 486)
    assert media.final(invite).status == 486
    phone.register(expires=0)


def test_emergency_passes_every_bar(make: Make, edge: Edge, net: str, media: Endpoint) -> None:
    one, two = make("s1", 53, "small.example"), make("s2", 54, "small.example")
    held = one.invite("sip:101@small.example")
    leg = answered(one, held, media, media.expect("INVITE"))
    edge.put("block", "account:small:*", "fraud")
    edge.put("block", "all:*:112", "fraud")
    edge.put("block", f"source:{net}.54:*", "fraud")
    assert two.final(two.invite("sip:102@small.example")).status == 403
    invite = two.invite("sip:112@small.example")
    media.answer(media.expect("INVITE"), 486)
    assert two.final(invite).status == 486
    hang_up(one, leg, media)
    asleep = make("a1", 55, "asleep.example")
    assert asleep.final(asleep.invite("sip:101@asleep.example")).status == 403
    assert edge.events()[-1]["reason"] == "suspended"
    invite = asleep.invite("sip:112@asleep.example")
    media.answer(media.expect("INVITE"), 486)
    assert asleep.final(invite).status == 486


@pytest.mark.parametrize(
    ("key", "dialled"),
    [
        ("account:acme:*", "101"), ("account:acme:+88213", "+88213555"), ("all:*:0900", "0900123"),
        (f"device:desk1@{DOMAIN}:*", "101"), ("source:{net}.56:*", "101"),
        (f"device:desk1@{DOMAIN}:00", "0088213"),
    ],
)  # fmt: skip
def test_blocks(make: Make, edge: Edge, net: str, media: Endpoint, *, key: str, dialled: str) -> None:
    phone = make("desk1", 56)
    edge.put("block", key.format(net=net), "fraud")
    edge.put("block", "account:other:*", "fraud")
    assert phone.final(phone.invite(f"sip:{dialled}@{DOMAIN}")).status == 403
    assert edge.events()[-1]["reason"] == "blocked"
    edge.drop("block", key.format(net=net))
    invite = phone.invite(f"sip:{dialled}@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(invite).status == 486


# -- trunks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "dialled"),
    [(31, "4930555010"), (31, "+4930555010"), (32, "030555010"), (32, "004930555010"), (33, "+4930555010")],
)
def test_inbound_numbers_become_e164(
    make: Make, edge: Edge, media: Endpoint, host: int, dialled: str
) -> None:
    carrier = make("+15551234", host, "carrier.example")
    invite = carrier.invite(f"sip:{dialled}@{edge.address}", sign=False, headers=SPOOF)
    incoming = media.expect("INVITE")
    assert incoming.uri == "sip:+4930555010@voice.acme.dialplane.internal"
    found = dp(incoming)
    assert len(found.pop("X-DP-Call")) == UUID
    assert found["X-DP-Account"] == "acme"
    assert set(found) == {"X-DP-Account", "X-DP-Trunk"}
    hang_up(carrier, answered(carrier, invite, media, incoming), media)
    assert edge.events()[-1]["trunk"] == found["X-DP-Trunk"]
    assert edge.events()[-1]["caller"] == "+15551234"


def test_inbound_refusals(make: Make, edge: Edge, net: str) -> None:
    carrier = make("x", 31, "carrier.example")
    for number, status, reason in (
        ("4999", 404, "number"), ("4930555098", 403, "suspended"), ("4930-1", 484, "number")
    ):  # fmt: skip
        invite = carrier.invite(f"sip:{number}@{edge.address}", sign=False)
        assert carrier.final(invite).status == status
        assert edge.events()[-1]["reason"] == reason
    carrier.send("REGISTER", f"sip:{DOMAIN}")
    assert carrier.expect(403)
    edge.put("trunk_address", f"{net}.35", "taken-away")
    orphan = make("x", 35, "carrier.example")
    assert orphan.final(orphan.invite(f"sip:4930555010@{edge.address}", sign=False)).status == 404


@pytest.mark.parametrize(
    ("trunk", "host", "number", "wanted", "caller"),
    [
        ("carrier-a", 31, "+4930777", "4930777", "4930555010"),
        ("carrier-n", 32, "+4930777", "030777", "030555010"),
        ("carrier-n", 32, "+33123", "0033123", "030555010"),
        ("carrier-a", 31, "112", "112", "4930555010"),
    ],
)
def test_outbound_formats(
    make: Make, media: Endpoint, net: str, *, trunk: str, host: int, number: str, wanted: str, caller: str
) -> None:
    carrier = make("carrier", host)
    headers = (("X-DP-Call", "c-9"), ("X-DP-Account", "acme"), ("X-DP-Trunk", trunk))
    uri = f"sip:{number}@trunk.dialplane.internal"
    mine = f"<sip:+4930555010@{net}.21>;tag=m1"
    invite = media.invite(uri, sign=False, headers=headers, from_=mine)
    incoming = carrier.expect("INVITE")
    assert incoming.uri == f"sip:{wanted}@{net}.{host}:5060"
    assert incoming["From"] == f"<sip:{caller}@{net}.{host}>;tag=m1"
    assert dp(incoming) == {}
    carrier.answer(incoming, 200, "OK")
    answer = media.final(invite)
    assert answer["From"] == mine
    leg = media.established(invite, answer)
    assert carrier.expect("ACK")["From"] == incoming["From"]
    carrier.within(carrier.callee(incoming), "BYE")
    bye = media.expect("BYE")
    assert bye["To"] == mine
    media.answer(bye, 200)
    carrier.expect(200)
    assert leg.routes


def test_outbound_sign_in_and_limit(make: Make, edge: Edge, media: Endpoint) -> None:
    carrier = make("carrier", 33)
    headers = (("X-DP-Call", "c-7"), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-s"))
    uri = "sip:+4930777@trunk.dialplane.internal"
    invite = media.invite(uri, sign=False, headers=headers)
    first = carrier.expect("INVITE")
    carrier.answer(
        first, 407, "Proxy Authentication Required",
        (("Proxy-Authenticate", 'Digest realm="carrier.example", nonce="n1", qop="auth", algorithm=MD5'),),
    )  # fmt: skip
    signed = carrier.expect("INVITE")
    carrier.expect("ACK")
    assert 'username="acct7"' in signed["Proxy-Authorization"]
    assert _verifies(signed, "acct7", "carrier.example", "pw")
    assert int(signed["CSeq"].split()[0]) == int(first["CSeq"].split()[0]) + 1
    # The trunk has one line.
    refused = media.final(media.invite(uri, sign=False, headers=headers))
    assert (refused.status, edge.events()[-1]["reason"]) == (503, "limit")
    urgent = media.invite(uri, sign=False, headers=(*headers, ("X-DP-Emergency", "1")))
    carrier.answer(carrier.expect("INVITE"), 486)
    assert media.final(urgent).status == 486
    carrier.expect("ACK")
    carrier.answer(signed, 200, "OK")
    answer = media.final(invite)
    assert answer["CSeq"] == invite["CSeq"]
    leg = media.established(invite, answer)
    ack = carrier.expect("ACK")
    assert ack["CSeq"].split()[0] == signed["CSeq"].split()[0]
    hang_up(media, leg, carrier)
    invite = media.invite(uri, sign=False, headers=headers)
    again = (("WWW-Authenticate", 'Digest realm="carrier.example", nonce="n"'),)
    for _ in range(2):
        carrier.answer(carrier.expect("INVITE"), 401, "No", again)
    assert media.final(invite).status == 401


def _verifies(signed: Message, user: str, realm: str, password: str) -> bool:
    """Does the Proxy-Authorization of `signed` prove the password?"""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    found = dict(re.findall(r'(\w+)="?([^",]+)"?', signed["Proxy-Authorization"]))
    ha2 = md5(f"INVITE:{found['uri']}")
    middle = f"{found['nonce']}:{found['nc']}:{found['cnonce']}:{found['qop']}"
    return bool(found["response"] == md5(f"{md5(f'{user}:{realm}:{password}')}:{middle}:{ha2}"))


def test_unknown_trunk(make: Make, media: Endpoint) -> None:
    uri = "sip:+4930777@trunk.dialplane.internal"
    assert media.final(media.invite(uri, sign=False, headers=(("X-DP-Trunk", "none"),))).status == 404
    assert media.final(media.invite(uri, sign=False)).status == 404


def test_registration_at_a_carrier_by_rpc(make: Make, edge: Edge, net: str) -> None:
    registrar = make("registrar", 34)
    edge.rpc(
        "uac.reg_add", "carrier-r", "carrier-r", f"{net}.34", "acct7", f"{net}.34", "carrier.example", "acct7",
        ".", credential("x").split("md5=")[1][:32], f"sip:{net}.34:5060;transport=udp", 600, 0, 0, ".", ".",
    )  # fmt: skip
    request = registrar.expect("REGISTER", 8)
    assert request["To"] == f"<sip:acct7@{net}.34>"
    assert request["Contact"].startswith(f"<sip:carrier-r@{edge.address}:5060")
    registrar.answer(request, 401, "No", (("WWW-Authenticate", 'Digest realm="carrier.example", nonce="n"'),))
    assert "acct7" in registrar.expect("REGISTER")["Authorization"]
    edge.rpc("uac.reg_remove", "carrier-r")


def test_silence_is_not_an_answer_to_garbage_on_the_media_port(edge: Edge) -> None:
    """The statistics page is served on the loopback socket only."""
    with socket.create_connection((edge.address, edge.port), timeout=2) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in sock.recv(4096)[:20]


def test_nonces_are_offered_to_calls_as_well(make: Make) -> None:
    phone = make("desk1", 57)
    phone.send("INVITE", f"sip:101@{DOMAIN}")
    answer = phone.expect(407)
    assert challenge_of(answer, "SHA-256")["nonce"] == challenge_of(answer, "MD5")["nonce"]
