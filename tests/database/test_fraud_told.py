"""What rules of fraud are told besides calls: where addresses are, and which one-time codes were used."""

from __future__ import annotations

import datetime as dt
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.calls import store as calls
from controller.fraud.places import Places
from controller.fraud.serve import Service
from controller.messages import store as messages
from controller.provisioning import store
from tests.database.test_fraud_commands import door
from tests.database.test_fraud_serve import DESK, say
from tests.database.test_messages import accepted
from tests.unit.fraud.test_places import BERLIN, TUNIS, write

pytestmark = pytest.mark.thorough
BY = "198.51.100.9"


@pytest.fixture
def rows(company: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(company, autocommit=True) as connection:
        yield connection


def verdicts(url: str, seconds: float, **more: Any) -> list[tuple[str, str, float]]:
    """What the service says within that time: rule, level, value."""
    found: list[tuple[str, str, float]] = []
    end = time.monotonic() + seconds
    Service(
        url,
        lambda _, one: found.append((one.rule.name, one.level, one.value)),
        lambda: time.monotonic() > end,
        **more,
    ).run()
    return found


def test_a_telephone_that_is_here_and_far_away(
    rows: psycopg.Connection[Any], company: str, tmp_path: Path
) -> None:
    write(tmp_path / "city.mmdb", {"198.51.100.0/24": BERLIN, "203.0.113.0/24": TUNIS})
    now = time.time()
    for number, source in enumerate((BY, "203.0.113.5", BY)):
        say(rows, "registered", f"device:{DESK}", now - 60 + number * 10, source=source, agent="phone/1")
    assert "impossible-travel" not in {name for name, *_ in verdicts(company, 1.5)}
    rows.execute("TRUNCATE control.fraud_verdicts CASCADE")
    found = verdicts(company, 1.5, places=Places(tmp_path / "city.mmdb"))
    assert ("impossible-travel", "warning", 1.0) in found


async def send(url: str, text: str, count: int = 10) -> list[uuid.UUID]:
    """Messages of the desk to numbers in Tunisia, as an agent ships them."""
    now = dt.datetime.now(dt.UTC)
    sent = [
        accepted(
            id=uuid.uuid4(), at=now, account="acme", sender=DESK, user="alice",
            called=f"+2162012{number:04}", target="", why="several", body=text.format(number=123_400 + number).encode(),
            content_type="text/plain", source=BY, agent="app/1",
        )
        for number in range(count)
    ]  # fmt: skip
    async with calls.connect(url) as connection:
        await messages.ship(connection, "edge1", sent)
    return [one.id for one in sent]


def post(address: str, path: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{address}{path}", headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("text", "told", "used", "holds"),
    [
        ("Your code is {number}", True, 0, True),
        ("Your code is {number}", True, 8, False),
        ("Your code is {number}", False, 0, False),
        ("Room {number} is yours tonight", True, 0, False),
    ],
)
async def test_codes_that_nobody_uses(
    rows: psycopg.Connection[Any], company: str, text: str, told: bool, used: int, holds: bool
) -> None:
    rows.execute("UPDATE accounts SET codes_told = %s WHERE name = 'acme'", (told,))
    token = store.new_token(rows, DESK)
    with door(store.fetcher(company), store.teller(company)) as address:
        for _ in range(3):
            for one in (await send(company, text))[:used]:
                assert post(address, f"/{DESK}/used/{one}", token) == 200
    assert ("abroad-codes" in {name for name, *_ in verdicts(company, 1.5)}) is holds


async def test_who_may_tell_that_a_code_was_used(rows: psycopg.Connection[Any], company: str) -> None:
    token, other = store.new_token(rows, DESK), store.new_token(rows, "lobby@acme.example")
    sent = await send(company, "Your code is {number}")
    path = f"/{DESK}/used/{sent[0]}"
    with door(store.fetcher(company), store.teller(company)) as address:
        assert [post(address, path, token), post(address, path, token)] == [200, 200]
        assert post(address, path, other) == 401
        assert post(address, path, "") == 401
        assert post(address, f"/lobby@acme.example/used/{sent[0]}", other) == 404
        assert post(address, f"/{DESK}/used/{uuid.uuid4()}", token) == 404
        assert post(address, f"/{DESK}/used/nothing", token) == 401
        words = await send(company, "Room {number} is yours tonight", 1)
        assert post(address, f"/{DESK}/used/{words[0]}", token) == 200
    said = rows.execute(
        "SELECT call_id, detail ->> 'device' FROM control.call_events WHERE detail ->> 'reason' = 'used'"
    ).fetchall()
    assert said == [(f"message:{sent[0]}", DESK)]


def test_no_database_to_tell(company: str) -> None:
    away = make_conninfo(company, port="1", host="127.0.0.1", connect_timeout="1")
    with door(store.fetcher(company), store.teller(away)) as address:
        assert post(address, f"/{DESK}/used/{uuid.uuid4()}", "x" * 30) == 503
