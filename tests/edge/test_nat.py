"""Phones behind NAT: answers and requests go where they came from, media goes by a media node, SDP stays as it is."""

from __future__ import annotations

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge

pytestmark = pytest.mark.live
PRIVATE = "192.168.77.5"


def test_incoming_call_to_a_phone_behind_nat(make: Make, edge: Edge) -> None:
    media, phone = make("media1", 21, transport="tcp"), make("lobby", 40, claims=PRIVATE, port=4096)
    phone.register()
    invite = media.invite(f"sip:lobby@{DOMAIN}", sign=False)
    incoming = phone.expect("INVITE")
    assert incoming.uri.startswith(f"sip:lobby@{PRIVATE}:4096")
    phone.answer(incoming, 200, "OK", body="v=0\r\n")
    answer = media.final(invite)
    assert answer.body == "v=0\r\n"
    leg = media.established(invite, answer)
    phone.expect("ACK")
    media.within(leg, "BYE")
    phone.answer(phone.expect("BYE"), 200)
    media.expect(200)
    phone.register(expires=0)


@pytest.mark.parametrize("side", ["caller", "called"])
def test_no_straight_call_with_nat_on_either_side(make: Make, edge: Edge, side: str) -> None:
    media = make("media1", 21, transport="tcp")
    caller = make("desk1", 41, claims=PRIVATE if side == "caller" else None)
    called = make("lobby", 42, claims=PRIVATE if side == "called" else None)
    other = make("lobby", 45)
    called.register()
    other.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert incoming.uri == "sip:103@voice.acme.dialplane.internal"
    assert called.silent(0.2)
    assert other.silent(0.1)
    # The phone's own contact carries the way back: an in-dialog request of the media node reaches it.
    media.answer(incoming, 200, "OK")
    answer = caller.final(invite)
    caller.established(invite, answer)
    media.expect("ACK")
    media.within(media.callee(incoming), "BYE")
    caller.answer(caller.expect("BYE"), 200)
    media.expect(200)
    called.register(expires=0)
    other.register(expires=0)


def test_phones_over_tcp_are_called_by_their_connection(make: Make, edge: Edge) -> None:
    media, phone = make("media1", 21, transport="tcp"), make("lobby", 43, transport="tcp", claims=PRIVATE)
    phone.register()
    invite = media.invite(f"sip:lobby@{DOMAIN}", sign=False)
    incoming = phone.expect("INVITE")
    phone.answer(incoming, 200, "OK")
    leg = media.established(invite, media.final(invite))
    phone.expect("ACK")
    media.within(leg, "BYE")
    phone.answer(phone.expect("BYE"), 200)
    media.expect(200)


def test_phones_behind_nat_are_pinged(make: Make, edge: Edge) -> None:
    phone = make("mobile", 44, claims=PRIVATE)
    phone.register()
    ping = phone.expect("OPTIONS", 40)
    phone.answer(ping, 200)
    assert "ping@dialplane.internal" in ping["From"]
    phone.register(expires=0)
