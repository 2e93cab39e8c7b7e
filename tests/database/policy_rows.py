"""Statements about rows of decisions per call, in the sample company."""

from __future__ import annotations

from typing import Any

import psycopg

ACME = "(SELECT id FROM accounts WHERE name = 'acme')"
Rows = psycopg.Connection[Any]


def one(table: str, name: str, account: str = ACME) -> str:
    return f"(SELECT id FROM {table} WHERE name = '{name}' AND account_id = {account})"


SALES, MAIN, WELCOME = one("groups", "sales"), one("policies", "main"), one("menus", "welcome")
OFFICE, VIP = one("schedules", "office"), one("caller_lists", "vip")
ALICE, CAROL = one("users", "alice"), one("users", "carol")
DAVE = one("users", "dave", "(SELECT id FROM accounts WHERE name = 'globex')")
RULE = f"INSERT INTO policy_rules (account_id, policy_id, position, {{}}) SELECT {ACME}, {MAIN}, 90, {{}}"
MEMBER = f"INSERT INTO group_members (account_id, group_id, {{}}) SELECT {ACME}, {SALES}, {{}}"
DND = f"INSERT INTO user_states (account_id, user_id, dnd) SELECT {ACME}, {ALICE}, true"
AWAY = f"INSERT INTO group_away (account_id, member_id) SELECT {ACME}, id FROM group_members WHERE user_id = {ALICE}"
OVERRIDE = (
    "INSERT INTO schedule_overrides (account_id, schedule_id, open, until) "
    f"SELECT {ACME}, {OFFICE}, false, '2030-12-24 18:00+01'"
)
