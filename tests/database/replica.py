"""A physical standby of the tests' PostgreSQL: copied by pg_basebackup, fed by streaming, read only until promoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo


class Replica:
    """Of the whole server that `url` leads to. Binaries and system user are those of the primary."""

    def __init__(self, url: str) -> None:
        self._primary = url
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT setting, current_setting('data_directory') FROM pg_config WHERE name = 'BINDIR'"
            ).fetchone()
        assert found is not None
        self._programs, data = Path(found[0]), Path(found[1])
        self._owner = data.stat()
        # Beside the primary's, which is in memory where there is room.
        self.socket_dir = Path(tempfile.mkdtemp(prefix="dialplane-replica-", dir=data.parents[1]))
        self._data = self.socket_dir / "data"
        self._chown(self.socket_dir)
        self.socket_dir.chmod(0o755)
        try:
            self._do(
                "pg_basebackup", "-D", self._data, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", url
            )
            self._start()
        except BaseException:
            self.remove()
            raise

    def _start(self) -> None:
        self._do("pg_ctl", "-w", "-D", self._data, "-l", self.socket_dir / "log", "-o", f'-h "" -k {self.socket_dir}',
                 "start")  # fmt: skip

    def _stop(self) -> None:
        self._do("pg_ctl", "-w", "-D", self._data, "-m", "immediate", "stop")

    def _chown(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._owner.st_uid, self._owner.st_gid)

    def _do(self, program: str, *words: object) -> None:
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = {"user": self._owner.st_uid, "group": self._owner.st_gid, "extra_groups": []}
        # A file and not a pipe: the server that pg_ctl starts would hold it open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [self._programs / program, *map(str, words)], check=False, stdin=subprocess.DEVNULL, stdout=said,
                stderr=said, timeout=60, cwd="/", **who,
            )  # fmt: skip
            if done.returncode:
                said.seek(0)
                log = self.socket_dir / "log"
                more = log.read_text() if log.exists() else ""
                raise RuntimeError(f"{program}: {said.read().decode()}\n{more}")

    @property
    def url(self) -> str:
        """The same database as the primary's URL, here."""
        return make_conninfo(self._primary, host=str(self.socket_dir))

    def caught_up(self, limit_s: float = 10) -> None:
        """Return when all is here that the primary has written by now."""
        with psycopg.connect(self._primary, autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            # Tests do not wait for the disk: have it written now.
            connection.execute("SET synchronous_commit = on")
            connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
        assert row is not None
        ends = time.monotonic() + limit_s
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (
                True,
            ):
                assert time.monotonic() < ends, "the replica does not follow"
                time.sleep(0.01)

    def cut_off(self) -> None:
        """It loses its primary, and does not find it again."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
            connection.execute("SELECT pg_reload_conf()")
            ends = time.monotonic() + 10
            while connection.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone() != (0,):
                assert time.monotonic() < ends, "it still hears of its primary"
                time.sleep(0.05)

    def promote(self) -> None:
        """It becomes a primary of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)

    def restart(self) -> None:
        """It falls over and comes up again."""
        self._stop()
        self._start()

    def remove(self) -> None:
        """Stop it, and remove all of it."""
        if (self._data / "postmaster.pid").exists():
            self._stop()
        shutil.rmtree(self.socket_dir)
