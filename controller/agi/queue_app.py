"""A caller waits in a queue: the session that holds it, from the answer to the end of the talk.

    AGI(agi://127.0.0.1:4573/queue,name,account,call id,ticket,caller,caller's name,priority,skills)

plays and says what there is, rings members by `Gosub(dp-queue-ring,s,1(seconds))`, and at the end sets DP_QUEUE_STEP,
the step to go on with, or nothing when the dialplan has to do without: DP_WHY says why. While the caller waits,
TIMEOUT(absolute) is set again and again: without this process the call goes on in its dialplan, which asks again with
the same ticket.

    AGI(.../queue-answered,name,account,caller id,leg)       a member's device answered
    AGI(.../queue-refused,name,account,caller id,leg,turn)   it declined, or said that it is busy
    AGI(.../queue-ended,name,account,caller id,leg)          a member's device hung up

One who hung up and is called back: callback_app.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller.agi.callback_app import CallbackApp, wanted
from controller.agi.decide_app import Exchange
from controller.agi.entries import Entries
from controller.agi.ringing import goes_on, held, owner, ring, set_, settled
from controller.errors import BadPolicy, DatabaseError, InputError, StateError
from controller.queues.desk import TOLD_S, Desk, Waiter
from controller.queues.model import Queue, Setup, skills
from controller.queues.waiting import Told, Visit
from controller.wire.agi import Broken, Request
from controller.wire.agi_held import HeldCall

# The dialplan takes the call back when nothing was heard of this process for so long; told again well before.
WATCH_S = 20
_ALIVE_S = 8.0
# A database that is away for longer: the queue rings its members by itself.
_AWAY_S = 3.0
_CALL_BACK_KEY = "1"
# Nobody calls back there: also what callers hear who may not dial a number.
_NOT_AVAILABLE = "feature-not-avail-line"
_MINUTE_S = 60
_SHOWN_MINUTES = 90

Script = Callable[[Exchange, Request], Awaitable[None]]


class QueueApp:
    """What the server does with sessions of queues."""

    def __init__(self, entries: Entries, desk: Desk) -> None:
        self._entries = entries
        self._desk = desk
        self._backs = CallbackApp(desk, self._published)
        self.scripts: dict[str, Script] = {
            "queue": self._queue,
            "queue-answered": self._answered,
            "queue-refused": self._refused,
            "queue-ended": self._ended,
            **self._backs.scripts,
        }

    async def _queue(self, session: Exchange, request: Request) -> None:
        name, account, call_id, ticket, caller, caller_name, priority, wanted = (
            *request.arguments,
            *[""] * 8,
        )[:8]
        if not ticket:
            raise Broken("garbage", "arguments: queue, account, call id, ticket are needed")
        visit = Visit(
            ticket, account, name, call_id, self._desk.node, request.variables.get("channel", ""), caller, caller_name,
            int(priority) if priority.lstrip("-").isdecimal() else 0, tuple(filter(None, wanted.split("&"))),
        )  # fmt: skip
        try:
            skills(visit.skills)
        except ValueError:
            raise Broken("garbage", f"skills {wanted[:60]!r}") from None
        call = held(session)
        try:
            while await self._visit(call, visit):
                pass
        except (DatabaseError, StateError, BadPolicy, InputError) as error:
            # The queue rings its members as it is rendered, then the dialplan asks again.
            await call.finish([set_("DP_WHY", str(error)[:200])])

    async def _visit(self, call: HeldCall, visit: Visit) -> bool:
        """Until the visit is over; True: the place was lost meanwhile, join again."""
        setup, _ = await self._published(visit.account, visit.queue)
        joined = await self._desk.ask(lambda store: store.join(setup, visit))
        if joined.way is not None:
            await call.finish(goes_on(joined.way.step))
            return False
        with self._desk.waits(joined.id, visit.account, visit.queue) as waiter:
            try:
                return await _Wait(self, self._desk, call, waiter, greet=not joined.again).run()
            except Broken:
                await self._hung_up(waiter)
                return False

    async def _hung_up(self, waiter: Waiter) -> None:
        """The caller is gone: it gave up, or the talk is over."""
        if not waiter.member:
            await settled(waiter.settled)
        _, queue = await self._published(waiter.account, waiter.queue)
        if waiter.member:
            await self._desk.ask(lambda store: store.ended(waiter.id, queue))
        else:
            await self._desk.ask(lambda store: store.leave(waiter.id, "abandoned"))

    async def _published(self, account: str, name: str) -> tuple[Setup, Queue]:
        setup = await self.setup(account)
        if name not in setup.queues:
            raise InputError(f"account {account} has no queue {name} here; publish it (dialplane apply)")
        return setup, setup.queues[name]

    async def setup(self, account: str) -> Setup:
        """The account's queues as this node holds them."""
        return (await self._entries.account(account)).queues

    async def _answered(self, session: Exchange, request: Request) -> None:
        name, account, given, leg = (*request.arguments, "", "", "", "")[:4]
        setup, _ = await self._published(account, name)
        member = owner(setup, leg)
        caller = int(given) if given.isdecimal() else 0
        await self._desk.ask(lambda store: store.answered(caller, member))
        if waiter := self._desk.here(caller):
            waiter.member = member
            waiter.settled.set()
        await session.finish([set_("DP_NOTED", "1")])

    async def _refused(self, session: Exchange, request: Request) -> None:
        """A member is free when the last of its telephones said no; till then it is only noted."""
        name, account, given, leg, turn = (*request.arguments, "", "", "", "", "")[:5]
        setup, _ = await self._published(account, name)
        member = owner(setup, leg)
        waiter = self._desk.here(int(given) if given.isdecimal() else 0)
        # Told late, the member may ring again for the same caller.
        if waiter is not None and turn == str(waiter.turn) and member in waiter.rings:
            waiter.refused.add(member)
            waiter.rings[member].discard(leg)
            if not waiter.rings[member]:
                await self._desk.ask(lambda store: store.refused(waiter.id, member))
            if not any(waiter.rings.values()):
                waiter.settled.set()
        await session.finish([set_("DP_NOTED", "1")])

    async def _ended(self, session: Exchange, request: Request) -> None:
        name, account, given, leg = (*request.arguments, "", "", "", "")[:4]
        setup, queue = await self._published(account, name)
        caller = int(given) if given.isdecimal() else 0
        await self._backs.told(caller)
        await self._desk.ask(lambda store: store.ended(caller, queue, owner(setup, leg)))
        await session.finish([set_("DP_NOTED", "1")])


class _Wait:
    """One who waits: one thing after another, the most urgent first."""

    def __init__(self, app: QueueApp, desk: Desk, call: HeldCall, waiter: Waiter, *, greet: bool) -> None:
        self._app = app
        self._desk = desk
        self._call = call
        self._waiter = waiter
        self._clock = asyncio.get_running_loop().time
        self._greet = greet
        now = self._clock()
        self._alive_at = now
        self._told_at = now
        self._periodic_at: float | None = None
        self._music = False

    async def run(self) -> bool:
        """Until the caller goes on. True: it has to join again. Broken: it hung up."""
        while True:
            self._waiter.wake.clear()
            queue = await self._queue()
            if queue is None:
                return False
            if (over := await self._urgent(queue)) is not None:
                return over
            if await self._entertain(queue):
                return False

    async def _queue(self) -> Queue | None:
        queue = (await self._app.setup(self._waiter.account)).queues.get(self._waiter.queue)
        if queue is None:
            # Its extension leads elsewhere now.
            await self._desk.ask(lambda store: store.leave(self._waiter.id, "left"))
            await self._call.finish(goes_on("hangup"))
        return queue

    async def _urgent(self, queue: Queue) -> bool | None:
        """None: the caller waits on."""
        waiter, call = self._waiter, self._call
        if self._clock() >= self._alive_at:
            self._alive_at = self._clock() + _ALIVE_S
            await call.run(*set_("TIMEOUT(absolute)", str(WATCH_S)))
        if waiter.lost:
            return True
        if waiter.offered:
            waiter.offered = False
            ringing = await self._desk.ask(lambda store: store.take(waiter.id))
            if ringing is not None:
                self._music = False
                talked = await ring(call, self._desk, waiter, ringing, queue)
                self._alive_at = self._clock()
                if talked:
                    await self._desk.ask(lambda store: store.ended(waiter.id, queue))
                    await call.finish(goes_on("hangup"))
                    return False
        elif waiter.way is not None:
            way, waiter.way = waiter.way, None
            left = await self._desk.ask(lambda store: store.leave(waiter.id, way.outcome))
            if left == way.outcome:
                await call.finish(goes_on(way.step))
                return False
        elif self._desk.away_s > _AWAY_S:
            await call.finish([set_("DP_WHY", "PostgreSQL does not answer")])
            return False
        return None

    async def _entertain(self, queue: Queue) -> bool:
        """Greeting, announcements, music, until something is due. True: the caller hung up to be called back."""
        wake, keys = self._waiter.wake, _CALL_BACK_KEY if queue.callback else ""
        key = ""
        for sound in await self._sounds(queue):
            if self._waiter.wake.is_set() or key:
                break
            self._music = False
            key = await self._play(sound, keys)
        if not self._music and not wake.is_set() and not key:
            self._music = True
            await self._call.run("SET", "MUSIC", "ON", *([queue.music] if queue.music else []))
        if not key:
            due = min(at for at in (self._alive_at, *self._announces(queue)) if at is not None)
            key = await self._call.rest(max(0.05, due - self._clock()), wake, keys=bool(keys))
        return bool(keys) and key == keys and await self._call_back(queue)

    def _announces(self, queue: Queue) -> tuple[float | None, ...]:
        return (self._told_at if queue.announce_position else None, self._periodic_at)

    async def _sounds(self, queue: Queue) -> list[str | int]:
        """What is to be heard now, sounds by name and numbers."""
        now = self._clock()
        sounds: list[str | int] = []
        if self._greet:
            self._greet = False
            sounds += [queue.greeting] if queue.greeting else []
        if queue.periodic_sound and self._periodic_at is None:
            self._periodic_at = now + queue.periodic_every_s
        if queue.announce_position and now >= self._told_at:
            self._told_at = now + queue.announce_every_s if queue.announce_every_s else float("inf")
            told = await self._desk.told(self._waiter)
            if told is None:
                # It came after the last look at the queue: the next one knows it.
                self._told_at = now + TOLD_S
            else:
                sounds += spoken(told)
        if queue.periodic_sound and self._periodic_at is not None and now >= self._periodic_at:
            self._periodic_at = now + queue.periodic_every_s
            sounds.append(queue.periodic_sound)
        return sounds

    async def _play(self, sound: str | int, keys: str) -> str:
        if isinstance(sound, int):
            await self._call.run("EXEC", "SayNumber", str(sound))
            return ""
        return await self._call.play(sound, self._waiter.wake, keys)

    async def _call_back(self, queue: Queue) -> bool:
        """The caller wants to be called back. False: it cannot be, and waits on in its place."""
        call, waiter = self._call, self._waiter
        self._music = False
        self._alive_at = self._clock()
        if (back := await wanted(call, queue)) is None:
            await call.play(_NOT_AVAILABLE, waiter.wake)
            return False
        # Its turn may come before it has heard goodbye.
        self._desk.forget(waiter.id)
        if not await self._desk.ask(lambda store: store.call_back(waiter.id, *back)):
            self._desk.remember(waiter)
            return False
        await call.run("EXEC", "Playback", "auth-thankyou&vm-goodbye")
        await call.finish(goes_on("hangup"))
        return True


def spoken(told: Told) -> list[str | int]:
    """Position and expected wait, as Asterisk's sounds say them."""
    sounds: list[str | int] = (
        ["queue-youarenext"]
        if told.position == 1
        else ["queue-thereare", told.position, "queue-callswaiting"]
    )
    if told.wait_s is not None and told.position > 1:
        minutes = max(1, -(-told.wait_s // _MINUTE_S))
        if minutes <= _SHOWN_MINUTES:
            sounds += ["queue-holdtime", minutes, "queue-minute" if minutes == 1 else "queue-minutes"]
    return [*sounds, "queue-thankyou"]
