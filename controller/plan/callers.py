"""Which callers notice a change: sentences per account, from the changes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from controller.entries import Change
from controller.plan import decisions
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
# The same for table `policy`, by the kind of the entry.
_POLICY = {
    "group": {
        "create": "group {} rings",
        "update": "group {} rings differently",
        "delete": "group {} no longer rings",
    },
    "queue": {
        "create": "queue {} takes callers",
        "update": "queue {} calls its members differently",
        "delete": "queue {} no longer takes callers",
    },
    "policy": {
        "create": "policy {} decides",
        "update": "policy {} decides differently",
        "delete": "policy {} no longer decides",
    },
    "schedule": {"update": "schedule {} is open at other times"},
    "list": {"update": "caller list {} holds other callers"},
}
# How the dialplan leads to what decides: `Gosub(dp-decide,s,1(group,sales))`, `Goto(account-acme,:group:sales,1)`.
_LEADS = re.compile(r"[:(](group|policy|menu|queue)[:,]([a-z0-9:-]+)")
_GOTO = re.compile(r"^Goto\(account-[^,]+,([^,:]+),1\)")
_MANY = 3


def notices(changes: Iterable[Change]) -> list[str]:
    """Sentences, most telling first: `calls to 101, 102 go differently`, `calls to 600 now reach group sales`."""
    groups: dict[str, list[str]] = {}
    changes = list(changes)
    reached = dict(_reached(changes))
    for change in changes:
        template = _number(change, reached) or _template(change)
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


def _reached(changes: Iterable[Change]) -> Iterator[tuple[tuple[str, str], str]]:
    """(account, extension) -> what decides there now, of the extensions that change."""
    for change in changes:
        context, _, extension = change.address.key.partition("/")
        if change.address.table == "dialplan" and context.startswith("account-") and extension[:1] != ":":
            before, after = (_LEADS.search(value or "") for value in (change.old, change.new))
            if after and (before is None or before.groups() != after.groups()):
                yield (context[8:], extension), f"{after[1]} {after[2].replace(':', '-')}"


def _number(change: Change, reached: Mapping[tuple[str, str], str]) -> str | None:
    """A number or an extension that now leads to what decides."""
    context, _, key = change.address.key.partition("/")
    if change.address.table != "dialplan" or change.new is None:
        return None
    family, _, account = context.partition("-")
    goto = _GOTO.match(change.new) if family == "inbound" else None
    decides = reached.get((account, goto[1] if goto else key))
    return f"calls to {{}} now reach {decides}" if decides else None


def _template(change: Change) -> str | None:
    table = change.address.table
    if table == "policy":
        return _policy(change)
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


def _policy(change: Change) -> str | None:
    kind = decisions.kind(change.address.key)
    if kind == "user":
        forwarded = decisions.differing(change.old, change.new, "forward")
        return "calls to {} are forwarded differently" if forwarded else None
    return _POLICY.get(kind, {}).get(change.verb)


def _credential(change: Change) -> str | None:
    old, new = fields("credential", change.old or ""), fields("credential", change.new or "")
    if any(old.get(name) != new.get(name) for name in ("md5", "sha256")):
        return "{} needs its new password"
    if old.get("limit") != new.get("limit"):
        return "{} may make " + new.get("limit", "any number of") + " calls at once"
    return None
