"""Parking: what waits in a slot, who has it, what the one who parked it is told, and where it goes when nobody comes.

What waits is always a leg that the edge led home (header Home), as is who dials the slot.
"""

from __future__ import annotations

import pytest

from tests.media.features import phone
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import until
from tests.media.test_features_conference import loud, still, told

FAY, GUS, HAL, IDA = ({**phone(one), "Home": "1"} for one in ("fay", "gus", "hal", "ida"))
BY_GUS = {"By": "f2@feat.example"}


def parked(edge: Edge, media: MediaNode, called: str, slot: str, by: str, **who: str) -> Leg:
    """A call that waits in a slot."""
    leg = edge.call(called, **who)
    leg.wait("200")
    until(lambda: f"dp.park {slot} by {by}" in told(media, leg), 30)
    return leg


def lamps(edge: Edge, *said: tuple[str, str]) -> None:
    """What the edge was told last of slots, in order: slot and seconds."""

    def told_last() -> list[tuple[str, str]]:
        messages = [one for one in edge.others if one.method == "MESSAGE"]
        return [(one.user.partition(".")[0], one.body.strip()) for one in messages][-len(said) :]

    until(lambda: told_last() == list(said), 20)


def heard_by_each_other(*legs: Leg) -> None:
    for leg in legs:
        loud(leg)


def test_a_call_waits_with_music_until_somebody_dials_the_slot(edge: Edge, media: MediaNode) -> None:
    first = parked(edge, media, "700", "701", "f1@feat.example", **FAY)
    second = parked(edge, media, "700", "702", "f2@feat.example", **GUS)
    heard_by_each_other(first, second)  # the slot is said, then the music
    taker = edge.call("701", **HAL)
    taker.wait("200")
    until(lambda: "dp.unpark 701" in told(media, taker))
    heard_by_each_other(taker, first)
    lamps(edge, ("701", "630"), ("702", "630"), ("701", "0"))
    # Its slot is free again.
    third = parked(edge, media, "700", "701", "f4@feat.example", **IDA)
    taker.bye()
    first.wait("BYE")
    for leg in (second, third):
        leg.bye()


def test_who_is_parked_hangs_up(edge: Edge, media: MediaNode) -> None:
    leg = parked(edge, media, "700", "701", "f1@feat.example", **FAY)
    leg.bye()
    lamps(edge, ("701", "630"), ("701", "0"))
    assert edge.others[-1].start == "MESSAGE sip:701.feat-1@lamp.dialplane.internal SIP/2.0"
    until(lambda: "PJSIP/" not in media.cli("core show channels concise"), 20)
    taker = edge.call("701", **HAL)
    taker.wait("200")
    taker.wait("BYE", 30)
    assert "dp.refused no call is parked at 701" in told(media, taker)
    parked(edge, media, "700", "701", "f1@feat.example", **FAY).bye()


def test_nobody_is_there_and_an_outsider_gets_nothing(edge: Edge, media: MediaNode) -> None:
    taker = edge.call("702", **HAL)
    taker.wait("200")
    taker.wait("BYE", 30)
    assert "dp.refused no call is parked at 702" in told(media, taker)
    leg = parked(edge, media, "700", "701", "f1@feat.example", **FAY)
    outsider = edge.call("701", account="feat-1", Trunk="", Home="1")
    assert outsider.wait("final", 30).code == 403
    taker = edge.call("701", **HAL)
    taker.wait("200")
    heard_by_each_other(taker, leg)
    leg.bye()
    taker.wait("BYE")


def test_a_phone_transfers_its_call_there(edge: Edge, media: MediaNode) -> None:
    """The call goes home, and the edge is told who transferred it: what the edge wrote into Referred-By."""
    edge.answers = {"f4": "answer", "700": "ring"}
    caller = edge.call("104", **phone("hal"))
    caller.wait("200")
    called = edge.leg_to("f4")
    called.hear(10)
    called.send("REFER", "Refer-To: <sip:700@feat.example>", "Referred-By: <sip:f4@feat.example>")
    asked = edge.leg_to("700").invite
    assert asked
    assert asked.start == "INVITE sip:700@home.dialplane.internal SIP/2.0"
    assert asked.get("x-dp-by") == "f4@feat.example"
    assert asked.get("x-dp-device") == "f3@feat.example"
    caller.bye()


@pytest.mark.parametrize("to", ["700", "701"])
def test_no_node_parks_it_and_who_transferred_it_has_it_back(edge: Edge, media: MediaNode, to: str) -> None:
    edge.answers = {"f4": "answer", to: "480"}
    caller = edge.call("104", **phone("hal"))
    caller.wait("200")
    called = edge.leg_to("f4")
    called.hear(10)
    edge.legs.pop(called.call_id)
    edge.send(
        edge.request(called, "REFER", called.target, 200, (f"Refer-To: <sip:{to}@feat.example>",
        "Referred-By: <sip:f4@feat.example>"))
    )  # fmt: skip
    heard_by_each_other(edge.leg_to("f4"), caller)
    assert any(one.startswith(f"dp.refused no node took {to}") for one in told(media, caller))
    caller.bye()


def test_an_attended_transfer_puts_the_other_call_into_the_slot(edge: Edge, media: MediaNode) -> None:
    """Who parks hears the slot, and is out; what waits at home is the same leg all the time."""
    edge.answers = {"f4": "answer", "700": "ring"}
    caller = edge.call("104", **phone("hal"))
    caller.wait("200")
    called = edge.leg_to("f4")
    called.hear(10)
    consult = edge.call("700", **phone("ida"))
    away = edge.leg_to("700")
    assert away.invite
    assert away.invite.get("x-dp-device") == "f4@feat.example"
    home = parked(edge, media, "700", "701", "f4@feat.example", **IDA)
    edge.answer(away)
    consult.wait("200")
    consult.hear(10)
    tags = [part.split("tag=")[1] for part in (consult.remote, consult.local)]
    replaces = f"{consult.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
    called.send("REFER", f"Refer-To: <sip:700@feat.example?Replaces={replaces}>")
    until(lambda: any(one.method == "BYE" for one in (*called.requests, *consult.requests)), 20)
    heard_by_each_other(caller, away)
    assert not [one for one in (*away.requests, *home.requests) if one.method == "BYE"]
    caller.bye()
    away.wait("BYE")
    home.bye()


def test_who_transferred_is_called_and_told_the_slot(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f2": "answer"}
    leg = parked(edge, media, "700", "701", "f2@feat.example", **FAY, **BY_GUS)
    said = edge.leg_to("f2")
    assert said.invite
    assert "<sip:701@" in said.invite.get("from")
    assert "answer-after=0" in said.invite.get("call-info")
    assert said.invite.get("x-dp-call") == f"call-{leg.call_id}"
    loud(said, 10)
    said.wait("BYE", 30)
    assert not leg.requests
    leg.bye()


def test_nobody_comes_and_it_rings_where_it_was_parked(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f2": "486"}
    leg = parked(edge, media, "710", "711", "f2@feat.example", **FAY, **BY_GUS)
    edge.legs.pop(edge.leg_to("f2").call_id)  # it does not want to hear the slot
    edge.answers = {"f2": "ring"}
    back = edge.leg_to("f2")
    assert back.invite
    assert '"711 Fay" <sip:101@' in back.invite.get("from")
    edge.answer(back)
    heard_by_each_other(back, leg)
    assert "dp.park 711: nobody came" in told(media, leg)
    back.bye()
    leg.wait("BYE")


def test_nor_is_it_taken_there(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f1": "ring", "f4": "answer"}
    leg = parked(edge, media, "710", "711", "f1@feat.example", **FAY)
    edge.leg_to("f1").wait("CANCEL", 30)
    heard_by_each_other(edge.leg_to("f4"), leg)
    assert "dp.next extension:104" in told(media, leg)
    leg.bye()


def test_no_slot_is_free(edge: Edge, media: MediaNode) -> None:
    """Who parked it has it back at once."""
    edge.answers = {"f2": "answer"}
    full = [parked(edge, media, "700", slot, "f1@feat.example", **FAY) for slot in ("701", "702")]
    leg = edge.call("700", **HAL, **BY_GUS)
    leg.wait("200")
    heard_by_each_other(edge.leg_to("f2"), leg)
    assert "dp.refused no slot of parking lot desk is free" in told(media, leg)
    for one in (*full, leg):
        one.bye()


@pytest.mark.parametrize("taken", [False, True])
def test_a_call_transferred_to_a_slot_waits_there(edge: Edge, media: MediaNode, *, taken: bool) -> None:
    edge.answers = {"f2": "answer"}
    if not taken:
        leg = parked(edge, media, "702", "702", "f2@feat.example", **FAY, **BY_GUS)
    else:
        leg = parked(edge, media, "700", "701", "f1@feat.example", **FAY)
        other = edge.call("701", **HAL, **BY_GUS)
        other.wait("200")
        heard_by_each_other(edge.leg_to("f2"), other)
        other.bye()
    leg.bye()


def test_a_parked_call_that_was_taken_can_be_transferred(edge: Edge, media: MediaNode) -> None:
    """By either side, from the node its phone is connected to."""
    edge.answers = {"f4": "answer", "701": "ring", "f1": "answer"}
    leg = parked(edge, media, "700", "701", "f1@feat.example", **FAY)
    taker = edge.call("701", **phone("hal"))
    away = edge.leg_to("701")
    home = edge.call("701", **HAL)
    home.wait("200")
    edge.answer(away)
    taker.wait("200")
    heard_by_each_other(home, leg)
    taker.send("REFER", "Refer-To: <sip:104@feat.example>", "Referred-By: <sip:f3@feat.example>")
    heard_by_each_other(edge.leg_to("f4"), away)
    assert not still(leg)
    for one in (away, home):
        one.bye()
    leg.wait("BYE")
