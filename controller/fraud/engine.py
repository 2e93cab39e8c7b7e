"""Events in, verdicts out. Pure: no clock, no database; what it knows it was told.

- `feed(event)` counts and judges; `tick(now)` judges what grows by itself (calls that are up) and releases what is
  over.
- An event fed twice changes nothing; order does not matter for what is counted. Both hold for LATE_S (15 min): an
  event that much older than the newest one is neither counted nor judged.
- A new engine fed with the events of the longest window has the counters of the old one. Verdicts that were in force
  are given back with `hold`, what accounts called and had before with `learn`.
- Of rules with the same name the most specific holds (`plans.py`). What is allowed is neither counted nor blocked,
  emergency calls never are.
- A verdict is said once: again only when it becomes critical, or when it holds again after its release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo

from controller.fraud.holding import Holding
from controller.fraud.metrics import FirstMeter, LiveMeter, Meter
from controller.fraud.model import (
    ANSWER,
    CRITICAL,
    END,
    MESSAGE,
    NOBODY,
    START,
    WARNING,
    Allow,
    Event,
    Permission,
    Profile,
    Rule,
    Verdict,
    subjects,
)
from controller.fraud.plans import Entry, Plan, Plans
from controller.fraud.windows import Generations

LATE_S = 900
# A clock that is so far ahead is not believed.
AHEAD_S = 60
# A call whose end nobody told is forgotten.
LOST_S = 86_400
# An account's history raises its thresholds so many times at most.
MOST_TIMES = 20
_DAY_S = 86_400


class _Call:
    __slots__ = ("answered_at", "event", "held", "rate")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.answered_at: float | None = None
        self.rate = event.rate
        self.held: list[tuple[LiveMeter, str, Entry]] = []


class Engine:
    """One for an installation, or for a part of its accounts. Not for several threads.

    `usual`: (account, name of a rule) -> what the account reaches on a busy day of its own (`baseline.py`).
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        allows: Iterable[Allow] = (),
        permissions: Iterable[Permission] = (),
        profiles: Mapping[str, Profile] | None = None,
        usual: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        self.plans = Plans(rules)
        self.holding = Holding(allows, permissions)
        self.now = float("-inf")
        self.counted = self.late = self.repeated = 0
        self._profiles = {} if profiles is None else profiles
        self._usual = {} if usual is None else usual
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()
        self._turn = float("-inf")
        self._calls: dict[str, _Call] = {}
        self._ended: Generations[bool] = Generations(2 * LATE_S)

    # ------------------------------------------------------------------------------------------------------ events

    def feed(self, event: Event, clock: float | None = None) -> list[Verdict]:
        """Count an event and say what holds now. `clock`: the present time, against events from the future."""
        if clock is not None and event.at > clock + AHEAD_S:
            event = event._replace(at=clock)
        self.now = max(self.now, event.at)
        now = self.now
        if event.at < now - LATE_S:
            self.late += 1
            return []
        if self._again(event.id):
            self.repeated += 1
            return []
        if event.emergency or self.holding.allowed(event, now):
            return []
        self.counted += 1
        found: list[Verdict] = []
        kind = event.kind
        if kind in (START, MESSAGE):
            found += self.refused(event)
        plan = self.plans.of(event)
        if event.call and kind in (START, ANSWER, END):
            self._call(event, plan)
        for meter, scope, check, rules, floor, schedule in plan.entries(kind, event.cls):
            if check is not None and not check.fits(event):
                continue
            if schedule is not None and not schedule.is_open(event.at, self._zone(event.account)):
                continue
            for subject in subjects(event, scope):
                value = meter.count(event, subject, now)
                if value >= floor:
                    self._judge(rules, scope, subject, value, event, found)
        return found

    def tick(self, now: float) -> list[Verdict]:
        """What holds, or no longer holds, because time went by: at least every few seconds."""
        self.now = max(self.now, now)
        found = self.holding.release(self.now)
        looked: set[tuple[int, str]] = set()
        lost = []
        for name, call in self._calls.items():
            if call.event.at < self.now - LOST_S:
                lost.append(name)
            if call.answered_at is None:
                continue
            for meter, subject, entry in call.held:
                if meter.ticks and (id(entry), subject) not in looked:
                    looked.add((id(entry), subject))
                    if entry.schedule is not None and not entry.schedule.is_open(
                        self.now, self._zone(call.event.account)
                    ):
                        continue
                    value = meter.value(subject, self.now)
                    if value >= entry.floor:
                        self._judge(entry.rules, entry.scope, subject, value, call.event, found)
        for name in lost:
            self._over(name, self._calls[name])
        return found

    def hold(self, verdict: Verdict) -> None:
        """A verdict that is in force, from its row."""
        self.holding.hold(verdict)

    def permit(self, allows: Iterable[Allow], permissions: Iterable[Permission]) -> None:
        """Others from now on. Verdicts stay in force."""
        held = self.holding.in_force()
        self.holding = Holding(allows, permissions)
        for verdict in held:
            self.holding.hold(verdict)

    def learn(self, event: Event) -> None:
        """History: the subjects of the event called there, or had that address and user agent. Nothing is counted."""
        now = max(self.now, event.at)
        for meter, scope, check, _, _, _ in self.plans.of(event).entries(event.kind, event.cls):
            if isinstance(meter, FirstMeter) and (check is None or check.fits(event)):
                for subject in subjects(event, scope):
                    meter.recall(event, subject, now)

    def blocks(self, event: Event, *, as_if: bool = False) -> Verdict | None:
        """The verdict in force that stops it; None: it goes on. `as_if`: as if every rule enforced."""
        return self.holding.blocks(event, self.now, as_if=as_if)

    def refused(self, event: Event) -> list[Verdict]:
        """What is to be said of a call or message of a class that its account may not call; it is not counted."""
        verdict = self.holding.forbidden(event, max(self.now, event.at))
        if verdict is None or self.holding.said(verdict.rule, verdict.subject, self.now) is not None:
            return []
        self.holding.hold(verdict)
        return [verdict]

    def calls(self) -> tuple[Event, ...]:
        """The calls that are up, by the event that told of them first."""
        return tuple(call.event for call in self._calls.values())

    def value(self, rule: Rule, subject: str) -> float:
        """What the rule's metric is for a subject now."""
        meter = self.plans.meters.of.get(rule.measure)
        return 0.0 if meter is None else meter.value(subject, self.now)

    def size(self) -> int:
        """How many counters there are."""
        meters: Iterable[Meter] = self.plans.meters.of.values()
        return sum(meter.size() for meter in meters)

    # --------------------------------------------------------------------------------------------------------- calls

    def _again(self, identity: str) -> bool:
        if self.now >= self._turn:
            # Whoever is young enough to come again is in one of the two.
            self._seen_before = self._seen if self.now < self._turn + LATE_S else set()
            self._seen = set()
            self._turn = self.now + LATE_S
        number = hash(identity)
        if number in self._seen or number in self._seen_before:
            return True
        self._seen.add(number)
        return False

    def _call(self, event: Event, plan: Plan) -> None:
        """Whichever of start, answer and end comes first, and last."""
        name = event.call
        call = self._calls.get(name)
        if event.kind == END:
            if call is not None:
                self._over(name, call)
            elif self._ended.get(name, self.now) is None:
                self._ended.put(name, True)
            return
        if call is None:
            if self._ended.get(name, self.now) is not None:
                return
            call = self._calls[name] = _Call(event)
            for entry in plan.live(event.cls):
                if entry.check is None or entry.check.fits(event):
                    for subject in subjects(event, entry.scope):
                        if isinstance(entry.meter, LiveMeter):
                            key = entry.meter.key(event, subject)
                            entry.meter.began(key)
                            call.held.append((entry.meter, key, entry))
        call.rate = call.rate or event.rate
        if event.kind == ANSWER and call.answered_at is None:
            call.answered_at = event.at
            for meter, subject, _ in call.held:
                meter.answered(subject, name, event.at, call.rate)

    def _over(self, name: str, call: _Call) -> None:
        for meter, subject, _ in call.held:
            meter.over(subject, name, call.answered_at, call.rate)
        del self._calls[name]
        if self._ended.get(name, self.now) is None:
            self._ended.put(name, True)

    # ------------------------------------------------------------------------------------------------------ verdicts

    def _judge(
        self,
        rules: tuple[Rule, ...],
        scope: str,
        subject: str,
        value: float,
        event: Event,
        found: list[Verdict],
    ) -> None:
        now = self.now
        for rule in rules:
            if value < rule.floor or self.holding.said(rule, subject, now) == CRITICAL:
                continue
            profile = self._profiles.get(event.account, NOBODY)
            young = rule.new_account_days
            if young is not None and (profile.since is None or now - profile.since >= young * _DAY_S):
                continue
            factor = self.factor(rule, event.account)
            for level, threshold in ((CRITICAL, rule.critical), (WARNING, rule.warning)):
                if threshold is None or value < threshold * factor:
                    continue
                if self.holding.said(rule, subject, now) != level:
                    evidence = tuple(
                        one for one in (event.called, event.call, event.source, event.agent) if one
                    )
                    verdict = Verdict(
                        rule, scope, subject, level, value, threshold * factor, now, now + rule.release_s, factor,
                        evidence, event.account,
                    )  # fmt: skip
                    self.holding.hold(verdict)
                    found.append(verdict)
                break

    def _zone(self, account: str) -> tzinfo:
        return self._profiles.get(account, NOBODY).zone

    def factor(self, rule: Rule, account: str) -> float:
        """What the account's own history makes of the thresholds of a rule: 1 to MOST_TIMES times."""
        usual = self._usual.get((account, rule.name))
        least = rule.floor if rule.critical is None else rule.critical
        if rule.baseline is None or usual is None or least <= 0:
            return 1.0
        return min(float(MOST_TIMES), max(1.0, rule.baseline * usual / least))
