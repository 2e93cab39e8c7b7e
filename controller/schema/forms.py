"""The columns a company file may hold, and the forms of their values.

The database is the judge: the patterns here are those of its domains (a test compares them), so that `--check` works
without one and a whole file is judged at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from controller.schema import decision_forms, feature_forms, fraud_forms, queue_forms
from controller.schema.explain import FORMS

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_TOP = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_UNFIT = re.compile('[\u0001-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff;="\\\\$`{}<>|]')

PATTERNS = {
    "slug_form": r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
    "dns_name_form": rf"(?=.{{1,253}}\Z)({_LABEL}\.)+{_TOP}",
    "host_form": rf"(?=.{{1,253}}\Z)({_LABEL}\.)*{_TOP}|({_BYTE}\.){{3}}{_BYTE}",
    "e164_form": r"\+[1-9][0-9]{4,14}",
    "number_prefix_form": r"([1-9][0-9]{0,14})?",
    "dialable_form": r"[0-9*]{1,16}",
    "mailbox_form": r"[0-9]{1,16}",
    "emergency_form": r"[0-9]{2,6}",
    "sip_user_form": r"[a-z0-9][a-z0-9._-]{0,63}",
    "auth_name_form": r"[A-Za-z0-9+][A-Za-z0-9+._@-]{0,127}",
    "ha1_md5_form": r"[0-9a-f]{32}",
    "ha1_sha256_form": r"[0-9a-f]{64}",
    "pin_digest_form": r"[0-9a-f]{40}",
    "country_form": r"[A-Z]{2}",
    "language_form": r"[a-z]{2,3}(_[A-Z]{2})?",
    "email_form": r"(?=.{1,254}\Z)[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@"
    r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}",
    "word_form": r"[a-z][a-z0-9-]{0,31}",
    **decision_forms.PATTERNS,
    "setting_name": r"[a-z][a-z0-9_]{0,31}",
    "setting_value": r"[A-Za-z0-9_.,:/@+*-]{1,255}",
}
_COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
RANGES = {
    "port_range": (1, 65535),
    "weight_range": (1, 1000),
    "priority_range": (0, 65535),
    "call_limit_range": (0, 100000),
    "seconds_range": (1, 600),
}
_CHOICES = {
    "status": "active suspended",
    "kind of node": "edge media",
    "kind": "user voicemail voicemail_main echo announcement number policy group menu queue conference pickup park "
    "page membership supervise application",
    "state": "enabled draining disabled",
    "service": "voice voicemail conference queue messaging pstn app",
    "transport": "udp tcp tls",
    "number_format": "e164 digits national",
    "permission": "internal national international",
    "bool": "true false",
    **decision_forms.CHOICES,
    **feature_forms.CHOICES,
    **queue_forms.CHOICES,
    **fraud_forms.CHOICES,
}


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def _is_network(value: str) -> bool:
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        return False
    return network.num_addresses <= 256 and "%" not in value  # noqa: PLR2004


def _is_label(value: str) -> bool:
    return 1 <= len(value) <= 80 and value == value.strip(" ") and not _UNFIT.search(value)  # noqa: PLR2004


_SPECIAL: dict[str, tuple[Callable[[str], bool], str]] = {
    "label_form": (_is_label, FORMS["label_form"]),
    "address": (_is_address, FORMS["host_address_single"]),
    "network": (_is_network, "an IP address, or a network of 256 hosts at most, such as 198.51.100.0/24"),
    "password": (
        lambda value: (
            8 <= len(value) <= 128  # noqa: PLR2004
            and not re.search("[\u0001-\u001f\u007f-\u009f]", value)
        ),
        "8 to 128 characters, none of them a control character",
    ),
    "carrier password": (
        lambda value: value != "",
        "the password the carrier gave you",
    ),
    "call cap": feature_forms.within(1, 100_000),
    "load limit": feature_forms.within(10, 100),
    "pin": (lambda value: bool(re.fullmatch("[0-9]{4,10}", value)), "4 to 10 digits"),
    "text": (lambda _: True, ""),
    **decision_forms.SPECIAL,
    **feature_forms.SPECIAL,
    **queue_forms.SPECIAL,
    **fraud_forms.SPECIAL,
}
_WORDS = {
    "setting_name": "lower-case letters, digits and underscores, such as zone",
    "setting_value": "1 to 255 letters, digits and _ . , : / @ + * -",
}


def wanted(form: str, value: str) -> str | None:
    """What a value of that form must be, when it is not; None: it fits."""
    if "\0" in value:
        return "text without a zero byte"
    if form in _CHOICES:
        choices = _CHOICES[form].split()
        return None if value in choices else " or ".join(choices)
    if form in RANGES:
        low, high = RANGES[form]
        fits = re.fullmatch("[0-9]{1,9}", value) is not None and low <= int(value) <= high
        return None if fits else FORMS[form]
    if form in _SPECIAL:
        judge, words = _SPECIAL[form]
        return None if judge(value) else words
    return None if _COMPILED[form].fullmatch(value) else FORMS.get(form) or _WORDS[form]


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table in a company file: name -> form; `needed` ones must be there; `key` names the row, with
    `absent` for a column that is not given."""

    columns: dict[str, str]
    needed: tuple[str, ...]
    key: str
    absent: str = "*"


_ACCOUNT = {"account": "slug_form"}
_PERSON = {"language": "language_form", "caller_id": "e164_form"}

# In the order rows are loaded: what is named comes before what names it.
SHAPES: dict[str, Shape] = {
    "settings": Shape({"name": "setting_name", "value": "setting_value"}, ("name", "value"), "{name}"),
    "clusters": Shape(
        {"name": "slug_form", "overflow": "slug_form", "voicemail_store": "slug_form"}, ("name",), "{name}"
    ),
    "device_groups": Shape({"name": "slug_form"}, ("name",), "{name}"),
    "nodes": Shape(
        {
            "name": "slug_form",
            "kind": "kind of node",
            "cluster": "slug_form",
            "device_group": "slug_form",
            "address": "address",
            "public_address": "address",
            "sip_port": "port_range",
            "tls_port": "port_range",
            "weight": "weight_range",
            "state": "state",
            "call_cap": "call cap",
            "load_limit_pct": "load limit",
        },
        ("name", "kind", "address"),
        "{name}",
    ),
    "accounts": Shape(
        {
            "name": "slug_form",
            "display_name": "label_form",
            "cluster": "slug_form",
            "device_group": "slug_form",
            "country": "country_form",
            "language": "language_form",
            "status": "status",
            "call_limit": "call_limit_range",
            "caller_id": "e164_form",
            "time_zone": "time_zone_form",
            "flags": "words",
            "lamps": "bool",
            "record_announcement": "sound_form",
            "recordings_keep_days": "keep days",
            "overload_announcement": "bool",
            "outside_messages": "bool",
            "reseller": "slug_form",
        },
        ("name", "display_name", "cluster", "country"),
        "{name}",
    ),
    "account_services": Shape(
        _ACCOUNT | {"service": "service", "cluster": "slug_form", "overflow": "slug_form"},
        ("account", "service", "cluster"),
        "{account}/{service}",
    ),
    "trunks": Shape(
        _ACCOUNT
        | {
            "name": "slug_form",
            "host": "host_form",
            "port": "port_range",
            "transport": "transport",
            "auth_user": "auth_name_form",
            "auth_realm": "auth_name_form",
            "auth_ha1_md5": "ha1_md5_form",
            "password": "carrier password",
            "register": "bool",
            "call_limit": "call_limit_range",
            "number_format": "number_format",
            "caller_id": "e164_form",
            "enabled": "bool",
        },
        ("name", "host"),
        "{name}",
    ),
    "trunk_addresses": Shape(
        {"trunk": "slug_form", "address": "network"}, ("trunk", "address"), "{trunk}/{address}"
    ),
    "domains": Shape(_ACCOUNT | {"name": "dns_name_form"}, ("account", "name"), "{name}"),
    "users": Shape(
        _ACCOUNT
        | _PERSON
        | {
            "name": "sip_user_form",
            "display_name": "label_form",
            "permission": "permission",
            "enabled": "bool",
            "record": "record",
            "record_calls": "calls",
        },
        ("account", "name", "display_name"),
        "{account}/{name}",
    ),
    "devices": Shape(
        _ACCOUNT
        | {
            "name": "sip_user_form",
            "domain": "dns_name_form",
            "user": "sip_user_form",
            "password": "password",
            "ha1_md5": "ha1_md5_form",
            "ha1_sha256": "ha1_sha256_form",
            "call_limit": "call_limit_range",
            "caller_id": "e164_form",
            "enabled": "bool",
            "preferred": "bool",
        },
        ("account", "name", "domain"),
        "{name}@{domain}",
    ),
    "voicemail_boxes": Shape(
        _ACCOUNT
        | {
            "mailbox": "mailbox_form",
            "user": "sip_user_form",
            "display_name": "label_form",
            "email": "email_form",
            "pin": "pin",
            "pin_digest": "pin_digest_form",
            "language": "language_form",
        },
        ("account", "mailbox", "display_name"),
        "{account}/{mailbox}",
    ),
    **{
        table: Shape(*spec)
        for tables in (decision_forms.TABLES, queue_forms.TABLES, feature_forms.TABLES, fraud_forms.TABLES)
        for table, spec in tables.items()
    },
    "extensions": Shape(
        _ACCOUNT
        | {
            "extension": "dialable_form",
            "kind": "kind",
            "user": "sip_user_form",
            "policy": "slug_form",
            "group": "slug_form",
            "menu": "slug_form",
            "queue": "slug_form",
            "conference": "slug_form",
            "park": "slug_form",
            "page": "slug_form",
            "target": "text",
            "texts": "bool",
            "ring_time_s": "seconds_range",
            "on_busy": "step_form",
            "on_no_answer": "step_form",
            "on_unregistered": "step_form",
        },
        ("account", "extension"),
        "{account}/{extension}",
    ),
    "numbers": Shape(
        _ACCOUNT | {"e164": "e164_form", "extension": "dialable_form"},
        ("account", "e164", "extension"),
        "{e164}",
    ),
    "routes": Shape(
        _ACCOUNT
        | {
            "prefix": "number_prefix_form",
            "trunk": "slug_form",
            "priority": "priority_range",
            "weight": "weight_range",
        },
        ("prefix", "trunk"),
        "{account}/{prefix}/{trunk}",
    ),
    "emergency_numbers": Shape(
        {"country": "country_form", "number": "emergency_form"}, ("country", "number"), "{country}:{number}"
    ),
    "emergency_routes": Shape(
        {
            "country": "country_form",
            "number": "emergency_form",
            "trunk": "slug_form",
            "priority": "priority_range",
        },
        ("country", "number", "trunk"),
        "{country}:{number}/{trunk}",
    ),
}
SECRET = ("password", "pin", "ha1_md5", "ha1_sha256", "auth_ha1_md5", "pin_digest")
