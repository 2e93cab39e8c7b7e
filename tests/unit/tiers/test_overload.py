"""Whose calls are refused when a cluster is nearly full: fair to all, and no flutter."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.tiers import overload
from controller.tiers.overload import Carrier, Overload

CALLS = st.dictionaries(
    st.sampled_from([f"a{number}" for number in range(12)]), st.integers(1, 200), min_size=1
)
ROOM = st.integers(1, 1500).map(Fraction)


@pytest.mark.parametrize(
    ("calls", "places", "level"),
    [
        ([50, 41], 90, 49),
        ([80, 5, 5], 90, None),
        ([81, 5, 5], 90, 80),
        ([10, 10, 10, 70], 90, 60),
        ([30, 30, 40], 90, 30),
        ([1, 1, 1], 2, Fraction(2, 3)),
        ([5], 90, None),
        ([], 90, None),
    ],
)
def test_the_fair_level(calls: list[int], places: int, level: int | None) -> None:
    assert overload.level(calls, Fraction(places)) == level


@given(st.lists(st.integers(0, 100), min_size=1), ROOM)
def test_the_level_uses_all_places_and_no_more(calls: list[int], places: Fraction) -> None:
    found = overload.level(calls, places)
    if found is None:
        assert sum(calls) <= places
    else:
        assert sum(Fraction(min(Fraction(one), found)) for one in calls) == places


@given(st.lists(st.tuples(CALLS, ROOM), min_size=1, max_size=6))
def test_nobody_below_the_fair_share_is_refused_while_one_above_is_not(
    story: list[tuple[dict[str, int], Fraction]],
) -> None:
    before: Overload[str] | None = None
    for calls, places in story:
        now = overload.look(calls, places, before)
        if now is not None:
            above = {account for account, count in calls.items() if count > now.level}
            if len(calls) > 1:
                assert above <= now.refused
            # Who comes down is refused a little longer, with all above; nobody else is.
            for account in now.refused - above:
                assert before is not None
                assert account in before.refused
                assert calls[account] > now.level * overload.BACK
            assert all(calls[account] > 1 for account in now.refused)
        before = now


def test_it_begins_at_nine_tenths_and_ends_below_eight() -> None:
    room = Fraction(100)
    seen = []
    before: Overload[str] | None = None
    for big in (69, 70, 75, 65, 61, 60, 59, 75, 70):
        before = overload.look({"big": big, "small": 20}, room, before)
        seen.append(None if before is None else (int(before.level), sorted(before.refused)))
    #       89    90              95             85             81           80           79    95            90
    assert seen == [
        None, (100, []), (70, ["big"]), (70, ["big"]), (70, []), (70, []), None, (70, ["big"]), (70, ["big"]),
    ]  # fmt: skip


def test_one_account_alone_may_fill_its_cluster() -> None:
    found = overload.look({"acme": 99}, Fraction(100), None)
    assert found is not None
    assert found.refused == frozenset()


def test_without_a_limit_nothing_is_refused() -> None:
    assert overload.room([Carrier(90, call_cap=100), Carrier(500)]) is None
    assert overload.look({"a": 10_000, "b": 1}, None, None) is None


def test_room_is_what_caps_and_load_limits_leave() -> None:
    assert overload.room([Carrier(90, call_cap=100), Carrier(10, call_cap=50)]) == 150
    assert overload.room([Carrier(40, 60, None, 90)]) == 60
    assert overload.room([Carrier(40, 60, 50, 90)]) == 50
    assert overload.room([Carrier(0, 0, 50, 90)]) == 50
    assert overload.room([]) is None
