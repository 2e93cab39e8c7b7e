"""Messages that an edge has accepted: its SQLite file (kamailio/messages.sql), read and emptied by the agent beside it.

A row is removed only when PostgreSQL has it for good. A row that cannot be read is shipped as a message that
failed, for a person to see, and keeps no other waiting.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from controller.calls.facts import readable
from controller.errors import NodeRefused

log = logging.getLogger("dialplane.messages")

# Rows shipped in one transaction.
BATCH = 200
_EXPIRES_S = 7 * 86_400
_DEFAULT_TYPE = "text/plain"
#: Columns that files of before have not.
LATER = ("source", "agent")
# By name: a file of an edge that is not yet installed again has fewer columns.
_READ = "SELECT * FROM message ORDER BY rowid LIMIT ?"


class Accepted(NamedTuple):
    """A row of the file. `source`, `agent`: of the phone that wrote it; `bad`: what cannot be read in it, or empty."""

    id: UUID
    at: dt.datetime
    account: str
    sender: str
    user: str
    called: str
    target: str
    why: str
    expires_at: dt.datetime
    content_type: str
    body: bytes
    source: str = ""
    agent: str = ""
    bad: str = ""


class Outbox:
    """The file of one edge. One thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None
        self._inode = 0
        self._seen = -1

    def changed(self) -> bool:
        """Whether somebody wrote the file since this was asked last. NodeRefused: it cannot be read."""
        with self._open() as file:
            version = int(file.execute("PRAGMA data_version").fetchone()[0])
        changed, self._seen = version != self._seen, version
        return changed

    def batch(self) -> list[Accepted]:
        """The oldest rows, at most BATCH. NodeRefused: the file cannot be read."""
        with self._open() as file:
            rows = file.execute(_READ, (BATCH,))
            names = [column[0] for column in rows.description]
            return [_accepted(dict(zip(names, row, strict=True))) for row in rows]

    def shipped(self, ids: Sequence[UUID]) -> None:
        """PostgreSQL has these. NodeRefused: they stay, and are shipped again, which changes nothing."""
        with self._open() as file:
            file.executemany("DELETE FROM message WHERE id = ?", [(str(one),) for one in ids])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            inode = self._path.stat().st_ino
            if self._file is None or inode != self._inode:
                self.close()
                self._file = sqlite3.connect(
                    f"{self._path.absolute().as_uri()}?mode=rw",
                    uri=True,
                    timeout=5,
                    check_same_thread=False,
                    isolation_level=None,
                )
                self._file.execute("PRAGMA synchronous = NORMAL")
                self._inode, self._seen = inode, -1
                self._complete(self._file)
            self._file.execute("BEGIN")
            try:
                yield self._file
            finally:
                self._file.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self.close()
            said = getattr(error, "strerror", None) or str(error)
            raise NodeRefused(
                f"messages of the edge, {self._path}: {said}; `dialplane agent install edge` makes that file, and the"
                " agent must be able to write it and beside it (a group in common with Kamailio); is it elsewhere"
                " (messages, DIALPLANE_MESSAGES)?"
            ) from None

    def _complete(self, file: sqlite3.Connection) -> None:
        """An edge whose script is newer than its file accepts nothing: somebody has to know why."""
        known = {row[1] for row in file.execute("PRAGMA table_info(message)")}
        if known and (lacking := [one for one in LATER if one not in known]):
            log.error(
                "%s lacks the columns %s: the edge refuses messages of phones (503, reason disk) once it runs its"
                " present script; `dialplane agent install edge` as at installation adds them",
                self._path, ", ".join(lacking),
            )  # fmt: skip


def _accepted(row: Mapping[str, Any]) -> Accepted:
    at = dt.datetime.fromtimestamp(int(row["ms"]) / 1000, dt.UTC)
    longest_s, bad = int(row["expires"]), ""
    try:
        content_type = base64.b64decode(str(row["type"]), validate=True).decode()
        text = base64.b64decode(str(row["body"]), validate=True)
        if not content_type.isprintable():
            content_type, bad = _DEFAULT_TYPE, "cannot be read: Content-Type has a control character"
    except (binascii.Error, ValueError) as error:
        content_type, text, bad = _DEFAULT_TYPE, b"", f"cannot be read: {error}"
    return Accepted(
        id=UUID(row["id"]),
        at=at,
        account=str(row["account"]),
        sender=str(row["device"]),
        user=str(row["user"]),
        called=str(row["called"]),
        target=str(row["target"]),
        why=str(row["why"]),
        expires_at=at + dt.timedelta(seconds=min(longest_s, _EXPIRES_S) if longest_s >= 0 else _EXPIRES_S),
        content_type=content_type or _DEFAULT_TYPE,
        body=text,
        source=str(row.get("source", "")),
        agent=readable(str(row.get("agent", ""))),
        bad=bad,
    )
