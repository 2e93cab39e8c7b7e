"""route explain: every step of a decision, no call placed."""

from __future__ import annotations

import click

from controller.cli.common import Group, database, document, format_option, time
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
    help="As it was (history) or will be (schedules, blocks that expire) then: ISO 8601, UTC if it says no zone.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    help="A SIP header of the call, for rules that ask.",
)
@format_option
def explain_command(
    from_: str, to: str, trunk: str | None, at: str | None, headers: tuple[str, ...], form: str
) -> None:
    """Say what happens to a call FROM a device TO what it dials, each step with its reason. No call is placed.

    Answers from the published entries, the same that edges and media nodes act on, by the functions that decide live
    calls. Groups, policies, forwardings and menus are followed; the last steps say what happens while no Python runs.
    Not kept, so not known of the past: who was registered, and whose turn it was in a group.

    \b
    Examples:
      dialplane route explain desk1@acme.example 102
      dialplane route explain +4915112345 +4930555010 --trunk carrier-a
      dialplane route explain desk1@acme.example 102 --at 2026-05-01T08:00:00
      dialplane route explain anonymous +4930555013 --trunk carrier-a --at 2026-12-24T23:00:00+01:00
    """
    call = explain.call_from(from_, to, trunk=trunk, headers=dict(map(_header, headers)))
    with database() as connection:
        steps = explain.explain(call, Published(connection, time("--at", at)))
    document(form, explain.text(steps), {"steps": explain.as_json(steps)})


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--header {text}: write NAME=VALUE, as in X-Customer=gold")
    return name, value
