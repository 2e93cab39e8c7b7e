"""Dialplan of media nodes: snapshot -> text a person can read -> entries. Pure.

The text comes from templates/asterisk/; it is parsed back, so a site can edit a template and still get changes the
size of one extension. What the applications named in it do is written in asterisk/extensions.conf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from controller.compiler.features import render_features
from controller.compiler.media_templates import render
from controller.compiler.numbering import numbering
from controller.desired.model import (
    Account,
    Extension,
    Forwarding,
    Group,
    Menu,
    Queue,
    Route,
    Step,
    System,
    Trunk,
)
from controller.errors import TemplateError
from controller.escape import Raw, name

# Asterisk discards an AMI line over 1024 bytes, header name included.
MAX_LINE_BYTES = 900
_MAX_DEVICES_BYTES = 600
_MAX_NAME = 80
# Strategies that go by who answered: the decision server is told.
_REMEMBER_ANSWERS = frozenset(("least_recent", "fewest_calls"))
_INVALID_SOUND = "pbx-invalid"
# What a caller of a menu may dial there: people, and what leads to people. dp-menu knows them by their applications.
_DIALLED_IN_MENUS = frozenset(("user", "voicemail", "group", "policy", "menu", "queue"))
_to_json = json.JSONEncoder(ensure_ascii=False).encode

_CONTEXT = re.compile(r"\[([A-Za-z0-9._-]+)\]").fullmatch
_EXTEN = re.compile(r"exten\s*=>?\s*([^,\s/$]+)\s*,\s*(\w+)\s*,\s*(.+)").fullmatch
_SAME = re.compile(r"same\s*=>?\s*(\w+)\s*,\s*(.+)").fullmatch
_APPLICATION = re.compile(r"[A-Za-z]\w*(?:\(.*\))?").fullmatch
_USUAL = re.compile(r"exten => ([^,\s/$]+),1,([A-Za-z]\w*\([^;]*\))").fullmatch
# A character is 4 bytes at most: a line of so many needs no counting.
_SHORT_CHARACTERS = MAX_LINE_BYTES // 4
_COMMENT = re.compile(r"(?<!\\);.*")


# ---------------------------------------------------------------------------------------------- text -> entries


def parse_dialplan(text: str, origin: str) -> dict[str, str]:
    """`context/extension` -> one `App(arguments)` per priority, joined with newlines, a `hint:` line first.

    Understands contexts, `exten =>` with a number, `n` or `hint`, `same =>`, and comments. TemplateError naming
    `origin` and the line for anything else, for a gap in the priorities, and for lines AMI cannot carry.
    """
    parser = _Parser(origin)
    for number, line in enumerate(text.split("\n"), 1):
        # Nearly every line is a whole extension: one regular expression decides.
        if (
            len(line) > _SHORT_CHARACTERS
            or not (matched := _USUAL(line))
            or not parser.first(*matched.groups())
        ):
            parser.read(number, line.strip())
    return parser.entries()


class _Parser:
    """Reads dialplan text line by line."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.context = ""
        self.extension = ""
        self.found: dict[str, list[str]] = {}
        self.hints: dict[str, str] = {}

    def entries(self) -> dict[str, str]:
        for key, hint in self.hints.items():
            self.found[key].insert(0, f"hint:{hint}")
        return {key: lines[0] if len(lines) == 1 else "\n".join(lines) for key, lines in self.found.items()}

    def first(self, extension: str, application: str) -> bool:
        """The only or first priority of an extension; False: this is not the place for one."""
        key = f"{self.context}/{extension}"
        if not self.context or key in self.found:
            return False
        self.extension = extension
        self.found[key] = [application]
        return True

    def read(self, number: int, line: str) -> None:
        """Any line: what is no extension, and extensions written in another way."""
        if ";" in line:
            line = _COMMENT.sub("", line).rstrip()
        if not line:
            return
        if matched := _CONTEXT(line):
            self.context, self.extension = matched[1], ""
        elif matched := _EXTEN(line):
            if not self.context:
                raise self.wrong(number, line, "an extension before the first [context]")
            self.add(number, line, *matched.groups())
        elif matched := _SAME(line):
            if not self.extension:
                raise self.wrong(number, line, "`same` before the first extension of its context")
            self.add(number, line, self.extension, *matched.groups())
        else:
            raise self.wrong(number, line, "neither a [context], nor exten =>, nor same =>")

    def add(self, number: int, line: str, extension: str, priority: str, application: str) -> None:
        """One priority of an extension."""
        key = f"{self.context}/{extension}"
        self.extension = extension
        lines = self.found.setdefault(key, [])
        if len(application.encode()) > MAX_LINE_BYTES:
            raise self.wrong(number, line, f"longer than {MAX_LINE_BYTES} bytes, more than AMI can carry")
        if priority == "hint":
            if key in self.hints:
                raise self.wrong(number, line, "a second hint")
            self.hints[key] = application
        elif not _APPLICATION(application):
            raise self.wrong(number, line, "not of the form Application(arguments)")
        elif priority not in ("n", str(len(lines) + 1)):
            raise self.wrong(number, line, f"priority {priority} where {len(lines) + 1} or n was expected")
        else:
            lines.append(application if application[-1] == ")" else application + "()")

    def wrong(self, number: int, line: str, why: str) -> TemplateError:
        return TemplateError(f"{self.origin}: rendered line {number}: {why}: {line[:120]}")


# ------------------------------------------------------------------------------------------------------- account


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
    """A group or queue as it rings without a decision."""

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
            "devices": [
                (data_key(device.aor), device.caller_id)
                for device in account.devices
                if device.caller_id and device.enabled
            ],
            "trunks": _trunk_caller_ids(account.trunks),
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
                (name(data_key(device.aor)), users[device.user].permission)
                for device in account.devices
                if account.deciding and device.enabled and device.user and users[device.user].enabled
            ],
            "memories": [_key(one.name) for one in account.groups if one.strategy in _REMEMBER_ANSWERS],
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
    *more, devices = _chunks(ringing.get(one.user, ())) if one.user else [Raw("")]
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
    *more, last = _chunks(name(f"{leg}~{delay_s}" if delay_s else leg) for leg, delay_s in legs.items())
    return _Group(
        _key(group.name),
        name(group.name),
        group.caller_name_prefix,
        more,
        last,
        group.ring_time_s,
        ("s" if group.skip_busy else "")
        + ("c" if group.confirm and any(leg[0] == "+" for leg in legs) else ""),
        _step(group.on_no_answer, ""),
        _step(group.on_busy, ""),
        _step(group.on_nobody, ""),
    )


def _queue(queue: Queue, ringing: dict[str, list[str]]) -> _Group:
    """All members at once, those on the telephone passed over."""
    *more, last = _chunks(name(leg) for member in queue.members for leg in ringing.get(member.user, ()))
    return _Group(
        _key(queue.name),
        name(queue.name),
        None,
        more,
        last,
        queue.ring_time_s,
        "s",
        _step(queue.on_timeout, ""),
        _step(queue.on_timeout, ""),
        _step(queue.on_empty, ""),
    )


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


def _chunks(devices: Iterable[str]) -> list[Raw]:
    """Device lists joined with `&`, as few as fit into a line each; at least one."""
    chunks = [""]
    for aor in devices:
        longer = f"{chunks[-1]}&{aor}" if chunks[-1] else aor
        if len(longer) > _MAX_DEVICES_BYTES:
            chunks.append(aor)
        else:
            chunks[-1] = longer
    return [Raw(chunk) for chunk in chunks]


def _step(step: Step, mailbox: str) -> Raw:
    """`action` or `action:target`; voicemail without a target is the user's own box."""
    target = step.target or (mailbox if step.action == "voicemail" else None)
    return name(f"{step.action}:{target}" if target else step.action)


def _trunk_caller_ids(trunks: Iterable[Trunk]) -> list[tuple[Raw, str]]:
    return [(name(data_key(one.name)), one.caller_id) for one in trunks if one.caller_id and one.enabled]


def data_key(text: str) -> str:
    """A name inside a data extension: Asterisk ignores `-` in extensions, so it is written `:`."""
    return text.replace("-", ":")


def routes(rows: Iterable[Route], trunks: dict[str, Trunk]) -> list[tuple[Raw, Raw]]:
    """(pattern over digits, trunks in order) per prefix; only enabled trunks, none left: no pattern.

    Trunks: `|` next priority, `&` equals, `*` weight, e.g. `carrier-a*3&carrier-b*1|carrier-c*1`.
    """
    usable = sorted(
        (one for one in rows if one.trunk in trunks and trunks[one.trunk].enabled),
        key=lambda one: (one.prefix, one.priority, one.trunk),
    )
    return [
        (
            Raw(f"_{name(prefix)}!" if prefix else "_X!"),
            Raw(
                "|".join(
                    "&".join(f"{name(one.trunk)}*{one.weight:d}" for one in equals)
                    for _, equals in groupby(same, key=lambda one: one.priority)
                )
            ),
        )
        for prefix, same in groupby(usable, key=lambda one: one.prefix)
    ]


def account_dialplan(account: Account, system: System) -> dict[str, str]:
    """Dialplan entries of one account: `context/extension` -> lines."""
    own = parse_dialplan(
        render_account(account, system), f"templates/asterisk/account.conf.j2 ({account.name})"
    )
    around = render_features(account)
    return (
        own | parse_dialplan(around, f"templates/asterisk/features.conf.j2 ({account.name})")
        if around
        else own
    )


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


# -------------------------------------------------------------------------------------------------------- shared


def render_shared(system: System) -> str:
    """The dialplan that all accounts share, as text."""
    trunks = {one.name: one for one in system.trunks}
    return render(
        "shared.conf.j2",
        {
            "zone": system.zone,
            "countries": [_country(country, system, trunks) for country in sorted(system.countries)],
            "routes": routes((one for one in system.routes), trunks),
            "trunks": _trunk_caller_ids(system.trunks),
        },
    )


def _country(country: str, system: System, trunks: dict[str, Trunk]) -> dict[str, Any]:
    plan = numbering(country)
    emergency = [one for one in system.emergency if one.country == country]
    taken = {one.number for one in emergency}
    return {
        "name": country,
        "code": plan.code,
        "rules": [
            {"pattern": Raw(rule.pattern), "prefix": Raw(rule.prefix), "strip": rule.strip}
            for rule in plan.rules
        ],
        "shorts": [short for short in plan.shorts if short not in taken],
        "classes": [(Raw(pattern), kind) for pattern, kind in plan.classes],
        "emergency": [
            (one.number, Raw("|".join(f"{name(trunk)}*1" for trunk in one.trunks if _usable(trunk, trunks))))
            for one in emergency
        ],
    }


def _usable(trunk: str, trunks: dict[str, Trunk]) -> bool:
    return trunk in trunks and trunks[trunk].enabled


def shared_dialplan(system: System) -> dict[str, str]:
    """Dialplan entries that every media node holds: countries, shared routes, emergency numbers."""
    return parse_dialplan(render_shared(system), "templates/asterisk/shared.conf.j2")


def media_files(system: System) -> dict[str, str]:
    """Path below /etc/asterisk/dialplane.d/ -> content."""
    edges = sorted((node for node in system.nodes if node.kind == "edge"), key=lambda node: node.name)
    values = {
        "zone": system.zone,
        "edges": [
            {
                "endpoint": f"edge-{edge.name}" if place else "edge",
                "address": edge.address,
                "host": Raw(f"[{name(edge.address)}]") if ":" in edge.address else name(edge.address),
                "port": edge.sip_port,
            }
            for place, edge in enumerate(edges)
        ],
    }
    return {"pjsip-edges.conf": render("pjsip-edges.conf.j2", values)}
