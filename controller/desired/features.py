"""Rows about what people expect around calls: conferences. Few accounts have any; one statement per table."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from controller.desired.model import Conference


def read(connection: Connection[Any], accounts: list[int]) -> dict[int, dict[str, tuple[Any, ...]]]:
    """Fields of `Account` by account number; accounts without such rows are left out."""
    found: dict[int, dict[str, tuple[Any, ...]]] = {}
    if accounts:
        for account, *row in connection.execute(_CONFERENCES, (accounts,), binary=True):
            fields = found.setdefault(account, {"conferences": ()})
            fields["conferences"] = (*fields["conferences"], Conference(*row))
    return found


_CONFERENCES = """
    SELECT c.account_id, c.name, c.max_members, c.wait_for_moderator, c.announce, c.record, p.pin_digest, m.pin_digest
      FROM public.conferences c
      LEFT JOIN public.conference_pins p ON p.conference_id = c.id AND NOT p.moderator
      LEFT JOIN public.conference_pins m ON m.conference_id = c.id AND m.moderator
     WHERE c.account_id = ANY (%s) ORDER BY c.account_id, c.name"""
