"""Counters: what leaves the window, what comes late, and what a sketch makes of many."""

from __future__ import annotations

import pytest

from controller.fraud.windows import EXACT, PARTS, Distinct, Firsts, Generations, Neighbours, Sums

WINDOW = 120.0


def test_a_sum_holds_for_its_window_and_at_most_a_part_longer() -> None:
    sums = Sums(WINDOW)
    sums.add("a", 1000.0, 2, 1000.0)
    assert sums.total("a", 1000.0 + WINDOW) == 2
    assert sums.total("a", 1000.0 + WINDOW * (1 + 1 / PARTS) + 1) == 0
    assert sums.total("b", 1000.0) == 0


def test_parts_leave_one_by_one() -> None:
    sums = Sums(WINDOW)
    values = [sums.add("a", 1000.0 + 20 * number, 1, 1000.0 + 20 * number) for number in range(20)]
    assert values[:6] == [1, 2, 3, 4, 5, 6]
    assert max(values) == values[-1] == WINDOW / 20 + 1


def test_what_comes_late_is_counted_in_its_own_part() -> None:
    sums = Sums(WINDOW)
    sums.add("a", 1100.0, 1, 1100.0)
    sums.add("a", 1150.0, 1, 1150.0)
    assert sums.add("a", 1120.0, 1, 1150.0) == 3
    assert sums.add("a", 1100.0, 1, 1150.0) == 4
    # It leaves before those that were told earlier and happened later.
    other = Sums(WINDOW)
    for at in (1100.0, 1050.0):
        other.add("a", at, 1, 1100.0)
    assert other.add("a", 1180.0, 1, 1180.0) == 2
    # Older than the window: no.
    assert sums.add("a", 900.0, 1, 1150.0) == 4
    assert Sums(WINDOW).add("a", 900.0, 1, 1150.0) == 0


def test_a_value_seen_again_stays_and_counts_once() -> None:
    distinct = Distinct(WINDOW)
    for number in range(10):
        distinct.add("a", 1000.0 + 30 * number, "same", 1000.0 + 30 * number)
    distinct.add("a", 1290.0, "other", 1290.0)
    assert distinct.size("a", 1290.0) == 2
    assert distinct.size("a", 1290.0 + 2 * WINDOW) == 0


@pytest.mark.parametrize("many", [EXACT - 1, EXACT, EXACT + 1, 1000, 10_000])
def test_many_values_are_counted_within_a_twentieth(many: int) -> None:
    distinct = Distinct(WINDOW)
    for number in range(many):
        distinct.add("a", 1000.0, f"+4930{number:07}", 1000.0)
        distinct.add("a", 1000.0, f"+4930{number:07}", 1000.0)
    assert distinct.size("a", 1000.0) == pytest.approx(many, rel=0 if many <= EXACT else 0.05)
    assert distinct.size("a", 1000.0 + 2 * WINDOW) == 0


def test_neighbours_are_numbers_that_follow_one_another() -> None:
    row = Neighbours(WINDOW)
    assert [row.add("a", 1000.0, number, 1000.0) for number in (300, 201, 203, 202, 204, 202)] == [
        0,
        0,
        0,
        3,
        4,
        4,
    ]
    assert row.size("a", 1000.0) == 4
    assert row.add("a", 1000.0 + 2 * WINDOW, 205, 1000.0 + 2 * WINDOW) == 0


def test_neighbours_are_right_when_there_are_too_many_to_hold() -> None:
    row = Neighbours(WINDOW)
    for number in range(0, 4 * row.MOST, 2):
        assert row.add("a", 1000.0, number, 1000.0) == 0
    assert row.add("a", 1000.0, 4 * row.MOST - 1, 1000.0) == 2


def test_what_was_seen_before_the_window_is_not_new() -> None:
    firsts = Firsts(WINDOW)
    assert firsts.add("a", "DE", 1000.0, 1000.0, times=True) == 1
    assert firsts.add("a", "TN", 2000.0, 2000.0, times=True) == 1
    assert firsts.add("a", "DE", 2001.0, 2001.0, times=True) == 1
    assert firsts.add("a", "TN", 2002.0, 2002.0, times=True) == 2
    assert firsts.size("a", 2300.0, times=True) == 0


def test_the_very_first_is_nothing_new() -> None:
    firsts = Firsts(WINDOW)
    assert firsts.add("a", "phone/1", 1000.0, 1000.0, times=False) == 0
    assert firsts.add("a", "phone/2", 1001.0, 1001.0, times=False) == 1
    assert firsts.add("a", "phone/3", 5000.0, 5000.0, times=False) == 1


def test_what_nobody_touches_is_forgotten_and_what_is_touched_is_kept() -> None:
    kept: Generations[int] = Generations(100.0)
    for key in ("a", "b"):
        assert kept.get(key, 0.0) is None
        kept.put(key, 1)
    assert kept.get("a", 120.0) == 1
    assert (kept.get("a", 240.0), kept.get("b", 240.0)) == (1, None)
    assert kept.peek("a") == 1
    assert kept.get("a", 1000.0) is None
    assert len(kept) == 0
