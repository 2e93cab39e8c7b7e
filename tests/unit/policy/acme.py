"""An account to decide calls of, as its entries."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from controller.policy import Step
from controller.policy.decide import Call, Decision, decide
from controller.policy.program import lines
from controller.policy.snapshot import Live, Snapshot, snapshot

# Friday, 20 November 2026, ten in the morning in Berlin.
NOW = datetime.fromisoformat("2026-11-20T10:00:00+01:00")
EVENING = datetime.fromisoformat("2026-11-20T20:00:00+01:00")

ENTRIES: dict[str, dict[str, Any]] = {
    "account/-": {"country": "DE", "flags": ["beta"], "language": "de", "zone": "Europe/Berlin"},
    "user/alice": {
        "devices": ["app1@acme.example", "desk1@acme.example"],
        "extension": "101",
        "mailbox": "101",
        "ring_s": 20,
        "on_busy": "busy",
        "on_no_answer": "voicemail",
        "on_unregistered": "voicemail:101",
    },
    "user/bob": {"devices": ["bob@acme.example"], "extension": "102"},
    "user/carol": {"devices": ["carol@acme.example"], "extension": "103"},
    "user/dave": {"extension": "104", "on_unregistered": "extension:102"},
    "list/vip": {"patterns": ["+4930*", "+33123456789", "102"]},
    "list/hidden": {"patterns": ["anonymous"]},
    "schedule/office": {
        "zone": "Europe/Berlin",
        "times": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:30"}],
    },
}


def seen(live: Live | None = None, **entries: dict[str, Any]) -> Snapshot:
    """The account with entries added or replaced: `group__sales={...}`."""
    held = ENTRIES | {key.replace("__", "/"): value for key, value in entries.items()}
    return snapshot("acme", {f"acme/{key}": json.dumps(value) for key, value in held.items()}, live or Live())


def call(kind: str, name: str, **changes: Any) -> Call:
    """A call from outside by trunk carrier-a."""
    base = Call(
        "acme",
        "call-1",
        kind,
        name,
        caller="+49301234567",
        trunk="carrier-a",
        called="+4930555010",
        language="de",
    )
    return replace(base, **changes)


def inside(kind: str, name: str, user: str = "carol", number: str = "103", **changes: Any) -> Call:
    """A call of a user."""
    device = f"{user}@acme.example"
    return call(kind, name, caller=number, caller_user=user, device=device, trunk="", called="600", **changes)


def decided(call: Call, snapshot: Snapshot, now: datetime = NOW) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines of the program, and what and why of each reason."""
    decision = decide(call, snapshot, now)
    return list(lines(decision.program)), said(decision)


def said(decision: Decision) -> list[tuple[str, str]]:
    assert all(isinstance(step, Step) for step in decision.reasons)
    return [(step.what, step.why) for step in decision.reasons]
