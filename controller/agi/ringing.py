"""What sessions of queues share: the words of their dialplan, and ringing members for a caller."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress

from controller.agi.decide_app import Exchange
from controller.queues.desk import Desk, Waiter
from controller.queues.model import Queue, Setup
from controller.queues.waiting import Ringing
from controller.wire.agi import Broken, Session
from controller.wire.agi_held import HeldCall

# A device that answered is told of by a call of its own, which may be later than the end of this one.
SETTLE_S = 0.5
# Legs in one variable of the dialplan, whose values have at most 4,095 bytes.
_LEGS_BYTES = 3000
_TURNS = itertools.count(1)


def held(session: Exchange) -> HeldCall:
    """The session, kept as long as the call lasts. Broken: it cannot be."""
    if not isinstance(session, Session):
        raise Broken("garbage", "a caller waits at the resident server, not in a process of its own")
    return HeldCall.of(session)


def owner(setup: Setup, leg: str) -> str:
    """The member whose device this is. Broken: nobody's."""
    for user, devices in setup.devices.items():
        if leg in devices:
            return user
    raise Broken("garbage", f"{leg[:60]!r} is no device of account {setup.account}")


async def settled(event: asyncio.Event) -> None:
    """Until it is set, but not for long."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), SETTLE_S)


async def ring(call: HeldCall, desk: Desk, waiter: Waiter, ringing: Ringing, queue: Queue) -> bool:
    """Ring the legs of an offer until one answers and the talk is over (then this call is, too): True; or none did."""
    waiter.offered = False
    waiter.member = ""
    waiter.turn = next(_TURNS)
    waiter.rings = {member: {leg.partition("~")[0] for leg in legs} for member, legs in ringing.rings.items()}
    waiter.refused.clear()
    waiter.settled.clear()
    await call.run(*set_("__DP_QUEUED", f"{waiter.queue}/{waiter.id}/{waiter.turn}"))
    for command in set_legs(ringing.legs):
        await call.run(*command)
    said = await call.gosub("dp-queue-ring", str(queue.ring_time_s), queue.music)
    if waiter.member:
        # The member has left, the caller has been elsewhere since, and comes back here.
        return True
    if said == "busy":
        # Who said no is told of by calls of their own.
        await settled(waiter.settled)
    await desk.ask(lambda store: store.missed(waiter.id, queue, waiter.refused))
    return False


def set_legs(legs: Sequence[str]) -> list[tuple[str, ...]]:
    """DP_LEGS_1 to DP_LEGS_n, and nothing behind the last one."""
    lines = [""]
    for leg in legs:
        if len(lines[-1]) + len(leg) > _LEGS_BYTES:
            lines.append("")
        lines[-1] += f"&{leg}" if lines[-1] else leg
    return [set_(f"__DP_LEGS_{number}", line) for number, line in enumerate((*lines, ""), 1)]


def set_(name: str, value: str) -> tuple[str, ...]:
    """The command that sets a variable of the call."""
    return ("SET", "VARIABLE", name, value)


def goes_on(step: str) -> list[tuple[str, ...]]:
    """The last commands of a session: the step to go on with."""
    return [set_("DP_QUEUE_STEP", step)]
