"""Overload in a simulation: the product's rule decides, on calls counted by account; who is below finds a place."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.tiers import overload, plot, story, world
from controller.tiers.events import Event
from controller.tiers.reports import Reports
from controller.tiers.results import Outcome, Result
from controller.tiers.shedding import Shedding
from controller.tiers.simulate import simulate
from controller.tiers.traffic import Count, Traffic
from controller.tiers.world import Floats, Size

pytestmark = pytest.mark.thorough

MORNING, DAY_S = Size(nodes=64, edges=16, accounts=3000, hours=9.75, seed=5), 9 * 3600.0
LEVEL = Event(DAY_S - 3600, "rebalance", 500, 60)


def day(*happens: Event) -> tuple[Outcome, Result]:
    """These events in the busy time of a level installation."""
    result = simulate(MORNING, [LEVEL, *happens])
    return result.outcomes[1], result


def test_accounts_above_their_share_are_refused_and_nobody_below() -> None:
    found, result = day(Event(DAY_S, "overload", 1, 900, 2.0))
    count = found.count
    assert count.shed > 1000
    assert (count.shed_below, count.starved, count.refused, count.lost_talking) == (0, 0, 0, 0)
    assert 1 <= found.shed_accounts <= 100
    assert result.shed_accounts == found.shed_accounts
    assert result.total.shed == sum(one.shed for one in result.samples) == count.shed
    # It is over when what was up has ended.
    assert found.recovered_s is not None
    assert 900 < found.recovered_s < 900 + 300
    (table,) = [one for one in story.tables(result) if one.title == "Overload"]
    page = (Path(__file__).parents[3] / "controller" / "docs" / "scale.md").read_text()
    shown = [" ".join(line.split()) for line in page.splitlines()]
    assert shown[shown.index("Overload") + 1] == " ".join(table.columns)
    assert table.rows[0][3:7] == (f"{count.shed:,}", f"{found.shed_accounts}", "0", "0")
    assert story.data(result)["events"][1]["shed_accounts"] == found.shed_accounts
    assert "shed for overload" in plot.svg(result)


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_without_the_rule_it_would_hit_everybody(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Of what comes all at once, calls below the share find no place either, but a fraction of them."""
    happens = Event(DAY_S, "overload", 1, 900, factor)
    found, _ = day(happens)
    monkeypatch.setattr(overload, "look", lambda *_: None)
    without, _ = day(happens)
    assert without.count.shed == 0
    assert without.count.refused > 1000
    assert found.count.shed_below == 0
    assert found.count.refused < without.count.refused / 4


def test_a_cluster_whose_overflow_has_room_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    overloaded: set[int] = set()
    real = Shedding.look

    def look(self: Shedding, now_s: float, *of: Any) -> None:
        real(self, now_s, *of)
        if now_s > DAY_S:
            overloaded.update(one for one, state in self.overloads.items() if state.refused)

    monkeypatch.setattr(Shedding, "look", look)
    found, result = day(Event(DAY_S, "load_swing", 1, 900, 1.8))
    assert len(overloaded) == 1
    assert (found.count.shed, found.count.refused) == (0, 0)
    assert not any(one.title == "Overload" for one in story.tables(result))


def test_edges_obey_for_ninety_seconds_when_the_database_is_away() -> None:
    away = DAY_S + 420
    found, result = day(Event(DAY_S, "overload", 1, 1200, 2.0), Event(away, "control_away", 1, 360))
    shed = {one.at_s - away: one.shed for one in result.samples}
    full = {one.at_s - away: one.cluster_max for one in result.samples}
    assert shed[60] > 0, "up to 90 s"
    assert [shed[at] for at in (180, 240, 300, 360)] == [0, 0, 0, 0]
    assert full[360] > 1.05 * full[60], "nobody says whose calls are to be refused"
    assert shed[480] > 0
    assert found.count.shed > 0


def test_the_short_cut_leaves_out_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it says that no overload begins, the rule says the same."""
    looked = 0

    def checked(calls: Floats, room: Floats) -> object:
        nonlocal looked
        found = real(calls, room)
        for one, places in zip(calls[~found].tolist(), room[~found].tolist(), strict=True):
            looked += 1
            assert overload.look({1: int(one) - 1, 2: 1}, Fraction(places) or None, None) is None
        return found

    real = Shedding._may_begin
    monkeypatch.setattr(Shedding, "_may_begin", staticmethod(checked))
    assert day(Event(DAY_S, "overload", 1, 60, 3.0))[0].count.tried > 0
    assert looked > 10_000


def test_a_day_without_overload_is_the_same_day_with_and_without_the_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happens = [LEVEL, Event(DAY_S, "node_crash", 2), Event(DAY_S + 300, "load_swing", 1, 300, 1.6)]
    one = simulate(MORNING, happens)
    assert one.total.shed == 0
    monkeypatch.setattr(overload, "look", lambda *_: None)
    assert story.data(simulate(MORNING, happens)) == story.data(one)


@given(
    st.integers(0, 1000),
    st.sampled_from([8, 16, 24, 40]),
    st.integers(10, 500),
    st.floats(0.5, 4.0),
    st.sampled_from([1.0, 10.0]),
)
@settings(max_examples=15)
def test_whoever_calls_what_is_refused_is_above_and_calls_are_those_that_are_up(
    seed: int, nodes: int, accounts: int, factor: float, step_s: float
) -> None:
    random = np.random.default_rng(seed)
    made = world.build(Size(nodes, 4, accounts, 1, seed), random)
    traffic, reports, shedding = Traffic(made, random, 4), Reports(made), Shedding(made, seed)
    total = Count()
    for turn in range(90):
        now = turn * step_s
        reports.look(now, traffic.calls, traffic.status)
        shedding.look(now, traffic.calls, reports)
        told = {cluster: Counter(who.tolist()) for cluster, who in shedding.counts.items()}
        received = traffic.received.copy()
        rate = made.cluster_rate() * factor
        count = traffic.step(now, step_s, rate, reports.weights, shedding.refuse)
        got = (traffic.received - received).sum(axis=1)
        up = traffic.calls.sum(axis=1)
        shedding.settle(up, got, traffic.came, traffic.turned, count)
        assert all(len(who) == up[cluster] for cluster, who in shedding.counts.items())
        assert count.tried == got.sum() + count.refused + count.shed
        assert count.shed == len(shedding.hit)
        for account in set(shedding.hit.tolist()):
            cluster = int(made.cluster[account])
            over = int(made.overflow[cluster])
            assert told[cluster][account] > max(1.0, float(shedding.overloads[cluster].level * overload.BACK))
            assert over < 0 or over in shedding.overloads
        total.add(count)
    assert total.shed_below == 0
    assert total.starved <= total.refused
    assert (total.shed > 0) <= (factor > 1)
