"""The queues of one process: thousands who wait do not ask one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest

from controller.errors import DatabaseError
from controller.queues import desk as room
from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Joined, Told, Visit

SETUP = Setup(
    "acme", {"support": Queue("support", "in_order", join_empty=True, members=(Place("alice"),))}, {}
)


@pytest.fixture
def url(sample: str) -> Iterator[str]:
    yield sample
    with psycopg.connect(sample, autocommit=True) as connection:
        connection.execute("DELETE FROM control.queue_callers")


def test_many_who_hear_their_place_are_one_look(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TOLD_S", 3600.0)
    looks: list[str] = []
    told = Store.told

    async def counted(store: Store, setup: Setup, name: str) -> dict[int, Told]:
        looks.append(name)
        return await told(store, setup, name)

    monkeypatch.setattr(Store, "told", counted)

    async def setups(account: str) -> Setup:
        assert account == "acme"
        return SETUP

    async def joins(desk: room.Desk, ticket: str) -> Joined:
        async with asyncio.timeout(30):
            while True:
                with suppress(DatabaseError):
                    return await desk.ask(
                        lambda store: store.join(SETUP, Visit(ticket, "acme", "support", ticket, "media1"))
                    )
                await asyncio.sleep(0.05)

    async def go() -> None:
        desk = room.Desk(url, "media1", setups)
        running = asyncio.create_task(desk.run())
        with ExitStack() as waiting:
            here = [
                waiting.enter_context(desk.waits((await joins(desk, f"t{n}")).id, "acme", "support"))
                for n in range(20)
            ]
            said = await asyncio.gather(*map(desk.told, here))
            assert [one.position for one in said if one is not None] == list(range(1, 21))
            assert looks == ["support"]
            # Who came since is told of the next look, and is no reason for one.
            late = waiting.enter_context(desk.waits((await joins(desk, "late")).id, "acme", "support"))
            assert await desk.told(late) is None
            monkeypatch.setattr(room, "TOLD_S", 0.0)
            place = await desk.told(late)
            assert place is not None
            assert place.position == 21
            assert len(looks) == 2
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(go())
