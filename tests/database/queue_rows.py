"""The company of the tests of queues, its visits, and what the rows say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Visit

ACME = "(SELECT id FROM accounts WHERE name = 'acme')"
ALICE = f"(SELECT id FROM users WHERE name = 'alice' AND account_id = {ACME})"
SUPPORT = f"(SELECT id FROM queues WHERE name = 'support' AND account_id = {ACME})"
SETUP = Setup(
    "acme",
    {
        "support": Queue(
            "support",
            "in_order",
            retry_s=0,
            max_waiting=4,
            members=(Place("alice"), Place("bob")),
            wrap_up_s=30,
        ),
        "all": Queue("all", "ring_all", retry_s=0, members=(Place("alice"), Place("bob")), on_full="busy"),
        "vip": Queue("vip", "in_order", weight=50, members=(Place("alice"),), join_empty=True),
    },
    {"alice": ("desk1@acme.example", "app1@acme.example"), "bob": ("bob@acme.example",)},
)
SUPPORT_QUEUE, ALL = SETUP.queues["support"], SETUP.queues["all"]


def visit(ticket: str, queue: str = "support", **changes: Any) -> Visit:
    return replace(Visit(ticket, "acme", queue, f"call-{ticket}", "media1"), **changes)


@pytest.fixture(name="url")
def queues(sample: str) -> Iterator[str]:
    """The sample company with empty queues."""
    yield sample
    with psycopg.connect(sample, autocommit=True) as connection:
        connection.execute("DELETE FROM control.queue_callers")
        connection.execute("DELETE FROM control.queue_member_stats")
        connection.execute("DELETE FROM control.queue_events")
        connection.execute("DELETE FROM control.call_records")
        connection.execute("DELETE FROM control.registrations")
        connection.execute("DELETE FROM control.registrars")
        connection.execute("DELETE FROM member_states")
        connection.execute("DELETE FROM user_states")


def run(url: str, work: Callable[[Store], Coroutine[Any, Any, Any]], **times: float) -> Any:
    """With a store of its own, in which nobody rests unless the test says so."""

    async def go() -> Any:
        store = await Store.connect(url, timeout_s=20, **{"rest_s": 0.0} | times)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(go())


def events(url: str, caller: int | None = None) -> list[tuple[str, str | None]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT event, member FROM control.queue_events WHERE %s::bigint IS NULL OR caller_id = %s ORDER BY id",
            (caller, caller),
        ).fetchall()


def value(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None


def does(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
