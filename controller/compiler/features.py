"""Dialplan of what people expect around calls: snapshot -> text. Pure.

Rendered by templates/asterisk/features.conf.j2; what the applications named in it do is written in
asterisk/extensions_features.conf.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.compiler.dialplan_text import MAX_DEVICES_BYTES, data_key
from controller.compiler.media_templates import render
from controller.desired.model import Account, Conference, GroupMember, Page, ParkingLot
from controller.escape import Raw, chunks, name


class _Room(NamedTuple):
    """A conference as an extension leads to it; `flags`: w waits for a moderator, t tones, n names, r recorded."""

    extension: Raw
    name: Raw
    pin_digest: str
    moderator_digest: str
    max_members: int | None
    flags: str


class _Park(NamedTuple):
    """What is dialled to park or to have a parked call, and its parking lot. `flags`: l phones may watch slots."""

    extension: Raw
    lot: Raw
    first_slot: Raw
    slots: int
    wait_s: int
    return_s: int
    on_timeout: Raw
    flags: str


class _Page(NamedTuple):
    """What is dialled to page; `more`: devices that found no room in `devices`; `flags`: d who is paged may talk, r
    only some may page."""

    extension: Raw
    name: Raw
    flags: str
    tone: str
    max_s: int
    more: list[Raw]
    devices: Raw


def render_features(account: Account) -> str:
    """The dialplan of one account's features as text; empty: it has none."""
    rooms = {one.name: one for one in account.conferences}
    conferences = [
        _room(name(one.extension), rooms[one.target])
        for one in account.extensions
        if one.kind == "conference" and one.target
    ]
    pickups = [name(one.extension) for one in account.extensions if one.kind == "pickup"]
    lots = {one.name: one for one in account.parking_lots}
    parks = [
        _park(one.extension, lots[one.target], account)
        for one in account.extensions
        if one.kind == "park" and one.target
    ]
    pages = {one.name: one for one in account.pages}
    paged = [
        _page(one.extension, pages[one.target], account)
        for one in account.extensions
        if one.kind == "page" and one.target
    ]
    supervised = [
        (name(one.extension), name(data_key(one.target)), name(one.target))
        for one in account.extensions
        if one.kind == "supervise" and one.target
    ]
    if not (conferences or pickups or lots or pages or supervised):
        return ""
    return render(
        "features.conf.j2",
        {
            "account": name(account.name),
            "conferences": conferences,
            "pickups": pickups,
            "parks": parks,
            "slots": [_park(slot, lot, account) for lot in account.parking_lots for slot in lot.numbers],
            "pages": paged,
            "pagers": [
                (name(data_key(one.name)), name(data_key(member.user)))
                for one in account.pages
                for member in _members(account, one.caller_group)
                if member.user
            ],
            "supervised": supervised,
            "supervisors": [
                (name(data_key(one.name)), name(data_key(member.user)))
                for one in account.queues
                for member in _members(account, one.supervisor_group)
                if member.user
            ],
            "ringing": _ringing(account) if pickups else [],
        },
    )


def _park(extension: str, lot: ParkingLot, account: Account) -> _Park:
    return _Park(
        name(extension),
        name(lot.name),
        name(lot.first_slot),
        lot.slots,
        lot.wait_s,
        lot.return_s,
        name(str(lot.on_timeout)),
        "l" * account.lamps,
    )


def _page(extension: str, page: Page, account: Account) -> _Page:
    enabled_users = {user.name for user in account.users if user.enabled}
    devices = [
        one for one in account.devices if one.enabled and (one.user is None or one.user in enabled_users)
    ]
    heard = [
        name(device.aor)
        for member in _members(account, page.group)
        for device in devices
        if (member.user and device.user == member.user) or device.aor == member.device
    ]
    *more, last = chunks(dict.fromkeys(heard), MAX_DEVICES_BYTES)
    return _Page(
        name(extension),
        name(page.name),
        "d" * page.talk_back + "r" * (page.caller_group is not None),
        "" if page.tone == "none" else page.tone,
        page.max_s,
        more,
        last,
    )


def _members(account: Account, group: str | None) -> tuple[GroupMember, ...]:
    return next((one.members for one in account.groups if one.name == group), ())


def _ringing(account: Account) -> list[tuple[Raw, Raw]]:
    """Devices, as data keys, and the extensions of their users: a call that rings there can be picked up."""
    extensions: dict[str, list[str]] = {}
    for one in account.extensions:
        if one.kind == "user" and one.user:
            extensions.setdefault(one.user, []).append(name(one.extension))
    return [
        (name(data_key(device.aor)), Raw("&".join(extensions.get(device.user or "", ()))))
        for device in account.devices
        if device.enabled and device.user
    ]


def _room(extension: Raw, room: Conference) -> _Room:
    flags = (
        "w" * room.wait_for_moderator + {"tone": "t", "name": "n"}.get(room.announce, "") + "r" * room.record
    )
    return _Room(
        extension,
        name(room.name),
        room.pin_digest or "",
        room.moderator_digest or "",
        room.max_members,
        flags,
    )
