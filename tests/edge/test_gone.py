"""Phones and nodes that are gone: what they held is given back, and said."""

from __future__ import annotations

import time

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.phone import Endpoint

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
LONGEST_S = 10.0


def cancel(caller: Endpoint, invite: Message) -> None:
    """The caller gives up."""
    caller.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=int(invite["CSeq"].split()[0]),
        from_=invite["From"], to=invite["To"], via=invite["Via"],
    )  # fmt: skip


def place(edge: Edge) -> int:
    return int(edge.rpc("dlg.profile_get_size", "call", f"device:limited@{DOMAIN}"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("said", [None, 100, 180])
def test_a_phone_that_does_not_even_confirm_the_cancel(
    make: Make, edge: Edge, media: Endpoint, transport: str, said: int | None
) -> None:
    phone, call = make("limited", 80, transport=transport), f"c-gone-{transport}-{said}"
    phone.register()
    invite = media.invite(f"sip:limited@{DOMAIN}", sign=False, headers=(("X-DP-Call", call),))
    ringing = phone.expect("INVITE")
    if said:
        phone.answer(ringing, said)
    if said == 180:
        media.expect(180)
    if transport == "tcp":
        phone.close()
    time.sleep(0.2)
    began = time.monotonic()
    cancel(media, invite)
    assert media.final(invite, LONGEST_S).status == 487
    assert time.monotonic() - began < LONGEST_S
    time.sleep(0.2)
    assert place(edge) == 0
    assert [(e["event"], e["status"]) for e in edge.events(call)] == [("start", 0), ("failed", 487)]
    if transport == "udp":
        phone.register(expires=0)


def test_a_phone_whose_connection_is_gone_is_not_registered(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("limited", 81, transport="tcp")
    phone.register()
    phone.close()
    time.sleep(0.3)
    assert media.final(media.invite(f"sip:limited@{DOMAIN}", sign=False)).status == 404
    assert place(edge) == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_media_node_is_gone_and_the_phone_it_rang_stops(
    make: Make, media: Endpoint, transport: str
) -> None:
    phone = make("lobby", 85, transport=transport)
    phone.register()
    media.invite(f"sip:lobby@{DOMAIN}", sign=False)
    ringing = phone.expect("INVITE")
    phone.answer(ringing, 180)
    media.expect(180)
    # The process that owns connections has this one when nothing happened on it for a moment.
    time.sleep(0.3)
    media.close()
    phone.answer(phone.expect("CANCEL"), 200)
    phone.answer(ringing, 487)
    phone.expect("ACK")
    phone.register(expires=0)


def test_one_contact_is_gone_and_the_other_rings_on(make: Make, edge: Edge, media: Endpoint) -> None:
    gone, phone = make("limited", 82), make("limited", 83)
    gone.register()
    phone.register()
    invite = media.invite(f"sip:limited@{DOMAIN}", sign=False, headers=(("X-DP-Call", "c-half"),))
    ringing = phone.expect("INVITE")
    phone.answer(ringing, 180)
    time.sleep(6)
    phone.answer(ringing, 486)
    assert media.final(invite, 2).status in (408, 486)
    assert place(edge) == 0
    gone.register(expires=0)
    phone.register(expires=0)


def test_a_media_node_that_does_not_confirm_the_cancel(make: Make, edge: Edge, media: Endpoint) -> None:
    caller = make("s1", 84, "small.example")
    invite = caller.invite("sip:101@small.example")
    incoming = media.expect("INVITE")
    media.answer(incoming, 180)
    caller.expect(180)
    cancel(caller, invite)
    assert caller.final(invite, LONGEST_S).status == 487
    assert edge.rpc("dlg.profile_get_size", "call", "account:small") == 0
