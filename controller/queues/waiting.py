"""A visit of a queue: who comes, who may wait and stay, what callers are told. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from controller.queues.engine import line, on_duty
from controller.queues.model import Caller, Member, Queue

# Told in whole minutes beyond that: nobody plans by seconds.
_MINUTE_S = 60


class Way(NamedTuple):
    """Where a caller goes on who does not (or no longer) wait: the outcome, the step, why."""

    outcome: str
    step: str
    why: str


class Told(NamedTuple):
    """What a caller is told: its position from 1 on, and how long it may take; None: not known."""

    position: int
    wait_s: int | None


@dataclass(frozen=True, slots=True)
class Visit:
    """A call that comes to a queue. `ticket` names this visit: the dialplan makes a new one each time."""

    ticket: str
    account: str
    queue: str
    call_id: str
    node: str
    channel: str = ""
    caller: str = ""
    caller_name: str = ""
    priority: int = 0
    skills: tuple[str, ...] = ()


class Joined(NamedTuple):
    """`way`: the caller does not wait, it goes on there; None: it waits. `again`: it has its old place."""

    id: int
    way: Way | None
    again: bool = False


class Ringing(NamedTuple):
    """What the session of a caller rings: members with legs, as dp-legs is told; a number to call back or None, and the
    device that called, when it was one of the account."""

    caller: int
    rings: Mapping[str, tuple[str, ...]]
    callback: str | None
    device: str | None = None

    @property
    def legs(self) -> tuple[str, ...]:
        """Of all members."""
        return tuple(leg for legs in self.rings.values() for leg in legs)

    @property
    def members(self) -> tuple[str, ...]:
        """Who rings."""
        return tuple(self.rings)


class Swept(NamedTuple):
    """What a sweep ended: callers lost, members free again; and queues (account, name) with callers to call back."""

    lost: int
    freed: int
    callbacks: tuple[tuple[str, str], ...]


def positions(callers: Iterable[Caller]) -> dict[int, int]:
    """Caller -> position, from 1 on. Callers who ring keep theirs until they talk."""
    return {caller.id: number for number, caller in enumerate(line(callers), 1)}


def joins(queue: Queue, waiting: int, members: Mapping[str, Member]) -> Way | None:
    """Whether one more caller may wait, when so many do; None: yes."""
    if queue.max_waiting is not None and waiting >= queue.max_waiting:
        return Way("full", queue.on_full, f"{waiting} callers wait already, {queue.max_waiting} may")
    if not queue.join_empty and not on_duty(queue, members):
        return Way("empty", queue.on_empty, "no member is on duty")
    return None


def leaves(queue: Queue, caller: Caller, members: Mapping[str, Member], now: datetime) -> Way | None:
    """Whether a caller who waits has to go on; None: it stays. One who is called back waits for ever.

    Who called again instead of being called back has the old place, but waits on the telephone only since then.
    """
    if caller.callback:
        return None
    waited_s = (now - (caller.called_at or caller.joined_at)).total_seconds()
    if queue.max_wait_s is not None and waited_s >= queue.max_wait_s:
        return Way(
            "timeout", queue.on_timeout, f"waited {int(waited_s)} s, {queue.max_wait_s} s is the limit"
        )
    if queue.leave_empty and not on_duty(queue, members):
        return Way("empty", queue.on_empty, "no member is on duty any more")
    return None


def told(
    queue: Queue, callers: Iterable[Caller], members: Mapping[str, Member], talk_s: float | None
) -> dict[int, Told]:
    """What to tell each caller. `talk_s`: how long calls of the queue take, on average; None: not known.

    Each member who is on duty is done with a call, wrap-up included, in that time, so that many callers move up.
    """
    there = on_duty(queue, members)
    if talk_s is None or not there:
        return {caller: Told(position, None) for caller, position in positions(callers).items()}
    wraps_up_s = sum(queue.wraps_up_s(place.user) for place in queue.members) / len(queue.members)
    each_s = (talk_s + wraps_up_s) / there
    return {
        caller: Told(position, _rounded(position * each_s)) for caller, position in positions(callers).items()
    }


def _rounded(seconds: float) -> int:
    return math.ceil(seconds if seconds <= _MINUTE_S else math.ceil(seconds / _MINUTE_S) * _MINUTE_S)
