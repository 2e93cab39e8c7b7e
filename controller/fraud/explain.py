"""Verdicts and rules in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.fraud.engine import Engine
from controller.fraud.metrics import METRICS
from controller.fraud.model import (
    CRITICAL,
    ENFORCE,
    PERMISSION,
    RELEASED,
    Event,
    Rule,
    Verdict,
)

_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"))
_NOW = ("concurrent", "prefix_concurrent", "running_s")
_ACTIONS = {
    "notify": "somebody is told",
    "block_destination": "calls and messages there are blocked",
    "cap_calls": "no more calls at the same time",
    "outbound_off": "nothing goes outside",
    "end_calls": "calls that are up are ended",
    "block_source": "the address is blocked",
    "unregister": "its contacts are removed",
    "rotate": "it gets another password",
    "suspend": "the account is suspended",
}


def span(seconds: float) -> str:
    """10 minutes, 1 hour, 90 s."""
    for length, name in _SPANS:
        if seconds >= length and seconds % length == 0:
            number = int(seconds // length)
            return f"{number} {name}{'s' * (number > 1)}"
    return f"{seconds:g} s"


def amount(value: float) -> str:
    """A number as people write it."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def moment(at: float) -> str:
    """UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def verdict(held: Verdict) -> str:
    """What holds for whom, why, and what that brings about."""
    of = f"{held.scope} {held.subject}"
    if held.level == RELEASED:
        return f"{of}: rule {held.rule.name} holds no more"
    of_rule = f"rule {held.rule.name} for {held.rule.owner}, {held.rule.origin}"
    return f"{of}: {held.level}: {reason(held)} ({of_rule}); {consequence(held)}"


def reason(held: Verdict) -> str:
    """What was seen, against what limit."""
    rule = held.rule
    if rule.name.startswith(PERMISSION):
        called = held.evidence[0] if held.evidence else "?"
        return f"called {called}, of class {rule.destinations[0]}, without permission"
    raised = f", {amount(held.factor)} times by its own history" if held.factor > 1 else ""
    seen = f"{amount(held.value)} {METRICS[rule.metric].unit}{_where(rule)}{_in(rule)}"
    return f"{seen}, limit {amount(held.threshold)}{raised}"


def consequence(held: Verdict) -> str:
    """What it brings about, or would."""
    rule = held.rule
    if held.level != CRITICAL:
        return "a warning: somebody is told"
    said = ", ".join(_ACTIONS[action] for action in rule.actions)
    until = f"until {moment(held.until)}"
    if rule.mode == ENFORCE:
        return f"{said}, {until}"
    return f"it observes: else {said}, {until}"


def limits(rule: Rule, factor: float = 1.0) -> str:
    """What a rule says, in one line."""
    said = [
        f"{level} at {amount(value * factor)}"
        for level, value in (("warning", rule.warning), ("critical", rule.critical))
        if value is not None
    ]
    least = f" of {rule.at_least} or more" if rule.at_least else ""
    what = f"{METRICS[rule.metric].unit}{least}{_where(rule)}{_in(rule)} of one {rule.scope}"
    text = f"{what}: {', '.join(said) or 'nothing'}"
    if factor > 1:
        text += f" ({amount(factor)} times by its own history)"
    if rule.new_account_days is not None:
        text += f", accounts younger than {rule.new_account_days} days"
    if rule.days or rule.from_minute is not None:
        text += f", {when(rule)} by the account's clock"
    return text


def when(rule: Rule) -> str:
    """Its schedule: `mon tue 20:00-06:00`; empty: always."""
    times = ""
    if rule.from_minute is not None and rule.to_minute is not None:
        times = f"{_clock(rule.from_minute)}-{_clock(rule.to_minute)}"
    return " ".join(one for one in (*rule.days, times) if one)


def holding(engine: Engine, event: Event) -> Iterator[tuple[str, str, str]]:
    """For each family: its name, what holds for an event like this one, and why that rule."""
    for name, rule, others in engine.plans.holding(event):
        why = f"for {rule.owner} ({rule.origin})"
        if others:
            why += ", before " + ", ".join(f"that for {other.owner} ({other.origin})" for other in others)
        if not rule.enabled:
            yield name, "off", why
            continue
        if rule.mode != ENFORCE:
            why += "; it observes"
        yield name, limits(rule, engine.factor(rule, event.account)), why


def _where(rule: Rule) -> str:
    if not METRICS[rule.metric].destinations:
        return ""
    return "" if rule.destinations == ("any",) else f" to {', '.join(rule.destinations)}"


def _in(rule: Rule) -> str:
    return "" if rule.metric in _NOW else f" in {span(rule.window_s)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
