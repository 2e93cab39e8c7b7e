"""One TCP connection to Asterisk's manager: bytes to frames, answers to whom they belong, events onward."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from panoramisk.message import Message

from controller.errors import NodeRefused
from controller.wire.ami_frames import Answer, Frames, Response, headers


class Lost(Exception):
    """The connection went away before the answer came; never seen outside `Ami`."""


class Batch:
    """Actions on their way, `frames` of (action id, bytes): which are unsent, unanswered, and what came back.

    `moved` counts what arrived for it, so that a deadline can be one without any progress.
    """

    __slots__ = ("done", "flying", "frames", "moved", "results", "todo", "window")

    def __init__(self, frames: list[tuple[str, bytes]], window: int) -> None:
        self.frames = frames
        self.window = window
        self.results: list[Response | None] = [None] * len(frames)
        self.moved = 0
        self.rewind()

    def rewind(self) -> None:
        """Ready to send everything that has no answer on a new connection."""
        self.todo: deque[int] = deque(index for index, result in enumerate(self.results) if result is None)
        self.flying = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def half_empty(self) -> bool:
        """Worth another write: waiting for half a window keeps writes few and big."""
        return bool(self.todo) and self.flying <= self.window // 2


class Connection(asyncio.Protocol):
    """`lost` is done when it is gone (`why` says why), `booted` when Asterisk is fully booted, or it is gone.

    `on_event` gets every event that answers no action, in order; it may be replaced at any time.
    """

    def __init__(self, on_event: Callable[[dict[str, str]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.frames = Frames()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.booted: asyncio.Future[None] = loop.create_future()
        self.why = "closed by Asterisk"
        self.on_event = on_event
        self._pending: dict[str, tuple[Batch, int, Answer]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_connection gives no other
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: whoever waits for an answer gets Lost."""
        if exc is not None:
            self.why = str(exc)
        for batch, _, _ in self._pending.values():
            if not batch.done.done():
                batch.done.set_exception(Lost(self.why))
        self._pending.clear()
        for future in (self.lost, self.booted):
            if not future.done():
                future.set_result(None)

    def drop(self, why: str) -> None:
        """End it now."""
        self.why = why
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        answered: set[Batch] = set()
        try:
            for message in self.frames.feed(data):
                batch = self._take(message)
                if batch is not None:
                    answered.add(batch)
            for batch in answered:
                if batch.half_empty:
                    self.pump(batch)
        except (NodeRefused, Lost) as error:
            self.drop(str(error))

    def _take(self, message: Message) -> Batch | None:
        """Give one message to whom it belongs; the batch that it answered."""
        waiting = self._pending.get(message.get("actionid", ""))
        if waiting is not None:
            batch, index, answer = waiting
            complete = answer.add(message)
            if complete is not None:
                batch.moved += 1
                if complete:
                    del self._pending[message["actionid"]]
                    batch.results[index] = answer.response
                    batch.flying -= 1
                    if not batch.flying and not batch.todo and not batch.done.done():
                        batch.done.set_result(None)
                return batch
        if "event" in message:
            event = headers(message)
            if event["Event"] == "FullyBooted" and not self.booted.done():
                self.booted.set_result(None)
            self.on_event(event)
        return None

    def pump(self, batch: Batch) -> None:
        """Write as many of the batch as its window has room for. Lost if the connection is gone."""
        if self._transport is None or self._transport.is_closing():
            raise Lost(self.why)
        now = [batch.todo.popleft() for _ in range(min(len(batch.todo), batch.window - batch.flying))]
        for index in now:
            self._pending[batch.frames[index][0]] = (batch, index, Answer())
        batch.flying += len(now)
        self._transport.write(b"".join([batch.frames[index][1] for index in now]))

    def forget(self, batch: Batch) -> None:
        """Nobody waits for these any more: late answers are dropped."""
        if batch.flying:
            for action_id, _ in batch.frames:
                self._pending.pop(action_id, None)

    async def drive(self, batch: Batch, first_s: float, idle_s: float) -> None:
        """Send the batch and wait for all answers.

        TimeoutError after `first_s`, later `idle_s`, without anything new; Lost if the connection goes.
        """
        self.pump(batch)
        wait_s = max(0.0, first_s)
        while True:
            moved = batch.moved
            await asyncio.wait([batch.done], timeout=wait_s)
            if batch.done.done():
                return batch.done.result()
            if batch.moved == moved:
                raise TimeoutError
            wait_s = idle_s
