"""Rows about fraud: their columns in a company file (see `forms.py`) and what is said of a refused name or reference
(see `explain.py`). Shaped as in `decision_forms.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from controller.fraud.metrics import METRICS
from controller.fraud.model import ACTIONS, ANY, CLASSES, MODES, SCOPES
from controller.schema.decision_forms import Spec
from controller.schema.feature_forms import within

_PLACE = re.compile(r"\+[1-9][0-9]{0,14}|[A-Z]{2}")
CHOICES = {
    "fraud metric": " ".join(METRICS),
    "fraud scope": " ".join(SCOPES),
    "fraud mode": " ".join(MODES),
    "number class": " ".join(CLASSES),
}


def _seconds(most: int) -> tuple[Callable[[str], bool], str]:
    return (
        lambda value: re.fullmatch("[0-9]{1,8}", value) is not None and 1 <= int(value) <= most,
        f"a number from 1 to {most}",
    )


SPECIAL: dict[str, tuple[Callable[[str], bool], str]] = {
    "destinations": (
        lambda value: (
            value.strip() != ""
            and all(one == ANY or one in CLASSES or _PLACE.fullmatch(one) for one in value.split())
        ),
        f"any, classes ({', '.join(CLASSES)}), countries or prefixes with +, such as premium TN +88213",
    ),
    "fraud actions": (
        lambda value: value.strip() != "" and set(value.split()) <= set(ACTIONS),
        f"one or more of {', '.join(ACTIONS)}",
    ),
    "fraud window": _seconds(2_678_400),
    "fraud release": _seconds(31_536_000),
    "fraud threshold": (
        lambda value: re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value) is not None and float(value) > 0,
        "a number above 0, such as 10 or 2.5",
    ),
    "fraud at least": within(0, 100_000),
    "fraud baseline": (
        lambda value: re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) is not None and 1 <= float(value) <= 100,  # noqa: PLR2004
        "a number from 1 to 100",
    ),
    "fraud new account": within(1, 3650),
    "allowed numbers": (
        lambda value: re.fullmatch(r"\*|\+[1-9][0-9]{0,14}", value) is not None,
        "* or the first digits of numbers with +, such as +22177",
    ),
}  # fmt: skip
NAMES = {
    "fraud_rules_name_key": "whom it is for has a rule of this name already: change that one",
    "fraud_allows_key": "this is allowed already: change that row",
    "fraud_permissions_key": "whom it is for has a row for this class already: change that one",
}
_NO_USER, _NO_DEVICE = "the account has no such user", "the account has no such device"
# (the row names something missing, something still names the row)
REFERENCES = {
    "fraud_rules_user_fkey": (_NO_USER, "rules of fraud are for this user"),
    "fraud_rules_group_fkey": ("the account has no such group", "rules of fraud are for this group"),
    "fraud_rules_device_fkey": (_NO_DEVICE, "rules of fraud are for this device"),
    "fraud_allows_user_fkey": (_NO_USER, "something is allowed to this user"),
    "fraud_allows_device_fkey": (_NO_DEVICE, "something is allowed to this device"),
    "fraud_permissions_user_fkey": (_NO_USER, "classes of numbers are allowed or not to this user"),
}

_OWNER = {"account": "slug_form", "user": "sip_user_form"}
_RESELLER = {"reseller": "slug_form"}

TABLES: dict[str, Spec] = {
    "fraud_rules": (
        {"name": "word_form"}
        | _OWNER
        | _RESELLER
        | {"group": "slug_form", "device": "text", "metric": "fraud metric", "scope": "fraud scope"}
        | {"destinations": "destinations", "window_s": "fraud window", "days": "weekdays"}
        | {"from_time": "time", "to_time": "time", "at_least": "fraud at least"}
        | {"warning": "fraud threshold", "critical": "fraud threshold", "baseline": "fraud baseline"}
        | {"new_account_days": "fraud new account", "actions": "fraud actions", "release_s": "fraud release"}
        | {"mode": "fraud mode", "enabled": "bool", "comment": "label_form"},
        ("name", "metric", "scope", "window_s"), "{name}/{account}/{user}/{group}/{device}/{reseller}", "*",
    ),
    "fraud_allows": (
        _OWNER
        | {"device": "text", "source": "address", "what": "allowed numbers", "reason": "label_form"},
        ("what", "reason"), "{account}/{user}/{device}/{source}/{what}", "*",
    ),
    "fraud_permissions": (
        _OWNER | _RESELLER | {"class": "number class", "allowed": "bool", "mode": "fraud mode"},
        ("class", "allowed"), "{account}/{user}/{reseller}/{class}", "*",
    ),
}  # fmt: skip
