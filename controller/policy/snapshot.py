"""Entries of table `policy` and operational flags -> the picture a decision looks at. Pure.

Entries: key `<account>/<kind>/<name>`, value a JSON object in which absent, empty and default values are left out
(`model.py` says the defaults). What cannot be read raises BadPolicy, which names entry and field.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.errors import BadPolicy
from controller.policy.model import (
    ACTIONS,
    DAY_MINUTES,
    FORWARDINGS,
    NOTICES,
    PRESENCES,
    STRATEGIES,
    TAKES,
    UTC,
    WEEKDAYS,
    Account,
    Condition,
    Day,
    Effect,
    Forwarding,
    Group,
    Line,
    Live,
    Member,
    Override,
    Policy,
    Rule,
    Schedule,
    Snapshot,
    Times,
    Turn,
    User,
)
from controller.queues.model import Queue, queue

__all__ = ["Live", "Override", "Snapshot", "Turn", "live", "snapshot"]


def snapshot(account: str, entries: Mapping[str, str], live: Live) -> Snapshot:
    """The account of that name from entries key -> JSON; other accounts and unknown kinds are passed over.

    BadPolicy names the entry and what is wrong with it. Take another `live` with dataclasses.replace.
    """
    own = entries.get(f"{account}/account/-", "{}")
    home = _account(account, _object(f"{account}/account/-", own))
    kinds = _KINDS | {"schedule": functools.partial(_schedule, home.zone)}
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for key, value in entries.items():
        owner, _, rest = key.partition("/")
        kind, _, name = rest.partition("/")
        if owner == account and kind in kinds:
            found[kind][name] = kinds[kind](name, _object(key, value))
    policies: dict[str, Policy] = found["policy"]
    rules = (rule for policy in policies.values() for rule in policy.rules)
    return Snapshot(
        account=home,
        users=found["user"],
        lists=found["list"],
        schedules=found["schedule"],
        policies=policies,
        groups=found["group"],
        headers=tuple(sorted({rule.condition.header[0].lower() for rule in rules if rule.condition.header})),
        live=live,
        queues=found["queue"],
    )


def live(
    account: str,
    flags: Mapping[str, str],
    registered: Mapping[str, int] | None = None,
    turns: Mapping[str, Turn] | None = None,
    ringing: Iterable[str] = (),
) -> Live:
    """What holds, from operational flags key -> value: `dnd/<account>/<user>`, `away/<account>/<group>/<member>`,
    `override/<account>/<schedule>` = `open` or `closed`, with `;<until>` in ISO 8601."""
    dnd, away, overrides = set(), set(), {}
    for key, value in flags.items():
        family, _, rest = key.partition("/")
        owner, _, name = rest.partition("/")
        if owner != account:
            continue
        if family == "override":
            overrides[name] = _override(key, value)
        elif family == "dnd" and value == "1":
            dnd.add(name)
        elif family == "away" and value == "1":
            group, _, member = name.partition("/")
            away.add((group, member))
    return Live(registered, frozenset(dnd), overrides, frozenset(away), turns or {}, frozenset(ringing))


def _override(key: str, value: str) -> Override:
    state, _, until = value.partition(";")
    if state not in ("open", "closed"):
        raise BadPolicy(f"flag {key}: {value!r} is neither open nor closed; set the override again")
    try:
        end = datetime.fromisoformat(until) if until else None
    except ValueError:
        raise BadPolicy(f"flag {key}: {until!r} is no time in ISO 8601; set the override again") from None
    if end is not None and end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    return Override(state == "open", end)


# ------------------------------------------------------------------------------------------------- JSON -> objects

_T = TypeVar("_T")


class _Object:
    """A JSON object of an entry, read field by field: BadPolicy names entry and field."""

    __slots__ = ("key", "values")

    def __init__(self, key: str, values: object) -> None:
        if not isinstance(values, dict):
            raise _bad(key, "is no JSON object")
        self.key = key
        self.values: dict[str, Any] = values

    def get(self, name: str, kind: type[_T], default: _T) -> _T:
        """Field `name`, which must be a `kind`."""
        value = self.values.get(name)
        if value is None:
            return default
        if type(value) is not kind:
            raise _bad(self.key, f"{name} is no {kind.__name__}: {value!r}")
        return value

    def text(self, name: str, default: str = "") -> str:
        return self.get(name, str, default)

    def number(self, name: str, default: int) -> int:
        return self.get(name, int, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self.get(name, bool, default)

    def word(self, name: str, words: tuple[str, ...], default: str = "") -> str:
        """One of `words`."""
        value = self.text(name, default)
        if value not in words and value != default:
            raise _bad(self.key, f"{name} is {value!r}, none of {', '.join(words)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.get(name, list, [])
        if not all(isinstance(one, str) for one in values):
            raise _bad(self.key, f"{name} is no list of texts: {values!r}")
        return tuple(values)

    def objects(self, name: str, make: Callable[[_Object], _T]) -> tuple[_T, ...]:
        return tuple(make(_Object(f"{self.key} {name}", one)) for one in self.get(name, list, []))

    def optional(self, name: str) -> int | None:
        return self.number(name, 0) if name in self.values else None

    def minutes(self, name: str) -> int | None:
        """`HH:MM`, 00:00 to 24:00, in minutes."""
        text = self.text(name)
        if not text:
            return None
        hours, _, minutes = text.partition(":")
        if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2 and int(minutes) < 60):  # noqa: PLR2004
            raise _bad(self.key, f"{name} is no time of the form HH:MM: {text!r}")
        total = int(hours) * 60 + int(minutes)
        if total > DAY_MINUTES:
            raise _bad(self.key, f"{name} is later than 24:00: {text!r}")
        return total

    def day(self, name: str) -> date | None:
        text = self.text(name)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            raise _bad(self.key, f"{name} is no date of the form YYYY-MM-DD: {text!r}") from None

    def zone(self, name: str, default: ZoneInfo) -> ZoneInfo:
        text = self.text(name)
        try:
            return ZoneInfo(text) if text else default
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _bad(self.key, f"{name} is no time zone this machine knows: {text!r}") from None


def _bad(key: str, what: str) -> BadPolicy:
    return BadPolicy(f"entry policy {key}: {what}; correct the row and apply")


def _object(key: str, value: str) -> _Object:
    try:
        return _Object(key, json.loads(value))
    except json.JSONDecodeError as error:
        raise _bad(key, f"is no JSON: {error}") from None


def _account(name: str, one: _Object) -> Account:
    return Account(name, one.text("country"), one.texts("flags"), one.text("language"), one.zone("zone", UTC))


def _user(name: str, one: _Object) -> User:
    return User(
        name,
        one.texts("devices"),
        one.text("extension"),
        one.text("mailbox"),
        one.number("ring_s", 25),
        one.text("on_busy", "busy"),
        one.text("on_no_answer", "hangup"),
        one.text("on_unregistered", "hangup"),
        one.objects("forward", _forwarding),
        one.objects("lines", _line),
        one.text("name"),
        one.texts("record"),
    )


def _line(one: _Object) -> Line:
    return Line(
        one.text("extension"),
        one.number("ring_s", 25),
        one.text("on_busy", "busy"),
        one.text("on_no_answer", "hangup"),
        one.text("on_unregistered", "hangup"),
    )


def _forwarding(one: _Object) -> Forwarding:
    return Forwarding(
        one.word("when", FORWARDINGS, "always"),
        one.text("step", "hangup"),
        one.text("list"),
        one.text("schedule"),
        one.flag("open", True),
    )


def _list(_: str, one: _Object) -> frozenset[str]:
    return frozenset(one.texts("patterns"))


def _schedule(home: ZoneInfo, name: str, one: _Object) -> Schedule:
    return Schedule(name, one.zone("zone", home), one.objects("times", _times), one.objects("days", _day))


def _times(one: _Object) -> Times:
    days = one.texts("days")
    if not set(days) <= set(WEEKDAYS):
        raise _bad(one.key, f"days are {', '.join(days)}: only {', '.join(WEEKDAYS)} are known")
    return Times(
        days, one.minutes("from") or 0, one.minutes("to") or 0, one.day("from_date"), one.day("to_date")
    )


def _day(one: _Object) -> Day:
    day, start, end = one.day("day"), one.minutes("from"), one.minutes("to")
    if day is None or (start is None) != (end is None):
        raise _bad(one.key, "needs a day, and either both from and to or none of them")
    return Day(day, one.flag("open", True), one.flag("yearly"), start, end, one.text("name"))


def _policy(name: str, one: _Object) -> Policy:
    rules = sorted(one.objects("rules", _rule), key=lambda rule: rule.position)
    return Policy(name, tuple(rules), one.text("otherwise", "hangup"))


def _rule(one: _Object) -> Rule:
    condition, effect = _Object(one.key, one.get("if", dict, {})), _Object(one.key, one.get("do", dict, {}))
    return Rule(one.number("position", 0), _condition(condition), _effect(effect), one.text("comment"))


def _condition(one: _Object) -> Condition:
    header = one.texts("header")
    if header and len(header) != 2:  # noqa: PLR2004
        raise _bad(one.key, f"header is not a name and a value: {', '.join(header)}")
    condition = Condition(
        caller=one.text("caller"),
        list=one.text("list"),
        group=one.text("group"),
        called=one.text("called"),
        trunk=one.text("trunk"),
        inside=one.flag("inside") if "inside" in one.values else None,
        schedule=one.text("schedule"),
        open=one.flag("open", True),
        language=one.text("language"),
        user=one.text("user"),
        presence=one.word("presence", PRESENCES),
        min_devices=one.optional("min_devices"),
        max_devices=one.optional("max_devices"),
        header=(header[0], header[1]) if header else None,
        flag=one.text("flag"),
    )
    asks = condition.presence or condition.min_devices is not None or condition.max_devices is not None
    if asks and not condition.user:
        raise _bad(one.key, "presence and numbers of devices are those of a user, and none is named")
    return condition


def _effect(one: _Object) -> Effect:
    return Effect(
        one.word("action", ACTIONS, "next"),
        one.text("target"),
        one.text("language"),
        one.text("caller_name"),
        one.text("early"),
        one.text("late"),
        one.word("record", ("always", "never")),
        one.optional("priority"),
        tuple(one.texts("skills")),
    )


def _group(name: str, one: _Object) -> Group:
    return Group(
        name,
        one.word("strategy", STRATEGIES, "all"),
        one.number("ring_s", 25),
        one.number("step_s", 15),
        one.flag("skip_busy"),
        one.flag("one_call"),
        one.flag("confirm"),
        one.text("prefix"),
        one.text("on_busy", "busy"),
        one.text("on_no_answer", "hangup"),
        one.text("on_nobody", "hangup"),
        one.objects("members", _member),
        one.word("notices", NOTICES, "none"),
        one.word("record", ("always", "on_demand")),
        one.text("identity"),
        one.word("messages", TAKES, "as_calls"),
    )


def _member(one: _Object) -> Member:
    member = Member(
        one.text("user"),
        one.text("device"),
        one.text("number"),
        one.number("weight", 10),
        one.number("delay_s", 0),
        one.text("schedule"),
        one.flag("open", True),
        one.text("list"),
        one.flag("enabled", True),
        one.flag("joins"),
        one.flag("outgoing"),
    )
    if [bool(member.user), bool(member.device), bool(member.number)].count(True) != 1:
        raise _bad(one.key, "a member is exactly one of user, device and number")
    return member


def _queue(name: str, one: _Object) -> Queue:
    try:
        return queue(name, one.values)
    except (ValueError, TypeError) as error:
        raise _bad(one.key, str(error)) from None


_KINDS: dict[str, Callable[[str, _Object], object]] = {
    "user": _user,
    "list": _list,
    "policy": _policy,
    "group": _group,
    "queue": _queue,
}
