"""The corpus of a seed: all events in order of time, each with the name of its campaign or None."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from controller.fraud.corpus import benign
from controller.fraud.corpus.campaigns import KINDS, Campaign, campaign
from controller.fraud.corpus.world import Firm, firms
from controller.fraud.model import Event, Profile

#: A Thursday, so that a weekend is in three days.
BEGAN = datetime(2026, 9, 3, tzinfo=UTC)
# Of each kind of campaign, one for so many accounts, and at least one; the same for each hard negative, every day.
_ACCOUNTS_A_CAMPAIGN = 8
_ACCOUNTS_A_HARD_DAY = 100


@dataclass(frozen=True, slots=True)
class Corpus:
    """Accounts and campaigns; `events` makes the events, day by day, so memory is that of a day."""

    seed: int
    days: int
    firms: tuple[Firm, ...]
    campaigns: tuple[Campaign, ...]

    @property
    def profiles(self) -> dict[str, Profile]:
        """What rules want to know of each account."""
        return {firm.name: firm.profile for firm in self.firms}

    def events(self) -> Iterator[tuple[Event, str | None]]:
        """All of them, in order of time."""
        bad = heapq.merge(
            *([(event, one.name) for event in one.events] for one in self.campaigns),
            key=lambda pair: pair[0].at,
        )
        yield from heapq.merge(self._benign(), bad, key=lambda pair: pair[0].at)

    def _benign(self) -> Iterator[tuple[Event, str | None]]:
        """A day's events may end on a later one: what is later than the next midnight waits."""
        rng = Random(f"days {self.seed}")
        waiting: list[tuple[float, int, Event]] = []
        count = 0
        for date in benign.dates(BEGAN.replace(tzinfo=None), self.days):
            hard = _hard(rng, self.firms)
            for firm in self.firms:
                for event in benign.day(rng, firm, date, hard.get(firm.name)).events:
                    waiting.append((event.at, count, event))
                    count += 1
            waiting.sort()
            # Accounts are at most a few hours east of UTC.
            until = date.replace(tzinfo=UTC).timestamp() + 20 * 3600
            passed = 0
            while passed < len(waiting) and waiting[passed][0] < until:
                yield waiting[passed][2], None
                passed += 1
            del waiting[:passed]
        for _, _, event in waiting:
            yield event, None


def corpus(seed: int, accounts: int, days: int) -> Corpus:
    """The corpus of a seed."""
    began = BEGAN.timestamp()
    made = firms(seed, accounts, began)
    rng = Random(f"campaigns {seed}")
    kinds = [kind for kind in KINDS for _ in range(max(1, accounts // _ACCOUNTS_A_CAMPAIGN // len(KINDS)))]
    victims = rng.sample(made, min(len(kinds), len(made)))
    found = [campaign(rng, kind, firm, began, days) for kind, firm in zip(kinds, victims, strict=False)]
    return Corpus(seed, days, tuple(made), tuple(found))


def _hard(rng: Random, made: tuple[Firm, ...]) -> dict[str, str]:
    """Account -> hard negative, for one day."""
    each = max(1, len(made) // _ACCOUNTS_A_HARD_DAY)
    found: dict[str, str] = {}
    for kind in benign.HARD:
        fitting = [firm for firm in made if firm.name not in found and firm.kind != "call_centre"]
        found |= {firm.name: kind for firm in rng.sample(fitting, min(each, len(fitting)))}
    return found
