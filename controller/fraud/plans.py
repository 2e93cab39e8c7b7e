"""Which rules hold for an event, and what has to be counted for them.

Rules of one name are a family. For an event the most specific rule of each family holds: device, user, group,
account, reseller, everybody (of two groups, the one with the lower critical threshold); one that is not enabled takes
the family out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.fraud.metrics import METRICS, Destinations, LiveMeter, Meter, meter
from controller.fraud.model import Event, Measure, Rule

# Contexts of accounts with rules of their own that are remembered.
_MOST_CONTEXTS = 100_000
_INFINITE = float("inf")


class Entry(NamedTuple):
    """A meter that counts an event for subjects of a scope; `check`, `schedule`: if its destination and time fit."""

    meter: Meter
    scope: str
    check: Destinations | None
    rules: tuple[Rule, ...]
    floor: float
    schedule: Measure | None


class Plan:
    """What is counted and judged for events to which the same rules apply."""

    def __init__(self, rules: tuple[Rule, ...], meters: Meters) -> None:
        self.rules = rules
        self._meters = meters
        self._by_measure: dict[Measure, list[Rule]] = {}
        for rule in rules:
            self._by_measure.setdefault(rule.measure, []).append(rule)
        self._entries: dict[tuple[str, str], tuple[Entry, ...]] = {}
        self._live: dict[str, tuple[Entry, ...]] = {}

    def entries(self, kind: str, cls: str) -> tuple[Entry, ...]:
        """Those of a kind of event and a class of destination."""
        found = self._entries.get((kind, cls))
        if found is None:
            found = tuple(entry for metric, entry in self._all(cls) if kind in METRICS[metric].kinds)
            self._entries[kind, cls] = found
        return found

    def live(self, cls: str) -> tuple[Entry, ...]:
        """Those that go by calls that are up."""
        found = self._live.get(cls)
        if found is None:
            found = tuple(entry for _, entry in self._all(cls) if isinstance(entry.meter, LiveMeter))
            self._live[cls] = found
        return found

    def _all(self, cls: str) -> Iterable[tuple[str, Entry]]:
        for measure, rules in self._by_measure.items():
            metric, scope = measure.metric, measure.scope
            check = Destinations(measure.destinations) if METRICS[metric].destinations else None
            sure = True if check is None else check.sure(cls)
            if sure is not False:
                yield (
                    metric,
                    Entry(
                        self._meters.get(measure),
                        scope,
                        check if sure is None else None,
                        tuple(rules),
                        min(rule.floor for rule in rules),
                        None if measure.always else measure,
                    ),
                )


class Meters:
    """One meter for each measure, whoever asks."""

    def __init__(self) -> None:
        self.of: dict[Measure, Meter] = {}

    def get(self, measure: Measure) -> Meter:
        """The meter of a measure (`Rule.measure`)."""
        if measure not in self.of:
            self.of[measure] = meter(measure.metric, measure.window_s, measure.at_least)
        return self.of[measure]


class Plans:
    """The plan of each event."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.meters = Meters()
        self._families: dict[str, list[Rule]] = {}
        for rule in rules:
            self._families.setdefault(rule.name, []).append(rule)
        owners = {rule.owner for family in self._families.values() for rule in family}
        self._accounts = {owner.account for owner in owners if owner.account}
        self._resellers = {owner.reseller for owner in owners if owner.reseller}
        self._plans: dict[tuple[Rule, ...], Plan] = {}
        self._contexts: dict[tuple[str, str, tuple[str, ...], str, str], Plan] = {}
        self._general = self._plan(Event("", 0.0, ""))

    def of(self, event: Event) -> Plan:
        """What is counted and judged for it."""
        if event.account not in self._accounts and event.reseller not in self._resellers:
            return self._general
        context = (event.account, event.user, event.groups, event.device, event.reseller)
        found = self._contexts.get(context)
        if found is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            found = self._contexts[context] = self._plan(event)
        return found

    def holding(self, event: Event) -> list[tuple[str, Rule, list[Rule]]]:
        """Family, the rule that holds for the event, and those that would without it; disabled ones too."""
        found = []
        for name, family in self._families.items():
            fitting = sorted((rule for rule in family if rule.owner.fits(event)), key=_strength)
            if fitting:
                found.append((name, fitting[0], fitting[1:]))
        return found

    def _plan(self, event: Event) -> Plan:
        rules = tuple(rule for _, rule, _ in self.holding(event) if rule.enabled)
        if rules not in self._plans:
            self._plans[rules] = Plan(rules, self.meters)
        return self._plans[rules]


def _strength(rule: Rule) -> tuple[int, float, str]:
    return -rule.owner.rank, _INFINITE if rule.critical is None else rule.critical, rule.key
