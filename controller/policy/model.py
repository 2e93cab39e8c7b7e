"""A call, and what a decision about it looks at: an account's rows and what holds at the moment. Frozen, no I/O.

The defaults are those of the columns: entries leave them out. A text that is not set is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from controller.queues.model import Queue

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STRATEGIES = ("all", "in_order", "round_robin", "least_recent", "fewest_calls", "random", "weighted")
NOTICES = ("none", "clients", "phones")
TAKES = ("as_calls", "all", "present", "none")
FORWARDINGS = ("always", "busy", "no_answer", "unregistered")
PRESENCES = ("registered", "unregistered", "disturb_not")
ACTIONS = (
    "ring", "extension", "group", "queue", "menu", "voicemail", "announcement", "forward", "reject", "application",
    "next",
)  # fmt: skip
DAY_MINUTES = 24 * 60
# The base dialplan follows at most so many next steps (DP_DEPTH in asterisk/extensions.conf).
DEPTH_LIMIT = 8
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that needs a decision: it reached `name` of `kind` (group, policy, user).

    `caller`: number shown; `caller_user`, `device`: who calls from inside; `trunk`: the way in from outside;
    `headers`: of the INVITE, as far as rules look at them (`Snapshot.headers`); `depth`: next steps followed so far;
    `extension`: of a user, the one that was reached.
    """

    account: str
    call_id: str
    kind: str
    name: str
    caller: str = ""
    caller_user: str = ""
    device: str = ""
    trunk: str = ""
    called: str = ""
    language: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    depth: int = 0
    extension: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """`zone`: time zone in which the account's days begin."""

    name: str
    country: str = ""
    flags: tuple[str, ...] = ()
    language: str = ""
    zone: ZoneInfo = UTC


@dataclass(frozen=True, slots=True)
class Forwarding:
    """`when` one of FORWARDINGS, for callers of `list`, while `schedule` is `open`: go to `step`."""

    when: str
    step: str
    list: str = ""
    schedule: str = ""
    open: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """An extension of a user, with its steps."""

    extension: str = ""
    ring_s: int = 25
    on_busy: str = "busy"
    on_no_answer: str = "hangup"
    on_unregistered: str = "hangup"


@dataclass(frozen=True, slots=True)
class User:
    """A user: AORs of the enabled devices, and the steps of the first extension; `lines`: the other extensions;
    `name`: for people; `record`: kinds of calls that are recorded."""

    key: str
    devices: tuple[str, ...] = ()
    extension: str = ""
    mailbox: str = ""
    ring_s: int = 25
    on_busy: str = "busy"
    on_no_answer: str = "hangup"
    on_unregistered: str = "hangup"
    forward: tuple[Forwarding, ...] = ()
    lines: tuple[Line, ...] = ()
    name: str = ""
    record: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """Open from `start` to `end` (minutes of the day, half-open; `end` <= `start`: over midnight) on days that begin
    between two dates, both included."""

    days: tuple[str, ...]
    start: int
    end: int
    from_date: date | None = None
    to_date: date | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """A holiday or exception: the whole day, or from `start` to `end` as in Times."""

    day: date
    open: bool
    yearly: bool = False
    start: int | None = None
    end: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is open, by the clocks of `zone`."""

    name: str
    zone: ZoneInfo
    times: tuple[Times, ...] = ()
    days: tuple[Day, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule asks of a call; what is empty or None asks nothing."""

    caller: str = ""
    list: str = ""
    group: str = ""
    called: str = ""
    trunk: str = ""
    inside: bool | None = None
    schedule: str = ""
    open: bool = True
    language: str = ""
    user: str = ""
    presence: str = ""
    min_devices: int | None = None
    max_devices: int | None = None
    header: tuple[str, str] | None = None
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule does. `caller_name` goes before the caller's name; `early`, `late`: sound before, after answer;
    `record`: always, never, or empty: as other rows say; `priority`, `skills`: of the caller in queues, and of the
    members who take it (`german:2`)."""

    action: str
    target: str = ""
    language: str = ""
    caller_name: str = ""
    early: str = ""
    late: str = ""
    record: str = ""
    priority: int | None = None
    skills: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy."""

    position: int
    condition: Condition
    effect: Effect
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order; `otherwise`: the step when none ends the search."""

    name: str
    rules: tuple[Rule, ...] = ()
    otherwise: str = "hangup"


@dataclass(frozen=True, slots=True)
class Member:
    """One of `user`, `device` (AOR), `number` (E.164). It rings for callers of `list`, while `schedule` is `open`;
    `joins`: while it is registered; `outgoing`: what it sends outside carries the group's identity."""

    user: str = ""
    device: str = ""
    number: str = ""
    weight: int = 10
    delay_s: int = 0
    schedule: str = ""
    open: bool = True
    list: str = ""
    enabled: bool = True
    joins: bool = False
    outgoing: bool = False

    @property
    def key(self) -> str:
        """Its name: in reasons, in flags, in the group's memory."""
        return self.user or self.device or self.number


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `ring_s`: how long the whole group rings; `step_s`: each member, where one rings after the other;
    `one_call`: busy while another call rings in it; `notices`: one of NOTICES; `record`: always, on_demand, or none;
    `messages`: one of TAKES: to members as calls, to all, to who is there, to nobody."""

    name: str
    strategy: str = "all"
    ring_s: int = 25
    step_s: int = 15
    skip_busy: bool = False
    one_call: bool = False
    confirm: bool = False
    prefix: str = ""
    on_busy: str = "busy"
    on_no_answer: str = "hangup"
    on_nobody: str = "hangup"
    members: tuple[Member, ...] = ()
    notices: str = "none"
    record: str = ""
    identity: str = ""
    messages: str = "as_calls"


@dataclass(frozen=True, slots=True)
class Turn:
    """A group's memory. `last`: who began the last round; `answered`: member -> Unix time of its last answer;
    `calls`: member -> calls it answered on `day` (ISO date in the account's zone)."""

    last: str = ""
    answered: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    day: str = ""

    @classmethod
    def of(cls, memory: Mapping[str, Any]) -> Turn:
        """From the columns of control.group_turns; a memory that cannot be read begins anew."""
        answered, calls = memory.get("answered", {}), memory.get("calls", {})
        if not all(
            isinstance(one, dict) and all(isinstance(number, int) for number in one.values())
            for one in (answered, calls)
        ):
            return cls()
        return cls(str(memory.get("last", "")), answered, calls, str(memory.get("day", "")))


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody opened or closed a schedule by hand; `until` is aware, None: until taken back."""

    open: bool
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """What holds at the moment. `registered`: AOR -> contacts, None: not known here; `away`: (group, member);
    `ringing`: groups in which another call rings."""

    registered: Mapping[str, int] | None = None
    dnd: frozenset[str] = frozenset()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    away: frozenset[tuple[str, str]] = frozenset()
    turns: Mapping[str, Turn] = field(default_factory=dict)
    ringing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One account as decisions see it. `headers`: lower-case names of the headers that rules look at."""

    account: Account
    users: Mapping[str, User]
    lists: Mapping[str, frozenset[str]]
    schedules: Mapping[str, Schedule]
    policies: Mapping[str, Policy]
    groups: Mapping[str, Group]
    headers: tuple[str, ...]
    live: Live
    queues: Mapping[str, Queue] = field(default_factory=dict)
