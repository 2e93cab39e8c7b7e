"""Registrations of a real edge in a real database: `control.registrations` and `control.registered`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.calls import registrations, store
from controller.calls.facts import Fact
from controller.calls.registrations import Registrations
from controller.calls.service import CallService
from controller.errors import NodeRefused
from controller.schema import nodes
from controller.wire.jsonrpc import JsonRpc
from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live
DESK, LOBBY = f"desk1@{DOMAIN}", f"lobby@{DOMAIN}"
LONGEST_S = 30


@pytest.fixture
def phone(make: Make) -> Iterator[Endpoint]:
    one = make("desk1", 50)
    yield one
    one.register(expires=0)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[store.Connection]:
    async with store.connect(database) as one:
        await one.execute("TRUNCATE control.registrations, control.registrars, control.node_state")
        yield one


@pytest.fixture
def rpc(edge: Edge) -> Iterator[JsonRpc]:
    one = JsonRpc(edge.home / "rpc.sock")
    yield one
    one.close()


async def in_file(edge: Edge, aors: set[str]) -> None:
    """Wait until the edge's timer has written who is registered: these."""
    found: set[str] | None = None
    with contextlib.suppress(TimeoutError), contextlib.closing(sqlite3.connect(edge.location)) as file:
        async with asyncio.timeout(LONGEST_S):
            while found != aors:
                await asyncio.sleep(0.2)
                found = {row[0] for row in file.execute("SELECT username || '@' || domain FROM location")}
    assert found == aors


async def said(connection: store.Connection) -> dict[str, tuple[str, int | None]]:
    rows = await connection.execute("SELECT aor, state, contacts FROM control.registered")
    return {row["aor"]: (row["state"], row["contacts"]) for row in await rows.fetchall()}


async def until(connection: store.Connection, wanted: tuple[str, int | None]) -> None:
    """Wait until that is said of desk1."""
    found: Any = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_S):
            while (found := (await said(connection)).get(DESK)) != wanted:  # noqa: ASYNC110 - a row is awaited
                await asyncio.sleep(0.1)
    assert found == wanted


async def beat(connection: store.Connection, ago_s: float = -3600) -> None:
    """The agent of edge1 is there for as long as a test may take, or was."""
    await connection.execute(
        """INSERT INTO control.node_state (node, kind, revision, agent_started, heard_at, pending)
        VALUES ('edge1', 'edge', 0, now() - interval '1 hour', clock_timestamp() - make_interval(secs => %(ago)s), 0)
        ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at""",
        {"ago": ago_s},
    )


@contextlib.asynccontextmanager
async def agent(database: str, edge: Edge, folder: Path, rpc: JsonRpc) -> AsyncIterator[None]:
    """The call half of the edge's agent."""
    service = CallService(
        node="edge1", dsn=database, spool=edge.home / "spool", state=folder, rpc=rpc,
        registrations=Registrations("edge1", rpc, edge.location), ship_interval_s=0.1,
    )  # fmt: skip
    task = asyncio.create_task(service.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_comes_and_goes_is_told(
    database: str, connection: store.Connection, edge: Edge, phone: Endpoint, rpc: JsonRpc, tmp_path: Path
) -> None:
    await beat(connection)
    async with agent(database, edge, tmp_path, rpc), store.connect(database) as listening:
        await listening.execute("LISTEN dialplane_registration")
        await asyncio.to_thread(phone.register)
        async for heard in listening.notifies(timeout=LONGEST_S):
            assert heard.payload == DESK
            break
        else:
            pytest.fail("no notification")
        await beat(connection)
        await until(connection, ("registered", 1))
        row = await (await connection.execute("SELECT * FROM control.registrations")).fetchone()
        assert row is not None
        await asyncio.to_thread(phone.register, expires=0)
        await until(connection, ("unregistered", 0))
        after = await (await connection.execute("SELECT * FROM control.registrations")).fetchone()
        assert after is not None
        assert after["since"] > row["since"]
    events = await connection.execute(
        "SELECT DISTINCT event, call_id FROM control.call_events WHERE event <> 'restart'"
    )
    assert await events.fetchall() == [{"event": "registered", "call_id": f"device:{DESK}"}]


async def test_what_was_missed_is_found_by_comparison(
    connection: store.Connection, edge: Edge, phone: Endpoint, rpc: JsonRpc
) -> None:
    phone.register()
    await in_file(edge, {DESK})
    one = Registrations("edge1", rpc, edge.location)
    # Somebody who is not there any more, and one who was never seen.
    await connection.execute(
        "INSERT INTO control.registrations VALUES (%s, 'edge1', 2, now(), 'Old'), (%s, 'edge2', 1, now(), null)",
        (LOBBY, LOBBY),
    )
    await beat(connection)
    await one.compare(connection)
    rows = await connection.execute(
        "SELECT aor, edge, state, contacts, user_agent FROM control.registered ORDER BY 1, 2"
    )
    assert [tuple(row.values()) for row in await rows.fetchall()] == [
        (DESK, "edge1", "registered", 1, None),
        (LOBBY, "edge1", "unregistered", 0, "Old"),
        (LOBBY, "edge2", "unknown", None, None),
    ]
    # A contact that is in the file is only marked when it leaves, and cleared away later.
    phone.register(expires=0)
    one.heard([Fact(f"device:{DESK}", "edge1", store.utc_now(), "gone", "f", 0)])
    await one.store(connection)
    assert (await said(connection))[DESK] == ("unregistered", 0)


async def test_a_contact_is_told_of_by_the_agent_of_its_home_alone(
    connection: store.Connection, edge: Edge, phone: Endpoint, rpc: JsonRpc
) -> None:
    phone.register()
    await in_file(edge, {DESK})
    await beat(connection)
    for name in ("edge2", "edge1"):
        one = Registrations(name, rpc, edge.location)
        one.heard([Fact(f"device:{DESK}", name, store.utc_now(), "registered", "f", 0)])
        await one.store(connection)
        await one.compare(connection)
    rows = await connection.execute("SELECT edge, contacts FROM control.registrations ORDER BY 1")
    assert [tuple(row.values()) for row in await rows.fetchall()] == [("edge1", 1), ("edge2", 0)]
    await connection.execute("DELETE FROM control.registrations")
    await Registrations("edge2", rpc, edge.location).compare(connection)
    assert await said(connection) == {}


async def test_nothing_is_known_of_an_edge_whose_agent_is_away(
    connection: store.Connection, database: str, edge: Edge, phone: Endpoint, rpc: JsonRpc
) -> None:
    phone.register()
    await in_file(edge, {DESK})
    await beat(connection)
    await Registrations("edge1", rpc, edge.location).compare(connection)
    with psycopg.connect(database, autocommit=True) as sync:
        assert await said(connection) == {DESK: ("registered", 1)}
        assert nodes.registered(sync, "edge1") == 1
        await beat(connection, ago_s=60)
        assert await said(connection) == {DESK: ("unknown", None)}
        assert nodes.registered(sync, "edge1") is None
        # It is back, but has not compared since.
        await beat(connection)
        await connection.execute("UPDATE control.node_state SET agent_started = clock_timestamp()")
        assert await said(connection) == {DESK: ("unknown", None)}
        assert nodes.registered(sync, "edge1") is None
        assert nodes.registered(sync, "edge7") is None


async def test_many_are_compared_in_batches(
    connection: store.Connection, edge: Edge, rpc: JsonRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every device once, whatever the size of a batch; nothing is asked when nothing differs."""
    monkeypatch.setattr(registrations, "_BATCH", 7)
    aors = [f"d{number:02}@{DOMAIN}" for number in range(30)]
    for aor in aors:
        edge.rpc("ul.add", "location", aor, f"sip:{aor}", 300, "0.5", "", 0, 0, 0)
    await in_file(edge, set(aors))
    await beat(connection)
    one = Registrations("edge1", rpc, edge.location)
    await one.compare(connection)
    assert await said(connection) == dict.fromkeys(aors, ("registered", 1))
    monkeypatch.setattr(one, "_look", lambda aors: pytest.fail(f"asked about {aors}"))
    await one.compare(connection)
    monkeypatch.undo()
    for aor in aors:
        edge.rpc("ul.rm", "location", aor)
    await in_file(edge, set())
    await one.compare(connection)
    assert await said(connection) == dict.fromkeys(aors, ("unregistered", 0))


async def test_an_edge_that_restarts_is_compared_again(
    database: str, connection: store.Connection, edge: Edge, phone: Endpoint, rpc: JsonRpc, tmp_path: Path
) -> None:
    await asyncio.to_thread(phone.register)
    async with agent(database, edge, tmp_path, rpc):
        await beat(connection)
        await until(connection, ("registered", 1))
        await asyncio.to_thread(edge.stop)
        # Whatever happened meanwhile, no line says it.
        await connection.execute("UPDATE control.registrations SET contacts = 5")
        await asyncio.to_thread(edge.start)
        await until(connection, ("registered", 1))


async def test_a_file_that_cannot_be_read_is_named(
    connection: store.Connection, edge: Edge, rpc: JsonRpc
) -> None:
    one = Registrations("edge1", rpc, edge.home / "absent.db")
    with pytest.raises(NodeRefused, match=r"absent.db.*DIALPLANE_LOCATION"):
        await one.follow(connection)
    rows = await connection.execute("SELECT compared_at FROM control.registrars")
    assert await rows.fetchall() == [{"compared_at": None}]
