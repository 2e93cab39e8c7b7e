"""Rows about decisions per call: their columns in a company file (see `forms.py`) and what is said of a refused name or
reference (see `explain.py`).

`TABLES`: table -> columns with their forms, needed columns, key, and what stands in the key for a column not given.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = r"[a-z0-9][a-z0-9_-]{0,31}"
_SLUG = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"

PATTERNS = {
    "caller_pattern_form": r"anonymous|\+[1-9][0-9]{0,14}\*|\+[1-9][0-9]{4,14}|[0-9]{1,16}",
    "called_pattern_form": r"\+[1-9][0-9]{0,14}\*|\+[1-9][0-9]{4,14}|[0-9*]{1,16}",
    "sound_form": rf"[a-z][a-z0-9_-]{{0,31}}(/{_PART}){{0,3}}",
    "time_zone_form": r"(?=.{1,64}\Z)(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z_-]+){1,2})",
    "header_name_form": r"[A-Za-z][A-Za-z0-9-]{0,62}",
    "step_form": r"busy|announce|voicemail(:[0-9]{1,16})?|hangup|extension:[0-9*]{1,16}|number:\+[1-9][0-9]{4,14}"
    rf"|(group|menu|policy|queue):{_SLUG}",
}
FORMS = {
    "caller_pattern_form": "a caller: +4930* (numbers that begin so), +49301234567, 101 (an extension) or anonymous",
    "called_pattern_form": "what was called: +4930* (numbers that begin so), +49301234567 or 600 (an extension)",
    "sound_form": "the name of a sound without its ending, such as vm-goodbye or acme/welcome",
    "time_zone_form": "a time zone as IANA names it, such as Europe/Berlin, or UTC",
    "header_name_form": "the name of a SIP header: 1 to 63 letters, digits and hyphens, a letter first",
    "step_form": "busy, announce, voicemail (of the user), voicemail:600, hangup, extension:102, "
    "number:+49301234567, group:sales, menu:welcome, policy:main or queue:support",
}
CHOICES = {
    "notices": "none clients phones",
    "messages": "as_calls all present none",
    "strategy": "all in_order round_robin least_recent fewest_calls random weighted",
    "presence": "registered unregistered disturb_not",
    "action": "ring extension group queue menu voicemail announcement forward reject application next",
    "condition": "always busy no_answer unregistered",
}


def _within(low: int, high: int) -> Callable[[str], bool]:
    return lambda value: re.fullmatch("[0-9]{1,4}", value) is not None and low <= int(value) <= high


def _is_day(value: str) -> bool:
    try:
        return datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_time(value: str) -> bool:
    return re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", value) is not None


SPECIAL: dict[str, tuple[Callable[[str], bool], str]] = {
    "words": (
        lambda value: all(re.fullmatch("[a-z][a-z0-9-]{0,31}", one) for one in value.split()),
        "words of lower-case letters, digits and hyphens, such as gold night-service",
    ),
    "weekdays": (
        lambda value: value.strip() != "" and set(value.split()) <= set(WEEK),
        f"days of the week: {' '.join(WEEK)}",
    ),
    "time": (_is_time, "a time from 00:00 to 24:00, such as 09:00"),
    "day": (_is_day, "a day such as 2026-12-25"),
    "keys": (lambda value: re.fullmatch("[0-9*#]{1,4}", value) is not None, "1 to 4 of the keys 0 to 9, * and #"),
    "tries": (_within(1, 10), "a number from 1 to 10"),
    "delay": (_within(0, 600), "a time from 0 to 600 seconds"),
    "devices": (_within(0, 100), "a number from 0 to 100"),
}  # fmt: skip
NAMES = {
    "caller_lists_name_key": "the account has a caller list of this name already: take another",
    "caller_list_entries_key": "the list has this caller already",
    "schedules_name_key": "the account has a schedule of this name already: take another",
    "schedule_times_key": "the schedule has these times already",
    "schedule_days_key": "the schedule has this day already: change that row, or begin at another time",
    "schedule_overrides_schedule_key": "the schedule has an override already: change or delete that one",
    "groups_name_key": "the account has a group of this name already: take another",
    "group_members_key": "the group has this member already: change that row",
    "group_away_member_key": "the member is away already: change or delete that row",
    "menus_name_key": "the account has a menu of this name already: take another",
    "menu_choices_key": "the menu has these keys already: change that choice",
    "policies_name_key": "the account has a policy of this name already: take another",
    "policy_rules_position_key": "the policy has a rule at this position already: take another",
    "forwardings_position_key": "the user has a forwarding at this position already: take another",
    "user_states_pkey": "the user has a state already: change that row",
}
_NO_LIST = "the account has no such caller list"
_NO_SCHEDULE = "the account has no such schedule"
_NO_USER = "the account has no such user"
_NO_GROUP = "the account has no such group"
# (the row names something missing, something still names the row)
REFERENCES = {
    "caller_list_entries_list_fkey": (_NO_LIST, "the list has callers"),
    "schedule_times_schedule_fkey": (_NO_SCHEDULE, "the schedule has times"),
    "schedule_days_schedule_fkey": (_NO_SCHEDULE, "the schedule has days"),
    "schedule_overrides_schedule_fkey": (_NO_SCHEDULE, "the schedule has an override"),
    "group_members_group_fkey": (_NO_GROUP, "the group has members"),
    "group_members_user_fkey": (_NO_USER, "the user is a member of groups"),
    "group_members_device_fkey": ("the account has no such device", "the device is a member of groups"),
    "group_members_schedule_fkey": (
        _NO_SCHEDULE,
        "members of groups ring by this schedule: change them first",
    ),
    "group_members_caller_list_fkey": (_NO_LIST, "members of groups ring for this list: change them first"),
    "group_away_member_fkey": ("the account has no such member of a group", "the member is away"),
    "menu_choices_menu_fkey": ("the account has no such menu", "the menu has choices"),
    "policy_rules_policy_fkey": ("the account has no such policy", "the policy has rules"),
    "policy_rules_caller_list_fkey": (_NO_LIST, "rules of policies ask for this list: change them first"),
    "policy_rules_caller_group_fkey": (_NO_GROUP, "rules of policies ask for this group: change them first"),
    "policy_rules_schedule_fkey": (
        _NO_SCHEDULE,
        "rules of policies ask for this schedule: change them first",
    ),
    "policy_rules_user_fkey": (_NO_USER, "rules of policies ask for this user: change them first"),
    "policy_rules_trunk_fkey": (
        "there is no such trunk",
        "rules of policies ask for this trunk: change them first",
    ),
    "forwardings_user_fkey": (_NO_USER, "the user has forwardings"),
    "forwardings_caller_list_fkey": (_NO_LIST, "forwardings are for this list: change them first"),
    "forwardings_schedule_fkey": (_NO_SCHEDULE, "forwardings go by this schedule: change them first"),
    "user_states_user_fkey": (_NO_USER, "the user has a state"),
    "extensions_policy_fkey": (
        "the account has no such policy",
        "extensions lead to this policy: change them first",
    ),
    "extensions_group_fkey": (_NO_GROUP, "extensions lead to this group: change them first"),
    "extensions_menu_fkey": (
        "the account has no such menu",
        "extensions lead to this menu: change them first",
    ),
}
# Forms whose values are lists in the database.
LISTS = ("words", "weekdays", "skills", "calls", "destinations", "fraud actions")

_ACCOUNT = {"account": "slug_form"}
_WHEN = {"schedule": "slug_form", "schedule_open": "bool"}
Spec = tuple[dict[str, str], tuple[str, ...], str, str]

TABLES: dict[str, Spec] = {
    "caller_lists": (
        _ACCOUNT | {"name": "slug_form", "comment": "label_form"},
        ("account", "name"), "{account}/{name}", "*",
    ),
    "caller_list_entries": (
        _ACCOUNT | {"list": "slug_form", "pattern": "caller_pattern_form"},
        ("account", "list", "pattern"), "{account}/{list}/{pattern}", "*",
    ),
    "schedules": (
        _ACCOUNT | {"name": "slug_form", "time_zone": "time_zone_form"},
        ("account", "name"), "{account}/{name}", "*",
    ),
    "schedule_times": (
        _ACCOUNT
        | {"schedule": "slug_form", "days": "weekdays", "from_time": "time", "to_time": "time"}
        | {"from_date": "day", "to_date": "day"},
        ("account", "schedule", "days", "from_time", "to_time"),
        "{account}/{schedule}/{days}/{from_time}-{to_time}/{from_date}-{to_date}", "",
    ),
    "schedule_days": (
        _ACCOUNT
        | {"schedule": "slug_form", "day": "day", "every_year": "bool", "open": "bool"}
        | {"from_time": "time", "to_time": "time", "name": "label_form"},
        ("account", "schedule", "day"), "{account}/{schedule}/{day}/{from_time}", "",
    ),
    "groups": (
        _ACCOUNT
        | {"name": "slug_form", "display_name": "label_form", "strategy": "strategy"}
        | {"ring_time_s": "seconds_range", "step_time_s": "seconds_range"}
        | {"skip_busy": "bool", "one_call": "bool", "confirm": "bool"}
        | {"caller_name_prefix": "label_form", "identity": "e164_form", "notices": "notices", "record": "record"}
        | {"messages": "messages"}
        | {"on_busy": "step_form", "on_no_answer": "step_form", "on_nobody": "step_form"},
        ("account", "name", "display_name"), "{account}/{name}", "*",
    ),
    "group_members": (
        _ACCOUNT
        | {"group": "slug_form", "user": "sip_user_form", "device": "text", "number": "e164_form"}
        | {"position": "priority_range", "weight": "weight_range", "delay_s": "delay"}
        | _WHEN
        | {"caller_list": "slug_form", "outgoing": "bool", "joins": "bool", "enabled": "bool"},
        ("account", "group"), "{account}/{group}/{user}{device}{number}", "",
    ),
    "menus": (
        _ACCOUNT
        | {"name": "slug_form", "greeting": "sound_form", "timeout_s": "seconds_range", "tries": "tries"}
        | {"invalid_sound": "sound_form", "on_timeout": "step_form", "on_invalid": "step_form", "direct_dial": "bool"},
        ("account", "name", "greeting"), "{account}/{name}", "*",
    ),
    "menu_choices": (
        _ACCOUNT | {"menu": "slug_form", "digits": "keys", "step": "step_form"},
        ("account", "menu", "digits", "step"), "{account}/{menu}/{digits}", "*",
    ),
    "policies": (
        _ACCOUNT | {"name": "slug_form", "otherwise": "step_form"},
        ("account", "name"), "{account}/{name}", "*",
    ),
    "policy_rules": (
        _ACCOUNT
        | {"policy": "slug_form", "position": "priority_range", "comment": "label_form", "enabled": "bool"}
        | {"caller": "caller_pattern_form", "caller_list": "slug_form", "caller_group": "slug_form"}
        | {"called": "called_pattern_form", "trunk": "slug_form", "from_inside": "bool"}
        | _WHEN
        | {"language": "language_form", "user": "sip_user_form", "presence": "presence"}
        | {"min_devices": "devices", "max_devices": "devices"}
        | {"header_name": "header_name_form", "header_value": "label_form", "account_flag": "word_form"}
        | {"action": "action", "target": "text", "set_language": "language_form", "set_caller_name": "label_form"}
        | {"early_announcement": "sound_form", "late_announcement": "sound_form", "set_record": "set_record"}
        | {"set_priority": "priority in queues", "set_skills": "skills"},
        ("account", "policy", "position", "action"), "{account}/{policy}/{position}", "*",
    ),
    "forwardings": (
        _ACCOUNT
        | {"user": "sip_user_form", "position": "priority_range", "condition": "condition"}
        | {"caller_list": "slug_form"}
        | _WHEN
        | {"step": "step_form", "enabled": "bool"},
        ("account", "user", "position", "step"), "{account}/{user}/{position}", "*",
    ),
}  # fmt: skip
