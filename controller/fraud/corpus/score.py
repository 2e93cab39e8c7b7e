"""What rules are worth on a corpus: time to block, what is lost before it, and who is blocked for nothing.

A campaign is stopped when something of it was, and nine tenths of what it began after that, before half of it had
passed. A false block is a critical verdict that no campaign of the account brought about (or, by address, none of
that address); a call of a class that the account may not call is counted apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controller.fraud import defaults
from controller.fraud.corpus.campaigns import Campaign
from controller.fraud.corpus.generate import Corpus
from controller.fraud.engine import Engine
from controller.fraud.model import (
    END,
    FAILED_AUTH,
    MESSAGE,
    PERMISSION,
    REGISTER,
    START,
    Allow,
    Event,
    Permission,
    Rule,
    Verdict,
)
from controller.fraud.trial import Effect, Trial

MOST_CALLS, MOST_MESSAGES = 10, 30
STOPPED_PCT, FALSE_BLOCKS = 95.0, 1.0
_AFTER, _BEFORE = 0.9, 0.5
_DAY_S = 86_400
_BEGINS = frozenset((START, MESSAGE, FAILED_AUTH, REGISTER))


@dataclass(slots=True)
class Outcome:
    """What became of a campaign: `began` says when each thing of it began, and what stopped it (empty: nothing)."""

    campaign: Campaign
    began: list[tuple[float, str]] = field(default_factory=list)
    calls: int = 0
    messages: int = 0
    minutes: float = 0.0
    cost: float = 0.0

    @property
    def stopped_at(self) -> tuple[float, str] | None:
        """From when on nine tenths of what it began were stopped, and by which rule; None: never."""
        held, best = 0, None
        for number, (at, rule) in enumerate(reversed(self.began), 1):
            held += bool(rule)
            if rule and held >= _AFTER * number:
                best = (at, rule, len(self.began) - number)
        return None if best is None or best[2] > _BEFORE * len(self.began) else best[:2]

    @property
    def stopped(self) -> bool:
        """Whether it was, before half of it had passed."""
        return self.stopped_at is not None

    @property
    def seconds(self) -> float:
        """From its first event until something of it was stopped."""
        return (self.stopped_at or (float("inf"), ""))[0] - self.campaign.events[0].at

    @property
    def within(self) -> bool:
        """Whether no more was lost than a fast campaign may cost."""
        return self.stopped and self.calls <= MOST_CALLS and self.messages <= MOST_MESSAGES


@dataclass(slots=True)
class Score:
    """All figures of one corpus, or of several."""

    account_days: float = 0.0
    events: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    false: list[Verdict] = field(default_factory=list)
    refused: int = 0
    warnings: int = 0

    def add(self, other: Score) -> None:
        """The figures of one corpus more."""
        self.account_days += other.account_days
        self.events += other.events
        self.outcomes += other.outcomes
        self.false += other.false
        self.refused += other.refused
        self.warnings += other.warnings

    @property
    def stopped_pct(self) -> float:
        """Of all campaigns."""
        return 100 * sum(one.stopped for one in self.outcomes) / max(1, len(self.outcomes))

    @property
    def false_blocks(self) -> float:
        """For 1,000 accounts and day."""
        return 1000 * len(self.false) / max(1.0, self.account_days)

    @property
    def most_calls(self) -> int:
        """Calls lost to a fast campaign, at most."""
        return max((one.calls for one in self.outcomes if one.campaign.fast), default=0)

    @property
    def most_messages(self) -> int:
        """Messages lost to a fast campaign, at most."""
        return max((one.messages for one in self.outcomes if one.campaign.fast), default=0)

    def kinds(self) -> list[tuple[str, int, int, float, int, int, float, float]]:
        """Kind, campaigns, stopped, median seconds to block, calls and messages lost at most, minutes and cost lost."""
        found = []
        for kind in dict.fromkeys(one.campaign.kind for one in self.outcomes):
            mine = [one for one in self.outcomes if one.campaign.kind == kind]
            found.append((
                kind, len(mine), sum(one.stopped for one in mine), statistics.median(one.seconds for one in mine),
                max(one.calls for one in mine), max(one.messages for one in mine), sum(one.minutes for one in mine),
                sum(one.cost for one in mine),
            ))  # fmt: skip
        return found


def score(
    made: Corpus,
    rules: Iterable[Rule] = defaults.RULES,
    *,
    permissions: Iterable[Permission] = defaults.PERMISSIONS,
    allows: Iterable[Allow] = (),
    usual: Mapping[tuple[str, str], float] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Score:
    """Run the rules over a corpus, as if each enforced."""
    trial = Trial(Engine(rules, permissions=permissions, allows=allows, profiles=made.profiles, usual=usual))
    found = Score(account_days=float(len(made.firms) * made.days))
    outcomes = {one.name: Outcome(one) for one in made.campaigns}
    for event, name in made.events():
        found.events += 1
        effect = trial.step(event)
        if name is not None:
            _count(outcomes[name], event, effect)
        if found.events % 50_000 == 0:
            progress(found.events)
    found.outcomes = list(outcomes.values())
    found.warnings = len(trial.warnings)
    active = {one.account: (one.events[0].at, one.events[-1].at + _DAY_S) for one in made.campaigns}
    bad = frozenset(source for one in made.campaigns for source in one.sources)
    for one in trial.effects:
        verdict = one.verdict
        first, last = active.get(verdict.account, (0.0, 0.0))
        if (first <= verdict.at <= last) or (verdict.scope == "source" and verdict.subject in bad):
            continue
        if verdict.rule.name.startswith(PERMISSION):
            found.refused += one.calls + one.messages
        else:
            found.false.append(verdict)
    return found


def _count(outcome: Outcome, event: Event, effect: Effect | None) -> None:
    if event.kind in _BEGINS:
        outcome.began.append((event.at, "" if effect is None else effect.verdict.rule.name))
        outcome.calls += effect is None and event.kind == START
        outcome.messages += effect is None and event.kind == MESSAGE
        outcome.cost += event.cost if effect is None else 0.0
    elif event.kind == END and effect is None:
        outcome.minutes += event.talk_s / 60
        outcome.cost += event.cost
