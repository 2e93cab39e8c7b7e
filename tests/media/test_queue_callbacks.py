"""Queues call back: whom they call and whom not, callers who do not answer, what is recorded."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from controller.calls.commands import called_back
from tests.media.callbacks import (
    CALLED,
    INTERNAL,
    INTERNATIONAL,
    MEMBER,
    NATIONAL,
    RECORDED,
)
from tests.media.node import MediaNode
from tests.media.peer import VOICE, Edge, Leg
from tests.media.resident import Resident, awaited, residing
from tests.media.test_calls import until
from tests.media.test_queues import happened, outcomes, states
from tests.media.test_recording import joins, loudness, silent
from tests.media.test_start import ami
from tests.media.test_voicemail import press

CUSTOMER = "+4930177712"
ABROAD = "+33612345678"
PREMIUM = "+499001234567"


@pytest.fixture
def back(media: MediaNode, edge: Edge, queue_database: str) -> Iterator[Resident]:
    """The AGI server of the node, which holds the company that calls back; nobody waits."""
    with residing(media, CALLED, queue_database) as server:
        for table in ("callers", "member_stats", "events"):
            server.rows(f"DELETE FROM control.queue_{table}")
        server.rows("DELETE FROM control.node_commands")
        edge.answers = {MEMBER: "486"}
        yield server
        # Else who waits for a call rings the member of the next test.
        server.rows("DELETE FROM control.queue_callers")


def arrives(edge: Edge, back: Resident, called: str, number: str) -> Leg:
    """Somebody outside shows this number, waits, and presses 1."""
    leg = edge.call(called, "back-1", number, Trunk="carrier")
    return presses(back, leg)


def presses(back: Resident, leg: Leg) -> Leg:
    awaited(lambda: states(back) == ["waiting"], "it does not wait")
    leg.hear(25)
    press(leg, "1")
    return leg


def types(leg: Leg, digits: str) -> None:
    """When it is asked for a number: nothing is to be heard behind the question."""
    time.sleep(2.5)
    press(leg, digits)


def wanted(back: Resident) -> list[tuple[str | None, str | None]]:
    query = "SELECT callback_number, callback_device FROM control.queue_callers"
    return [(number, device) for number, device in back.rows(query)]


def agent(media: MediaNode, back: Resident) -> str:
    """Does what the agent of the node does when it is asked to call somebody back; gives the call."""
    query = """
        UPDATE control.node_commands SET taken_at = now()
         WHERE id = (SELECT min(id) FROM control.node_commands WHERE verb = 'call_back' AND taken_at IS NULL)
        RETURNING arguments"""
    ((asked,),) = awaited(lambda: back.rows(query), "nobody calls back")
    call = str(uuid.uuid4())
    lines = (
        f"{name}: {one}"
        for name, many in called_back(call, asked).items()
        for one in ([many] if isinstance(many, str) else many)
    )
    assert "successfully queued" in ami(media, "\r\n".join(["Action: Originate", *lines]))
    return call


def told(media: MediaNode, call: str) -> list[str]:
    """`dp.what detail` of a call back."""
    return [
        f"{one['eventtype']} {json.loads(one['eventextra'])['extra']}"
        for one in media.events()
        if one["userfield"] == call and one["eventtype"].startswith("dp.")
    ]


def dialled(edge: Edge) -> set[str]:
    """Whom Asterisk called, but for the member."""
    return {one.user for one in edge.invites} - {MEMBER}


def legs_to(edge: Edge, user: str) -> list[Leg]:
    return [
        one for one in edge.legs.values() if one.invite and one.invite.user == user and one.invite.headers
    ]


# ------------------------------------------------------------------------------------------------ whom it may call

FORGED = [
    (NATIONAL, "112", "", "an emergency number"),
    (NATIONAL, "anonymous", "112#", "an emergency number that is typed"),
    (NATIONAL, "+49112", "", "an emergency number behind the code of the country"),
    (NATIONAL, "115", "", "a short number"),
    (NATIONAL, "102", "", "an extension"),
    (NATIONAL, "anonymous", "102#", "an extension that is typed"),
    (NATIONAL, "ben", "", "the name of a user"),
    (NATIONAL, INTERNAL, "", "a number of the account itself"),
    (NATIONAL, PREMIUM, "", "a premium number"),
    (NATIONAL, ABROAD, "", "another country"),
    (NATIONAL, "anonymous", "0033612345678#", "another country that is typed"),
    (INTERNATIONAL, "+447012345678", "", "a personal number, which costs who calls it"),
    (INTERNATIONAL, "+4479112345", "09001234567#", "nobody's number, then a premium one is typed"),
    (INTERNAL, CUSTOMER, None, "any number, where users alone are called back"),
]


@pytest.mark.parametrize(("called", "number", "typed", "what"), FORGED, ids=[what for *_, what in FORGED])
def test_a_stranger_has_nobody_called_but_numbers_outside_that_the_row_permits(
    edge: Edge, media: MediaNode, back: Resident, called: str, number: str, typed: str | None, what: str
) -> None:
    leg = arrives(edge, back, called, number)
    if typed is not None:
        types(leg, typed or "#")
    # Told so, and waits on in its place: then the member has it.
    leg.hear(75)
    assert states(back) in (["waiting"], ["ringing"]), what
    assert wanted(back) == [(None, None)]
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer"}
    awaited(lambda: states(back) == ["talking"], "it lost its place")
    leg.bye()
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")
    assert dialled(edge) == set()
    assert "callback" not in happened(back)
    refused = [one for one in told(media, f"call-{leg.call_id}") if one.startswith("dp.refused")]
    assert len(refused) == (0 if called == INTERNAL else 2 if typed else 1), refused


@pytest.mark.parametrize(
    ("queue", "number"),
    [("home", ABROAD), ("home", PREMIUM), ("home", INTERNAL), ("own", CUSTOMER), ("home", "+49112")],
    ids=["another country", "a premium number", "an own number", "a stranger", "an emergency"],
)
def test_a_number_in_the_row_is_looked_at_again(
    edge: Edge, media: MediaNode, back: Resident, queue: str, number: str
) -> None:
    """What rows permit may have changed since it was asked for."""
    back.rows(
        "INSERT INTO control.queue_callers (ticket, account, queue, call_id, node, state, callback_number)"
        " VALUES ('t1', 'back-1', %s, 'c1', 'media1', 'callback', %s)",
        queue,
        number,
    )
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer"}
    agent(media, back)
    edge.leg_to(MEMBER).wait("BYE")
    awaited(lambda: "unanswered ana" in happened(back), "the attempt is not told")
    assert dialled(edge) == set()


def test_an_emergency_number_cannot_be_stored(back: Resident) -> None:
    with pytest.raises(Exception, match="queue_callers_callback"):
        back.rows(
            "INSERT INTO control.queue_callers (ticket, account, queue, call_id, node, state, callback_number)"
            " VALUES ('t1', 'back-1', 'home', 'c1', 'media1', 'callback', '112')"
        )


@pytest.mark.parametrize(
    ("called", "shown", "typed", "number"),
    [
        (NATIONAL, CUSTOMER, "", CUSTOMER),
        (NATIONAL, "030177712", "", CUSTOMER),
        (NATIONAL, "anonymous", "030177712#", CUSTOMER),
        (NATIONAL, ABROAD, "030177712#", CUSTOMER),
        (INTERNATIONAL, ABROAD, "", ABROAD),
    ],
    ids=["shown", "shown as it is dialled here", "typed", "typed, as the one shown is not called", "abroad"],
)
def test_numbers_outside_are_called_back(
    edge: Edge, media: MediaNode, back: Resident, called: str, shown: str, typed: str, number: str
) -> None:
    leg = arrives(edge, back, called, shown)
    if typed:
        types(leg, typed)
    leg.wait("BYE")
    assert wanted(back) == [(number, None)]
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer", "trunk:paris": "answer"}
    agent(media, back)
    member, customer = edge.leg_to(MEMBER), edge.leg_to(number)
    assert customer.invite is not None
    assert customer.invite.get("x-dp-trunk"), "by a trunk"
    assert not customer.invite.get("x-dp-emergency")
    member = edge.last_leg_to(MEMBER)
    assert member.invite is not None
    assert number in member.invite.get("from"), "the member sees who will be called"
    customer.hear(25)
    member.hear(25)
    awaited(lambda: "answered ana" in happened(back), "it is not known that they talk")
    assert states(back) == ["talking"]
    customer.bye()
    member.wait("BYE")
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")
    assert [one for one in happened(back) if one.split()[0] in ("calling", "answered", "ended")] == [
        "calling ana", "answered ana", "ended ana",
    ]  # fmt: skip
    query = "SELECT calls_today, wrap_until IS NOT NULL FROM control.queue_member_stats"
    assert back.rows(query) == [(1, True)]


@pytest.mark.parametrize("called", ["700", "702"], ids=["national", "internal"])
def test_who_called_from_inside_is_called_at_the_devices_of_the_user(
    edge: Edge, media: MediaNode, back: Resident, called: str
) -> None:
    leg = edge.call(called, "back-1", "112", Caller="cleo", Device="b3@back.example")
    presses(back, leg).wait("BYE")
    assert wanted(back) == [("103", "b3@back.example")]
    edge.answers = {MEMBER: "answer", "b3": "ring", "b4": "answer"}
    agent(media, back)
    member, answered = edge.leg_to(MEMBER), edge.leg_to("b4")
    answered.hear(25)
    edge.last_leg_to(MEMBER).hear(25)
    awaited(lambda: "answered ana" in happened(back), "it is not known that they talk")
    assert dialled(edge) == {"b3", "b4"}
    answered.bye()
    edge.last_leg_to(MEMBER).wait("BYE")
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")
    assert member.invite is not None


# ------------------------------------------------------------------------------------------- who does not answer


@pytest.mark.parametrize(
    ("does", "why"), [("486", "busy"), ("ring", "the member hung up before"), ("503", "not reached")]
)
def test_who_does_not_answer_is_called_again_and_then_unreached(
    edge: Edge, media: MediaNode, back: Resident, does: str, why: str
) -> None:
    arrives(edge, back, NATIONAL, CUSTOMER).wait("BYE")
    trunks = {f"trunk:{name}": does for name in ("first-1", "second", "third")}
    edge.answers = {MEMBER: "answer", **trunks}
    for attempt in (1, 2):
        agent(media, back)
        awaited(lambda: len(legs_to(edge, CUSTOMER)) >= attempt, "nobody calls the caller")  # noqa: B023
        member = edge.last_leg_to(MEMBER)
        if does == "ring":
            member.hear(25)
            member.bye()
        else:
            member.wait("BYE")
        awaited(lambda: happened(back).count("unanswered ana") == attempt, "the attempt is not told")  # noqa: B023
        # Free at once: no pause, and no call more.
        query = "SELECT calls_today, wrap_until, last_call_at FROM control.queue_member_stats"
        assert back.rows(query) == [(0, None, None)]
        assert back.rows("SELECT count(*) FROM control.queue_offers") == [(0,)]
        if attempt == 1:
            assert states(back) == ["callback"]
    awaited(lambda: outcomes(back) == ["unreached"], "it has no outcome")
    assert happened(back)[-3:] == ["calling ana", "unanswered ana", "unreached"]
    said = back.rows("SELECT detail FROM control.queue_events WHERE event = 'unanswered' ORDER BY id")
    assert said == [(f"call 1 of 2: {why}",), (f"call 2 of 2: {why}",)]
    level = back.rows("SELECT callers, answered, unreached FROM control.queue_service_level")
    assert level == [(1, 0, 1)]


def test_who_calls_instead_goes_on_waiting_in_the_old_place(
    edge: Edge, media: MediaNode, back: Resident
) -> None:
    edge.answers = {MEMBER: "486"}
    arrives(edge, back, NATIONAL, CUSTOMER).wait("BYE")
    awaited(lambda: wanted(back) == [(CUSTOMER, None)], "it is not to be called back")
    (waits,) = back.rows("SELECT id, joined_at FROM control.queue_callers")
    again = edge.call(NATIONAL, "back-1", CUSTOMER, Trunk="carrier")
    again.hear(25)
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer"}
    awaited(lambda: states(back) == ["talking"], "it is not served")
    edge.last_leg_to(MEMBER).hear(25)
    assert wanted(back) == [(None, None)]
    assert dialled(edge) == set(), "nobody is called back"
    again.bye()
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")
    assert back.rows("SELECT id, joined_at FROM control.queue_callers") == [waits]


def test_who_answers_the_second_time_was_answered(edge: Edge, media: MediaNode, back: Resident) -> None:
    arrives(edge, back, NATIONAL, CUSTOMER).wait("BYE")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "486"}
    agent(media, back)
    awaited(lambda: "unanswered ana" in happened(back), "the attempt is not told")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer"}
    agent(media, back)
    awaited(lambda: "answered ana" in happened(back), "it is not known that they talk")
    edge.last_leg_to(CUSTOMER).bye()
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")


def test_a_talk_that_began_without_the_server_is_known_at_its_end(
    edge: Edge, media: MediaNode, back: Resident
) -> None:
    arrives(edge, back, NATIONAL, CUSTOMER).wait("BYE")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "ring"}
    agent(media, back)
    customer = edge.leg_to(CUSTOMER)
    awaited(lambda: states(back) == ["talking"], "the member's answer is not known")
    back.stop()
    edge.answer(customer)
    customer.hear(25)
    back.start()
    # It has its database a moment later.
    time.sleep(2)
    customer.bye()
    awaited(lambda: outcomes(back) == ["answered"], "who was reached is called again")


# ----------------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("speaker", ["customer", "member"])
def test_the_talk_is_recorded_and_both_are_told(
    edge: Edge, media: MediaNode, back: Resident, speaker: str
) -> None:
    arrives(edge, back, RECORDED, CUSTOMER).wait("BYE")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "ring"}
    call = agent(media, back)
    customer = edge.leg_to(CUSTOMER)
    member = edge.last_leg_to(MEMBER)
    silent(member, customer)
    member.hear(50)
    assert [one for one in told(media, call) if one.startswith("dp.record ")] == [], "nobody is there yet"
    before = member.audio.loud
    edge.answer(customer)
    # Nobody speaks: what is loud is the announcement.
    until(lambda: customer.audio.loud > 20, 20)
    until(lambda: member.audio.loud > before + 20, 20)
    until(lambda: [one for one in told(media, call) if one.startswith("dp.record ")], 20)
    ((path, why),) = (one.split(" ", 2)[1:] for one in told(media, call) if one.startswith("dp.record "))
    assert why == "queue taped"
    assert path.startswith(f"/var/spool/asterisk/monitor/back-1/{call}-")
    speaks, hears = (customer, member) if speaker == "customer" else (member, customer)
    speaks.audio.voice = VOICE
    heard = hears.audio.loud
    until(lambda: hears.audio.loud > heard + 100, 20)
    member.bye()
    customer.wait("BYE")
    until(lambda: loudness(media, path) > 0.5, 20)
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")


def test_a_queue_that_is_not_recorded_is_not(edge: Edge, media: MediaNode, back: Resident) -> None:
    arrives(edge, back, NATIONAL, CUSTOMER).wait("BYE")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer"}
    call = agent(media, back)
    customer = edge.leg_to(CUSTOMER)
    customer.hear(100)
    assert [one for one in told(media, call) if one.startswith("dp.record ")] == []
    customer.bye()
    awaited(lambda: outcomes(back) == ["answered"], "it has no outcome")


def test_a_member_who_transfers_the_call_ends_the_recording(
    edge: Edge, media: MediaNode, back: Resident
) -> None:
    arrives(edge, back, RECORDED, CUSTOMER).wait("BYE")
    edge.answers = {MEMBER: "answer", "trunk:first-1": "answer", "b2": "answer"}
    call = agent(media, back)
    customer = edge.leg_to(CUSTOMER)
    until(lambda: [one for one in told(media, call) if one.startswith("dp.record ")], 20)
    ((path, _),) = (one.split(" ", 2)[1:] for one in told(media, call) if one.startswith("dp.record "))
    member = edge.last_leg_to(MEMBER)
    member.hear(50)
    member.send("REFER", "Refer-To: <sip:102@back.example>", "Referred-By: <sip:b1@back.example>")
    other = edge.leg_to("b2")
    other.hear(25)
    time.sleep(1)
    size = media.sh(f"stat -c %s {path}")
    other.hear(100)
    assert media.sh(f"stat -c %s {path}") == size
    awaited(lambda: outcomes(back) == ["answered"], "the member still talks, it seems")
    customer.bye()
    other.wait("BYE")


def test_whom_the_caller_brings_to_a_recorded_member_is_told(
    edge: Edge, media: MediaNode, back: Resident
) -> None:
    """Who was called back inside asks somebody else, and joins that one and the member."""
    leg = edge.call("703", "back-1", Caller="cleo", Device="b3@back.example")
    presses(back, leg).wait("BYE")
    edge.answers = {MEMBER: "answer", "b3": "answer", "b2": "answer"}
    call = agent(media, back)
    customer = edge.leg_to("b3")
    until(lambda: [one for one in told(media, call) if one.startswith("dp.record ")], 20)
    member = edge.last_leg_to(MEMBER)
    customer.hear(150)
    asks = edge.call("102", "back-1", Caller="cleo", Device="b3@back.example")
    asks.wait("200")
    other = edge.leg_to("b2")
    silent(member, customer, other, asks)
    other.hear(50)
    heard = other.audio.loud
    joins(customer, asks, "102", "back.example")
    until(lambda: other.audio.loud > heard + 20, 20)
    member.bye()
    other.wait("BYE")
