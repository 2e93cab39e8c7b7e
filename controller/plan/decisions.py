"""Changes of table `policy` in words: `carol added, rings 5 s later; ring_s 25 -> 30`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

Values = dict[str, Any]

# Fields that hold a list of objects: how one of them is called, and what is told of a new one.
_NAMES: dict[str, Callable[[Values], str]] = {
    "members": lambda one: str(one.get("user") or one.get("device") or one.get("number")),
    "rules": lambda one: f"rule {one.get('position')}",
    "times": lambda one: f"{_days(one)} {one.get('from')}-{one.get('to')}",
    "days": lambda one: f"day {one.get('day')}{' ' + one['from'] if 'from' in one else ''}",
    "forward": lambda one: f"forwarding {one.get('when')} to {one.get('step')}",
}
_WORDS = {
    "delay_s": "rings {} s later",
    "schedule": "schedule {}",
    "list": "callers of list {}",
    "action": "{}",
    "target": "{}",
    "name": "{}",
}


def kind(key: str) -> str:
    """Kind of an entry: `group` of `acme/group/sales`."""
    return key.split("/")[1]


def words(old: str, new: str) -> str:
    """What differs between two values of an entry."""
    return "; ".join(_differences(json.loads(old), json.loads(new)))


def differing(old: str | None, new: str | None, name: str) -> bool:
    """Whether a field of an entry changes; None: the entry is new, or gone."""
    before, after = (json.loads(value) if value else {} for value in (old, new))
    return bool(before.get(name) != after.get(name))


def _differences(old: Values, new: Values) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if name in _NAMES:
            yield from _items(_NAMES[name], before or [], after or [])
        elif isinstance(before or after, list):
            yield from (f"{one} added" for one in after or [] if one not in (before or []))
            yield from (f"{one} removed" for one in before or [] if one not in (after or []))
        else:
            yield _scalar(name, before, after)


def _items(name: Callable[[Values], str], before: list[Values], after: list[Values]) -> Iterator[str]:
    old, new = ({name(one): one for one in some} for some in (before, after))
    for key in new:
        if key not in old:
            yield ", ".join([f"{key} added", *_told(new[key])])
    yield from (f"{key} removed" for key in old if key not in new)
    kept = [key for key in new if key in old]
    for key in kept:
        if parts := [_scalar(*part) for part in _parts(old[key], new[key])]:
            yield f"{key}: {', '.join(parts)}"
    if kept != [key for key in old if key in new]:
        yield "in another order"


def _told(one: Values) -> list[str]:
    """What is worth saying of a new item."""
    flat = dict(_flat(one))
    return [_WORDS[name].format(flat[name]) for name in _WORDS if flat.get(name)]


def _parts(old: Values, new: Values) -> Iterator[tuple[str, Any, Any]]:
    before, after = dict(_flat(old)), dict(_flat(new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _flat(one: Values) -> Iterator[tuple[str, Any]]:
    """Fields of an item; those of its conditions and effects among them."""
    for name, part in one.items():
        if isinstance(part, dict):
            yield from ((f"if {inner}" if name == "if" else inner, value) for inner, value in part.items())
        else:
            yield name, part


def _scalar(name: str, old: Any, new: Any) -> str:
    return f"{name} {_text(old)} -> {_text(new)}"


def _text(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _days(one: Values) -> str:
    return ",".join(one.get("days", []))
