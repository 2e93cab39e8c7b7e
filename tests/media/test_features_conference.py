"""Conferences: who is let in, who hears whom, who waits, what is recorded, and where they live."""

from __future__ import annotations

import json
import time

import pytest

from tests.media.features import NUMBER, phone
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import decisions, until
from tests.media.test_voicemail import press

FAY, GUS, HAL = ({**phone(one), "Home": "1"} for one in ("fay", "gus", "hal"))


def inside(media: MediaNode, leg: Leg, room: str, role: str = "member") -> None:
    until(lambda: f"dp.conference {room} {role}" in told(media, leg), 30)


def told(media: MediaNode, leg: Leg) -> list[str]:
    """`dp.what detail` of one call."""
    return [
        f"{what} {json.loads(detail)['extra']}"
        for what, _, detail in (one.partition(" ") for one in decisions(media, leg))
    ]


def loud(leg: Leg, packets: int = 20) -> None:
    """So many more packets with a voice arrive."""
    goal = leg.audio.loud + packets
    until(lambda: leg.audio.loud >= goal, 30)


def still(leg: Leg, seconds: float = 1.5) -> bool:
    """No voice arrives for a while."""
    before = leg.audio.loud
    time.sleep(seconds)
    return leg.audio.loud - before < 5


def members(media: MediaNode, room: str, count: int) -> None:
    listed = f"confbridge list {room}@feat-1"
    until(lambda: media.cli(listed).count("PJSIP/") == count, 30)


def flags(media: MediaNode, room: str) -> list[str]:
    """What Asterisk notes of each member."""
    lines = media.cli(f"confbridge list {room}@feat-1").splitlines()
    return sorted("".join(one for one in line[31:37] if one in "AMw") for line in lines if "PJSIP/" in line)


def test_two_hear_each_other_and_a_third_finds_it_full(edge: Edge, media: MediaNode) -> None:
    legs = [edge.call("8000", **who) for who in (FAY, GUS)]
    for leg in legs:
        leg.wait("200")
        inside(media, leg, "open-room")
    members(media, "open-room", 2)
    for leg in legs:
        loud(leg)
    third = edge.call("8000", **HAL)
    third.wait("200")
    third.wait("BYE", 30)
    assert "dp.refused conference open-room is full" in told(media, third)
    legs[0].bye()
    members(media, "open-room", 1)
    legs[1].bye()
    members(media, "open-room", 0)


def test_a_caller_from_outside_reaches_it_by_number(edge: Edge, media: MediaNode) -> None:
    """The number leads to the conference, which is led home by the extension."""
    edge.answers["8000"] = "answer"
    leg = edge.call(NUMBER, account="feat-1", Trunk="first-1")
    away = edge.leg_to("8000")
    leg.wait("200")
    assert away.invite
    assert away.invite.start == "INVITE sip:8000@home.dialplane.internal SIP/2.0"
    assert away.invite.get("x-dp-call") == f"call-{leg.call_id}"
    assert not away.invite.get("x-dp-home")
    leg.bye()
    away.wait("BYE")
    led = edge.call("8000", account="feat-1", Trunk="", Home="1")
    led.wait("200")
    inside(media, led, "open-room")
    led.bye()


def test_no_node_takes_it(edge: Edge, media: MediaNode) -> None:
    edge.answers["8000"] = "480"
    leg = edge.call("8000", **phone("fay"))
    leg.wait("503", 30)
    assert any("no node took 8000" in one for one in decisions(media, leg))


@pytest.mark.parametrize("pins", [("1234#",), ("0000#", "1234#")])
def test_a_pin_lets_in(edge: Edge, media: MediaNode, pins: tuple[str, ...]) -> None:
    leg = edge.call("8001", **FAY)
    leg.wait("200")
    leg.hear(20)
    for pin in pins:
        press(leg, pin)
        if pin != "1234#":
            until(lambda: any("wrong PIN" in one for one in decisions(media, leg)), 20)
            time.sleep(3)
    inside(media, leg, "closed")
    leg.bye()


def test_three_wrong_pins_end_the_call(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("8001", **FAY)
    leg.wait("200")
    leg.hear(20)
    for times in (1, 2, 3):
        press(leg, "0000#" if times > 1 else "#")
        until(lambda n=times: sum("wrong PIN" in one for one in decisions(media, leg)) == n, 20)  # type: ignore[misc]
        time.sleep(3)
    leg.wait("BYE", 30)


def test_members_hear_music_until_the_moderator_is_there(edge: Edge, media: MediaNode) -> None:
    """Whoever gives no PIN is a member; the moderator's PIN makes a moderator."""
    first, second = (edge.call("8002", **who) for who in (FAY, GUS))
    for leg in (first, second):
        leg.wait("200")
        leg.hear(20)
        press(leg, "#")
        inside(media, leg, "led")
    members(media, "led", 2)
    # Flags of `confbridge list`: w waits for a marked user, M is one, A is an admin.
    assert flags(media, "led") == ["w", "w"]
    for leg in (first, second):
        loud(leg)  # the music
    moderator = edge.call("8002", **HAL)
    moderator.wait("200")
    moderator.hear(20)
    press(moderator, "9876#")
    inside(media, moderator, "led", "moderator")
    until(lambda: flags(media, "led") == ["", "", "AM"], 20)
    for leg in (first, second, moderator):
        loud(leg)
    for leg in (first, second, moderator):
        leg.bye()
    members(media, "led", 0)


def test_a_recorded_conference_says_so_and_leaves_a_file_for_asterisk_alone(
    edge: Edge, media: MediaNode
) -> None:
    first = edge.call("8003", **FAY)
    first.wait("200")
    inside(media, first, "taped")
    second = edge.call("8003", **GUS)
    second.wait("200")
    inside(media, second, "taped")
    members(media, "taped", 2)
    loud(first, 60)
    for leg in (first, second):
        leg.bye()
    members(media, "taped", 0)
    path = f"/var/spool/asterisk/monitor/feat-1/taped-call-{first.call_id}.wav"
    said = [one for leg in (first, second) for one in told(media, leg) if one.startswith("dp.record ")]
    assert said == [f"dp.record {path} conference taped"]
    until(lambda: media.sh(f"stat -c '%a %U' {path}").split() == ["660", "asterisk"], 20)
    assert int(media.sh(f"stat -c %s {path}")) > 10_000


def test_a_member_transfers_the_conference_on_and_somebody_into_it(edge: Edge, media: MediaNode) -> None:
    """Whoever is in a conference is there by a leg of its own, which goes where the phone transfers it."""
    edge.answers = {"8000": "answer", "f4": "answer"}
    out = edge.call("8000", **phone("fay"))
    out.wait("200")
    room = edge.leg_to("8000")
    out.hear(10)
    out.send("REFER", "Refer-To: <sip:104@feat.example>", "Referred-By: <sip:fay@feat.example>")
    ida = edge.leg_to("f4")
    ida.hear(20)
    room.hear(20)
    loud(ida, 10)
    room.bye()
    ida.wait("BYE")
    edge.reset()
    edge.answers = {"8000": "answer", "f4": "answer"}
    pair = edge.call("104", **phone("fay"))
    pair.wait("200")
    pair.hear(10)
    pair.send("REFER", "Refer-To: <sip:8000@feat.example>", "Referred-By: <sip:fay@feat.example>")
    asked = edge.leg_to("8000").invite
    assert asked
    assert asked.start == "INVITE sip:8000@home.dialplane.internal SIP/2.0"
    loud(edge.leg_to("f4"), 10)
    edge.leg_to("f4").bye()
