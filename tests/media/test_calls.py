"""What a call does at a media node: rings, next steps, services, refusals."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.media.company import NASTY
from tests.media.node import SECRET, MediaNode
from tests.media.peer import Edge, Leg

BOB = {"Caller": "bob", "Device": "bob1@acme.example"}
ALICE = {"Caller": "alice", "Device": "alice1@acme.example"}
CAROL = {"Caller": "carol-ann", "Device": "carol1@acme.example"}


def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "not within the limit"
        time.sleep(0.05)


def decisions(media: MediaNode, leg: Leg) -> list[str]:
    """`dp.what detail` of one call, as its events tell."""
    call = f"call-{leg.call_id}"
    return [
        f"{one['eventtype']} {one['eventextra']}"
        for one in media.events()
        if one["userfield"] == call and one["eventtype"].startswith("dp.")
    ]


def test_all_devices_ring_and_the_others_stop(edge: Edge) -> None:
    edge.answers = {"alice1": "ring", "alice2": "answer"}
    leg = edge.call("101", **BOB)
    leg.wait("200")
    cancel = edge.leg_to("alice1").wait("CANCEL")
    assert "cause=26" in cancel.get("reason") or "completed elsewhere" in cancel.get("reason").lower()
    phone = edge.leg_to("alice2")
    leg.hear(25)
    phone.hear(25)
    assert leg.audio.loud
    assert phone.audio.loud
    for invite in edge.invites:
        assert invite.get("x-dp-call") == f"call-{leg.call_id}"
        assert invite.get("x-dp-account") == "acme"
        assert '"Bob" <sip:102@' in invite.get("from")
    leg.bye()
    phone.wait("BYE")


def test_more_devices_than_a_line_holds(edge: Edge) -> None:
    edge.answers = {"one-of-the-many-devices-00": "ring", "one-of-the-many-devices-29": "answer"}
    leg = edge.call("106", **BOB)
    leg.wait("200")
    assert len(edge.invites) == 30
    edge.leg_to("one-of-the-many-devices-00").wait("CANCEL")
    leg.bye()


def test_caller_gives_up_while_ringing(edge: Edge) -> None:
    edge.answers = {"alice1": "ring", "alice2": "ring"}
    leg = edge.call("101", **BOB)
    leg.wait("180")
    edge.cancel(leg)
    leg.wait("487")
    edge.leg_to("alice1").wait("CANCEL")
    edge.leg_to("alice2").wait("CANCEL")


@pytest.mark.parametrize(
    ("called", "answers", "code"),
    [
        ("102", {"bob1": "486"}, 486),
        ("102", {"bob1": "603"}, 486),
        ("103", {"carol1": "ring"}, 480),
        ("103", {"carol1": "404"}, 480),
        ("103", {"carol1": "486"}, 486),
    ],
    ids=["busy", "declined is busy", "no answer hangs up", "unregistered hangs up", "busy is announced"],
)
def test_next_step_ends_the_call(edge: Edge, called: str, answers: dict[str, str], code: int) -> None:
    edge.answers = answers
    assert edge.call(called, **ALICE).wait("final").code == code


def test_a_call_refused_for_overload_hears_so_first(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("102", **ALICE, Refuse="overload")
    leg.wait("183")
    assert leg.wait("final", 15).code == 503
    assert edge.invites == [], "nobody rings"
    until(lambda: any("overload: account acme" in one for one in decisions(media, leg)))


def test_next_step_is_another_extension(edge: Edge) -> None:
    edge.answers = {"bob1": "ring", "alice1": "answer"}
    leg = edge.call("102", **CAROL)
    leg.wait("200")
    edge.leg_to("bob1").wait("CANCEL")
    edge.leg_to("alice1").hear(10)
    leg.bye()


def test_next_step_is_a_number_whatever_the_caller_may(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    leg = edge.call("102", **CAROL)
    leg.wait("200")
    invite = edge.leg_to("+4989123456").invite
    assert invite is not None
    assert invite.get("x-dp-trunk") == "first-1"
    assert "+4930555000" in invite.get("from")
    leg.bye()


def test_steps_in_a_circle_end(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("105", **BOB)
    assert leg.wait("final").code >= 400
    until(lambda: any("more than 8 next steps" in one for one in decisions(media, leg)))
    assert len(edge.invites) <= 9


def test_unregistered_is_told_from_its_sip_code(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("103", **BOB)
    leg.wait("final")
    until(lambda: any("CHANUNAVAIL cause 1" in one for one in decisions(media, leg)))


def test_do_not_disturb_is_busy(edge: Edge, media: MediaNode) -> None:
    media.cli("database put dnd acme/bob 1")
    try:
        edge.answers = {"bob1": "answer"}
        assert edge.call("102", **ALICE).wait("final").code == 486
        assert edge.invites == []
    finally:
        media.cli("database del dnd acme/bob")


def test_echo(edge: Edge) -> None:
    leg = edge.call("*43", **BOB)
    leg.wait("200")
    until(lambda: leg.audio.loud > 20, 25)
    leg.bye()


def test_announcement(edge: Edge) -> None:
    leg = edge.call("*1", **BOB)
    leg.wait("200")
    leg.hear(20)
    leg.wait("BYE")


def test_unknown_number_is_said_then_refused(edge: Edge) -> None:
    leg = edge.call("*777", **BOB)
    leg.wait("183")
    leg.hear(20)
    assert leg.wait("final").code == 404


def test_refused_number_is_said_then_refused(edge: Edge) -> None:
    leg = edge.call("0030210123456", **BOB)
    leg.wait("183")
    leg.hear(20)
    assert leg.wait("final").code == 403
    assert edge.invites == []


def test_account_of_another_node(edge: Edge) -> None:
    assert edge.call("101", account="elsewhere").wait("final").code == 503


def test_hostile_text_stays_text(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"alice1": "answer"}
    leg = edge.call("101", Caller="eve", Device="eve-1@acme.example")
    leg.wait("200")
    shown = edge.leg_to("alice1").invite
    assert shown is not None
    name = shown.get("from").rpartition(" <")[0].strip('"').replace('\\"', '"').replace("\\\\", "\\")
    assert name == NASTY
    caller = next(
        line.split()[0]
        for line in media.cli("core show channels").splitlines()
        if "from-edge" in line or "dp-dial" in line
    )
    assert "Language: de" in media.cli(f"core show channel {caller}")
    leg.bye()


@pytest.mark.parametrize("dialled", ["101,1", "${SHELL(id)}", "101&PJSIP", "a%0d%0aX", "*43%22"])
def test_hostile_dialled_text(edge: Edge, media: MediaNode, dialled: str) -> None:
    before = len(media.complaints())
    quoted = dialled.replace("{", "%7B").replace("}", "%7D")
    leg = edge.call(quoted, Call="x);${SHELL(id)}", **BOB)
    leg.wait("final")
    assert media.complaints()[before:] == []


def test_a_stranger_gets_nothing(edge: Edge, media: MediaNode) -> None:
    assert "401" in media.sh(
        "printf 'INVITE sip:101@voice.acme.x SIP/2.0\\r\\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKq\\r\\n"
        "From: <sip:a@b>;tag=1\\r\\nTo: <sip:101@c>\\r\\nCall-ID: q\\r\\nCSeq: 1 INVITE\\r\\n"
        "Contact: <sip:a@b>\\r\\n"
        "Max-Forwards: 9\\r\\nContent-Length: 0\\r\\n\\r\\n' | timeout 2 "
        f"bash -c 'exec 3<>/dev/tcp/{media.address}/5060; cat >&3; timeout 1 cat <&3' || true"
    )


# ------------------------------------------------------------------------------------------------- voicemail


def test_voicemail_left_and_played_back(edge: Edge, media: MediaNode) -> None:
    inbox = "/var/spool/asterisk/voicemail/acme/101/INBOX"
    leg = edge.call("101", **BOB)
    leg.wait("200")
    time.sleep(1.0)
    leg.audio.digits.put("#")
    time.sleep(4.0)
    leg.bye()
    until(lambda: "msg0000.wav" in media.sh(f"ls {inbox} 2>/dev/null || true"))
    assert int(media.sh(f"stat -c %s {inbox}/msg0000.wav")) > 16000
    until(lambda: any("voicemail" in one for one in decisions(media, leg)))

    listener = edge.call("*98", **ALICE)
    listener.wait("200")
    listener.hear(100)
    before = listener.audio.loud
    listener.audio.digits.put("1")
    until(lambda: listener.audio.loud > before + 100, 25)
    listener.bye()


def test_voicemail_asks_for_the_pin(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("*98", **BOB)
    leg.wait("200")
    leg.hear(20)
    for digit in "9999#":
        leg.audio.digits.put(digit)
    until(lambda: any("wrong PIN" in one for one in decisions(media, leg)), 15)
    time.sleep(3.0)
    for digit in "4711#":
        leg.audio.digits.put(digit)
    until(lambda: any("listen 102@acme" in one for one in decisions(media, leg)), 15)
    leg.bye()


# ---------------------------------------------------------------------------------------------- hold, transfer


def talk(edge: Edge, called: str, user: str, **caller: str) -> tuple[Leg, Leg]:
    edge.answers.update({user: "answer"})
    leg = edge.call(called, **caller)
    leg.wait("200")
    phone = edge.leg_to(user)
    phone.hear(5)
    return leg, phone


def test_hold_and_dtmf(edge: Edge) -> None:
    leg, phone = talk(edge, "101", "alice1", **BOB)
    leg.audio.digits.put("5")
    until(lambda: 5 in phone.audio.events)
    seen = len(leg.responses)
    leg.send("INVITE", body=leg.audio.sdp("sendonly"))
    until(lambda: any(one.code == 200 for one in leg.responses[seen:]))
    loud = phone.audio.loud
    until(lambda: phone.audio.loud > loud + 10)  # the held one hears tones
    leg.send("INVITE", body=leg.audio.sdp())
    phone.hear(20)
    leg.bye()


def test_blind_transfer_by_the_called(edge: Edge) -> None:
    leg, phone = talk(edge, "101", "alice1", **BOB)
    edge.answers["carol1"] = "answer"
    phone.send("REFER", "Refer-To: <sip:103@acme.example>", f"Referred-By: {phone.local}")
    target = edge.leg_to("carol1")
    target.hear(20)
    leg.hear(20)
    assert target.invite is not None
    assert target.invite.get("x-dp-call") == f"call-{leg.call_id}"
    leg.bye()


def test_transfer_has_the_permission_of_who_transfers(edge: Edge) -> None:
    leg, phone = talk(edge, "103", "carol1", **ALICE)
    edge.answers["trunk:first-1"] = "answer"
    phone.send("REFER", "Refer-To: <sip:0301234567@acme.example>", f"Referred-By: {phone.local}")
    leg.wait("BYE", 20)
    assert all(not one.get("x-dp-trunk") for one in edge.invites)


def test_attended_transfer(edge: Edge) -> None:
    leg, phone = talk(edge, "102", "bob1", **ALICE)
    consult, other = talk(edge, "103", "carol1", **BOB)
    tags = [part.split("tag=")[1] for part in (consult.remote, consult.local)]
    replaces = f"{consult.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
    phone.send(
        "REFER", f"Refer-To: <sip:103@acme.example?Replaces={replaces}>", f"Referred-By: {phone.local}"
    )
    leg.hear(30)
    other.hear(30)
    until(lambda: any(one.method == "BYE" for one in (*phone.requests, *consult.requests)))
    leg.bye()


def test_transfer_to_a_call_of_another_node_is_refused_and_the_call_stays(edge: Edge) -> None:
    leg, phone = talk(edge, "102", "bob1", **ALICE)
    replaces = "elsewhere%3Bto-tag%3D1%3Bfrom-tag%3D2"
    phone.send(
        "REFER", f"Refer-To: <sip:103@acme.example?Replaces={replaces}>", f"Referred-By: {phone.local}"
    )
    until(lambda: any(one.method == "NOTIFY" and "404" in one.body for one in phone.requests))
    leg.hear(30)
    phone.hear(30)
    leg.bye()


def test_a_trunk_transfers_nobody(edge: Edge) -> None:
    leg, phone = talk(edge, "+4930555010", "alice1", Trunk="second")
    edge.answers["trunk:first-1"] = "answer"
    leg.send("REFER", "Refer-To: <sip:0301234567@acme.example>", f"Referred-By: {leg.local}")
    time.sleep(1.0)
    assert all(not one.get("x-dp-trunk") for one in edge.invites)
    leg.bye()
    phone.wait("BYE")


# ------------------------------------------------------------------------------------- devices by name, other accounts


@pytest.mark.parametrize(("answer", "code"), [("answer", 200), ("486", 486), ("404", 480)])
def test_a_device_dialled_by_its_name_rings_alone(edge: Edge, answer: str, code: int) -> None:
    edge.answers = {"alice2": answer}
    leg = edge.call("alice2", Ring="alice2@acme.example alice", **BOB)
    assert leg.wait("final").code == code
    assert [one.user for one in edge.invites] == ["alice2"]
    if code == 200:
        phone = edge.leg_to("alice2")
        edge.answers["trunk:first-1"] = "answer"
        phone.send("REFER", "Refer-To: <sip:0033123456789@acme.example>", f"Referred-By: {phone.local}")
        # by the permission of alice
        until(lambda: any(one.get("x-dp-trunk") for one in edge.invites))
        leg.bye()


def test_a_device_without_user_rings_too(edge: Edge) -> None:
    edge.answers = {"lobby": "answer"}
    leg = edge.call("lobby", Ring="lobby@acme.example ", **BOB)
    leg.wait("200")
    leg.bye()


def test_an_extension_goes_before_a_device_of_the_same_name(edge: Edge) -> None:
    edge.answers = {"alice1": "ring", "alice2": "answer"}
    leg = edge.call("101", Ring="101@acme.example alice", **BOB)
    leg.wait("200")
    assert sorted(one.user for one in edge.invites) == ["alice1", "alice2"]
    leg.bye()


def test_hostile_ring_header_is_only_a_name(edge: Edge, media: MediaNode) -> None:
    before = len(media.complaints())
    leg = edge.call("x1", Ring="a,b)${SHELL(id)}&PJSIP/x alice", **BOB)
    leg.wait("final")
    assert media.complaints()[before:] == []


@pytest.mark.parametrize(
    ("came", "sent", "code"), [("", "1", 200), ("3", "4", 200), ("7", "8", 200), ("8", "", 500)]
)
def test_next_steps_of_the_account_before_count(edge: Edge, came: str, sent: str, code: int) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    more = {"Depth": came} if came else {}
    leg = edge.call("8000", **BOB, **more)
    final = leg.wait("final", 20)
    if code == 200:
        assert final.code == 200
        assert [one.get("x-dp-depth") for one in edge.invites] == [sent]
        leg.bye()
    else:
        assert final.code >= 400
        assert edge.invites == []


def test_a_name_with_an_apostrophe_comes_and_goes_by_ami(edge: Edge, media: MediaNode) -> None:
    line = "international,+4930555010,101,101,Pat O'Brien"
    actions = (
        f"Action: Login\r\nUsername: agent\r\nSecret: {SECRET}\r\nEvents: off\r\n\r\n"
        "Action: DialplanExtensionAdd\r\nContext: account-acme\r\nExtension: :user:pat\r\nPriority: 1\r\n"
        f"Application: Return\r\nApplicationData: {line}\r\nReplace: yes\r\n\r\n"
        "Action: Getvar\r\nVariable: EVAL_EXTEN(account-acme,:user:pat,1)\r\n\r\n"
    )
    (media.spool / "actions").write_bytes(actions.encode())
    told = media.sh(
        "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/5038; cat /var/spool/dialplane/calls/actions >&3; "
        "timeout 1 cat <&3' || true"
    )
    assert f"Value: {line}" in told
    edge.answers = {"alice1": "answer"}
    leg = edge.call("101", Caller="pat", Device="pat@acme.example")
    leg.wait("200")
    invite = edge.leg_to("alice1").invite
    assert invite is not None
    assert '"Pat O\'Brien" <sip:101@' in invite.get("from")
    leg.bye()
    media.cli("dialplan reload")  # what came by AMI alone goes


def test_a_mailbox_of_a_name_with_an_apostrophe(edge: Edge, media: MediaNode) -> None:
    assert "Bob O'Brien" in media.cli("voicemail show users for acme")
