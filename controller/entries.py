"""Entries: what a revision changes and a node holds.

An entry is one key with one value in one table of one kind of node. `scope` says which nodes of that
kind hold it: `*` for all of them, else a cluster (media) or a device group (edge). Entries are plain
tuples on purpose: a compile from nothing makes millions of them.
"""

from __future__ import annotations

import enum
import hashlib
import zlib
from collections.abc import Iterable
from typing import NamedTuple


class Kind(enum.StrEnum):
    """Kind of node."""

    EDGE = "edge"
    MEDIA = "media"


class State(enum.StrEnum):
    """Class of state: configuration waits for `apply`, operational state is live at commit."""

    CONFIGURATION = "configuration"
    OPERATIONAL = "operational"


EVERYWHERE = "*"


def server_id(edge: str) -> int:
    """What an edge of that name writes into contacts that are at home there: 1 to 2^31 - 1."""
    return zlib.crc32(edge.encode()) % 0x7FFFFFFF + 1


class Address(NamedTuple):
    """Where an entry stands: unique in the whole installation."""

    kind: str
    scope: str
    table: str
    key: str


class Entry(NamedTuple):
    """One key with its value. `account` names the account it was compiled for, None for shared ones."""

    address: Address
    value: str
    account: str | None = None


class Change(NamedTuple):
    """One entry created (old is None), updated, or deleted (new is None)."""

    address: Address
    old: str | None
    new: str | None
    account: str | None
    reason: str

    @property
    def verb(self) -> str:
        """`create`, `update` or `delete`."""
        if self.old is None:
            return "create"
        return "delete" if self.new is None else "update"


class Cursor(NamedTuple):
    """How far the change log is accounted for: the greatest id seen, and which transactions were."""

    position: int
    snapshot: str


def change_digest(change: Change) -> int:
    """SHA-256 of one change as a number: parts in order, each ended and marked as present or absent."""
    (kind, scope, table, key), old, new, *_ = change
    before = "\0" if old is None else f"\1{old}\0"
    after = "\0" if new is None else f"\1{new}\0"
    # Millions of times in a compile from nothing: one text, one hash.
    said = f"\1{kind}\0\1{scope}\0\1{table}\0\1{key}\0{before}{after}"
    return int.from_bytes(hashlib.sha256(said.encode()).digest(), "big")


def digest(changes: Iterable[Change]) -> str:
    """Digest (64 hex digits) of a set of changes: the sum of each one's, so order does not matter."""
    return f"{sum(map(change_digest, changes)) % (1 << 256):064x}"
