"""Voice menus: heard, interrupted, keyed, timed out, wrong, nested, ended. They need no AGI server."""

from __future__ import annotations

import pytest

from tests.media.decided import Agi
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import decisions, until

ANN = {"Caller": "ben", "Device": "p3@decided.example"}


def menu(edge: Edge, dialled: str = "700", **headers: str) -> Leg:
    """A call in a menu whose greeting is heard."""
    edge.answers = {"p1": "answer", "p4": "answer", **edge.answers}
    leg = edge.call(dialled, "dec-1", **(headers or ANN))
    leg.wait("200")
    until(lambda: leg.audio.loud > 10)
    return leg


def press(leg: Leg, digits: str) -> None:
    for digit in digits:
        leg.audio.digits.put(digit)


def told(media: MediaNode, leg: Leg, what: str) -> bool:
    return any(what in one for one in decisions(media, leg))


def rung(edge: Edge) -> set[str]:
    return {one.user for one in edge.invites}


@pytest.mark.parametrize(
    ("digits", "rings", "said"),
    [
        ("1", {"p1", "p2"}, "main-1: 1"),
        ("22", {"p1", "p2"}, "group:empty"),
        ("#", {"p4"}, "main-1: #"),
        ("103", {"p4"}, "main-1: extension 103"),
        ("1#", {"p1", "p2"}, "main-1: 1"),
    ],
    ids=["key", "longer key", "hash", "extension", "ended by hash"],
)
def test_keys_interrupt_the_greeting(
    edge: Edge, media: MediaNode, digits: str, rings: set[str], said: str
) -> None:
    leg = menu(edge)
    press(leg, digits)
    phone = edge.leg_to("p4" if "p4" in rings else "p1")
    phone.hear(10)
    leg.hear(10)
    assert rung(edge) == rings
    until(lambda: told(media, leg, said))
    leg.bye()


def test_a_menu_in_a_menu_and_back(edge: Edge, media: MediaNode) -> None:
    leg = menu(edge)
    press(leg, "2")
    until(lambda: told(media, leg, 'dp.menu {"extra":"sub"}'))
    press(leg, "9")
    until(lambda: sum("main-1" in one and "dp.menu" in one for one in decisions(media, leg)) >= 3)
    press(leg, "#")
    edge.leg_to("p4").hear(10)
    leg.bye()


def test_nothing_pressed(edge: Edge, media: MediaNode) -> None:
    """The greeting of two tries, then the step."""
    leg = menu(edge, "701")
    leg.wait("BYE", 40)
    until(lambda: told(media, leg, "sub: nothing was pressed"))
    assert edge.invites == []


def test_wrong_keys_are_said_and_the_menu_begins_again(edge: Edge, media: MediaNode) -> None:
    leg = menu(edge)
    press(leg, "8")
    until(lambda: told(media, leg, "main-1: 8 is no choice"), 20)
    loud = leg.audio.loud
    until(lambda: leg.audio.loud > loud + 20, 20)
    press(leg, "555")
    edge.leg_to("p1").hear(10)  # after the second try: on_invalid
    assert rung(edge) == {"p1", "p2"}
    leg.bye()


@pytest.mark.parametrize("digits", ["*43", "999", "*"], ids=["echo", "nobody", "star"])
def test_what_no_caller_of_a_menu_may_dial(edge: Edge, media: MediaNode, digits: str) -> None:
    leg = menu(edge)
    press(leg, digits)
    until(lambda: told(media, leg, f"main-1: {digits} is no choice"), 20)
    assert not told(media, leg, "dp.next")
    leg.bye()


def test_without_direct_dial_an_extension_is_wrong(edge: Edge, media: MediaNode) -> None:
    leg = menu(edge, "701")
    press(leg, "1")
    until(lambda: told(media, leg, "sub: 1 is no choice"))
    leg.wait("BYE")
    assert edge.invites == []


def test_menus_in_a_circle_end(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("702", "dec-1", **ANN)
    leg.wait("200")
    leg.wait("BYE", 90)
    until(lambda: told(media, leg, "more than 8 next steps"))


def test_a_caller_who_hangs_up_leaves_nothing_behind(edge: Edge, media: MediaNode) -> None:
    leg = menu(edge)
    leg.bye()
    until(lambda: "0 active channels" in media.cli("core show channels"))


def test_a_greeting_that_is_not_there_does_not_end_the_menu(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("703", "dec-1", **ANN)
    leg.wait("200")
    until(lambda: told(media, leg, "sound not-there cannot be played"))
    press(leg, "9")
    until(lambda: told(media, leg, 'dp.menu {"extra":"main-1"}'))
    leg.bye()


def test_who_was_in_a_menu_hears_what_is_decided_and_the_ringing(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.decides(
        "dp-early,s,1(hello-world)", "dp-legs,s,1(p1@decided.example,30,)", "dp-otherwise,s,1(busy,busy,busy)"
    )
    edge.answers = {"p1": "ring"}
    leg = menu(edge)
    press(leg, "22")
    edge.leg_to("p1")
    loud = leg.audio.loud
    until(lambda: leg.audio.loud > loud + 20, 20)
    leg.bye()


def test_who_was_in_a_menu_hears_ringing_while_the_server_says_nothing(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.says("", silent=True)
    edge.answers = {"p1": "ring"}
    leg = menu(edge)
    press(leg, "22")
    until(lambda: len(agi.asked()) == 1)
    loud = leg.audio.loud
    until(lambda: leg.audio.loud > loud + 20, 20)
    assert not told(media, leg, "dp.fallback")
    edge.leg_to("p1")
    until(lambda: told(media, leg, "dp.fallback"))
    leg.bye()
