"""Which numbers are called back, whatever permission a queue has."""

from __future__ import annotations

import pytest

from controller.errors import InputError
from controller.queues.callback import called_back


@pytest.mark.parametrize(
    "number", ["+4930123456", "+4915112345678", "+33612345678", "+12125550123", "+442079460000"]
)
def test_people_are(number: str) -> None:
    assert called_back(number) == number


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("112", "is no E.164 number"),
        ("030123456", "is no E.164 number"),
        ("", "is no E.164 number"),
        ("+49112", "no number that anybody calls from"),
        ("+1911", "is no E.164 number"),
        ("+499001234567", "a premium rate number"),
        ("+19005551234", "a premium rate number"),
        ("+979123456789", "a premium rate number"),
        ("+491801234567", "a shared cost number"),
        ("+447012345678", "a personal number"),
        ("+99912345678", "is no telephone number"),
    ],
)
def test_others_are_not(number: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        called_back(number)
