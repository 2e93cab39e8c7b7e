"""Calls that need a decision: what is asked, what the program does, and one call stays one."""

from __future__ import annotations

import json

import pytest

from controller.calls import facts, fold
from tests.media.decided import MOBILE, OWN, Agi
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import decisions, until

ANN = {"Caller": "ann", "Device": "p1@decided.example"}
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'
P1, P2, P3, P4 = (f"p{number}@decided.example" for number in range(1, 5))


def call(edge: Edge, dialled: str, **headers: str) -> Leg:
    return edge.call(dialled, "dec-1", **(headers or ANN))


def rung(edge: Edge) -> list[str]:
    return sorted(one.user for one in edge.invites)


# ------------------------------------------------------------------------------------------------------- question


def test_the_server_is_told_of_the_call(edge: Edge, agi: Agi) -> None:
    agi.decides("dp-reject,s,1(busy)")
    leg = call(edge, "600", **ANN, Depth="2")
    assert leg.wait("final").code == 486
    assert agi.asked()[-1] == [
        "group", "sales-1", "dec-1", f"call-{leg.call_id}", "101", "ann", P1, "", "600", "en", "2",
    ]  # fmt: skip
    from_outside = call(edge, OWN, Trunk="second")
    from_outside.wait("final")
    assert agi.asked()[-1][4:9] == ["555", "", "", "second", OWN]


@pytest.mark.parametrize(
    ("dialled", "asked"),
    [("600", ["group", "sales-1"]), ("610", ["policy", "main"]), ("103", ["user", "carl"]), ("101", [])],
)
def test_what_asks(edge: Edge, agi: Agi, dialled: str, asked: list[str]) -> None:
    agi.decides("dp-reject,s,1(unavailable)")
    edge.answers = {"p1": "486"}
    call(edge, dialled).wait("final")
    assert [one[:2] for one in agi.asked()] == ([asked] if asked else [])


def test_reasons_stand_in_the_events(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(
        "dp-reject,s,1(declined)", why=["rule 20 does not hold: office (closed, since 17:30)", "a\\\\b"]
    )
    leg = call(edge, "610")
    assert leg.wait("final").code == 403
    until(lambda: any(one.startswith("dp.refused") for one in decisions(media, leg)))
    told = [one for one in decisions(media, leg) if one.startswith("dp.decided")]
    assert told == [
        'dp.decided {"extra":"rule 20 does not hold: office (closed, since 17:30)"}',
        'dp.decided {"extra":"ab"}',
    ]


# ------------------------------------------------------------------------------------------------------- programs


def test_legs_ring_at_once_and_the_others_are_told_it_was_answered_elsewhere(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.decides(
        "dp-caller,s,1(,Sales \\\\& more)",
        f"dp-legs,s,1({P1}&{P2}&{P3}~1&{P4}~30,20,s)",
        "dp-otherwise,s,1(busy,busy,busy)",
    )
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "answer", "p4": "answer"}
    leg = call(edge, "600", Caller="ben", Device=P3)
    leg.wait("180")
    leg.wait("200")
    for phone in ("p1", "p2"):
        reasons = edge.leg_to(phone).wait("CANCEL").all("reason")
        assert ELSEWHERE in reasons
    assert rung(edge) == ["p1", "p2", "p3"]
    for invite in edge.invites:
        assert invite.get("x-dp-skip-busy") == "1"
        assert invite.get("x-dp-call") == f"call-{leg.call_id}"
        assert invite.get("x-dp-account") == "dec-1"
        assert invite.get("from").startswith('"Sales & more Ben" <sip:')
    leg.hear(25)
    phone_leg = edge.leg_to("p3")
    phone_leg.hear(25)
    assert leg.audio.loud
    leg.bye()
    phone_leg.wait("BYE")


def test_a_delayed_leg_is_told_too_that_it_was_answered_elsewhere(edge: Edge, agi: Agi) -> None:
    agi.decides(f"dp-legs,s,1({P1}~1&{P2}~2,20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "p2": "answer"}
    leg = call(edge, "600", Caller="ben", Device=P3)
    leg.wait("180")
    assert edge.invites == []
    leg.wait("200")
    assert ELSEWHERE in edge.leg_to("p1").wait("CANCEL").all("reason")
    leg.hear(20)
    leg.bye()


@pytest.mark.parametrize(
    ("legs", "answers", "answered"),
    [
        (f"{P1}&{P3}", {"p1": "ring", "p3": "answer"}, P3),
        (f"{P1}&{P3}~1", {"p1": "ring", "p3": "answer"}, P3),
        (f"{P1}&{MOBILE}~1", {"p1": "ring", "trunk:first-1": "answer"}, MOBILE),
    ],
    ids=["at once", "later", "outside"],
)
def test_who_answered_is_told_to_the_server_of_a_group_that_remembers(
    edge: Edge, agi: Agi, media: MediaNode, legs: str, answers: dict[str, str], answered: str
) -> None:
    agi.decides(f"dp-legs,s,1({legs},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = answers
    leg = call(edge, "600")
    leg.wait("200")
    until(lambda: bool(agi.told()))
    assert agi.told() == [("answered", [f"call-{leg.call_id}", answered, "101", "ann", P1])]
    until(lambda: f'dp.answered {{"extra":"{answered}"}}' in decisions(media, leg))
    leg.hear(20)
    leg.bye()


def test_a_server_that_froze_meanwhile_holds_up_nobody_who_answered(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.decides(f"dp-legs,s,1({P1},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring"}
    leg = call(edge, "600")
    phone = edge.leg_to("p1")
    agi.says("", silent=True)
    edge.answer(phone)
    leg.wait("200", 10)
    leg.hear(20)
    until(lambda: bool(agi.told()))
    until(lambda: "dp-told" not in media.cli("core show channels"))
    leg.hear(20)
    leg.bye()


def test_a_caller_who_gives_up_stops_delayed_legs(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(f"dp-legs,s,1({P1}&{P2}~1&{P3}~20,60,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "p2": "ring"}
    leg = call(edge, "600")
    edge.leg_to("p2")
    edge.cancel(leg)
    leg.wait("487")
    for phone in ("p1", "p2"):
        assert "cause=200" not in edge.leg_to(phone).wait("CANCEL").get("reason")
    until(lambda: "0 active channels" in media.cli("core show channels"), 30)


@pytest.mark.parametrize(
    ("answers", "next_step"),
    [
        ({"p1": "ring", "p2": "486"}, "extension:101"),
        ({"p1": "404", "p2": "486"}, "extension:103"),
        ({"p1": "404", "p2": "603"}, "extension:103"),
        ({"p1": "404", "p2": "404"}, "extension:104"),
    ],
    ids=["silent", "busy", "declined", "away"],
)
@pytest.mark.parametrize("delay", ["", "~1"])
def test_legs_in_sequence_and_the_strongest_thing_they_said(
    edge: Edge, agi: Agi, media: MediaNode, answers: dict[str, str], next_step: str, delay: str
) -> None:
    agi.decides(
        f"dp-legs,s,1({P1}{delay},2,)", f"dp-legs,s,1({P2}{delay},2,)",
        "dp-otherwise,s,1(extension:101,extension:103,extension:104)",
    )  # fmt: skip
    edge.answers = answers
    leg = call(edge, "600")
    until(lambda: any("dp.next" in one for one in decisions(media, leg)), 20)
    assert (
        next(one for one in decisions(media, leg) if "dp.next" in one) == f'dp.next {{"extra":"{next_step}"}}'
    )
    edge.cancel(leg)
    leg.wait("final")


def test_more_legs_than_a_line_holds(edge: Edge, agi: Agi) -> None:
    many = [f"some-device-with-a-long-name-{number:03}@decided.example" for number in range(150)]
    agi.decides(
        *(f"dp-more,s,1({'&'.join(many[first:first + 15])})" for first in range(0, 135, 15)),
        f"dp-legs,s,1({'&'.join(many[135:])},20,)", "dp-otherwise,s,1(busy,busy,busy)",
    )  # fmt: skip
    edge.answers = {"some-device-with-a-long-name-149": "answer"}
    leg = call(edge, "600")
    leg.wait("200")
    assert len(edge.invites) == 150
    leg.bye()


def test_an_outside_number_is_taken_by_a_key(edge: Edge, agi: Agi) -> None:
    agi.decides(f"dp-legs,s,1({P1}&{MOBILE},40,c)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "trunk:first-1": "answer"}
    leg = call(edge, "600")
    mobile = edge.leg_to(MOBILE)
    assert mobile.invite
    assert mobile.invite.get("x-dp-trunk") == "first-1"
    assert "+4930666000" in mobile.invite.get("from")
    until(lambda: mobile.audio.loud > 20)  # the prompt
    assert all(one.code < 200 for one in leg.responses)
    mobile.audio.digits.put("1")
    leg.wait("200")
    assert "cause=200" in edge.leg_to("p1").wait("CANCEL").get("reason")
    leg.hear(20)
    mobile.hear(20)
    leg.bye()
    mobile.wait("BYE")


def test_an_outside_number_that_presses_nothing_takes_no_call(edge: Edge, agi: Agi) -> None:
    agi.decides(f"dp-legs,s,1({P1}&{MOBILE},40,c)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "trunk:first-1": "answer"}
    leg = call(edge, "600")
    mobile = edge.leg_to(MOBILE)
    until(lambda: mobile.audio.loud > 20)
    mobile.audio.digits.put("2")
    mobile.wait("BYE")
    assert all(one.code < 200 for one in leg.responses)
    edge.cancel(leg)
    leg.wait("487")


def test_an_outside_number_that_hangs_up_takes_no_call(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(f"dp-legs,s,1({MOBILE},40,c)", "dp-otherwise,s,1(extension:103,busy,hangup)")
    edge.answers = {"trunk:first-1": "answer", "p4": "answer"}
    leg = call(edge, "600")
    mobile = edge.leg_to(MOBILE)
    until(lambda: mobile.audio.loud > 5)
    mobile.bye()
    until(lambda: any("dp.next" in one for one in decisions(media, leg)), 20)
    assert all(one.code < 200 for one in leg.responses)
    edge.cancel(leg)
    leg.wait("final")


def test_an_own_number_as_a_member_stays_inside_and_ends(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(f"dp-legs,s,1({OWN},20,)", "dp-otherwise,s,1(busy,hangup,hangup)")
    leg = call(edge, "600")
    assert leg.wait("final", 60).code >= 400
    assert edge.invites == []
    assert {one[5] for one in agi.asked()} == {"ann"}


def test_an_announcement_before_the_answer_then_ringing_to_be_heard(edge: Edge, agi: Agi) -> None:
    agi.decides("dp-early,s,1(hello-world)", f"dp-legs,s,1({P1}~1,30,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring"}
    leg = call(edge, "600")
    leg.wait("183")
    until(lambda: leg.audio.loud > 20)
    edge.leg_to("p1")
    loud = leg.audio.loud
    until(lambda: leg.audio.loud > loud + 20, 20)
    assert all(one.code < 200 for one in leg.responses)
    edge.cancel(leg)
    leg.wait("487")


def test_an_announcement_after_the_answer_then_ringing_to_be_heard(edge: Edge, agi: Agi) -> None:
    agi.decides("dp-late,s,1(hello-world)", f"dp-legs,s,1({P1},30,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring"}
    leg = call(edge, "600")
    leg.wait("200")
    until(lambda: leg.audio.loud > 20)
    edge.leg_to("p1")
    loud = leg.audio.loud
    until(lambda: leg.audio.loud > loud + 20, 20)
    leg.bye()


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("dp-reject,s,1(busy)", 486), ("dp-reject,s,1(declined)", 403), ("dp-reject,s,1(unavailable)", 480),
        ("dp-reject,s,1(unknown)", 404), ("dp-reject,s,1(not_found)", 404), ("dp-app,s,1(nothing)", 404),
        ("dp-next,s,1(group:nobody,20)", 404), ("dp-next,s,1(busy,20)", 486),
    ],
)  # fmt: skip
def test_refusals(edge: Edge, agi: Agi, act: str, code: int) -> None:
    agi.decides(act)
    assert call(edge, "610").wait("final").code == code


def test_decisions_in_a_circle_end(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides("dp-next,s,1(policy:main,20)")
    leg = call(edge, "610")
    assert leg.wait("final").code >= 400
    assert len(agi.asked()) == 9
    until(lambda: any("more than 8 next steps" in one for one in decisions(media, leg)))


def test_a_group_member_transfers_as_its_owner_may(edge: Edge, agi: Agi) -> None:
    agi.decides(f"dp-legs,s,1({P3},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p3": "answer", "trunk:first-1": "answer", "trunk:paris": "answer"}
    leg = call(edge, "600")
    phone = edge.leg_to("p3")
    leg.wait("200")
    phone.hear(5)
    phone.send("REFER", "Refer-To: <sip:0301234567@decided.example>", f"Referred-By: {phone.local}")
    assert edge.leg_to("+49301234567")
    leg.bye()


# --------------------------------------------------------------------------------------------------------- record


def test_the_record_of_a_call_with_local_legs_is_that_of_one_call(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.decides(f"dp-legs,s,1({P1}&{P2}~1&{MOBILE},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "p2": "answer"}
    leg = call(edge, "600")
    leg.wait("200")
    leg.hear(30)
    leg.bye()
    edge.leg_to("p2").wait("BYE")
    until(lambda: "0 active channels" in media.cli("core show channels"))
    linked = next(one["linkedid"] for one in media.events() if one["userfield"] == f"call-{leg.call_id}")
    until(
        lambda: any(
            one["eventtype"] == "LINKEDID_END" and one["linkedid"] == linked for one in media.events()
        )
    )
    own = [one for one in media.events() if one["linkedid"] == linked]
    assert {one["accountcode"] for one in own if one["eventtype"] == "HANGUP"} == {"dec-1"}
    assert {one["userfield"] for one in own if one["eventtype"] == "HANGUP"} == {f"call-{leg.call_id}"}
    said = [facts.parse(json.dumps(one).encode(), "media1", "f", place) for place, one in enumerate(own)]
    record = fold.fold("x", said)
    assert record
    assert record.complete
    assert record.cause == 16
    assert record.answered_at
    parties = [one["party"] for one in record.legs]
    assert all(party.startswith("PJSIP/edge-") for party in parties), parties
    assert len(parties) == len(edge.invites) + 1
