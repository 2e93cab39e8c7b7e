"""Tiers, whatever the names, weights and loads: few accounts move, and none to where it cannot be carried."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.errors import InputError
from controller.tiers import balance, rendezvous
from controller.tiers.balance import Limits, rebalance

KEYS = [f"account{n}" for n in range(200)]
NAMES = st.text("abcdefghij0123456789", min_size=1, max_size=6)
WEIGHTS = st.dictionaries(NAMES, st.integers(1, 1000).map(float), min_size=2, max_size=9)


def placed(weights: Mapping[str, float]) -> dict[str, str]:
    return {key: rendezvous.place(key, weights) for key in KEYS}


@given(WEIGHTS, st.data())
def test_when_a_place_goes_only_its_own_keys_move(weights: dict[str, float], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    before, after = placed(weights), placed({**weights, gone: 0.0})
    assert gone not in after.values()
    assert all(after[key] == where for key, where in before.items() if where != gone)
    assert after == placed({name: weight for name, weight in weights.items() if name != gone})


@given(WEIGHTS, st.data())
def test_who_has_a_key_next_is_the_second_in_the_order(
    weights: dict[str, float], data: st.DataObject
) -> None:
    key = data.draw(NAMES)
    order = rendezvous.ranked(key, weights)
    assert sorted(order) == sorted(weights)
    without = {name: weight for name, weight in weights.items() if name != order[0]}
    assert rendezvous.ranked(key, without) == order[1:]


@given(WEIGHTS, NAMES, st.integers(1, 1000))
def test_a_new_place_takes_keys_and_nothing_moves_between_old_ones(
    weights: dict[str, float], new: str, weight: int
) -> None:
    assume(new not in weights)
    before, after = placed(weights), placed({**weights, new: float(weight)})
    assert {where for key, where in after.items() if where != before[key]} <= {new}


@given(WEIGHTS, st.integers(1, 1000), st.data())
def test_another_weight_moves_keys_to_or_from_that_place_only(
    weights: dict[str, float], weight: int, data: st.DataObject
) -> None:
    changed = data.draw(st.sampled_from(sorted(weights)))
    before, after = placed(weights), placed({**weights, changed: float(weight)})
    grew = weight > weights[changed]
    for key in KEYS:
        if before[key] != after[key]:
            assert (after if grew else before)[key] == changed


@given(WEIGHTS)
def test_the_order_of_rows_does_not_matter(weights: dict[str, float]) -> None:
    assert placed(dict(reversed(weights.items()))) == placed(weights)


@pytest.mark.thorough
def test_each_has_its_share_within_three_percent_and_a_new_one_takes_its_own() -> None:
    """100,000 keys over weights 1, 2 and 3; then one more of weight 2."""
    keys = [f"a{n}" for n in range(100_000)]
    weights = {"c1": 1.0, "c2": 2.0, "c3": 3.0}
    before = [rendezvous.place(key, weights) for key in keys]
    for name, weight in weights.items():
        assert before.count(name) == pytest.approx(len(keys) * weight / 6, rel=0.03)
    after = [rendezvous.place(key, {**weights, "c4": 2.0}) for key in keys]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == pytest.approx(len(keys) / 4, rel=0.03)


def test_nowhere_to_put_a_key_is_said() -> None:
    with pytest.raises(InputError, match="acme: nowhere"):
        rendezvous.place("acme", {"c1": 0.0})


def test_a_place_stays_the_same_in_every_version() -> None:
    """A change of the hash would propose to move everybody: these names are written down."""
    weights = {f"c{n}": 10.0 for n in range(1, 6)}
    assert [rendezvous.place(name, weights) for name in ("acme", "globex", "initech", "umbrella")] == WRITTEN


WRITTEN = ["c5", "c3", "c1", "c5"]

CLUSTERS = st.lists(st.integers(1, 1000), min_size=1, max_size=6).map(
    lambda sizes: {f"c{n}": float(size) for n, size in enumerate(sizes)}
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, float], dict[str, str], dict[str, float]]:
    """Loads, assignment and capacities; a cluster may be without capacity."""
    capacity = draw(CLUSTERS)
    for name in draw(st.sets(st.sampled_from(sorted(capacity)), max_size=1)):
        capacity[name] = 0.0
    sizes = draw(st.lists(st.integers(0, 400), max_size=30))
    load = {f"a{n}": size / 4 for n, size in enumerate(sizes)}
    assigned = {name: draw(st.sampled_from(sorted(capacity))) for name in load}
    return load, assigned, capacity


LIMITS = st.builds(
    Limits,
    target=st.floats(1.02, 2),
    canary=st.integers(0, 3),
    batch_accounts=st.integers(1, 5),
    batch_pct=st.floats(0.1, 50),
    most_moves=st.integers(0, 40),
    room_pct=st.none() | st.floats(10, 100),
)


def on(
    load: Mapping[str, float], assigned: Mapping[str, str], capacity: Mapping[str, float]
) -> dict[str, float]:
    found = dict.fromkeys(capacity, 0.0)
    for account, size in load.items():
        found[assigned[account]] += size
    return found


@given(worlds(), LIMITS)
def test_no_cluster_gets_more_than_it_can_carry_at_any_batch(
    world: tuple[dict[str, float], dict[str, str], dict[str, float]], limits: Limits
) -> None:
    load, assigned, capacity = world
    proposal = rebalance(load, assigned, capacity, limits)
    now = dict(assigned)
    mean = sum(load.values()) / sum(capacity.values()) if sum(capacity.values()) else 0
    for batch in proposal.batches:
        for move in batch:
            assert now[move.account] == move.source != move.to
            assert move.load == load[move.account] > 0
            assert capacity[move.to] > 0
            assert move.why.endswith(".") is False
            assert move.to in move.why
            now[move.account] = move.to
        held = on(load, now, capacity)
        for name in {move.to for move in batch}:
            full = 1e9 if limits.room_pct is None else limits.room_pct / 100
            assert held[name] <= min(limits.target * mean, full) * capacity[name] + 1e-6
    assert len({move.account for move in proposal.moves}) == len(proposal.moves)
    assert proposal.before == pytest.approx(balance.imbalance(on(load, assigned, capacity), capacity))
    assert proposal.after == pytest.approx(balance.imbalance(on(load, now, capacity), capacity))


@given(worlds(), LIMITS)
def test_batches_are_bounded_and_the_canaries_come_first(
    world: tuple[dict[str, float], dict[str, str], dict[str, float]], limits: Limits
) -> None:
    load, assigned, capacity = world
    proposal = rebalance(load, assigned, capacity, limits)
    assert len(proposal.moves) <= limits.most_moves
    for batch in proposal.batches:
        assert 1 <= len(batch) <= limits.batch_accounts
        part = sum(move.load for move in batch)
        assert len(batch) == 1 or part <= sum(load.values()) * limits.batch_pct / 100 + 1e-6
    # The smallest of those that can go first: where some leave and others come, only the order found has room.
    givers = {move.source for move in proposal.moves}
    small = sorted(move.load for move in proposal.moves if move.to not in givers)[: limits.canary]
    assert sorted(move.load for move in proposal.moves[: len(small)]) == small


@given(worlds(), LIMITS)
def test_it_reaches_its_target_or_says_why_not_and_no_move_is_needless(
    world: tuple[dict[str, float], dict[str, str], dict[str, float]], limits: Limits
) -> None:
    load, assigned, capacity = world
    proposal = rebalance(load, assigned, capacity, limits)
    if proposal.why.startswith("no cluster is above"):
        assert proposal.after <= limits.target + 1e-6
    else:
        assert "too full" in proposal.why or "capacity" in proposal.why or "no load" in proposal.why
    final = {**assigned, **{move.account: move.to for move in proposal.moves}}
    held = on(load, final, capacity)
    mean = sum(load.values()) / sum(capacity.values()) if sum(capacity.values()) else 0
    for move in proposal.moves:
        assert held[move.source] + move.load > limits.target * mean * capacity[move.source] - 1e-6


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_one_full_cluster_and_room_elsewhere_take_as_few_moves_as_there_can_be(sizes: list[int]) -> None:
    load = {f"a{n}": float(size) for n, size in enumerate(sizes)}
    capacity = {"c1": 1000.0, "c2": 1e6}
    limits = Limits(target=1.5)
    proposal = rebalance(load, dict.fromkeys(load, "c1"), capacity, limits)
    whole = sum(sizes)
    too_much = whole - limits.target * whole / sum(capacity.values()) * capacity["c1"]
    largest = itertools.accumulate(sorted(sizes, reverse=True), initial=0)
    assert len(proposal.moves) == next(n for n, moved in enumerate(largest) if moved >= too_much - 1e-6)


def test_what_is_level_stays() -> None:
    load = {f"a{n}": 1.0 for n in range(20)}
    assigned = {name: f"c{n % 2}" for n, name in enumerate(load)}
    proposal = rebalance(load, assigned, {"c0": 100.0, "c1": 100.0})
    assert proposal.batches == ()
    assert proposal.why == "no cluster is above 1.10 times the mean"


def test_a_move_is_explained() -> None:
    proposal = rebalance(
        {"acme": 30.0, "globex": 20.0, "umbrella": 10.0},
        {"acme": "c1", "globex": "c1", "umbrella": "c2"},
        {"c1": 100.0, "c2": 100.0},
        Limits(target=1.05),
    )
    assert [(move.account, move.to) for move in proposal.moves] == [("globex", "c2")]
    assert proposal.moves[0].why == "c1 is at 1.67 of the mean, then 1.00; c2 goes from 0.33 to 1.00"
    assert proposal.before == pytest.approx(5 / 3)
    assert proposal.after == pytest.approx(1.0)


def test_a_cluster_without_capacity_is_emptied() -> None:
    load = {f"a{n}": 1.0 for n in range(4)}
    proposal = rebalance(load, dict.fromkeys(load, "old"), {"old": 0.0, "new": 100.0})
    assert {move.to for move in proposal.moves} == {"new"}
    assert len(proposal.moves) == 4
    assert proposal.moves[0].why.startswith("old has no capacity")
