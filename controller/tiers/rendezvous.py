"""Weighted rendezvous hashing: which cluster an account, or which device group a device, would be put in.

Each place scores the key by a hash of both names, and the highest score has it (D. G. Thaler and C. V. Ravishankar,
"Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on Networking 6(1), 1998). Weights go in as
`-weight / ln(u)`, `u` being the hash as a number between 0 and 1: the logarithmic method of C. Schindelhauer and
G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005. So each place has its share by weight, and a place that
comes, goes or gets another weight moves keys to or from itself only, never between two others.

It proposes; rows decide. The hash is made of names alone: the same on every machine and in every version of Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import log

from controller.errors import InputError

_MASK = (1 << 64) - 1


def digest(name: str) -> int:
    """64 bits of a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def mixed(key: int, place: int) -> int:
    """64 bits of two digests: the finaliser of splitmix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014)."""
    x = key ^ place
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def score(key: int, place: int, weight: float) -> float:
    """How much a place of that weight wants the key; both as digests. Above 0."""
    # The upper 53 bits as a number strictly between 0 and 1.
    return -weight / log(((mixed(key, place) >> 11) + 0.5) / (1 << 53))


def ranked(key: str, weights: Mapping[str, float]) -> list[str]:
    """The places with a weight above 0, the one that has the key first; then who would have it without that one."""
    own = digest(key)
    scores = [(-score(own, digest(name), weight), name) for name, weight in weights.items() if weight > 0]
    return [name for _, name in sorted(scores)]


def place(key: str, weights: Mapping[str, float]) -> str:
    """The place that has the key.

    Raises:
        InputError: no place has a weight above 0.
    """
    order = ranked(key, weights)
    if not order:
        raise InputError(
            f"{key}: nowhere to put it; no cluster or group has an enabled node with a weight above 0"
        )
    return order[0]
