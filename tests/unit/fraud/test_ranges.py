"""Prefixes say of numbers what their plans say, as far as a prefix can."""

from __future__ import annotations

import phonenumbers
import pytest

from controller.fraud.destinations import classify
from controller.fraud.ranges import begins, looked_up, prefixes, ranges, table

#: Share of example numbers that may be classed otherwise: those that differ by their length only.
MOST_WRONG = 0.02


def said(number: str) -> str:
    """As the edge does it."""
    known = table()
    found = known.get(number[:4], "/unallocated/")
    lengths = found.partition("/")[0]
    longer = (number[: int(n)] for n in lengths.split("+")) if lengths else ()
    found = next((known[one] for one in longer if one in known), found)
    return found.split("/")[1] or "international"


def test_example_numbers_of_all_plans_are_classed_as_by_number() -> None:
    wrong, count = [], 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in range(11):
            one = phonenumbers.example_number_for_type(region, kind)
            if one is None or phonenumbers.number_type(one) == phonenumbers.PhoneNumberType.TOLL_FREE:
                continue
            number = phonenumbers.format_number(one, phonenumbers.PhoneNumberFormat.E164)
            count += 1
            if said(number) != classify(number, "").cls:
                wrong.append(number)
    assert count > 1000
    assert len(wrong) <= MOST_WRONG * count, wrong


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        ("+49900123456", "premium"), ("+493012345", "international"), ("+21620123456", "high_risk"),
        ("+18765551234", "high_risk"), ("+14165551234", "international"), ("+881612345", "satellite"),
        ("+88213123", "satellite"), ("+882991234", "high_risk"), ("+979123456789", "premium"),
        ("+9991234", "unallocated"), ("+447012345678", "high_risk"), ("+442071234567", "international"),
    ],
)  # fmt: skip
def test_numbers(number: str, cls: str) -> None:
    assert said(number) == cls


def test_three_digits_tell_all_or_where_to_look() -> None:
    known = looked_up(
        {"+1": "/US", "+1242": "/BS", "+124": "/A", "+12": "/B", "+49900": "premium/DE", "+881": "satellite/"}
    )
    assert {one: known.get(one) for one in ("+124", "+125", "+130", "+499", "+881", "+498")} == {
        "+124": "5//A", "+125": "//B", "+130": "//US", "+499": "6/unallocated/", "+881": "/satellite/", "+498": None,
    }  # fmt: skip
    assert (known["+1242"], known["+49900"]) == ("//BS", "/premium/DE")
    assert all(len(one) >= 4 for one in table())


def test_an_edge_holds_few_of_them_and_no_short_ones() -> None:
    assert 1000 < len(table()) < 3000
    assert all(2 <= len(one) <= 10 for one in ranges())


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"900(?:[135]\d{6}|9\d{6})", ["9001", "9003", "9005", "9009"]),
        (r"8(?:00|1[2-4])\d", ["800", "812", "813", "814"]),
        (r"7?0\d{3}", ["0", "70"]),
        (r"1{2}2{1,2}", ["112"]),
        (r"[0-9]{5}", [""]),
    ],
)
def test_what_patterns_begin_with(pattern: str, found: list[str]) -> None:
    assert prefixes(pattern, 6) == found


def test_mobile_numbers_of_a_country() -> None:
    assert begins(frozenset(("DE",)), mobile=True) == ["+4915", "+4916", "+4917"]
