"""An AMI server of ours for what a real Asterisk cannot be made to do on demand: break off at a given action.

It answers like Asterisk 22 what the contract suite asks of both; the suite holds it to that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Action = dict[str, list[str]]
Step = Callable[[Action, asyncio.StreamWriter], Awaitable[bool]]


class FakeAmi:
    """`seen`: every action but Login and Ping, in order. `before` runs before an action is answered; False from it:
    the connection is closed without an answer.
    """

    def __init__(self) -> None:
        self.seen: list[Action] = []
        self.logins = 0
        self.before: Step | None = None
        self.answers_pings = True
        self.boots = True
        self.port = 0
        self.database: dict[tuple[str, str], str] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone: nobody listens, all connections are cut."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def event(self, **headers: str) -> None:
        """Send one event to everybody."""
        for writer in self._writers:
            self._send(writer, headers)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        writer.write("".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode() + b"\r\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            writer.write(b"Asterisk Call Manager/11.0.0\r\n")
            while await self._one(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        block = (await reader.readuntil(b"\r\n\r\n")).decode()
        action: Action = {}
        for line in block.removesuffix("\r\n\r\n").split("\r\n"):
            header, _, value = line.partition(": ")
            action.setdefault(header, []).append(value)
        name, tag = action["Action"][0], {"ActionID": action["ActionID"][0]}
        if name == "Login":
            return self._login(action, tag, writer)
        if name == "Ping":
            if self.answers_pings:
                self._send(writer, {"Response": "Success", **tag, "Ping": "Pong"})
            return True
        self.seen.append(action)
        if self.before is not None and not await self.before(action, writer):
            return False
        self._answer(name, action, tag, writer)
        return True

    def _login(self, action: Action, tag: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        self.logins += 1
        if action["Username"] + action["Secret"] != ["dialplane", "contract"]:
            self._send(writer, {"Response": "Error", **tag, "Message": "Authentication failed"})
            return False
        self._send(writer, {"Response": "Success", **tag, "Message": "Authentication accepted"})
        if self.boots:
            self._send(writer, {"Event": "FullyBooted", "Status": "Fully Booted"})
        return True

    def _answer(self, name: str, action: Action, tag: dict[str, str], writer: asyncio.StreamWriter) -> None:
        key = (action.get("Family", [""])[0], action.get("Key", [""])[0])
        listing = {"Response": "Success", **tag, "EventList": "start"}
        if name == "DBPut":
            self.database[key] = action.get("Val", [""])[0]
            self._send(writer, {"Response": "Success", **tag, "Message": "Updated database successfully"})
        elif name == "DBGet" and key in self.database:
            self._send(writer, {**listing, "Message": "Result will follow"})
            self._send(writer, {"Event": "DBGetResponse", **tag, "Key": key[1], "Val": self.database[key]})
            self._send(writer, {"Event": "DBGetComplete", **tag, "EventList": "Complete", "ListItems": "1"})
        elif name == "DBGet":
            self._send(writer, {"Response": "Error", **tag, "Message": "Database entry not found"})
        elif name == "CoreShowChannels":
            self._send(writer, {**listing, "Message": "Channels will follow"})
            self._send(writer, {"Event": "CoreShowChannelsComplete", **tag, "EventList": "Complete"})
        elif name == "Command":
            lines = "".join(
                f"Output: {line}\r\n" for line in ("System uptime: 1 second", "Last reload: 1 second")
            )
            head = f"Response: Success\r\nActionID: {tag['ActionID']}\r\nMessage: Command output follows\r\n"
            writer.write(f"{head}{lines}\r\n".encode())
        elif name == "Originate":
            self._send(writer, {"Response": "Success", **tag, "Message": "Originate successfully queued"})
        elif name == "UserEvent":
            self._send(writer, {"Response": "Success", **tag, "Message": "Event Sent"})
            extra = {
                header: values[0] for header, values in action.items() if header not in ("Action", "ActionID")
            }
            self._send(writer, {"Event": "UserEvent", **tag, **extra})
        else:
            self._send(writer, {"Response": "Error", **tag, "Message": "Invalid/unknown command: no such"})
