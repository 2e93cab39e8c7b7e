"""What the members of a group are told of a call to it that was answered or missed. Pure."""

from __future__ import annotations

from typing import NamedTuple

from controller.policy import groups
from controller.policy.model import Group, Snapshot


class Notice(NamedTuple):
    """`member` answered; empty: the call was missed. `caller`: number shown, `caller_user`: if it was one of ours.

    `phones`: AORs of the members that are told of it: not who answered or called, who is away or must not be disturbed.
    """

    outcome: str
    member: str
    caller: str
    caller_user: str
    text: str
    phones: tuple[str, ...]


def notice(group: Group, snapshot: Snapshot, leg: str, caller: str, caller_user: str) -> Notice | None:
    """Of a call that `leg` (AOR or number) answered; empty: nobody did. None: the leg is no member's."""
    member = groups.member_of(group, snapshot, leg) if leg else None
    if leg and member is None:
        return None
    who = _called(snapshot, caller_user) or caller or "anonymous"
    what = f"{who} answered by {_called(snapshot, member.key)}" if member else f"missed call of {who}"
    text = f"{group.name}: {what}"
    silent = {member.key if member else "", caller_user}
    phones = {
        leg.address: None
        for one in group.members
        if one.key not in silent and not groups.out_of_reach(group, one, snapshot)
        for leg in groups.legs(one, snapshot)
        if "@" in leg.address
    }
    return Notice(
        "answered" if member else "missed",
        member.key if member else "",
        caller,
        caller_user,
        text,
        tuple(phones),
    )


def _called(snapshot: Snapshot, key: str) -> str:
    """A user by its name for people."""
    user = snapshot.users.get(key)
    return user.name or key if user else key
