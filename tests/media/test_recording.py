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
from tests.media.recorded import NUMBER, RULED, phone
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
    """How much of the file is sound, in seconds. Asterisk writes its length into its head when it is closed."""
    until(lambda: any(base64.b64decode(media.sh(f"head -c 8 {path} | base64"))[4:]))
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


def joins(leg: Leg, asks: Leg, dialled: str, domain: str = "rec.example") -> None:
    """A phone transfers who it talks to on one leg to whom it talks to on the other, and is out of both."""
    tags = [part.split("tag=")[1] for part in (asks.remote, asks.local)]
    replaces = f"{asks.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
    leg.send("REFER", f"Refer-To: <sip:{dialled}@{domain}?Replaces={replaces}>", f"Referred-By: {leg.local}")
    until(lambda: any(one.method == "BYE" for one in (*leg.requests, *asks.requests)), 20)


def ended(media: MediaNode, leg: Leg, path: str) -> None:
    until(lambda: f"dp.record_end {path}" in told(media, leg), 20)


def grows(media: MediaNode, leg: Leg, path: str) -> bool:
    """In the time of an announcement."""
    size = int(media.sh(f"stat -c %s {path}"))
    leg.hear(150)
    return int(media.sh(f"stat -c %s {path}")) > size


def test_a_recording_ends_with_the_leg_of_who_transfers(edge: Edge, media: MediaNode) -> None:
    """Who is recorded, and was called, asks somebody else and joins the two."""
    caller, called = pair(edge, NUMBER, "r4", account="rec-1", Trunk="first-1")
    asks, asked = pair(edge, "103", "r3", **phone("inbound"))
    path = recorded(media, caller, "user inbound")
    caller.hear(150)
    heard = caller.audio.loud, asked.audio.loud
    joins(called, asks, "103")
    caller.hear(25)
    time.sleep(1)
    assert not grows(media, asked, path)
    assert (caller.audio.loud, asked.audio.loud) == heard, "nobody is told anything"
    assert recordings(media, asks) == []
    assert len(recordings(media, caller)) == 1
    caller.bye()
    asked.wait("BYE")


def test_who_comes_to_one_who_is_recorded_is_told(edge: Edge, media: MediaNode) -> None:
    """A user who is recorded is asked, and gets the call: the recording begins anew, after all who talk are told."""
    before = len(media.complaints())
    caller, called = pair(edge, "103", "r3", **OTHER)
    asks, asked = pair(edge, "101", "r1", **NEVER)
    path = recorded(media, asks, "user always")
    asked.hear(150)
    assert not caller.audio.loud
    told_before = asked.audio.loud
    joins(called, asks, "101")
    for leg, heard in ((caller, 0), (asked, told_before)):
        until(lambda one=leg, goal=heard + 20: one.audio.loud > goal, 20)  # type: ignore[misc]
    ended(media, asks, path)
    (_, (anew, why)) = recordings(media, asks)
    assert anew != path
    assert why == "user always"
    caller.hear(100)
    caller.audio.voice = VOICE
    heard = asked.audio.loud
    until(lambda: asked.audio.loud > heard + 50, 20)
    assert not grows(media, asked, path)
    assert grows(media, asked, anew)
    # Nobody has changed: nobody is told anything.
    assert len(recordings(media, asks)) == 2
    assert recordings(media, caller) == []
    caller.bye()
    asked.wait("BYE")
    assert media.complaints()[before:] == []


def test_what_the_row_of_the_caller_records_ends_when_that_one_leaves(edge: Edge, media: MediaNode) -> None:
    caller, called = pair(edge, "103", "r3", **ALWAYS)
    asks, asked = pair(edge, "105", "r5", **ALWAYS)
    paths = [recorded(media, one, "user always calls") for one in (caller, asks)]
    for leg in (called, asked):
        leg.hear(150)
    joins(caller, asks, "105")
    for leg, path in zip((caller, asks), paths, strict=True):
        ended(media, leg, path)
    heard = called.audio.loud, asked.audio.loud
    called.hear(150)
    assert (called.audio.loud, asked.audio.loud) == heard
    assert [len(recordings(media, one)) for one in (caller, asks)] == [1, 1]
    called.bye()
    asked.wait("BYE")


def test_what_a_key_began_ends_when_another_comes(edge: Edge, media: MediaNode) -> None:
    caller, called = pair(edge, "103", "r3", **OTHER)
    asks, asked = pair(edge, "102", "r2", **NEVER)
    asked.hear(20)
    press(asked, "*1")
    path = recorded(media, asks, "by key")
    asked.hear(150)
    joins(called, asks, "102")
    ended(media, asks, path)
    caller.hear(100)
    assert not caller.audio.loud
    assert len(recordings(media, asks)) == 1
    press(asked, "*1")  # again, if it is still wanted
    until(lambda: len(recordings(media, asks)) == 2, 20)
    until(lambda: caller.audio.loud > 20, 20)
    caller.bye()
    asked.wait("BYE")


@pytest.mark.parametrize(
    ("dialled", "phone"), [("112", "trunk:first-1"), ("106", "")], ids=["emergency", "no bridge"]
)
def test_a_recording_ends_where_nobody_can_be_told(
    edge: Edge, media: MediaNode, dialled: str, phone: str
) -> None:
    """Who called a recorded user leads it to a call for help, or to what is no phone."""
    caller, called = pair(edge, "101", "r1", **OTHER)
    path = recorded(media, caller, "user always")
    called.hear(150)
    if phone:
        edge.answers[phone] = "answer"
    asks = edge.call(dialled, **OTHER)
    asks.wait("200")
    asks.hear(20)
    joins(caller, asks, dialled)
    until(lambda: f"dp.record_end {path}" in told(media, caller) + told(media, asks), 20)
    called.hear(100)
    assert not grows(media, called, path)
    assert len(recordings(media, caller)) == 1
    assert recordings(media, asks) == []
    called.bye()


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


@pytest.mark.parametrize(
    ("asked", "phone", "own"),
    [("105", "r5", []), ("101", "r1", ["user always"])],
    ids=["who is not recorded", "who is"],
)
def test_a_rule_holds_through_an_attended_transfer(
    edge: Edge, media: MediaNode, agi: Agi, asked: str, phone: str, own: list[str]
) -> None:
    """The talk is in one recording more, and all who talk are told once."""
    why = "rule 3 of policy main"
    agi.decides(f"dp-record,s,1(always,{why},1)", "dp-next,s,1(extension:103,20)")
    caller, called = pair(edge, RULED, "r3", account="rec-1", Trunk="first-1")
    path = recorded(media, caller, why)
    asks, other = pair(edge, asked, phone, **NEVER)
    until(lambda: [one for _, one in recordings(media, asks)] == own, 20)
    for leg in (caller, other):
        leg.hear(150)
    heard = {id(leg): leg.audio.loud for leg in (caller, other)}
    joins(called, asks, asked)
    for leg in (caller, other):
        until(lambda one=leg: one.audio.loud > heard[id(one)] + 20, 20)  # type: ignore[misc]
    caller.hear(100)
    anew = recordings(media, caller)[1:] + recordings(media, asks)[len(own) :]
    assert [one for _, one in anew] == (own or [why])
    assert grows(media, other, anew[0][0])
    assert not grows(media, other, path)
    caller.bye()
    other.wait("BYE")
