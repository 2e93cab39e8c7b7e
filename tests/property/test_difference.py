from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.entries import Address, Entry
from controller.plan.difference import apply, difference

ADDRESSES = st.builds(
    Address, st.sampled_from(["edge", "media"]), st.sampled_from(["*", "c1"]), st.sampled_from(["number", "domain"]),
    st.text("abc", min_size=1, max_size=2),
)  # fmt: skip
STATES = st.dictionaries(ADDRESSES, st.text("xyz=;", max_size=3)).map(
    lambda values: {address: Entry(address, value, "acme") for address, value in values.items()}
)


@given(STATES)
def test_nothing_differs_from_itself(state: dict[Address, Entry]) -> None:
    assert list(difference(state, state)) == []


@given(STATES, STATES)
def test_applying_the_difference_gives_what_is_wanted(
    wanted: dict[Address, Entry], held: dict[Address, Entry]
) -> None:
    assert apply(difference(wanted, held), held) == wanted


@given(STATES, STATES)
def test_there_and_back_restores(a: dict[Address, Entry], b: dict[Address, Entry]) -> None:
    there = apply(difference(b, a), a)
    assert apply(difference(a, there), there) == a


@given(STATES, STATES, st.data())
def test_stopping_anywhere_and_planning_again_converges(
    a: dict[Address, Entry], b: dict[Address, Entry], data: st.DataObject
) -> None:
    changes = list(difference(b, a))
    done = data.draw(st.integers(0, len(changes)))
    half = apply(changes[:done], a)
    assert apply(difference(b, half), half) == b
