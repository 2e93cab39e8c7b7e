"""A call asks: request -> Call -> account -> decide() -> dialplan calls, set as variables of the call.

    AGI(agi://127.0.0.1:4573/decide,kind,name,account,call id,caller,caller's user,device,trunk,dialled,language,
        depth,extension)

sets DP_STEP_1..n, DP_WHY_1..m with DP_WHYS = m, and DP_STEPS = n last: DP_STEPS stands only when the rest does. n = 0:
nothing is decided, DP_WHY says why. Also `/answered,group,name,account,call id,leg,caller,caller's user,device` (a leg
answered: what least_recent and fewest_calls go by) and `/missed` with the same and no leg: the group may take the next
call, and its members are told, by a row and by DP_TEXT for the phones DP_PHONES_1..n, n = DP_PHONES; `/called` and
`/unanswered`, of a member who called the number `leg` in the group's name: they are told as well;
`/membership,group,name,account,call id,user,device` (the caller leaves a group, or joins it again; sets DP_MEMBER); and
`/ping` (sets DP_PONG, or DP_WHY).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from controller.agi.entries import Entries, Held, with_live
from controller.agi.live import Live
from controller.errors import BadPolicy, DialplaneError, StateError, TemplateError
from controller.policy import Step, groups, notices, program
from controller.policy.decide import Decision, decide
from controller.policy.model import Call, Group, Snapshot, Turn
from controller.policy.notices import Notice
from controller.wire.agi import Broken, Request

# Reasons go into the call's events, one each: enough for people, not for a policy of a thousand rules.
_REASONS = 40
_REASON_CHARS = 240
_ARGUMENTS = (
    "kind",
    "name",
    "account",
    "call_id",
    "caller",
    "caller_user",
    "device",
    "trunk",
    "called",
    "language",
)
_NEEDED = 4
# The writer of call events escapes quotes, but no backslash.
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f]")
# A call of a group that takes one rings no longer than the group, and what it takes to ask and to dial.
_RINGS_LONGER_S = 15
# An address has 97 characters at most, a value 4095 bytes.
_PHONES_IN_A_LINE = 20
_MEMORY = frozenset({"round_robin", "least_recent", "fewest_calls"})

# A header's name stands in an expression of the dialplan.
_HEADER = re.compile(r"[A-Za-z0-9-]+")

Command = tuple[str, ...]


class Exchange(Protocol):
    """A call that asks: `wire.agi.Session`, or what a script of its own makes of its standard streams."""

    async def request(self) -> Request:
        """What Asterisk says first."""

    async def full_variable(self, expression: str) -> str:
        """An expression as the call's channel evaluates it."""

    async def finish(self, commands: Sequence[Sequence[str]]) -> None:
        """The last commands."""


class App:
    """What the server does with a session. `clock` gives an aware time; `failed` hears why nothing was decided."""

    def __init__(
        self,
        entries: Entries,
        live: Live,
        clock: Callable[[], datetime],
        failed: Callable[[DialplaneError], None],
    ) -> None:
        self._entries = entries
        self._live = live
        self._clock = clock
        self._failed = failed
        self.decided = 0
        self.scripts: dict[str, Callable[[Exchange, Request], Awaitable[None]]] = {
            "decide": self._decide,
            "answered": self._told,
            "missed": self._told,
            "called": self._told,
            "unanswered": self._told,
            "membership": self._membership,
            "ping": self._ping,
        }

    async def __call__(self, session: Exchange) -> None:
        """One exchange."""
        request = await session.request()
        script = self.scripts.get(request.script.partition("?")[0])
        if script is None:
            raise Broken(
                "garbage", f"no script {request.script[:60]!r}; there are: {', '.join(self.scripts)}"
            )
        await script(session, request)

    async def _decide(self, session: Exchange, request: Request) -> None:
        call = call_of(request.arguments)
        try:
            held = await self._entries.account(call.account)
            commands = list(variables(await self._decision(session, call, held)))
        except (StateError, BadPolicy, TemplateError) as error:
            # The call is told at once, and its record says why.
            self._failed(error)
            commands = list(variables(Decision((), (Step("agi", "no decision", str(error)),))))
            await session.finish(commands)
        else:
            await session.finish(commands)
            self.decided += 1

    async def _decision(self, session: Exchange, call: Call, held: Held) -> Decision:
        registered, ringing = None, frozenset[str]()
        group = held.snapshot.groups.get(call.name) if call.kind == "group" else None
        if group is not None and group.one_call:
            seconds = group.ring_s + _RINGS_LONGER_S
            if not await self._live.claim(call.account, call.name, call.call_id, seconds):
                ringing = frozenset({call.name})
        if group is not None:
            joining = (one for one in group.members if one.joins)
            aors = tuple(leg.address for one in joining for leg in groups.legs(one, held.snapshot))
            registered = await self._live.registered(aors)
        if call.kind == "policy":
            names = [name for name in held.snapshot.headers if _HEADER.fullmatch(name)]
            asked = {name: await session.full_variable(f"${{PJSIP_HEADER(read,{name})}}") for name in names}
            call = replace(call, headers=asked)
            registered = await self._live.registered(held.watched)

        def decided(turns: dict[str, Turn]) -> Decision:
            seen = with_live(held.snapshot, registered=registered, turns=turns, ringing=ringing)
            return decide(call, seen, self._clock())

        if not _remembers(call, held.snapshot):
            return decided({})

        def with_memory(turn: Turn) -> tuple[Decision, Turn | None]:
            found = decided({call.name: turn})
            return found, found.turn

        return await self._live.turned(call.account, call.name, with_memory)

    async def _told(self, session: Exchange, request: Request) -> None:
        """What became of a call to a group, or in its name. No call waits for this."""
        kind, name, account, call_id, *said = (*request.arguments, *[""] * 8)[:8]
        call = notices.Call(request.script, *said)
        held = await self._entries.account(account)
        group = held.snapshot.groups.get(name) if kind == "group" else None
        commands: list[Command] = []
        if group is not None:
            if group.one_call and call.outcome in ("answered", "missed"):
                await self._live.release(account, name, call_id)
            notice = notices.notice(group, held.snapshot, call)
            if notice and group.notices != "none":
                await self._live.tell(account, name, call_id, notice)
            if notice and group.notices == "phones":
                commands = list(_messages(notice))
            if call.outcome == "answered" and group.strategy in _MEMORY:
                await self._remember(group, held, account, call.leg)
        await session.finish([*commands, _set("DP_NOTED", "1")])

    async def _membership(self, session: Exchange, request: Request) -> None:
        """The caller leaves a group, or joins it again. DatabaseError: the caller hears that nothing changed."""
        _, name, account, _, user, device = (*request.arguments, *[""] * 6)[:6]
        await session.finish([_set("DP_MEMBER", await self._live.membership(account, name, user, device))])

    async def _remember(self, group: Group, held: Held, account: str, leg: str) -> None:
        def noted(turn: Turn) -> tuple[None, Turn | None]:
            seen = with_live(held.snapshot, turns={group.name: turn})
            return None, groups.answered(group, seen, leg, self._clock())

        await self._live.turned(account, group.name, noted)

    async def _ping(self, session: Exchange, request: Request) -> None:
        """Somebody looks whether this server could decide."""
        try:
            await self._entries.account("-")
        except StateError as error:
            await session.finish([_set("DP_WHY", str(error))])
        else:
            await session.finish([_set("DP_PONG", "1")])


def call_of(arguments: Sequence[str]) -> Call:
    """The call, from the arguments of AGI(). Broken: too few of them."""
    if len(arguments) < _NEEDED:
        raise Broken(
            "garbage", f"{len(arguments)} arguments; at least {', '.join(_ARGUMENTS[:_NEEDED])} are needed"
        )
    given: dict[str, Any] = dict(zip(_ARGUMENTS, arguments, strict=False))
    depth, extension, *_ = (*arguments[len(_ARGUMENTS) :], "", "")
    return Call(**given, depth=int(depth) if depth.isdecimal() else 0, extension=extension)


def _remembers(call: Call, account: Snapshot) -> bool:
    group = account.groups.get(call.name) if call.kind == "group" else None
    return group is not None and group.strategy in _MEMORY


def variables(decision: Decision) -> Iterator[Command]:
    """A decision as commands. TemplateError: a line that no dialplan takes."""
    lines = program.lines(decision.program)
    for number, line in enumerate(lines, 1):
        yield _set(f"DP_STEP_{number}", line)
    reasons = [_text(step) for step in decision.reasons]
    if len(reasons) > _REASONS:
        reasons = [*reasons[: _REASONS - 2], f"and {len(reasons) - _REASONS + 1} more", reasons[-1]]
    for number, reason in enumerate(reasons, 1):
        yield _set(f"DP_WHY_{number}", reason)
    if not lines:
        yield _set("DP_WHY", reasons[-1] if reasons else "nothing was decided")
    yield _set("DP_WHYS", str(len(reasons)))
    yield _set("DP_STEPS", str(len(lines)))


def _messages(notice: Notice) -> Iterator[Command]:
    """A text for phones, as dp-told sends it; DP_PHONES stands only when the rest does."""
    starts = range(0, len(notice.phones), _PHONES_IN_A_LINE)
    lines = ["&".join(notice.phones[start : start + _PHONES_IN_A_LINE]) for start in starts]
    yield _set("DP_TEXT", _UNSAFE.sub(" ", notice.text))
    for number, line in enumerate(lines, 1):
        yield _set(f"DP_PHONES_{number}", line)
    yield _set("DP_PHONES", str(len(lines)))


def _set(name: str, value: str) -> Command:
    return ("SET", "VARIABLE", name, value)


def _text(step: Step) -> str:
    return _UNSAFE.sub(" ", f"{step.what}: {step.why}" if step.why else step.what)[:_REASON_CHARS]
