"""A message and its deliveries, as decisions see them. Frozen, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

# States of a delivery that are its last, and of those that wait for something.
OVER = frozenset({"delivered", "failed", "expired", "withdrawn"})


@dataclass(frozen=True, slots=True)
class Message:
    """`sender`: AOR of a device, or a number outside; `target`: the one device an edge knew, or empty; `taking`:
    all, or one: until somebody has it; `state`, `way`: as in control.messages."""

    id: UUID
    account: str
    sender: str
    called: str
    way: str = "accepted"
    sender_user: str = ""
    target: str = ""
    content_type: str = "text/plain;charset=UTF-8"
    body: bytes = b""
    taking: str = "all"
    state: str = "accepted"
    shown: str = ""


class Delivery(NamedTuple):
    """Somebody who is to get it. `kind`: device or number; `place`: its turn, where one gets it after the other;
    `purpose`: to, copy; `member`: of a group, or empty; `shown`: the number it comes from, or empty: the sender."""

    kind: str
    address: str
    member: str = ""
    place: int = 0
    purpose: str = "to"
    shown: str = ""


class Routed(NamedTuple):
    """Where a message goes. No deliveries: `reason` says why it fails. `lead`: what `called` means; `shown`: the
    number it carries instead of its sender, or empty; `taking`: all or one."""

    lead: str
    deliveries: tuple[Delivery, ...] = ()
    taking: str = "all"
    shown: str = ""
    reason: str = ""


class Held(NamedTuple):
    """A delivery as it stands: what `settle` looks at."""

    id: int
    purpose: str
    place: int
    state: str
    status: int | None = None
    reason: str = ""


class Outcome(NamedTuple):
    """What an attempt came to. `state`: delivered, failed, away, due (again, after `pause_s`)."""

    state: str
    status: int | None
    reason: str
    pause_s: float = 0.0


class Letter(NamedTuple):
    """What is sent to a phone: what stands in its headers, and the body. `to`: whom it is for; of a copy not who
    gets it; `number`: of the try, which is its CSeq."""

    message: UUID
    delivery: int
    aor: str
    sender: str
    to: str
    content_type: str
    body: bytes
    number: int
    at: datetime
