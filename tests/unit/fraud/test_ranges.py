"""Prefixes say of numbers what their plans say, as far as a prefix can."""

from __future__ import annotations

import phonenumbers
import pytest

from controller.fraud.destinations import classify
from controller.fraud.ranges import begins, lengths_of, prefixes, ranges

#: Share of example numbers that may be classed otherwise: those that differ by their length only.
MOST_WRONG = 0.02


def said(number: str) -> str:
    """As the edge does it."""
    known = ranges()
    found = next(
        (known[number[:n]] for n in lengths_of(known).get(number[:3], ()) if number[:n] in known), None
    )
    return "unallocated" if found is None else found.partition("/")[0] or "international"


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


def test_the_longest_prefix_that_fits_is_found_by_length() -> None:
    known = lengths_of(["+1", "+1242", "+124", "+49", "+49900"])
    assert (known["+12"], known["+13"], known["+49"], known["+48"]) == ([5, 4, 2], [2], [6, 3], [])
    every = ranges()
    for begin, sizes in lengths_of(every).items():
        assert all(len(one) in sizes for one in every if one.startswith(begin))


def test_an_edge_holds_few_of_them_and_no_short_ones() -> None:
    assert 1000 < len(ranges()) < 3000
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
