"""`dialplane agent names`: what it tells a name server, and when."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from controller.dns import purge
from controller.errors import NodeUnreachable
from controller.wire import pdns

pytestmark = pytest.mark.thorough


class Control:
    """A control socket of PowerDNS that notes what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[float, bytes]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                channel, _ = self._socket.accept()
            except OSError:
                return
            with channel:
                self.told.append((time.monotonic(), channel.recv(100)))
                channel.sendall(b"7")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.path.unlink()

    def wait(self, many: int, limit_s: float = 5) -> float:
        """Until it was told so often; when that was the last time."""
        ends = time.monotonic() + limit_s
        while len(self.told) < many:
            assert time.monotonic() < ends, self.told
            time.sleep(0.005)
        return self.told[many - 1][0]

    def again(self, since: float, limit_s: float = 5) -> None:
        """Until it was told at that time or later."""
        ends = time.monotonic() + limit_s
        while self.told[-1][0] < since:
            assert time.monotonic() < ends, self.told
            time.sleep(0.005)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    found = Control(tmp_path / "pdns.controlsocket")
    yield found
    if found.path.exists():
        found.close()


@contextmanager
def listening(url: str, path: Path) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=purge.run, args=(url, path), kwargs={"stop": over.is_set})
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_name_server_is_told_once_and_answers(control: Control, tmp_path: Path) -> None:
    assert pdns.purge(control.path) == "7"
    assert [line for _, line in control.told] == [b"PURGE\n"]
    with pytest.raises(NodeUnreachable, match="does it run"):
        pdns.purge(tmp_path / "nobody")


def test_it_begins_with_a_purge_and_each_change_purges_at_once_and_again(
    sample: str, control: Control
) -> None:
    with listening(sample, control.path), psycopg.connect(sample, autocommit=True) as connection:
        control.wait(1)
        began = time.monotonic()
        for weight in range(1, 41):
            connection.execute("UPDATE nodes SET weight = %s WHERE name = 'media1'", (weight,))
        control.wait(2)
        control.again(began + purge.AGAIN_S)
        time.sleep(purge.AGAIN_S + 0.2)
        assert len(control.told) <= 1 + 40 / 2, "many changes at once are few purges"


def test_a_condition_that_changes_purges_and_no_other_revision(sample: str, control: Control) -> None:
    with listening(sample, control.path), psycopg.connect(sample, autocommit=True) as connection:
        control.wait(1)
        connection.execute(
            "INSERT INTO blocks (scope, subject, what, reason) VALUES ('all', '*', '+882', 'fraud')"
        )
        time.sleep(purge.AGAIN_S + 0.2)
        assert len(control.told) == 1
        connection.execute(
            "INSERT INTO control.node_state (node, kind, revision, calls) SELECT 'media1', 'media', max(id), 1 "
            "FROM control.revisions"
        )
        control.wait(2)


def test_without_a_database_everything_goes_again_and_again(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "_PAUSE_S", 0.05)
    monkeypatch.setattr(purge, "DEAF_S", 0.2)
    with listening("postgresql://nobody@127.0.0.1:1/none", control.path):
        began = control.wait(1)
        assert control.wait(3) - began >= 0.4


def test_a_name_server_that_was_away_is_told_when_it_is_back(
    sample: str, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "_TICK_S", 0.05)
    with listening(sample, control.path), psycopg.connect(sample, autocommit=True) as connection:
        control.wait(1)
        control.close()
        connection.execute("UPDATE nodes SET weight = 8 WHERE name = 'media1'")
        time.sleep(0.3)
        again = Control(control.path)
        again.wait(1)
        again.close()


def test_it_survives_the_loss_of_its_connection(
    sample: str, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "_PAUSE_S", 0.05)
    with listening(sample, control.path), psycopg.connect(sample, autocommit=True) as connection:
        control.wait(1)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        control.wait(2)
