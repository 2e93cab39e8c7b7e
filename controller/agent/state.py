"""The node's last good state: one SQLite file, which the servers also read at their own start.

WAL with synchronous=NORMAL: a killed process loses nothing, a power cut may lose the last transactions, whole
ones, together with the revision they belong to. Then the agent catches up from there.

`meta` names: `held` (revision of the entries), `digest` (of that revision), `live` (revision last read back from the
server), `group` (of nodes), `unverified` (present: the server must be
compared in full before `held` is live), `doubts` (how often that was set),
`repaired` (count since installation), `touched` (count of tries after a failure), `base` (fingerprints of the
fixed files, JSON).
"""

from __future__ import annotations

import grp
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from controller.agent.values import lines, mailbox, split_context
from controller.catalog import TABLES
from controller.entries import Kind
from controller.errors import StateError

# What db_sqlite's users of Kamailio 6.1 ask of their tables (`db_check_table_version`).
_HTABLE_VERSION, _UACREG_VERSION = 2, 5
_HTABLES = tuple(name for kind, name in TABLES if kind == Kind.EDGE and name != "registration")
_CHUNK = 20_000


class Wanted(NamedTuple):
    """What a key must hold; value None: nothing."""

    table: str
    key: str
    value: str | None


class State:
    """The file. Methods may be called from any thread, one at a time; those that write raise StateError."""

    def __init__(self, path: Path, *, group: str | None = None) -> None:
        """Open, or make, `path`; `group` is the Unix group of the server that reads it."""
        self.path = path
        # Why the last transaction failed; None: it did not.
        self.failure: str | None = None
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            # Before SQLite makes it: its own mode would not let the server's user in.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o660))
            path.chmod(0o660)
            if group is not None:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
                self._db.execute(f"PRAGMA {pragma}")
            self._make()
        except sqlite3.OperationalError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file, once a thread that is still reading it is done."""
        with self._lock:
            self._db.close()

    def _make(self) -> None:
        script = Path(__file__).with_name("schema.sql").read_text()
        with self._transaction() as db:
            for statement in script.split(";\n"):
                db.execute(statement)
            for table in _HTABLES:
                db.execute(f"DROP VIEW IF EXISTS ht_{table}")
                db.execute(
                    f"CREATE VIEW ht_{table} AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type,"
                    f" value AS key_value, 0 AS expires FROM entry WHERE tbl = '{table}'"
                )
            db.execute("DROP VIEW IF EXISTS uacreg")
            db.execute(_UACREG)
            db.executemany(
                "INSERT OR REPLACE INTO version VALUES (?, ?)",
                [(f"ht_{table}", _HTABLE_VERSION) for table in _HTABLES] + [("uacreg", _UACREG_VERSION)],
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                # After some failures SQLite has done that by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise self._failed(error) from error
                raise
            self.failure = None

    def _failed(self, error: sqlite3.OperationalError) -> StateError:
        self.failure = (
            f"state file {self.path}: {error}; what it held before stays. Make room on its disk"
            f" (df {self.path.parent}), or let the agent's user write there: it tries again by itself"
        )
        return StateError(self.failure)

    # --- what is held ---------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """A value of `meta`."""
        row = self._one("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def put(self, **values: str | int | None) -> None:
        """Set values of `meta`; None removes."""
        with self._transaction() as db:
            _put(db, values)

    def touch(self) -> None:
        """Write something; StateError when that still fails."""
        self.put(touched=int(self.get("touched") or 0) + 1)

    def held(self) -> int:
        """Revision of the entries; 0: none yet."""
        return int(self.get("held") or 0)

    def live(self) -> int:
        """Revision last shown to be on the server."""
        return int(self.get("live") or 0)

    def value(self, table: str, key: str) -> str | None:
        """The value meant for a key."""
        row = self._one("SELECT value FROM entry WHERE tbl = ? AND key = ?", (table, key))
        return None if row is None else str(row[0])

    def values(self, table: str, keys: Iterable[str]) -> dict[str, str | None]:
        """The values meant for some keys."""
        return {key: self.value(table, key) for key in keys}

    def count(self, table: str) -> int:
        """How many keys a table holds."""
        row = self._one("SELECT count(*) FROM entry WHERE tbl = ?", (table,))
        return 0 if row is None else int(row[0])

    def page(self, table: str, after: str, size: int) -> dict[str, str]:
        """The next `size` keys of a table after `after`, in order, with their values."""
        return dict(
            self._all(
                "SELECT key, value FROM entry WHERE tbl = ? AND key > ? ORDER BY key LIMIT ?",
                (table, after, size),
            )
        )

    def contexts(self) -> list[str]:
        """Names of the dialplan contexts that hold an extension, in order."""
        return [str(row[0]) for row in self._all("SELECT DISTINCT context FROM line ORDER BY context", ())]

    def line_count(self) -> int:
        """How many dialplan lines there are."""
        row = self._one("SELECT count(*) FROM line", ())
        return 0 if row is None else int(row[0])

    def context(self, name: str) -> dict[str, str]:
        """The dialplan entries of one context."""
        return dict(
            self._all(
                "SELECT key, value FROM entry WHERE tbl = 'dialplan' AND key > ? AND key < ?",
                (f"{name}/", f"{name}0"),
            )
        )

    def box(self, name: str, context: str) -> tuple[str, ...] | None:
        """A mailbox as app_voicemail finds it."""
        return self._one(
            "SELECT mailbox, context, password, fullname, email, language FROM voicemail"
            " WHERE mailbox = ? AND context = ?",
            (name, context),
        )

    # --- changes ----------------------------------------------------------------------------------

    def stage(self, changes: Sequence[Wanted], revision: int, digest: str = "") -> None:
        """One transaction: entries become those of `revision`, and what the server needs told is pending."""
        with self._transaction() as db:
            for change in changes:
                _set(db, change, revision)
            db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?, ?)", changes)
            _put(db, {"held": revision, "digest": digest})
            _settle(db)

    def load(
        self, entries: Iterable[tuple[str, str, str]], revision: int, digest: str = "", group: str = ""
    ) -> int:
        """Replace everything by a snapshot of `(table, key, value)`; how many. The server is unverified from then on.

        One transaction: a server that starts meanwhile reads all of the old or all of the new.
        """
        count = 0
        with self._transaction() as db:
            for table in ("entry", "line", "box", "pending"):
                db.execute(f"DELETE FROM {table}")
            chunk: list[tuple[str, str, str, int]] = []

            def flush() -> None:
                db.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", chunk)
                for part, insert in _PARTS.items():
                    chosen = [(key, value) for table, key, value, _ in chunk if table == part]
                    for key, value in chosen:
                        insert(db, key, value)
                chunk.clear()

            for table, key, value in entries:
                chunk.append((table, key, value, revision))
                count += 1
                if len(chunk) >= _CHUNK:
                    flush()
            flush()
            # Numbers of another history say nothing: nothing is live until the comparison shows it.
            _put(db, {"held": revision, "digest": digest, "group": group, "live": None})
            _doubt(db, "snapshot")
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return count

    def pending(self, limit: int) -> list[Wanted]:
        """What waits to be done and read back, at most `limit`."""
        return [Wanted(*row) for row in self._all("SELECT tbl, key, value FROM pending LIMIT ?", (limit,))]

    def pending_count(self) -> int:
        """How many operations wait."""
        row = self._one("SELECT count(*) FROM pending", ())
        return 0 if row is None else int(row[0])

    def clear(self, done: Iterable[Wanted]) -> None:
        """These were read back. A key changed again meanwhile stays pending with its newer value."""
        with self._transaction() as db:
            db.executemany("DELETE FROM pending WHERE tbl = ? AND key = ? AND value IS ?", list(done))
            _settle(db)

    def doubt(self, reason: str) -> None:
        """From now on the server must be compared in full before anything newer counts as live."""
        with self._transaction() as db:
            _doubt(db, reason)

    def doubts(self) -> int:
        """How often the server came into doubt: a comparison clears only what stood when it began."""
        return int(self.get("doubts") or 0)

    def verified(self, doubts: int) -> None:
        """The server was compared in full, beginning when `doubts` were counted, and holds what is meant."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM meta WHERE name = 'unverified'"
                " AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'doubts' AND CAST(value AS INTEGER) <> ?)",
                (doubts,),
            )
            _settle(db)

    # --- plumbing -----------------------------------------------------------------------------------

    def _one(self, sql: str, values: tuple[object, ...]) -> tuple[str, ...] | None:
        with self._lock:
            row: tuple[str, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def _all(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


def _put(db: sqlite3.Connection, values: dict[str, str | int | None]) -> None:
    for name, value in values.items():
        if value is None:
            db.execute("DELETE FROM meta WHERE name = ?", (name,))
        else:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(value)))


def _doubt(db: sqlite3.Connection, reason: str) -> None:
    _put(db, {"unverified": reason})
    db.execute(
        "INSERT INTO meta VALUES ('doubts', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )


def _settle(db: sqlite3.Connection) -> None:
    """Nothing pending and nothing in doubt: what is held is live."""
    db.execute(
        "INSERT OR REPLACE INTO meta SELECT 'live', value FROM meta WHERE name = 'held'"
        " AND NOT EXISTS (SELECT 1 FROM pending)"
        " AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'unverified')"
    )


def _set(db: sqlite3.Connection, change: Wanted, revision: int) -> None:
    table, key, value = change
    if value is None:
        db.execute("DELETE FROM entry WHERE tbl = ? AND key = ?", (table, key))
    else:
        db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", (table, key, value, revision))
    if table == "dialplan":
        db.execute("DELETE FROM line WHERE context = ? AND exten = ?", split_context(key))
    elif table == "mailbox":
        db.execute("DELETE FROM box WHERE mailbox = ? AND context = ?", tuple(key.split("@", 1)))
    if value is not None and table in _PARTS:
        _PARTS[table](db, key, value)


def _insert_lines(db: sqlite3.Connection, key: str, value: str) -> None:
    context, extension = split_context(key)
    db.executemany(
        "INSERT INTO line VALUES (?, ?, ?, ?)",
        [
            (context, extension, number, f"{extension},{line.config}")
            for number, line in enumerate(lines(value))
        ],
    )


def _insert_box(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT INTO box VALUES (?, ?, ?, ?, ?, ?)", mailbox(key, value))


_PARTS: dict[str, Callable[[sqlite3.Connection, str, str], None]] = {
    "dialplan": _insert_lines,
    "mailbox": _insert_box,
}


def _pair(name: str, otherwise: str) -> str:
    """SQL that reads the value of `name` from the `name=value` pairs of column `p` (`;a=1;b=2;`)."""
    rest = f"substr(p, instr(p, ';{name}=') + {len(name) + 2})"
    return f"iif(instr(p, ';{name}='), substr({rest}, 1, instr({rest}, ';') - 1), '{otherwise}')"


# Columns of Kamailio's table uacreg; Contact is uac's reg_contact_addr with the trunk's name as its user part.
_UACREG = f"""
CREATE VIEW uacreg AS
SELECT key AS l_uuid, {_pair("user", "")} AS l_username, {_pair("host", "")} AS l_domain,
       {_pair("user", "")} AS r_username, {_pair("host", "")} AS r_domain, {_pair("realm", "")} AS realm,
       {_pair("user", "")} AS auth_username, '' AS auth_password, {_pair("ha1", "")} AS auth_ha1,
       'sip:' || {_pair("host", "")} || ':' || {_pair("port", "5060")}
           || ';transport=' || {_pair("transport", "udp")} AS auth_proxy,
       CAST({_pair("expires", "600")} AS INTEGER) AS expires, 0 AS flags, 0 AS reg_delay,
       '' AS contact_addr, '' AS socket, '' AS contact_user
FROM (SELECT key, ';' || value || ';' AS p FROM entry WHERE tbl = 'registration')"""
