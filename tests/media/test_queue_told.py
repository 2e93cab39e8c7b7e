"""What callers hear while they wait: greeting, position, what is repeated; and that an offer ends it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.media.floor import SLACK_S, TICK_S, Floor, between
from tests.media.heard import Heard, listening

FIRST = ["vm-goodbye", "queue-youarenext", "queue-thankyou"]
SECOND = [
    "vm-goodbye", "queue-thereare", "digits/2", "queue-callswaiting", "queue-holdtime", "digits/3",
    "queue-minutes", "queue-thankyou",
]  # fmt: skip


@pytest.fixture
def heard(floor: Floor) -> Iterator[Heard]:
    with listening(floor.media) as heard:
        yield heard


def test_each_caller_is_greeted_and_told_its_place_again_and_again(floor: Floor, heard: Heard) -> None:
    floor.queue("mia", greeting="vm-goodbye", announce_position=True, announce_every_s=9)
    floor.rests("mia")
    # A talk takes a minute and a half: the second caller is served after three minutes.
    floor.rows(
        "INSERT INTO control.queue_events (account, queue, event, talk_ms)"
        " VALUES ('wait-1', 'one', 'ended', 90000)"
    )
    legs = [floor.joins(f"+493012{number}") for number in (1, 2)]
    begun = heard.until("queue-youarenext", 2)
    assert begun[0].channel == begun[1].channel
    came = next(one for one in heard.played() if one.channel == begun[0].channel)
    assert between(begun[1].at - came.at, 9, 9 + SLACK_S), "after announce_every_s"
    heard.until("queue-thankyou", 2)
    first, second = heard.by_caller()
    assert first[:4] == [*FIRST, "queue-youarenext"]
    assert second == SECOND
    for leg in legs:
        leg.bye()


def test_a_sound_is_played_again_and_again(floor: Floor, heard: Heard) -> None:
    floor.queue("mia", periodic_sound="beep", periodic_every_s=2)
    floor.rests("mia")
    came = time.time()
    leg = floor.joins()
    first, second = (one.at for one in heard.until("beep", 2))
    assert first >= came + 2, "music at first"
    assert between(second - first, 2, 2 + SLACK_S)
    assert {one.sound for one in heard.played()} == {"beep"}
    leg.bye()


@pytest.mark.parametrize("what", [{"greeting": "demo-congrats"}, {"announce_position": True}])
def test_an_offer_interrupts_what_is_said(floor: Floor, heard: Heard, what: dict[str, object]) -> None:
    """A greeting of 30 seconds; a position of 5, after which thanks would follow."""
    floor.queue("mia", **what)
    floor.rests("mia")
    floor.edge.answers = {"w1": "answer"}
    leg = floor.joins()
    heard.until("demo-congrats" if "greeting" in what else "queue-youarenext")
    free = time.monotonic()
    floor.rests("mia", 0)
    (ringing,) = floor.rings(1)
    assert ringing.at - free < TICK_S + SLACK_S
    member = floor.edge.leg_to("w1")
    member.hear(25)
    leg.hear(25)
    assert len(heard.played()) == 1, "nothing more is said"
    leg.bye()
