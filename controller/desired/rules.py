"""Who rings, and when, as the rows say: lists, schedules, policies, groups, menus, queues, and what people meet in.
Frozen, no I/O. Part of `model.Account`, and imported from `model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next: `action` is one of busy, announce, voicemail, extension, number, hangup, group, menu, policy,
    queue."""

    action: str
    target: str | None = None

    def __str__(self) -> str:
        """As the rows write it: `busy`, `extension:102`."""
        return f"{self.action}:{self.target}" if self.target else self.action


@dataclass(frozen=True, slots=True)
class CallerList:
    """Callers under one name: `+4930*`, `+49301234`, `101`, `anonymous`."""

    name: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScheduleTime:
    """Open on these days (`mon`..`sun`) from `from_time` until before `to_time` (HH:MM, at most 24:00).

    `to_time` not after `from_time` runs over midnight and belongs to the day it began. Dates are ISO, both included.
    """

    days: tuple[str, ...]
    from_time: str
    to_time: str
    from_date: str | None = None
    to_date: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDay:
    """A holiday or exception, which beats the weekly times; without times it is the whole day."""

    day: str  # ISO date
    every_year: bool
    open: bool
    from_time: str | None = None
    to_time: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is open. Overrides are operational and not compiled."""

    name: str
    time_zone: str  # IANA name
    times: tuple[ScheduleTime, ...] = ()
    days: tuple[ScheduleDay, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """Conditions (None: any) and what a call for which all of them hold does."""

    position: int
    action: str
    target: str | None = None
    comment: str | None = None
    caller: str | None = None
    caller_list: str | None = None
    caller_group: str | None = None
    called: str | None = None
    trunk: str | None = None
    from_inside: bool | None = None
    schedule: str | None = None
    schedule_open: bool = True
    language: str | None = None
    user: str | None = None
    presence: str | None = None
    min_devices: int | None = None
    max_devices: int | None = None
    header_name: str | None = None
    header_value: str | None = None
    account_flag: str | None = None
    set_language: str | None = None
    set_caller_name: str | None = None
    early_announcement: str | None = None
    late_announcement: str | None = None
    set_record: str | None = None  # always | never
    set_priority: int | None = None
    set_skills: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Ordered rules, enabled ones only; the first that holds decides, else `otherwise`."""

    name: str
    otherwise: Step
    rules: tuple[PolicyRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where calls for a user go instead. `condition`: always, busy, no_answer, unregistered."""

    user: str
    condition: str
    step: Step
    caller_list: str | None = None
    schedule: str | None = None
    schedule_open: bool = True


@dataclass(frozen=True, slots=True)
class MenuChoice:
    """What pressing these digits does."""

    digits: str
    step: Step


@dataclass(frozen=True, slots=True)
class Menu:
    """A voice menu. `tries` counts wrong and missing input together; `direct_dial`: extensions may be dialled."""

    name: str
    greeting: str
    timeout_s: int
    tries: int
    invalid_sound: str | None
    on_timeout: Step
    on_invalid: Step
    direct_dial: bool
    choices: tuple[MenuChoice, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupMember:
    """Exactly one of user, device (address of record) and number (E.164)."""

    user: str | None = None
    device: str | None = None
    number: str | None = None
    weight: int = 10
    delay_s: int = 0
    schedule: str | None = None
    schedule_open: bool = True
    caller_list: str | None = None
    outgoing: bool = False
    joins: bool = False

    @property
    def name(self) -> str:
        """What it is called in flags and in plans."""
        return self.user or self.device or self.number or ""


@dataclass(frozen=True, slots=True)
class Group:
    """Members that ring together or in turn, enabled ones only, in order."""

    name: str
    display_name: str
    strategy: str  # all | in_order | round_robin | least_recent | fewest_calls | random | weighted
    ring_time_s: int
    step_time_s: int
    skip_busy: bool
    one_call: bool
    confirm: bool
    caller_name_prefix: str | None
    identity: str | None
    on_busy: Step
    on_no_answer: Step
    on_nobody: Step
    members: tuple[GroupMember, ...] = ()
    notices: str = "none"  # none | clients | phones
    record: str = "never"
    messages: str = "as_calls"  # as_calls | all | present | none


@dataclass(frozen=True, slots=True)
class QueueMember:
    """A user whom a queue calls. `skills`: `german:3`, `billing` (level 1)."""

    user: str
    penalty: int = 0
    weight: int = 10
    skills: tuple[str, ...] = ()
    priority_alert: int = 100
    wrap_up_s: int | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """Callers wait until one of the members, in order, is free."""

    name: str
    display_name: str
    strategy: str  # one of controller.queues.model.STRATEGIES
    ring_time_s: int
    retry_s: int
    wrap_up_s: int
    weight: int
    max_waiting: int | None
    max_wait_s: int | None
    join_empty: bool
    leave_empty: bool
    announce_position: bool
    announce_every_s: int | None
    periodic_sound: str | None
    periodic_every_s: int
    greeting: str | None
    service_level_s: int
    batch_first_percent: int
    batch_first_min: int
    batch_second_percent: int
    batch_wait_s: int
    alert_limit: int | None
    alert_pace_ms: int
    callback: bool
    rejoin_s: int
    music: str | None
    on_full: Step
    on_timeout: Step
    on_empty: Step
    required_skills: tuple[str, ...] = ()
    members: tuple[QueueMember, ...] = ()
    record: str = "never"
    supervisor_group: str | None = None
    callback_permission: str = "national"
    callback_tries: int = 3
    callback_pause_s: int = 300
    autopause_after: int | None = None


@dataclass(frozen=True, slots=True)
class Conference:
    """Who dials it talks with the others there. Digests: hex SHA-1 of `<name>@<account>:<pin>`, None: no such PIN.
    `announce`: none, tone, name."""

    name: str
    max_members: int | None = None
    wait_for_moderator: bool = False
    announce: str = "tone"
    record: bool = False
    pin_digest: str | None = None
    moderator_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ParkingLot:
    """Where calls wait in slots, `first_slot` and those after it, until somebody dials the slot; after `wait_s` they
    ring for `return_s` where they were parked, then comes `on_timeout`."""

    name: str
    first_slot: str
    slots: int
    wait_s: int
    return_s: int
    on_timeout: Step

    @property
    def numbers(self) -> tuple[str, ...]:
        """What is dialled to have a call, in order."""
        return tuple(str(int(self.first_slot) + place) for place in range(self.slots))


@dataclass(frozen=True, slots=True)
class Page:
    """Who dials it is heard from the telephones of a group. `caller_group`: who may, None: every user. `tone`: a
    sound, or none."""

    name: str
    group: str
    caller_group: str | None = None
    talk_back: bool = False
    tone: str = "beep"
    max_s: int = 60
