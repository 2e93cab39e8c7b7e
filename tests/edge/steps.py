"""Steps that calls of several tests have in common."""

from __future__ import annotations

from tests.edge.message import Message
from tests.edge.phone import Endpoint, Leg

UUID = 36
SPOOF = (
    ("X-DP-Account", "evil"), ("x-dp-call", "evil"), ("X-DP-Emergency", "1"), ("X-Dp-Anything", "evil"),
    ("Route", "<sip:127.0.0.9;lr>"),
)  # fmt: skip


def dp(message: Message) -> dict[str, str]:
    """Its X-DP-* headers."""
    return {name: value for name, value in message.headers if name.lower().startswith("x-dp-")}


def hang_up(caller: Endpoint, leg: Leg, called: Endpoint) -> None:
    """The caller ends the call."""
    caller.within(leg, "BYE")
    called.answer(called.expect("BYE"), 200)
    caller.expect(200)


def answered(caller: Endpoint, invite: Message, called: Endpoint, incoming: Message) -> Leg:
    """The call is answered and acknowledged."""
    called.answer(incoming, 200, "OK")
    leg = caller.established(invite, caller.final(invite))
    called.expect("ACK")
    return leg
