"""The message lamp: what app_voicemail says of a mailbox, told to the devices of its user.

Phones need not subscribe: each device gets a NOTIFY (RFC 3842) through the edge, as many registrars do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from controller.errors import NodeError
from controller.wire.ami import Ami, Event

log = logging.getLogger(__name__)

Devices = Callable[[str, str], Awaitable[list[str]]]


def notify(device: str, account: str, new: int, old: int) -> dict[str, str | list[str]]:
    """Fields of PJSIPNotify for one device (AOR without scheme). It leaves by `default_outbound_endpoint`."""
    return {
        "URI": f"sip:{device}",
        "Variable": [
            "Event=message-summary",
            "Content-Type=application/simple-message-summary",
            f"X-DP-Account={account}",
            f"Content=Messages-Waiting: {'yes' if new else 'no'}",
            f"Content=Message-Account: sip:{device}",
            f"Content=Voice-Message: {new}/{old} (0/0)",
        ],
    }


class Lamps:
    """Sends one NOTIFY per device when the counts of a mailbox change, and all of them after a connect."""

    def __init__(self, ami: Ami, devices: Devices) -> None:
        self._ami, self._devices = ami, devices
        self._told: dict[str, tuple[int, int]] = {}
        ami.on("MessageWaiting", self.message_waiting)
        ami.on_connect(self.resync)

    async def message_waiting(self, event: Event) -> None:
        """AMI MessageWaiting: Mailbox `101@acme`, New, Old (absent: 0)."""
        await self.tell(event.get("Mailbox", ""), int(event.get("New") or 0), int(event.get("Old") or 0))

    async def resync(self) -> None:
        """After a connect nobody knows what the phones were told: tell them all."""
        self._told.clear()
        listed = await self._ami.action("VoicemailUsersList", timeout_s=10)
        for box in listed.events:
            name = f"{box.get('VoiceMailbox', '')}@{box.get('VMContext', '')}"
            await self.tell(name, int(box.get("NewMessageCount") or 0), int(box.get("OldMessageCount") or 0))

    async def tell(self, mailbox: str, new: int, old: int) -> None:
        """NOTIFY each device unless it was told the same; a refusal is logged and tried at the next change."""
        box, at, account = mailbox.partition("@")
        if not at or self._told.get(mailbox) == (new, old):
            return
        try:
            for device in await self._devices(account, box):
                answer = await self._ami.action("PJSIPNotify", notify(device, account, new, old))
                answer.check(f"message lamp of {device}")
        except NodeError as error:
            log.warning("message lamp of %s: %s", mailbox, error)
            return
        self._told[mailbox] = (new, old)
