"""route explain: every step of a decision, no call placed."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from controller.cli.common import Group, database, document, format_option
from controller.errors import InputError
from controller.policy import explain
from controller.revision.entries import Published


@click.group("route", cls=Group)
def route_command() -> None:
    """Where a call goes, and why."""


@route_command.command("explain")
@click.argument("from_")
@click.argument("to")
@click.option("--trunk", help="The call comes in by this trunk; FROM is then the caller's number.")
@click.option(
    "--at",
    metavar="TIME",
    help="As it was (history) or will be (blocks that expire) at this UTC time, ISO 8601.",
)
@format_option
def explain_command(from_: str, to: str, trunk: str | None, at: str | None, form: str) -> None:
    """Say what happens to a call FROM a device TO what it dials, each step with its reason. No call is placed.

    Answers from the published entries, the same that edges and media nodes act on.

    \b
    Examples:
      dialplane route explain desk1@acme.example 102
      dialplane route explain +4915112345 +4930555010 --trunk carrier-a
      dialplane route explain desk1@acme.example 102 --at 2026-05-01T08:00:00
    """
    with database() as connection:
        steps = explain.explain(explain.call_from(from_, to, trunk=trunk), Published(connection, _time(at)))
    document(form, explain.text(steps), {"steps": explain.as_json(steps)})


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--at {text}: not a time; write 2026-05-01T08:00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
