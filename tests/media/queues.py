"""The company whose callers wait: queues and their members, whose phones are called w1 to w4."""

from __future__ import annotations

from controller.desired.model import (
    Account,
    Device,
    Extension,
    Group,
    GroupMember,
    Number,
    Queue,
    QueueMember,
    Step,
    User,
)

BUSY, HANGUP = Step("busy"), Step("hangup")
NUMBER = "+4930888010"
PEOPLE = {"mia": "w1", "ned": "w2", "oda": "w3", "pam": "w4"}
# Has two telephones, and no extension.
QUIN = ("w5", "w6")
PHONES = {user: f"{phone}@wait.example" for user, phone in PEOPLE.items()}


def _to(number: str, kind: str, target: str | None = None) -> Extension:
    return Extension(number, kind, None, target, 20, HANGUP, HANGUP, HANGUP)


def queue_of(name: str, *members: str | QueueMember, **changes: object) -> Queue:
    values: dict[str, object] = {
        "strategy": "in_order", "ring_time_s": 3, "retry_s": 1, "wrap_up_s": 0, "weight": 10, "max_waiting": None,
        "max_wait_s": None, "join_empty": True, "leave_empty": False, "announce_position": False,
        "announce_every_s": None, "periodic_sound": None, "periodic_every_s": 60, "greeting": None,
        "service_level_s": 20, "batch_first_percent": 25, "batch_first_min": 1, "batch_second_percent": 25,
        "batch_wait_s": 1, "alert_limit": None, "alert_pace_ms": 500, "callback": False, "rejoin_s": 60, "music": None,
        "on_full": BUSY, "on_timeout": HANGUP, "on_empty": HANGUP,
    }  # fmt: skip
    rows = tuple(one if isinstance(one, QueueMember) else QueueMember(one) for one in members)
    return Queue(name, name.title(), **(values | changes), members=rows)  # type: ignore[arg-type]


WAITING = Account(
    name="wait-1", display_name="Waiting", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930888000", domains=("wait.example",),
    users=tuple(User(name, name.title(), None, None, "national", True) for name in (*PEOPLE, "quin")),
    devices=tuple(
        Device(phone, "wait.example", owner, "0" * 32, "0" * 64, None, None, True)
        for owner, phone in (*PEOPLE.items(), *(("quin", phone) for phone in QUIN))
    ),
    extensions=(
        *(
            Extension(str(number), "user", owner, None, 5, BUSY, HANGUP, HANGUP)
            for number, owner in enumerate(PEOPLE, 101)
        ),
        _to("700", "queue", "one"), _to("701", "queue", "all"), _to("702", "queue", "short"),
        _to("709", "supervise", "one"),
        _to("703", "queue", "told"), _to("705", "queue", "batches"), _to("706", "queue", "narrow"),
        _to("707", "queue", "long"),
    ),
    groups=(
        Group(
            "leads", "Leads", "all", 20, 10, False, False, False, None, None, BUSY, HANGUP, HANGUP,
            (GroupMember(user="pam"),),
        ),
    ),
    numbers=(Number(NUMBER, "700"), Number("+4930888011", "703")),
    queues=(
        queue_of("one", "mia", "ned", supervisor_group="leads"),
        queue_of("all", "mia", "ned", "oda", strategy="ring_all", wrap_up_s=2),
        queue_of("short", "mia", max_wait_s=4, max_waiting=1, on_timeout=Step("extension", "104"), ring_time_s=2),
        queue_of(
            "told", "mia", ring_time_s=1, greeting="vm-goodbye", announce_position=True, announce_every_s=4,
            callback=True,
        ),
        queue_of("long", "mia", "ned", "oda", strategy="ring_all", ring_time_s=15),
        queue_of("narrow", "quin", alert_limit=1, ring_time_s=4),
        queue_of("batches", *PEOPLE, strategy="batch", ring_time_s=6, batch_wait_s=2),
    ),
)  # fmt: skip
