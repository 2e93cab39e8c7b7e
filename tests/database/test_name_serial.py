"""The serial of names: raised once by every transaction that changes what they depend on, and by no other."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.database.name_rows import fill

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def filled(new_database: Callable[..., str]) -> str:
    """A database with six clusters, 34 nodes of all states, 40 accounts with exceptions; tests only read it."""
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, random.Random(4))
    return url


@pytest.fixture
def url(filled: str, new_database: Callable[..., str]) -> str:
    """A copy of it, to change."""
    return new_database(str(conninfo_to_dict(filled)["dbname"]))


@pytest.fixture
def company(url: str) -> Iterator[psycopg.Connection]:
    """A connection to the copy."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def serial(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT serial FROM control.name_serial").fetchone()
    assert row is not None
    return int(row[0])


CHANGES = [
    "UPDATE accounts SET cluster_id = 4 WHERE name = 'a1'",
    "UPDATE accounts SET device_group_id = NULL",
    "INSERT INTO accounts (name, display_name, cluster_id, country) VALUES ('new', 'x', 1, 'DE')",
    "DELETE FROM accounts WHERE name = 'a1'",
    "UPDATE accounts SET name = 'other' WHERE name = 'a1'",
    "DELETE FROM account_services",
    "UPDATE nodes SET state = 'draining' WHERE name = 'm1'",
    "UPDATE nodes SET public_address = '198.51.100.99' WHERE name = 'e1'",
    "UPDATE clusters SET overflow_cluster_id = NULL",
    "UPDATE clusters SET name = 'c9' WHERE name = 'c1'",
    "INSERT INTO settings (name, value) VALUES ('dns_ttl_s', '30')",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_of_what_names_depend_on_raises_the_serial_and_tells(
    company: psycopg.Connection, url: str, statement: str
) -> None:
    before = serial(company)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute("LISTEN dialplane_dns")
        company.execute(statement.encode())
        after = serial(company)
        assert after > before
        assert [one.payload for one in listener.notifies(timeout=2, stop_after=1)] == [str(after)]


def test_other_changes_do_not(company: psycopg.Connection) -> None:
    before = serial(company)
    company.execute("UPDATE accounts SET display_name = 'y', call_limit = 3")
    company.execute("UPDATE control.node_state SET heard_at = clock_timestamp()")
    company.execute("INSERT INTO users (account_id, name, display_name) SELECT id, 'u', 'U' FROM accounts")
    assert serial(company) == before


def test_a_transaction_raises_it_once_at_its_end_and_one_undone_not_at_all(
    company: psycopg.Connection,
) -> None:
    # Ahead of the clock, so that each raise is one.
    company.execute("UPDATE control.name_serial SET serial = serial + 100000")
    before = serial(company)
    with company.transaction():
        for state in ("draining", "enabled", "draining"):
            company.execute("UPDATE nodes SET state = %s WHERE name = 'm1'", (state,))
        company.execute("UPDATE accounts SET cluster_id = 2")
        assert serial(company) == before
    assert serial(company) == before + 1
    with company.transaction(force_rollback=True):
        company.execute("UPDATE accounts SET cluster_id = 3")
    assert serial(company) == before + 1
    with company.transaction():
        company.execute("SET CONSTRAINTS ALL IMMEDIATE")
        company.execute("UPDATE accounts SET cluster_id = 4")
        company.execute("UPDATE accounts SET cluster_id = 5")
    assert serial(company) == before + 3
    assert company.execute("SELECT count(*) FROM control.name_changes").fetchone() == (0,)


def test_a_long_transaction_keeps_no_other_waiting(company: psycopg.Connection, url: str) -> None:
    before = serial(company)
    with psycopg.connect(url) as slow:
        slow.execute("UPDATE accounts SET device_group_id = 2 WHERE name = 'a2'")
        slow.execute("DELETE FROM account_services")
        company.execute("SET statement_timeout = '2s'")
        company.execute("UPDATE nodes SET state = 'draining' WHERE name = 'm1'")
        company.execute("UPDATE accounts SET cluster_id = 2 WHERE name = 'a3'")
        between = serial(company)
        slow.commit()
    assert before < between < serial(company)


def test_changes_at_the_same_time_are_all_counted(company: psycopg.Connection, url: str) -> None:
    company.execute("UPDATE control.name_serial SET serial = serial + 100000")
    before = serial(company)

    def work(number: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for turn in range(20):
                connection.execute(
                    "UPDATE accounts SET cluster_id = %s WHERE name = %s", (1 + turn % 2, f"a{number}")
                )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert serial(company) == before + 100


def test_the_serial_goes_on_from_the_clock_and_wraps_as_dns_has_it(company: psycopg.Connection) -> None:
    company.execute("UPDATE control.name_serial SET serial = 5")  # a backup of long ago
    company.execute("UPDATE nodes SET weight = 11 WHERE name = 'm1'")
    assert serial(company) > 40_000_000
    company.execute("UPDATE control.name_serial SET serial = 4294967295")
    company.execute("UPDATE nodes SET weight = 12 WHERE name = 'm1'")
    assert serial(company) == 4294967296
    row = company.execute("SELECT split_part(soa, ' ', 3) FROM dns.zones").fetchone()
    assert row == ("0",)
