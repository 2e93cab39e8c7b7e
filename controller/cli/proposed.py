"""The proposal of a rebalancing, as `account propose` shows it and `account move --proposed` takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from controller.schema import loads
from controller.tiers import balance

if TYPE_CHECKING:
    from psycopg import Connection


class Measured(NamedTuple):
    """Loads of accounts by their records, and what is proposed for them."""

    found: loads.Loads
    proposal: balance.Proposal


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a proposal goes by; `measured` takes them."""
    for option in (
        click.option(
            "--most", type=click.IntRange(1), default=1000, show_default=True, help="Most accounts to move."
        ),
        click.option(
            "--target",
            type=click.FloatRange(1.01),
            default=1.10,
            show_default=True,
            help="How full the fullest cluster may be, by the mean of all.",
        ),
        click.option(
            "--days",
            type=click.IntRange(1, 366),
            default=7,
            show_default=True,
            help="Records of so many days.",
        ),
    ):
        command = option(command)
    return command


def measured(
    connection: Connection[Any],
    *,
    days: int,
    target: float,
    most: int,
    canary: int,
    batch: int,
    batch_pct: float,
) -> Measured:
    """Read what accounts carry, and propose moves."""
    found = loads.read(connection, days)
    limits = balance.Limits(target, canary, batch, batch_pct, most, room_pct=None)
    return Measured(found, balance.rebalance(found.load, found.assigned, found.capacity, limits))
