"""Who rings for which caller: what a queue decides, with reasons. Pure.

`offer()` decides for all who wait, in order, until nobody who waits could be served. Then no caller waits while a
member is idle who could take the call, unless its telephones would be more than `alert_limit`, and no member rings for
two. A `Decision` only holds when it is reserved in the same moment: see `offers.py`.

Prioritised alerting: a queue has `alert_limit` places for telephones that ring. Those of an offer have theirs from the
decision until the offer is over, those that begin later too. Who is next by the rules and finds no room for all of its
telephones waits until there is, and nobody overtakes: so everybody's turn comes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from controller.queues.model import Caller, Member, Place, Queue


class Leg(NamedTuple):
    """A device that rings, from `delay_s` on, for `for_s` or (0) as long as the others."""

    member: str
    device: str
    delay_s: float = 0.0
    for_s: float = 0.0

    def __str__(self) -> str:
        """As dp-legs is told: `desk1@acme.example~2.5`, or `desk1@acme.example~2.5~10`."""
        begins = f"~{self.delay_s:g}" if self.delay_s or self.for_s else ""
        return f"{self.device}{begins}" + (f"~{self.for_s:g}" if self.for_s else "")


class Offer(NamedTuple):
    """A caller, and who rings for it; `why` in words."""

    caller: int
    legs: tuple[Leg, ...]
    why: str

    @property
    def members(self) -> tuple[str, ...]:
        """Who rings, each once, in order."""
        return tuple(dict.fromkeys(leg.member for leg in self.legs))


class Decision(NamedTuple):
    """`offers` for callers in order; `idle_not`: member -> why it is offered nobody; `waits`: caller -> why it has no
    offer."""

    offers: tuple[Offer, ...]
    idle_not: Mapping[str, str]
    waits: Mapping[int, str]


class Rival(NamedTuple):
    """Another queue with members of this one, its callers in waiting, the members with their stats in it, and how many
    telephones it alerts."""

    queue: Queue
    callers: Sequence[Caller]
    members: Mapping[str, Member]
    alerted: int = 0


def line(callers: Iterable[Caller]) -> list[Caller]:
    """Callers as they come: the highest priority first, then who came first."""
    return sorted(callers, key=lambda one: (-one.priority, one.joined_at, one.id))


def offer(
    queue: Queue,
    callers: Iterable[Caller],
    members: Mapping[str, Member],
    now: datetime,
    seed: str,
    rivals: Iterable[Rival] = (),
    alerted: int = 0,
) -> Decision:
    """Who rings for whom. `seed`: what is random is the same for the same seed. `alerted`: telephones that ring for
    callers of this queue, or began to less than `alert_pace_ms` ago.

    Rivals that weigh more than this queue take the members they can use first.
    """
    kept: dict[str, str] = {}
    heavier = [one for one in rivals if one.queue.weight > queue.weight]
    for rival in sorted(heavier, key=lambda one: (-one.queue.weight, one.queue.name)):
        decided = _decide(rival.queue, rival.callers, rival.members, now, seed, kept, rival.alerted)
        why = f"is for a caller of queue {rival.queue.name}, which weighs more"
        kept |= {user: why for made in decided.offers for user in made.members}
    return _decide(queue, callers, members, now, seed, kept, alerted)


def _decide(
    queue: Queue,
    callers: Iterable[Caller],
    members: Mapping[str, Member],
    now: datetime,
    seed: str,
    kept: Mapping[str, str],
    alerted: int,
) -> Decision:
    free: list[Place] = []
    idle_not: dict[str, str] = {}
    for place in queue.members:
        why = unavailable(members.get(place.user), now) or kept.get(place.user, "")
        if why:
            idle_not[place.user] = why
        else:
            free.append(place)
    pool = _Pool(queue, free, members, seed)
    offers: list[Offer] = []
    waits: dict[int, str] = {}
    full = ""
    for caller in line(callers):
        if caller.retry_at is not None and caller.retry_at > now:
            seconds = math.ceil((caller.retry_at - now).total_seconds())
            waits[caller.id] = f"nobody took the call, others are tried in {seconds} s"
            continue
        able = pool.able(caller)
        if not able:
            waits[caller.id] = f"no member is free{pool.wanted(caller)}"
            continue
        legs = () if full else _legs(queue, able, caller, members, alerted)
        if not legs:
            # Who comes later does not overtake: else a member with two telephones might never find room.
            full = full or f"{alerted} telephones are alerted, {queue.alert_limit} may be at once"
            waits[caller.id] = full
            continue
        made = Offer(caller.id, legs, "")
        alerted += len(legs)
        pool.take(made.members)
        offers.append(made._replace(why=f"{pool.why}: {_some(made.members)}{pool.wanted(caller)}"))
    return Decision(tuple(offers), idle_not, waits)


_SHOWN = 5


def _some(users: Sequence[str]) -> str:
    more = len(users) - _SHOWN
    return ", ".join(users[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def unavailable(member: Member | None, now: datetime) -> str:
    """Why a member cannot be offered a caller; empty: it can."""
    if member is None or not member.devices:
        return "has no device"
    there = member.logged_in and member.registered
    if there and not (member.paused or member.disturb_not or member.reserved or member.busy):
        return _wraps_up(member, now) or _rests(member, now)
    for holds, why in (
        (not member.logged_in, "is logged out"),
        (member.paused, f"pauses ({member.pause_reason})" if member.pause_reason else "pauses"),
        (member.disturb_not, "does not want to be disturbed"),
        (not member.registered, "has no device that is registered"),
        (member.reserved, "rings for a caller or talks to one"),
        (member.busy, "is on the telephone"),
    ):
        if holds:
            return why
    return ""


def _wraps_up(member: Member, now: datetime) -> str:
    if member.wrap_until is None or member.wrap_until <= now:
        return ""
    return f"wraps up for another {math.ceil((member.wrap_until - now).total_seconds())} s"


def _rests(member: Member, now: datetime) -> str:
    if member.rest_until is None or member.rest_until <= now:
        return ""
    return (
        f"said no, or was not reached, and rings again in {(member.rest_until - now).total_seconds():.1f} s"
    )


def autopause(queue: Queue, ignored: int) -> str:
    """Why a member pauses who let so many calls of the queue in a row ring out; empty: it does not."""
    if queue.autopause_after is None or ignored < queue.autopause_after:
        return ""
    calls = f"{ignored} calls" if ignored > 1 else "a call"
    return f"let {calls} of queue {queue.name} ring out"


def on_duty(queue: Queue, members: Mapping[str, Member]) -> int:
    """How many members are there at all, busy or not: logged in, registered, not paused."""
    return sum(
        1
        for place in queue.members
        if (one := members.get(place.user)) is not None
        and (one.devices and one.logged_in and one.registered and not one.paused)
    )


# ---------------------------------------------------------------------------------------------------------- order


def _drawn(seed: str, user: str) -> float:
    """A number above 0, below 1; the same for the same seed and user."""
    digest = hashlib.sha256(f"{seed}/{user}".encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 1) / ((1 << 48) + 1)


_NEVER = float("-inf")


def _since(at: datetime | None) -> float:
    return _NEVER if at is None else at.timestamp()


_Order = Callable[[Queue, list[Place], Mapping[str, Member], str], list[Place]]


def _as_rows(_: Queue, free: list[Place], __: Mapping[str, Member], ___: str) -> list[Place]:
    return free


def _round(queue: Queue, free: list[Place], members: Mapping[str, Member], _: str) -> list[Place]:
    """Begins after the one who rang last, whether that one is free or not."""
    users = [place.user for place in queue.members]
    known = [(members[user].last_offer_at, at) for at, user in enumerate(users) if user in members]
    last = max(((_since(rang), at) for rang, at in known if rang is not None), default=(0.0, -1))[1]
    at = {user: (number - last - 1) % len(users) for number, user in enumerate(users)}
    return sorted(free, key=lambda place: at[place.user])


def _recent(_: Queue, free: list[Place], members: Mapping[str, Member], __: str) -> list[Place]:
    return sorted(free, key=lambda place: _since(members[place.user].last_call_at))


def _fewest(_: Queue, free: list[Place], members: Mapping[str, Member], __: str) -> list[Place]:
    return sorted(
        free, key=lambda place: (members[place.user].calls_today, _since(members[place.user].last_call_at))
    )


def _random(_: Queue, free: list[Place], __: Mapping[str, Member], seed: str) -> list[Place]:
    return sorted(free, key=lambda place: _drawn(seed, place.user))


def _weighted(_: Queue, free: list[Place], __: Mapping[str, Member], seed: str) -> list[Place]:
    """Drawn one after another, each with its share of the weights (Efraimidis and Spirakis)."""
    return sorted(free, key=lambda place: -math.log(_drawn(seed, place.user)) / place.weight)


_ORDERS: dict[str, tuple[_Order, str]] = {
    "ring_all": (_as_rows, "all who are free"),
    "batch": (_recent, "whose last call is longest ago"),
    "round_robin": (_round, "next after the one who rang last"),
    "least_recent": (_recent, "last call longest ago"),
    "fewest_calls": (_fewest, "fewest calls today"),
    "random": (_random, "drawn at random"),
    "weighted": (_weighted, "drawn at random by weight"),
    "in_order": (_as_rows, "first in order"),
}


class _Pool:
    """Free members, the lowest penalty first, then in the order of the strategy. Who can do what is looked up once."""

    def __init__(self, queue: Queue, free: list[Place], members: Mapping[str, Member], seed: str) -> None:
        order, self.why = _ORDERS[queue.strategy]
        self._skills = queue.required_skills
        self._free = sorted(order(queue, free, members, seed), key=lambda place: place.penalty)
        self._taken: set[str] = set()
        self._able: dict[tuple[tuple[str, int], ...], dict[str, Place]] = {}

    def able(self, caller: Caller) -> dict[str, Place]:
        """Free members with the skills, in order."""
        key = self._wanted(caller)
        if key not in self._able:
            self._able[key] = {
                place.user: place
                for place in self._free
                if place.user not in self._taken
                and all(place.skills.get(name, 0) >= level for name, level in key)
            }
        return self._able[key]

    def take(self, users: Iterable[str]) -> None:
        """They ring now."""
        for user in users:
            self._taken.add(user)
            for able in self._able.values():
                able.pop(user, None)

    def wanted(self, caller: Caller) -> str:
        """Skills that are asked for, in words."""
        said = [f"{name} {level}" if level > 1 else name for name, level in self._wanted(caller)]
        return f" who has {', '.join(said)}" if said else ""

    def _wanted(self, caller: Caller) -> tuple[tuple[str, int], ...]:
        """What the queue asks for, and the caller."""
        wanted = dict(self._skills)
        for name, level in caller.skills.items():
            wanted[name] = max(level, wanted.get(name, 0))
        return tuple(sorted(wanted.items()))


# ----------------------------------------------------------------------------------------------------------- legs


def _legs(
    queue: Queue, able: Mapping[str, Place], caller: Caller, members: Mapping[str, Member], alerted: int
) -> tuple[Leg, ...]:
    """Devices that ring for a caller: of members who did not ring for it yet, else of all. None: no room for them."""
    untried = (place for place in able.values() if place.user not in caller.tried)
    first = next(untried, None)
    rest: Iterator[Place] = untried
    if first is None:
        rest = iter(able.values())
        first = next(rest)
    if queue.strategy == "ring_all":
        stages = [(0.0, [first, *(one for one in rest if one.penalty == first.penalty)])]
    elif queue.strategy == "batch":
        size = max(queue.batch_first_min, math.ceil(len(able) * queue.batch_first_percent / 100))
        more = math.ceil(len(able) * queue.batch_second_percent / 100)
        chosen = [first, *itertools.islice(rest, size + more - 1)]
        stages = [(0.0, chosen[:size]), (float(queue.batch_wait_s), chosen[size:])]
    else:
        stages = [(0.0, [first])]
    return tuple(_alerted(queue, stages, members, alerted))


def _alerted(
    queue: Queue, stages: Sequence[tuple[float, Sequence[Place]]], members: Mapping[str, Member], alerted: int
) -> Iterator[Leg]:
    """Prioritised alerting: members in order, as long as there is room for all telephones of the next one. The others
    do not ring, and stay free."""
    for begins_s, stage in stages:
        if begins_s >= queue.ring_time_s:
            return
        for place in sorted(stage, key=lambda place: place.priority_alert):
            devices = members[place.user].devices
            limit = queue.alert_limit or len(devices)
            if queue.alert_limit and alerted + min(len(devices), limit) > limit:
                return
            alerted += len(devices)
            # More than ever have room: so many at a time, for a part of the ring time.
            turns = math.ceil(len(devices) / limit)
            for_s = (queue.ring_time_s - begins_s) / turns if turns > 1 else 0.0
            for number, device in enumerate(devices):
                yield Leg(place.user, device, begins_s + number // limit * for_s, for_s)
