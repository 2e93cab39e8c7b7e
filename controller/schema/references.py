"""How rows of a company name each other, and what finds a row again in the database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in a file that stands for the id of a row: in which table, under which of its columns."""

    column: str
    table: str
    match: dict[
        str, str
    ]  # column of the other table in files -> column of this row; none: the value is its key
    statement: str


_IN_ACCOUNT = (
    "SELECT r.id FROM public.{table} AS r JOIN public.accounts AS a ON a.id = r.account_id "
    "WHERE a.name = %(account)s AND r.{name} = %({value})s"
)


def _by_name(column: str, table: str, value: str) -> Reference:
    return Reference(
        column, table, {"name": value}, f"SELECT id FROM public.{table} WHERE name = %({value})s"
    )


def _in_account(column: str, table: str, name: str, value: str) -> Reference:
    return Reference(
        column,
        table,
        {"account": "account", name: value},
        _IN_ACCOUNT.format(table=table, name=name, value=value),
    )


REFERENCES = {
    "account": _by_name("account_id", "accounts", "account"),
    "cluster": _by_name("cluster_id", "clusters", "cluster"),
    "overflow": _by_name("overflow_cluster_id", "clusters", "overflow"),
    "device_group": _by_name("device_group_id", "device_groups", "device_group"),
    "trunk": _by_name("trunk_id", "trunks", "trunk"),
    "user": _in_account("user_id", "users", "name", "user"),
    "domain": _in_account("domain_id", "domains", "name", "domain"),
    "device": Reference(
        "device_id",
        "devices",
        {},
        "SELECT d.id FROM public.devices AS d JOIN public.accounts AS a ON a.id = d.account_id "
        "JOIN public.domains AS o ON o.id = d.domain_id "
        "WHERE a.name = %(account)s AND d.name || '@' || o.name = %(device)s",
    ),
    "list": _in_account("list_id", "caller_lists", "name", "list"),
    "caller_list": _in_account("caller_list_id", "caller_lists", "name", "caller_list"),
    "caller_group": _in_account("caller_group_id", "groups", "name", "caller_group"),
    "schedule": _in_account("schedule_id", "schedules", "name", "schedule"),
    "supervisor_group": _in_account("supervisor_group_id", "groups", "name", "supervisor_group"),
    "group": _in_account("group_id", "groups", "name", "group"),
    "menu": _in_account("menu_id", "menus", "name", "menu"),
    "policy": _in_account("policy_id", "policies", "name", "policy"),
    "queue": _in_account("queue_id", "queues", "name", "queue"),
    "conference": _in_account("conference_id", "conferences", "name", "conference"),
    "page": _in_account("page_id", "pages", "name", "page"),
    "park": _in_account("parking_lot_id", "parking_lots", "name", "park"),
}
NUMBER_EXTENSION = _in_account("extension_id", "extensions", "extension", "extension")
EMERGENCY_NUMBER = Reference(
    "emergency_number_id",
    "emergency_numbers",
    {"country": "country", "number": "number"},
    "SELECT id FROM public.emergency_numbers WHERE country = %(country)s AND number = %(number)s",
)
# Columns of the database that find the row again; the owner is among them, so that no row changes hands by a load.
KEYS = {
    "settings": ("name",),
    "clusters": ("name",),
    "device_groups": ("name",),
    "nodes": ("name",),
    "accounts": ("name",),
    "account_services": ("account_id", "service"),
    "trunks": ("account_id", "name"),
    "trunk_addresses": ("trunk_id", "address"),
    "domains": ("account_id", "name"),
    "users": ("account_id", "name"),
    "devices": ("account_id", "domain_id", "name"),
    "voicemail_boxes": ("account_id", "mailbox"),
    "extensions": ("account_id", "extension"),
    "numbers": ("account_id", "e164"),
    "routes": ("account_id", "prefix", "trunk_id"),
    "emergency_numbers": ("country", "number"),
    "emergency_routes": ("emergency_number_id", "trunk_id"),
    "caller_lists": ("account_id", "name"),
    "caller_list_entries": ("account_id", "list_id", "pattern"),
    "schedules": ("account_id", "name"),
    "schedule_times": (
        "account_id",
        "schedule_id",
        "days",
        "from_time",
        "to_time",
        "from_date",
        "to_date",
    ),
    "schedule_days": ("account_id", "schedule_id", "day", "from_time"),
    "groups": ("account_id", "name"),
    "group_members": ("account_id", "group_id", "user_id", "device_id", "number"),
    "menus": ("account_id", "name"),
    "menu_choices": ("account_id", "menu_id", "digits"),
    "policies": ("account_id", "name"),
    "policy_rules": ("account_id", "policy_id", "position"),
    "forwardings": ("account_id", "user_id", "position"),
    "queues": ("account_id", "name"),
    "queue_members": ("account_id", "queue_id", "user_id"),
    "conferences": ("account_id", "name"),
    "conference_pins": ("account_id", "conference_id", "moderator"),
    "parking_lots": ("account_id", "name"),
    "pages": ("account_id", "name"),
    "fraud_rules": ("name", "reseller", "account_id", "user_id", "group_id", "device_id"),
    "fraud_allows": ("account_id", "user_id", "device_id", "source", "what"),
    "fraud_permissions": ("reseller", "account_id", "user_id", "class"),
}
