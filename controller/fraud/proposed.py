"""Rules, allow-lists, permissions and rates from a file people write: what a replay tries before they become rows.

    rules:
      - {name: costly-calls, metric: answered, scope: account, window_s: 600, destinations: premium TN, critical: 5}
      - {name: costly-calls, account: acme, enabled: false}
    allows: [{account: acme, what: "+22177", reason: branch in Dakar}]
    permissions: [{account: acme, class: satellite, allowed: true}]
    rates: {premium: 1.5}

Columns are those of tables fraud_rules, fraud_allows and fraud_permissions. A rule that names one of the same name for
everybody may leave out what does not differ. Every problem is found at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.errors import BadRows
from controller.fraud.metrics import METRICS
from controller.fraud.model import (
    ACTIONS,
    ANY,
    CLASSES,
    EVERYBODY,
    MODES,
    PERMISSION,
    SCOPES,
    WEEK,
    Allow,
    Owner,
    Permission,
    Rule,
)

_NUMBERS = ("window_s", "critical", "warning", "release_s", "at_least", "baseline", "new_account_days")
_WHOLE = ("window_s", "release_s", "at_least", "new_account_days")
_WORDS = ("destinations", "actions", "days")
_OWNERS = Owner._fields
_COLUMNS = (
    *_OWNERS,
    *_NUMBERS,
    *_WORDS,
    "name",
    "metric",
    "scope",
    "mode",
    "enabled",
    "comment",
    "from_time",
    "to_time",
)
_ALONE = "reseller: it stands for all of its accounts: leave account out, or reseller"
_DAY_MINUTES = 24 * 60
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_DESTINATION = re.compile(r"\+[1-9][0-9]{0,14}|[A-Z]{2}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


@dataclass(slots=True)
class Proposed:
    """What a file holds."""

    rules: list[Rule] = field(default_factory=list)
    allows: list[Allow] = field(default_factory=list)
    permissions: list[Permission] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)


def overlay(below: Iterable[Rule], above: Iterable[Rule]) -> list[Rule]:
    """Rules `above` replace those of the same name and owner `below`."""
    return list({rule.key: rule for rules in (below, above) for rule in rules}.values())


def overlay_permissions(below: Iterable[Permission], above: Iterable[Permission]) -> list[Permission]:
    """The same for permissions."""
    return list({(one.cls, one.owner): one for some in (below, above) for one in some}.values())


def read(data: object, known: Iterable[Rule] = ()) -> Proposed:
    """What the file says; `known`: rules it may build on. BadRows: every problem."""
    problems: list[str] = []
    found = Proposed()
    if not isinstance(data, Mapping):
        raise BadRows(["the file: expected rules, allows, permissions or rates, each with its rows"])
    general = {rule.name: rule for rule in known if rule.owner == EVERYBODY}
    for name, rows in data.items():
        if name == "rates":
            found.rates = _rates(rows, problems)
        elif name not in ("rules", "allows", "permissions"):
            problems.append(f"{name}: no such table; there are rules, allows, permissions and rates")
        elif not isinstance(rows, list):
            problems.append(f"{name}: expected a list, one `- ` per row")
        else:
            for number, row in enumerate(rows, 1):
                _row(str(name), number, row, found, general, problems)
    if problems:
        raise BadRows(problems)
    return found


def _row(
    table: str, number: int, row: object, found: Proposed, general: dict[str, Rule], problems: list[str]
) -> None:
    where = f"{table} {number}"
    if not isinstance(row, Mapping):
        problems.append(f"{where}: expected `name: value` lines")
    elif table == "rules":
        made = rule(row, general, where, problems)
        if made is not None:
            found.rules.append(made)
            if made.owner == EVERYBODY:
                general[made.name] = made
    elif table == "allows":
        _known(row, ("account", "user", "device", "source", "what", "reason"), where, problems)
        what = str(row.get("what", "*"))
        if what != "*" and not re.fullmatch(r"\+[1-9][0-9]{0,14}", what):
            problems.append(
                f"{where}: what: {what!r} must be * or the first digits of numbers with +, such as +4930"
            )
        elif what == "*" and not (row.get("account") or row.get("source")):
            problems.append(f"{where}: it allows everybody everything: name an account, a source or numbers")
        found.allows.append(
            Allow(_owner(row), str(row.get("source") or ""), what, str(row.get("reason") or ""))
        )
    else:
        _known(row, ("account", "user", "reseller", "class", "allowed", "mode"), where, problems)
        cls, allowed, mode = row.get("class"), row.get("allowed"), str(row.get("mode", "enforce"))
        if row.get("reseller") and row.get("account"):
            problems.append(f"{where}: {_ALONE}")
        if cls not in CLASSES:
            problems.append(f"{where}: class: {cls!r} must be {' or '.join(CLASSES)}")
        if not isinstance(allowed, bool):
            problems.append(f"{where}: allowed: write true or false")
        if mode not in MODES:
            problems.append(f"{where}: mode: {mode!r} must be {' or '.join(MODES)}")
        found.permissions.append(Permission(str(cls), bool(allowed), _owner(row), mode, "file"))


def rule(
    row: Mapping[Any, Any], general: Mapping[str, Rule], where: str, problems: list[str], origin: str = "file"
) -> Rule | None:
    """One rule from its columns; None: it has problems, which were said."""
    before = len(problems)
    _known(row, _COLUMNS, where, problems)
    name = str(row.get("name") or "")
    said: dict[str, Any] = {key: value for key, value in row.items() if value is not None}
    values: dict[str, Any] = {
        "name": name, "metric": "", "scope": "", "window_s": 60, "owner": _owner(row), "origin": origin
    }  # fmt: skip
    if name in general:
        values = {one.name: getattr(general[name], one.name) for one in dataclasses.fields(Rule)} | {
            "owner": _owner(row), "origin": origin
        }  # fmt: skip
    values |= {key: said[key] for key in ("metric", "scope", "mode", "enabled", "comment") if key in said}
    for key in _NUMBERS:
        if key in said:
            values[key] = _number(said[key], whole=key in _WHOLE)
            if values[key] is None:
                problems.append(f"{where}: {key}: {said[key]!r} must be a number")
    for key in _WORDS:
        if key in said:
            values[key] = tuple(said[key].split() if isinstance(said[key], str) else map(str, said[key]))
    for key, minute in (("from_time", "from_minute"), ("to_time", "to_minute")):
        if key in said:
            values[minute] = _minute(str(said[key]))
            if values[minute] is None:
                problems.append(
                    f"{where}: {key}: {said[key]!r} must be a time from 00:00 to 24:00, such as 20:00"
                )
    if len(problems) > before:
        return None
    made = Rule(**values)
    problems += [f"{where}: {problem}" for problem in wrong(made)]
    return made if len(problems) == before else None


def wrong(made: Rule) -> list[str]:  # noqa: PLR0912
    """What is wrong with a rule, each with what to do; the database says the same of rows."""
    found = []
    if not _NAME.fullmatch(made.name) or made.name.startswith(PERMISSION):
        found.append(
            "name: one word of lower-case letters, digits and hyphens, such as costly-calls, not permission-..."
        )
    for column, value, choices in (
        ("metric", made.metric, tuple(METRICS)), ("scope", made.scope, SCOPES), ("mode", made.mode, MODES),
    ):  # fmt: skip
        if value not in choices:
            found.append(f"{column}: {value!r} must be {' or '.join(choices)}")
    for action in made.actions:
        if action not in ACTIONS:
            found.append(f"actions: {action!r} must be {' or '.join(ACTIONS)}")
    for one in made.destinations:
        if one != ANY and one not in CLASSES and not _DESTINATION.fullmatch(one):
            found.append(
                f"destinations: {one!r} must be any, a class ({', '.join(CLASSES)}), a country or a prefix with +"
            )
    found += [f"days: {day!r} must be {' or '.join(WEEK)}" for day in made.days if day not in WEEK]
    if not isinstance(made.enabled, bool):
        found.append("enabled: write true or false")
    if made.window_s <= 0 or made.release_s <= 0:
        found.append("window_s and release_s: give 1 or more seconds")
    if made.critical is None and made.warning is None:
        found.append("give a warning, a critical threshold, or both")
    if made.floor <= 0 or (
        made.critical is not None and made.warning is not None and made.critical < made.warning
    ):
        found.append("thresholds are above 0, and critical is not below warning")
    if (made.from_minute is None) != (made.to_minute is None):
        found.append("from_time and to_time: give both or none")
    metric = METRICS.get(made.metric)
    if metric is not None and not metric.destinations and made.destinations != (ANY,):
        found.append(f"destinations: {made.metric} does not go by destinations: leave it out")
    if metric is not None and metric.scopes and made.scope not in metric.scopes:
        found.append(f"scope: {made.metric} is counted by {' or '.join(metric.scopes)}")
    owner = made.owner
    if (owner.user or owner.group or owner.device) and not owner.account:
        found.append("account: a user, group or device needs its account beside it")
    if owner.reseller and owner.account:
        found.append(_ALONE)
    if sum(map(bool, (owner.user, owner.group, owner.device))) > 1:
        found.append("name a user, a group or a device, not several")
    return found


def _known(row: Mapping[Any, Any], columns: tuple[str, ...], where: str, problems: list[str]) -> None:
    problems.extend(
        f"{where}: {name}: no such column; there are {', '.join(columns)}"
        for name in row
        if name not in columns
    )


def _owner(row: Mapping[Any, Any]) -> Owner:
    return Owner(**{name: str(row.get(name) or "") for name in _OWNERS})


def _number(value: object, *, whole: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if whole:
        return int(value) if value == int(value) else None
    return float(value)


def _minute(text: str) -> int | None:
    if not _CLOCK.fullmatch(text):
        return None
    hours, minutes = text.split(":")
    return min(_DAY_MINUTES, int(hours) * 60 + int(minutes))


def _rates(rows: object, problems: list[str]) -> dict[str, float]:
    if not isinstance(rows, Mapping):
        problems.append("rates: expected `class: price of a minute` lines")
        return {}
    for name, value in rows.items():
        if name not in CLASSES or _number(value, whole=False) is None:
            problems.append(f"rates {name}: expected a class ({', '.join(CLASSES)}) and what a minute costs")
    return {str(name): float(value) for name, value in rows.items()} if not problems else {}
