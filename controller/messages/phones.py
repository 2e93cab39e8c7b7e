"""A message to a phone, by the edge beside this agent: verb `message` of control.node_commands.

The edge believes who knows the key in its table `agent`, which only its RPC socket writes; it rings all contacts of
the device, wherever they are at home, and hands on the phone's answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from controller.errors import NodeRefused
from controller.messages.model import Letter
from controller.wire import sip

# A phone is given 5 s, once more if TCP was in vain, at its home as at this edge.
ANSWER_S = 25.0
_PROXY_AUTHENTICATION = 407


class Rpc(Protocol):
    """What is needed of controller.wire.jsonrpc.JsonRpc."""

    def call(self, method: str, /, *params: Any) -> Any:
        """One request's result."""


class Phones:
    """Delivers by one edge. `read` gets what a delivery consists of from PostgreSQL."""

    def __init__(self, rpc: Rpc, read: Callable[[int], Awaitable[Letter | None]]) -> None:
        self._rpc, self._read = rpc, read
        self._key = secrets.token_hex(16)
        self._edge: tuple[str, int] | None = None
        self._known = False
        self.handlers = {"message": self.deliver}

    async def deliver(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Send delivery `delivery` to its device: `{"status", "reason", "away"}` as the phone answered, or the edge
        for it."""
        letter = await self._read(int(arguments["delivery"]))
        if letter is None:
            raise NodeRefused(f"there is no delivery {arguments['delivery']} under way")
        answer = await self._send(letter)
        if answer.status == _PROXY_AUTHENTICATION:
            # An edge that restarted has forgotten the key.
            self._known = False
            answer = await self._send(letter)
            if answer.status == _PROXY_AUTHENTICATION:
                raise NodeRefused(
                    "the edge does not know its agent: are there two, or is this machine not the edge's?"
                )
        return {"status": answer.status, "reason": answer.phrase, "away": answer.away}

    async def _send(self, letter: Letter) -> sip.Answer:
        if not self._known or self._edge is None:
            self._edge = await asyncio.to_thread(self._introduce)
            self._known = True
        uri, headers = written(letter)
        return await sip.message(
            self._edge, uri, headers | {"X-DP-Agent": self._key}, letter.body, timeout_s=ANSWER_S
        )

    def _introduce(self) -> tuple[str, int]:
        """Tell the edge the key; where it listens for TCP."""
        self._rpc.call("htable.sets", "agent", "key", self._key)
        listed = self._rpc.call("core.sockets_list")
        for one in listed if isinstance(listed, list) else [listed]:
            socket = one.get("socket", one)
            if socket.get("proto") == "tcp":
                return str(socket.get("ipaddress", socket["address"])), int(socket["port"])
        raise NodeRefused("the edge does not listen for TCP (listen in its local.cfg): messages need that")


def written(letter: Letter) -> tuple[str, dict[str, str]]:
    """Request-URI and headers of a letter. Its Call-ID stays when it is sent again: a phone may know it by that."""
    uri = f"sip:{letter.aor}"
    return uri, {
        "From": f"<sip:{letter.sender}>;tag={letter.delivery}-{letter.number}",
        "To": f"<sip:{letter.to}>",
        "Call-ID": f"{letter.message}-{letter.delivery}",
        "CSeq": f"{letter.number} MESSAGE",
        "Date": letter.at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Content-Type": letter.content_type,
        "X-DP-Message": str(letter.message),
    }
