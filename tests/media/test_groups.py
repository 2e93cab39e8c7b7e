"""Groups around the ringing: who is told, whose number is shown, who does not ring when nothing decides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.media.decided import MOBILE, SHARED, Agi
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import decisions, until

CARL = {"Caller": "carl", "Device": "p4@decided.example"}
P1, P2, P3 = (f"p{number}@decided.example" for number in range(1, 4))
RING = (f"dp-legs,s,1({P1}&{P3},30,)", "dp-otherwise,s,1(extension:103,busy,busy)")


def call(edge: Edge, dialled: str, **headers: str) -> Leg:
    return edge.call(dialled, "dec-1", **(headers or CARL))


def rung(edge: Edge) -> list[str]:
    return sorted(one.user for one in edge.invites)


@pytest.fixture
def flags(media: MediaNode) -> Iterator[list[str]]:
    """Flags as the agent sets them: put their names in with `set_flag`; gone after the test."""
    names: list[str] = []
    yield names
    for name in names:
        media.cli(f"database del {name}")


def set_flag(media: MediaNode, flags: list[str], family: str, key: str) -> None:
    flags.append(f"{family} {key}")
    assert "Updated" in media.cli(f"database put {family} {key} 1")


# ------------------------------------------------------------------------------------------- without a decision


@pytest.mark.parametrize(
    ("family", "key", "rings"),
    [
        ("dnd", "dec-1/ann", [MOBILE, "p3"]), ("away", "dec-1/hunt-1/ben", [MOBILE, "p1", "p2"]),
        ("away", f"dec-1/hunt-1/{MOBILE}", ["p1", "p2", "p3"]),
        ("away", "dec-1/sales-1/ben", [MOBILE, "p1", "p2", "p3"]),
    ],
    ids=["dnd", "away", "outside away", "away from another"],
)  # fmt: skip
def test_a_rendered_group_leaves_out_who_must_not_be_rung(
    edge: Edge, media: MediaNode, flags: list[str], *, family: str, key: str, rings: list[str]
) -> None:
    set_flag(media, flags, family, key)
    edge.answers = dict.fromkeys(("p1", "p2", "p3", "trunk:first-1"), "ring")
    leg = call(edge, "620")
    until(lambda: rung(edge) == rings)
    edge.cancel(leg)
    leg.wait("487")
    assert rung(edge) == rings


def test_a_rendered_group_in_which_nobody_may_be_rung_goes_on(
    edge: Edge, media: MediaNode, flags: list[str]
) -> None:
    for family, key in (("dnd", "dec-1/ann"), ("dnd", "dec-1/ben"), ("away", f"dec-1/hunt-1/{MOBILE}")):
        set_flag(media, flags, family, key)
    edge.answers = {"p4": "answer"}
    leg = call(edge, "620", Caller="ann", Device=P1)
    leg.wait("200")
    assert rung(edge) == ["p4"]
    until(lambda: 'dp.next {"extra":"extension:103"}' in decisions(media, leg))
    leg.bye()


# ------------------------------------------------------------------------------------------------- who is told


def test_the_server_hears_who_answered_and_whom(edge: Edge, agi: Agi) -> None:
    agi.decides(*RING)
    edge.answers = {"p1": "ring", "p3": "answer"}
    leg = call(edge, "620")
    leg.wait("200")
    until(lambda: bool(agi.told()))
    leg.hear(20)
    leg.bye()
    edge.leg_to("p3").wait("BYE")
    assert agi.told() == [("answered", [f"call-{leg.call_id}", P3, "103", "carl", "p4@decided.example"])]


def test_the_server_hears_that_the_caller_gave_up(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(*RING)
    edge.answers = {"p1": "ring", "p3": "ring"}
    leg = call(edge, SHARED, Trunk="second")
    edge.leg_to("p3")
    edge.cancel(leg)
    leg.wait("487")
    until(lambda: bool(agi.told()))
    until(lambda: "0 active channels" in media.cli("core show channels"))
    assert agi.told() == [("missed", [f"call-{leg.call_id}", "", "555", "", ""])]


def test_the_server_hears_once_that_nobody_answered(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(*RING)
    edge.answers = {"p1": "486", "p3": "486"}
    leg = call(edge, "620")
    assert leg.wait("final").code == 486
    until(lambda: bool(agi.told()))
    until(lambda: "0 active channels" in media.cli("core show channels"))
    assert agi.told() == [("missed", [f"call-{leg.call_id}", "", "103", "carl", "p4@decided.example"])]


def test_what_the_server_says_goes_to_the_phones(edge: Edge, agi: Agi) -> None:
    agi.decides(*RING)
    edge.answers = {"p1": "ring", "p3": "ring"}
    leg = call(edge, "620")
    phone = edge.leg_to("p3")
    text = 'hunt-1: Carl, (he) answered by \\"Ben\\" ${EXTEN}; ok'
    agi.says(
        f'SET VARIABLE DP_TEXT "{text}"\nSET VARIABLE DP_PHONES_1 "{P1}&{P2}"\n'
        f'SET VARIABLE DP_PHONES_2 "p4@decided.example"\nSET VARIABLE DP_PHONES 2\n'
    )
    edge.answer(phone)
    leg.wait("200")
    until(lambda: len([one for one in edge.others if one.method == "MESSAGE"]) == 3)
    messages = [one for one in edge.others if one.method == "MESSAGE"]
    assert sorted(one.user for one in messages) == ["p1", "p2", "p4"]
    assert {one.body for one in messages} == {'hunt-1: Carl, (he) answered by "Ben" ${EXTEN}; ok'}
    assert {one.get("content-type") for one in messages} == {"text/plain"}
    assert all("sip:hunt-1@dialplane.internal" in one.get("from") for one in messages)
    leg.hear(10)
    leg.bye()


def test_nobody_waits_for_a_server_that_froze_meanwhile(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.decides(*RING)
    edge.answers = {"p1": "486", "p3": "486"}
    leg = call(edge, "620")
    agi.says("", silent=True)
    assert leg.wait("final", 10).code == 486
    until(lambda: "0 active channels" in media.cli("core show channels"), 30)


@pytest.mark.parametrize(
    ("does", "heard"), [("answer", "called"), ("486", "unanswered"), ("ring", "unanswered")]
)
def test_the_server_hears_of_a_call_in_the_groups_name(
    edge: Edge, agi: Agi, media: MediaNode, does: str, heard: str
) -> None:
    edge.answers = {"trunk:first-1": does}
    leg = call(edge, "0401234567", Caller="ben", Device=P3)
    edge.leg_to("+49401234567")
    if does == "answer":
        leg.wait("200")
        leg.hear(10)
        leg.bye()
    elif does == "ring":
        leg.wait("180")
        edge.cancel(leg)
    leg.wait("final")
    until(lambda: bool(agi.told()))
    until(lambda: "0 active channels" in media.cli("core show channels"))
    assert agi.told() == [(heard, [f"call-{leg.call_id}", "+49401234567", "", "ben", P3])]


def test_nobody_hears_of_a_call_with_the_own_number(edge: Edge, agi: Agi, media: MediaNode) -> None:
    edge.answers = {"trunk:first-1": "486"}
    leg = call(edge, "0401234567", Caller="ann", Device=P1)
    assert leg.wait("final").code == 486
    until(lambda: "0 active channels" in media.cli("core show channels"))
    assert agi.told() == []


# --------------------------------------------------------------------------------------------- whose number is shown


def test_what_outside_parties_see_is_the_group_and_their_return_call_reaches_all_members(
    edge: Edge, agi: Agi
) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    out = call(edge, "0401234567", Caller="ben", Device=P3)
    out.wait("200")
    shown = edge.leg_to("+49401234567")
    assert shown.invite
    assert SHARED in shown.invite.get("from")
    out.bye()
    shown.wait("BYE")
    agi.decides(f"dp-legs,s,1({P1}&{P3}&{MOBILE},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "answer", "p3": "ring", "trunk:first-1": "ring"}
    back = edge.call(SHARED, "dec-1", "+49401234567", Trunk="second")
    back.wait("200")
    assert agi.asked()[0][:2] == ["group", "hunt-1"]
    mobile = edge.leg_to(MOBILE)
    assert mobile.invite
    assert SHARED in mobile.invite.get("from"), "an outside member may call back too"
    assert "+49401234567" in edge.leg_to("p1").invite.get("from")  # type: ignore[union-attr]
    back.hear(10)
    back.bye()


def test_an_emergency_call_shows_the_own_number(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    leg = call(edge, "112", Caller="ben", Device=P3)
    leg.wait("200")
    shown = edge.leg_to("112").invite
    assert shown
    assert "+4930666000" in shown.get("from")
    leg.bye()


def test_who_is_no_outgoing_member_shows_the_own_number(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    leg = call(edge, "0401234567", Caller="ann", Device=P1)
    leg.wait("200")
    shown = edge.leg_to("+49401234567").invite
    assert shown
    assert "+4930666000" in shown.get("from")
    leg.bye()


# -------------------------------------------------------------------------------------------- leaving and joining


@pytest.mark.parametrize(
    ("said", "event", "text"),
    [
        ("left", "dp.member", "left hunt-1"), ("joined", "dp.member", "joined hunt-1"),
        ("stranger", "dp.refused", "no member of group hunt-1"), ("", "dp.refused", "membership of hunt-1"),
    ],
)  # fmt: skip
def test_a_member_leaves_and_joins_by_a_code(
    edge: Edge, agi: Agi, media: MediaNode, *, said: str, event: str, text: str
) -> None:
    agi.says(f'SET VARIABLE DP_MEMBER "{said}"\n')
    leg = call(edge, "*31", Caller="ben", Device=P3)
    leg.wait("200")
    until(lambda: any(one.startswith(event) and text in one for one in decisions(media, leg)))
    assert agi.asked()[-1][:6] == ["group", "hunt-1", "dec-1", f"call-{leg.call_id}", "ben", P3]
    leg.wait("BYE")


def test_without_a_server_nothing_is_changed_and_said_so(edge: Edge, media: MediaNode) -> None:
    leg = call(edge, "*31", Caller="ben", Device=P3)
    until(lambda: any("membership of hunt-1 was not changed" in one for one in decisions(media, leg)))
    leg.wait("BYE")


def test_a_caller_from_outside_is_no_member(edge: Edge) -> None:
    assert call(edge, "*31", Caller="", Device="").wait("final").code == 403


def test_legs_of_a_group_say_so_to_the_edge(edge: Edge, agi: Agi) -> None:
    agi.decides(f"dp-legs,s,1({P1}&{P3}~1&{MOBILE},20,)", "dp-otherwise,s,1(busy,busy,busy)")
    edge.answers = {"p1": "ring", "p3": "ring", "trunk:first-1": "ring"}
    leg = call(edge, "620")
    edge.leg_to("p3")
    edge.leg_to(MOBILE)
    edge.cancel(leg)
    leg.wait("487")
    groups = {one.user: one.get("x-dp-group") for one in edge.invites}
    assert groups == {"p1": "hunt-1", "p3": "hunt-1", MOBILE: ""}
