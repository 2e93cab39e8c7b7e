"""Rows that few accounts have: conferences, parking lots, pages, services served elsewhere, moves.

One statement per table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection

from controller.desired.decisions import step
from controller.desired.model import Beside, Service
from controller.desired.rules import Conference, Page, ParkingLot


def read(connection: Connection[Any], accounts: list[int]) -> dict[int, dict[str, tuple[Any, ...]]]:
    """Fields of `Account` by account number; what an account has no rows of is left out."""
    found: dict[int, dict[str, tuple[Any, ...]]] = {}
    if accounts:
        for field, (statement, made) in _TABLES.items():
            for account, *row in connection.execute(statement, (accounts,), binary=True):
                fields = found.setdefault(account, {})
                fields[field] = (*fields.get(field, ()), made(*row))
    return found


def _parking_lot(name: str, first_slot: str, slots: int, wait_s: int, return_s: int, then: str) -> ParkingLot:
    return ParkingLot(name, first_slot, slots, wait_s, return_s, step(then))


_TABLES: dict[str, tuple[str, Callable[..., Any]]] = {
    "conferences": (
        """
    SELECT c.account_id, c.name, c.max_members, c.wait_for_moderator, c.announce, c.record, p.pin_digest, m.pin_digest
      FROM public.conferences c
      LEFT JOIN public.conference_pins p ON p.conference_id = c.id AND NOT p.moderator
      LEFT JOIN public.conference_pins m ON m.conference_id = c.id AND m.moderator
     WHERE c.account_id = ANY (%s) ORDER BY c.account_id, c.name""",
        Conference,
    ),
    "parking_lots": (
        """
    SELECT l.account_id, l.name, l.first_slot, l.slots, l.wait_s, l.return_s, l.on_timeout
      FROM public.parking_lots l WHERE l.account_id = ANY (%s) ORDER BY l.account_id, l.name""",
        _parking_lot,
    ),
    "pages": (
        """
    SELECT p.account_id, p.name, g.name, c.name, p.talk_back, p.tone, p.max_s
      FROM public.pages p
      JOIN public.groups g ON g.id = p.group_id
      LEFT JOIN public.groups c ON c.id = p.caller_group_id
     WHERE p.account_id = ANY (%s) ORDER BY p.account_id, p.name""",
        Page,
    ),
    "services": (
        """
    SELECT s.account_id, s.service, c.name, o.name
      FROM public.account_services s
      JOIN public.clusters c ON c.id = s.cluster_id
      LEFT JOIN public.clusters o ON o.id = s.overflow_cluster_id
     WHERE s.account_id = ANY (%s) ORDER BY s.account_id, s.service""",
        Service,
    ),
    "beside": (
        """
    SELECT m.account_id, c.name, m.tied
      FROM control.account_moves m
      JOIN public.clusters c ON c.id = CASE WHEN m.at_target THEN m.source_id ELSE m.target_id END
     WHERE m.account_id = ANY (%s) AND m.step NOT IN ('done', 'rolled_back')
       AND CASE WHEN m.at_target THEN m.holds_source ELSE m.holds_target END""",
        Beside,
    ),
}
