"""One consistent picture of the rows, as the compiler sees it. Frozen, no I/O.

An account's snapshot is small (its own rows); the system's holds what is shared by all accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """A SIP registration: `name@domain` is its address of record and its digest user and realm."""

    name: str
    domain: str
    user: str | None
    ha1_md5: str
    ha1_sha256: str
    call_limit: int | None
    caller_id: str | None
    enabled: bool
    # What an emergency call shows instead, where `caller_id` or the user's is a group's; empty: what its trunk shows.
    emergency_caller_id: str | None = None

    @property
    def aor(self) -> str:
        """Address of record, without scheme."""
        return f"{self.name}@{self.domain}"


@dataclass(frozen=True, slots=True)
class User:
    """A person or room. `permission` is the farthest class of number they may dial."""

    name: str
    display_name: str
    language: str | None
    caller_id: str | None
    permission: str  # internal | national | international
    enabled: bool
    record: str = "never"  # never | on_demand | always
    record_calls: tuple[str, ...] = ("internal", "inbound", "outbound")


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
class Extension:
    """What a dialled extension does. `kind`: user, voicemail, voicemail_main, echo, announcement, number, policy,
    group, menu, queue, conference, pickup, park, page, membership, supervise; `target` names the policy, group, menu,
    queue, conference, parking lot or page."""

    extension: str
    kind: str
    user: str | None
    target: str | None
    ring_time_s: int
    on_busy: Step
    on_no_answer: Step
    on_unregistered: Step


@dataclass(frozen=True, slots=True)
class Number:
    """An E.164 number (with +) and the extension of the account it leads to."""

    e164: str
    extension: str


@dataclass(frozen=True, slots=True)
class VoicemailBox:
    """A mailbox; `pin_digest` is hex SHA-1 (what Asterisk can compute) of `<mailbox>@<account>:<pin>`,
    None: own devices only."""

    mailbox: str
    user: str | None
    display_name: str
    email: str | None
    pin_digest: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """Numbers beginning with `prefix` (digits of E.164 after +) may leave by `trunk`.

    Longest prefix wins, then the lowest priority; among equals, weight is the share.
    """

    prefix: str
    trunk: str
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class Trunk:
    """A carrier or customer PBX. `number_format`: e164 (+49...), digits (49...), national (0...)."""

    name: str
    account: str | None
    host: str
    port: int
    transport: str
    auth_user: str | None
    auth_realm: str | None
    auth_ha1_md5: str | None
    register: bool
    call_limit: int | None
    number_format: str
    caller_id: str | None
    addresses: tuple[str, ...]
    enabled: bool


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


@dataclass(frozen=True, slots=True)
class QueueMember:
    """A user whom a queue calls. `skills`: `german:3`, `billing` (level 1)."""

    user: str
    penalty: int = 0
    weight: int = 10
    skills: tuple[str, ...] = ()
    priority_alert: int = 100


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


@dataclass(frozen=True, slots=True)
class Account:
    """One account with all of its rows. `time_zone` is that of its country unless it has its own. `lamps`: phones may
    watch extensions."""

    name: str
    display_name: str
    cluster: str
    country: str
    language: str
    status: str  # active | suspended
    call_limit: int | None
    caller_id: str | None
    domains: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    devices: tuple[Device, ...] = ()
    extensions: tuple[Extension, ...] = ()
    numbers: tuple[Number, ...] = ()
    mailboxes: tuple[VoicemailBox, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    routes: tuple[Route, ...] = ()
    time_zone: str = "UTC"
    lamps: bool = False
    flags: tuple[str, ...] = ()
    lists: tuple[CallerList, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    policies: tuple[Policy, ...] = ()
    forwardings: tuple[Forwarding, ...] = ()
    menus: tuple[Menu, ...] = ()
    groups: tuple[Group, ...] = ()
    queues: tuple[Queue, ...] = ()
    conferences: tuple[Conference, ...] = ()
    parking_lots: tuple[ParkingLot, ...] = ()
    pages: tuple[Page, ...] = ()
    record_announcement: str | None = None

    @property
    def deciding(self) -> bool:
        """Whether calls of the account may need a decision: only then it has policy entries."""
        return bool(self.policies or self.groups or self.menus or self.forwardings or self.queues)

    @property
    def recording(self) -> bool:
        """Whether a row says that calls of the account are recorded, or may be."""
        modes = {user.record for user in self.users} | {group.record for group in self.groups}
        modes |= {queue.record for queue in self.queues}
        rules = {rule.set_record for policy in self.policies for rule in policy.rules}
        return not modes <= {"never"} or "always" in rules


@dataclass(frozen=True, slots=True)
class Node:
    """A server. `state` (enabled, draining, disabled) is operational and not compiled here."""

    name: str
    kind: str  # edge | media
    group: str  # cluster of a media node, device group of an edge
    address: str
    sip_port: int
    weight: int


@dataclass(frozen=True, slots=True)
class EmergencyNumber:
    """A number that no limit or block stops, and the trunks to try, in order."""

    country: str
    number: str
    trunks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class System:
    """What all accounts share."""

    zone: str
    nodes: tuple[Node, ...] = ()
    clusters: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    routes: tuple[Route, ...] = ()
    emergency: tuple[EmergencyNumber, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
