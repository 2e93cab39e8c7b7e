"""What a node holds of an account, from the agent's state file: read only, kept until the file changes.

The agent writes the file in WAL mode, so reading it never waits for a writer. `PRAGMA data_version` says whether
somebody committed since; asking costs microseconds. An account whose rows are the same afterwards is not parsed again.
A file that is missing, locked, replaced or broken is a StateError now, and is looked at anew by the next call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sqlite3
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from controller.errors import StateError
from controller.policy import snapshot as policy
from controller.queues import model as queues

# Accounts kept parsed; the one not asked for longest goes first.
_KEPT = 5_000
# A server that recovers the file's log holds it for moments only.
_LOCKED_S = 0.2
_FLAGS = ("away", "dnd", "override")
_READ = "SELECT key, value FROM entry WHERE tbl = ? AND key >= ? AND key < ?"


class Version(NamedTuple):
    """What the file was when it was read: of another file, and of each opening, the numbers say nothing."""

    inode: tuple[int, int]
    opening: int
    number: int


class Held(NamedTuple):
    """An account. `watched`: AORs whose registrations its rules look at; `queues`: its queues."""

    snapshot: policy.Snapshot
    watched: tuple[str, ...]
    queues: queues.Setup


class _Kept(NamedTuple):
    version: Version | None
    digest: bytes
    held: Held


class Entries:
    """The state file, for one event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._probe: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._opening = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_Kept]] = {}

    async def account(self, name: str) -> Held:
        """The account as it is now. StateError: the file cannot be read. BadPolicy: an entry cannot be."""
        version = self._version()
        kept = self._kept.get(name)
        if kept is None or version is None or kept.version != version:
            kept = await self._load(name, version)
        # Who asks just when it is loaded has it a moment before it is kept.
        if name in self._kept:
            self._kept.move_to_end(name)
        return kept.held

    def close(self) -> None:
        """Close the file."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def _version(self) -> Version | None:
        """None: the file is locked just now."""
        try:
            stat = self.path.stat()
            inode = (stat.st_dev, stat.st_ino)
            if self._probe is None or inode != self._inode:
                self.close()
                self._probe = self._open(0)
                self._inode, self._opening = inode, self._opening + 1
            (number,) = self._probe.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError as error:
            self.close()
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise self._failed(error) from None
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._failed(error) from None
        return Version(self._inode, self._opening, number)

    async def _load(self, name: str, version: Version | None) -> _Kept:
        """In a thread, once however many ask; whoever stops waiting leaves the result to the next."""
        task = self._loading.get(name)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._read, name, version, self._kept.get(name)))
            self._loading[name] = task
            task.add_done_callback(lambda done: self._loaded(name, done))
        return await asyncio.shield(task)

    def _loaded(self, name: str, task: asyncio.Task[_Kept]) -> None:
        del self._loading[name]
        if task.cancelled() or task.exception() is not None:
            self._kept.pop(name, None)
            return
        self._kept[name] = task.result()
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _read(self, name: str, version: Version | None, before: _Kept | None) -> _Kept:
        try:
            with closing(self._open(_LOCKED_S)) as db:
                db.execute("BEGIN")
                entries = _rows(db, "policy", name)
                flags = {
                    key: value
                    for family in _FLAGS
                    for key, value in _rows(db, "flag", f"{family}/{name}").items()
                }
        except sqlite3.Error as error:
            raise self._failed(error) from None
        digest = hashlib.blake2b(repr((entries, flags)).encode(errors="replace")).digest()
        if before is not None and before.digest == digest:
            return before._replace(version=version)
        found = policy.snapshot(name, entries, policy.live(name, flags))
        return _Kept(
            version,
            digest,
            Held(
                found,
                watched(found),
                queues.Setup(name, found.queues, {user: one.devices for user, one in found.users.items()}),
            ),
        )

    def _open(self, timeout_s: float) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=timeout_s,
        )

    def _failed(self, error: Exception) -> StateError:
        said = getattr(error, "strerror", None) or str(error)
        return StateError(
            f"state file {self.path}: {said}; the agent of this node makes it (dialplane agent prepare); the user of"
            " this process must be able to write beside it"
        )


def watched(account: policy.Snapshot) -> tuple[str, ...]:
    """AORs of the users whose devices some rule counts."""
    conditions = [rule.condition for one in account.policies.values() for rule in one.rules]
    users = {
        one.user
        for one in conditions
        if one.presence in ("registered", "unregistered")
        or (one.min_devices, one.max_devices) != (None, None)
    }
    return tuple(
        sorted({aor for user in users if user in account.users for aor in account.users[user].devices})
    )


def with_live(account: policy.Snapshot, **live: Any) -> policy.Snapshot:
    """The account with what is not in the file: fields of `Live`."""
    return dataclasses.replace(account, live=dataclasses.replace(account.live, **live))


def _rows(db: sqlite3.Connection, table: str, prefix: str) -> dict[str, str]:
    """Entries whose key begins with `prefix/` (`0` follows `/`)."""
    return dict(db.execute(_READ, (table, f"{prefix}/", f"{prefix}0")))
