"""Which class a number is of, for who calls from where."""

from __future__ import annotations

import random

import phonenumbers
import pytest

from controller.fraud import destinations
from controller.fraud.destinations import HIGH_RISK, Destination, block_of, classify
from controller.fraud.model import CLASSES


@pytest.mark.parametrize(
    ("number", "home", "country", "cls"),
    [
        ("101", "DE", "", "internal"),
        ("0049301234567", "DE", "", "internal"),
        ("+49302345678", "DE", "DE", "national"),
        ("+4915112345678", "DE", "DE", "mobile"),
        ("+499001234567", "DE", "DE", "premium"),
        ("+499001234567", "CH", "DE", "premium"),
        ("+491801234567", "DE", "DE", "shared_cost"),
        ("+498001234567", "DE", "DE", "freephone"),
        ("+41446681800", "DE", "CH", "international"),
        ("+447400123456", "DE", "GB", "international"),
        ("+447012345678", "DE", "GB", "high_risk"),
        ("+21620123456", "DE", "TN", "high_risk"),
        ("+18095551234", "US", "DO", "high_risk"),
        ("+12125551234", "DE", "US", "international"),
        ("+16135551234", "US", "CA", "international"),
        ("+881612345678", "DE", "", "satellite"),
        ("+870773112345", "DE", "", "satellite"),
        ("+88213123456", "DE", "", "satellite"),
        ("+883510012345", "DE", "", "high_risk"),
        ("+979123456789", "DE", "", "premium"),
        ("+80012345678", "DE", "", "freephone"),
        ("+4420", "DE", "GB", "unallocated"),
        ("+999123456", "DE", "", "unallocated"),
        ("+4930", "DE", "DE", "national"),
        ("+1", "DE", "", "unallocated"),
    ],
)
def test_a_number_is_of_a_class(number: str, home: str, country: str, cls: str) -> None:
    assert classify(number, home) == Destination(country, cls)
    assert cls in CLASSES


def test_the_islands_of_a_country_dial_it_as_their_own() -> None:
    assert classify("+442071234567", "GG").cls == "national"
    assert classify("+12125551234", "JM").cls == "international"


def test_countries_of_high_risk_are_countries() -> None:
    assert set(phonenumbers.SUPPORTED_REGIONS) >= HIGH_RISK


def test_numbers_that_share_an_answer_are_of_the_same_class() -> None:
    """Answers are kept by all but the last four digits: what the package says of the whole number is the same."""
    rng = random.Random(1)
    checked = 0
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (0, 1, 3, 4):
            example = phonenumbers.example_number_for_type(country, kind)
            if example is None:
                continue
            number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            if len(number) < 12 or not classify(number, "DE").country:
                continue
            other = f"{number[:-4]}{rng.randrange(10_000):04}"
            parsed = phonenumbers.parse(other)
            if phonenumbers.is_valid_number(parsed) and phonenumbers.is_valid_number(example):
                checked += 1
                whole = destinations._classified.__wrapped__(other, len(other), "DE")
                assert classify(other, "DE") == whole, other
    assert checked > 300


def test_a_block_is_ten_thousand_numbers() -> None:
    assert block_of("+21620123456") == "+2162012"
