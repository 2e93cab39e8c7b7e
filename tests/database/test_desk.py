"""The queues of one process: thousands who wait do not ask one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest

from controller.errors import BadPolicy, DatabaseError
from controller.queues import desk as room
from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Joined, Told, Visit

pytestmark = pytest.mark.thorough

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


def test_a_bad_account_costs_others_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their callers are renewed and sent on; its own are renewed, too."""
    monkeypatch.setattr(room, "_TICK_S", 0.05)
    monkeypatch.setattr(room, "_HEARTBEAT_S", 0.1)
    queue = Queue("support", "in_order", join_empty=True, max_wait_s=1, members=(Place("alice"),))
    setup = Setup("acme", {"support": queue}, {})

    async def setups(account: str) -> Setup:
        if account != "acme":
            raise BadPolicy("table policy, key bad/queue/support: cannot be read")
        return setup

    async def go() -> None:
        desk = room.Desk(url, "media1", setups)
        running = asyncio.create_task(desk.run())
        with ExitStack() as waiting:
            waiters = []
            for account in ("abad", "acme", "zbad"):
                visit = Visit(account, account, "support", account, "media1")
                async with asyncio.timeout(30):
                    while True:
                        with suppress(DatabaseError):
                            joined = await desk.ask(lambda store, v=visit: store.join(setup, v))  # type: ignore[misc]
                            break
                        await asyncio.sleep(0.05)
                waiters.append(waiting.enter_context(desk.waits(joined.id, account, "support")))
            stale = "UPDATE control.queue_callers SET seen_at = now() - interval '10 s'"
            seen = "SELECT count(*) FROM control.queue_callers WHERE seen_at > now() - interval '5 s'"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(stale.encode())
                async with asyncio.timeout(20):
                    while True:
                        if connection.execute(seen.encode()).fetchone() == (3,):
                            break
                        await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                await waiters[1].wake.wait()
            assert waiters[1].way is not None
            assert not any(one.lost for one in waiters)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(go())


def test_what_a_task_did_not_expect_ends_the_desk(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(desk: room.Desk) -> None:
        raise ValueError("a defect")

    async def setups(account: str) -> Setup:
        return SETUP

    monkeypatch.setattr(room.Desk, "_listen", defect)

    async def go() -> None:
        async with asyncio.timeout(20):
            await room.Desk(url, "media1", setups).run()

    with pytest.raises(ExceptionGroup, match="unhandled") as ended:
        asyncio.run(go())
    assert [str(one) for one in ended.value.exceptions] == ["a defect"]
