"""Contacts of a device at an edge: phones are asked to fetch their configuration, and the contacts removed."""

from __future__ import annotations

from typing import Any, Protocol

from controller.errors import NodeRefused

_NONE = ("AOR not found", "AOR has no contacts", "Contact not found")
_TABLE = "location"


class Rpc(Protocol):
    """What is needed of controller.wire.jsonrpc.JsonRpc."""

    def call(self, method: str, /, *params: Any) -> Any:
        """One request's result."""


def unregister(rpc: Rpc, aor: str, home: int | None, *, rest: bool) -> list[dict[str, Any]]:
    """Ask and remove the contacts whose home this edge is (`home`: its `entries.server_id`; None: all are its own). A
    receipt for each: `ok`, `contact`, `asked` (a NOTIFY was sent to it).

    The NOTIFY (check-sync, which phones of most makers take for "fetch your configuration") goes first, while the edge
    still knows the way; no answer is waited for. `rest`: remove what other edges that are away have left here, and ask
    nobody: only a home has the connection, or the hole in the NAT. To be done when all homes have asked, since what one
    edge removes is gone at the others.
    """
    receipts: list[dict[str, Any]] = []
    for contact in _contacts(rpc, aor):
        mine = home is None or contact.get("Server-Id", 0) in (0, home)
        if not (mine or rest):
            continue
        uri = str(contact.get("Address", ""))
        asked = mine and not rest and _check_sync(rpc, aor, contact)
        try:
            rpc.call("ul.rm_contact", _TABLE, aor, uri)
        except NodeRefused as error:
            if not any(word in str(error) for word in _NONE):
                raise
        receipts.append({"ok": True, "contact": uri, "asked": asked})
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
