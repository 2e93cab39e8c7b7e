"""The process that routes messages and has them delivered: `dialplane message serve`. Several may run.

    engine = Engine(dsn)
    await engine.run()

It waits for what edges ship and for devices that register, looks every second at what is due, and asks the agent of
an edge to deliver; the phone's answer is the outcome. Without PostgreSQL it waits; edges go on accepting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg

from controller.calls import store as calls
from controller.errors import DatabaseError, DialplaneError
from controller.messages import http, settle, store
from controller.messages.carriers import Carrier, choose
from controller.messages.decide import route
from controller.messages.model import Outcome
from controller.messages.phones import ANSWER_S
from controller.messages.text import plain
from controller.schema.database import connect
from controller.wire.ami import OutcomeUnknown
from controller.wire.smpp import Link

log = logging.getLogger("dialplane.messages")

# So many deliveries are under way at once.
AT_ONCE = 32
_LOOK_S = 1.0
_SWEEP_S = 5.0
_FORGET_S = 60.0
_AGAIN_S = 1.0
_T = TypeVar("_T")


class Engine:
    """One process, one event loop."""

    def __init__(
        self, dsn: str, carriers: Sequence[Carrier] = (), links: Mapping[str, Link] | None = None
    ) -> None:
        """`links`: to the message centres of those that speak SMPP, by the carrier's name."""
        self._dsn, self._carriers, self._links = dsn, carriers, links or {}
        self._wake = asyncio.Event()
        self._came: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; survives the database going away."""
        said = ""
        while True:
            try:
                await self._connected()
            except* (DatabaseError, psycopg.Error) as group:
                sentence = str(group.exceptions[0]).strip().partition("\n")[0]
                if sentence != said:
                    log.warning("%s; trying again", sentence)
                said = sentence
            await asyncio.sleep(_AGAIN_S)

    async def _connected(self) -> None:
        with connect(self._dsn, autocommit=True) as working:
            async with calls.connect(self._dsn) as listening, calls.connect(self._dsn) as asking:
                log.info("connected to PostgreSQL")
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._listen(listening))
                        tasks.create_task(self._work(working, asking))
                finally:
                    for task in self._sending:
                        task.cancel()
                    await asyncio.gather(*self._sending, return_exceptions=True)

    async def _listen(self, connection: calls.Connection) -> None:
        async for channel, payload in store.notices(connection):
            if channel == "dialplane_registration":
                self._came.add(payload)
            self._wake.set()
        raise DatabaseError("PostgreSQL closed the connection that listens")

    async def _work(self, working: psycopg.Connection[Any], asking: calls.Connection) -> None:
        """One thing at a time on the working connection."""
        lock = asyncio.Lock()

        async def do(work: Callable[[psycopg.Connection[Any]], _T]) -> _T:
            async with lock:
                return await asyncio.to_thread(work, working)

        loop = asyncio.get_running_loop()
        sweep_at = forget_at = 0.0
        while True:
            self._wake.clear()
            if self._came:
                came, self._came = sorted(self._came), set()
                await do(lambda connection, came=came: store.came(connection, came))  # type: ignore[misc]
            while await do(lambda connection: store.route_waiting(connection, route)):
                pass
            if loop.time() >= sweep_at:
                sweep_at = loop.time() + _SWEEP_S
                await do(store.sweep)
            if loop.time() >= forget_at:
                forget_at = loop.time() + _FORGET_S
                await do(store.forget)
            free = AT_ONCE - len(self._sending)
            for one in await do(lambda connection, free=free: store.claim(connection, free)) if free else ():  # type: ignore[misc]
                task = asyncio.create_task(self._send(one, asking, do))
                self._sending.add(task)
                task.add_done_callback(self._sent)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        # The next one to that address may go.
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a delivery was not made: %s", error)

    async def _send(self, one: store.Claimed, asking: calls.Connection, do: Callable[..., Any]) -> None:
        edge, outcome = await self._phone(one, asking)
        if outcome is not None:
            await do(lambda connection: store.done(connection, one, outcome, edge))

    async def _phone(self, one: store.Claimed, asking: calls.Connection) -> tuple[str | None, Outcome | None]:
        """The edge that was asked, and what it came to; None: somebody else has it by now."""
        if one.kind == "number":
            return None, await self._outside(one, asking)
        edge = await store.edge_of(asking, one.address)
        if edge is None:
            return None, Outcome("away", None, "not registered")
        if not await store.hold(asking, one):
            return edge, None
        try:
            # As long as an agent may take, and then some: who took it answers.
            answer = await calls.ask(asking, edge, "message", {"delivery": one.id}, 2 * ANSWER_S - 5)
        except OutcomeUnknown as error:
            return edge, settle.unheard(str(error), one.tries - 1)
        except DatabaseError:
            raise
        except DialplaneError as error:
            return edge, settle.unheard(str(error), one.tries - 1)
        status, reason = int(answer["status"]), str(answer["reason"])
        return edge, settle.answered(status, reason, one.tries - 1, away=bool(answer["away"]))

    async def _outside(self, one: store.Claimed, asking: calls.Connection) -> Outcome | None:
        """A carrier takes it, or why not; None: somebody else has it by now."""
        found = await store.sheet(asking, one.id)
        if found is None or not await store.hold(asking, one):
            return None
        carrier = choose(self._carriers, found.account, found.to)
        if carrier is None:
            return Outcome("failed", None, f"no carrier takes messages of {found.account} to {found.to}")
        said = plain(found.content_type, found.body)
        if said is None:
            return Outcome("failed", 415, "carriers take text only")
        return await self._carried(
            carrier, http.Text(f"{one.message}-{one.id}", found.sender, found.to, said), one
        )

    async def _carried(self, carrier: Carrier, text: http.Text, one: store.Claimed) -> Outcome:
        if carrier.place is None:
            return await asyncio.to_thread(http.send, carrier, text, one.tries - 1)
        answer = await self._links[carrier.name].submit(*text)
        if answer.later:
            return settle.unheard(f"{carrier.name}: {answer.status}", one.tries - 1)
        if answer.ok:
            return Outcome("delivered", None, "the carrier has it")
        return Outcome("failed", None, f"{carrier.name}: {answer.status}")
