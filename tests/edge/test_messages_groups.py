"""Messages to a group by its handling preferences, and in its name, on a real edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.edge.conftest import DOMAIN, Make, company, running
from tests.edge.edge import Edge
from tests.edge.message import Message, uri_of
from tests.edge.messaging import GREETING, agent, engine, final, forget, publish, record, said, until
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live
DESK, DESK2, LOBBY = (f"{one}@{DOMAIN}" for one in ("desk1", "desk2", "lobby"))
IDENTITY, OTHER = "+4930555020", "+4930555099"
LEADS = {
    "acme/600": "group=sales",
    "small/201": "user=s1;device=s1@small.example",
}
MEMBERS = {"members": [{"user": "desk"}, {"user": "lobby", "outgoing": True}]}


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
    numbers = {"number": {IDENTITY: "acme", OTHER: "small"}}
    publish(database, company(net) | {"lead": LEADS} | numbers)
    lines = {
        "account-acme/:user:lobby": f"Return(national,{IDENTITY},103,,Lobby)",
        f"inbound-acme/{IDENTITY}": "Goto(account-acme,600,1)",
        f"inbound-small/{OTHER}": "Goto(account-small,201,1)",
    }
    publish(database, {"dialplan": lines}, "media", "c1")
    for key, value in LEADS.items():
        edge.put("lead", key, value)
    edge.put("number", IDENTITY, "acme")
    forget(edge)
    return database


def group(url: str, **values: Any) -> None:
    """The group sales, with two users of whom one has two devices."""
    entries = {
        "group/sales": MEMBERS | {"identity": IDENTITY} | values,
        "user/desk": {"devices": [DESK, DESK2]},
        "user/lobby": {"devices": [LOBBY]},
    }
    publish(url, {"policy": {f"acme/{key}": json.dumps(one) for key, one in entries.items()}}, "media", "c1")


def written(phone: Endpoint, called: str, text: str = GREETING, domain: str = DOMAIN) -> str:
    """Sends a message that is accepted; its id."""
    answer = final(phone, said(phone, f"sip:{called}@{domain}", text))
    assert answer.status == 202
    return answer["X-DP-Message"]


def taken(phone: Endpoint, timeout: float = 15) -> Message:
    """A message comes and is taken."""
    got = phone.expect("MESSAGE", timeout)
    phone.answer(got, 200, "OK")
    return got


def over(url: str, message: str) -> dict[str, Any] | None:
    found = record(url, message)
    return found if found.get("ended_at") else None


@pytest.fixture
def phones(make: Make, edge: Edge) -> Iterator[dict[str, Endpoint]]:
    """Phones, none registered."""
    made = {name: make(name, 60 + place) for place, name in enumerate(("mobile", "desk1", "desk2", "lobby"))}
    made["s1"] = make("s1", 70, "small.example")
    yield made
    for phone in made.values():
        phone.register(expires=0)


async def test_all_members_with_all_devices(
    edge: Edge, url: str, phones: dict[str, Endpoint], tmp_path: Path
) -> None:
    group(url)
    for name in ("desk1", "lobby"):
        phones[name].register()
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, phones["mobile"], "600")
        for name in ("desk1", "lobby"):
            got = await asyncio.to_thread(taken, phones[name])
            assert (got.body, got["X-DP-Message"]) == (GREETING, message)
            assert uri_of(got["From"]) == f"sip:mobile@{DOMAIN}"
        await until(lambda: record(url, message)["to"][DESK2] == "away")
        await asyncio.to_thread(phones["desk2"].register)
        await asyncio.to_thread(taken, phones["desk2"])
        row = await until(lambda: over(url, message))
    assert (row["lead"], row["to"]) == ("group:sales", dict.fromkeys((DESK, DESK2, LOBBY), "delivered"))


async def test_one_by_one_until_somebody_has_it(
    edge: Edge, url: str, phones: dict[str, Endpoint], tmp_path: Path
) -> None:
    """Of the first member nobody is there: the second one has it, and the first hears nothing when it comes back."""
    group(url, strategy="in_order")
    phones["lobby"].register()
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, phones["mobile"], "600")
        await asyncio.to_thread(taken, phones["lobby"])
        row = await until(lambda: over(url, message))
        assert row["to"] == {DESK: "withdrawn", DESK2: "withdrawn", LOBBY: "delivered"}
        await asyncio.to_thread(phones["desk1"].register)
        await asyncio.sleep(2)
        assert phones["desk1"].silent(0.1)


async def test_who_is_there_first_of_those_who_were_all_away(
    edge: Edge, url: str, phones: dict[str, Endpoint], tmp_path: Path
) -> None:
    group(url, strategy="in_order")
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, phones["mobile"], "600")
        await until(lambda: set(record(url, message)["to"].values()) == {"away"})
        await asyncio.to_thread(phones["lobby"].register)
        await asyncio.to_thread(taken, phones["lobby"])
        await until(lambda: over(url, message))


async def test_only_who_is_there(edge: Edge, url: str, phones: dict[str, Endpoint], tmp_path: Path) -> None:
    group(url, messages="present")
    async with agent(url, edge, tmp_path), engine(url):
        await asyncio.to_thread(phones["desk2"].register)
        await until(lambda: registered(url, DESK2))
        message = await asyncio.to_thread(written, phones["mobile"], "600")
        await asyncio.to_thread(taken, phones["desk2"])
        await until(lambda: record(url, message)["to"] == {DESK: "away", DESK2: "delivered"})


def registered(url: str, aor: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT contacts FROM control.registrations WHERE aor = %s", (aor,)
        ).fetchone()
    return bool(row and row[0])


async def test_a_member_writes_outside_in_the_groups_name(
    edge: Edge, url: str, phones: dict[str, Endpoint], tmp_path: Path
) -> None:
    """The other account sees the group's number; the others get a copy that says who wrote to whom; the answer comes to
    the group."""
    group(url)
    for name in ("s1", "desk1", "lobby"):
        phones[name].register()
    async with agent(url, edge, tmp_path), engine(url):
        message = await asyncio.to_thread(written, phones["lobby"], OTHER)
        got = await asyncio.to_thread(taken, phones["s1"])
        assert uri_of(got["From"]) == f"sip:{IDENTITY}@small.example"
        copy = await asyncio.to_thread(taken, phones["desk1"])
        assert (copy.body, copy["X-DP-Message"]) == (GREETING, message)
        assert (uri_of(copy["From"]), uri_of(copy["To"])) == (f"sip:{LOBBY}", f"sip:{OTHER}@{DOMAIN}")
        row = await until(lambda: record(url, message)["state"] == "delivered" and record(url, message))
        assert row["shown"] == IDENTITY
        answer = await asyncio.to_thread(written, phones["s1"], IDENTITY, "Yes", "small.example")
        for name in ("desk1", "lobby"):
            assert (await asyncio.to_thread(taken, phones[name]))["X-DP-Message"] == answer
    assert phones["lobby"].silent(0.1)
