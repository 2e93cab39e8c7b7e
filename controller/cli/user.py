"""user do-not-disturb: what a user says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller.cli import state
from controller.cli.common import Group
from controller.errors import InputError
from controller.schema import states

if TYPE_CHECKING:
    from psycopg import Connection


@click.group("user", cls=Group)
def user_command() -> None:
    """Users: do not disturb."""


@user_command.command("do-not-disturb")
@click.argument("user")
@click.argument("is_", metavar="on|off", type=click.Choice(["on", "off"]))
@state.until_option
@state.wait_option
def do_not_disturb(user: str, is_: str, until: str | None, wait_s: float) -> None:
    """No device of USER rings: callers hear busy, or what comes then. Live at once, no apply.

    USER is NAME@ACCOUNT, or NAME alone where one account has it.

    \b
    Examples:
      dialplane user do-not-disturb alice@acme on --until 2026-05-01T14:00:00+02:00
      dialplane user do-not-disturb alice@acme off
    """
    end = state.until(until)
    if end is not None and is_ == "off":
        raise InputError("--until: off has no end; it goes with on")

    def change(connection: Connection[Any]) -> tuple[str, str]:
        found = states.find(connection, "user", user)
        states.disturb_not(connection, found, is_ == "on", end)
        does = "does not want to be disturbed" if is_ == "on" else "may be disturbed"
        return f"{found.name} of {found.account} {does}", found.cluster

    state.live(wait_s, change, edges=True)
