"""Which members of a group ring for a call, in which order and for how long; what the group remembers of it. Pure.

Strategy `all` rings everybody at once, each after its delay; the others ring one member after another, each for
`step_s`, from the first again until the group has rung for `ring_s`. Their delays do not count. What is drawn is drawn
from the id of the call: the same call finds the same order.

Who is registered is looked at for members that join by registering only: the edge knows best, and answers at once for
who is not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from controller.policy import Step
from controller.policy.conditions import Situation, who_and_when
from controller.policy.model import Group, Member, Snapshot, Turn
from controller.policy.program import Leg


class Stage(NamedTuple):
    """What rings at once, for so many seconds. `flags` as dp-legs takes them."""

    members: tuple[str, ...]
    legs: tuple[Leg, ...]
    seconds: int
    flags: str


class Ringing(NamedTuple):
    """`stages` in order, none: nobody rings; `turn`: what the memory becomes, None: it stays."""

    stages: tuple[Stage, ...]
    reasons: tuple[Step, ...]
    turn: Turn | None


def ring(group: Group, situation: Situation) -> Ringing:
    """The stages of a call to the group, with a reason for each member that does not ring."""
    reasons: list[Step] = []
    members: list[Member] = []
    for member in group.members:
        why = kept_out(group, member, situation)
        if why:
            reasons.append(Step("group", f"{member.key} does not ring", why))
        else:
            members.append(member)
    if group.strategy == "all":
        return Ringing(_at_once(group, members, situation.snapshot, reasons), tuple(reasons), None)
    order, why = _ORDERS[group.strategy](group, members, situation)
    stages = _in_turn(group, order, why, situation.snapshot, reasons)
    turn = None
    if group.strategy == "round_robin" and order:
        turn = replace(_memory(group, situation.snapshot), last=order[0].key)
    return Ringing(stages, tuple(reasons), turn)


def answered(group: Group, snapshot: Snapshot, leg: str, now: datetime) -> Turn | None:
    """What the memory becomes when `leg` (AOR or number) answered a call to the group; None: no member's."""
    member = member_of(group, snapshot, leg)
    if member is None:
        return None
    turn = _memory(group, snapshot)
    today = _today(snapshot, now)
    calls = turn.calls if turn.day == today else {}
    return Turn(
        turn.last,
        {**turn.answered, member.key: int(now.timestamp())},
        {**calls, member.key: calls.get(member.key, 0) + 1},
        today,
    )


def member_of(group: Group, snapshot: Snapshot, leg: str) -> Member | None:
    """The member that `leg` (AOR or number) belongs to."""
    found = (member for member in group.members if leg in (one.address for one in legs(member, snapshot)))
    return next(found, None)


def kept_out(group: Group, member: Member, situation: Situation) -> str:
    """Why a member does not ring; empty: it does."""
    snapshot = situation.snapshot
    if not member.enabled:
        return f"it is not enabled in group {group.name}"
    if situation.is_caller(member):
        return f"{situation.caller} is who calls"
    if why := out_of_reach(group, member, snapshot):
        return why
    if member.joins and situation.registered(leg.address for leg in legs(member, snapshot)) is False:
        return f"it joins group {group.name} by registering, and is not registered"
    verdict = who_and_when(situation, member.list, member.schedule, member.open)
    return "" if verdict.holds else verdict.why


def out_of_reach(group: Group, member: Member, snapshot: Snapshot) -> str:
    """Why nobody reaches the member through the group, whoever calls and whenever; empty: it can be reached."""
    if (group.name, member.key) in snapshot.live.away:
        return f"it is away from group {group.name}"
    if member.user and not _devices(member.user, snapshot):
        return f"user {member.user} {'has no enabled device' if member.user in snapshot.users else 'is not enabled'}"
    for user in snapshot.live.dnd:
        if user == member.user or member.device in _devices(user, snapshot):
            return f"{user} does not want to be disturbed"
    return ""


def legs(member: Member, snapshot: Snapshot) -> list[Leg]:
    """What rings for a member."""
    if member.user:
        return [Leg(device) for device in _devices(member.user, snapshot)]
    return [Leg(member.device or member.number)]


# ------------------------------------------------------------------------------------------------------------ order


_Order = tuple[list[Member], str]


def _in_order(_: Group, members: list[Member], __: Situation) -> _Order:
    return members, "in order"


def _round_robin(group: Group, members: list[Member], situation: Situation) -> _Order:
    """From who stands after the one that began last time, whether or not that one rings now."""
    last = _memory(group, situation.snapshot).last
    keys = [member.key for member in group.members]
    if last not in keys:
        return members, "round robin, from the first"
    place = {key: index for index, key in enumerate(keys)}
    first = place[last] + 1
    turned = sorted(members, key=lambda member: (place[member.key] - first) % len(keys))
    return turned, f"round robin, after {last}"


def _least_recent(group: Group, members: list[Member], situation: Situation) -> _Order:
    times = _memory(group, situation.snapshot).answered
    return sorted(members, key=lambda member: times.get(member.key, 0)), "who answered longest ago first"


def _fewest_calls(group: Group, members: list[Member], situation: Situation) -> _Order:
    turn = _memory(group, situation.snapshot)
    calls: Mapping[str, int] = turn.calls if turn.day == _today(situation.snapshot, situation.now) else {}
    return sorted(
        members, key=lambda member: calls.get(member.key, 0)
    ), "who answered fewest calls today first"


def _random(group: Group, members: list[Member], situation: Situation) -> _Order:
    return sorted(
        members, key=lambda member: _drawn(group, member, situation)
    ), "at random, drawn for this call"


def _weighted(group: Group, members: list[Member], situation: Situation) -> _Order:
    """Drawn by weight one by one, without putting back (Efraimidis and Spirakis 2006); weight 0 comes last."""

    def key(member: Member) -> tuple[bool, float]:
        chance = -math.log(_drawn(group, member, situation))
        return (member.weight <= 0, chance / member.weight if member.weight > 0 else chance)

    return sorted(members, key=key), "at random by weight, drawn for this call"


_ORDERS: dict[str, Callable[[Group, list[Member], Situation], _Order]] = {
    "in_order": _in_order,
    "round_robin": _round_robin,
    "least_recent": _least_recent,
    "fewest_calls": _fewest_calls,
    "random": _random,
    "weighted": _weighted,
}


def _drawn(group: Group, member: Member, situation: Situation) -> float:
    """A number above 0, at most 1, that depends on call, group and member alone."""
    seed = f"{situation.call.call_id}\0{group.name}\0{member.key}".encode()
    return (int.from_bytes(hashlib.sha256(seed).digest()[:6], "big") + 1) / (1 << 48)


def _memory(group: Group, snapshot: Snapshot) -> Turn:
    return snapshot.live.turns.get(group.name) or Turn()


def _today(snapshot: Snapshot, now: datetime) -> str:
    return now.astimezone(snapshot.account.zone).date().isoformat()


# ----------------------------------------------------------------------------------------------------------- stages


def _at_once(
    group: Group, members: list[Member], snapshot: Snapshot, reasons: list[Step]
) -> tuple[Stage, ...]:
    ringing = [member for member in members if member.delay_s < group.ring_s]
    for member in members:
        if member.delay_s >= group.ring_s:
            why = f"it would begin after {member.delay_s} s, when the group has rung for {group.ring_s} s"
            reasons.append(Step("group", f"{member.key} does not ring", why))
    if not ringing:
        return ()
    said = [f"{one.key} after {one.delay_s} s" if one.delay_s else one.key for one in ringing]
    why = f"group {group.name} rings all at once"
    reasons.append(Step("group", f"ring {', '.join(said)} for {group.ring_s} s", why))
    return (_stage(group, ringing, group.ring_s, snapshot, delays=True),)


def _in_turn(
    group: Group, order: list[Member], why: str, snapshot: Snapshot, reasons: list[Step]
) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    left, step_s = group.ring_s, group.ring_s if len(order) == 1 else group.step_s
    while order and left > 0:
        member = order[len(stages) % len(order)]
        seconds = min(step_s, left)
        if len(stages) < len(order):
            reasons.append(Step("group", f"ring {member.key} for {seconds} s", f"group {group.name}: {why}"))
            stages.append(_stage(group, (member,), seconds, snapshot, delays=False))
        else:
            stages.append(stages[len(stages) - len(order)]._replace(seconds=seconds))
        left -= seconds
    late = [member.key for member in order[len(stages) :]]
    if late:
        reasons.append(
            Step(
                "group",
                f"{', '.join(late)} would be next",
                f"the {group.ring_s} s of the group are over then",
            )
        )
    elif len(stages) > len(order):
        reasons.append(
            Step(
                "group",
                f"then {order[0].key} again, and so on",
                f"until the group has rung for {group.ring_s} s",
            )
        )
    return tuple(stages)


def _stage(
    group: Group, members: Iterable[Member], seconds: int, snapshot: Snapshot, *, delays: bool
) -> Stage:
    """A device that several members have rings once, when the first of them begins."""
    delay: dict[str, int] = {}
    for member in members:
        for leg in legs(member, snapshot):
            begins = member.delay_s if delays else 0
            delay[leg.address] = min(begins, delay.get(leg.address, begins))
    outside = any(address.startswith("+") for address in delay)
    flags = f"{'s' if group.skip_busy else ''}{'c' if group.confirm and outside else ''}"
    ringing = tuple(Leg(address, begins) for address, begins in delay.items())
    return Stage(tuple(member.key for member in members), ringing, seconds, flags)


def _devices(user: str, snapshot: Snapshot) -> tuple[str, ...]:
    found = snapshot.users.get(user)
    return found.devices if found else ()
