"""Dialplan of what people expect around calls: snapshot -> text. Pure.

Rendered by templates/asterisk/features.conf.j2; what the applications named in it do is written in
asterisk/extensions_features.conf.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.compiler.media_templates import render
from controller.desired.model import Account, Conference
from controller.escape import Raw, name


class _Room(NamedTuple):
    """A conference as an extension leads to it; `flags`: w waits for a moderator, t tones, n names, r recorded."""

    extension: Raw
    name: Raw
    pin_digest: str
    moderator_digest: str
    max_members: int | None
    flags: str


def render_features(account: Account) -> str:
    """The dialplan of one account's features as text; empty: it has none."""
    rooms = {one.name: one for one in account.conferences}
    conferences = [
        _room(name(one.extension), rooms[one.target])
        for one in account.extensions
        if one.kind == "conference" and one.target
    ]
    pickups = [name(one.extension) for one in account.extensions if one.kind == "pickup"]
    if not conferences and not pickups:
        return ""
    return render(
        "features.conf.j2",
        {
            "account": name(account.name),
            "conferences": conferences,
            "pickups": pickups,
            "ringing": _ringing(account) if pickups else [],
        },
    )


def _ringing(account: Account) -> list[tuple[Raw, Raw]]:
    """Devices, as data keys, and the extensions of their users: a call that rings there can be picked up."""
    extensions: dict[str, list[str]] = {}
    for one in account.extensions:
        if one.kind == "user" and one.user:
            extensions.setdefault(one.user, []).append(name(one.extension))
    return [
        # Asterisk ignores `-` in extensions.
        (name(device.aor.replace("-", ":")), Raw("&".join(extensions.get(device.user or "", ()))))
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
