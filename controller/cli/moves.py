"""account move, account moves: accounts to another cluster, a plan like any other."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from controller import mover
from controller.cli import proposed
from controller.cli.common import Group, database, document, format_option, rows, say, who
from controller.errors import InputError, PartlyApplied, StalePlan
from controller.moves import say as words
from controller.moves import store
from controller.moves.model import Batch

if TYPE_CHECKING:
    from psycopg import Connection

Command = Callable[..., Any]
# How often a command that follows a move looks.
POLL_S = 0.5

_LIMITS: dict[str, click.ParamType[Any]] = {
    "canary": click.IntRange(0),
    "watch_s": click.IntRange(0),
    "at_once": click.IntRange(1),
    "failed_pct": click.FloatRange(0, 100),
    "drain_s": click.IntRange(0),
    "after_drain": click.Choice(["wait", "remove"]),
}
_HELP = {
    "canary": "So many accounts go first, alone.",
    "watch_s": "So many seconds their calls are watched before others follow.",
    "at_once": "So many accounts at most are on their way at the same time.",
    "failed_pct": "Stop when more of the calls of accounts that moved fail.",
    "drain_s": "So long calls on the old cluster have to end.",
    "after_drain": "And then: wait for their end, or remove their entries all the same (no call is ended).",
}


def _limits(*, defaults: bool) -> Callable[[Command], Command]:
    """An option for each limit of a batch."""

    def decorate(command: Command) -> Command:
        for name in reversed(_LIMITS):
            command = click.option(
                f"--{name.replace('_', '-')}", name, type=_LIMITS[name], help=_HELP[name],
                default=getattr(_DEFAULT, name) if defaults else None, show_default=defaults,
            )(command)  # fmt: skip
        return command

    return decorate


_DEFAULT = Batch(0, (), watch_s=60, failed_pct=5, drain_s=3600)
_wait_option = click.option(
    "--wait", "wait_s", type=click.FloatRange(0), metavar="SECONDS",
    help="Follow it so long at most; 0: do not. Without it, to its end.",
)  # fmt: skip


@click.command("move")
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--to", metavar="CLUSTER", help="Cluster they move to.")
@click.option(
    "--device-group",
    "group",
    metavar="GROUP",
    help="All accounts of that device group instead of named ones.",
)
@click.option("--proposed", "by_load", is_flag=True, help="Move what `account propose` proposes instead.")
@proposed.options
@_limits(defaults=True)
@click.option(
    "--leave-messages",
    "messages",
    default="",
    metavar="REASON",
    help="Voicemail messages may stay on the old cluster; why, kept in the history.",
)
@click.option("--plan", "expected", metavar="ID", help="Only if the plan is still this one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why, kept in the history.")
@_wait_option
@format_option
def move(
    accounts: tuple[str, ...],
    to: str | None,
    group: str | None,
    by_load: bool,
    days: int,
    target: float,
    most: int,
    messages: str,
    expected: str | None,
    yes: bool,
    reason: str,
    wait_s: float | None,
    form: str,
    **limits: Any,
) -> None:
    """Move accounts to another cluster. The plan is shown first; no call is dropped, no registration is touched.

    Each account is added to the nodes of the new cluster and read back there before anything points to it; then names
    and edges change in one revision. Calls that are up go on where they are, and its entries leave the old cluster
    when the last of them is over. Canaries go first and are watched. The controller takes all steps, and this command
    does while there is none; a command that is killed ends nothing. It can be stopped and taken back at any step
    (`account moves`).

    Ends with 5 when it stopped, or when it is not done after --wait seconds.

    \b
    Examples:
      dialplane account move acme --to c2
      dialplane account move acme globex initech --to c2 --canary 1 --at-once 2 --yes
      dialplane account move --device-group g2 --to c2 --reason "site 2 has a cluster now"
      dialplane account move --proposed --reason "rebalancing"
    """
    if [bool(accounts), group is not None, by_load].count(True) != 1 or by_load == (to is not None):
        raise InputError(
            "name accounts and --to CLUSTER, or --device-group GROUP and --to CLUSTER, or give --proposed alone"
        )
    with database() as connection:
        if by_load:
            asked = _proposed(connection, days, target, most, limits["canary"])
            if not asked:
                click.echo("nothing is proposed (dialplane account propose says why)")
                return
        elif group is not None:
            asked = [(account, str(to), "") for account in store.of_group(connection, group, str(to))]
            if not asked:
                click.echo(f"nothing to move: all accounts of device group {group} are at cluster {to}")
                return
        else:
            asked = [(account, str(to), "") for account in accounts]
        made = mover.draft(connection, asked, Batch(0, (), **limits), messages=messages)
        connection.rollback()
        document(form, words.plan(made.batch, made.wanted, made.names_s, made.id), _as_data(made))
        if expected and not made.id.startswith(expected):
            raise StalePlan(f"the plan is now {made.id} (above), not {expected}: look at it again")
        if not yes:
            if not sys.stdin.isatty():
                raise InputError("there is no terminal to ask on: give --yes to move")
            click.confirm("move?", abort=True, err=True)
        number = mover.begin(connection, made, author=who(), reason=reason, messages=messages)
        connection.commit()
        say(f"move {number} has begun")
        _follow(connection, number, wait_s, form)


def _proposed(
    connection: Connection[Any], days: int, target: float, most: int, canary: int
) -> list[tuple[str, str, str]]:
    """What a rebalancing moves, the smallest accounts first as canaries."""
    _, proposal = proposed.measured(
        connection, days=days, target=target, most=most, canary=canary, batch=most, batch_pct=100
    )
    return [(one.account, one.to, one.why) for one in proposal.moves]


def _as_data(made: mover.Draft) -> dict[str, Any]:
    limits = {name: getattr(made.batch, name) for name in _LIMITS}
    return {
        "id": made.id,
        **limits,
        "names_s": made.names_s,
        "accounts": [asdict(one) for one in made.wanted],
    }


def _follow(
    connection: Connection[Any], number: int, wait_s: float | None, form: str, *, goal: str = "done"
) -> None:
    """A progress line for each account and step, until the batch is over or stands; walks while no controller does."""
    if wait_s == 0:
        if not mover.walked(connection):
            say("no controller is heard of: nothing goes on until one runs, or somebody follows the move")
        return
    try:
        batch = _watched(connection, number, wait_s)
    except KeyboardInterrupt:
        say(
            f"move {number} goes on where a controller runs; dialplane account moves resume {number} follows it"
        )
        raise
    ended = f"move {number} is {batch.state.replace('_', ' ')}" + (f": {batch.why}" if batch.why else "")
    if batch.state != goal:
        raise PartlyApplied(f"{ended}; dialplane account moves show {number}")
    (click.echo if form == "text" else say)(ended)


def _watched(connection: Connection[Any], number: int, wait_s: float | None) -> Batch:
    """The batch as it is when it no longer runs. PartlyApplied: not within `wait_s`."""
    ends = None if wait_s is None else clock.monotonic() + wait_s
    told: dict[str, tuple[str, str]] = {}
    whole = ""
    while True:
        if not mover.walked(connection):
            mover.look(connection, number)
        batch = store.batch(connection, number)
        if batch is None:
            raise InputError(f"move {number} is gone")
        whys = {one.account: one.why for one in store.accounts(connection, number)}
        connection.commit()
        for one in batch.moves:
            now = (one.step.value, whys.get(one.account, ""))
            if one.step != "planned" and told.get(one.account) != now:
                told[one.account] = now
                say(f"  {words.progress(one, now[1], back=batch.back)}")
        if batch.state != "running":
            return batch
        # Who waits for the canary; how many calls it had by now is no news.
        if batch.why and batch.why.partition(":")[0] != whole:
            whole = batch.why.partition(":")[0]
            say(f"  {batch.why}")
        if ends is not None and clock.monotonic() >= ends:
            raise PartlyApplied(
                f"move {number} is not done after {wait_s:g} s; it goes on: dialplane account moves show {number}"
            )
        clock.sleep(POLL_S)


@click.group("moves", cls=Group)
def moves_command() -> None:
    """Moves of accounts: what is on its way, stopping it, taking it back."""


@moves_command.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@format_option
def list_(limit: int, form: str) -> None:
    """Moves, newest first.

    \b
    Example:
      dialplane account moves list
    """
    with database() as connection:
        found = store.listed(connection, limit)
    rows(
        form,
        ["move", "at", "by", "state", "accounts", "over", "wrong", "reason", "why"],
        (
            (
                one.id, one.created_at, one.author,
                "going back" if one.back and one.state == "running" else one.state.replace("_", " "),
                one.accounts, one.over, one.wrong, one.reason, one.why,
            )
            for one in found
        ),
    )  # fmt: skip


@moves_command.command("show")
@click.argument("number", type=int)
@format_option
def show(number: int, form: str) -> None:
    """One move: where each of its accounts is, and what it waits for.

    \b
    Example:
      dialplane account moves show 3
    """
    with database() as connection:
        found = store.accounts(connection, number)
        if store.batch(connection, number) is None:
            raise InputError(f"there is no move {number} (dialplane account moves list)")
    rows(
        form,
        ["account", "from", "to", "step", "since", "at", "calls left", "calls", "failed", "waits"],
        (
            (
                one.account, one.source, one.target, one.step.replace("_", " "), one.since, one.cluster, one.calls,
                one.made, one.failed, ("! " if one.wrong else "") + one.why,
            )
            for one in found
        ),
    )  # fmt: skip


@moves_command.command("stop")
@click.argument("number", type=int)
@click.option("--reason", default="", help="Why.")
def stop(number: int, reason: str) -> None:
    """Let nothing of a move go on. What is there stays: each account is whole at one cluster.

    \b
    Example:
      dialplane account moves stop 3 --reason "ticket 812"
    """
    with database() as connection:
        mover.stop(connection, number, f"stopped by {who()}" + (f": {reason}" if reason else ""))
        connection.commit()
    click.echo(f"move {number} is stopped; dialplane account moves resume {number}, or rollback {number}")


@moves_command.command("resume")
@click.argument("number", type=int)
@_limits(defaults=False)
@_wait_option
def resume(number: int, wait_s: float | None, **limits: Any) -> None:
    """Go on with a move that was stopped, or follow one that runs; with other limits if some are given.

    \b
    Examples:
      dialplane account moves resume 3
      dialplane account moves resume 3 --drain-s 7200
    """
    with database() as connection:
        mover.resume(connection, number, {name: value for name, value in limits.items() if value is not None})
        connection.commit()
        back = store.batch(connection, number)
        goal = "rolled_back" if back is not None and back.back else "done"
        _follow(connection, number, wait_s, "text", goal=goal)


@moves_command.command("rollback")
@click.argument("number", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_wait_option
def rollback(number: int, yes: bool, wait_s: float | None) -> None:
    """Take every account of a move back to the cluster it came from, from whatever step, by the same steps.

    \b
    Example:
      dialplane account moves rollback 3 --yes
    """
    with database() as connection:
        batch = store.batch(connection, number)
        if batch is None:
            raise InputError(f"there is no move {number} (dialplane account moves list)")
        sent = [one.account for one in batch.moves if one.step not in ("planned", "rolled_back")]
        say(f"move {number}: {len(sent)} of {len(batch.moves)} accounts go back: {' '.join(sent) or 'none'}")
        if not yes:
            if not sys.stdin.isatty():
                raise InputError("there is no terminal to ask on: give --yes to take this move back")
            click.confirm("take it back?", abort=True, err=True)
        for left in mover.turn(connection, number):
            say(f"  {left}")
        connection.commit()
        _follow(connection, number, wait_s, "text", goal="rolled_back")
