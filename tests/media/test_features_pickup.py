"""Pickup: a call that rings on another phone of the account is taken; the phones that rang are told so."""

from __future__ import annotations

import pytest

from tests.media.features import phone
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import BOB, until
from tests.media.test_features_conference import told

FAY, GUS, HAL = (phone(one) for one in ("fay", "gus", "hal"))


@pytest.mark.parametrize("code", ["*8101", "*8"])
def test_a_ringing_call_is_taken_and_the_phone_told(edge: Edge, media: MediaNode, code: str) -> None:
    edge.answers = {"f1": "ring"}
    caller = edge.call("101", **HAL)
    caller.wait("180")
    rings = edge.leg_to("f1")
    taker = edge.call(code, **GUS)
    taker.wait("200")
    caller.wait("200")
    told_so = rings.wait("CANCEL").get("reason")
    assert "cause=26" in told_so or "elsewhere" in told_so.lower()
    # What Asterisk tells comes behind what it does.
    until(lambda: f"dp.pickup {code[2:] or 'any'}" in told(media, taker))
    for leg in (caller, taker):
        loud = leg.audio.loud
        leg.hear(30)
        assert leg.audio.loud > loud
    caller.bye()
    taker.wait("BYE")


def test_what_another_extension_or_account_rings_is_left_alone(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f1": "ring", "bob1": "ring", "*8102": "404", "*8": "480"}
    other = edge.call("102", account="acme", Caller="alice", Device="alice1@acme.example")
    other.wait("180")
    taker = edge.call("*8", **GUS)
    assert taker.wait("final").code == 404
    mine = edge.call("101", **HAL)
    mine.wait("180")
    second = edge.call("*8102", **GUS)
    assert second.wait("final").code == 404
    assert not edge.leg_to("f1").requests
    # The other nodes were asked.
    asked = edge.leg_to("*8102").invite
    assert asked
    assert asked.start == "INVITE sip:*8102@others.dialplane.internal SIP/2.0"
    for leg in (other, mine):
        edge.cancel(leg)
        leg.wait("487")


def test_a_call_that_rings_on_another_node_is_taken_there(edge: Edge, media: MediaNode) -> None:
    """What the edge leads on from another node; the second of three nodes asks on with what it was told."""
    edge.answers = {"f1": "ring", "*8102": "404"}
    caller = edge.call("101", **HAL)
    caller.wait("180")
    edge.leg_to("f1")
    led = edge.call("*8101", **GUS, Home="1", Tried="media7")
    led.wait("200")
    caller.wait("200")
    caller.bye()
    led.wait("BYE")
    on = edge.call("*8102", **GUS, Home="1", Tried="media7")
    assert on.wait("final").code == 404
    asked = edge.leg_to("*8102").invite
    assert asked
    assert asked.get("x-dp-tried") == "media7"
    assert asked.get("x-dp-device") == GUS["Device"]


def test_a_picked_up_call_can_be_transferred(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f1": "ring", "f4": "answer"}
    caller = edge.call("101", **HAL)
    caller.wait("180")
    edge.leg_to("f1")
    taker = edge.call("*8101", **GUS)
    taker.wait("200")
    caller.wait("200")
    taker.hear(10)
    taker.send("REFER", "Refer-To: <sip:104@feat.example>", "Referred-By: <sip:gus@feat.example>")
    edge.leg_to("f4").hear(20)
    caller.hear(20)
    caller.bye()


def test_an_account_without_pickup_marks_no_leg(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"alice1": "ring", "alice2": "ring"}
    caller = edge.call("101", **BOB)
    caller.wait("180")
    edge.leg_to("alice1")
    channel = next(
        one for one in media.cli("core show channels concise").splitlines() if "AppDial" in one
    ).split("!")[0]
    assert (
        "acme" not in media.cli(f"core show channel {channel}").partition("Pickup Group")[2].splitlines()[0]
    )
    edge.cancel(caller)
    caller.wait("487")
