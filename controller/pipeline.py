"""The way of a change, read top to bottom: rows -> snapshots -> entries -> plan -> revision -> nodes.

make_plan     reads what changed since the last revision, compiles it, compares with what is published
make_rollback the plan that restores an earlier revision
publish       exactly the plan that was shown becomes the next revision
(agents carry it to the servers; revision/wait.py watches them)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection, IsolationLevel

from controller.compiler import compile_account, compile_system
from controller.desired import read
from controller.entries import Change
from controller.errors import InputError, UnsafePlan
from controller.plan import Plan
from controller.plan.difference import difference, index
from controller.plan.notes import notes
from controller.plan.reasons import reason
from controller.plan.safety import dangers
from controller.revision import store

# Accounts compiled and compared at a time: bounds memory, keeps the number of statements small.
BATCH = 500


def make_plan(connection: Connection[Any], *, everything: bool = False, with_held: bool = True) -> Plan:
    """Compare the rows with what is published.

    Only accounts touched since the last configuration revision are read, or every one with `everything`.
    Accounts held back by a rollback are part of it unless `with_held` is False.
    Raises BadRows when rows contradict each other.
    """
    with _one_picture(connection):
        base = store.base(connection)
        touched = read.touched(connection, everything=everything or base == 0, with_held=with_held)
        system = read.system(connection)
        changes: list[Change] = []
        if touched.system:
            changes += difference(index(compile_system(system)), store.published(connection, [None]))
        for names in _batches(touched.accounts, BATCH):
            wanted = index(
                entry
                for account in read.accounts(connection, names)
                for entry in compile_account(account, system)
            )
            changes += difference(wanted, store.published(connection, names))
        nodes = {node.name: (node.kind, node.group) for node in system.nodes}
        return Plan(
            base=base,
            changes=tuple(changes),
            cursor=touched.cursor,
            nodes=nodes,
            dangers=dangers(changes, _counts(connection, changes)),
            notes=notes(system),
            held=touched.held,
        )


def make_rollback(connection: Connection[Any], to: int) -> Plan:
    """The plan that gives every configuration entry the value it had in revision `to`.

    The rows stay as they are: the accounts it touches are held back until their rows change again or somebody
    applies them. Raises InputError when there is no such revision.
    """
    with _one_picture(connection):
        base = store.base(connection)
        if to > base or (to != 0 and store.one(connection, to) is None):
            raise InputError(
                f"there is no revision {to} to go back to; the newest is {base} (dialplane history)"
            )
        then = store.entries_before(connection, to)
        now = store.current(connection, list(then))
        changes = []
        for address, (value, account) in then.items():
            entry = now.get(address)
            before = entry.value if entry else None
            if before != value:
                changes.append(Change(address, before, value, account, reason(address, before, value)))
        system = read.system(connection)
        return Plan(
            base=base,
            changes=tuple(changes),
            cursor=None,
            nodes={node.name: (node.kind, node.group) for node in system.nodes},
            dangers=dangers(changes, _counts(connection, changes)),
            rolls_back=to,
        )


def publish(
    connection: Connection[Any], plan: Plan, *, author: str, reason: str, unsafe_reason: str | None = None
) -> int:
    """Make the plan the next revision and return its number; agents hear of it at commit.

    Raises UnsafePlan when the plan has dangers and no reason was given to accept them, StalePlan when the
    published state is no longer the one the plan was made on.
    """
    if plan.dangers and not unsafe_reason:
        raise UnsafePlan(
            "refused as unsafe:\n  "
            + "\n  ".join(danger.sentence for danger in plan.dangers)
            + '\nif this is meant, say why: --allow-unsafe "reason"'
        )
    touched = sorted({change.account or "" for change in plan.changes})
    return store.publish(
        connection,
        plan.changes,
        on_base=plan.base,
        digest=plan.digest,
        cursor=plan.cursor,
        author=author,
        reason=reason,
        unsafe_reason=unsafe_reason,
        rolls_back=plan.rolls_back,
        hold=touched if plan.rolls_back is not None else [],
        release=plan.held,
    )


class _one_picture:  # noqa: N801
    """A read-only transaction in which every statement sees the same rows."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.commit()
        self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.isolation_level = None
        self._connection.read_only = None


def _batches(names: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(names)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _counts(connection: Connection[Any], changes: Iterable[Change]) -> dict[tuple[str, str], int]:
    tables = {(change.address.kind, change.address.table) for change in changes if change.new is None}
    return store.counts(connection, tables)
