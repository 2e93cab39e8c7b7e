"""Which callers notice a change: sentences per account, from the changes alone."""

from __future__ import annotations

from collections.abc import Iterable

from controller.entries import Change
from controller.plan.reasons import fields

# (kind, table) -> verb -> what callers of the key notice; `{}` is the key as a caller knows it.
_NOTICES: dict[tuple[str, str], dict[str, str]] = {
    ("edge", "credential"): {
        "create": "{} can register",
        "delete": "{} can no longer register or call",
    },
    ("edge", "number"): {
        "create": "calls to {} are taken",
        "update": "calls to {} go to another account",
        "delete": "calls to {} are refused",
    },
    ("edge", "domain"): {
        "create": "phones can use domain {}",
        "delete": "phones of domain {} are refused",
    },
    ("edge", "emergency"): {"delete": "emergency calls to {} are no longer special"},
    ("media", "dialplan"): {
        "create": "calls to {} are taken",
        "update": "calls to {} go differently",
        "delete": "calls to {} are refused",
    },
}
_MANY = 3


def notices(changes: Iterable[Change]) -> list[str]:
    """Sentences, most telling first: `calls to 101, 102 go differently`, `214 devices can register`."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        template = _NOTICES.get((change.address.kind, change.address.table), {}).get(change.verb)
        if change.address.table == "credential" and change.verb == "update":
            template = _credential(change)
        if template:
            key = change.address.key.rpartition("/")[2]
            keys = groups.setdefault(template, [])
            if key not in keys[-1:]:
                keys.append(key)
    return [template.format(_names(keys)) for template, keys in groups.items()]


def _names(keys: list[str]) -> str:
    if len(keys) <= _MANY:
        return ", ".join(keys)
    return f"{', '.join(keys[:2])} and {len(keys) - 2:,} more"


def _credential(change: Change) -> str | None:
    old, new = fields("credential", change.old or ""), fields("credential", change.new or "")
    if any(old.get(name) != new.get(name) for name in ("md5", "sha256")):
        return "{} needs its new password"
    if old.get("limit") != new.get("limit"):
        return "{} may make " + new.get("limit", "any number of") + " calls at once"
    return None
