"""What edges say, as events, while it happens: rows of control.call_events, one after another. Pure.

A call outside is what an edge sends to a trunk: only there is the number in E.164, and the phone's leg, of the same
call, says whose it is, from which address and with which user agent. Several trunks for one number are one call. A
call that no trunk got is that of what was dialled, told of when it is answered or over, because until then it may
still go outside. So the events of a call are those that its record gives (`store.of_record`), but earlier, and with
more in them.

Rows may come in the order of ids or of time; a line that is missing costs what it said, and nothing else.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controller.fraud.defaults import MESSAGE_COST
from controller.fraud.destinations import classify
from controller.fraud.metrics import GAVE_UP
from controller.fraud.model import (
    ANSWER,
    END,
    FAILED_AUTH,
    INTERNAL,
    MESSAGE,
    NOBODY,
    REGISTER,
    START,
    USED,
    Event,
    People,
    Profile,
)
from controller.messages.text import e164

#: What edges say that is an event, or ends some.
TOLD = (
    "start", "failed", "answered", "end", "gone", "restart", "registered", "refused_sign_in", "message",
)  # fmt: skip
#: Of a line for many sign-ins no more are counted: every threshold is lower.
MOST_AT_ONCE = 1_000
# Nobody tried anything: it was stopped, or we were not able to.
_NOT_TRIED = frozenset(("blocked", "suspended", "shed", "target"))
# What is over is remembered for lines that come late; what nobody ended is given up.
_LATE_S, _LOST_S, _SWEEP_S = 60.0, 86_400.0, 600.0
_PHONE = "phone"
_OK = 300


#: Address -> (latitude, longitude); None: nobody knows.
Where = Callable[[str], tuple[float, float] | None]


def nowhere(_: str) -> None:
    """Nobody knows where addresses are."""


class Row(NamedTuple):
    """A row of control.call_events. `at`: Unix seconds."""

    id: int
    call: str
    node: str
    at: float
    event: str
    detail: Mapping[str, Any]


@dataclass(slots=True)
class _Sent:
    """What was called, and with which legs. `start`: its first event; None: it never was one."""

    start: Event | None
    legs: set[str] = field(default_factory=set)
    answered: str = ""
    answered_at: float | None = None
    over: bool = False


@dataclass(slots=True)
class _Call:
    """`base`: whose it is, as far as known. `own`: the leg of who calls, from the beginning until it is `over`."""

    base: Event
    began: float
    own: str = ""
    over: bool = False
    sent: dict[str, _Sent] = field(default_factory=dict)
    begun: int = 0
    forgotten: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing of it is up."""
        return (self.over or not self.own) and all(one.over for one in self.sent.values())


class Live:
    """Give it each row once. `whose`, `profiles`, `rates` (per minute, by class) may be replaced at any time."""

    def __init__(
        self,
        whose: People,
        profiles: Mapping[str, Profile],
        rates: Mapping[str, float],
        places: Where = nowhere,
    ) -> None:
        self.whose, self.profiles, self.rates, self._places = whose, profiles, rates, places
        self._calls: dict[str, _Call] = {}
        self._done: deque[tuple[float, str]] = deque()
        self._sweep_at = float("-inf")

    def __len__(self) -> int:
        return len(self._calls)

    def profile(self, account: str) -> Profile:
        """What is known of an account; of one that is not known: nothing."""
        return self.profiles.get(account, NOBODY)

    def events(self, row: Row) -> list[Event]:
        """What it says happened, in order; nothing if it makes no sense."""
        try:
            return self._events(row)
        except (TypeError, ValueError):
            return []

    def _events(self, row: Row) -> list[Event]:
        if row.event == "registered":
            return [self._sign_in(row, REGISTER, row.call.partition(":")[2])]
        if row.event == "refused_sign_in":
            one = self._sign_in(row, FAILED_AUTH, str(row.detail.get("aor", "")))
            count = min(int(row.detail.get("count", 1)), MOST_AT_ONCE)
            return [one] + [one._replace(id=f"{one.id}/{number}") for number in range(1, count)]
        if row.event == "message":
            return list(self._message(row))
        if row.event == "restart":
            found = [one for name in list(self._calls) for one in self._restarted(name, row)]
        else:
            found = list(self._leg(row))
        self._forget(row.at)
        return found

    # --- sign-ins and messages --------------------------------------------------------------------------------

    def _sign_in(self, row: Row, kind: str, device: str) -> Event:
        account, user = self.whose.accounts.get(device, ""), self.whose.users.get(device, "")
        source = str(row.detail.get("source", ""))
        return Event(
            f"row/{row.id}", row.at, kind, account, "", user, self.whose.groups.get((account, user), ()), device,
            self.profile(account).reseller, source=source, agent=str(row.detail.get("agent", "")),
            place=self._places(source) if source else None,
        )  # fmt: skip

    def _message(self, row: Row) -> Iterator[Event]:
        said = row.detail
        status, reason = int(said.get("status") or 0), str(said.get("reason", ""))
        if status >= _OK and reason != _PHONE:
            return
        account, user = str(said.get("account", "")), str(said.get("caller", ""))
        called, home = str(said.get("called", "")), self.profile(account).country
        if not said.get("to"):
            called = e164(called, home) or called
        country, cls = classify(called, home)
        used = reason == USED
        yield Event(
            f"{row.call}/{USED}" if used else row.call, row.at, USED if used else MESSAGE, account,
            row.call, user, self.whose.groups.get((account, user), ()),
            str(said.get("device", "")), self.profile(account).reseller, source=str(said.get("source", "")),
            agent=str(said.get("agent", "")), called=called, country=country, cls=cls,
            cost=0.0 if used or cls == INTERNAL else MESSAGE_COST, status=status,
            code=bool(used or said.get("code")) and self.profile(account).codes_told,
        )  # fmt: skip

    # --- calls ------------------------------------------------------------------------------------------------

    def _leg(self, row: Row) -> Iterator[Event]:
        said, leg = row.detail, f"{row.node} {row.detail.get('id', '')}"
        if row.event == "gone":
            # Of the edge's agent, which knows no more than that.
            yield from self._leg_over(row, leg, 0)
            return
        outside = said.get("leg") == "out"
        if outside and not said.get("trunk"):
            return
        known = self._calls.get(row.call)
        fresh = known is None or (
            leg != known.own and not any(leg in one.legs for one in known.sent.values())
        )
        refused = fresh and row.event == "failed"
        if fresh:
            if row.event == "end" or (known is not None and known.over and not outside):
                return
            yield from self._trunk(row, leg) if outside else self._own(row, leg, refused=refused)
        if row.event == "answered":
            yield from self._answered(row, leg)
        elif row.event != "start":
            yield from self._leg_over(row, leg, int(said.get("status") or 0))

    def _call(self, row: Row) -> _Call:
        call = self._calls.get(row.call)
        if call is None:
            call = self._calls[row.call] = _Call(Event(row.call, row.at, START), row.at)
        return call

    def _own(self, row: Row, leg: str, *, refused: bool) -> Iterator[Event]:
        """The leg of who calls. It has no device where a trunk brought it: nobody here pays for that."""
        call, said = self._call(row), row.detail
        account, device, user = (str(said.get(name, "")) for name in ("account", "device", "caller"))
        call.own, call.began = leg, row.at
        source = str(said.get("source", ""))
        call.base = Event(
            row.call, row.at, START, account, row.call, user if device else "",
            self.whose.groups.get((account, user), ()) if device else (), device, self.profile(account).reseller,
            source=source, agent=str(said.get("agent", "")), called=str(said.get("called", "")),
            emergency=bool(said.get("emergency")), place=self._places(source) if source else None,
        )  # fmt: skip
        if refused and str(said.get("reason", "")) in _NOT_TRIED:
            call.sent.setdefault("", _Sent(None, over=True))
        yield from ()

    def _trunk(self, row: Row, leg: str) -> Iterator[Event]:
        """A leg to a trunk: the first of its number begins a call."""
        call, said = self._call(row), row.detail
        number = str(said.get("called", ""))
        sent = call.sent.get(number)
        if sent is None and row.event == "failed" and str(said.get("reason", "")) in _NOT_TRIED:
            call.sent[number] = _Sent(None, over=True)
            return
        if sent is None or sent.start is None or sent.over:
            # A leg says whose it is: not always who calls, or nobody here, but who transferred the call or sends it on.
            account = str(said.get("account", "")) or call.base.account
            device = str(said.get("payer", "")) or call.base.device
            user = str(said.get("user", "")) or self.whose.users.get(device, "") or call.base.user
            base = (
                call.base
                if device == call.base.device
                else call.base._replace(source="", agent="", place=None)
            )
            sent = call.sent[number] = self._begun(
                row.call, call,
                base._replace(
                    at=row.at, account=account, device=device, user=user, called=number,
                    groups=self.whose.groups.get((account, user), ()), reseller=self.profile(account).reseller,
                    emergency=call.base.emergency or bool(said.get("emergency")),
                ),
            )  # fmt: skip
            assert sent.start is not None  # noqa: S101 - it has just begun
            yield sent.start
        sent.legs.add(leg)

    def _begun(self, name: str, call: _Call, event: Event) -> _Sent:
        name = f"{name}/{call.begun}" if call.begun else name
        call.begun += 1
        country, cls = classify(event.called, self.profile(event.account).country)
        return _Sent(
            event._replace(id=f"{name}/s", call=name, country=country, cls=cls, rate=self.rates.get(cls, 0.0))
        )

    def _inside(self, name: str, call: _Call, at: float) -> Iterator[Event]:
        """What was dialled is what was called: no trunk got it."""
        if call.sent or not call.base.device or not call.base.called:
            return
        sent = call.sent[call.base.called] = self._begun(name, call, call.base._replace(at=at))
        sent.legs.add(call.own)
        assert sent.start is not None  # noqa: S101 - it has just begun
        yield sent.start

    def _answered(self, row: Row, leg: str) -> Iterator[Event]:
        call = self._calls[row.call]
        if leg == call.own:
            yield from self._inside(row.call, call, call.began)
        for sent in call.sent.values():
            if leg in sent.legs and sent.start is not None and not sent.answered:
                sent.answered, sent.answered_at = leg, row.at
                yield sent.start._replace(id=f"{sent.start.call}/a", at=row.at, kind=ANSWER)

    def _leg_over(self, row: Row, leg: str, status: int) -> Iterator[Event]:
        call = self._calls.get(row.call)
        if call is None:
            return
        if leg == call.own:
            yield from self._inside(row.call, call, call.began)
            call.over = True
        for sent in call.sent.values():
            if leg in sent.legs:
                sent.legs.discard(leg)
                if sent.answered == leg:
                    yield from self._end(sent, row.at, status)
            if not sent.over and not sent.legs and not sent.answered and (call.over or not call.own):
                # Until who calls has given up, another trunk may be tried.
                yield from self._end(sent, row.at, status)
        if call.done and not call.forgotten:
            call.forgotten = True
            self._done.append((row.at, row.call))

    def _end(self, sent: _Sent, at: float, status: int) -> Iterator[Event]:
        sent.over = True
        if sent.start is None:
            return
        talk_s = max(0.0, at - sent.answered_at) if sent.answered_at is not None else 0.0
        yield sent.start._replace(
            id=f"{sent.start.call}/e", at=max(at, sent.start.at), kind=END,
            duration_s=max(0.0, at - sent.start.at), talk_s=talk_s, cost=sent.start.rate * talk_s / 60,
            status=200 if talk_s else GAVE_UP if status == GAVE_UP else 480,
        )  # fmt: skip

    def _restarted(self, name: str, row: Row) -> Iterator[Event]:
        """The server forgot its calls."""
        call, node = self._calls[name], f"{row.node} "
        if call.began >= row.at:
            return
        legs = {call.own, *itertools.chain(*(one.legs for one in call.sent.values()))}
        for leg in sorted(one for one in legs if one.startswith(node)):
            yield from self._leg_over(row._replace(call=name), leg, 0)

    def _forget(self, now: float) -> None:
        while self._done and self._done[0][0] < now - _LATE_S:
            self._calls.pop(self._done.popleft()[1], None)
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            for name in [name for name, call in self._calls.items() if call.began < now - _LOST_S]:
                del self._calls[name]
