"""Room 2: what each node must hold. Pure: a snapshot in, entries out."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler import edge, media, policy
from controller.desired.model import Account, System
from controller.entries import Entry


def compile_account(account: Account, system: System) -> Iterator[Entry]:
    """Every configuration entry of one account, on edges and media nodes."""
    account = policy.with_identities(account)
    yield from edge.account_entries(account)
    yield from media.account_entries(account, system)
    yield from policy.account_entries(account)


def compile_system(system: System) -> Iterator[Entry]:
    """Every configuration entry that all accounts share."""
    yield from edge.system_entries(system)
    yield from media.system_entries(system)
