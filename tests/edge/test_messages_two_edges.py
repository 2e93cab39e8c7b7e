"""Messages between phones at different edges of one device group."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.edge.conftest import DOMAIN, company
from tests.edge.edge import Edge
from tests.edge.messaging import GREETING, TEXT, agent, engine, final, kept, publish, record, said, until
from tests.edge.pair import AOR, contacts, eventually, group, together
from tests.edge.phone import Endpoint
from tests.edge.steps import UUID, dp

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def edges(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Edge]]:
    both = group(net, tmp_path_factory)
    for one in both:
        one.start()
    together(both)
    yield both
    for one in both:
        one.stop()


@pytest.fixture
def desk(net: str, edges: list[Edge]) -> Iterator[Endpoint]:
    """A phone that signs in at the first edge."""
    with Endpoint("desk1", DOMAIN, f"{net}.50", (f"{net}.1", 5060)) as phone:
        yield phone


@pytest.fixture(params=["udp", "tcp"])
def lobby(net: str, edges: list[Edge], request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """A phone whose home is the second edge."""
    with Endpoint("lobby", DOMAIN, f"{net}.51", (f"{net}.2", 5060), transport=request.param) as phone:
        phone.register()
        eventually(lambda: contacts(edges[0]) == [phone.contact], 1)
        yield phone
        phone.register(expires=0)
        eventually(lambda: not contacts(edges[0]), 1)


def test_straight_by_the_home_of_the_phone(edges: list[Edge], desk: Endpoint, lobby: Endpoint) -> None:
    sent = said(desk, f"sip:lobby@{DOMAIN}")
    got = lobby.expect("MESSAGE")
    (mine,) = dp(got).items()
    assert (got.body, got["Content-Type"], mine[0], len(mine[1])) == (
        GREETING,
        TEXT[0][1],
        "X-DP-Message",
        UUID,
    )
    lobby.answer(got, 200, "OK")
    assert final(desk, sent).status == 200
    sent = said(desk, f"sip:lobby@{DOMAIN}")
    lobby.answer(lobby.expect("MESSAGE"), 480, "Not Now")
    assert final(desk, sent).status == 202
    (row,) = kept(edges[0])
    assert (row["target"], row["why"]) == (AOR, "480")
    assert kept(edges[1]) == []
    with closing(sqlite3.connect(edges[0].messages)) as file:
        file.execute("DELETE FROM message")
        file.commit()


async def test_delivered_by_the_edge_where_the_device_registers(
    edges: list[Edge], desk: Endpoint, net: str, database: str, tmp_path: Path
) -> None:
    """Accepted by the first edge; the phone comes to the second one."""
    publish(database, company(net))
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE control.messages CASCADE")
    folders = [tmp_path / one for one in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    async with (
        agent(database, edges[0], folders[0]),
        agent(database, edges[1], folders[1], "edge2"),
        engine(database),
    ):
        answer = await asyncio.to_thread(lambda: final(desk, said(desk, f"sip:lobby@{DOMAIN}")))
        assert answer.status == 202
        with Endpoint("lobby", DOMAIN, f"{net}.52", (f"{net}.2", 5060), transport="tcp") as phone:
            await asyncio.to_thread(phone.register)
            got = await asyncio.to_thread(phone.expect, "MESSAGE", 20)
            phone.answer(got, 200, "OK")
            assert got["X-DP-Message"] == answer["X-DP-Message"]
            await until(lambda: record(database, answer["X-DP-Message"])["state"] == "delivered")
            await asyncio.to_thread(lambda: phone.register(expires=0))
