"""The company whose calls are recorded. Its phones are called r1 to r5; its users after what their rows say."""

from __future__ import annotations

from controller.desired.model import (
    Account,
    Device,
    Extension,
    Group,
    GroupMember,
    Number,
    Policy,
    Step,
    User,
)
from tests.media.queues import queue_of

BUSY, HANGUP = Step("busy"), Step("hangup")
NUMBER, RULED = "+4930888010", "+4930888011"
ANNOUNCEMENT = "vm-goodbye"
PEOPLE = {"always": "r1", "by-key": "r2", "never": "r3", "inbound": "r4", "other": "r5"}
_ALL = ("internal", "inbound", "outbound")


def _user(name: str, record: str = "never", calls: tuple[str, ...] = _ALL) -> User:
    return User(name, name.title(), None, None, "national", True, record, calls)


def _to(number: str, kind: str, target: str) -> Extension:
    return Extension(number, kind, None, target, 20, HANGUP, HANGUP, HANGUP)


RECORDED = Account(
    name="rec-1", display_name="Recorded", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930888000", domains=("rec.example",),
    users=(
        _user("always", "always"), _user("by-key", "on_demand"), _user("never"),
        _user("inbound", "always", ("inbound",)), _user("other"),
    ),
    devices=tuple(
        Device(phone, "rec.example", owner, "0" * 32, "0" * 64, None, None, True) for owner, phone in PEOPLE.items()
    ),
    extensions=(
        *(
            Extension(str(number), "user", owner, None, 20, BUSY, HANGUP, HANGUP)
            for number, owner in enumerate(PEOPLE, 101)
        ),
        Extension("106", "echo", None, None, 20, HANGUP, HANGUP, HANGUP),
        _to("600", "group", "sales-1"), _to("610", "policy", "main"), _to("700", "queue", "support"),
    ),
    numbers=(Number(NUMBER, "104"), Number(RULED, "610")),
    policies=(Policy("main", Step("extension", "103")),),
    groups=(
        Group(
            "sales-1", "Sales", "all", 20, 20, False, False, False, None, None, BUSY, HANGUP, HANGUP,
            (GroupMember(user="never"), GroupMember(user="other", delay_s=1)), record="always",
        ),
    ),
    queues=(queue_of("support", "other", ring_time_s=20, record="always"),),
    record_announcement=ANNOUNCEMENT,
)  # fmt: skip


def phone(owner: str) -> dict[str, str]:
    """Headers of a call from the phone of a user."""
    return {"account": "rec-1", "Caller": owner, "Device": f"{PEOPLE[owner]}@rec.example"}
