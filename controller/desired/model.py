"""One consistent picture of the rows, as the compiler sees it. Frozen, no I/O.

An account's snapshot is small (its own rows); the system's holds what is shared by all accounts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.desired.rules import (
    CallerList,
    Conference,
    Forwarding,
    Group,
    GroupMember,
    Menu,
    MenuChoice,
    Page,
    ParkingLot,
    Policy,
    PolicyRule,
    Queue,
    QueueMember,
    Schedule,
    ScheduleDay,
    ScheduleTime,
    Step,
)

__all__ = [
    "Account",
    "Beside",
    "CallerList",
    "Conference",
    "Device",
    "EmergencyNumber",
    "Extension",
    "Forwarding",
    "Group",
    "GroupMember",
    "Menu",
    "MenuChoice",
    "Node",
    "Number",
    "Page",
    "ParkingLot",
    "Policy",
    "PolicyRule",
    "Queue",
    "QueueMember",
    "Route",
    "Schedule",
    "ScheduleDay",
    "ScheduleTime",
    "Step",
    "System",
    "Trunk",
    "User",
    "VoicemailBox",
]


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
class Extension:
    """What a dialled extension does. `kind`: user, voicemail, voicemail_main, echo, announcement, number, policy,
    group, menu, queue, conference, pickup, park, page, membership, supervise, application; `target` names the policy,
    group, menu, queue, conference, parking lot, page or application, which takes messages if `texts`."""

    extension: str
    kind: str
    user: str | None
    target: str | None
    ring_time_s: int
    on_busy: Step
    on_no_answer: Step
    on_unregistered: Step
    texts: bool = False


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
class Service:
    """A service of an account (voice, voicemail, conference, queue, messaging, pstn, app) that another cluster serves
    than the account's own; `overflow` takes over, None: none does."""

    name: str
    cluster: str
    overflow: str | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """A cluster that holds an account beside its own, as long as it moves. `tied`: devices in a call there, and what
    meets there (conferences, parked calls), are still led to it."""

    cluster: str
    tied: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One account with all of its rows. `time_zone` is that of its country unless it has its own. `lamps`: phones may
    watch extensions. `device_group`: None, every edge serves its phones. `services`: exceptions only. `beside`: while
    it moves."""

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
    device_group: str | None = None
    overload_announcement: bool = False
    outside_messages: bool = False
    services: tuple[Service, ...] = ()
    beside: tuple[Beside, ...] = ()

    @property
    def held_by(self) -> tuple[str, ...]:
        """Clusters whose media nodes hold the account: its own, then those of services that stand apart, and where it
        moves from or to. (One that takes over for a whole cluster holds what that one holds.)"""
        apart = {name for one in self.services for name in (one.cluster, one.overflow) if name}
        apart |= {one.cluster for one in self.beside}
        return (self.cluster, *sorted(apart - {self.cluster}))

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
    """A server. `state` (enabled, draining, disabled) is operational and not compiled here. Phones are told
    `public_address` of an edge, None: `address`; `tls_port` None: no TLS."""

    name: str
    kind: str  # edge | media
    group: str  # cluster of a media node, device group of an edge
    address: str
    sip_port: int
    weight: int
    public_address: str | None = None
    tls_port: int | None = None


@dataclass(frozen=True, slots=True)
class EmergencyNumber:
    """A number that no limit or block stops, and the trunks to try, in order."""

    country: str
    number: str
    trunks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class System:
    """What all accounts share. `overflows`: clusters, each with the one that takes over when it cannot."""

    zone: str
    nodes: tuple[Node, ...] = ()
    clusters: tuple[str, ...] = ()
    overflows: tuple[tuple[str, str], ...] = ()
    countries: tuple[str, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    routes: tuple[Route, ...] = ()
    emergency: tuple[EmergencyNumber, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
