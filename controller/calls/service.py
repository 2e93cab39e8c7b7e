"""The call half of an agent: spool to records and registrations, commands to the server, lamps. Runs until cancelled.

    service = CallService(node="media1", dsn=dsn, spool=Path("/var/spool/dialplane/calls"), state=folder, ami=ami)
    await service.run()

It never needs PostgreSQL or the server to be there: it waits for them, and what they missed is made up for.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from controller.calls import store
from controller.calls.commands import EdgeCommands, Handler, MediaCommands, Result, Rpc, run
from controller.calls.facts import DEVICE, GONE, MESSAGE, Fact, gone, restart
from controller.calls.mwi import Lamps
from controller.calls.recordings import Recordings
from controller.calls.registrations import Registrations
from controller.calls.spool import Spool
from controller.calls.table import CallTable
from controller.errors import DatabaseError, NodeError
from controller.messages import store as messages
from controller.messages.model import Letter
from controller.messages.outbox import Outbox
from controller.messages.phones import Phones
from controller.wire.ami import Ami, Event

log = logging.getLogger(__name__)

_SAME_START_S = 3
_WATCH_S = 5
_GONE_AFTER_S = 15
# A look costs microseconds when nothing has changed.
_OUTBOX_S = 0.05
_NEWS_S = 0.1


class CallService:
    """`ami` for a media node (not connected yet: the service connects it), `rpc` for an edge."""

    def __init__(
        self,
        *,
        node: str,
        dsn: str,
        spool: Path,
        state: Path,
        ami: Ami | None = None,
        rpc: Rpc | None = None,
        registrations: Registrations | None = None,
        recordings: Recordings | None = None,
        outbox: Outbox | None = None,
        ship_interval_s: float = 1,
    ) -> None:
        """`state`: folder of the agent for `spool.json`. What an edge says is told within 0.1 s, whatever
        `ship_interval_s` is.
        """
        self.node, self._dsn, self._ship_interval_s = node, dsn, ship_interval_s
        self.spool = Spool(spool, node, state / "spool.json")
        self.table = CallTable()
        self._ami, self._rpc = ami, rpc
        self._started_at: dt.datetime | None = None
        self._edge: EdgeCommands | None = None
        self._registrations = registrations
        self._recordings = recordings
        self._outbox = outbox
        self._look_at = 0.0
        self._missing: set[tuple[str, str, str]] = set()
        self._restarts: list[Fact] = []
        self._results: dict[int, Result] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._fresh = True
        self._have_results = asyncio.Event()
        self.handlers: dict[str, Handler] = {}
        if ami is not None:
            media = MediaCommands(ami, self.table)
            self.handlers |= media.handlers
            ami.on("*", self.table.apply)
            ami.on("FullyBooted", self._booted)
            ami.on_connect(media.resync)
            Lamps(ami, self._devices)
        if rpc is not None:
            self._edge = EdgeCommands(rpc, node)
            self.handlers |= self._edge.handlers | Phones(rpc, self._letter).handlers

    async def run(self) -> None:
        """Everything at once, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._again("call spool", self._ship, self._ship_interval_s))
                group.create_task(self._again("commands", self._commands, 1))
                if self._ami is not None:
                    group.create_task(self._again("AMI", self._connect, 2))
                if self._rpc is not None:
                    group.create_task(self._again("edge", self._watch_edge, _WATCH_S))
                if self._registrations is not None:
                    group.create_task(self._again("registrations", self._registered, 1))
                if self._recordings is not None:
                    group.create_task(self._again("recordings", self._tidy, 1))
                if self._outbox is not None:
                    group.create_task(self._again("accepted messages", self._accepted, 1))
        finally:
            for task in self._running:
                task.cancel()
            if self._ami is not None:
                await self._ami.close()

    async def _again(self, what: str, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """`work` for ever. What is away is said once when it goes and once when it is back."""
        away = False
        while True:
            try:
                await work()
                if away:
                    log.info("%s of %s: works again", what, self.node)
                away = False
            except (DatabaseError, NodeError, OSError) as error:
                if not away:
                    log.warning("%s of %s: %s: trying again", what, self.node, error)
                away = True
            await asyncio.sleep(pause_s)

    # --- records ------------------------------------------------------------------------------------------

    async def _ship(self) -> None:
        async with store.connect(self._dsn) as connection:
            while True:
                await self.ship_once(connection)
                if self._edge is not None and asyncio.get_running_loop().time() >= self._look_at:
                    self._look_at = asyncio.get_running_loop().time() + _WATCH_S
                    await self.close_gone(connection, self._edge)
                await self._tell(connection, asyncio.get_running_loop().time() + self._ship_interval_s)

    async def _tell(self, connection: store.Connection, until: float) -> None:
        """Until then, what edges say becomes rows at once, for those who must know: records have time."""
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(left if self._rpc is None else min(left, _NEWS_S))
            if self._rpc is not None and loop.time() < until and self.spool.changed():
                for facts in self.spool.news():
                    await store.tell(connection, [one for one in facts if not _gone(one)])

    async def close_gone(self, connection: store.Connection, edge: EdgeCommands) -> None:
        """End legs whose dialog the edge has had no more at two looks in a row, and never told of their end."""
        told = set(await store.open_legs(connection, self.node, _GONE_AFTER_S))
        if told:
            listed = await edge.calls({})
            live = {str(leg["id"]) for legs in listed["calls"].values() for leg in legs}
            told = {one for one in told if one[1] not in live}
        again, self._missing = told & self._missing, told
        for call, leg, _ in again:
            log.warning("call %s: %s has no dialog %s any more and told of no end", call, self.node, leg)
        await store.ship(connection, [gone(self.node, *one, store.utc_now()) for one in again])

    async def ship_once(self, connection: store.Connection) -> int:
        """Ship what is there; the number of facts."""
        count = 0
        for file_id, position, facts in self.spool.batches():
            devices = [one for one in facts if one.call_id.startswith(DEVICE)]
            await store.ship(connection, [one for one in facts if not _gone(one)], stored=self.spool.told)
            await messages.straight(connection, [one for one in facts if one.call_id.startswith(MESSAGE)])
            if self._registrations is not None:
                self._registrations.heard(devices)
            self.spool.shipped(file_id, position)
            count += len(facts)
        while self._restarts:
            await store.ship(connection, self._restarts[:1])
            del self._restarts[0]
        return count

    async def _accepted(self) -> None:
        """Ship what the edge has accepted, and remove it there: PostgreSQL has it then."""
        assert self._outbox is not None  # noqa: S101 - started for edges only
        async with store.connect(self._dsn) as connection:
            # What was read and not stored before is there still, and no change tells of it.
            look = True
            while True:
                look = await asyncio.to_thread(self._outbox.changed) or look
                if look:
                    look = False
                    while rows := await asyncio.to_thread(self._outbox.batch):
                        await messages.ship(connection, self.node, rows)
                        await asyncio.to_thread(self._outbox.shipped, [one.id for one in rows])
                await asyncio.sleep(_OUTBOX_S)

    async def _letter(self, delivery: int) -> Letter | None:
        async with store.connect(self._dsn) as connection:
            return await messages.letter(connection, delivery)

    async def _registered(self) -> None:
        assert self._registrations is not None  # noqa: S101 - started for edges only
        async with store.connect(self._dsn) as connection:
            await self._registrations.follow(connection)

    async def _tidy(self) -> None:
        assert self._recordings is not None  # noqa: S101 - started for media nodes only
        async with store.connect(self._dsn) as connection:
            await self._recordings.follow(connection)

    def server_started(self, uptime_s: float, now: dt.datetime) -> None:
        """The server says how long it has been up. A new start ends the calls it carried before.

        A second is taken off: uptime is given in whole seconds, and no call of now may count as one of before.
        """
        started_at = now - dt.timedelta(seconds=uptime_s + 1)
        before = self._started_at
        if before is None or abs((started_at - before).total_seconds()) > _SAME_START_S:
            self._started_at = started_at
            self._restarts.append(restart(self.node, started_at.replace(microsecond=0)))

    def _booted(self, event: Event) -> None:
        if event.get("Uptime", "").isdigit():
            self.server_started(int(event["Uptime"]), store.utc_now())

    async def _watch_edge(self) -> None:
        assert self._rpc is not None  # noqa: S101 - started for edges only
        said = await asyncio.to_thread(self._rpc.call, "core.uptime")
        self.server_started(float(said["uptime"]), store.utc_now())

    # --- live calls ---------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        assert self._ami is not None  # noqa: S101 - started for media nodes only
        await self._ami.connect()
        await asyncio.Event().wait()

    async def _devices(self, account: str, mailbox: str) -> list[str]:
        try:
            async with store.connect(self._dsn) as connection:
                return await store.devices_of_mailbox(connection, account, mailbox)
        except DatabaseError as error:
            raise NodeError(str(error)) from error

    # --- commands -----------------------------------------------------------------------------------------

    async def _commands(self) -> None:
        async with store.connect(self._dsn) as listening, store.connect(self._dsn) as working:
            await listening.execute("LISTEN dialplane_command")
            if self._fresh:
                await store.close_abandoned(working, self.node)
                self._fresh = False
            tasks = [asyncio.create_task(self._take(listening)), asyncio.create_task(self._report(working))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, connection: store.Connection) -> None:
        while True:
            command = await store.take(connection, self.node)
            if command is None:
                await store.wait_for_command(connection, _WATCH_S)
                continue
            task = asyncio.create_task(self._do(command))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _do(self, command: store.Command) -> None:
        self._results[command.id] = await run(self.handlers, command.verb, command.arguments)
        self._have_results.set()

    async def _report(self, connection: store.Connection) -> None:
        """Results outlive a lost database: they are stored when it is back."""
        while True:
            self._have_results.clear()
            for command, result in list(self._results.items()):
                await store.finish(connection, command, result)
                del self._results[command]
            await self._have_results.wait()


def _gone(fact: Fact) -> bool:
    """A contact less is no event that is kept: `control.registrations` says so."""
    return fact.event == GONE and fact.call_id.startswith(DEVICE)
