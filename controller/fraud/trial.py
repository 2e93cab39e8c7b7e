"""What rules would have done to a stream of events: the engine, with its verdicts acted upon, on paper.

What a verdict covers is left out from `delay_s` after it on (the promise of enforcement: 100 ms); calls that are up
end then, if the rule says so. Nothing is enforced anywhere. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.fraud.engine import Engine
from controller.fraud.holding import covers
from controller.fraud.model import (
    CRITICAL,
    END,
    FAILED_AUTH,
    MESSAGE,
    PERMISSION,
    REGISTER,
    START,
    Event,
    Verdict,
    subjects,
)

DELAY_S = 0.1
_TICK_S = 15
_BEGINS = frozenset((START, MESSAGE, FAILED_AUTH, REGISTER))


@dataclass(slots=True)
class Effect:
    """What one verdict, as long as it was in force, kept from happening."""

    verdict: Verdict
    calls: int = 0
    messages: int = 0
    sign_ins: int = 0
    cut: int = 0
    saved_s: float = 0.0
    saved_cost: float = 0.0


@dataclass(slots=True)
class Trial:
    """Feed it with `step`, in order of time; then read `effects` (critical verdicts) and `warnings`."""

    engine: Engine
    delay_s: float = DELAY_S
    effects: list[Effect] = field(default_factory=list)
    warnings: list[Verdict] = field(default_factory=list)
    _by_verdict: dict[int, Effect] = field(default_factory=dict)
    # Calls that never were, or ended at that time.
    _gone: dict[str, tuple[Effect, float | None]] = field(default_factory=dict)
    _ticked: float = float("-inf")

    def step(self, event: Event) -> Effect | None:
        """One event more; the effect that stopped it (an `end`: that saved some of the call), None: it happened."""
        if event.at >= self._ticked + _TICK_S:
            self._ticked = event.at
            self._heard(self.engine.tick(event.at))
        if event.call in self._gone:
            return self._saved(event)
        if event.kind in _BEGINS:
            verdict = self.engine.blocks(event, as_if=True)
            if verdict is not None and verdict.rule.name.startswith(PERMISSION):
                self._heard(self.engine.refused(event))
                return self._stopped(event, self._effect(verdict))
            if verdict is not None and event.at >= verdict.at + self.delay_s:
                return self._stopped(event, self._effect(verdict))
        self._heard(self.engine.feed(event))
        return None

    def _stopped(self, event: Event, effect: Effect) -> Effect:
        if event.kind == START:
            effect.calls += 1
        elif event.kind == MESSAGE:
            effect.messages += 1
            effect.saved_cost += event.cost
        else:
            effect.sign_ins += 1
        if event.call:
            self._gone[event.call] = (effect, None)
        return effect

    def _saved(self, event: Event) -> Effect:
        effect, cut_at = self._gone[event.call]
        if event.kind == END:
            del self._gone[event.call]
            saved = self.saved_s(event, cut_at)
            effect.saved_s += saved
            effect.saved_cost += event.cost * saved / event.talk_s if event.talk_s else 0.0
        return effect

    @staticmethod
    def saved_s(end: Event, cut_at: float | None) -> float:
        """Seconds of talk that did not happen, of a call that ended so."""
        return end.talk_s if cut_at is None else min(end.talk_s, max(0.0, end.at - cut_at))

    def _heard(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.level == CRITICAL:
                effect = self._effect(verdict)
                if "end_calls" in verdict.would:
                    self._cut(verdict, effect)
            elif verdict.level == "warning":
                self.warnings.append(verdict)

    def _cut(self, verdict: Verdict, effect: Effect) -> None:
        at = verdict.at + self.delay_s
        for call in self.engine.calls():
            if verdict.subject in subjects(call, verdict.scope) and covers(
                verdict, call._replace(kind=START), as_if=True
            ):
                effect.cut += 1
                self._gone[call.call] = (effect, at)
                self.engine.feed(Event(f"{call.call}/cut", at, END, call=call.call))

    def _effect(self, verdict: Verdict) -> Effect:
        found = self._by_verdict.get(id(verdict))
        if found is None:
            found = Effect(verdict)
            self.effects.append(found)
            self._by_verdict[id(verdict)] = found
        return found
