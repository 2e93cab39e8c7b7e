"""What an account reaches on a day of its own, from its own history: thresholds follow it (`Rule.baseline`).

Its history is run through the rules, and for each rule the highest value of each day is kept. Usual is the median of
the days on which there was any, of the last 28, once there are 5: what happens on fewer than half of the days does
not become usual, be it a campaign nobody saw.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.fraud.engine import Engine
from controller.fraud.model import EVERYBODY, Event, Rule, Verdict

DAYS, LEAST_DAYS = 28, 5
_DAY_S = 86_400
_ANYTHING = 1e-9


class _Watcher(Engine):
    """Says nothing: keeps the highest values."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        watched = {rule.name: rule for rule in rules if rule.baseline is not None and rule.enabled}
        super().__init__(
            replace(rule, owner=EVERYBODY, warning=None, critical=_ANYTHING) for rule in watched.values()
        )
        self.most: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)

    def _judge(
        self,
        rules: tuple[Rule, ...],
        scope: str,
        subject: str,
        value: float,
        event: Event,
        found: list[Verdict],
    ) -> None:
        day = int(event.at // _DAY_S)
        for rule in rules:
            days = self.most[event.account, rule.name]
            days[day] = max(value, days.get(day, 0.0))


def usual(rules: Iterable[Rule], events: Iterable[Event]) -> dict[tuple[str, str], float]:
    """(account, name of a rule) -> its usual value. Events in order of time."""
    watcher = _Watcher(rules)
    for event in events:
        watcher.feed(event)
    return {key: found for key, days in watcher.most.items() if (found := _usual(days)) > 0}


def _usual(days: Mapping[int, float]) -> float:
    last = max(days)
    values = [value for day, value in days.items() if day > last - DAYS]
    return statistics.median(values) if len(values) >= LEAST_DAYS else 0.0
