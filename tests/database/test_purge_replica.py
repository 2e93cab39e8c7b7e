"""`dialplane agent names` on a read replica, a real one: changes are seen there, and nothing else purges."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.dns import purge
from controller.schema.importer import load, read_company
from tests.database.conftest import SAMPLE, TEMPLATE, running
from tests.database.replica import Replica
from tests.database.test_purge import Control, control, listening  # noqa: F401 - a fixture

pytestmark = pytest.mark.thorough
HEARTBEAT = "UPDATE control.node_state SET heard_at = clock_timestamp() + interval '1 hour', calls = %s"


@pytest.fixture(scope="module")
def primary() -> Iterator[str]:
    """The sample company, whose nodes are heard of, on a server of its own: a replica is a copy of the whole server."""
    with running() as server:
        url = make_conninfo(server, dbname=TEMPLATE)
        prepare(url)
        yield url


def prepare(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        load(connection, read_company(SAMPLE))
        connection.execute(
            "INSERT INTO control.node_state (node, kind, revision, calls, heard_at) "
            "SELECT name, 'media', 1000000, 0, clock_timestamp() + interval '1 hour' FROM nodes WHERE kind = 'media'"
        )
        connection.execute("CREATE ROLE names_login LOGIN IN ROLE dialplane_dns")


@pytest.fixture
def replica(primary: str) -> Iterator[Replica]:
    found = Replica(primary)
    yield found
    found.remove()


@pytest.fixture
def edit(primary: str) -> Iterator[psycopg.Connection]:
    """A connection to the primary whose commits reach the replica at once, as they do in service."""
    with psycopg.connect(primary, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        yield connection


def test_changes_of_the_primary_purge_and_heartbeats_do_not(
    replica: Replica,
    edit: psycopg.Connection,
    control: Control,  # noqa: F811
) -> None:
    with listening(make_conninfo(replica.url, user="names_login"), control.path):
        control.wait(1)
        time.sleep(0.2)
        for calls in range(100):
            edit.execute(HEARTBEAT, (calls % 7,))
        edit.execute("UPDATE accounts SET display_name = display_name || '!'")
        edit.execute("UPDATE extensions SET ring_time_s = 31 WHERE extension = '101'")
        replica.caught_up()
        time.sleep(purge.AGAIN_S + 0.2)
        assert len(control.told) == 1, "nothing that a name depends on was changed"
        for statement in (
            "UPDATE nodes SET weight = 7 WHERE name = 'media1'",
            # No row that people edit: a server that does not answer its agent.
            "UPDATE control.node_state SET up = false WHERE node = 'media1'",
            "UPDATE control.node_state SET up = true WHERE node = 'media1'",
        ):
            told, changed = len(control.told), time.monotonic()
            edit.execute(statement)
            assert control.wait(told + 1) - changed < 1, statement
            assert control.wait(told + 2) - changed >= purge.AGAIN_S, "for questions under way"
            time.sleep(0.2)
            assert len(control.told) == told + 2, "and no more"


def test_many_changes_are_few_purges(
    replica: Replica,
    edit: psycopg.Connection,
    control: Control,  # noqa: F811
) -> None:
    with listening(replica.url, control.path):
        control.wait(1)
        began = time.monotonic()
        while time.monotonic() < began + 1:
            edit.execute("UPDATE nodes SET weight = weight % 9 + 1 WHERE name = 'media1'")
        replica.caught_up()
        assert 2 < len(control.told) <= 4 + 1.5 / purge.LOOK_S


def test_a_replica_without_its_primary_keeps_what_it_has_and_is_listened_to_when_it_takes_over(
    replica: Replica,
    control: Control,  # noqa: F811
) -> None:
    url = make_conninfo(replica.url, user="names_login")
    listeners = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'names_login' AND query LIKE 'LISTEN%'"
    with listening(url, control.path):
        control.wait(1)
        replica.cut_off()
        time.sleep(0.3)
        assert len(control.told) == 1
        replica.promote()
        control.wait(2)
        with psycopg.connect(replica.url, autocommit=True) as connection:
            ends = time.monotonic() + 5
            while connection.execute(listeners).fetchone() != (1,):
                assert time.monotonic() < ends, "nobody listens"
                time.sleep(0.02)
            told, changed = len(control.told), time.monotonic()
            connection.execute("UPDATE nodes SET weight = 8 WHERE name = 'media1'")
            assert control.wait(told + 1) - changed < 1


def test_a_replica_that_starts_again_is_found_again(
    replica: Replica,
    edit: psycopg.Connection,
    control: Control,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge, "_PAUSE_S", 0.05)
    with listening(replica.url, control.path):
        control.wait(1)
        replica.restart()
        control.wait(2)
        time.sleep(0.2)
        told = len(control.told)
        edit.execute("UPDATE nodes SET weight = 9 WHERE name = 'media1'")
        control.wait(told + 1)
