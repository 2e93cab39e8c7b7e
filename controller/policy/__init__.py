"""What happens to a call, decided on entries as the nodes hold them, with a reason for each step. Pure.

The edge script and the dialplan act on entries; `explain` walks the same entries by the same rules, so what it says
is what the published revision does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Step(NamedTuple):
    """One step of a decision: where it is taken, what is decided, and why."""

    where: str
    what: str
    why: str


class Entries(Protocol):
    """What nodes hold."""

    def edge(self, table: str, key: str) -> str | None:
        """Value in a table of the edges."""

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        """A whole context as the media nodes of a cluster hold it: extension -> value."""

    def mailbox(self, cluster: str, key: str) -> str | None:
        """A mailbox as the media nodes of a cluster hold it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it comes in: from a device (`device@domain`), or by a trunk (its name)."""

    called: str
    device: str | None = None
    trunk: str | None = None
    source: str | None = None
