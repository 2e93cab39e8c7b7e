"""The corpus: the same for a seed, labelled, in order; and how it is scored."""

from __future__ import annotations

import pytest

from controller.fraud import corpus as about
from controller.fraud import defaults
from controller.fraud.corpus.benign import HARD
from controller.fraud.corpus.campaigns import FAST, KINDS
from controller.fraud.corpus.generate import Corpus, corpus
from controller.fraud.corpus.score import (
    FALSE_BLOCKS,
    MOST_CALLS,
    MOST_MESSAGES,
    STOPPED_PCT,
    Outcome,
    Score,
    score,
)
from controller.fraud.engine import Engine
from controller.fraud.model import CLASSES, END, MESSAGE, START
from controller.fraud.trial import Trial
from tests.unit.fraud.calls import TUNIS, answer, end, rule, start

pytestmark = pytest.mark.thorough

SMALL = (24, 1)


@pytest.fixture(scope="module")
def small() -> Corpus:
    return corpus(5, *SMALL)


def test_a_seed_makes_the_same_events_and_another_one_others(small: Corpus) -> None:
    events = list(small.events())
    assert list(corpus(5, *SMALL).events()) == events
    assert list(corpus(6, *SMALL).events()) != events


def test_events_come_in_order_each_once_with_what_an_engine_needs(small: Corpus) -> None:
    events = [event for event, _ in small.events()]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert len({event.id for event in events}) == len(events)
    assert {event.account for event in events} <= set(small.profiles)
    assert {event.cls for event in events if event.kind in (START, MESSAGE, END)} <= set(CLASSES)


def test_every_kind_of_campaign_is_there_and_labelled(small: Corpus) -> None:
    assert {one.kind for one in small.campaigns} == set(KINDS)
    assert len({one.account for one in small.campaigns}) == len(small.campaigns)
    labelled: dict[str, int] = {}
    for _, name in small.events():
        if name is not None:
            labelled[name] = labelled.get(name, 0) + 1
    assert labelled == {one.name: len(one.events) for one in small.campaigns}
    assert set(KINDS) > FAST


def test_every_hard_negative_is_written_about() -> None:
    words = {
        "call_centre": "call centre",
        "conference": "conference",
        "holiday": "holidays",
        "newsletter": "newsletter",
    }
    words |= {"wrong_password": "wrong password", "extensions": "extensions"}
    assert set(words) == set(HARD)
    for kind in (*KINDS, *words.values()):
        assert kind in (about.__doc__ or "")


def test_seeds_of_figures_changed_no_rule() -> None:
    assert not set(about.HELD_OUT) & set(about.TUNED_ON)


def test_without_rules_nothing_is_stopped_and_nobody_is_blocked(small: Corpus) -> None:
    found = score(small, (), permissions=())
    assert (found.stopped_pct, found.false, found.most_calls > MOST_CALLS) == (0.0, [], True)


def test_a_rule_that_blocks_everybody_shows_as_false_blocks(small: Corpus) -> None:
    found = score(
        small, [rule("calls", 1, actions=("outbound_off", "end_calls"), window_s=60)], permissions=()
    )
    assert found.false_blocks > 100


def test_the_default_rules_stop_every_fast_campaign_of_a_small_corpus(small: Corpus) -> None:
    found = score(small)
    assert [one.campaign.kind for one in found.outcomes if one.campaign.fast and not one.within] == []
    assert found.most_calls <= MOST_CALLS
    assert found.most_messages <= MOST_MESSAGES
    assert found.false == []


@pytest.mark.parametrize("seed", about.HELD_OUT[:1])
def test_what_is_promised_holds_on_a_seed_that_changed_no_rule(seed: int) -> None:
    found = score(corpus(seed, 200, 2))
    assert found.stopped_pct >= STOPPED_PCT
    assert found.false_blocks <= 2 * FALSE_BLOCKS, [one.rule.name for one in found.false]


def outcome(began: str) -> Outcome:
    """x: passed, o: stopped."""
    some = corpus(5, *SMALL).campaigns[0]
    return Outcome(some, [(float(place), "r" if one == "o" else "") for place, one in enumerate(began)])


@pytest.mark.parametrize(
    ("began", "at"),
    [
        ("xxxooooooo", 3),
        ("xxxxoooooo", 4),
        ("xxxxxxoooo", None),
        ("xxxxxxxxxx", None),
        ("oxxxxxxxxx", None),
        ("oxxooooooooo", 3),
        ("xoooooooooxo", 1),
        ("xooxooxooxoo", None),
    ],
)
def test_a_campaign_is_stopped_from_when_on_nine_tenths_of_it_were(began: str, at: int | None) -> None:
    found = outcome(began).stopped_at
    assert (None if found is None else found[0]) == at


def test_scores_add_up() -> None:
    one, other = (
        Score(account_days=500, outcomes=[outcome("xoooooooo")]),
        Score(account_days=500, outcomes=[outcome("x")]),
    )
    one.add(other)
    assert (one.stopped_pct, one.account_days, one.false_blocks) == (50, 1000, 0)


def test_a_trial_leaves_out_what_is_stopped_and_ends_what_is_up() -> None:
    stop = rule("calls", 3, actions=("block_destination", "end_calls"), destinations=("high_risk",))
    trial = Trial(Engine([stop]))
    begun = [start(f"c{number}", number) for number in range(6)]
    calls = [event for one in begun for event in (one, answer(one, 0.5))]
    calls += [end(one, 61, 60, cost=6.0) for one in begun]
    stopped = [event.id for event in sorted(calls, key=lambda one: one.at) if trial.step(event) is not None]
    # The third had not been answered when it was ended.
    assert stopped == [
        *("c2/a", "c3/s", "c3/a", "c4/s", "c4/a", "c5/s", "c5/a"),
        *(f"c{number}/e" for number in range(6)),
    ]
    (effect,) = trial.effects
    assert (effect.calls, effect.cut, effect.messages) == (3, 3, 0)
    # Three calls never were; two had talked for 1.6 and 0.6 s when they ended, one had not been answered.
    assert effect.saved_s == pytest.approx(6 * 60 - 1.6 - 0.6, abs=1.5)
    assert effect.saved_cost == pytest.approx(effect.saved_s / 10)
    assert trial.engine.calls() == ()


def test_what_is_stopped_a_moment_later_still_happens() -> None:
    trial = Trial(Engine([rule("calls", 1, actions=("block_destination",))]), delay_s=2.0)
    assert [trial.step(start(f"c{number}", number)) is None for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_default_rules_have_names_comments_and_something_to_do() -> None:
    assert len({one.name for one in defaults.RULES}) == len(defaults.RULES)
    assert all(one.comment and one.actions for one in defaults.RULES)
    assert TUNIS.startswith("+216")
