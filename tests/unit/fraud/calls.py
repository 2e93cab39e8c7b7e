"""Events that tests share: a call of one telephone, made to measure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controller.fraud.destinations import classify
from controller.fraud.engine import Engine
from controller.fraud.model import (
    ANSWER,
    END,
    ENFORCE,
    FAILED_AUTH,
    MESSAGE,
    REGISTER,
    START,
    Event,
    Rule,
    Verdict,
)

#: A Tuesday, 10:00 UTC.
NOON = 1_777_975_200.0
DESK = "desk1@acme.example"
TUNIS, GENEVA, BERLIN, PREMIUM = "+21620123456", "+41227301111", "+49302345678", "+499001234567"


def rule(metric: str, critical: float | None = 3, **changes: Any) -> Rule:
    values: dict[str, Any] = {
        "name": "r", "scope": "account", "window_s": 600, "mode": ENFORCE, "actions": ("notify", "block_destination"),
    }  # fmt: skip
    return Rule(metric=metric, critical=critical, **(values | changes))


def start(call: str, at: float, called: str = TUNIS, **changes: Any) -> Event:
    country, cls = classify(called, "DE")
    values: dict[str, Any] = {
        "account": "acme", "call": call, "user": "alice", "device": DESK, "source": "198.51.100.9", "called": called,
        "country": country, "cls": cls, "agent": "phone/1",
    }  # fmt: skip
    return Event(f"{call}/s", NOON + at, START, **(values | changes))


def answer(begun: Event, after: float) -> Event:
    return begun._replace(id=f"{begun.call}/a", at=begun.at + after, kind=ANSWER)


def end(begun: Event, after: float, talk_s: float = 0.0, **changes: Any) -> Event:
    return begun._replace(
        id=f"{begun.call}/e", at=begun.at + after, kind=END, duration_s=after, talk_s=talk_s, **changes
    )


def message(name: str, at: float, called: str, **changes: Any) -> Event:
    begun = start(name, at, called, **changes)
    return begun._replace(id=f"{name}/m", kind=MESSAGE)


def failed(name: str, at: float, source: str = "203.0.113.9", device: str = DESK) -> Event:
    return Event(f"{name}/f", NOON + at, FAILED_AUTH, "acme", device=device, source=source)


def registered(name: str, at: float, **changes: Any) -> Event:
    values: dict[str, Any] = {"device": DESK, "source": "198.51.100.9", "agent": "phone/1"}
    return Event(f"{name}/r", NOON + at, REGISTER, "acme", **(values | changes))


def run(rules: Iterable[Rule], events: Iterable[Event], **options: Any) -> list[Verdict]:
    engine = Engine(rules, **options)
    return [verdict for event in events for verdict in engine.feed(event)]
