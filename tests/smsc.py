"""A message centre that speaks SMPP 3.4: it binds, takes messages (submit_sm) and brings some (deliver_sm)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

BIND, SUBMIT, DELIVER, ENQUIRE, UNBIND = 0x09, 0x04, 0x05, 0x15, 0x06
_ANSWER = 0x80000000
OK, THROTTLED, BAD_ADDRESS, BAD_PASSWORD = 0x00, 0x58, 0x0B, 0x0E
_PAYLOAD = 0x0424


class Submitted(NamedTuple):
    """A message that was handed over."""

    sender: str
    to: str
    text: str
    coding: int


class Centre:
    """`answers`: statuses of the next submits, then OK; None: silence. `acknowledged`: statuses of what was brought."""

    def __init__(self, password: str = "secret") -> None:
        self._password = password
        self.taken: list[Submitted] = []
        self.answers: list[int | None] = []
        self.acknowledged: list[int] = []
        self.binds = 0
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 100

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Centre]:
        """As long as it lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.hang_up()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Ends every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def bring(self, sender: str, to: str, text: str) -> None:
        """A message for whoever is bound."""
        self._number += 1
        data = text.encode("utf-16-be")
        body = (
            b"\0\1\1" + sender.encode() + b"\0\1\1" + to.encode() + b"\0" + b"\0\0\0" + b"\0\0" + b"\0\0"
            + bytes([8, 0, len(data)]) + data
        )  # fmt: skip
        self._writers[-1].write(struct.pack("!IIII", 16 + len(body), DELIVER, 0, self._number) + body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length, command, status, number = struct.unpack("!IIII", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if command == DELIVER | _ANSWER:
                    self.acknowledged.append(status)
                elif command == BIND:
                    good = body.split(b"\0")[1].decode() == self._password
                    self._say(writer, command, OK if good else BAD_PASSWORD, number, b"centre\0")
                    if good:
                        self.binds += 1
                        self._writers.append(writer)
                elif command == SUBMIT:
                    answer = self.answers.pop(0) if self.answers else OK
                    if answer == OK:
                        self.taken.append(_submitted(body))
                    if answer is not None:
                        self._say(writer, command, answer, number, b"id-1\0")
                elif command in (ENQUIRE, UNBIND):
                    self._say(writer, command, OK, number, b"")

    def _say(self, writer: asyncio.StreamWriter, command: int, status: int, number: int, body: bytes) -> None:
        writer.write(struct.pack("!IIII", 16 + len(body), command | _ANSWER, status, number) + body)


def _submitted(body: bytes) -> Submitted:
    _, rest = body.split(b"\0", 1)
    sender, rest = rest[2:].split(b"\0", 1)
    to, rest = rest[2:].split(b"\0", 1)
    _, rest = rest[3:].split(b"\0", 1)
    _, rest = rest.split(b"\0", 1)
    coding, length = rest[2], rest[4]
    data, rest = rest[5 : 5 + length], rest[5 + length :]
    while rest:
        tag, size = struct.unpack("!HH", rest[:4])
        if tag == _PAYLOAD:
            data = rest[4 : 4 + size]
        rest = rest[4 + size :]
    return Submitted(
        sender.decode(), to.decode(), data.decode("utf-16-be" if coding == 8 else "ascii", "replace"), coding
    )
