"""message serve, list, show, send: messages, what became of each, and the process that delivers them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from controller.cli.common import (
    Group,
    chosen_url,
    database,
    document,
    format_option,
    log_to_stderr,
    rows,
    visible,
)
from controller.errors import InputError


@click.group("message", cls=Group)
def message_command() -> None:
    """Messages: who wrote to whom, what became of it, and the process that delivers what no phone took at once."""


@message_command.command("serve")
@click.option(
    "--carriers",
    type=click.Path(path_type=Path),
    envvar="DIALPLANE_CARRIERS",
    help="File that says who carries messages to and from numbers outside (see the features page). Default: nobody.",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    envvar="DIALPLANE_CARRIERS_LISTEN",
    help="Where carriers bring messages, over HTTP; put a TLS proxy of yours before it. Default: nowhere.",
)
def serve(carriers: Path | None, listen: str | None) -> None:
    """Route and deliver messages until stopped. Several may run, wherever PostgreSQL is reached: no delivery is made
    by two.

    \b
    Examples:
      DIALPLANE_DATABASE=postgresql://controller@db/dialplane dialplane message serve
      dialplane message serve --carriers /etc/dialplane/carriers.ini --listen 127.0.0.1:4580
    """
    from controller.messages import carriers as room
    from controller.messages.serve import run

    address, _, port = (listen or "").rpartition(":")
    if listen and not (address and port.isdecimal()):
        raise InputError(f"--listen {listen}: write ADDRESS:PORT, such as 127.0.0.1:4580")
    known = room.read(carriers) if carriers else ()
    if listen and not any(one.secret for one in known):
        raise InputError(
            "--listen: no carrier has a secret_file, so nobody could bring a message (--carriers)"
        )
    log_to_stderr()
    asyncio.run(run(chosen_url(), known, (address, int(port)) if listen else None))


@message_command.command("list")
@click.option("--account", help="Of this account only.")
@click.option("--waiting", is_flag=True, help="Those that somebody has still to get.")
@click.option(
    "--number", "-n", type=click.IntRange(1, 10_000), default=50, show_default=True, help="So many at most."
)
@format_option
def list_(account: str | None, waiting: bool, number: int, form: str) -> None:
    """The newest messages and what became of them.

    \b
    Example:
      dialplane message list --account acme --waiting
    """
    from controller.messages import looks

    with database() as connection:
        found = looks.newest(connection, account, waiting=waiting, most=number)
    rows(form, looks.Line._fields, found)


@message_command.command("show")
@click.argument("message")
@format_option
def show(message: str, form: str) -> None:
    """One message and each of its deliveries. MESSAGE is an id, or its beginning. What it says is kept only while
    somebody waits for it.

    \b
    Example:
      dialplane message show 0dd1f29f
    """
    from controller.messages import looks

    with database() as connection:
        found = looks.one(connection, message)
    document(form, _shown(found), found)


def _shown(found: dict[str, Any]) -> list[str]:
    said = [
        f"message {found['message']} of {found['account']}: {found['state']}"
        + (f" ({found['reason']})" if found["reason"] else ""),
        f"  from {found['sender']} to {found['called']}"
        + (f", that is {found['lead'].replace(':', ' ', 1)}" if found["lead"] else "")
        + (f", shown as {found['shown']}" if found["shown"] else ""),
        f"  {found['way']}"
        + (f" at {found['edge']}" if found["edge"] else "")
        + f" {found['at']}, {found['content_type'] or 'relayed'}, {found['size']} bytes"
        + (f", kept because: {found['why']}" if found["why"] else ""),
    ]
    for one in found["deliveries"]:
        told = f" {one['status']} {one['reason']}".rstrip() if one["status"] or one["reason"] else ""
        member = f" ({one['member']})" if one["member"] else ""
        copy = "copy to" if one["purpose"] == "copy" else "to"
        said.append(f"  {copy} {one['address']}{member}: {one['state']}, {one['tries']} tries{told}")
    if found["text"] is not None:
        said += ["", *(visible(line) for line in found["text"].splitlines())]
    return said


@message_command.command("send")
@click.option("--account", required=True, help="Account in which it is sent.")
@click.option(
    "--from", "sender", required=True, metavar="DEVICE", help="Who sends it: a device, name@domain."
)
@click.option("--to", "called", required=True, help="Extension, number, user, group or device.")
@click.argument("text")
def send(account: str, sender: str, called: str, text: str) -> None:
    """Send a text; prints its id. It is delivered by `message serve`, as one of a phone that nobody took at once.

    \b
    Example:
      dialplane message send --account acme --from lobby@acme.example --to 101 "Your parcel is here"
    """
    from controller.messages import looks

    if not text.strip():
        raise InputError("a message says something: give a text")
    with database() as connection:
        message = looks.send(connection, account, sender, called, text)
        connection.commit()
    click.echo(message)
