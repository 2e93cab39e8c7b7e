"""The real AGI server for the media node of these tests, with a real PostgreSQL: what queues need.

The process runs on this machine; something in the network of the node hands connections to 127.0.0.1:4573 on to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from controller.compiler.policy import account_entries
from controller.desired.model import Account
from tests.media.node import MediaNode

_T = TypeVar("_T")
LIMIT_S = 40.0
_RELAY = """
import os, socket, threading
folder = "/var/spool/dialplane/calls/"
listener = socket.create_server(("127.0.0.1", 4573), backlog=1024)
open(folder + "relay.pid", "w").write(str(os.getpid()))
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
while True:
    client, _ = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(folder + "agi.sock")
    except OSError:
        client.close()
        continue
    for one in ((client, server), (server, client)):
        threading.Thread(target=pump, args=one, daemon=True).start()
"""


class Resident:
    """`dialplane agi serve` of the node, as a process that can be killed, frozen and started again."""

    def __init__(self, media: MediaNode, database: str) -> None:
        self._media = media
        self.database = database
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self._door = socket.socket(socket.AF_UNIX)

    def hold(self, policies: dict[str, str]) -> None:
        """Entries of table `policy`, as the agent writes them."""
        with sqlite3.connect(self._media.state / "state.db", timeout=30) as file:
            file.execute("DELETE FROM entry WHERE tbl = 'policy'")
            file.executemany(
                "INSERT INTO entry (tbl, key, value, revision) VALUES ('policy', ?, ?, 1)", policies.items()
            )
        file.close()

    def open(self) -> None:
        """The way from the node to this machine."""
        path = self._media.spool / "agi.sock"
        path.unlink(missing_ok=True)
        self._door.bind(str(path))
        path.chmod(0o777)
        self._door.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()
        (self._media.spool / "relay.py").write_text(_RELAY)
        command = ["docker", "exec", "-d", self._media.name, "python3", "/var/spool/dialplane/calls/relay.py"]
        subprocess.run(command, check=True, timeout=60)
        awaited((self._media.spool / "relay.pid").exists, "the relay does not start")

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self._door.close()
        self._media.sh(f"kill -9 {(self._media.spool / 'relay.pid').read_text()}")
        (self._media.spool / "relay.pid").unlink()

    def start(self) -> None:
        """Start the server; it answers."""
        environment = os.environ | {
            "DIALPLANE_NODE": "media1",
            "DIALPLANE_KIND": "media",
            "DIALPLANE_DATABASE": self.database,
            "DIALPLANE_STATE": str(self._media.state),
        }
        self._process = subprocess.Popen(
            [Path(sys.executable).parent / "dialplane", "agi", "serve", "--port", str(self.port)],
            env=environment,
        )

        def listens() -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", self.port)) == 0

        awaited(listens, "the AGI server does not start")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal; but for SIGSTOP and SIGCONT, until it has ended."""
        if self._process is None:
            return
        self._process.send_signal(number)
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(LIMIT_S)
            self._process = None

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = socket.socket()
            if server.connect_ex(("127.0.0.1", self.port)):
                client.close()
                continue
            for one in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=one, daemon=True).start()


@contextlib.contextmanager
def residing(media: MediaNode, account: Account, database: str) -> Iterator[Resident]:
    """Decides calls of the account while it lasts."""
    server = Resident(media, database)
    server.hold({one.address.key: one.value for one in account_entries(account)})
    server.open()
    try:
        server.start()
        yield server
    finally:
        server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, sink):
            # Closing alone would not end it: another thread still reads there.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def awaited(found: Callable[[], _T], what: str, limit_s: float = LIMIT_S) -> _T:
    """What `found` gives once it is true."""
    end = time.monotonic() + limit_s
    while not (it := found()):
        assert time.monotonic() < end, f"{what} ({limit_s:g} s)"
        time.sleep(0.05)
    return it
