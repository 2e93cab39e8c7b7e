"""One consistent picture of the rows, as the compiler sees it. Frozen, no I/O.

An account's snapshot is small (its own rows); the system's holds what is shared by all accounts.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next: `action` is one of busy, announce, voicemail, extension, number, hangup."""

    action: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """What a dialled extension does. `kind`: user, voicemail, voicemail_main, echo, announcement, number."""

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
class Account:
    """One account with all of its rows."""

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
