"""AMI as an agent uses it: connected when something is to be sent, one attempt at a time, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from controller.errors import NodeRefused, NodeUnreachable
from controller.wire.ami import Response

# An Asterisk that still boots is away for now: whoever holds the agent's lock does not wait for it.
_CONNECT_S = 2.0
_REMEDY = (
    "the agent's secret is not that of manager.conf: run `dialplane agent install media` as at installation, then "
    "`asterisk -rx 'manager reload'`, and restart the agent"
)

Actions = Sequence[tuple[str, Mapping[str, str | Sequence[str]]]]


class AmiClient(Protocol):
    """What is used of `controller.wire.ami.Ami`."""

    async def connect(self) -> None: ...
    async def close(self) -> None: ...
    async def actions(
        self, actions: Actions, *, window: int = 256, timeout_s: float = 5
    ) -> list[Response]: ...


class Link:
    """The way to one Asterisk."""

    def __init__(self, ami: AmiClient) -> None:
        self._ami = ami
        self.connect_s = _CONNECT_S
        self._connected = False
        self._connecting: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Log off."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
            self._connecting = None
        if self._connected:
            await self._ami.close()
            self._connected = False

    async def send(self, actions: Actions) -> list[Response]:
        """The answers, in the order of the actions. NodeUnreachable: Asterisk is away, or still starting."""
        if not actions:
            return []
        if not self._connected:
            await self._connect()
        return await self._ami.actions(actions)

    async def _connect(self) -> None:
        """One attempt at a time, whoever asks. NodeUnreachable: it goes on, ask again."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._ami.connect(), name="connect to AMI")
        attempt = self._connecting
        await asyncio.wait([attempt], timeout=self.connect_s)
        if not attempt.done():
            raise NodeUnreachable("AMI: not connected yet: Asterisk is starting, or does not answer")
        if self._connecting is attempt:
            self._connecting = None
        try:
            attempt.result()
        except NodeRefused as error:
            # Nothing that is pending was refused: it waits until the agent may log in.
            raise NodeUnreachable(f"{error}; {_REMEDY}") from None
        self._connected = True
