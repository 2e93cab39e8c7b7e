"""Why an entry changes, in the words of its table, with secrets left out."""

from __future__ import annotations

import difflib
import json

from controller.entries import Address
from controller.plan import decisions

# Parts of values that are as good as a password: shown as changed, never shown.
SECRETS = frozenset({"md5", "sha256", "ha1", "pin"})
_HIDDEN = "***"

_NOUNS = {
    "account": "account",
    "domain": "SIP domain",
    "credential": "device",
    "shared": "shared numbers of device",
    "lamp": "busy lamp",
    "lead": "whose devices it means",
    "number": "number",
    "trunk": "trunk",
    "trunk_address": "trunk address",
    "media_node": "media node",
    "edge_node": "edge",
    "emergency": "emergency number",
    "registration": "trunk registration",
    "target": "targets of cluster",
    "block": "block",
    "dnd": "do not disturb",
    "shed": "overload",
    "dialplan": "extension",
    "mailbox": "mailbox",
    "file": "file",
    "flag": "flag",
}
# Kinds of entries of table `policy`, as the account's calls know them.
_KINDS = {
    "account": "account's own data",
    "user": "user in decisions",
    "list": "caller list",
    "schedule": "schedule",
    "policy": "policy",
    "group": "group",
    "queue": "queue",
}


def fields(table: str, value: str) -> dict[str, str]:
    """A value taken apart: `name=value` pairs, JSON members, or one field named after the table."""
    if table == "mailbox":
        return {name: str(part) for name, part in json.loads(value).items()}
    if "=" in value and table not in ("dialplan", "file", "target", "flag", "policy"):
        return dict(pair.partition("=")[::2] for pair in value.split(";"))
    return {"": value}


def redact(table: str, value: str | None) -> str | None:
    """The value with every secret part replaced by `***`: the only form that is printed or logged."""
    if value is None:
        return None
    parts = fields(table, value)
    if not SECRETS & parts.keys():
        return value
    return ";".join(f"{name}={_HIDDEN if name in SECRETS else part}" for name, part in parts.items())


def reason(address: Address, old: str | None, new: str | None) -> str:
    """One short phrase: what about this entry is new, gone or different."""
    policy = address.table == "policy"
    noun = _KINDS.get(decisions.kind(address.key), "") if policy else _NOUNS.get(address.table, address.table)
    if old is None:
        return f"new {noun}"
    if new is None:
        return f"{noun} is gone"
    if policy:
        return decisions.words(old, new)
    if address.table == "dialplan":
        return _lines(old, new)
    before, after = fields(address.table, old), fields(address.table, new)
    return ", ".join(
        _field(name, before.get(name), after.get(name))
        for name in (before | after)
        if before.get(name) != after.get(name)
    )


def _field(name: str, old: str | None, new: str | None) -> str:
    label = f"{name} " if name else ""
    if name in SECRETS:
        return f"{label}changed"
    if "\n" in (old or "") + (new or ""):
        return f"{label}{len((new or '').splitlines())} lines, was {len((old or '').splitlines())}"
    return f"{label}{old if old is not None else 'none'} -> {new if new is not None else 'none'}"


def _lines(old: str, new: str) -> str:
    """The differing middle of two dialplan values."""
    if "\n" in old or "\n" in new:
        delta = list(difflib.unified_diff(old.split("\n"), new.split("\n"), n=0, lineterm=""))[3:]
        return "; ".join(delta)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    # Widen to whole arguments: a reader sees "25 -> 30", not "25 -> 30" cut in a digit.
    while start > 0 and old[start - 1] not in ",(&":
        start -= 1
    while end > 0 and old[len(old) - end] not in ",)&":
        end -= 1
    return f"{old[start : len(old) - end] or 'nothing'} -> {new[start : len(new) - end] or 'nothing'}"
