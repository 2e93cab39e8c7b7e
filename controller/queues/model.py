"""A queue as it is published, and callers and members as they are at the moment. Frozen, no I/O.

The defaults are those of the columns: entries leave them out. A text that is not set is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from controller.errors import BadPolicy

STRATEGIES = (
    "ring_all", "batch", "round_robin", "least_recent", "fewest_calls", "random", "weighted", "in_order",
)  # fmt: skip
# How a visit of a queue ends: exactly one of them.
OUTCOMES = ("answered", "abandoned", "timeout", "full", "empty", "left", "lost", "unreached")

Skills = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A member of a queue, as the row says. `skills`: name -> level, 1 to 9; `wrap_up_s`: instead of the queue's."""

    user: str
    penalty: int = 0
    weight: int = 10
    skills: Skills = field(default_factory=dict)
    priority_alert: int = 100
    wrap_up_s: int | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, as the row says (see the comments of table queues); `members` in order."""

    name: str
    strategy: str = "ring_all"
    ring_time_s: int = 20
    retry_s: int = 5
    wrap_up_s: int = 0
    weight: int = 10
    max_waiting: int | None = None
    max_wait_s: int | None = None
    join_empty: bool = False
    leave_empty: bool = False
    announce_position: bool = False
    announce_every_s: int | None = None
    periodic_sound: str = ""
    periodic_every_s: int = 60
    greeting: str = ""
    service_level_s: int = 20
    batch_first_percent: int = 25
    batch_first_min: int = 1
    batch_second_percent: int = 25
    batch_wait_s: int = 8
    alert_limit: int | None = None
    alert_pace_ms: int = 500
    callback: bool = False
    callback_permission: str = "national"
    callback_tries: int = 3
    callback_pause_s: int = 300
    autopause_after: int | None = None
    rejoin_s: int = 60
    music: str = ""
    on_full: str = "busy"
    on_timeout: str = "hangup"
    on_empty: str = "hangup"
    record: str = "never"
    required_skills: Skills = field(default_factory=dict)
    members: tuple[Place, ...] = ()

    def wraps_up_s(self, user: str) -> int:
        """How long a member is left alone after a call of this queue."""
        own = (place.wrap_up_s for place in self.members if place.user == user)
        return next((one for one in own if one is not None), self.wrap_up_s)


@dataclass(frozen=True, slots=True)
class Setup:
    """All queues of an account, and the devices (AORs) that ring for each user."""

    account: str
    queues: Mapping[str, Queue]
    devices: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits. `retry_at`: not before then; `tried`: members who rang for this caller and did not take the call;
    `callback`: hung up, and is called when a member is there; `called_at`: when the call that waits began, which may be
    later than `joined_at`."""

    id: int
    joined_at: datetime
    priority: int = 0
    skills: Skills = field(default_factory=dict)
    retry_at: datetime | None = None
    tried: frozenset[str] = frozenset()
    callback: bool = False
    called_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A user at the moment. `registered`: a device is (unknown counts as yes); `reserved`: rings for a caller or talks
    to one; `busy`: a device is on the telephone; `rest_until`: said no a moment ago, or could not be reached; stats are
    those of the queue that asks."""

    devices: tuple[str, ...] = ()
    registered: bool = True
    logged_in: bool = True
    paused: bool = False
    pause_reason: str = ""
    disturb_not: bool = False
    reserved: bool = False
    busy: bool = False
    wrap_until: datetime | None = None
    rest_until: datetime | None = None
    last_offer_at: datetime | None = None
    last_call_at: datetime | None = None
    calls_today: int = 0


def setup(account: str, entries: Mapping[str, str]) -> Setup:
    """From entries of table `policy`: key -> JSON. BadPolicy names an entry that cannot be read."""
    queues: dict[str, Queue] = {}
    devices: dict[str, tuple[str, ...]] = {}
    for key, text in entries.items():
        owner, kind, name = (*key.split("/", 2), "", "")[:3]
        if owner != account or kind not in ("queue", "user"):
            continue
        try:
            values = json.loads(text)
            if kind == "queue":
                queues[name] = queue(name, values)
            else:
                devices[name] = tuple(map(str, values.get("devices", ())))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadPolicy(
                f"table policy, key {key}: {type(error).__name__}: {error}; publish the account again"
                f" (dialplane apply --account {account})"
            ) from None
    return Setup(account, queues, devices)


_COLUMNS = frozenset(one.name for one in fields(Queue)) - {"name", "members", "required_skills"}


def queue(name: str, values: Mapping[str, Any]) -> Queue:
    """A queue from the value of its entry; members it does not know are left out."""
    found = Queue(
        name,
        required_skills=skills(values.get("required_skills", ())),
        members=tuple(
            Place(**{**one, "skills": skills(one.get("skills", ()))}) for one in values.get("members", ())
        ),
        **{column: values[column] for column in _COLUMNS & values.keys()},
    )
    if found.strategy not in STRATEGIES:
        raise ValueError(f"no strategy {found.strategy!r}")
    return found


def skills(texts: Iterable[str]) -> dict[str, int]:
    """`german:3`, `billing` -> name and level."""
    return {name: int(level or 1) for name, _, level in (text.partition(":") for text in texts)}
