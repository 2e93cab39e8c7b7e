"""An accepted message is delivered, whatever is away meanwhile: on a real edge, with its agent, PostgreSQL, and the
process that delivers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.edge.conftest import DOMAIN, Make, company, running
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.messaging import (
    GREETING,
    TEXT,
    agent,
    engine,
    final,
    forget,
    kept,
    publish,
    record,
    said,
    until,
)
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live
DESK, LOBBY = f"desk1@{DOMAIN}", f"lobby@{DOMAIN}"
LEADS = {
    "acme/103": f"user=lobby;device={LOBBY}",
    "acme/101": f"user=desk;device={DESK}+desk2@{DOMAIN}",
    "small/201": "user=s1;device=s1@small.example",
    "acme/104": "user=nobody",
}


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge that may complain."""
    yield from running(net, tmp_path_factory, flood_limit=300)


@pytest.fixture
def url(database: str, edge: Edge, net: str) -> str:
    """A database in which the company is published, and no message is left."""
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE control.messages CASCADE")
        connection.execute("TRUNCATE control.registrations, control.registrars, control.node_commands")
    publish(database, company(net) | {"lead": LEADS})
    publish(database, {"dialplan": {"inbound-small/+4930555099": "Goto(account-small,201,1)"}}, "media", "c1")
    forget(edge)
    told(edge)
    return database


def told(edge: Edge) -> None:
    """The edge knows what leads to whom."""
    for key, value in LEADS.items():
        edge.put("lead", key, value)


def written(
    phone: Endpoint, called: str, text: str = GREETING, headers: tuple[tuple[str, str], ...] = TEXT
) -> str:
    """Sends a message that is accepted; its id."""
    answer = final(phone, said(phone, f"sip:{called}@{DOMAIN}", text, headers))
    assert answer.status == 202
    return answer["X-DP-Message"]


def taken(phone: Endpoint, timeout: float = 15) -> Message:
    """A message comes and is taken."""
    got = phone.expect("MESSAGE", timeout)
    phone.answer(got, 200, "OK")
    return got


def delivered(url: str, message: str) -> dict[str, Any] | None:
    found = record(url, message)
    return found if found.get("ended_at") else None


async def test_who_is_away_gets_it_when_it_registers(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, desk, "103")
        await until(lambda: record(url, message)["to"] == {LOBBY: "away"})
        assert kept(edge) == []
        await asyncio.to_thread(lobby.register)
        got = await asyncio.to_thread(taken, lobby)
        assert (got.body, got["Content-Type"], got["X-DP-Message"]) == (GREETING, TEXT[0][1], message)
        assert got["From"].startswith(f"<sip:{DESK}>")
        row = await until(lambda: delivered(url, message))
    assert (row["state"], row["way"], row["why"], row["lead"], row["body"], row["size"]) == (
        "delivered", "accepted", "unregistered", f"device:{LOBBY}", None, len(GREETING.encode()),
    )  # fmt: skip
    assert row["to"] == {LOBBY: "delivered"}
    lobby.register(expires=0)


async def test_what_went_straight_has_a_record_too(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    lobby.register()
    async with agent(url, edge, tmp_path):
        sent = said(desk, f"sip:103@{DOMAIN}")
        got = taken(lobby)
        assert final(desk, sent).status == 200
        row = await until(lambda: delivered(url, got["X-DP-Message"]))
    assert (row["state"], row["way"], row["status"], row["to"]) == (
        "delivered",
        "straight",
        200,
        {LOBBY: "delivered"},
    )
    lobby.register(expires=0)


async def test_all_devices_of_a_user_get_it(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    lobby, one, two = make("lobby", 51), make("desk1", 52), make("desk2", 53)
    one.register()
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, lobby, "101")
        assert (await asyncio.to_thread(taken, one)).body == GREETING
        await until(lambda: record(url, message)["state"] == "delivered")
        await asyncio.to_thread(two.register)
        assert (await asyncio.to_thread(taken, two))["X-DP-Message"] == message
        row = await until(lambda: delivered(url, message))
    assert row["to"] == {DESK: "delivered", f"desk2@{DOMAIN}": "delivered"}
    for phone in (one, two):
        phone.register(expires=0)


async def test_the_number_of_another_account(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk, other = make("desk1", 50), make("s1", 54, "small.example")
    other.register()
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, desk, "+4930555099")
        assert (await asyncio.to_thread(taken, other))["X-DP-Message"] == message
        await until(lambda: delivered(url, message))
    other.register(expires=0)


async def test_nobody_to_get_it(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk = make("desk1", 50)
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, desk, "104")
        row = await until(lambda: delivered(url, message))
    assert (row["state"], row["reason"], row["to"]) == ("failed", "user nobody has no enabled device", {})


async def test_a_phone_that_will_never_take_it(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, desk, "103")
        await asyncio.to_thread(lobby.register)
        lobby.answer(await asyncio.to_thread(lobby.expect, "MESSAGE", 15), 415, "Unsupported Media Type")
        row = await until(lambda: delivered(url, message))
    assert (row["state"], row["status"], row["reason"]) == ("failed", 415, "Unsupported Media Type")
    lobby.register(expires=0)


async def test_a_phone_that_is_there_and_will_not_now_is_asked_again_after_a_while(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    lobby.register()
    async with agent(url, edge, tmp_path), engine(url):
        sent = said(desk, f"sip:103@{DOMAIN}")
        for _ in range(2):
            lobby.answer(await asyncio.to_thread(lobby.expect, "MESSAGE", 15), 480, "Do Not Disturb")
        answer = await asyncio.to_thread(final, desk, sent)
        assert answer.status == 202
        await until(lambda: record(url, answer["X-DP-Message"])["to"] == {LOBBY: "due"})
        assert await asyncio.to_thread(lobby.silent, 3)
        assert (await asyncio.to_thread(taken, lobby))["X-DP-Message"] == answer["X-DP-Message"]
        await until(lambda: delivered(url, answer["X-DP-Message"]))
    lobby.register(expires=0)


async def test_messages_come_in_their_order_and_once(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    """Two processes deliver, whoever is first."""
    desk, lobby = make("desk1", 50), make("lobby", 51, transport="tcp")
    texts = [f"{number}: {'long ' * 300 * (number % 2)}" for number in range(12)]
    async with agent(url, edge, tmp_path), engine(url), engine(url):
        for text in texts:
            last = await asyncio.to_thread(written, desk, "103", text)
        await until(lambda: record(url, last)["to"])
        await asyncio.to_thread(lobby.register)
        assert [(await asyncio.to_thread(taken, lobby)).body for _ in texts] == texts
        await until(lambda: delivered(url, last))
        await asyncio.sleep(1.5)
    assert lobby.silent(0.1)
    lobby.register(expires=0)


async def test_a_message_that_expires(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk = make("desk1", 50)
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, desk, "103", GREETING, (*TEXT, ("Expires", "1")))
        row = await until(lambda: delivered(url, message))
    assert (row["state"], row["to"], row["body"]) == ("expired", {LOBBY: "expired"}, None)


CPIM = (("Content-Type", "message/cpim"),)
ASKS = (
    f"From: <sip:{DESK}>\r\nTo: <sip:103@{DOMAIN}>\r\nDateTime: 2026-11-20T10:00:00+01:00\r\n"
    "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: abc-1\r\n"
    "imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\r\n"
    f"Content-Type: text/plain;charset=UTF-8\r\n\r\n{GREETING}"
)


async def test_the_sender_is_told_if_it_asks(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    desk.register()
    async with agent(url, edge, tmp_path), engine(url):
        await asyncio.to_thread(written, desk, "103", ASKS, CPIM)
        await asyncio.to_thread(lobby.register)
        assert (await asyncio.to_thread(taken, lobby)).body == ASKS
        report = await asyncio.to_thread(taken, desk)
        assert report["Content-Type"] == "message/cpim"
        assert "<message-id>abc-1</message-id>" in report.body
        assert "<delivered/>" in report.body
        lobby.register(expires=0)
        await asyncio.to_thread(
            written, desk, "103", ASKS.replace("abc-1", "abc-2"), (*CPIM, ("Expires", "1"))
        )
        report = await asyncio.to_thread(taken, desk)
        assert "<message-id>abc-2</message-id>" in report.body
        assert "<failed/>" in report.body
    desk.register(expires=0)


# --- outages ------------------------------------------------------------------------------------------------------


async def test_an_edge_that_is_killed_right_after_its_202(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    message = written(desk, "103")
    edge.stop(kill=True)
    edge.start()
    told(edge)
    async with agent(url, edge, tmp_path), engine(url):
        await until(lambda: record(url, message)["to"])
        await asyncio.to_thread(lobby.register)
        assert (await asyncio.to_thread(taken, lobby))["X-DP-Message"] == message
        row = await until(lambda: delivered(url, message))
    assert row["state"] == "delivered"
    lobby.register(expires=0)


async def test_agent_database_and_deliverer_are_away(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    desk, lobby = make("desk1", 50), make("lobby", 51)
    messages = [written(desk, "103", f"first {one}") for one in range(3)]
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    server = psycopg.conninfo.make_conninfo(url, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as admin:

        def database(*, there: bool) -> None:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.Literal(there)))
            if not there:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (conninfo_to_dict(url)["dbname"],),
                )

        async with agent(url, edge, tmp_path), engine(url):
            await until(lambda: all(record(url, one)["to"] for one in messages))
            await asyncio.to_thread(lambda: database(there=False))
            try:
                messages += [await asyncio.to_thread(written, desk, "103", f"then {one}") for one in range(3)]
                await asyncio.to_thread(lobby.register)
                await asyncio.sleep(1)
                assert len(kept(edge)) == 3
            finally:
                await asyncio.to_thread(lambda: database(there=True))
            got = [await asyncio.to_thread(taken, lobby, 40) for _ in messages]
            assert sorted(one["X-DP-Message"] for one in got) == sorted(messages)
            await until(lambda: all(delivered(url, one) for one in messages))
    assert kept(edge) == []
    lobby.register(expires=0)


async def test_what_was_shipped_and_not_removed_is_one_message(
    make: Make, edge: Edge, url: str, tmp_path: Path
) -> None:
    desk = make("desk1", 50)
    message = written(desk, "103")
    with closing(sqlite3.connect(edge.messages)) as file:
        rows = file.execute("SELECT * FROM message").fetchall()
        async with agent(url, edge, tmp_path):
            await until(lambda: not kept(edge))
            file.executemany(f"INSERT INTO message VALUES ({', '.join('?' * len(rows[0]))})", rows)
            file.commit()
            await until(lambda: not kept(edge))
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT id::text FROM control.messages WHERE way = 'accepted'").fetchall()
    assert found == [(message,)]


def test_a_disk_that_cannot_be_written(make: Make, edge: Edge, url: str) -> None:
    desk = make("desk1", 50)
    with closing(sqlite3.connect(edge.messages)) as file:
        file.execute("ALTER TABLE message RENAME TO away")
        try:
            answer = final(desk, said(desk, f"sip:101@{DOMAIN}"))
        finally:
            file.execute("ALTER TABLE away RENAME TO message")
    assert (answer.status, answer["Retry-After"]) == (503, "30")
    written(desk, "101")
    forget(edge)
