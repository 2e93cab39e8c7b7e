"""What the room speaks of: events, rules, verdicts.

Times are Unix seconds (UTC), durations seconds, costs the installation's own currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

WARNING, CRITICAL, RELEASED = "warning", "critical", "released"
LEVELS = (WARNING, CRITICAL)
OBSERVE, ENFORCE = "observe", "enforce"
MODES = (OBSERVE, ENFORCE)

START, ANSWER, END = "start", "answer", "end"
MESSAGE, USED = "message", "used"
FAILED_AUTH, REGISTER = "failed_auth", "register"

#: What is counted for: the narrowest first, which is also the order of who wins (see `Owner.rank`).
SCOPES = ("device", "user", "group", "account", "reseller", "source")

#: What a verdict may bring about, the mildest first.
ACTIONS = (
    "notify",  # tell somebody
    "block_destination",  # calls and messages to the rule's destinations
    "cap_calls",  # no more calls at the same time than the critical threshold
    "outbound_off",  # all calls and messages to outside
    "end_calls",  # calls that are up, too
    "block_source",  # everything from the address
    "unregister",  # the device's contacts are removed
    "rotate",  # it gets another password
    "suspend",  # the account may only call emergency numbers
)
ANY = "any"
# Names of verdicts about permissions begin so, and no rule's does.
PERMISSION = "permission-"
# Where a number leads, see destinations.py.
INTERNAL = "internal"
CLASSES = (
    INTERNAL, "freephone", "national", "mobile", "shared_cost", "premium", "international", "high_risk", "satellite",
    "unallocated",
)  # fmt: skip
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Event(NamedTuple):
    """Something that happened, once: `id` says which, whoever tells it and how often.

    A call or message is that of who pays: `account`, and its `user` and `device` (none: a forwarding), never of who
    rings. `called` is E.164 with +, else as dialled. `call` is the same in all events of a call; a message has its
    own, and `used` says that the one-time code it carried (`code`) was used. An `end` tells `duration_s`
    (from the start), `talk_s` (from the answer), `status` (487: the caller gave up) and `cost`; a `start` the `rate`
    per minute. `place` is (latitude, longitude) of `source`, where somebody knows it.
    """

    id: str
    at: float
    kind: str
    account: str = ""
    call: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    device: str = ""
    reseller: str = ""
    source: str = ""
    agent: str = ""
    called: str = ""
    country: str = ""
    cls: str = ""
    duration_s: float = 0.0
    talk_s: float = 0.0
    rate: float = 0.0
    cost: float = 0.0
    status: int = 0
    emergency: bool = False
    code: bool = False
    place: tuple[float, float] | None = None


class Owner(NamedTuple):
    """Whom a rule is for. All empty: everybody."""

    account: str = ""
    user: str = ""
    group: str = ""
    device: str = ""
    reseller: str = ""

    @property
    def rank(self) -> int:
        """How specific it is: device 5, user 4, group 3, account 2, reseller 1, everybody 0."""
        for rank, part in (
            (5, self.device), (4, self.user), (3, self.group), (2, self.account), (1, self.reseller)
        ):  # fmt: skip
            if part:
                return rank
        return 0

    def fits(self, event: Event) -> bool:
        """Whether what happened is this owner's."""
        return (
            (not self.account or self.account == event.account)
            and (not self.device or self.device == event.device)
            and (not self.user or self.user == event.user)
            and (not self.group or self.group in event.groups)
            and (not self.reseller or self.reseller == event.reseller)
        )

    def __str__(self) -> str:
        if self.device:
            return f"device {self.device}"
        if self.user:
            return f"user {self.account}/{self.user}"
        if self.group:
            return f"group {self.account}/{self.group}"
        if self.account:
            return f"account {self.account}"
        return f"reseller {self.reseller}" if self.reseller else "everybody"


EVERYBODY = Owner()


class Measure(NamedTuple):
    """A metric over a window, for a scope, destinations and a schedule: all that a counter has to know."""

    metric: str
    scope: str
    window_s: int
    destinations: tuple[str, ...]
    at_least: int
    days: tuple[str, ...]
    from_minute: int | None
    to_minute: int | None

    @property
    def always(self) -> bool:
        """Whether it has no schedule."""
        return not self.days and self.from_minute is None

    def is_open(self, at: float, zone: tzinfo) -> bool:
        """Whether it counts and is judged at that moment, by the clock of `zone`."""
        local = datetime.fromtimestamp(at, zone)
        minute = local.hour * 60 + local.minute
        begin = self.from_minute or 0
        end = 24 * 60 if self.to_minute is None else self.to_minute
        late = end <= begin and minute < end
        # What runs over midnight belongs to the day on which it began.
        day = WEEK[(local.weekday() - late) % 7]
        inside = late or (minute >= begin and (minute < end or end <= begin))
        return inside and (not self.days or day in self.days)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Rules of the same name are one family: of those that fit an event, the most specific holds.

    `destinations`: any (every number outside), classes, countries (`TN`), prefixes (`+88213`). Thresholds are those
    of the metric's unit; None: no such level. `baseline`: for an account with a history, no less than so many times
    its usual value. `new_account_days`: holds for accounts younger than that only. `days` and minutes of the day:
    when it is judged, by the account's clock; `to_minute` not after `from_minute`: over midnight. `at_least`: a share
    is judged from so many on.
    """

    name: str
    metric: str
    scope: str
    window_s: int
    critical: float | None = None
    warning: float | None = None
    destinations: tuple[str, ...] = (ANY,)
    actions: tuple[str, ...] = ("notify",)
    release_s: int = 86_400
    mode: str = OBSERVE
    at_least: int = 0
    owner: Owner = EVERYBODY
    days: tuple[str, ...] = ()
    from_minute: int | None = None
    to_minute: int | None = None
    baseline: float | None = None
    new_account_days: int | None = None
    enabled: bool = True
    comment: str = ""
    origin: str = "row"

    @property
    def measure(self) -> Measure:
        """What is counted: rules that agree in it share their counters."""
        return Measure(
            self.metric, self.scope, self.window_s, self.destinations, self.at_least, self.days, self.from_minute,
            self.to_minute,
        )  # fmt: skip

    @property
    def floor(self) -> float:
        """No value below it says anything."""
        return min((one for one in (self.warning, self.critical) if one is not None), default=float("inf"))

    @property
    def key(self) -> str:
        """Name and owner: no two rules share it."""
        return f"{self.name} of {self.owner}"


class Allow(NamedTuple):
    """Never counted and never blocked: calls of the owner, or from the source, to `what` (* or a prefix with +)."""

    owner: Owner = EVERYBODY
    source: str = ""
    what: str = "*"
    reason: str = ""
    until: float | None = None


class Permission(NamedTuple):
    """Whether the owner may call numbers of a class at all; the most specific one holds, none: it may."""

    cls: str
    allowed: bool
    owner: Owner = EVERYBODY
    mode: str = OBSERVE
    origin: str = "row"


class Profile(NamedTuple):
    """What rules want to know about an account. `since`: when it came; None: it is no new one. `codes_told`: who sends
    its one-time codes tells which were used."""

    country: str = ""
    zone: tzinfo = UTC
    since: float | None = None
    reseller: str = ""
    codes_told: bool = False


NOBODY = Profile()


class People(NamedTuple):
    """Whose a device is (user and account), and in which groups a user is (by account and name)."""

    users: Mapping[str, str]
    groups: Mapping[tuple[str, str], tuple[str, ...]]
    accounts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule holds for a subject: `level` since `at`, until `until` unless it is said again. `released`: no more.

    `factor`: what the account's own history made of the thresholds (1: nothing). `evidence`: what was seen last.
    """

    rule: Rule
    scope: str
    subject: str
    level: str
    value: float
    threshold: float
    at: float
    until: float
    factor: float = 1.0
    evidence: tuple[str, ...] = ()
    account: str = ""

    @property
    def actions(self) -> tuple[str, ...]:
        """What it brings about: a warning only tells, and so does a rule that observes (see `would`)."""
        return self.would if self.rule.mode == ENFORCE else ("notify",)

    @property
    def would(self) -> tuple[str, ...]:
        """The same if its rule enforced."""
        return self.rule.actions if self.level == CRITICAL else ("notify",)


def subjects(event: Event, scope: str) -> tuple[str, ...]:
    """Whom an event counts for in a scope; users and groups with their account."""
    if scope == "group":
        return tuple([f"{event.account}/{name}" for name in event.groups])
    if scope == "user":
        return (f"{event.account}/{event.user}",) if event.user else ()
    one: str = getattr(event, scope)
    return (one,) if one else ()
