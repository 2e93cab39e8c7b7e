"""The queues of one process: who waits on this node, who has to be told, what is due; the database, while it answers.

    desk = Desk(conninfo, "media1", setups)              # `setups`: account -> its Setup as published
    asyncio.create_task(desk.run())
    joined = await desk.ask(lambda store: store.join(setup, visit))
    with desk.waits(joined.id, "acme", "support") as waiter:
        await waiter.wake.wait()                         # an offer, or something to look at

Every process decides for the queues of which callers wait on its node, when it is told that something changed, when a
queue is published anew, and once a second. Its callers are renewed together. What the database does not answer in
DEADLINE_S is a DatabaseError.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from controller.errors import DatabaseError, DialplaneError
from controller.queues.model import Setup
from controller.queues.store import Store, notices
from controller.queues.waiting import Told, Way

DEADLINE_S = 3.0
_TICK_S = 1.0
_HEARTBEAT_S = 4.0
# Positions and waiting times, for everybody who is told of them.
TOLD_S = 2.0
_BACKOFF_S = (0.5, 5.0)
# How often it is looked whether a queue is published anew; at most for so much of the time, however many accounts wait.
_WATCH_S, _WATCH_PART = 0.02, 0.05

log = logging.getLogger(__name__)
_T = TypeVar("_T")
Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class Waiter:
    """A caller on this node. `offered`: take the offer; `way`: it has to go on; `lost`: join again.

    `member` talks to the caller, or did. `turn`: the offer that rings, or rang last; `rings`: its members, and those of
    their telephones that did not say no; `settled` is set when it was said who talks, or all said no.
    """

    id: int
    account: str
    queue: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    offered: bool = False
    way: Way | None = None
    lost: bool = False
    member: str = ""
    turn: int = 0
    rings: dict[str, set[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """For one event loop."""

    def __init__(self, conninfo: str, node: str, setups: Callable[[str], Awaitable[Setup]]) -> None:
        self.node = node
        self._conninfo = conninfo
        self._setups = setups
        self._store: Store | None = None
        self._away_since: float | None = None
        self._here: dict[int, Waiter] = {}
        self._turn = asyncio.Lock()
        self._due: set[Key] = set()
        self._work = asyncio.Event()
        self._told: dict[Key, tuple[float, asyncio.Task[dict[int, Told]]]] = {}
        self._said = ""
        self._leaving: set[asyncio.Task[Any]] = set()

    @property
    def away_s(self) -> float:
        """For how long the database has not answered; 0: it does."""
        return 0.0 if self._away_since is None else asyncio.get_running_loop().time() - self._away_since

    @contextmanager
    def waits(self, caller: int, account: str, queue: str) -> Iterator[Waiter]:
        """A caller who joined, as long as its session lasts."""
        waiter = self._here[caller] = Waiter(caller, account, queue)
        self._decide((account, queue))
        try:
            yield waiter
        finally:
            if self._here.get(caller) is waiter:
                del self._here[caller]

    def forget(self, caller: int) -> None:
        """A caller who hangs up and keeps its place: no session has it."""
        self._here.pop(caller, None)

    def remember(self, waiter: Waiter) -> None:
        """It stays after all."""
        self._here[waiter.id] = waiter

    def here(self, caller: int) -> Waiter | None:
        """A caller whose session this process has."""
        return self._here.get(caller)

    async def ask(self, work: Callable[[Store], Coroutine[Any, Any, _T]]) -> _T:
        """What the store says. DatabaseError: there is no connection, or no answer in DEADLINE_S.

        One after another: when thousands hang up at once, to wait for a turn is not a database that is silent.
        """
        async with self._turn:
            store = self._store
            if store is None:
                raise DatabaseError("PostgreSQL: not connected")
            task = asyncio.create_task(work(store))
            # Not a timeout around the query: cancelling one waits for an answer of the server, which may be frozen.
            done, _ = await asyncio.wait({task}, timeout=DEADLINE_S)
            if not done:
                self._leave(store, task)
                raise DatabaseError(f"PostgreSQL: no answer in {DEADLINE_S:g} s")
            try:
                found = task.result()
            except DatabaseError:
                if store.closed and self._store is store:
                    self._store = None
                    self._gone()
                raise
            self._away_since, self._said = None, ""
            return found

    async def told(self, waiter: Waiter) -> Told | None:
        """Position and expected wait of a caller, TOLD_S old at most; None: it waits no more, or came since."""
        key, now = (waiter.account, waiter.queue), asyncio.get_running_loop().time()
        at, asked = self._told.get(key, (-TOLD_S, None))
        if asked is None or now - at >= TOLD_S:
            # One look for all who are told now.
            asked = asyncio.create_task(self._look(*key))
            self._told[key] = (now, asked)
        return (await asyncio.shield(asked)).get(waiter.id)

    async def _look(self, account: str, queue: str) -> dict[int, Told]:
        try:
            setup = await self._setups(account)
            return await self.ask(lambda store: store.told(setup, queue))
        except DialplaneError as error:
            self._complain(f"queue {queue} of {account}: {error}")
            return {}

    # -------------------------------------------------------------------------------------------------- the process

    async def run(self) -> None:
        """Until cancelled. What no task expects ends all of them: who runs this has to end, too (ExceptionGroup)."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for one in (self._connect, self._listen, self._claim, self._tick, self._watch):
                    tasks.create_task(one())
        finally:
            store, self._store = self._store, None
            if store is not None:
                await store.close()

    async def _connect(self) -> None:
        delay_s, most_s = _BACKOFF_S
        while True:
            if self._store is None:
                try:
                    self._store = await Store.connect(self._conninfo)
                    delay_s = _BACKOFF_S[0]
                    log.info("queues: connected to PostgreSQL")
                    self._everything()
                except DatabaseError as error:
                    self._gone()
                    self._complain(f"{error}; callers are served by the fallback of their queue")
                    delay_s = min(delay_s * 2, most_s)
            await asyncio.sleep(delay_s)

    async def _listen(self) -> None:
        while True:
            try:
                async for said in notices(self._conninfo):
                    self._heard(said)
            except DatabaseError as error:
                self._complain(str(error))
            await asyncio.sleep(_BACKOFF_S[0])

    def _heard(self, said: str) -> None:
        """`account/queue`: decide; `account/queue/caller`: an offer for that one."""
        account, _, rest = said.partition("/")
        queue, _, caller = rest.partition("/")
        waiter = self._here.get(int(caller)) if caller.isdecimal() else None
        if waiter is not None:
            waiter.offered = True
            waiter.wake.set()
        elif not caller and (account, queue) in self._keys():
            self._decide((account, queue))

    def _keys(self) -> set[Key]:
        return {(one.account, one.queue) for one in self._here.values()}

    def _decide(self, key: Key) -> None:
        self._due.add(key)
        self._work.set()

    def _everything(self) -> None:
        for key in self._keys():
            self._decide(key)

    async def _claim(self) -> None:
        """One decision after another: each is for everybody who waits in that queue."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._due:
                account, queue = self._due.pop()
                try:
                    setup = await self._setups(account)
                    if queue not in setup.queues:
                        continue
                    offered = await self.ask(lambda store, s=setup, q=queue: store.claim(s, q))  # type: ignore[misc]
                    if offered and setup.queues[queue].alert_limit:
                        # Places whose telephones stop before that are free then.
                        pace_s = setup.queues[queue].alert_pace_ms / 1000
                        asyncio.get_running_loop().call_later(pace_s, self._decide, (account, queue))
                    if elsewhere := [one for one in offered if one not in self._here]:
                        # Of those, who hung up is called back from here.
                        await self.ask(lambda store, ids=elsewhere: store.calls_back(ids, self.node))  # type: ignore[misc]
                except DialplaneError as error:
                    self._complain(f"queue {queue} of {account}: {error}")

    async def _tick(self) -> None:
        """First of all the leases: whatever else fails, those who wait here are there."""
        renewed = -_HEARTBEAT_S
        while True:
            await asyncio.sleep(_TICK_S)
            now = asyncio.get_running_loop().time()
            try:
                if now - renewed >= _HEARTBEAT_S:
                    await self._renew()
                    renewed = now
                    for key in (await self.ask(lambda store: store.sweep())).callbacks:
                        self._decide(key)
                self._everything()
                await self._send_on()
            except DatabaseError as error:
                self._gone()
                self._complain(str(error))

    async def _watch(self) -> None:
        """Members who may take other callers by a new row do so at once. What cannot be read is `_claim`'s to tell."""
        clock = asyncio.get_running_loop().time
        known: dict[str, Setup] = {}
        while True:
            began = clock()
            keys = self._keys()
            seen: dict[str, Setup] = {}
            for account in {account for account, _ in keys}:
                with suppress(DialplaneError):
                    seen[account] = await self._setups(account)
            for account, queue in keys:
                # The same object, as long as nothing of the account changed.
                if account in known and seen.get(account) is not known[account]:
                    self._decide((account, queue))
            known = seen
            await asyncio.sleep(max(_WATCH_S, (clock() - began) * (1 / _WATCH_PART - 1)))

    async def _send_on(self) -> None:
        """Who waited too long, or in a queue that nobody serves any more, goes on."""
        for key in self._keys():
            try:
                await self._send_on_from(*key)
            except DatabaseError:
                raise
            except DialplaneError as error:
                # Its callers wait on, and so do those of others.
                self._complain(f"queue {key[1]} of {key[0]}: {error}")

    async def _send_on_from(self, account: str, name: str) -> None:
        setup = await self._setups(account)
        queue = setup.queues.get(name)
        if queue is None or (queue.max_wait_s is None and not queue.leave_empty):
            return
        ways = await self.ask(lambda store: store.leaving(setup, name))
        for caller, way in ways.items():
            if waiter := self._here.get(caller):
                waiter.way = way
                waiter.wake.set()

    async def _renew(self) -> None:
        ids = list(self._here)
        if not ids:
            return
        there = await self.ask(lambda store: store.heartbeat(ids))
        for caller in set(ids) - there:
            waiter = self._here.get(caller)
            if waiter is not None:
                waiter.lost = True
                waiter.wake.set()

    # ---------------------------------------------------------------------------------------------------- database

    def _complain(self, sentence: str) -> None:
        """Once, until it is something else."""
        if sentence != self._said:
            log.warning("queues: %s", sentence)
        self._said = sentence

    def _gone(self) -> None:
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()

    def _leave(self, store: Store, task: asyncio.Task[Any]) -> None:
        """Give up a connection that does not answer; it is closed when the query ends, however long that takes."""
        if self._store is store:
            self._store = None
            self._gone()

        async def end() -> None:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            await store.close()

        leaving = asyncio.create_task(end())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
