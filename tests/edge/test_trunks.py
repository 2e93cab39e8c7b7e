"""Carriers: number formats, signing in, registration, limits."""

from __future__ import annotations

import hashlib
import re
import socket

import pytest

from controller.policy.edge import caller_e164, fields
from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.message import Message, challenge_of
from tests.edge.phone import Endpoint
from tests.edge.steps import SPOOF, UUID, answered, dp, hang_up

# How the carriers at these hosts write numbers.
PLANS = {
    31: "format=digits", 32: "format=national;code=49;np=0", 36: "format=national;code=1;np=1",
    37: "format=national;code=34",
}  # fmt: skip
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]


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


@pytest.mark.parametrize(
    ("host", "shown", "told"),
    [
        (31, "4940123456", "+4940123456"), (31, "004940123456", "+4940123456"), (31, "anonymous", "anonymous"),
        (31, "101", "101"), (31, "alice", "alice"), (32, "040123456", "+4940123456"),
        (32, "004940123456", "+4940123456"), (32, "+4940123456", "+4940123456"), (32, "0033123456789", "+33123456789"),
        # Without its prefix a German number may be one of any town.
        (32, "12345678", "12345678"), (32, "110", "110"), (36, "2125550199", "+12125550199"),
        (36, "12125550199", "+12125550199"), (36, "5550199", "5550199"), (37, "912345678", "+34912345678"),
    ],
)  # fmt: skip
def test_who_calls_becomes_e164_where_that_can_be_told(
    make: Make, edge: Edge, media: Endpoint, net: str, *, host: int, shown: str, told: str
) -> None:
    for place in (36, 37):
        edge.put("trunk", f"carrier-{place}", f"host={net}.{place};port=5060;transport=udp;{PLANS[place]}")
        edge.put("trunk_address", f"{net}.{place}", f"carrier-{place}")
    called = {36: "+4930555010", 37: "+4930555010"}.get(host, "004930555010" if host == 32 else "4930555010")
    carrier = make(shown, host, "carrier.example")
    mine = f'"Some One" <sip:{shown}@carrier.example>;tag=c1'
    invite = carrier.invite(f"sip:{called}@{edge.address}", sign=False, from_=mine)
    incoming = media.expect("INVITE")
    assert incoming["From"] == f'"Some One" <sip:{told}@carrier.example>;tag=c1'
    leg = answered(carrier, invite, media, incoming)
    media.within(media.callee(incoming), "BYE")
    bye = carrier.expect("BYE")
    assert bye["To"] == mine
    carrier.answer(bye, 200)
    media.expect(200)
    assert leg.routes
    assert edge.events()[-1]["caller"] == told
    assert caller_e164(shown, fields(PLANS[host])) == told, "what explain says"


@pytest.mark.parametrize(
    ("shown", "asserted", "told"),
    [("4940111111", "040222222", "+4940222222"), ("acct7", "+4940222222", "+4940222222"),
     ("anonymous", "040222222", "anonymous"), ("040111111", "nobody", "+4940111111")],
)  # fmt: skip
def test_the_number_a_carrier_asserts_is_who_calls_unless_it_is_withheld(
    make: Make, edge: Edge, media: Endpoint, shown: str, asserted: str, told: str
) -> None:
    carrier = make(shown, 32, "carrier.example")
    said = (
        ("P-Asserted-Identity", f"<sip:{asserted}@carrier.example>"),
        ("Remote-Party-ID", "<sip:+4940333333@carrier.example>"),
    )
    invite = carrier.invite(f"sip:030555010@{edge.address}", sign=False, headers=said)
    incoming = media.expect("INVITE")
    assert f"<sip:{told}@" in incoming["From"]
    assert "p-asserted-identity" not in {name.lower() for name, _ in incoming.headers}
    assert "remote-party-id" not in {name.lower() for name, _ in incoming.headers}
    hang_up(carrier, answered(carrier, invite, media, incoming), media)


def test_a_phone_asserts_nothing(make: Make, media: Endpoint) -> None:
    phone = make("desk1", 51)
    said = (("P-Asserted-Identity", "<sip:+4940333333@acme.example>"),)
    invite = phone.invite(f"sip:600@{DOMAIN}", headers=said)
    incoming = media.expect("INVITE")
    assert "p-asserted-identity" not in {name.lower() for name, _ in incoming.headers}
    hang_up(phone, answered(phone, invite, media, incoming), media)


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


def test_a_block_of_a_device_holds_however_its_user_writes_the_number(
    edge: Edge, make: Make, media: Endpoint
) -> None:
    """A phone dials 0088213; only the leg to the trunk has the number in E.164, and says whose call it is."""
    make("carrier", 31)
    edge.block("device:desk1@acme.example:+88213")
    uri = "sip:+88213555@trunk.dialplane.internal"
    headers = (("X-DP-Call", "c-b"), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"))
    refused = media.invite(uri, sign=False, headers=(*headers, ("X-DP-Device", "desk1@acme.example")))
    assert media.final(refused).status == 603
    assert edge.events()[-1]["reason"] == "blocked"
    edge.unblock("device:desk1@acme.example:+88213")
