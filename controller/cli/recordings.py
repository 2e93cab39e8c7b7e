"""call recordings: which calls were recorded, where the files lie, and having them removed."""

from __future__ import annotations

from typing import Any

import click

from controller.calls import recorded
from controller.cli.common import Group, document, format_option, rows, run_calls
from controller.errors import InputError


@click.group("recordings", cls=Group)
def recordings_command() -> None:
    """Recordings of calls and conferences. The files stay on the media nodes; these are their rows."""


def _state(one: dict[str, Any]) -> str:
    if one["removed_at"]:
        return f"removed {one['removed_at']:%Y-%m-%d %H:%M}: {one['removed_because']}"
    return f"to be removed, asked for by {one['asked_by']}" if one["asked_at"] else "there"


@recordings_command.command("list")
@click.option("--account", help="Only this account's.")
@click.option("--limit", type=int, default=20, show_default=True)
@click.option("--removed", is_flag=True, help="Also those whose files were removed.")
@format_option
def list_(account: str | None, limit: int, removed: bool, form: str) -> None:
    """Recordings, newest first.

    \b
    Example:
      dialplane call recordings list --account acme
    """
    found = run_calls(lambda connection: recorded.newest(connection, account, limit, gone=removed))
    columns = ["call_id", "began_at", "account", "caller", "called", "why", "node"]
    rows(form, [*columns, "state"], ([*(one[name] for name in columns), _state(one)] for one in found))


@recordings_command.command("show")
@click.argument("call")
@format_option
def show(call: str, form: str) -> None:
    """The recordings of CALL (its id, or how it begins): why, and the file on which node.

    \b
    Example:
      dialplane call recordings show 3f2a91c0
    """
    found = run_calls(lambda connection: recorded.of_call(connection, call))
    if not found:
        raise InputError(f"no recording of a call {call}: see `dialplane call recordings list --removed`")
    lines = []
    for one in found:
        lines += [
            f"call {one['call_id']}  {one['caller'] or '-'} -> {one['called'] or '-'}",
            f"  recorded from {one['began_at']:%Y-%m-%d %H:%M:%S} UTC because of: {one['why']}",
            f"  file      {one['path']} on {one['node']}",
            f"  state     {_state(one)}",
        ]
    document(form, lines, {"recordings": found})


@recordings_command.command("delete")
@click.argument("call")
def delete(call: str) -> None:
    """Have the recordings of CALL (its id, or how it begins) removed by the agents of their nodes.

    \b
    Example:
      dialplane call recordings delete 3f2a91c0
    """
    found = run_calls(lambda connection: recorded.ask_removal(connection, call))
    if not found:
        raise InputError(f"no recording of one call {call} is there: see `dialplane call recordings list`")
    for one in found:
        click.echo(f"{one['node']}: {one['path']}: its agent removes it within seconds, when it runs")
