"""Messages in a real PostgreSQL: shipped, routed and sent once, by the roles that do so; and as an operator sees
them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from controller.calls import store as calls
from controller.calls.facts import Fact, parse
from controller.cli import main
from controller.cli.doctor import examine
from controller.messages import store
from controller.messages.decide import route
from controller.messages.http import Inbound
from controller.messages.model import Outcome
from controller.messages.outbox import Accepted

DESK, LOBBY = "desk1@acme.example", "lobby@acme.example"
TAKEN = Outcome("delivered", 200, "OK")


@pytest.fixture(scope="module")
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    """The sample company, published."""
    return new_database(published_sample)


@pytest.fixture(scope="module")
def members(url: str) -> Iterator[dict[str, str]]:
    """URLs of a controller, an agent and a reader."""
    roles = ("controller", "agent", "reader")
    with psycopg.connect(url, autocommit=True) as owner:
        for role in roles:
            owner.execute(f"CREATE ROLE message_{role} LOGIN IN ROLE dialplane_{role}".encode())
    yield {role: make_conninfo(url, user=f"message_{role}") for role in roles}
    with psycopg.connect(url, autocommit=True) as owner:
        for role in roles:
            owner.execute(f"DROP ROLE message_{role}".encode())


@pytest.fixture
def working(url: str, members: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    """As the process that delivers; no message is there yet."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("TRUNCATE control.messages CASCADE")
        owner.execute("TRUNCATE control.registrations, control.registrars")
    with psycopg.connect(members["controller"], autocommit=True) as connection:
        yield connection


def accepted(called: str = "103", **changes: Any) -> Accepted:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid.uuid4(), "at": now, "account": "acme", "sender": DESK, "user": "alice", "called": called,
        "target": "", "why": "several", "expires_at": now + timedelta(days=7), "content_type": "text/plain",
        "body": "привет".encode(),
    }  # fmt: skip
    return Accepted(**(values | changes))


def ship(url: str, *rows: Accepted) -> None:
    async def run() -> None:
        async with calls.connect(url) as connection:
            await store.ship(connection, "edge1", rows)

    asyncio.run(run())


def states(connection: psycopg.Connection[Any]) -> dict[str, str]:
    return dict(
        connection.execute("SELECT address, state FROM control.message_deliveries ORDER BY id").fetchall()
    )


def one(connection: psycopg.Connection[Any], *columns: str) -> tuple[Any, ...]:
    row = connection.execute(f"SELECT {', '.join(columns)} FROM control.messages".encode()).fetchone()
    assert row is not None
    return tuple(row)


def test_from_the_edge_to_the_phone_by_the_roles_that_do_so(
    working: psycopg.Connection[Any], members: dict[str, str]
) -> None:
    row = accepted()
    ship(members["agent"], row, row)
    ship(members["agent"], row)
    assert one(working, "state", "called", "sender_user", "size") == ("accepted", "103", "alice", 12)
    assert store.route_waiting(working, route) == 1
    assert store.route_waiting(working, route) == 0
    (claimed,) = store.claim(working, 10)
    assert (claimed.address, claimed.tries) == (LOBBY, 1)
    assert store.claim(working, 10) == []

    async def read() -> Any:
        async with calls.connect(members["agent"]) as connection:
            return await store.letter(connection, claimed.id)

    letter = asyncio.run(read())
    assert (letter.aor, letter.sender, letter.to, letter.body.decode()) == (LOBBY, DESK, LOBBY, "привет")
    assert store.done(working, claimed, TAKEN, "edge1")
    assert one(working, "state", "lead", "body", "status") == ("delivered", "user:lobby", None, 200)
    assert states(working) == {LOBBY: "delivered"}
    assert asyncio.run(read()) is None


def test_what_is_kept_is_one_event_with_who_wrote_it(
    working: psycopg.Connection[Any], url: str, members: dict[str, str]
) -> None:
    row = accepted("004122 7301111", source="198.51.100.9", agent="phone/1")
    ship(members["agent"], row)
    ship(members["agent"], row)
    store.route_waiting(working, route)
    for claimed in store.claim(working, 10):
        store.done(working, claimed, TAKEN, "edge1")
    with psycopg.connect(url) as owner:
        found = owner.execute(
            "SELECT call_id, event, detail ->> 'source', detail ->> 'agent' FROM control.call_events"
            " WHERE call_id = %s",
            (f"message:{row.id}",),
        ).fetchall()
    assert found == [(f"message:{row.id}", "message", "198.51.100.9", "phone/1")]


def test_an_outcome_counts_only_with_the_lease(
    working: psycopg.Connection[Any], members: dict[str, str]
) -> None:
    ship(members["agent"], accepted())
    store.route_waiting(working, route)
    (first,) = store.claim(working, 10, lease_s=0)
    (second,) = store.claim(working, 10)
    assert (second.id, second.tries) == (first.id, 2)
    assert not store.done(working, first, TAKEN, "edge1")
    assert states(working) == {LOBBY: "sending"}
    assert store.done(working, second, Outcome("due", 503, "not now", 60), "edge1")
    assert store.claim(working, 10) == []
    assert states(working) == {LOBBY: "due"}


WAYS: dict[str, Callable[[psycopg.Connection[Any]], int]] = {
    "told": lambda connection: store.came(connection, [LOBBY, DESK]),
    "not told": store.sweep,
}


@pytest.mark.parametrize("way", WAYS)
def test_who_registers_gets_it(
    working: psycopg.Connection[Any], url: str, members: dict[str, str], way: str
) -> None:
    ship(members["agent"], accepted())
    store.route_waiting(working, route)
    (claimed,) = store.claim(working, 10)
    store.done(working, claimed, Outcome("away", 480, "not registered"), None)
    assert store.claim(working, 10) == []
    with psycopg.connect(url) as owner:
        owner.execute("UPDATE control.message_deliveries SET due_at = due_at - interval '10 s'")
        owner.execute(
            "INSERT INTO control.registrars (edge, compared_at) VALUES ('edge1', now()) ON CONFLICT DO NOTHING"
        )
        owner.execute(
            "INSERT INTO control.node_state (node, kind, revision, pending, agent_started, heard_at) VALUES"
            " ('edge1', 'edge', 0, 0, now() - interval '1 h', now() + interval '1 h') ON CONFLICT (node) DO UPDATE"
            " SET agent_started = excluded.agent_started, heard_at = excluded.heard_at"
        )
        owner.execute(
            "INSERT INTO control.registrations (aor, edge, contacts, since) VALUES (%s, 'edge1', 1, now())"
            " ON CONFLICT DO NOTHING",
            (LOBBY,),
        )
    WAYS[way](working)
    (claimed,) = store.claim(working, 10)
    store.done(working, claimed, TAKEN, "edge1")


def test_what_expires(working: psycopg.Connection[Any], members: dict[str, str]) -> None:
    now = datetime.now(UTC)
    ship(members["agent"], accepted(expires_at=now), accepted(expires_at=now, called="101"), accepted())
    store.route_waiting(working, route)
    (lobby, *_) = [one for one in store.claim(working, 1) if one.address == LOBBY]
    # One that is on its way comes to its own end.
    assert store.sweep(working) == 2
    rows = working.execute("SELECT called, state FROM control.messages ORDER BY at, called").fetchall()
    assert sorted(rows) == [("101", "expired"), ("103", "open"), ("103", "open")]
    store.done(working, lobby, Outcome("due", None, "no answer"), "edge1")
    store.sweep(working)
    rows = working.execute("SELECT state FROM control.messages ORDER BY expires_at").fetchall()
    assert sorted(rows) == [("expired",), ("expired",), ("open",)]


def test_what_an_edge_relayed_or_refused(working: psycopg.Connection[Any], members: dict[str, str]) -> None:
    def line(status: int, to: str, reason: str) -> Fact:
        said = {
            "ts": 1_764_450_000_123, "event": "message", "message": str(uuid.uuid4()), "edge": "edge1",
            "account": "acme", "caller": "alice", "device": DESK, "called": "103", "to": to, "status": status,
            "reason": reason, "size": 0,
        }  # fmt: skip
        return parse(json.dumps(said).encode(), "edge1", "file", status)

    facts = [line(200, LOBBY, ""), line(415, LOBBY, "phone"), line(403, "", "blocked")]

    async def run() -> None:
        async with calls.connect(members["agent"]) as connection:
            for _ in range(2):
                await store.straight(connection, facts)

    asyncio.run(run())
    rows = working.execute(
        "SELECT m.state, m.status, m.reason, d.state FROM control.messages m"
        " LEFT JOIN control.message_deliveries d ON d.message = m.id ORDER BY m.status"
    ).fetchall()
    assert rows == [
        ("delivered", 200, "", "delivered"), ("refused", 403, "blocked", None), ("failed", 415, "phone", "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"message": "no-uuid"}, {"status": "200"}, {"event": "other"}, {"ts": "x"}, {"message": None}]
)
def test_a_line_that_is_none(change: dict[str, Any]) -> None:
    said = {"ts": 1, "event": "message", "message": str(uuid.uuid4()), "status": 200} | change
    with pytest.raises((ValueError, TypeError, AttributeError)):
        parse(json.dumps(said).encode(), "edge1", "file", 0)


def test_what_a_carrier_brings(working: psycopg.Connection[Any]) -> None:
    said = Inbound("sms", "c-1", "+33123456789", "+4930555010", "привет")
    first = store.inbound(working, said)
    assert first is not None
    assert store.inbound(working, said) == first
    assert store.inbound(working, said._replace(carrier="other")) != first
    assert store.inbound(working, said._replace(to="+4930999999")) is None
    rows = working.execute("SELECT account, way, sender, why FROM control.messages ORDER BY why").fetchall()
    assert rows == [("acme", "inbound", "+33123456789", "other"), ("acme", "inbound", "+33123456789", "sms")]
    store.route_waiting(working, route)
    assert set(states(working).values()) == {"due"}


def test_a_reader_does_not_read_what_was_written(
    working: psycopg.Connection[Any], members: dict[str, str]
) -> None:
    ship(members["agent"], accepted())
    with psycopg.connect(members["reader"]) as reader:
        assert reader.execute("SELECT called FROM control.messages").fetchall() == [("103",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT body FROM control.messages")


def test_old_ones_are_forgotten(working: psycopg.Connection[Any], url: str, members: dict[str, str]) -> None:
    ship(members["agent"], accepted(bad="cannot be read"), accepted())
    with psycopg.connect(url) as owner:
        owner.execute(
            "UPDATE control.messages SET ended_at = now() - interval '401 days' WHERE state = 'failed'"
        )
    assert [store.forget(working), store.forget(working)] == [1, 0]
    assert one(working, "state") == ("accepted",)


def test_commands_of_deliveries_are_removed(working: psycopg.Connection[Any], url: str) -> None:
    with psycopg.connect(url) as owner:
        owner.execute(
            "INSERT INTO control.node_commands (node, verb, taken_at, done_at, result) SELECT 'edge1', v, d, d, '{}'"
            " FROM unnest('{message,calls}'::text[]) AS v, unnest(ARRAY[now(), now() - interval '1 h']) AS d"
        )
    store.forget(working)
    rows = working.execute(
        "SELECT verb, count(*) FROM control.node_commands GROUP BY verb ORDER BY verb"
    ).fetchall()
    assert rows == [("calls", 2), ("message", 1)]


def test_the_doctor_says_when_nobody_delivers(
    working: psycopg.Connection[Any], url: str, members: dict[str, str]
) -> None:
    def said() -> list[tuple[str, str]]:
        return [(one.found, one.remedy) for one in examine(url) if one.about == "messages"]

    assert said() == []
    ship(members["agent"], accepted(at=datetime.now(UTC) - timedelta(minutes=1)))
    ((sentence, remedy),) = said()
    assert sentence == "1 were accepted and nobody looks at them"
    assert "dialplane-messages" in remedy
    store.route_waiting(working, route)
    assert [sentence for sentence, _ in said()] == [
        "1 wait for their devices (dialplane message list --waiting)"
    ]


# --- commands -----------------------------------------------------------------------------------------------------


def message(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "message", *arguments])


def test_commands(working: psycopg.Connection[Any], url: str) -> None:
    sent = message(
        url, "send", "--account", "acme", "--from", LOBBY, "--to", "101", "Ihr Paket ist da\x1b[2J"
    )
    assert sent.exit_code == 0, sent.output
    id_ = sent.stdout.strip()
    listed = json.loads(message(url, "list", "--account", "acme", "--waiting", "--format", "json").stdout)
    assert [(row["message"], row["state"], row["delivered"]) for row in listed] == [(id_, "accepted", "0/0")]
    store.route_waiting(working, route)
    shown = message(url, "show", id_[:8]).stdout
    for words in (
        f"message {id_} of acme: open",
        f"from {LOBBY} to 101, that is user alice",
        f"to {DESK}: due, 0 tries",
    ):
        assert words in shown
    assert "Ihr Paket ist da\\x1b[2J" in shown
    for claimed in store.claim(working, 10):
        store.done(working, claimed, TAKEN, "edge1")
    assert "Ihr Paket" not in message(url, "show", id_).stdout
    assert json.loads(message(url, "list", "--waiting", "--format", "json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "ffff"), "no message has an id that begins with ffff"),
        (
            ("send", "--account", "acme", "--from", "gone@acme.example", "--to", "101", "x"),
            "no enabled device",
        ),
        (("send", "--account", "globex", "--from", LOBBY, "--to", "101", "x"), "no enabled device"),
        (("send", "--account", "acme", "--from", LOBBY, "--to", "101", " "), "give a text"),
        (("serve", "--listen", "4580"), "write ADDRESS:PORT"),
        (("serve", "--listen", "127.0.0.1:4580"), "secret_file"),
        (("serve", "--carriers", "/gone"), "No such file"),
    ],
)
def test_what_cannot_be_done(
    working: psycopg.Connection[Any], url: str, arguments: tuple[str, ...], words: str
) -> None:
    done = message(url, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
