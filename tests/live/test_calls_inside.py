"""Calls between phones of one company: who rings, who hears whom, and what is written down."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, DESK1, LOBBY
from tests.live.phones import Phones
from tests.live.talk import both_hear, hear_each_other, hears_music, record, went_well


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """All phones of acme are registered."""
    phones.registered(DESK1, APP1, BOB, CAROL, LOBBY)


def test_straight_to_the_one_device(phones: Phones) -> None:
    since = stack.now()
    with phones.answering(LOBBY) as [lobby]:
        bob = phones.run("call", BOB, to="103", talk_ms=1500)
        called = lobby.wait()
    went_well(bob, called)
    both_hear((bob, BOB), (called, LOBBY))
    written = record(since)
    assert written["media_node"] is None
    assert written["direction"] == "internal"
    assert written["answered_at"]


def test_through_a_media_node(phones: Phones) -> None:
    since = stack.now()
    with phones.answering(BOB) as [callee]:
        desk = phones.run("call", DESK1, to="102", talk_ms=1500)
        called = callee.wait()
    went_well(desk, called)
    both_hear((desk, DESK1), (called, BOB))
    written = record(since)
    assert written["media_node"] in ("media1", "media2")
    assert written["account"] == "acme"


def test_all_devices_of_a_user_ring_and_one_takes_it(phones: Phones) -> None:
    with phones.answering(DESK1, ending="cancelled") as [desk], phones.answering(APP1, ring_ms=1200) as [app]:
        bob = phones.run("call", BOB, to="101", talk_ms=1500)
        taken, given_up = app.wait(), desk.wait()
    went_well(bob, taken, given_up)
    both_hear((bob, BOB), (taken, APP1))


def test_busy(phones: Phones) -> None:
    since = stack.now()
    with phones.answering(BOB, answer=486) as [callee]:
        desk = phones.run("call", DESK1, to="102", expect=486)
        assert callee.wait().ok
    assert desk.ok, desk
    assert record(since)["cause"] == 17


def test_the_caller_gives_up(phones: Phones) -> None:
    with phones.answering(BOB, ending="cancelled") as [callee]:
        desk = phones.run("call", DESK1, to="102", ending="cancel")
        called = callee.wait()
    went_well(desk, called)


def test_the_called_hangs_up(phones: Phones) -> None:
    with phones.answering(BOB, ending="bye", talk_ms=1000) as [callee]:
        desk = phones.run("call", DESK1, to="102", ending="wait")
        assert callee.wait().ok
    assert desk.ok, desk


def test_hold_and_resume(phones: Phones) -> None:
    with (
        phones.answering(BOB) as [callee],
        phones.start("call", DESK1, to="102", hold=1500, talk_ms=9000) as desk,
    ):
        desk.until(200, times=2)
        hears_music(callee, DESK1)
        desk.until(200, times=3)
        hear_each_other(((desk, DESK1), (callee, BOB)))
        went_well(desk.hang_up().wait(), callee.wait())


def test_the_called_holds_and_resumes(phones: Phones) -> None:
    """Hold from the other side: the one who was called puts the caller on hold."""
    with (
        phones.answering(BOB, ending="bye", hold=1500, talk_ms=9000) as [callee],
        phones.start("call", DESK1, to="102", ending="wait") as desk,
    ):
        callee.until(200)
        hears_music(desk, BOB)
        callee.until(200, times=2)
        hear_each_other(((desk, DESK1), (callee, BOB)))
        went_well(callee.hang_up().wait(), desk.wait())


def test_blind_transfer(phones: Phones) -> None:
    with (
        phones.answering(BOB) as [callee],
        phones.answering(LOBBY) as [lobby],
        phones.start("call", DESK1, to="102", refers=True, talk_ms=9000) as desk,
    ):
        desk.until(200)
        desk.refer("103@acme.example")
        lobby.until("ACK")
        hear_each_other(((callee, BOB), (lobby, LOBBY)))
        went_well(lobby.hang_up().wait(), callee.wait(), desk.wait())


def test_attended_transfer(phones: Phones) -> None:
    """Alice's desk phone asks Carol on one line, talks to Bob on the other, and joins the two."""
    with (
        phones.answering(CAROL) as [carol],
        phones.answering(BOB) as [callee],
        phones.start("call", replace(DESK1, port=5131), to="104", ending="wait") as consultation,
    ):
        consultation.until(200)
        with phones.start("call", DESK1, to="102", refers=True, talk_ms=9000) as desk:
            desk.until(200)
            desk.refer("104@acme.example", replaces=consultation)
            went_well(consultation.wait(), desk.wait())
        hear_each_other(((callee, BOB), (carol, CAROL)))
        went_well(carol.hang_up().wait(), callee.wait())


def test_by_tls_to_a_phone_on_udp(phones: Phones) -> None:
    secure = replace(DESK1, transport="tls", port=5141)
    leg = phones.register(secure)
    assert leg.ok, leg
    with phones.answering(BOB) as [callee]:
        desk = phones.run("call", secure, to="102", talk_ms=1500)
        called = callee.wait()
    went_well(desk, called)
    both_hear((desk, DESK1), (called, BOB))


def test_nobody_answers_then_the_message_is_played_back(phones: Phones) -> None:
    """Bob does not answer: Alice's phone leaves its voice, he dials *98 and hears it. Carol tests the echo."""
    with phones.start("call", CAROL, to="*43", talk_ms=110000, limit_s=120) as echo:
        with phones.answering(BOB, ending="cancelled", limit_s=60) as [callee]:
            with phones.start("call", DESK1, to="102", talk_ms=30000, limit_s=60) as caller:
                caller.until(200, limit_s=25)
                caller.until_heard(None, 60).dtmf("#")  # enough of the greeting
                time.sleep(3.5)
                left = caller.hang_up().wait()
            went_well(left, callee.wait())
        with phones.start("call", BOB, to="*98", talk_ms=30000, limit_s=50) as listener:
            listener.until(200)
            for digits in ("4712#", "1"):
                time.sleep(3)
                assert not listener.over(), listener.wait()
                listener.dtmf(digits)
            went_well(listener.until_heard(DESK1).hang_up().wait())
        # The prompt first says what it is.
        went_well(echo.until_heard(CAROL).hang_up().wait())


def test_a_device_over_its_limit_is_busy(phones: Phones) -> None:
    """lobby may hold one call at a time."""
    with phones.answering(LOBBY) as [lobby], phones.start("call", BOB, to="103", talk_ms=2500) as first:
        first.until(200)
        second = phones.run("call", DESK1, to="103", expect=486)
        went_well(first.wait(), lobby.wait())
    assert second.ok, second


def test_an_unknown_extension_is_announced_and_refused(phones: Phones) -> None:
    bob = phones.run("call", BOB, to="177", expect=404, limit_s=20)
    assert bob.ok, bob
