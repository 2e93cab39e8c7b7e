"""What is said of registrations, and to whom, without any edge."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.schema import nodes

INSERT = "INSERT INTO control.registrations VALUES ('desk1@acme.example', 'edge1', %s, now(), 'Phone 1.0')"


@pytest.fixture
def connection(database: str) -> psycopg.Connection:
    """Every statement is its own transaction; the tables begin empty."""
    connection = psycopg.connect(database, autocommit=True)
    connection.execute("TRUNCATE control.registrations, control.registrars, control.node_state")
    return connection


def agent(connection: psycopg.Connection, *, heard: str, started: str, compared: str | None) -> None:
    """What the agent of edge1 did, and how long ago."""
    connection.execute(
        """INSERT INTO control.node_state (node, kind, revision, agent_started, heard_at, pending)
        VALUES ('edge1', 'edge', 0, clock_timestamp() - %s::interval, clock_timestamp() - %s::interval, 0)""",
        (started, heard),
    )
    connection.execute(
        "INSERT INTO control.registrars VALUES ('edge1', clock_timestamp() - %s::interval)", (compared,)
    )


@pytest.mark.parametrize(
    ("heard", "started", "compared", "known"),
    [
        ("-1 hour", "1 hour", "1 minute", True),
        ("1 minute", "1 hour", "30 minutes", False),  # its agent is away
        ("-1 hour", "1 hour", "2 hours", False),  # compared by the agent before this one
        ("-1 hour", "1 hour", None, False),  # lost its edge or the database, and has not compared since
    ],
)
def test_known_or_not(
    connection: psycopg.Connection, heard: str, started: str, compared: str | None, known: bool
) -> None:
    agent(connection, heard=heard, started=started, compared=compared)
    read = "SELECT state, contacts FROM control.registered"
    connection.execute(INSERT, (2,))
    assert connection.execute(read).fetchone() == (("registered", 2) if known else ("unknown", None))
    assert nodes.registered(connection, "edge1") == (1 if known else None)
    connection.execute("UPDATE control.registrations SET contacts = 0")
    assert connection.execute(read).fetchone() == (("unregistered", 0) if known else ("unknown", None))
    assert nodes.registered(connection, "edge1") == (0 if known else None)


def test_an_edge_that_never_reported_is_unknown(connection: psycopg.Connection) -> None:
    connection.execute(INSERT, (1,))
    assert connection.execute("SELECT state FROM control.registered").fetchone() == ("unknown",)
    assert nodes.registered(connection, "edge1") is None


def test_only_another_number_of_contacts_is_told(connection: psycopg.Connection, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute("LISTEN dialplane_registration")
        connection.execute(INSERT, (1,))
        connection.execute("UPDATE control.registrations SET user_agent = 'Phone 1.1'")
        connection.execute("UPDATE control.registrations SET contacts = 0")
        connection.execute("NOTIFY dialplane_registration, 'over'")
        told = []
        for heard in listening.notifies(timeout=30):
            told.append(heard.payload)
            if heard.payload == "over":
                break
    assert told == ["desk1@acme.example", "desk1@acme.example", "over"]


def test_an_agent_writes_it_and_a_reader_does_not(connection: psycopg.Connection, database: str) -> None:
    connection.execute("CREATE ROLE test_says LOGIN IN ROLE dialplane_agent")
    connection.execute("CREATE ROLE test_reads LOGIN IN ROLE dialplane_reader")
    try:
        with psycopg.connect(make_conninfo(database, user="test_says")) as own:
            own.execute(INSERT, (1,))
            own.execute("DELETE FROM control.registrations")
            own.execute("INSERT INTO control.registrars VALUES ('edge1', null)")
        with psycopg.connect(make_conninfo(database, user="test_reads")) as own:
            own.execute("SELECT * FROM control.registered")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(INSERT, (1,))
    finally:
        connection.execute("DROP ROLE test_says, test_reads")
