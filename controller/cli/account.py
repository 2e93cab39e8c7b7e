"""account propose: which cluster an account should be in. `account move` and `moves` stand in moves.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from controller.cli import moves, proposed
from controller.cli.common import Group, database, document, format_option, rows
from controller.errors import InputError
from controller.schema import loads
from controller.tiers import balance, rendezvous


@click.group("account", cls=Group)
def account_command() -> None:
    """Accounts: where they are served, and moving them."""


@account_command.command("propose")
@click.option(
    "--new", "names", multiple=True, metavar="NAME", help="Propose a cluster for a new account instead."
)
@proposed.options
@click.option(
    "--canary", type=click.IntRange(0), default=1, show_default=True, help="Accounts in the first batch."
)
@click.option(
    "--batch", type=click.IntRange(1), default=50, show_default=True, help="Most accounts in a batch."
)
@click.option(
    "--batch-pct", type=click.FloatRange(0.01, 100), default=5.0, show_default=True,
    help="Most of all calls in a batch, in percent; one account alone may be more.",
)  # fmt: skip
@format_option
def propose(
    names: tuple[str, ...],
    days: int,
    target: float,
    most: int,
    canary: int,
    batch: int,
    batch_pct: float,
    form: str,
) -> None:
    """Which accounts to move so that clusters are about equally full; it changes nothing.

    The load of an account is how many calls it has at the same time in the busiest hour, by the records of calls that
    media nodes carried. A cluster is as large as the weights of its enabled media nodes. As few accounts as can be
    are proposed, in batches, with the command that moves each: run a batch, watch, and take the next. Or let
    `dialplane account move --proposed` move all of them.

    With --new it says where rendezvous hashing would put an account that is not there yet. Rows decide: write that
    cluster into the account's row, or another.

    \b
    Examples:
      dialplane account propose
      dialplane account propose --days 28 --target 1.05 --batch 10
      dialplane account propose --new initech --new umbrella
    """
    with database() as connection:
        if names:
            known = loads.read(connection, days)
            rows(form, ["account", "cluster", "why"], (_new(name, known) for name in names))
            return
        found, proposal = proposed.measured(
            connection, days=days, target=target, most=most, canary=canary, batch=batch, batch_pct=batch_pct
        )
    found_moves = [
        (number, move.account, round(move.load, 2), move.source, move.to, move.why)
        for number, one in enumerate(proposal.batches, 1)
        for move in one
    ]
    columns = ["batch", "account", "calls", "from", "to", "why"]
    if form == "tsv":
        rows(form, columns, found_moves)
        return
    commands = [[_command(to, one) for to in sorted({move.to for move in one})] for one in proposal.batches]
    data: dict[str, Any] = {
        "busy_hour_utc": found.hour,
        "days": days,
        "calls": round(sum(found.load.values()), 2),
        "imbalance": _number(proposal.before),
        "imbalance_then": _number(proposal.after),
        "why": proposal.why,
        "batches": [[asdict(move) for move in one] for one in proposal.batches],
        "commands": commands,
    }
    if form == "json":
        document(form, (), data)
        return
    if found_moves:
        rows(form, columns, [_aligned(one) for one in found_moves])
        click.echo()
    for line in _text(found, proposal, commands, days):
        click.echo(line)


def _command(to: str, batch: Sequence[balance.Move]) -> str:
    """What moves the accounts of a batch that go to one cluster."""
    return f"dialplane account move {' '.join(one.account for one in batch if one.to == to)} --to {to}"


def _aligned(move: tuple[int, str, float, str, str, str]) -> tuple[str, ...]:
    number, account, load, *others = move
    return f"{number:>5}", account, f"{load:>8.2f}", *others


def _number(value: float) -> float | None:
    return None if value == float("inf") else round(value, 3)


def _new(name: str, found: loads.Loads) -> tuple[str, str, str]:
    if name in found.assigned:
        return name, found.assigned[name], "its row says so"
    try:
        cluster = rendezvous.place(name, found.capacity)
    except InputError as error:
        raise InputError(f"--new {error}") from None
    part = found.capacity[cluster] / sum(found.capacity.values())
    return name, cluster, f"rendezvous hashing; the cluster has {part:.0%} of the weights of all"


def _text(
    found: loads.Loads, proposal: balance.Proposal, commands: list[list[str]], days: int
) -> Iterator[str]:
    if found.hour is None:
        yield f"there are no records of calls that media nodes carried in the last {days} days: nothing to go by"
        return
    yield (
        f"busiest hour {found.hour:02}:00 to {(found.hour + 1) % 24:02}:00 UTC, mean of {days} days: "
        f"{sum(found.load.values()):.2f} calls at the same time of {len(found.load)} accounts"
    )
    yield f"fullest cluster by the mean of all: {proposal.before:.2f}, then {proposal.after:.2f}; {proposal.why}"
    for number, one in enumerate(commands, 1):
        yield ""
        yield f"# batch {number} of {len(commands)}"
        yield from one


account_command.add_command(moves.move)
account_command.add_command(moves.moves_command)
