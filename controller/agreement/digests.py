"""Tables made comparable: each key falls into one of 256 buckets, and a bucket is the sum of its entries' digests.

The same as `control.published_digests` (migration 0340), so that a node's memory and what is published compare without
either being read to the other. A sum changes with every entry, whatever the order. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

BUCKETS = 256
# What says where an account is served, per kind of node. Of a media node's dialplan the one extension that every
# account has there: who holds it holds the account.
TABLES = {"edge": ("account", "service", "overflow", "target", "edge_node"), "media": ("dialplan",)}
_HELD = ("account-", "/:account")


class Digests(NamedTuple):
    """A table: number of entries, and the sum of each bucket."""

    entries: int
    buckets: tuple[int, ...]


def counts(kind: str, table: str, key: str) -> bool:
    """Whether an entry is one of those compared."""
    if table not in TABLES[kind]:
        return False
    return table != "dialplan" or (key.startswith(_HELD[0]) and key.endswith(_HELD[1]))


def account_of(table: str, key: str) -> str | None:
    """The account an entry is about; None: all."""
    if table == "dialplan":
        return key.removeprefix(_HELD[0]).removesuffix(_HELD[1])
    return key.partition("/")[0] if table in ("account", "service") else None


def bucket(key: str) -> int:
    """The bucket of a key, 0 to 255."""
    return hashlib.md5(key.encode(), usedforsecurity=False).digest()[0]


def part(key: str, value: str) -> int:
    """What an entry adds to its bucket: 32 bits."""
    return int.from_bytes(hashlib.md5(f"{key}\n{value}".encode(), usedforsecurity=False).digest()[:4], "big")


def of(entries: Iterable[tuple[str, str]]) -> Digests:
    """Digests of entries (key, value), each key once."""
    count, sums = 0, [0] * BUCKETS
    for key, value in entries:
        count += 1
        sums[bucket(key)] += part(key, value)
    return Digests(count, tuple(sums))


NONE = of(())


def differing(expected: Digests, found: Digests, passed: Iterable[int] = ()) -> list[int]:
    """Buckets whose entries are not the same, but for those `passed` over."""
    apart = set(passed)
    pairs = zip(expected.buckets, found.buckets, strict=True)
    return [number for number, (one, other) in enumerate(pairs) if one != other and number not in apart]
