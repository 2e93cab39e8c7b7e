"""Dialling rules of countries, checked against what the phonenumbers library itself makes of a number."""

from __future__ import annotations

import phonenumbers
import pytest

from controller.compiler.numbering import Numbering, numbering
from controller.errors import InputError
from controller.policy.patterns import best


def dial(plan: Numbering, text: str) -> str | None:
    """What `country-XX` makes of a dialled number."""
    rules = {rule.pattern: rule for rule in plan.rules}
    found = best(rules, text)
    return None if found is None else rules[found].prefix + text[rules[found].strip :]


def normal(country: str, text: str) -> str:
    return phonenumbers.format_number(phonenumbers.parse(text, country), phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    ("country", "dialled"),
    [
        ("DE", "03012345678"), ("DE", "00442079460018"), ("DE", "+442079460018"), ("DE", "015112345678"),
        ("US", "2125550100"), ("US", "12125550100"), ("US", "01144207946001"), ("CA", "4165550100"),
        ("GB", "02079460018"), ("GB", "0049301234567"), ("FR", "0155501234"), ("IT", "0612345678"),
        ("IT", "3123456789"), ("HU", "0611234567"), ("ES", "912345678"), ("AU", "0291234567"),
        ("AU", "001149301234567"), ("JP", "0312345678"), ("JP", "010493012345678"), ("CH", "0441234567"),
        ("RU", "84951234567"), ("RU", "81049301234567"), ("BR", "01123456789"),
    ],
)  # fmt: skip
def test_dialled_becomes_what_phonenumbers_says(country: str, dialled: str) -> None:
    assert dial(numbering(country), dialled) == normal(country, dialled)


@pytest.mark.parametrize(
    ("country", "dialled"), [("DE", "101"), ("DE", "5550100"), ("DE", "*98"), ("US", "101")]
)
def test_what_is_no_number_stays_none(country: str, dialled: str) -> None:
    assert dial(numbering(country), dialled) is None


@pytest.mark.parametrize(
    ("country", "number", "kind"),
    [
        ("DE", "+4930123456", "national"), ("DE", "+33155501234", None), ("US", "+12125550100", "national"),
        ("US", "+18765550100", "international"), ("CA", "+18765550100", "international"),
        ("JM", "+18765550100", "national"),
    ],
)  # fmt: skip
def test_class(country: str, number: str, kind: str | None) -> None:
    classes = dict(numbering(country).classes)
    found = best(classes, number)
    assert (classes[found] if found else None) == kind


def test_short_numbers() -> None:
    assert {"110", "115", "116117"} <= set(numbering("DE").shorts)


@pytest.mark.thorough
def test_every_country_of_the_metadata_has_rules() -> None:
    for country in phonenumbers.SUPPORTED_REGIONS:
        plan = numbering(country)
        assert plan.rules, country
        assert any(rule.prefix == "+" for rule in plan.rules), country


def test_an_unknown_country_is_named() -> None:
    with pytest.raises(InputError, match="'XX'"):
        numbering("XX")
