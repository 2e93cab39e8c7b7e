"""A name server that keeps answers on a read replica, and `dialplane agent names` beside it, which takes them back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.dns import purge
from controller.wire import pdns
from tests.database.replica import Replica
from tests.names.server import NameServer
from tests.names.test_answers import VOICE, everything_lives, heard, until  # noqa: F401 - a fixture
from tests.names.test_purged import ONE, TWO, listening, targets

NEWCOMER = "_sip._tcp.voice.newcomer.dialplane.internal."


@pytest.fixture(scope="module")
def replica(rows: str) -> Iterator[Replica]:
    found = Replica(rows)
    yield found
    found.remove()


@pytest.fixture(scope="module")
def server(replica: Replica, net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """The name server on the replica, keeping answers."""
    one = NameServer(
        tmp_path_factory.mktemp("ns4"), f"{net}.4", rows=make_conninfo(replica.url, user="names_login"),
        mounts=[replica.socket_dir], more=["--purged"],
    )  # fmt: skip
    one.start()
    yield one
    print(one.log())
    one.remove()


@pytest.fixture
def primary(edit: psycopg.Connection) -> psycopg.Connection:
    """A connection to the primary whose commits reach the replica at once, as they do in service."""
    edit.execute("SET synchronous_commit = on")
    return edit


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """When the name server was purged, from now on."""
    times: list[float] = []
    real = pdns.purge

    def purged(path: Path) -> str:
        done = real(path)
        times.append(time.monotonic())
        return done

    with monkeypatch.context() as patch:
        patch.setattr(pdns, "purge", purged)
        yield times


def statistic(server: NameServer, name: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(3)
        channel.connect(str(server.home / "pdns.controlsocket"))
        channel.sendall(f"SHOW {name}\n".encode())
        return int(channel.recv(100))


def test_every_change_on_the_primary_is_an_answer_of_the_replica_within_a_second(
    server: NameServer, replica: Replica, primary: psycopg.Connection
) -> None:
    replica.caught_up()
    took = []
    with listening(server, replica.url):
        until(server, VOICE, targets(ONE, TWO))
        for statement, name, wanted in (
            ("UPDATE nodes SET weight = 5 WHERE name = 'media1'", VOICE, targets("10 5 5060 media1.c1", TWO)),
            ("UPDATE nodes SET state = 'draining' WHERE name = 'media1'", VOICE, targets(TWO)),
            (
                "INSERT INTO accounts (name, display_name, country, cluster_id) "
                "SELECT 'newcomer', 'x', 'DE', id FROM clusters WHERE name = 'c2'",
                NEWCOMER,
                ["10 10 5080 media3.c2.nodes.dialplane.internal."],
            ),
            ("DELETE FROM accounts WHERE name = 'newcomer'", NEWCOMER, ["NXDOMAIN"]),
        ):
            assert server.answers(name) != wanted
            primary.execute(statement)
            took.append(until(server, name, wanted))
        primary.execute("UPDATE nodes SET state = 'enabled', weight = 20 WHERE name = 'media1'")
        heard(primary, "media1")
        until(server, VOICE, targets(ONE, TWO))
        # No row that anybody edits says that a node fell silent.
        heard(primary, "media2", seconds_ago=60)
        took.append(until(server, VOICE, targets(ONE)))
        heard(primary, "media2")
        took.append(until(server, VOICE, targets(ONE, TWO)))
    print("took ms:", *(round(one * 1000) for one in took))
    assert max(took) < 1


def test_commits_that_wait_for_nobody_are_an_answer_within_a_second_too(
    server: NameServer, replica: Replica, primary: psycopg.Connection
) -> None:
    """As agents report: the primary writes such a commit to its disk, and to replicas, a moment later."""
    replica.caught_up()
    with listening(server, replica.url):
        until(server, VOICE, targets(ONE, TWO))
        primary.execute("SET synchronous_commit = off")
        for up, shown in ((False, [TWO]), (True, [ONE, TWO])):
            primary.execute("UPDATE control.node_state SET up = %s WHERE node = 'media1'", (up,))
            assert until(server, VOICE, targets(*shown)) < 1


def test_while_nothing_changes_answers_stay_however_often_agents_report(
    server: NameServer, replica: Replica, primary: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.caught_up()
    with counted(monkeypatch) as purged, listening(server, replica.url):
        while not purged:
            time.sleep(0.01)
        until(server, VOICE, targets(ONE, TWO))
        hits, asked = statistic(server, "packetcache-hit"), statistic(server, "udp-queries")
        for calls in range(300):
            primary.execute(
                "UPDATE control.node_state SET heard_at = heard_at + interval '1 s', calls = %s", (calls,)
            )
            if calls % 10 == 0:
                assert server.answers(VOICE) == targets(ONE, TWO)
        replica.caught_up()
        time.sleep(2 * purge.AGAIN_S)
        assert len(purged) == 1
        assert (statistic(server, "packetcache-hit") - hits, statistic(server, "udp-queries") - asked) == (
            30,
            30,
        )


def test_it_answers_without_its_primary_and_goes_on_as_one(
    server: NameServer, replica: Replica, primary: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.caught_up()
    with counted(monkeypatch) as purged, listening(server, replica.url):
        until(server, VOICE, targets(ONE, TWO))
        replica.cut_off()
        before = len(purged)
        primary.execute("UPDATE nodes SET weight = 5 WHERE name = 'media1'")
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            assert server.answers(VOICE) == targets(ONE, TWO)
        assert len(purged) == before
        replica.promote()
        # It begins to listen with a purge.
        while len(purged) == before:
            assert time.monotonic() < ends + 5
            time.sleep(0.01)
        with psycopg.connect(replica.url, autocommit=True) as new:
            new.execute("UPDATE nodes SET weight = 7 WHERE name = 'media1'")
            assert until(server, VOICE, targets("10 7 5060 media1.c1", TWO)) < 1
            heard(new, "media1", seconds_ago=60)
            assert until(server, VOICE, targets(TWO)) < 1
