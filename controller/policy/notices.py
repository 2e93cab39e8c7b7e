"""What the members of a group are told of calls to it, and of calls that one of them makes in its name. Pure."""

from __future__ import annotations

from typing import NamedTuple

from controller.policy import groups
from controller.policy.model import Group, Member, Snapshot


class Call(NamedTuple):
    """What became of a call. `outcome`: answered, missed; called, unanswered: by a member, to an outside number.

    `leg`: AOR or number that answered, or the number that was called. `caller`: number shown; `user`, `device`: who
    called, if it was one of ours.
    """

    outcome: str
    leg: str = ""
    caller: str = ""
    user: str = ""
    device: str = ""


class Notice(NamedTuple):
    """`member`: who answered, or called outside, `called`.

    `phones`: AORs of the members that are told of it: not who answered or called, who is away or must not be disturbed.
    """

    outcome: str
    member: str
    caller: str
    caller_user: str
    called: str
    text: str
    phones: tuple[str, ...]


def notice(group: Group, snapshot: Snapshot, call: Call) -> Notice | None:
    """None: who answered, or called, is no member."""
    outgoing = call.outcome in ("called", "unanswered")
    member = None
    if outgoing:
        member = next((one for one in group.members if _is(one, call)), None)
    elif call.leg:
        member = groups.member_of(group, snapshot, call.leg)
    if member is None and call.outcome != "missed":
        return None
    key = member.key if member else ""
    who, caller = _named(snapshot, key), _named(snapshot, call.user) or call.caller or "anonymous"
    text = {
        "answered": f"{caller} answered by {who}",
        "missed": f"missed call of {caller}",
        "called": f"{who} called {call.leg}",
        "unanswered": f"{who} called {call.leg}: no answer",
    }[call.outcome]
    phones = {
        leg.address: None
        for one in group.members
        if one.key != key and not _is(one, call) and not groups.out_of_reach(group, one, snapshot)
        for leg in groups.legs(one, snapshot)
        if "@" in leg.address
    }
    return Notice(
        call.outcome,
        key,
        "" if outgoing else call.caller,
        "" if outgoing else call.user,
        call.leg if outgoing else "",
        f"{group.name}: {text}",
        tuple(phones),
    )


def _is(member: Member, call: Call) -> bool:
    """Whether the member is who called."""
    return bool(member.user and member.user == call.user) or bool(
        member.device and member.device == call.device
    )


def _named(snapshot: Snapshot, key: str) -> str:
    """A user by its name for people."""
    user = snapshot.users.get(key)
    return user.name or key if user else key
