"""The way of a change, read top to bottom: rows -> snapshots -> entries -> plan -> revision -> nodes.

    make_plan      reads what changed since the last revision, compiles it, compares with what is published
    make_step      the same for one account, in the caller's transaction: a step of a move, with its rows
    make_rollback  the plan that restores an earlier revision
    publish        exactly the plan that was shown becomes the next revision
    (agents carry it to the servers; revision/wait.py watches them)

A plan that touches many accounts is made by several processes that see one snapshot, and its changes lie in
control.staged instead of memory.
"""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from psycopg import Connection, IsolationLevel
from psycopg.conninfo import make_conninfo

from controller.compiler import compile_account, compile_system
from controller.desired import read
from controller.desired.model import System
from controller.entries import Change
from controller.errors import InputError, UnsafePlan
from controller.plan import Plan
from controller.plan.difference import difference, index
from controller.plan.notes import notes
from controller.plan.reasons import reason
from controller.plan.safety import Danger, mass
from controller.plan.summary import KEPT, Summary
from controller.revision import store
from controller.schema.database import connect

# Accounts compiled and compared at a time: bounds memory, keeps the number of statements small.
BATCH = 200
# From so many accounts on, processes share the work and changes are staged.
SHARED_ABOVE = 1_000


def make_plan(connection: Connection[Any], *, everything: bool = False, with_held: bool = True) -> Plan:
    """Compare the rows with what is published.

    Only accounts touched since the last configuration revision are read, or every one with `everything`.
    Accounts held back by a rollback are part of it unless `with_held` is False. Raises BadRows when rows contradict
    each other.
    """
    with OnePicture(connection):
        base = store.base(connection)
        touched = read.touched(connection, everything=everything or base == 0, with_held=with_held)
        system = read.system(connection)
        shared = (
            difference(index(compile_system(system)), store.published(connection, [None]))
            if touched.system
            else ()
        )
        staged = str(uuid.uuid4()) if len(touched.accounts) > SHARED_ABOVE else None
        if staged is None:
            summary = Summary()
            summary.add(shared)
            for changes in _compare(connection, system, touched.accounts):
                summary.add(changes)
        else:
            summary = _shared_out(connection, staged, list(shared), touched.accounts)
        return Plan(
            base=base,
            summary=summary,
            cursor=touched.cursor,
            staged=staged,
            nodes=_nodes(system),
            dangers=_dangers(connection, summary),
            notes=notes(system),
            held=touched.held,
        )


def make_step(connection: Connection[Any], account: str) -> Plan:
    """Compare the rows of one account, as the caller's transaction has changed them, with what is published.

    The caller holds the publishers' lock, and publishes before it commits: nobody ever sees the rows without their
    entries. How much of a table goes is not looked at: it is one account's. Raises BadRows when rows contradict each
    other.
    """
    base = store.base(connection)
    system = read.system(connection)
    summary = Summary()
    for changes in _compare(connection, system, [account]):
        summary.add(changes)
    return Plan(
        base=base,
        summary=summary,
        cursor=None,
        nodes=_nodes(system),
        dangers=tuple(summary.precious),
    )


def make_rollback(connection: Connection[Any], to: int) -> Plan:
    """The plan that gives every configuration entry the value it had in revision `to`.

    The rows stay as they are: the accounts it touches are held back until somebody applies them again. A secret that
    was changed since stays changed: who knows the old one may be why. Raises InputError when there is no such revision.
    """
    with OnePicture(connection):
        base = store.base(connection)
        if to > base or to < 0 or (to != 0 and store.one(connection, to) is None):
            raise InputError(
                f"there is no revision {to} to go back to; the newest is {base} (dialplane history)"
            )
        then = store.entries_before(connection, to)
        now = store.current(connection, list(then))
        summary = Summary()
        for address, (old, account) in then.items():
            before = now[address].value if address in now else None
            value = old
            if address.table == "credential" and before is not None and old is not None:
                value = with_digests(old, before)
            if before != value:
                summary.add([Change(address, before, value, account, reason(address, before, value))])
        system = read.system(connection)
        return Plan(
            base=base,
            summary=summary,
            cursor=None,
            nodes=_nodes(system),
            dangers=_dangers(connection, summary),
            rolls_back=to,
        )


_DIGEST = re.compile(r"(?:^|(?<=;))(md5|sha256)=[0-9a-f]+")


def with_digests(value: str, other: str) -> str:
    """The value of a credential with the digests of another one."""
    held = {found[1]: found[0] for found in _DIGEST.finditer(other)}
    return _DIGEST.sub(lambda found: held.get(found[1], found[0]), value)


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
    return store.publish(connection, plan, author=author, reason=reason, unsafe_reason=unsafe_reason)


def _compare(connection: Connection[Any], system: System, names: Sequence[str]) -> Iterator[list[Change]]:
    """The changes of these accounts, batch by batch."""
    for batch in _batches(names, BATCH):
        wanted = index(
            entry
            for account in read.accounts(connection, batch)
            for entry in compile_account(account, system)
        )
        yield list(difference(wanted, store.published(connection, batch)))


def _shared_out(
    connection: Connection[Any], staged: str, shared: list[Change], names: Sequence[str]
) -> Summary:
    """Compare many accounts in as many processes as there are processors; the changes go to control.staged."""
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    url = make_conninfo(**connection.info.get_parameters(), password=connection.info.password)
    summary = Summary(limit=KEPT)
    workers = os.cpu_count() or 1
    # Shares of about equal size, each of neighbouring names: their rows lie together.
    shares = list(_batches(names, -(-len(names) // (workers * 4))))
    summary.add(shared)
    with connect(url) as writer:
        store.stage(writer, staged, shared)
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(_share, itertools.repeat((url, row[0], staged)), shares):
            summary.merge(part)
    return summary


def _share(where: tuple[str, str, str], names: Sequence[str]) -> Summary:
    """One process's share: compare in the snapshot it is given, write the changes as they come."""
    url, snapshot, staged = where
    summary = Summary(limit=KEPT)
    with connect(url) as reader, connect(url) as writer:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        for changes in _compare(reader, read.system(reader), names):
            summary.add(changes)
            store.stage(writer, staged, changes)
    return summary


class OnePicture:
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


def _nodes(system: System) -> dict[str, tuple[str, frozenset[str]]]:
    """Each node with its kind and the groups whose entries it holds."""
    return {
        node.name: (
            node.kind,
            frozenset({node.group, *(one for one, other in system.overflows if other == node.group)}),
        )
        for node in system.nodes
    }


def _dangers(connection: Connection[Any], summary: Summary) -> tuple[Danger, ...]:
    deletes = {
        (kind, table): count for (kind, table, verb), count in summary.counts.items() if verb == "delete"
    }
    return (*summary.precious, *mass(deletes, store.counts(connection, deletes)))
