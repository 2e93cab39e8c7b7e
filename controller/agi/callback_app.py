"""Callers of queues who hung up and are called back: the sessions of such a call.

    AGI(.../queue-back,name,account,caller id,call id)     rings the members it was offered; who answers waits for it
    AGI(.../queue-caller,name,account,caller id)           where the caller is: DP_LEGS_n, or DP_BACK_TO
    AGI(.../queue-reached,name,account,caller id)          the caller answered
    AGI(.../queue-unreached,name,account,caller id,said)   it did not: what Dial said

The number is what somebody showed or typed, so it may be anybody's: it is looked at when it is asked for (`wanted`),
and again when it is called. Devices are those of the user who called, as they are published then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.agi.decide_app import Exchange
from controller.agi.ringing import goes_on, held, owner, ring, set_, set_legs, settled
from controller.errors import InputError
from controller.queues.callback import called_back
from controller.queues.desk import Desk, Waiter
from controller.queues.model import Queue, Setup
from controller.wire.agi import Broken, Request
from controller.wire.agi_held import HeldCall

Published = Callable[[str, str], Awaitable[tuple[Setup, Queue]]]
# A number is typed within a minute, its first digit within 8 s.
_TYPE_S, _DIGIT_S, _DIGITS = 60, 8, 16
# What Dial says, for people.
_SAID = {
    "BUSY": "busy",
    "NOANSWER": "no answer",
    "CANCEL": "the member hung up before",
    "CHANUNAVAIL": "not reached",
    "CONGESTION": "not reached",
    "": "it was not called, see the call's events",
}


class Wanted(NamedTuple):
    """Where a caller wants to be called: E.164, or what a device of the account shows, and that device."""

    number: str
    device: str | None


async def wanted(call: HeldCall, queue: Queue) -> Wanted | None:
    """Where a caller who pressed the key is called back; asks for a number, if not at the one shown. None: nowhere."""
    inside = not await call.full_variable("${DP_TRUNK}")
    device = await call.full_variable("${DP_DEVICE}") if inside else ""
    shown = (await call.full_variable("${FILTER(+*#0-9a-zA-Z,${CALLERID(num)})}")).strip()
    if device:
        return Wanted(shown or device.partition("@")[0], device)
    if queue.callback_permission == "internal":
        return None
    if number := await _permitted(call, queue, shown):
        return Wanted(number, None)
    await call.run(*set_("TIMEOUT(absolute)", str(_TYPE_S + _DIGIT_S)))
    typed = await call.ask("vm-enter-num-to-call", _DIGIT_S, _DIGITS, _TYPE_S)
    number = await _permitted(call, queue, typed)
    return Wanted(number, None) if number else None


async def _permitted(call: HeldCall, queue: Queue, number: str) -> str:
    """The number as E.164, if it may be called back; else nothing. The call's events say why."""
    e164 = number and await call.gosub("dp-queue-number", number, queue.callback_permission)
    if not e164:
        return ""
    try:
        return called_back(e164)
    except InputError as error:
        await call.run("EXEC", "CELGenUserEvent", f"dp.refused,{error}")
        return ""


@dataclass(slots=True, eq=False)
class _Called:
    """A caller whom this node calls back just now. `told`: whether it answered is known."""

    number: str
    device: str | None
    told: asyncio.Event = field(default_factory=asyncio.Event)


class CallbackApp:
    """What the server does with sessions of calls back. `published`: an account's queues, and one of them."""

    def __init__(self, desk: Desk, published: Published) -> None:
        self._desk = desk
        self._published = published
        self._called: dict[int, _Called] = {}
        self.scripts: dict[str, Callable[[Exchange, Request], Awaitable[None]]] = {
            "queue-back": self._back,
            "queue-caller": self._caller,
            "queue-reached": self._reached,
            "queue-unreached": self._unreached,
        }

    async def told(self, caller: int) -> None:
        """Before the end of a call is noted: what became of the caller comes by a call of its own."""
        if called := self._called.get(caller):
            await settled(called.told)

    async def _back(self, session: Exchange, request: Request) -> None:
        """The call is one to the members; who answers is led to the caller."""
        name, account, given, call_id = (*request.arguments, "", "", "", "")[:4]
        caller = _number(given)
        call = held(session)
        with self._desk.waits(caller, account, name) as waiter:
            ringing = await self._desk.ask(lambda store: store.take(caller))
            if ringing is None or ringing.callback is None:
                await call.finish([set_("DP_WHY", "its turn is over")])
                return
            await self._desk.ask(lambda store: store.calls(caller, call_id))
            with self._calls(caller, _Called(ringing.callback, ringing.device)):
                try:
                    queue = (await self._published(account, name))[1]
                    talked = await ring(call, self._desk, waiter, ringing, queue)
                    # The other half ends with this one, and says then what became of the caller.
                    await call.finish(goes_on("hangup"))
                except Broken:
                    await self._hung_up(waiter)
                    return
                if talked:
                    await self._ended(waiter, queue)

    @contextmanager
    def _calls(self, caller: int, called: _Called) -> Iterator[None]:
        self._called[caller] = called
        try:
            yield
        finally:
            if self._called.get(caller) is called:
                del self._called[caller]

    async def _hung_up(self, waiter: Waiter) -> None:
        """As the end of a talk; nobody took it: it is tried again later."""
        await settled(waiter.settled)
        _, queue = await self._published(waiter.account, waiter.queue)
        if waiter.member:
            await self._ended(waiter, queue)
        else:
            await self._desk.ask(lambda store: store.missed(waiter.id, queue))

    async def _ended(self, waiter: Waiter, queue: Queue) -> None:
        await self.told(waiter.id)
        await self._desk.ask(lambda store: store.ended(waiter.id, queue))

    async def _caller(self, session: Exchange, request: Request) -> None:
        name, account, given = (*request.arguments, "", "", "")[:3]
        called = self._called.get(_number(given))
        if called is None:
            await session.finish([set_("DP_WHY", "nobody asked for it here")])
            return
        setup, _ = await self._published(account, name)
        if called.device is None:
            await session.finish([set_("DP_BACK_TO", called_back(called.number))])
            return
        try:
            devices = setup.devices[owner(setup, called.device)]
        except Broken:
            devices = (called.device,)
        await session.finish(set_legs(devices))

    async def _reached(self, session: Exchange, request: Request) -> None:
        caller = _number((*request.arguments, "", "", "")[2])
        if waiter := self._desk.here(caller):
            # That a member answered may be told later than this.
            await settled(waiter.settled)
        await self._desk.ask(lambda store: store.reached(caller))
        await self._note(session, caller)

    async def _unreached(self, session: Exchange, request: Request) -> None:
        name, account, given, said = (*request.arguments, "", "", "", "")[:4]
        caller = _number(given)
        if waiter := self._desk.here(caller):
            await settled(waiter.settled)
        _, queue = await self._published(account, name)
        why = _SAID.get(said, "not reached")
        await self._desk.ask(lambda store: store.unreached(caller, queue, why))
        await self._note(session, caller)

    async def _note(self, session: Exchange, caller: int) -> None:
        if called := self._called.get(caller):
            called.told.set()
        await session.finish([set_("DP_NOTED", "1")])


def _number(given: str) -> int:
    return int(given) if given.isdecimal() else 0
