"""Rows of queues: their columns in a company file (see `forms.py`) and what is said of a refused name or reference (see
`explain.py`). Shaped as in `decision_forms.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from controller.schema.decision_forms import Spec


def _within(low: int, high: int) -> tuple[Callable[[str], bool], str]:
    return (
        lambda value: re.fullmatch("[0-9]{1,5}", value) is not None and low <= int(value) <= high,
        f"a number from {low} to {high}",
    )


_MOST_PRIORITY = 1000
_SKILL = "[a-z][a-z0-9-]{0,31}(:[1-9])?"
CHOICES = {
    "queue strategy": "ring_all batch round_robin least_recent fewest_calls random weighted in_order",
}
SPECIAL: dict[str, tuple[Callable[[str], bool], str]] = {
    "skills": (
        lambda value: all(re.fullmatch(_SKILL, one) for one in value.split()),
        "skills as words, each with a level from 1 to 9 if you like, such as german:2 billing",
    ),
    "retry": _within(0, 600),
    "wrap up": _within(0, 3600),
    "waiting": _within(1, 10000),
    "max wait": _within(1, 86400),
    "percent": _within(1, 100),
    "percent or none": _within(0, 100),
    "thousand": _within(1, 1000),
    "pace": _within(10, 10000),
    "autopause": _within(1, 100),
    "pause": _within(10, 3600),
    "priority in queues": (
        lambda value: re.fullmatch("-?[0-9]{1,4}", value) is not None and abs(int(value)) <= _MOST_PRIORITY,
        f"a number from -{_MOST_PRIORITY} to {_MOST_PRIORITY}",
    ),
    "music": (
        lambda value: re.fullmatch("[a-z][a-z0-9_-]{0,31}", value) is not None,
        "a class of musiconhold.conf: small letters, digits, - and _",
    ),
}
NAMES = {
    "queues_name_key": "the account has a queue of this name already: take another",
    "queue_members_key": "the queue has this member already: change that row",
    "member_states_pkey": "the user has a state as a member already: change that row",
    "queue_callers_ticket_key": "this ticket is in use already",
    "queue_offers_pkey": "the member rings for a caller already",
    "queue_member_stats_pkey": "the member has a row for this queue already",
}
_NO_QUEUE = "the account has no such queue"
_NO_USER = "the account has no such user"
# (the row names something missing, something still names the row)
REFERENCES = {
    "queue_members_queue_fkey": (_NO_QUEUE, "the queue has members"),
    "queue_members_user_fkey": (_NO_USER, "the user is a member of queues"),
    "member_states_user_fkey": (_NO_USER, "the user has a state as a member"),
    "queues_supervisor_group_fkey": (
        "the account has no such group",
        "this group supervises queues: change them first",
    ),
    "extensions_queue_fkey": (_NO_QUEUE, "extensions lead to this queue: change them first"),
    "queue_offers_caller_fkey": ("there is no such caller", "members ring for this caller"),
}
CHECKS = {
    "queue_callers_state": "state is waiting, callback, ringing, talking or gone",
    "queue_callers_outcome": "outcome is answered, abandoned, timeout, full, empty, left, lost or unreached",
    "queue_callers_callback": "a number to call back is E.164, or that of a device of the account, which is named too",
    "queue_callers_gone": "a caller who is gone has an outcome and an end, and only then",
    "queue_callers_talking": "a caller whom a member took has that member and the time, or neither",
    "queue_events_event": "event is one of those the comment of the column names",
}

_ACCOUNT = {"account": "slug_form"}

TABLES: dict[str, Spec] = {
    "queues": (
        _ACCOUNT
        | {"name": "slug_form", "display_name": "label_form", "strategy": "queue strategy"}
        | {"ring_time_s": "seconds_range", "retry_s": "retry", "wrap_up_s": "wrap up", "weight": "weight_range"}
        | {"max_waiting": "waiting", "max_wait_s": "max wait", "join_empty": "bool", "leave_empty": "bool"}
        | {"announce_position": "bool", "announce_every_s": "seconds_range"}
        | {"periodic_sound": "sound_form", "periodic_every_s": "seconds_range", "greeting": "sound_form"}
        | {"service_level_s": "seconds_range", "batch_first_percent": "percent", "batch_first_min": "thousand"}
        | {"batch_second_percent": "percent or none", "batch_wait_s": "seconds_range"}
        | {"alert_limit": "thousand", "alert_pace_ms": "pace", "callback": "bool", "rejoin_s": "wrap up"}
        | {"callback_permission": "permission", "callback_tries": "tries", "callback_pause_s": "pause"}
        | {"autopause_after": "autopause"}
        | {"supervisor_group": "slug_form", "music": "music", "required_skills": "skills", "record": "record"}
        | {"on_full": "step_form", "on_timeout": "step_form", "on_empty": "step_form"},
        ("account", "name", "display_name"), "{account}/{name}", "*",
    ),
    "queue_members": (
        _ACCOUNT
        | {"queue": "slug_form", "user": "sip_user_form", "position": "priority_range", "penalty": "percent or none"}
        | {"weight": "weight_range", "skills": "skills", "priority_alert": "priority_range", "wrap_up_s": "wrap up"},
        ("account", "queue", "user"), "{account}/{queue}/{user}", "*",
    ),
}  # fmt: skip
