"""Who gets a message: what it was written to, looked up in the entries that edges and media nodes hold. Pure.

An extension, a number or a name leads to a user (all devices), a device, or a group (the decision of
`policy/groups.py` says which members, and in which order), in the account of the sender or in the one that has the
number.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from controller.messages.model import Delivery, Message, Routed
from controller.policy import Entries, groups
from controller.policy.conditions import Situation
from controller.policy.edge import blocked, fields
from controller.policy.model import Call, Group, Member, Snapshot


def route(message: Message, entries: Entries) -> Routed:
    """The deliveries of a message, at `entries.now`."""
    account = fields(entries.edge("account", message.account) or "")
    if account.get("status") != "active":
        return Routed("", reason=f"account {message.account} is not active")
    if message.target:
        return Routed(f"device:{message.target}", (Delivery("device", message.target),))
    found = _own(message, message.account, account["cluster"], message.called, entries)
    if found is None:
        found = _on_net(message, entries)
    return found or Routed("", reason=f"{message.called} leads to nobody who takes messages")


def _on_net(message: Message, entries: Entries) -> Routed | None:
    """To the number of another account; None: it is none."""
    lead, owner = f"number:{message.called}", entries.edge("number", message.called)
    if not owner or owner == message.account:
        return None
    other = fields(entries.edge("account", owner) or "")
    if other.get("status") != "active":
        return Routed(lead, reason=f"account {owner} is not active")
    if why := blocked(entries, owner, "", message.called, ""):
        return Routed(lead, reason=why)
    return _own(message, owner, other["cluster"], message.called, entries)


def _own(message: Message, account: str, cluster: str, called: str, entries: Entries) -> Routed | None:
    """What `called` means in an account; None: nothing."""
    lead = entries.edge("message", f"{account}/{called}")
    if lead is not None:
        said = fields(lead)
        if group := said.get("group"):
            return _group(message, group, entries.snapshot(cluster, account), entries.now)
        devices = tuple(one for one in said.get("device", "").split("+") if one)
        if not devices:
            return Routed(f"user:{said['user']}", reason=f"user {said['user']} has no enabled device")
        return Routed(f"user:{said['user']}", tuple(Delivery("device", one) for one in devices))
    if "@" in called and fields(entries.edge("credential", called) or "").get("account") == account:
        return Routed(f"device:{called}", (Delivery("device", called),))
    return None


def _group(message: Message, name: str, snapshot: Snapshot, now: datetime) -> Routed:
    lead = f"group:{name}"
    group = snapshot.groups.get(name)
    if group is None or group.messages == "none":
        return Routed(
            lead, reason=f"group {name} takes no messages" if group else f"there is no group {name}"
        )
    inside = "@" in message.sender
    call = Call(
        snapshot.account.name,
        str(message.id),
        "group",
        name,
        caller="" if inside else message.sender,
        caller_user=message.sender_user,
        device=message.sender if inside else "",
        trunk="" if inside else "message",
        called=message.called,
    )
    situation = Situation(call, snapshot, now)
    one = group.messages == "as_calls" and group.strategy != "all"
    members = list(_members(group, situation, one=one))
    if group.messages == "present":
        there = [member for member in members if situation.registered(_aors(member, snapshot)) is not False]
        members = there or members
    deliveries: dict[str, Delivery] = {}
    for place, member in enumerate(members):
        for leg in groups.legs(member, snapshot):
            kind = "device" if "@" in leg.address else "number"
            # Who stands there twice has the first turn.
            deliveries.setdefault(leg.address, Delivery(kind, leg.address, member.key, place if one else 0))
    if not deliveries:
        return Routed(lead, reason=f"nobody in group {name} is left to get it")
    return Routed(lead, tuple(deliveries.values()), "one" if one else "all")


def _members(group: Group, situation: Situation, *, one: bool) -> Iterator[Member]:
    """Members who get it, in the order in which they would ring."""
    if one:
        named = {member.key: member for member in group.members}
        seen: set[str] = set()
        for stage in groups.ring(group, situation).stages:
            for key in stage.members:
                if key not in seen:
                    seen.add(key)
                    yield named[key]
        # Who would have no time to ring still gets what is written.
        for member in group.members:
            if member.key not in seen and not groups.kept_out(group, member, situation):
                yield member
        return
    for member in group.members:
        if not groups.kept_out(group, member, situation):
            yield member


def _aors(member: Member, snapshot: Snapshot) -> list[str]:
    return [leg.address for leg in groups.legs(member, snapshot) if "@" in leg.address]
