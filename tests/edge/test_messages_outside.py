"""Messages to and from numbers outside, by a carrier's double, on a real edge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.messages import http
from controller.messages.carriers import Carrier
from controller.messages.serve import keeper, run
from tests.carrier import CarrierDouble
from tests.edge.conftest import DOMAIN, Make, company, running
from tests.edge.edge import Edge
from tests.edge.message import uri_of
from tests.edge.messaging import GREETING, agent, engine, final, forget, publish, record, said, until
from tests.edge.phone import Endpoint
from tests.smsc import Centre

pytestmark = pytest.mark.live
LOBBY, OWN, FAR = f"lobby@{DOMAIN}", "+4930555010", "+33123456789"
ACCOUNT = "cluster=c1;status=active;country=DE;text=1"


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
    leads = {"acme/103": f"user=lobby;device={LOBBY};straight=1"}
    publish(database, company(net) | {"lead": leads, "account": {"acme": ACCOUNT}, "number": {OWN: "acme"}})
    lines = {
        "account-acme/:account": f"Return(DE,de,{OWN})",
        f"inbound-acme/{OWN}": "Goto(account-acme,103,1)",
    }
    publish(database, {"dialplan": lines}, "media", "c1")
    edge.put("account", "acme", ACCOUNT)
    forget(edge)
    return database


@pytest.fixture
def double() -> Iterator[CarrierDouble]:
    with CarrierDouble().running() as one:
        yield one


def carriers(double: CarrierDouble) -> tuple[Carrier, ...]:
    return (Carrier("sms", double.url, double.token, double.secret),)


def written(phone: Endpoint, called: str, text: str = GREETING) -> str:
    answer = final(phone, said(phone, f"sip:{called}@{DOMAIN}", text))
    assert answer.status == 202
    return answer["X-DP-Message"]


def over(url: str, message: str) -> dict[str, Any] | None:
    found = record(url, message)
    return found if found.get("ended_at") else None


async def test_out_and_not_lost_while_the_carrier_is_away(
    make: Make, edge: Edge, url: str, double: CarrierDouble, tmp_path: Path
) -> None:
    lobby = make("lobby", 51)
    double.answers = [(503, {})]
    async with agent(url, edge, tmp_path), engine(url, carriers(double)):
        message = await asyncio.to_thread(written, lobby, "0033123456789")
        row = await until(lambda: over(url, message))
    assert (row["state"], row["shown"], row["to"]) == ("delivered", OWN, {FAR: "delivered"})
    assert len(double.requests) == 2
    ((id_, sent),) = double.taken.items()
    assert id_.startswith(message)
    assert (sent["from"], sent["to"], sent["text"]) == (OWN, FAR, GREETING)


async def test_two_processes_send_it_once(
    make: Make, edge: Edge, url: str, double: CarrierDouble, tmp_path: Path
) -> None:
    lobby, known = make("lobby", 51), carriers(double)
    async with agent(url, edge, tmp_path), engine(url, known), engine(url, known):
        messages = [await asyncio.to_thread(written, lobby, FAR, f"{one}") for one in range(8)]
        await until(lambda: all(over(url, one) for one in messages))
    assert [one["text"] for one in double.requests] == [f"{one}" for one in range(8)]


async def test_what_the_carrier_will_not_have(
    make: Make, edge: Edge, url: str, double: CarrierDouble, tmp_path: Path
) -> None:
    lobby = make("lobby", 51)
    double.answers = [(422, {})]
    async with agent(url, edge, tmp_path), engine(url, carriers(double)):
        message = await asyncio.to_thread(written, lobby, FAR)
        row = await until(lambda: over(url, message))
    assert (row["state"], row["status"], row["reason"]) == ("failed", 422, "the carrier will not have it")


async def test_in_and_stored_until_the_phone_is_there(
    make: Make, edge: Edge, url: str, double: CarrierDouble, tmp_path: Path
) -> None:
    lobby = make("lobby", 51)
    door = http.server(("127.0.0.1", 0), carriers(double), keeper(url))
    threading.Thread(target=door.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{door.server_address[1]}/sms/messages"
    brought = {"id": "c-1", "from": FAR, "to": OWN, "text": GREETING}
    try:
        async with agent(url, edge, tmp_path), engine(url, carriers(double)):
            status, answer = await asyncio.to_thread(double.bring, place, brought)
            assert status == 202
            # Brought twice, it is one message.
            assert await asyncio.to_thread(double.bring, place, brought) == (202, answer)
            assert (await asyncio.to_thread(double.bring, place, brought | {"to": "+4930999999"}))[0] == 404
            await until(lambda: record(url, answer["message"])["to"] == {LOBBY: "away"})
            await asyncio.to_thread(lobby.register)
            got = await asyncio.to_thread(lobby.expect, "MESSAGE", 15)
            lobby.answer(got, 200, "OK")
            assert (got.body, uri_of(got["From"])) == (GREETING, f"sip:{FAR}@{DOMAIN}")
            await until(lambda: over(url, answer["message"]))
            await asyncio.to_thread(written, lobby, FAR, "Yes")
            await until(lambda: [one["text"] for one in double.taken.values()] == ["Yes"])
        assert lobby.silent(0.1)
    finally:
        door.shutdown()
        door.server_close()
        lobby.register(expires=0)


async def test_by_a_message_centre(make: Make, edge: Edge, url: str, tmp_path: Path) -> None:
    """Out, and in; what comes while the database is away is brought again."""
    pytest.importorskip("aiosmpplib", reason="the extra smpp is not installed")
    lobby = make("lobby", 51)
    lobby.register()
    async with Centre().running() as centre:
        known = (Carrier("centre", place=("127.0.0.1", centre.port), system_id="acme", password="secret"),)
        serving = asyncio.create_task(run(url, known, None))
        try:
            async with agent(url, edge, tmp_path):
                await until(lambda: centre.binds)
                message = await asyncio.to_thread(written, lobby, FAR)
                row = await until(lambda: over(url, message))
                assert (row["state"], row["to"]) == ("delivered", {FAR: "delivered"})
                assert [(one.sender, one.to, one.text) for one in centre.taken] == [
                    (OWN[1:], FAR[1:], GREETING)
                ]
                centre.bring(FAR[1:], OWN[1:], "Ответ")
                got = await asyncio.to_thread(lobby.expect, "MESSAGE", 15)
                lobby.answer(got, 200, "OK")
                assert (got.body, uri_of(got["From"])) == ("Ответ", f"sip:{FAR}@{DOMAIN}")
                await until(lambda: centre.acknowledged == [0])
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    lobby.register(expires=0)
