"""Recording: which calls are, what both hear before, what is in the file, and who may read it."""

from __future__ import annotations

import array
import base64
import io
import time
import wave

import pytest

from tests.media.decided import Agi
from tests.media.node import MediaNode
from tests.media.peer import PCMA_SILENCE, VOICE, Edge, Leg
from tests.media.recorded import NUMBER, PEOPLE, RULED, phone
from tests.media.test_calls import until
from tests.media.test_features_conference import told
from tests.media.test_voicemail import press

ALWAYS, BY_KEY, NEVER, OTHER = (phone(one) for one in ("always", "by-key", "never", "other"))


def silent(*legs: Leg) -> None:
    for leg in legs:
        leg.audio.voice = PCMA_SILENCE


def recordings(media: MediaNode, leg: Leg) -> list[tuple[str, str]]:
    """(file, why) of one call, as its events tell."""
    said = [one.split(" ", 2) for one in told(media, leg) if one.startswith("dp.record ")]
    return [(path, why) for _, path, why in said]


def loudness(media: MediaNode, path: str) -> float:
    """How much of the file is sound, in seconds."""
    with wave.open(io.BytesIO(base64.b64decode(media.sh(f"base64 {path}")))) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
        return float(sum(abs(one) > 500 for one in samples) / file.getframerate())


def pair(edge: Edge, dialled: str, phone: str, **who: str) -> tuple[Leg, Leg]:
    """A call and the leg that answered; neither says anything yet."""
    edge.answers[phone] = "ring"
    caller = edge.call(dialled, **who)
    silent(caller)
    called = edge.leg_to(phone)
    silent(called)
    edge.answer(called)
    caller.wait("200")
    return caller, called


def recorded(media: MediaNode, leg: Leg, why: str) -> str:
    """The one file of a call."""
    until(lambda: recordings(media, leg), 20)
    ((path, said),) = recordings(media, leg)
    assert said == why
    assert path.startswith(f"/var/spool/asterisk/monitor/rec-1/call-{leg.call_id}-")
    return path


@pytest.mark.parametrize("speaker", ["caller", "called"])
def test_both_are_told_and_both_are_in_the_file(edge: Edge, media: MediaNode, speaker: str) -> None:
    caller, called = pair(edge, "101", "r1", **OTHER)
    # Nobody speaks: what is loud is the announcement.
    for leg in (caller, called):
        until(lambda one=leg: one.audio.loud > 20, 20)  # type: ignore[misc]
    path = recorded(media, caller, "user always")
    assert media.sh(f"stat -c '%a %U' {path}").split() == ["660", "asterisk"]
    assert media.sh(f"stat -c %a $(dirname {path})").strip() in ("770", "2770")
    # The agent's user may remove it.
    media.sh(f"setpriv --reuid=dialplane --regid=dialplane --init-groups test -w $(dirname {path})")
    speaks, hears = (caller, called) if speaker == "caller" else (called, caller)
    speaks.audio.voice = VOICE
    heard = hears.audio.loud
    until(lambda: hears.audio.loud > heard + 100, 20)
    caller.bye()
    called.wait("BYE")
    until(lambda: loudness(media, path) > 0.5, 20)


def test_who_is_not_recorded_is_told_nothing(edge: Edge, media: MediaNode) -> None:
    caller, called = pair(edge, "103", "r3", **OTHER)
    for leg in (caller, called):
        leg.hear(50)
        assert not leg.audio.loud
    caller.bye()
    called.wait("BYE")
    assert recordings(media, caller) == []


def test_a_call_that_nobody_answers_leaves_no_file(edge: Edge, media: MediaNode) -> None:
    edge.answers["r1"] = "486"
    caller = edge.call("101", **OTHER)
    caller.wait("486")
    assert recordings(media, caller) == []
    assert f"call-{caller.call_id}" not in media.sh("ls -R /var/spool/asterisk/monitor || true")


def test_only_the_kinds_of_calls_that_the_row_names(edge: Edge, media: MediaNode) -> None:
    inside, called = pair(edge, "104", "r4", **OTHER)
    inside.hear(50)
    inside.bye()
    called.wait("BYE")
    assert recordings(media, inside) == []
    edge.reset()
    outside, called = pair(edge, NUMBER, "r4", account="rec-1", Trunk="first-1")
    recorded(media, outside, "user inbound")
    outside.bye()
    called.wait("BYE")


def test_the_row_of_who_calls_counts_too_but_not_in_an_emergency(edge: Edge, media: MediaNode) -> None:
    edge.answers["trunk:first-1"] = "answer"
    caller = edge.call("030123456", **ALWAYS)
    caller.wait("200")
    recorded(media, caller, "user always calls")
    caller.bye()
    edge.reset()
    edge.answers["trunk:first-1"] = "answer"
    emergency = edge.call("112", **ALWAYS)
    emergency.wait("200")
    emergency.hear(50)
    emergency.bye()
    assert any(one.startswith("dp.emergency") for one in told(media, emergency))
    assert recordings(media, emergency) == []


@pytest.mark.parametrize("member", ["r3", "r5"], ids=["a member at once", "a member later"])
def test_a_group_is_recorded_whoever_answers(edge: Edge, media: MediaNode, member: str) -> None:
    """Without a decision: the line that is rendered. A member who rings later has a Local leg."""
    edge.answers = {"r3": "ring", "r5": "ring"}
    caller, called = pair(edge, "600", member, **OTHER)
    for leg in (caller, called):
        until(lambda one=leg: one.audio.loud > 20, 20)  # type: ignore[misc]
    recorded(media, caller, "group sales-1")
    caller.bye()
    called.wait("BYE")


def test_a_queue_is_recorded(edge: Edge, media: MediaNode) -> None:
    """Without the server: the members as they are rendered. The caller is answered while it waits."""
    caller, called = pair(edge, "700", "r5", **NEVER)
    until(lambda: called.audio.loud > 20, 20)
    recorded(media, caller, "queue support")
    caller.bye()
    called.wait("BYE")


def test_by_key(edge: Edge, media: MediaNode) -> None:
    """*1 starts it, both are told; *1 again ends it, and nothing more comes into the file."""
    caller, called = pair(edge, "102", "r2", **OTHER)
    for leg in (caller, called):
        leg.hear(20)
        assert not leg.audio.loud
    press(called, "*1")
    path = recorded(media, caller, "by key")
    for leg in (caller, called):
        until(lambda one=leg: one.audio.loud > 20, 20)  # type: ignore[misc]
    caller.audio.voice = VOICE
    called.hear(150)
    press(called, "*1")
    until(lambda: f"dp.record_end {path}" in told(media, caller), 20)
    caller.hear(20)
    size = media.sh(f"stat -c %s {path}")
    caller.hear(50)
    assert media.sh(f"stat -c %s {path}") == size
    assert loudness(media, path) > 0.5
    press(caller, "*1")  # whose user may not
    caller.hear(50)
    assert len(recordings(media, caller)) == 1
    caller.bye()
    called.wait("BYE")


def test_the_caller_may_start_it_too(edge: Edge, media: MediaNode) -> None:
    caller, called = pair(edge, "103", "r3", **BY_KEY)
    caller.hear(20)
    press(caller, "*1")
    recorded(media, caller, "by key")
    caller.bye()
    called.wait("BYE")


def test_a_recording_ends_where_its_party_is_transferred_away(edge: Edge, media: MediaNode) -> None:
    """The user who is recorded transfers the caller to one who is not."""
    caller, called = pair(edge, "101", "r1", **OTHER)
    path = recorded(media, caller, "user always")
    edge.answers["r3"] = "answer"
    called.send("REFER", "Refer-To: <sip:103@rec.example>", "Referred-By: <sip:r1@rec.example>")
    away = edge.leg_to("r3")
    away.hear(50)
    time.sleep(1)
    size = media.sh(f"stat -c %s {path}")
    # Longer than an announcement would take.
    away.hear(150)
    assert media.sh(f"stat -c %s {path}") == size
    assert len(recordings(media, caller)) == 1
    caller.bye()
    away.wait("BYE")


@pytest.mark.parametrize(
    ("first", "first_phone", "dialled", "phone", "goes_on"),
    [(NUMBER, "r4", "103", "r3", False), ("103", "r3", "101", "r1", True)],
    ids=["of who transfers it ends", "of who gets the call it goes on"],
)
def test_a_recording_belongs_to_the_leg_of_its_user_in_an_attended_transfer(
    edge: Edge, media: MediaNode, first: str, first_phone: str, dialled: str, phone: str, goes_on: bool
) -> None:
    """Who is called asks somebody else, and joins the two."""
    who = {"account": "rec-1", "Trunk": "first-1"} if first == NUMBER else OTHER
    caller, called = pair(edge, first, first_phone, **who)
    owner = next(name for name, one in PEOPLE.items() if one == first_phone)
    asks, asked = pair(
        edge, dialled, phone, account="rec-1", Caller=owner, Device=f"{first_phone}@rec.example"
    )
    path = recorded(media, asks if goes_on else caller, "user always" if goes_on else "user inbound")
    asked.hear(50)
    tags = [part.split("tag=")[1] for part in (asks.remote, asks.local)]
    replaces = f"{asks.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
    called.send(
        "REFER", f"Refer-To: <sip:{dialled}@rec.example?Replaces={replaces}>", f"Referred-By: {called.local}"
    )
    until(lambda: any(one.method == "BYE" for one in (*called.requests, *asks.requests)), 20)
    caller.hear(25)
    asked.hear(25)
    time.sleep(1)
    size = int(media.sh(f"stat -c %s {path}"))
    asked.hear(150)
    assert (int(media.sh(f"stat -c %s {path}")) > size) == goes_on
    assert len(recordings(media, caller)) + len(recordings(media, asks)) == 1
    caller.bye()
    asked.wait("BYE")


@pytest.mark.parametrize(
    ("mode", "dialled", "phone", "whys"),
    [("always", "103", "r3", ["rule 3 of policy main"] * 2), ("never", "101", "r1", [])],
)
def test_what_a_rule_says_holds_until_the_call_is_over(
    edge: Edge, media: MediaNode, agi: Agi, mode: str, dialled: str, phone: str, whys: list[str]
) -> None:
    agi.decides(f"dp-record,s,1({mode},rule 3 of policy main,1)", f"dp-next,s,1(extension:{dialled},20)")
    caller, called = pair(edge, RULED, phone, account="rec-1", Trunk="first-1")
    caller.hear(150)
    assert [why for _, why in recordings(media, caller)] == whys[:1]
    edge.answers["r1" if phone == "r3" else "r3"] = "answer"
    called.send(
        "REFER",
        f"Refer-To: <sip:{'101' if phone == 'r3' else '103'}@rec.example>",
        "Referred-By: <sip:x@rec.example>",
    )
    away = edge.leg_to("r1" if phone == "r3" else "r3")
    away.hear(100)
    until(lambda: [why for _, why in recordings(media, caller)] == whys, 20)
    caller.bye()
    away.wait("BYE")
