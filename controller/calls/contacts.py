"""Contacts of a device at an edge: phones are asked to fetch their configuration, and the contacts removed."""

from __future__ import annotations

from typing import Any, Protocol

from controller.errors import NodeRefused

_NONE = ("AOR not found", "AOR has no contacts")
_TABLE = "location"


class Rpc(Protocol):
    """What is needed of controller.wire.jsonrpc.JsonRpc."""

    def call(self, method: str, /, *params: Any) -> Any:
        """One request's result."""


def unregister(rpc: Rpc, aor: str) -> list[dict[str, Any]]:
    """A receipt for each contact that was there: `ok`, `contact`, `asked` (a NOTIFY was sent to it).

    The NOTIFY (check-sync, which phones of most makers take for "fetch your configuration") goes first, while the edge
    still knows the way; no answer is waited for. Other edges of the group have the contact too: only this one's own
    answer says what became of its copy, and only one that has the connection reaches a phone behind it.
    """
    receipts: list[dict[str, Any]] = []
    for contact in _contacts(rpc, aor):
        uri = str(contact.get("Address", ""))
        receipts.append({"ok": True, "contact": uri, "asked": _check_sync(rpc, aor, contact)})
    if receipts:
        try:
            rpc.call("ul.rm", _TABLE, aor)
        except NodeRefused as error:
            if not any(word in str(error) for word in _NONE):
                raise
    return receipts


def _contacts(rpc: Rpc, aor: str) -> list[dict[str, Any]]:
    try:
        answer = rpc.call("ul.lookup", _TABLE, aor)
    except NodeRefused as error:
        if any(word in str(error) for word in _NONE):
            return []
        raise
    return [one["Contact"] for one in answer["Contacts"]]


def _check_sync(rpc: Rpc, aor: str, contact: dict[str, Any]) -> bool:
    uri, received = str(contact.get("Address", "")), str(contact.get("Received", ""))
    way = received if received.startswith("sip") else "."
    socket = str(contact.get("Socket", ""))
    headers = (
        f"From: <sip:{aor}>\r\nTo: <sip:{aor}>\r\nEvent: check-sync\r\n"
        f"Subscription-State: terminated\r\nContact: <sip:{aor}>\r\n"
    )
    try:
        rpc.call("tm.t_uac_start", "NOTIFY", uri, way, socket if ":" in socket else ".", headers)
    except NodeRefused:
        return False
    return True
