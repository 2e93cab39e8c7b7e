"""What happens to a call, decided on entries as the nodes hold them, with a reason for each step. Pure.

The edge script and the dialplan act on entries; `explain` walks the same entries by the same rules, so what it says
is what the published revision does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from controller.policy.model import Snapshot
    from controller.tiers.pick import Condition, Node


class Step(NamedTuple):
    """One step of a decision: where it is taken, what is decided, and why. `under`: conditions it stands under."""

    where: str
    what: str
    why: str
    under: int = 0


class Entries(Protocol):
    """What nodes hold."""

    def edge(self, table: str, key: str) -> str | None:
        """Value in a table of the edges."""

    def media(self, cluster: str) -> Sequence[tuple[Node, Condition]]:
        """Media nodes of a cluster, by name, and what follows for new calls from their rows and reports."""

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        """A whole context as the media nodes of a cluster hold it: extension -> value."""

    def mailbox(self, cluster: str, key: str) -> str | None:
        """A mailbox as the media nodes of a cluster hold it."""

    def snapshot(self, cluster: str, account: str) -> Snapshot:
        """What decisions about calls of an account look at, with what holds at `now`."""

    @property
    def now(self) -> datetime:
        """The moment in question, aware."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it comes in: from a device (`device@domain`), or by a trunk (its name) with `caller` as its number.

    `headers`: of the INVITE; `call_id`: what is drawn by lot is drawn of it.
    """

    called: str
    device: str | None = None
    trunk: str | None = None
    source: str | None = None
    caller: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    call_id: str = ""
