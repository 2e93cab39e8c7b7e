"""A media node and a carrier that do by themselves what calls need, so that a test is about who calls.

A number outside goes to the carrier in E.164, as the call of the device that dialled it; emergency calls and extensions
are answered; anything else gets 404. A number of the own accounts may be forwarded: outside, as nobody's device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from controller.messages.text import e164
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.phone import Endpoint, Leg

_RINGING, _OK, _REFUSED = 180, 200, 300
_EXTENSION = 3


@dataclass
class _Call:
    """Two legs at the media node; `out` is the INVITE to the carrier, None: answered here."""

    came: Message | None
    out: Message | None = None
    here: Leg | None = None
    there: Leg | None = None
    over: bool = False


class Exchange:
    """`answers`: what the carrier says to a number: a status, or None: it rings on. `forwardings`: own number -> number
    that its calls go on to, and the user or extension that says so."""

    def __init__(self, edge: Edge, net: str) -> None:
        to = edge.address, edge.port
        self.media = Endpoint("media1", "media.example", f"{net}.21", to, transport="tcp")
        self.carrier = Endpoint("carrier", "carrier.example", f"{net}.31", to)
        self.answers: Callable[[str], int | None] = answer_all
        self.forwardings: dict[str, tuple[str, str]] = {}
        self.reached: list[str] = []
        self.emergencies: list[str] = []
        self._calls: dict[str, _Call] = {}
        self._ringing: dict[str, Message] = {}
        self._own: dict[str, Message] = {}
        #: What became of calls from outside, in order.
        self.incomings: list[int] = []
        self._lock = threading.RLock()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._serve, args=pair, daemon=True)
            for pair in ((self.media, self._at_media), (self.carrier, self._at_carrier))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """No node, no carrier."""
        self._closing = True
        for thread in self._threads:
            thread.join(timeout=2)
        self.media.close()
        self.carrier.close()

    def _serve(self, endpoint: Endpoint, handle: Callable[[Message], None]) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                message = endpoint.expect(lambda _: True, 0.2)
                with self._lock, suppress(OSError):
                    handle(message)

    def bridge(self, account: str, number: str) -> None:
        """A conference of the account dials a member: no device does."""
        with self._lock:
            self._send_out(_Call(None), account, (), f"bridge-{number.removeprefix('+')}", number)

    def incoming(self, number: str) -> None:
        """Somebody outside calls a number of ours and talks on; the media node decides what becomes of it."""
        with self._lock:
            sent = self.carrier.invite(f"sip:{number}@{self.carrier.edge[0]}", sign=False)
            self._own[sent["Call-ID"]] = sent

    # -- media node --------------------------------------------------------------------------------
    def _at_media(self, message: Message) -> None:
        if not message.is_request:
            self._answered(message)
        elif message.method == "INVITE":
            self._invited(message)
        elif message.method == "BYE":
            self.media.answer(message, 200)
            self._over(message["Call-ID"])
        elif message.method == "CANCEL":
            self.media.answer(message, 200)
            call = self._calls[message["Call-ID"]]
            if call.came is not None and not call.over:
                call.over = True
                self.media.answer(call.came, 487)
                self._cancel(call)
        elif message.method != "ACK":
            self.media.answer(message, 200)

    def _invited(self, invite: Message) -> None:
        dialled = invite.uri.removeprefix("sip:").partition("@")[0]
        call = self._calls[invite["Call-ID"]] = _Call(invite)
        if invite.get("X-DP-Trunk"):
            number, user = self.forwardings.get(dialled, (None, ""))
            whose = (("X-DP-User", user),)
        else:
            number = _outside(dialled)
            whose = (("X-DP-Device", invite["X-DP-Device"]),)
        if number is not None:
            self._send_out(call, invite["X-DP-Account"], whose, invite["X-DP-Call"], number)
            return
        if dialled == "112":
            self.emergencies.append(invite["X-DP-Device"])
        here = dialled == "112" or len(dialled) == _EXTENSION or bool(invite.get("X-DP-Trunk"))
        self.media.answer(invite, 200 if here else 404)
        if here:
            call.here = self.media.callee(invite)

    def _send_out(
        self, call: _Call, account: str, whose: tuple[tuple[str, str], ...], name: str, number: str
    ) -> None:
        call.out = self.media.invite(
            f"sip:{number}@trunk.dialplane.internal", sign=False,
            headers=(("X-DP-Call", name), ("X-DP-Account", account), ("X-DP-Trunk", "carrier-a"), *whose),
        )  # fmt: skip
        self._calls[call.out["Call-ID"]] = call

    def _answered(self, answer: Message) -> None:
        call = self._calls.get(answer["Call-ID"])
        if call is None or call.out is None or answer.method != "INVITE" or answer.status < _RINGING:
            return
        if answer.status >= _REFUSED:
            self.media.ack(call.out, answer)
        elif answer.status >= _OK:
            call.there = self.media.established(call.out, answer)
        if call.came is not None and not call.over:
            self.media.answer(call.came, answer.status)
            if call.there is not None:
                call.here = self.media.callee(call.came)

    def _cancel(self, call: _Call) -> None:
        if call.out is not None and call.there is None:
            self.media.send(
                "CANCEL", call.out.uri, call_id=call.out["Call-ID"], cseq=1, from_=call.out["From"],
                to=call.out["To"], via=call.out["Via"], contact=False,
            )  # fmt: skip

    def _over(self, call_id: str) -> None:
        """One leg is: so is the other."""
        call = self._calls.get(call_id)
        if call is None or call.over:
            return
        call.over = True
        for leg in (call.here, call.there):
            if leg is not None and leg.call_id != call_id:
                self.media.within(leg, "BYE")

    # -- carrier -----------------------------------------------------------------------------------
    def _at_carrier(self, message: Message) -> None:
        if not message.is_request:
            sent = self._own.get(message["Call-ID"])
            if sent is not None and message.method == "INVITE" and message.status >= _OK:
                del self._own[message["Call-ID"]]
                self.incomings.append(message.status)
                if message.status >= _REFUSED:
                    self.carrier.ack(sent, message)
                else:
                    self.carrier.established(sent, message)
            return
        if message.method == "INVITE":
            number = message.uri.removeprefix("sip:").partition("@")[0]
            if message["Call-ID"] in self._ringing:
                return
            self._ringing[message["Call-ID"]] = message
            self.reached.append(number)
            self.carrier.answer(message, 180)
            status = self.answers(number)
            if status is not None:
                self.carrier.answer(message, status)
        elif message.method == "CANCEL":
            self.carrier.answer(message, 200)
            self.carrier.answer(self._ringing[message["Call-ID"]], 487)
        elif message.method != "ACK":
            self.carrier.answer(message, 200)


def answer_all(_: str) -> int | None:
    """Everybody takes the call."""
    return _OK


def _outside(dialled: str) -> str | None:
    """The number that somebody in Germany means; None: no number."""
    if dialled == "112" or (not dialled.startswith(("+", "0"))) or len(dialled) > 18:
        return None
    return e164(dialled, "DE")
