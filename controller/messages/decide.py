"""Who gets a message: what it was written to, looked up in the entries that edges and media nodes hold. Pure.

An extension, a number or a name leads to a user (all devices), a device, or a group (the decision of
`policy/groups.py` says which members, and in which order), in the account of the sender or in the one that has the
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from controller.messages.model import Delivery, Message, Routed
from controller.messages.text import e164
from controller.policy import Entries, groups
from controller.policy.blocks import blocked
from controller.policy.conditions import Situation
from controller.policy.edge import fields
from controller.policy.model import Call, Group, Member, Snapshot
from controller.policy.way import application


def route(message: Message, entries: Entries) -> Routed:
    """The deliveries of a message, at `entries.now`."""
    account = fields(entries.edge("account", message.account) or "")
    if account.get("status") != "active":
        return Routed("", reason=f"account {message.account} is not active")
    if message.target:
        return Routed(f"device:{message.target}", (Delivery("device", message.target),))
    found = _own(message, message.account, account["cluster"], message.called, entries)
    if found is None:
        number = e164(message.called, account.get("country", "")) or message.called
        found = _on_net(message, number, entries) or _outside(message, number, account, entries)
    return found or Routed("", reason=f"{message.called} leads to nobody who takes messages")


def _on_net(message: Message, number: str, entries: Entries) -> Routed | None:
    """To the number of another account; None: it is none."""
    lead, owner = f"number:{number}", entries.edge("number", number)
    if not owner:
        return None
    other = fields(entries.edge("account", owner) or "")
    if other.get("status") != "active":
        return Routed(lead, reason=f"account {owner} is not active")
    device = message.sender if "@" in message.sender else ""
    why = blocked(entries, owner, "", number, "", outside=False)
    if owner != message.account:
        why = why or blocked(entries, message.account, device, number, "", outside=True)
    if why:
        return Routed(lead, reason=why)
    found = _own(message, owner, other["cluster"], number, entries)
    if found is None or owner == message.account:
        return found
    return _in_whose_name(found, message, entries)


def _outside(message: Message, number: str, account: Mapping[str, str], entries: Entries) -> Routed | None:
    """To a number that no account here has; None: it is none, or the account writes to none."""
    lead = f"number:{number}"
    if not number.startswith("+") or account.get("text") != "1" or entries.edge("number", number):
        return None
    device = message.sender if "@" in message.sender else ""
    if why := blocked(entries, message.account, device, number, "", outside=True):
        return Routed(lead, reason=why)
    found = _in_whose_name(Routed(lead, (Delivery("number", number),)), message, entries)
    return found if found.shown else Routed(lead, reason="its sender has no number that could be shown")


def _own(message: Message, account: str, cluster: str, called: str, entries: Entries) -> Routed | None:
    """What `called` means in an account; None: nothing."""
    lead = entries.edge("lead", f"{account}/{_extension(account, cluster, called, entries)}")
    if lead is not None:
        said = fields(lead)
        if group := said.get("group"):
            return _group(message, group, entries.snapshot(cluster, account), entries.now)
        if name := said.get("application"):
            return Routed(
                f"application:{name}", reason="a script takes messages from phones of its account only"
            )
        devices = tuple(one for one in said.get("device", "").split("+") if one)
        if not devices:
            return Routed(f"user:{said['user']}", reason=f"user {said['user']} has no enabled device")
        return Routed(f"user:{said['user']}", tuple(Delivery("device", one) for one in devices))
    if "@" in called and fields(entries.edge("credential", called) or "").get("account") == account:
        return Routed(f"device:{called}", (Delivery("device", called),))
    return None


def _extension(account: str, cluster: str, called: str, entries: Entries) -> str:
    """Where a number of the account leads, as its dialplan has it; what is none stays."""
    line = entries.dialplan(cluster, f"inbound-{account}").get(called) if called.startswith("+") else None
    arguments = application(line).arguments if line else ()
    return arguments[1] if len(arguments) > 1 else called


def _in_whose_name(found: Routed, message: Message, entries: Entries) -> Routed:
    """What leaves the account carries the number that calls of the device show; where that is the identity of a group
    whose outgoing member it is, the other members get a copy (compiler/policy.py, `with_identities`)."""
    if "@" not in message.sender:
        return found
    account = fields(entries.edge("account", message.account) or "")
    shown = _number_shown(entries.dialplan(account["cluster"], f"account-{message.account}"), message)
    if not shown:
        return found
    snapshot = entries.snapshot(account["cluster"], message.account)
    groups_ = (one for _, one in sorted(snapshot.groups.items()) if one.identity == shown)
    group = next((one for one in groups_ if _writes_for(one, message)), None)
    copies = _copies(group, message, snapshot) if group else ()
    meant = (one._replace(shown=shown) for one in found.deliveries)
    return found._replace(shown=shown, deliveries=(*meant, *copies))


def _number_shown(lines: Mapping[str, str], message: Message) -> str:
    """As the dialplan says it of a call: the device's own, the user's, the account's; empty: none."""

    def said(extension: str, place: int) -> str:
        arguments = application(lines.get(extension.replace("-", ":"), "Return()")).arguments
        return arguments[place] if len(arguments) > place else ""

    return (
        said(f":device:{message.sender}", 0) or said(f":user:{message.sender_user}", 1) or said(":account", 2)
    )


def _writes_for(group: Group, message: Message) -> bool:
    """Whether the sender is a member that shows the group's number."""
    return any(
        one.outgoing
        and (one.device == message.sender or (bool(one.user) and one.user == message.sender_user))
        for one in group.members
    )


def _copies(group: Group, message: Message, snapshot: Snapshot) -> Iterator[Delivery]:
    """The devices of the other members, but of who is away or must not be disturbed."""
    for member in group.members:
        mine = (message.sender_user and member.user == message.sender_user) or member.device == message.sender
        if mine or not member.enabled or groups.out_of_reach(group, member, snapshot):
            continue
        for leg in groups.legs(member, snapshot):
            if "@" in leg.address and leg.address != message.sender:
                yield Delivery("device", leg.address, member.key, purpose="copy")


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
            to = Delivery("device", leg.address, member.key, place if one else 0)
            if "@" not in leg.address:
                # Who is outside sees the group, as in calls; a group without a number reaches nobody there.
                to = to._replace(kind="number", shown=group.identity)
            if "@" in leg.address or group.identity:
                # Who stands there twice has the first turn.
                deliveries.setdefault(leg.address, to)
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
