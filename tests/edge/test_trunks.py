"""Carriers: number formats, signing in, registration, limits."""

from __future__ import annotations

import hashlib
import re
import socket

import pytest

from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint, Message, challenge_of
from tests.edge.steps import SPOOF, UUID, answered, dp, hang_up

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
    edge.put("block", "device:desk1@acme.example:+88213", "fraud")
    uri = "sip:+88213555@trunk.dialplane.internal"
    headers = (("X-DP-Call", "c-b"), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"))
    refused = media.invite(uri, sign=False, headers=(*headers, ("X-DP-Device", "desk1@acme.example")))
    assert media.final(refused).status == 603
    assert edge.events()[-1]["reason"] == "blocked"
    edge.drop("block", "device:desk1@acme.example:+88213")
