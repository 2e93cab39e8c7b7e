"""AMI client: one connection to one Asterisk, kept up, with its promises kept.

    ami = Ami("127.0.0.1", 5038, "dialplane", secret)
    ami.on("Hangup", note)              # sync or async; called one at a time, in the order Asterisk sent
    ami.on_connect(resync)              # before any event of the new connection
    await ami.connect()
    answer = await ami.action("DBGet", {"Family": "dnd", "Key": "acme/alice"})

panoramisk parses the messages (`ami_frames.py`); the transport is our own, because panoramisk's manager
breaks what is promised here: it re-sends an unanswered `Originate` after a reconnect (a second call), does not raise
a failed login, ignores unanswered pings, completes a list by guessing from the text of its message, runs
coroutine callbacks at once and so out of order, and escapes nothing.

Promises:

- every await has a deadline; a connection that does not answer a ping is dropped;
- after a loss the connection is made again (back-off with jitter, `backoff_s`), `on_connect` callbacks run,
  and idempotent actions without an answer are sent again within their own deadline;
- an action of `NOT_IDEMPOTENT`, or called with `idempotent=False`, is written at most once: no answer raises
  OutcomeUnknown, no connection raises NodeUnreachable without sending;
- an error that Asterisk answers is a Response with `ok` False, but "permission denied" and an action that
  Asterisk does not know raise NodeRefused: no caller can do anything about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from controller.errors import NodeRefused, NodeUnreachable
from controller.wire.ami_connection import Batch, Connection, Lost
from controller.wire.ami_frames import NOT_IDEMPOTENT, OutcomeUnknown, Response, encode

__all__ = ["Ami", "Event", "Fields", "OutcomeUnknown", "Response"]

Event = dict[str, str]
Fields = Mapping[str, str | Sequence[str]]
EventCallback = Callable[[Event], Awaitable[None] | None]
ConnectCallback = Callable[[], Awaitable[None] | None]

log = logging.getLogger(__name__)

_HOPELESS = ("permission denied", "invalid/unknown command")
_YIELD_AFTER = 200


class Ami:
    """The connection to one Asterisk. Make it inside a running event loop or before it; connect inside."""

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        secret: str,
        *,
        events: str = "on",
        connect_timeout_s: float = 5,
        boot_timeout_s: float = 60,
        ping_interval_s: float = 10,
        ping_timeout_s: float = 10,
        backoff_s: tuple[float, float] = (0.2, 10.0),
        max_events: int = 200_000,
    ) -> None:
        """`events`: event classes as AMI's Login takes them (`on`, `off`, `call,system`).

        `max_events`: events waiting for callbacks; beyond it the connection is dropped and made again, which
        resynchronises, because a table built from a stream with holes is worse than one built anew.
        """
        self._host, self._port, self._user, self._secret = host, port, user, secret
        self._events_wanted = events
        self._connect_timeout_s, self._boot_timeout_s = connect_timeout_s, boot_timeout_s
        self._ping_interval_s, self._ping_timeout_s = ping_interval_s, ping_timeout_s
        self._backoff_s = backoff_s
        self._max_events = max_events
        self._ids = itertools.count(1)
        self._callbacks: dict[str, list[EventCallback]] = {}
        self._connect_callbacks: list[ConnectCallback] = []
        self._queue: deque[Event | None] = deque()  # None: a new connection stands, run on_connect
        self._queued = asyncio.Event()
        self._up = asyncio.Event()
        self._connection: Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.reconnects = 0
        self.last_error: str | None = None

    @property
    def connected(self) -> bool:
        """Logged in and Asterisk fully booted, as far as is known now."""
        return self._up.is_set()

    @property
    def where(self) -> str:
        """`user@host:port`, for messages."""
        return f"{self._user}@{self._host}:{self._port}"

    def on(self, event_name: str, callback: EventCallback) -> None:
        """Call `callback` for each event of that name (any case; `*`: all), one after another, in order."""
        self._callbacks.setdefault(event_name.lower(), []).append(callback)

    def on_connect(self, callback: ConnectCallback) -> None:
        """Call `callback` after each (re)connect, before any event of that connection: resynchronise here."""
        self._connect_callbacks.append(callback)

    async def connect(self) -> None:
        """Connect, log in, wait until Asterisk is fully booted; from then on the connection is kept up.

        NodeRefused: login refused, or no AMI server there. NodeUnreachable: nothing answers in time.
        """
        if self._tasks:
            raise RuntimeError("already connected: one Ami, one connection")
        await self._open()
        self._tasks = [
            asyncio.create_task(self._keep_up(), name=f"ami-keep-up {self.where}"),
            asyncio.create_task(self._dispatch(), name=f"ami-events {self.where}"),
        ]

    async def close(self) -> None:
        """Log off and stop; safe to call twice."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        connection, self._connection = self._connection, None
        self._up.clear()
        self._queue.clear()
        if connection is not None:
            connection.drop("closed by us")
            await connection.lost

    async def action(
        self, name: str, fields: Fields | None = None, *, timeout_s: float = 5, idempotent: bool = True
    ) -> Response:
        """Send one action and wait for its whole answer, at most `timeout_s` with reconnects included.

        UnsafeValue: it cannot be sent as given. NodeUnreachable: no answer. OutcomeUnknown, its subclass:
        sent, not answered, and not to be sent again. NodeRefused: not permitted, or unknown to Asterisk.
        """
        once = not idempotent or name.lower() in NOT_IDEMPOTENT
        return (await self._run([(name, fields or {})], 1, timeout_s, once=once))[0]

    async def actions(
        self, actions: Sequence[tuple[str, Fields]], *, window: int = 256, timeout_s: float = 5
    ) -> list[Response]:
        """Send many idempotent actions, up to `window` unanswered at a time; answers in the order given.

        `timeout_s` bounds the time without any answer, not the whole. All are checked before one is sent.
        """
        for name, _ in actions:
            if name.lower() in NOT_IDEMPOTENT:
                raise ValueError(f"{name} must not be sent twice: send it with action()")
        return await self._run(actions, window, timeout_s, once=False) if actions else []

    async def _run(
        self, actions: Sequence[tuple[str, Fields]], window: int, timeout_s: float, *, once: bool
    ) -> list[Response]:
        loop = asyncio.get_running_loop()
        frames = []
        for name, fields in actions:
            action_id = f"dp{next(self._ids)}"
            frames.append((action_id, encode(name, action_id, fields)))
        what = f"{actions[0][0] if len(actions) == 1 else f'{len(actions)} actions'} on {self.where}"
        batch = Batch(frames, window)
        deadline = loop.time() + timeout_s
        while True:
            connection: Connection = await self._until_up(what, deadline, once=once)
            moved = batch.moved
            try:
                await connection.drive(batch, deadline - loop.time(), timeout_s)
                break
            except Lost as lost:
                if once:
                    raise OutcomeUnknown(f"{what}: sent, then the connection was lost ({lost})") from None
                await asyncio.wait([connection.lost])
                self._down(connection)
                batch.rewind()
                if batch.moved > moved:
                    deadline = loop.time() + timeout_s
            except TimeoutError:
                text = f"{what}: no answer in {timeout_s:g} s"
                raise (OutcomeUnknown if once else NodeUnreachable)(text) from None
            finally:
                connection.forget(batch)
        responses = [result for result in batch.results if result is not None]
        for (name, _), response in zip(actions, responses, strict=True):
            if not response.ok and response.message.lower().startswith(_HOPELESS):
                raise NodeRefused(f"{name} on {self.where}: {response.message}")
        return responses

    async def _until_up(self, what: str, deadline: float, *, once: bool) -> Connection:
        """The connection that stands; an action that goes out once only is not kept waiting for one."""
        loop = asyncio.get_running_loop()
        while True:
            if self._up.is_set() and self._connection is not None:
                return self._connection
            wait_s = 0 if once or not self._tasks else deadline - loop.time()
            try:
                async with asyncio.timeout(max(0, wait_s)):
                    await self._up.wait()
            except TimeoutError:
                why = f" ({self.last_error})" if self.last_error else ""
                raise NodeUnreachable(f"{what}: not connected{why}, nothing was sent") from None

    async def _open(self) -> None:
        """One attempt to connect, log in and see Asterisk booted."""
        held: list[Event] = []
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self._log_in(held.append)
        except TimeoutError:
            raise NodeUnreachable(
                f"AMI of {self.where}: no answer in {self._connect_timeout_s:g} s: is Asterisk up?"
            ) from None
        except OSError as error:
            raise NodeUnreachable(f"AMI of {self.where}: {error}") from None
        try:
            async with asyncio.timeout(self._boot_timeout_s):
                await asyncio.shield(connection.booted)
        except TimeoutError:
            connection.drop("not fully booted")
            raise NodeUnreachable(
                f"AMI of {self.where}: logged in, but no FullyBooted event in {self._boot_timeout_s:g} s:"
                " Asterisk is still starting, or the manager user lacks `read = system`"
            ) from None
        if connection.lost.done():
            raise NodeUnreachable(f"AMI of {self.where}: {connection.why}")
        self._connection = connection
        self._queue.clear()
        self._queue.append(None)
        self._queue.extend(held)
        self._queued.set()
        connection.on_event = self._note
        self._up.set()

    async def _log_in(self, on_event: Callable[[Event], None]) -> Connection:
        login = {"Username": self._user, "Secret": self._secret, "Events": self._events_wanted}
        batch = Batch([("login", encode("Login", "login", login))], 1)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(on_event), self._host, self._port
        )
        try:
            connection.pump(batch)
            await batch.done
        except Lost as lost:
            raise NodeUnreachable(f"AMI of {self.where}: {lost}") from None
        except BaseException:
            connection.drop("login not answered")
            raise
        response = batch.results[0]
        if response is None or not response.ok:
            connection.drop("login refused")
            reason = response.message if response else "no answer"
            raise NodeRefused(f"AMI login at {self._host}:{self._port} as {self._user!r} refused: {reason}")
        return connection

    def _note(self, event: Event) -> None:
        self._queue.append(event)
        self._queued.set()
        if len(self._queue) > self._max_events and self._connection is not None:
            log.error("AMI of %s: %d events wait for callbacks: starting anew", self.where, len(self._queue))
            self._queue.clear()
            self._connection.drop(f"more than {self._max_events} events waiting")

    async def _keep_up(self) -> None:
        while True:
            connection = self._connection
            if connection is not None:
                await self._watch(connection)
                self._down(connection)
                log.warning("AMI of %s: connection lost: %s", self.where, connection.why)
            delay_s, most_s = self._backoff_s
            while self._connection is None:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                delay_s = min(delay_s * 2, most_s)
                try:
                    await self._open()
                except (NodeUnreachable, NodeRefused) as error:
                    self.last_error = str(error)
                    log.warning("%s", error)
            self.reconnects += 1
            self.last_error = None

    def _down(self, connection: Connection) -> None:
        """Nothing goes to a connection that is gone: a loss is known here before the next attempt to send."""
        if self._connection is connection:
            self._up.clear()
            self._connection = None
            self.last_error = connection.why

    async def _watch(self, connection: Connection) -> None:
        """Return when the connection is gone; ping it meanwhile."""
        while not connection.lost.done():
            await asyncio.wait([connection.lost], timeout=self._ping_interval_s)
            if connection.lost.done():
                return
            action_id = f"ping{next(self._ids)}"
            ping = Batch([(action_id, encode("Ping", action_id, {}))], 1)
            try:
                await connection.drive(ping, self._ping_timeout_s, self._ping_timeout_s)
            except TimeoutError:
                connection.drop(f"no answer to a ping in {self._ping_timeout_s:g} s")
                await connection.lost
            except Lost:
                await connection.lost

    async def _dispatch(self) -> None:
        count = 0
        while True:
            if not self._queue:
                self._queued.clear()
                await self._queued.wait()
                continue
            event = self._queue.popleft()
            if event is None:
                for connected in self._connect_callbacks:
                    await self._call(connected, "on_connect")
                continue
            for key in (event["Event"].lower(), "*"):
                for callback in self._callbacks.get(key, ()):
                    await self._call(callback, event["Event"], event)
            count += 1
            if count % _YIELD_AFTER == 0:
                await asyncio.sleep(0)

    async def _call(self, callback: Callable[..., Awaitable[None] | None], what: str, *args: Event) -> None:
        try:
            result = callback(*args)
            if inspect.isawaitable(result):
                await result
        except Exception:  # the outermost door of a callback: one bad event must not end the stream
            log.exception("AMI of %s: callback for %s failed", self.where, what)
