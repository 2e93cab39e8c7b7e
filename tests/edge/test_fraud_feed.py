"""From a phone at a real edge to a verdict: what the edge says is a row at once, and the engine of fraud hears it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.messaging import TEXT, agent, forget, said
from tests.edge.phone import Endpoint
from tests.edge.steps import dp
from tests.edge.test_who import PHONE, guess

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
PREMIUM = "+499001234567"


@pytest.fixture
def url(database: str, edge: Edge) -> str:
    """A database in which nothing happened."""
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE control.call_events, control.call_records, control.fraud_verdicts")
    forget(edge)
    return database


@pytest.fixture
def engine(url: str) -> Iterator[subprocess.Popen[str]]:
    """`dialplane fraud serve`, at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from controller.cli import main; main()", "fraud", "serve"],
        env=os.environ | {"DIALPLANE_DATABASE": url}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert any("works" in line for line in process.stderr)
    yield process
    process.kill()
    process.communicate()


@asynccontextmanager
async def slow_agent(url: str, edge: Edge, folder: Path) -> AsyncIterator[None]:
    """An agent whose records are late by many seconds."""
    async with agent(url, edge, folder, ship_interval_s=20):
        # What the edge said in other tests is shipped.
        await asyncio.sleep(1)
        yield


def premium(phone: Endpoint, media: Endpoint) -> str:
    """A phone's call that a media node sends to a trunk; its id."""
    phone.invite(f"sip:09001234567@{DOMAIN}", headers=PHONE)
    call = dp(media.expect("INVITE"))["X-DP-Call"]
    media.invite(
        f"sip:{PREMIUM}@trunk.dialplane.internal",
        sign=False,
        headers=(
            ("X-DP-Call", call), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"),
            ("X-DP-Device", f"desk1@{DOMAIN}"),
        ),
    )  # fmt: skip
    return call


async def verdict(url: str, rule: str, level: str = "critical", longest_s: float = 10) -> dict[str, Any]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(longest_s):
            while True:
                rows = await connection.execute(
                    "SELECT subject, level, evidence FROM control.fraud_verdicts WHERE (rule, level) = (%s, %s)",
                    (rule, level),
                )
                if found := await rows.fetchone():
                    return dict(zip(("subject", "level", "evidence"), found, strict=True))
                await asyncio.sleep(0.02)


async def test_what_an_edge_says_is_a_row_within_300_ms(
    url: str, edge: Edge, make: Make, media: Endpoint, tmp_path: Path
) -> None:
    phone = make("desk1", 110)
    late = []
    async with (
        slow_agent(url, edge, tmp_path),
        await psycopg.AsyncConnection.connect(url, autocommit=True) as hears,
    ):
        await hears.execute("LISTEN dialplane_fact")
        for _ in range(12):
            await asyncio.to_thread(phone.invite, f"sip:mobile@{DOMAIN}")
            told = [one async for one in hears.notifies(timeout=5, stop_after=1)]
            assert told
            row = await hears.execute("SELECT max(at) FROM control.call_events WHERE event = 'failed'")
            (at,) = await row.fetchone() or (None,)
            late.append(time.time() - at.timestamp())
        rows = await hears.execute("SELECT count(*) FROM control.call_events WHERE event = 'failed'")
        assert (await rows.fetchone() or (0,))[0] >= 12
        # Records have time.
        rows = await hears.execute(
            "SELECT count(*) FROM control.call_records WHERE started_at > now() - interval '10 s'"
        )
        assert await rows.fetchone() == (0,)
    assert sorted(late)[-2] < 0.3, late


async def test_a_call_that_may_not_be_is_known_before_anybody_answers(
    url: str, edge: Edge, make: Make, media: Endpoint, net: str, tmp_path: Path, engine: subprocess.Popen[str]
) -> None:
    phone, carrier = make("desk1", 111), make("+4930123456", 31, "carrier.example")
    async with slow_agent(url, edge, tmp_path):
        call = await asyncio.to_thread(premium, phone, media)
        await asyncio.to_thread(carrier.expect, "INVITE")
        began = time.monotonic()
        found = await verdict(url, "permission-premium")
        assert time.monotonic() - began < 1.5
    assert found == {"subject": "acme/desk", "level": "critical", "evidence": [PREMIUM, call]}


async def test_an_address_that_tries_names_is_known(
    url: str, edge: Edge, make: Make, net: str, tmp_path: Path, engine: subprocess.Popen[str]
) -> None:
    guesser = make("desk1", 112)
    async with slow_agent(url, edge, tmp_path):
        for number in range(8):
            await asyncio.to_thread(guess, guesser, f"name{number}", 1)
        began = time.monotonic()
        found = await verdict(url, "names-from-one-address")
        assert time.monotonic() - began < 3
    assert found["subject"] == f"{net}.112"


async def test_a_message_that_the_edge_keeps_is_a_row_too(
    url: str, edge: Edge, make: Make, net: str, tmp_path: Path
) -> None:
    phone = make("desk1", 113)
    edge.put("lead", "acme/600", "group=sales")
    async with (
        slow_agent(url, edge, tmp_path),
        await psycopg.AsyncConnection.connect(url, autocommit=True) as looks,
    ):
        message = await asyncio.to_thread(said, phone, f"sip:600@{DOMAIN}", headers=(*TEXT, *PHONE))
        await asyncio.to_thread(
            phone.expect, lambda one: one.status == 202 and one["Call-ID"] == message["Call-ID"]
        )
        async with asyncio.timeout(3):
            while True:
                rows = await looks.execute("SELECT detail FROM control.call_events WHERE event = 'message'")
                if found := await rows.fetchone():
                    break
                await asyncio.sleep(0.02)
    assert (found[0]["device"], found[0]["called"], found[0]["status"]) == (f"desk1@{DOMAIN}", "600", 202)
    assert (found[0]["source"], found[0]["agent"]) == (f"{net}.113", PHONE[0][1])
    edge.drop("lead", "acme/600")
