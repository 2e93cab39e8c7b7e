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
}
# The same for the dialplan, by the family of the context; families not named are data that others refer to.
_DIALPLAN = {
    "account": {
        "create": "calls to {} are taken",
        "update": "calls to {} go differently",
        "delete": "calls to {} are refused",
    },
    "inbound": {
        "create": "calls to {} are taken",
        "update": "calls to {} go differently",
        "delete": "calls to {} are refused",
    },
    "routes": {
        "create": "calls to numbers like {} can leave",
        "update": "calls to numbers like {} leave by other trunks",
        "delete": "calls to numbers like {} no longer leave that way",
    },
    "emergency": {
        "create": "emergency calls to {} leave",
        "update": "emergency calls to {} leave by other trunks",
        "delete": "emergency calls to {} no longer leave",
    },
}
_MANY = 3


def notices(changes: Iterable[Change]) -> list[str]:
    """Sentences, most telling first: `calls to 101, 102 go differently`, `214 devices can register`."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        template = _template(change)
        if template:
            key = change.address.key.rpartition("/")[2].lstrip("_").rstrip("!")
            keys = groups.setdefault(template, [])
            if key not in keys[-1:]:
                keys.append(key)
    return [template.format(_names(keys)) for template, keys in groups.items()]


def _names(keys: list[str]) -> str:
    if len(keys) <= _MANY:
        return ", ".join(keys)
    return f"{', '.join(keys[:2])} and {len(keys) - 2:,} more"


def _template(change: Change) -> str | None:
    table = change.address.table
    if table == "dialplan":
        context, _, extension = change.address.key.partition("/")
        return (
            None
            if extension.startswith(":")
            else _DIALPLAN.get(context.partition("-")[0], {}).get(change.verb)
        )
    if table == "credential" and change.verb == "update":
        return _credential(change)
    return _NOTICES.get((change.address.kind, table), {}).get(change.verb)


def _credential(change: Change) -> str | None:
    old, new = fields("credential", change.old or ""), fields("credential", change.new or "")
    if any(old.get(name) != new.get(name) for name in ("md5", "sha256")):
        return "{} needs its new password"
    if old.get("limit") != new.get("limit"):
        return "{} may make " + new.get("limit", "any number of") + " calls at once"
    return None
