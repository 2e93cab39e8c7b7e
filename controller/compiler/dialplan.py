"""Dialplan of an account: snapshot -> text a person can read -> entries. Pure.

The text comes from templates/asterisk/; it is parsed back, so a site can edit a template and still get changes the
size of one extension. What the applications named in it do is written in asterisk/extensions.conf.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from controller.compiler.dialplan_text import (
    MAX_DEVICES_BYTES,
    data_key,
    parse_dialplan,
    routes,
    trunk_caller_ids,
)
from controller.compiler.features import render_features
from controller.compiler.media_templates import render
from controller.compiler.recording import render_recording
from controller.desired.model import (
    Account,
    Extension,
    Forwarding,
    Group,
    Menu,
    Queue,
    Step,
    System,
)
from controller.errors import TemplateError
from controller.escape import Raw, chunks, name

_MAX_NAME = 80
# Strategies that go by who answered: the decision server is told.
_REMEMBER_ANSWERS = frozenset(("least_recent", "fewest_calls"))
# A rendered group passes over who is away or must not be disturbed: a decision has left them out already.
_LOOKS = "d"
_INVALID_SOUND = "pbx-invalid"
# What a caller of a menu may dial there: people, and what leads to people. dp-menu knows them by their applications.
_DIALLED_IN_MENUS = frozenset(("user", "voicemail", "group", "policy", "menu", "queue"))
_to_json = json.JSONEncoder(ensure_ascii=False).encode


class _Caller(NamedTuple):
    """A user as `:user:<key>` holds it."""

    key: Raw
    permission: str
    caller_id: str | None
    extension: str
    mailbox: str
    display_name: str
    language: str | None


class _Line(NamedTuple):
    """An extension; `more`: devices that found no room in `devices`; `decided`: a decision is asked for first, and
    without one the call goes to step `instead`, if there is one."""

    extension: Raw
    kind: str
    user: str
    permission: str
    ring_time_s: int
    more: list[Raw]
    devices: Raw
    on_no_answer: Raw
    on_busy: Raw
    on_unregistered: Raw
    target: Raw | str
    decided: bool = False
    instead: Raw = Raw("")


class _Group(NamedTuple):
    """A group as it rings without a decision."""

    key: Raw
    name: Raw
    prefix: str | None
    more: list[Raw]
    legs: Raw
    ring_time_s: int
    flags: str
    on_no_answer: Raw
    on_busy: Raw
    on_nobody: Raw
    record: str


class _Queue(NamedTuple):
    """A queue as it rings without the AGI server; `calls_back`: what it may call back, or nothing."""

    key: Raw
    name: Raw
    more: list[Raw]
    legs: Raw
    ring_time_s: int
    max_wait_s: int | str
    on_timeout: Raw
    on_empty: Raw
    music: Raw
    record: str
    calls_back: str


class _Choice(NamedTuple):
    """`more`: longer entries begin with these digits, so wait for them."""

    digits: Raw
    step: Raw
    more: bool


class _Menu(NamedTuple):
    """A menu; `longest`: digits of the longest entry; `invalid`: a sound."""

    key: Raw
    name: Raw
    greeting: str
    timeout_s: int
    tries: int
    invalid: str
    longest: int
    direct_dial: str
    on_timeout: Raw
    on_invalid: Raw
    choices: list[_Choice]


def render_account(account: Account, system: System) -> str:
    """The dialplan of one account as text. `system` supplies the trunks that all accounts share."""
    users = {user.name: user for user in account.users}
    ringing: dict[str, list[str]] = {}
    for device in account.devices:
        if device.enabled and device.user is not None and users[device.user].enabled:
            ringing.setdefault(device.user, []).append(name(device.aor))
    boxes: dict[str | None, str] = {}
    for box in account.mailboxes:
        boxes.setdefault(box.user, box.mailbox)
    shown: dict[str | None, str] = {}
    for extension in account.extensions:
        if extension.kind == "user":
            shown.setdefault(extension.user, extension.extension)
    forwardings: dict[str, list[Forwarding]] = {}
    for one in account.forwardings:
        forwardings.setdefault(one.user, []).append(one)
    trunks = {one.name: one for one in (*system.trunks, *account.trunks)} if account.routes else {}
    return render(
        "account.conf.j2",
        {
            "account": name(account.name),
            "country": account.country,
            "language": account.language,
            "caller_id": account.caller_id,
            "users": [
                _Caller(
                    name(data_key(user.name)),
                    user.permission,
                    user.caller_id,
                    shown.get(user.name, ""),
                    boxes.get(user.name, ""),
                    user.display_name[:_MAX_NAME],
                    user.language,
                )
                for user in account.users
                if user.enabled
            ],
            "own_numbers": [
                (name(data_key(device.aor)), device.emergency_caller_id)
                for device in account.devices
                if device.emergency_caller_id is not None and device.enabled
            ],
            "devices": [
                (data_key(device.aor), device.caller_id)
                for device in account.devices
                if device.caller_id and device.enabled
            ],
            "trunks": trunk_caller_ids(account.trunks),
            "mailboxes": [(box.mailbox, box.pin_digest) for box in account.mailboxes],
            "extensions": [
                _line(
                    one,
                    users[one.user].permission if one.user else "internal",
                    ringing,
                    boxes,
                    forwardings.get(one.user or "", ()),
                )
                for one in account.extensions
            ],
            "owners": [
                (name(data_key(device.aor)), users[device.user].permission, name(device.user))
                for device in account.devices
                if (account.deciding or account.parking_lots)
                and device.enabled
                and device.user
                and users[device.user].enabled
            ],
            "told": [
                (_key(one.name), "1" if _is_told(one) else "", one.identity)
                for one in account.groups
                if _is_told(one) or one.identity
            ],
            "identities": _identities(account.groups),
            "groups": [_group(one, ringing, account) for one in account.groups],
            "policies": [
                (_key(one.name), name(one.name), _step(one.otherwise, "")) for one in account.policies
            ],
            "queues": [_queue(one, ringing) for one in account.queues],
            "menus": [_menu(one, account) for one in account.menus],
            "numbers": [(name(one.e164), name(one.extension)) for one in account.numbers],
            "routes": routes(account.routes, trunks),
        },
    )


def _line(
    one: Extension,
    permission: str,
    ringing: dict[str, list[str]],
    boxes: dict[str | None, str],
    forwardings: Iterable[Forwarding],
) -> _Line:
    *more, devices = chunks(ringing.get(one.user, ()), MAX_DEVICES_BYTES) if one.user else [Raw("")]
    mailbox = boxes.get(one.user, one.extension) if one.user else one.extension
    extension = name(one.extension)
    if extension[0] in "_:":
        raise TemplateError(f"extension {extension!r}: `_` would make it a pattern, `:` data")
    # What holds for every caller at any time; the rest takes a decision.
    plain: dict[str, Step] = {}
    for forwarding in forwardings:
        if forwarding.caller_list is None and forwarding.schedule is None:
            plain.setdefault(forwarding.condition, forwarding.step)
    return _Line(
        extension,
        one.kind,
        one.user or "",
        permission,
        one.ring_time_s,
        more,
        devices,
        _step(plain.get("no_answer", one.on_no_answer), mailbox),
        _step(plain.get("busy", one.on_busy), mailbox),
        _step(plain.get("unregistered", one.on_unregistered), mailbox),
        _key(one.target or "")
        if one.kind in ("group", "policy", "menu", "queue")
        else name(one.target or "")
        if one.kind == "membership"
        else one.target or (mailbox if one.kind == "voicemail" else ""),
        bool(forwardings),
        _step(plain["always"], mailbox) if "always" in plain else Raw(""),
    )


def _group(group: Group, ringing: dict[str, list[str]], account: Account) -> _Group:
    """All members at once: those who ring for every caller at any time, or if there are none, all."""
    enabled = {device.aor for device in account.devices if device.enabled}
    members = [one for one in group.members if one.caller_list is None and one.schedule is None]
    legs: dict[str, int] = {}
    for one in members or group.members:
        for leg in (
            ringing.get(one.user, ())
            if one.user
            else [one.number or ""]
            if one.number
            else {one.device or ""} & enabled
        ):
            delay_s = one.delay_s if group.strategy == "all" and one.delay_s < group.ring_time_s else 0
            legs[leg] = min(delay_s, legs.get(leg, delay_s))
    *more, last = chunks(
        (name(f"{leg}~{delay_s}" if delay_s else leg) for leg, delay_s in legs.items()), MAX_DEVICES_BYTES
    )
    return _Group(
        _key(group.name),
        name(group.name),
        group.caller_name_prefix,
        more,
        last,
        group.ring_time_s,
        ("s" if group.skip_busy else "")
        + _LOOKS
        + ("c" if group.confirm and any(leg[0] == "+" for leg in legs) else ""),
        _step(group.on_no_answer, ""),
        _step(group.on_busy, ""),
        _step(group.on_nobody, ""),
        _recorded(group.record),
    )


def _identities(groups: Iterable[Group]) -> list[tuple[Raw, Raw]]:
    """Numbers that outgoing members show -> the group whose members are told of such calls, the first by name."""
    found: dict[str, str] = {}
    for group in sorted(groups, key=lambda one: one.name):
        if group.identity and group.notices != "none" and any(one.outgoing for one in group.members):
            found.setdefault(group.identity, group.name)
    return [(name(number), name(group)) for number, group in found.items()]


def _is_told(group: Group) -> bool:
    """Whether the decision server hears of calls that were answered or missed."""
    return group.strategy in _REMEMBER_ANSWERS or group.one_call or group.notices != "none"


def _queue(queue: Queue, ringing: dict[str, list[str]]) -> _Queue:
    """All members at once, those on the telephone passed over."""
    *more, last = chunks(
        (name(leg) for member in queue.members for leg in ringing.get(member.user, ())), MAX_DEVICES_BYTES
    )
    return _Queue(
        _key(queue.name),
        name(queue.name),
        more,
        last,
        queue.ring_time_s,
        queue.max_wait_s or "",
        _step(queue.on_timeout, ""),
        _step(queue.on_empty, ""),
        name(queue.music) if queue.music else Raw(""),
        _recorded(queue.record),
        queue.callback_permission if queue.callback else "",
    )


def _recorded(mode: str) -> str:
    """As dp-record is told; empty: nothing is said of it."""
    return "" if mode == "never" else mode


def _menu(menu: Menu, account: Account) -> _Menu:
    extensions = [
        one.extension for one in account.extensions if menu.direct_dial and one.kind in _DIALLED_IN_MENUS
    ]
    entered = [*(one.digits for one in menu.choices), *extensions]
    return _Menu(
        _key(menu.name),
        name(menu.name),
        menu.greeting,
        menu.timeout_s,
        menu.tries,
        menu.invalid_sound or _INVALID_SOUND,
        max(map(len, entered), default=1),
        "1" if menu.direct_dial else "",
        _step(menu.on_timeout, ""),
        _step(menu.on_invalid, ""),
        [
            _Choice(
                name(one.digits),
                _step(one.step, ""),
                any(other != one.digits and other.startswith(one.digits) for other in entered),
            )
            for one in menu.choices
        ],
    )


def _key(text: str) -> Raw:
    return name(data_key(text))


def _step(step: Step, mailbox: str) -> Raw:
    """`action` or `action:target`; voicemail without a target is the user's own box."""
    target = step.target or (mailbox if step.action == "voicemail" else None)
    return name(f"{step.action}:{target}" if target else step.action)


def account_dialplan(account: Account, system: System) -> dict[str, str]:
    """Dialplan entries of one account: `context/extension` -> lines."""
    entries = parse_dialplan(
        render_account(account, system), f"templates/asterisk/account.conf.j2 ({account.name})"
    )
    for template, text in (
        ("features.conf.j2", render_features(account)),
        ("recording.conf.j2", render_recording(account)),
    ):
        if text:
            entries |= parse_dialplan(text, f"templates/asterisk/{template} ({account.name})")
    return entries


def mailboxes(account: Account) -> dict[str, str]:
    """`mailbox@account` -> JSON with `fullname`, `email`, `pin` (SHA-1 of mailbox@account:pin), `language`."""
    languages = {user.name: user.language for user in account.users if user.language}
    return {
        f"{box.mailbox}@{account.name}": _to_json(
            {
                "fullname": box.display_name,
                "email": box.email,
                "pin": box.pin_digest,
                "language": box.language or languages.get(box.user or "", account.language),
            }
        )
        for box in account.mailboxes
    }
