"""Decisions per call: an account -> entries of the media nodes' table `policy`. Pure.

Key `<account>/<kind>/<name>`, value canonical JSON in which what is absent, empty or the default of its column is left
out (`controller/policy/model.py` reads with the same defaults). Menus have no entry: they are dialplan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from controller.desired.model import (
    Account,
    Device,
    Extension,
    Forwarding,
    Group,
    GroupMember,
    Policy,
    PolicyRule,
    Queue,
    QueueMember,
    Schedule,
    Step,
    User,
)
from controller.entries import Address, Entry

_RING_S, _STEP_S, _WEIGHT, _ALERT = 25, 15, 10, 100
_BUSY, _HANGUP = Step("busy"), Step("hangup")
_QUEUE_FIELDS = tuple(
    one.name for one in fields(Queue) if one.name not in ("name", "display_name", "supervisor_group")
)


def account_entries(account: Account) -> Iterator[Entry]:
    """What decisions about calls of the account look at; nothing when none can be needed."""
    if not account.deciding:
        return
    for kind, name, values in _parts(account):
        key = f"{account.name}/{kind}/{name}"
        value = _canonical(values)
        for cluster in account.held_by:
            yield Entry(Address("media", cluster, "policy", key), value, account.name)


def with_identities(account: Account) -> Account:
    """The account with callers who show the number of a group instead of their own.

    That is an outgoing member, and the group has an identity. Of several groups the first by name counts. A user shows
    it from all devices but those with a number of their own; a device that is a member itself always. Emergency calls
    show the own number all the same: who calls back looks for that person.
    """
    shown: dict[str, str] = {}
    for group in sorted(account.groups, key=lambda one: one.name):
        for member in group.members:
            if member.outgoing and group.identity:
                shown.setdefault(member.name, group.identity)
    if not shown:
        return account
    own = {user.name: user.caller_id for user in account.users}

    def device_(one: Device) -> Device:
        if one.aor not in shown and (one.caller_id or one.user not in shown):
            return one
        number = one.caller_id or own.get(one.user or "") or account.caller_id or ""
        return replace(one, caller_id=shown.get(one.aor, one.caller_id), emergency_caller_id=number)

    return replace(
        account,
        users=tuple(replace(user, caller_id=shown.get(user.name, user.caller_id)) for user in account.users),
        devices=tuple(map(device_, account.devices)),
    )


def _parts(account: Account) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, name and value of each entry."""
    zone, flags = account.time_zone, sorted(account.flags)
    yield (
        "account",
        "-",
        {"country": account.country, "language": account.language, "zone": zone, "flags": flags},
    )
    forwardings: dict[str, list[Forwarding]] = {}
    for forwarding in account.forwardings:
        forwardings.setdefault(forwarding.user, []).append(forwarding)
    for user in account.users:
        yield "user", user.name, _user(account, user, forwardings.get(user.name, []))
    for one in account.lists:
        yield "list", one.name, {"patterns": list(one.patterns)}
    for schedule in account.schedules:
        yield "schedule", schedule.name, _schedule(schedule)
    for policy in account.policies:
        yield "policy", policy.name, _policy(policy)
    for group in account.groups:
        yield "group", group.name, _group(group)
    for queue in account.queues:
        yield "queue", queue.name, _queue(queue)


def _user(account: Account, user: User, forwardings: list[Forwarding]) -> dict[str, Any]:
    """A user; the steps are those of the first extension that rings the user, `lines` are the others."""
    extensions = [one for one in account.extensions if one.user == user.name]
    mailbox = next((box.mailbox for box in account.mailboxes if box.user == user.name), None)
    own = mailbox or (extensions[0].extension if extensions else None)
    values: dict[str, Any] = {
        "devices": [
            device.aor
            for device in account.devices
            if device.user == user.name and device.enabled and user.enabled
        ],
        "mailbox": mailbox,
        "name": user.display_name,
        "language": user.language,
        "permission": user.permission,
        "record": list(user.record_calls) if user.record == "always" else None,
        "forward": [
            {
                "when": one.condition,
                "list": one.caller_list,
                "schedule": one.schedule,
                "open": _open(one.schedule_open),
                "step": _own(one.step, own),
            }
            for one in forwardings
        ],
        "lines": [_line(one, mailbox) for one in extensions[1:]],
    }
    return values | (_line(extensions[0], mailbox) if extensions else {})


def _line(one: Extension, mailbox: str | None) -> dict[str, Any]:
    own = mailbox or one.extension
    return {
        "extension": one.extension,
        "ring_s": _unless(_RING_S, one.ring_time_s),
        "on_busy": _own(_unless(_BUSY, one.on_busy), own),
        "on_no_answer": _own(_unless(_HANGUP, one.on_no_answer), own),
        "on_unregistered": _own(_unless(_HANGUP, one.on_unregistered), own),
    }


def _schedule(one: Schedule) -> dict[str, Any]:
    return {
        "zone": one.time_zone,
        "times": [
            {
                "days": list(time.days),
                "from": time.from_time,
                "to": time.to_time,
                "from_date": time.from_date,
                "to_date": time.to_date,
            }
            for time in one.times
        ],
        # Whether such a day is open is its point: always said.
        "days": [
            {
                "day": day.day,
                "yearly": day.every_year,
                "open": _Said(day.open),
                "from": day.from_time,
                "to": day.to_time,
                "name": day.name,
            }
            for day in one.days
        ],
    }


def _policy(one: Policy) -> dict[str, Any]:
    return {"otherwise": _unless(_HANGUP, one.otherwise), "rules": [_rule(rule) for rule in one.rules]}


def _rule(rule: PolicyRule) -> dict[str, Any]:
    return {
        "position": _Said(rule.position),
        "comment": rule.comment,
        "if": {
            "caller": rule.caller,
            "list": rule.caller_list,
            "group": rule.caller_group,
            "called": rule.called,
            "trunk": rule.trunk,
            "inside": _Said(rule.from_inside),
            "schedule": rule.schedule,
            "open": _open(rule.schedule_open),
            "language": rule.language,
            "user": rule.user,
            "presence": rule.presence,
            "min_devices": _Said(rule.min_devices),
            "max_devices": _Said(rule.max_devices),
            "header": [rule.header_name, rule.header_value] if rule.header_name else None,
            "flag": rule.account_flag,
        },
        "do": {
            "action": rule.action,
            "target": rule.target,
            "language": rule.set_language,
            "caller_name": rule.set_caller_name,
            "early": rule.early_announcement,
            "late": rule.late_announcement,
            "record": rule.set_record,
            "priority": _Said(rule.set_priority),
            "skills": list(rule.set_skills),
        },
    }


def _group(one: Group) -> dict[str, Any]:
    return {
        "strategy": _unless("all", one.strategy),
        "ring_s": _unless(_RING_S, one.ring_time_s),
        "step_s": _unless(_STEP_S, one.step_time_s),
        "skip_busy": one.skip_busy,
        "one_call": one.one_call,
        "confirm": one.confirm,
        "prefix": one.caller_name_prefix,
        "identity": one.identity,
        "on_busy": _unless(_BUSY, one.on_busy),
        "on_no_answer": _unless(_HANGUP, one.on_no_answer),
        "on_nobody": _unless(_HANGUP, one.on_nobody),
        "notices": _unless("none", one.notices),
        "record": _unless("never", one.record),
        "messages": _unless("as_calls", one.messages),
        "members": [_member(member) for member in one.members],
    }


def _member(one: GroupMember) -> dict[str, Any]:
    return {
        "user": one.user,
        "device": one.device,
        "number": one.number,
        "weight": _unless(_WEIGHT, one.weight),
        "delay_s": one.delay_s,
        "schedule": one.schedule,
        "open": _open(one.schedule_open),
        "list": one.caller_list,
        "joins": one.joins,
        "outgoing": one.outgoing,
    }


# Defaults of the columns, as `controller/queues/model.py` has them.
_QUEUE: dict[str, Any] = {
    "strategy": "ring_all",
    "ring_time_s": 20,
    "retry_s": 5,
    "wrap_up_s": 0,
    "weight": 10,
    "periodic_every_s": 60,
    "service_level_s": 20,
    "batch_first_percent": 25,
    "batch_first_min": 1,
    "batch_second_percent": 25,
    "batch_wait_s": 8,
    "alert_pace_ms": 500,
    "callback_permission": "national",
    "callback_tries": 3,
    "callback_pause_s": 300,
    "rejoin_s": 60,
    "record": "never",
    "on_full": _BUSY,
    "on_timeout": _HANGUP,
    "on_empty": _HANGUP,
}


def _queue(one: Queue) -> dict[str, Any]:
    """The row, under the names of its columns; 0 is said where it is not the default."""
    values = {name: getattr(one, name) for name in _QUEUE_FIELDS}
    for name, default in _QUEUE.items():
        values[name] = None if values[name] == default else _Said(_shown(values[name]))
    return values | {
        "required_skills": list(one.required_skills),
        "members": [_queue_member(member) for member in one.members],
    }


def _queue_member(one: QueueMember) -> dict[str, Any]:
    return {
        "user": one.user,
        "penalty": one.penalty,
        "weight": _unless(_WEIGHT, one.weight),
        "skills": list(one.skills),
        "priority_alert": None if one.priority_alert == _ALERT else _Said(one.priority_alert),
        "wrap_up_s": None if one.wrap_up_s is None else _Said(one.wrap_up_s),
    }


# ------------------------------------------------------------------------------------------------------------ JSON


class _Said:
    """A value that stands even when it is false or 0; None is left out all the same."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def _unless(default: Any, value: Any) -> Any:
    return None if value == default else value


def _open(value: bool) -> _Said | None:
    """Open is the default, so only closed is said."""
    return None if value else _Said(False)


def _own(step: Step | None, mailbox: str | None) -> Step | None:
    """Voicemail without a mailbox is that of the user."""
    return Step("voicemail", mailbox) if step == Step("voicemail") else step


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(_shown(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _shown(value: Any) -> Any:
    """Without what is absent, empty, zero or false; steps as text."""
    if isinstance(value, dict):
        shown = {name: _shown(part) for name, part in value.items()}
        return {name: _value(part) for name, part in shown.items() if _value(part) is not None}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return str(value) if isinstance(value, Step) else value


def _value(part: Any) -> Any:
    """What is written of a member; None: nothing."""
    return part.value if isinstance(part, _Said) else part or None
