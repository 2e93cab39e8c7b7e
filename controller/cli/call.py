"""call list, watch, originate, transfer, hangup, trace, history: live calls and their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.live import Live
from rich.table import Table

from controller.calls import operator, store
from controller.cli.common import Group, document, format_option, rows, run_calls, say, stderr
from controller.cli.recordings import recordings_command
from controller.errors import DialplaneError, PartlyApplied


@click.group("call", cls=Group)
def call_command() -> None:
    """Live calls: one call is one call, across edge and media legs. And their records."""


call_command.add_command(recordings_command)

_COLUMNS = ["call", "account", "caller", "called", "state", "nodes"]


def _lines(listing: operator.Listing) -> list[Sequence[Any]]:
    return [
        (
            one.call,
            one.account,
            one.caller,
            one.called,
            one.state,
            " ".join(sorted({node for node, _ in one.legs})),
        )
        for one in listing.calls
    ]


def _say_unknown(listing: operator.Listing) -> None:
    for node, why in listing.unknown.items():
        say(f"{node}: not known: {why}")


@call_command.command("list")
@format_option
@click.pass_context
def list_(ctx: click.Context, form: str) -> None:
    """Calls that are up or ringing now. Ends with 5 when a node could not be asked.

    \b
    Example:
      dialplane call list
    """
    listing = run_calls(operator.list_calls)
    rows(form, _COLUMNS, _lines(listing))
    _say_unknown(listing)
    ctx.exit(PartlyApplied.exit_code if listing.unknown else 0)


@call_command.command("watch")
@click.option("--every", "every_s", type=float, default=1, show_default=True, metavar="SECONDS")
def watch(every_s: float) -> None:
    """Calls as they come and go, until interrupted.

    \b
    Example:
      dialplane call watch
    """

    async def follow(connection: store.Connection) -> None:
        with Live(console=stderr, refresh_per_second=4) as live:
            async for listing in operator.watch(connection, every_s=every_s):
                table = Table(*_COLUMNS, box=None, pad_edge=False)
                for line in _lines(listing):
                    table.add_row(*(str(cell) for cell in line))
                for node, why in listing.unknown.items():
                    table.add_row("-", "-", "-", "-", "not known", f"{node}: {why}")
                live.update(table)

    try:
        run_calls(follow)
    except KeyboardInterrupt:
        say("")


@call_command.command("originate")
@click.argument("device")
@click.argument("to")
@click.option("--ring", "ring_s", type=int, default=30, show_default=True, metavar="SECONDS")
def originate(device: str, to: str, ring_s: int) -> None:
    """Ring all devices of user@account, the preferred one first, or one device@domain; who answers dials TO.

    \b
    Example:
      dialplane call originate alice@acme 102
      dialplane call originate desk1@acme.example 102
    """
    call = run_calls(lambda connection: operator.originate(connection, device, to, ring_s=ring_s))
    click.echo(f"call {call}: {device} answered, {to} is dialled")


@call_command.command("transfer")
@click.argument("call")
@click.argument("to")
@click.pass_context
def transfer(ctx: click.Context, call: str, to: str) -> None:
    """Send the caller of CALL (its id, or how it begins) to TO.

    \b
    Example:
      dialplane call transfer 3f2a 102
    """
    _receipts(ctx, run_calls(lambda connection: operator.transfer(connection, call, to)))


@call_command.command("hangup")
@click.argument("call")
@click.pass_context
def hangup(ctx: click.Context, call: str) -> None:
    """End CALL (its id, or how it begins) on every hop, with a receipt per leg.

    \b
    Example:
      dialplane call hangup 3f2a
    """
    _receipts(ctx, run_calls(lambda connection: operator.hangup(connection, call)))


_OUTCOMES = {True: "done", False: "refused", None: "not known"}


def _receipts(ctx: click.Context, receipts: Sequence[operator.Receipt]) -> None:
    rows(
        "text",
        ["node", "leg", "outcome", "text"],
        ((one.node, one.leg, _OUTCOMES[one.ok], one.text) for one in receipts),
    )
    if not receipts:
        raise DialplaneError("no leg of that call was there any more")
    ctx.exit(0 if all(one.ok for one in receipts) else PartlyApplied.exit_code)


@call_command.command("trace")
@click.argument("call")
@format_option
def trace(call: str, form: str) -> None:
    """The story of CALL (its id, or how it begins): every step on each hop with its time, and the record.

    \b
    Example:
      dialplane call trace 3f2a91c0
    """
    found = run_calls(lambda connection: operator.trace(connection, call))
    document(form, _story(found), asdict(found))


def _story(found: operator.Trace) -> list[str]:
    lines = [f"call {found.call}  began {found.started_at:%Y-%m-%d %H:%M:%S} UTC"]
    lines += [
        f"  +{one.offset_ms / 1000:8.3f} s  {one.node:<10} {one.event:<14} {one.text}" for one in found.steps
    ]
    record = found.record
    if record is None:
        return [*lines, "no record yet"]
    talked = f", {record['talk_ms'] / 1000:.1f} s of talk" if record.get("talk_ms") else ""
    lines.append(
        f"record: {record['caller']} -> {record['called']}, {record['cause_text']} ({record['cause']}){talked}"
    )
    return lines


@call_command.command("history")
@click.option("--account", help="Only this account's.")
@click.option("--limit", type=int, default=20, show_default=True)
@format_option
def history(account: str | None, limit: int, form: str) -> None:
    """Call records, newest first.

    \b
    Example:
      dialplane call history --account acme
    """
    found = run_calls(lambda connection: store.records(connection, account, limit))
    columns = [
        "call_id",
        "started_at",
        "account",
        "direction",
        "caller",
        "called",
        "talk_ms",
        "cause_text",
        "complete",
    ]
    rows(form, columns, ([one[name] for name in columns] for one in found))
