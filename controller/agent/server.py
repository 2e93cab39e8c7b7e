"""What an agent needs of the server beside it: one Protocol, two servers (`edge.py`, `media.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from controller.agent.state import Wanted

Failures = dict[tuple[str, str], str]
"""(table, key) -> why the server did not take it."""


class Slice(NamedTuple):
    """A part of a table that is compared in one go: what is meant and what is there."""

    meant: dict[str, str]
    found: dict[str, str | None]


class Coverage(NamedTuple):
    """How much of a server too big to be listed in one comparison was: contexts, and comparisons until all were."""

    listed: int
    total: int
    more: int


class Running(NamedTuple):
    """A server that answers: a mark that changes when it restarts, and how many calls are up on it."""

    started: str
    calls: int


class Server(Protocol):
    """A running server. Every method raises NodeUnreachable when it does not answer, and may then be repeated."""

    kind: str
    tables: tuple[str, ...]

    async def running(self) -> Running:
        """Whether it is the same server still, and what it carries."""
        ...

    async def read(self, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        """What the running server holds under these keys, None: nothing."""
        ...

    async def apply(self, wanted: Sequence[Wanted]) -> Failures:
        """Make the running server hold this. Idempotent. What it refused, by key; the rest is done."""
        ...

    async def slice(self, table: str, after: str) -> tuple[Slice, str | None]:
        """The next part of a table to compare, from `after` on ("" at first), and where to go on (None: the end).

        `found` also has keys nobody meant, where the server can be asked for them.
        """
        ...

    async def surplus(self, table: str) -> int:
        """Keys the server holds beyond those meant, where slices cannot show them; 0 otherwise."""
        ...

    def coverage(self) -> Coverage | None:
        """What the last comparison listed, if it could not list everything."""
        ...

    async def fill(self) -> None:
        """The state file holds a new snapshot: take it over in bulk where the server can. A comparison follows."""
        ...

    async def refill(self, table: str) -> str | None:
        """Let the server read the whole table anew from the state file; a sentence if it would not."""
        ...

    async def close(self) -> None:
        """Let go of the server."""
        ...
