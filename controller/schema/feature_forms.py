"""Rows about what people expect around calls: their columns in a company file (see `forms.py`) and what is said of a
refused name or reference (see `explain.py`). Shaped as in `decision_forms.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from controller.schema.decision_forms import Spec

CHOICES = {
    "announce": "none tone name",
    "record": "never on_demand always",
    "set_record": "always never",
}
_CALLS = {"internal", "inbound", "outbound"}


def within(low: int, high: int) -> tuple[Callable[[str], bool], str]:
    return (
        lambda value: re.fullmatch("[0-9]{1,6}", value) is not None and low <= int(value) <= high,
        f"a number from {low} to {high}",
    )


SPECIAL: dict[str, tuple[Callable[[str], bool], str]] = {
    "calls": (
        lambda value: value.strip() != "" and set(value.split()) <= _CALLS,
        "one or more of internal, inbound and outbound",
    ),
    "keep days": within(1, 3650),
    "members": within(2, 500),
    "first slot": (
        lambda value: re.fullmatch("[1-9][0-9]{0,7}", value) is not None,
        "a number without a leading zero, 8 digits at most, such as 701",
    ),
    "slots": within(1, 100),
    "park wait": within(5, 7200),
    "park return": within(0, 120),
    "page time": within(5, 600),
}
NAMES = {
    "conferences_name_key": "the account has a conference of this name already: take another",
    "parking_lots_name_key": "the account has a parking lot of this name already: take another",
    "pages_name_key": "the account has a page of this name already: take another",
    "conference_pins_key": "the conference has this PIN already: set another with set_conference_pin()",
    "recordings_pkey": "the node has told of this recording already",
}
CHECKS = {
    "recordings_asked": "who asked for the removal is known when, and only then",
    "recordings_removed": "a recording that was removed was so at some time and for a reason",
}
# (the row names something missing, something still names the row)
REFERENCES = {
    "conference_pins_conference_fkey": ("the account has no such conference", "the conference has PINs"),
    "extensions_conference_fkey": (
        "the account has no such conference",
        "extensions lead to this conference: change them first",
    ),
    "extensions_parking_lot_fkey": (
        "the account has no such parking lot",
        "extensions park there: change them first",
    ),
    "extensions_page_fkey": ("the account has no such page", "extensions page there: change them first"),
    "pages_group_fkey": ("the account has no such group", "pages are heard by this group: change them first"),
    "pages_caller_group_fkey": (
        "the account has no such group",
        "this group may page: change its pages first",
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
    "parking_lots": (
        _ACCOUNT
        | {"name": "slug_form", "first_slot": "first slot", "slots": "slots", "wait_s": "park wait"}
        | {"return_s": "park return", "on_timeout": "step_form"},
        ("account", "name", "first_slot"), "{account}/{name}", "*",
    ),
    "pages": (
        _ACCOUNT
        | {"name": "slug_form", "group": "slug_form", "caller_group": "slug_form", "talk_back": "bool"}
        | {"tone": "sound_form", "max_s": "page time"},
        ("account", "name", "group"), "{account}/{name}", "*",
    ),
}  # fmt: skip
