"""Who gets into a mailbox."""

from __future__ import annotations

import time

from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.test_calls import ALICE, BOB, CAROL, decisions, until

PROMPT_S = 3.0  # what is pressed while "incorrect" is said is not heard


def press(leg: Leg, digits: str) -> None:
    for digit in digits:
        leg.audio.digits.put(digit)


def refused(media: MediaNode, leg: Leg, box: str, times: int) -> None:
    until(lambda: sum(f"wrong PIN for {box}" in one for one in decisions(media, leg)) == times, 20)


def test_three_wrong_pins_end_the_call(edge: Edge, media: MediaNode) -> None:
    leg = edge.call("*98", **BOB)
    leg.wait("200")
    leg.hear(20)
    for times in (1, 2, 3):
        press(leg, "0000#")
        refused(media, leg, "102", times)
        time.sleep(PROMPT_S)
    leg.wait("BYE", 20)
    assert not any("listen" in one for one in decisions(media, leg))


def test_a_mailbox_opens_on_another_phone_by_number_and_pin(edge: Edge, media: MediaNode) -> None:
    """Carol has no mailbox of her own: she is asked for one."""
    leg = edge.call("*98", **CAROL)
    leg.wait("200")
    leg.hear(20)
    press(leg, "102#")
    time.sleep(PROMPT_S)
    press(leg, "4711#")
    until(lambda: any("listen 102@acme" in one for one in decisions(media, leg)), 20)
    leg.bye()


def test_a_mailbox_without_pin_and_one_that_is_not_open_on_no_other_phone(
    edge: Edge, media: MediaNode
) -> None:
    """Alice's own phone is let in unasked; from another there is no PIN that would fit."""
    own = edge.call("*98", **ALICE)
    own.wait("200")
    until(lambda: any("listen 101@acme" in one for one in decisions(media, own)), 20)
    own.bye()
    leg = edge.call("*98", **CAROL)
    leg.wait("200")
    leg.hear(20)
    for box in ("101", "999"):
        press(leg, f"{box}#")
        time.sleep(PROMPT_S)
        press(leg, "#")
        refused(media, leg, box, 1)
        time.sleep(PROMPT_S)
    assert not any("listen" in one for one in decisions(media, leg))
    leg.bye()
