"""plan, apply, rollback, history, show: the way of a change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

import click
from psycopg import Connection
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller import pipeline
from controller.cli.common import PENDING, database, document, format_option, rows, say, stderr, who
from controller.errors import InputError, NotVerified, PartlyApplied, StalePlan, UnsafePlan
from controller.plan import Plan, show
from controller.plan.reasons import redact
from controller.revision import store, wait

Command = Callable[..., Any]
_wait_option = click.option(
    "--wait", "wait_s", type=float, default=30, show_default=True, metavar="SECONDS",
    help="How long to wait for nodes; 0: do not wait.",
)  # fmt: skip


def _applying(command: Command) -> Command:
    """Options of every command that publishes."""
    for option in (
        click.option("--plan", "expected", metavar="ID", help="Publish only if the plan is still this one."),
        click.option("--yes", is_flag=True, help="Do not ask. Never lifts safety."),
        click.option("--reason", default="", help="Why, kept in the history."),
        click.option(
            "--allow-unsafe", metavar="REASON", help="Publish although the plan is refused as unsafe; kept."
        ),
        _wait_option,
    ):
        command = option(command)
    return command


@click.command("plan")
@click.option(
    "--all", "everything", is_flag=True, help="Compare every account, not only those whose rows changed."
)
@format_option
@click.pass_context
def plan_command(ctx: click.Context, everything: bool, form: str) -> None:
    """Show what the rows would change on the servers. Touches nothing.

    Ends with 3 when changes are pending.

    \b
    Examples:
      dialplane plan
      dialplane plan --format json | jq '.changes[].key'
    """
    with database() as connection:
        plan = pipeline.make_plan(connection, everything=everything)
    _print(plan, form)
    ctx.exit(0 if plan.empty else PENDING)


@click.command("apply")
@click.option(
    "--all", "everything", is_flag=True, help="Compare every account, not only those whose rows changed."
)
@_applying
def apply_command(everything: bool, **options: Any) -> None:
    """Show the plan, ask, publish it, and wait until every node that it touches has it live and verified.

    A node that was not heard of for 10 s before is not waited for: it catches up (5). One that the plan does not touch
    may be away or failing: that is said, and is no failure of this plan (0).

    \b
    Examples:
      dialplane apply
      dialplane apply --plan 4f1c9a --yes --reason "ticket 812"
    """
    with database() as connection:
        _apply(connection, pipeline.make_plan(connection, everything=everything), **options)


@click.command("rollback")
@click.argument("to", type=int, required=False)
@_applying
def rollback_command(to: int | None, **options: Any) -> None:
    """Restore what was published in revision TO (default: before the newest). The plan is shown first.

    The rows stay as they are: their accounts are held back from automatic publishing, and `plan` says so, until
    somebody changes the rows or applies them again.

    \b
    Examples:
      dialplane rollback            # undo the newest configuration revision
      dialplane rollback 811 --plan 7d0c1e --yes
    """
    with database() as connection:
        if to is None:
            newest = store.one(connection, store.base(connection))
            if newest is None:
                raise InputError("nothing was ever published: there is nothing to roll back")
            to = newest.base or 0
        _apply(connection, pipeline.make_rollback(connection, to), **options)


def _apply(
    connection: Connection[Any],
    plan: Plan,
    *,
    expected: str | None,
    yes: bool,
    reason: str,
    allow_unsafe: str | None,
    wait_s: float,
) -> None:
    _print(plan, "text")
    if expected and not plan.digest.startswith(expected):
        raise StalePlan(
            f"the plan is now {plan.id} (above), not {expected}: something changed; look at it again"
        )
    if plan.empty:
        return
    if plan.dangers and not allow_unsafe:
        raise UnsafePlan('refused as unsafe (above); if this is meant, say why: --allow-unsafe "reason"')
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("there is no terminal to ask on: give --yes to apply this plan")
        click.confirm("apply?", abort=True, err=True)
    number = pipeline.publish(connection, plan, author=who(), reason=reason, unsafe_reason=allow_unsafe)
    connection.commit()
    say(f"published as revision {number}")
    if wait_s <= 0:
        return
    connection.autocommit = True
    _conclude(number, _watch(connection, plan, number, wait_s), plan.touched)


def _watch(connection: Connection[Any], plan: Plan, number: int, wait_s: float) -> list[wait.NodeState]:
    """One live line per node on a terminal, one line per node when it is done elsewhere."""
    touched = plan.touched

    def waits(progress: Callable[[list[wait.NodeState]], None]) -> list[wait.NodeState]:
        return wait.until_live(
            connection,
            number,
            deadline_s=wait_s,
            progress=progress,
            touches=lambda one: one.node in touched,
        )

    if not stderr.is_terminal:
        reported: set[str] = set()

        def print_new(now: list[wait.NodeState]) -> None:
            for state in now:
                if state.holds(number) and state.node not in reported:
                    reported.add(state.node)
                    say(f"  {state.node:<12} {state.sentence(number)}")

        return waits(print_new)
    with Live(console=stderr, refresh_per_second=8) as live:

        def draw(now: list[wait.NodeState]) -> None:
            table = Table(box=None, pad_edge=False, show_header=False)
            for state in now:
                mark = Text("ok", style="green") if state.holds(number) else Text("..", style="yellow")
                table.add_row("  " + state.node, mark, state.sentence(number))
            live.update(table)

        return waits(draw)


def _conclude(number: int, states: list[wait.NodeState], touched: Collection[str]) -> None:
    """The last sentence, and the error when the revision is not live on every node that it touches."""
    if not states:
        say(f"revision {number} is published; there is no node yet (table nodes)")
        return
    missing = [state for state in states if not state.holds(number)]
    live = len(states) - len(missing)
    lines = [
        f"{one.node}: {one.sentence(number)}"
        + ("" if one.node in touched else " (this revision changes nothing there)")
        for one in missing
    ]
    wanting = [one for one in missing if one.node in touched]
    if not wanting:
        for line in lines:
            say(f"  {line}")
        click.echo(
            f"revision {number} is live and verified on {live} nodes"
            + (", all that it touches" if missing else "")
        )
        return
    told = "\n  ".join(lines)
    # One that fell silent after it had the revision is no server that shows something else.
    if all(one.revision >= number and not one.down for one in wanting):
        raise NotVerified(f"revision {number} was applied, but reading back does not show it:\n  {told}")
    raise PartlyApplied(f"revision {number} is live on {live} of {len(states)} nodes:\n  {told}")


def _print(plan: Plan, form: str) -> None:
    if form == "tsv":
        rows("tsv", ["verb", "kind", "scope", "table", "key", "account", "reason"],
             ((change.verb, *change.address, change.account, change.reason) for change in plan.changes))  # fmt: skip
        return
    document(form, show.text(plan), show.as_json(plan) if form == "json" else {})


@click.command("history")
@click.option("--limit", type=int, default=20, show_default=True)
@click.option("--account", help="Only revisions that changed this account.")
@format_option
def history_command(limit: int, account: str | None, form: str) -> None:
    """Revisions, newest first: who changed what, when and why.

    \b
    Examples:
      dialplane history
      dialplane history --account acme --limit 5
    """
    with database() as connection:
        found = store.history(connection, limit, account)
    rows(
        form,
        ["revision", "at", "by", "state", "add", "change", "remove", "reason"],
        (
            (one.id, one.created_at, one.author, one.state, one.creates, one.updates, one.deletes, _why(one))
            for one in found
        ),
    )


def _why(one: store.Revision) -> str:
    parts = [one.reason]
    if one.rolls_back is not None:
        parts.insert(0, f"rollback to {one.rolls_back}")
    if one.unsafe_reason:
        parts.append(f"unsafe, allowed: {one.unsafe_reason}")
    return "; ".join(part for part in parts if part)


@click.command("show")
@click.argument("revision", type=int)
@format_option
def show_command(revision: int, form: str) -> None:
    """One revision: every entry it changed, and why.

    \b
    Example:
      dialplane show 812
    """
    with database() as connection:
        one = store.one(connection, revision)
        if one is None:
            raise InputError(f"there is no revision {revision} (dialplane history)")
        changes = list(store.changes_of(connection, revision))
    if form == "text":
        click.echo(
            f"revision {one.id}  {one.created_at:%Y-%m-%d %H:%M:%S}  by {one.author}  {_why(one)}".rstrip()
        )
    rows(
        form,
        ["verb", "kind", "table", "key", "account", "reason", "old", "new"],
        (
            (
                change.verb, change.address.kind, change.address.table, change.address.key, change.account,
                change.reason, redact(change.address.table, change.old), redact(change.address.table, change.new),
            )
            for change in changes
        ),
    )  # fmt: skip
