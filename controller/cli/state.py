"""What a command that sets operational rows says when it is done: on which nodes it is live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from controller.cli.common import database, say
from controller.cli.common import time as moment
from controller.errors import InputError, PartlyApplied
from controller.revision import store, wait

if TYPE_CHECKING:
    from psycopg import Connection

until_option = click.option(
    "--until", metavar="TIME", help="Ends by itself then: ISO 8601, UTC if it says no zone. Default: never."
)
wait_option = click.option(
    "--wait", "wait_s", type=float, default=10, show_default=True, metavar="SECONDS",
    help="How long to wait until the nodes have it; 0: do not wait.",
)  # fmt: skip
account_option = click.option("--account", help="Only this account's.")
NAMED = "NAME@ACCOUNT, or NAME alone where one account has it."


def until(text: str | None) -> datetime | None:
    """The end that was asked for. InputError: it is over already."""
    end = moment("--until", text)
    if end is not None and end <= datetime.now(UTC):
        raise InputError(f"--until {text}: that is over already")
    return end


def live(wait_s: float, change: Callable[[Connection[Any]], tuple[str, str]], *, edges: bool = False) -> None:
    """Make a change, commit it, and say where it is live: `change` gives a sentence and the cluster that knows it.

    PartlyApplied names the nodes that do not have it yet; it stands all the same.
    """
    with database() as connection:
        before = store.newest(connection)
        sentence, cluster = change(connection)
        connection.commit()
        number = store.newest(connection)
        if number == before:
            say("no node has to change anything")
            click.echo(sentence)
            return
        connection.commit()
        connection.autocommit = True

        def concerned(one: wait.NodeState) -> bool:
            return one.group == cluster or (edges and one.kind == "edge")

        found = wait.until_live(connection, number, deadline_s=wait_s, touches=concerned)
        states = [one for one in found if concerned(one)]
    held = [one.node for one in states if one.holds(number)]
    where = f"live on {', '.join(held)}" if held else "no node has it yet"
    click.echo(f"{sentence}: {where} (revision {number})")
    missing = [f"{one.node}: {one.sentence(number)}" for one in states if not one.holds(number)]
    if missing and wait_s > 0:
        raise PartlyApplied("committed, but not live everywhere:\n  " + "\n  ".join(missing))
