"""Voicemail's message lamp (RFC 3842), by whichever edge a phone registered at."""

from __future__ import annotations

import time

import pytest

from tests.live.company import APP1, BOB, DESK1
from tests.live.phones import Phones
from tests.live.talk import went_well
from tests.live.test_two_edges import OTHER


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """Alice's two phones and Bob's are registered."""
    phones.registered(DESK1, APP1, BOB)


def test_a_message_lights_the_lamp_of_every_phone_of_its_owner(phones: Phones) -> None:
    went_well(phones.register(APP1, target=OTHER))
    with phones.start("notified", DESK1) as desk, phones.start("notified", APP1) as app:
        with phones.start("call", BOB, to="*101", talk_ms=17000) as caller:
            caller.until_heard(None, 35).dtmf("#")  # enough of the greeting
            time.sleep(3.5)
            left = caller.hang_up().wait()
        told = [desk.wait(), app.wait()]
    went_well(left, *told)
    for leg in told:
        [lamp] = [message for message in leg.received if message.method == "NOTIFY"]
        assert lamp.headers("Event") == ["message-summary"]
        assert "Messages-Waiting: yes" in lamp.text
        assert not [line for line in lamp.text.splitlines() if line.lower().startswith("x-dp-")]
