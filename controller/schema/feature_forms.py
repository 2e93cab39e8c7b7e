"""Rows about what people expect around calls: their columns in a company file (see `forms.py`) and what is said of a
refused name or reference (see `explain.py`). Shaped as in `decision_forms.py`.
"""

from __future__ import annotations

import re

from controller.schema.decision_forms import Spec

CHOICES = {"announce": "none tone name"}
SPECIAL = {
    "members": (
        lambda value: re.fullmatch("[0-9]{1,3}", value) is not None and 2 <= int(value) <= 500,  # noqa: PLR2004
        "a number from 2 to 500",
    ),
}
NAMES = {
    "conferences_name_key": "the account has a conference of this name already: take another",
    "conference_pins_key": "the conference has this PIN already: set another with set_conference_pin()",
}
# (the row names something missing, something still names the row)
REFERENCES = {
    "conference_pins_conference_fkey": ("the account has no such conference", "the conference has PINs"),
    "extensions_conference_fkey": (
        "the account has no such conference",
        "extensions lead to this conference: change them first",
    ),
}

_ACCOUNT = {"account": "slug_form"}

TABLES: dict[str, Spec] = {
    "conferences": (
        _ACCOUNT
        | {"name": "slug_form", "max_members": "members", "wait_for_moderator": "bool", "announce": "announce"}
        | {"record": "bool"},
        ("account", "name"), "{account}/{name}", "*",
    ),
    "conference_pins": (
        _ACCOUNT
        | {"conference": "slug_form", "moderator": "bool", "pin": "pin", "pin_digest": "pin_digest_form"},
        ("account", "conference", "moderator"), "{account}/{conference}/{moderator}", "*",
    ),
}  # fmt: skip
