"""provision token, list, serve: phones fetch their configuration and password by themselves."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.common import Group, chosen_url, database, format_option, log_to_stderr, rows, say
from controller.cli.state import account_option
from controller.errors import InputError


@click.group("provision", cls=Group)
def provision_command() -> None:
    """Phones that fetch their configuration, password and all, with a token of their own."""


@provision_command.command("token")
@click.argument("device")
def token_command(device: str) -> None:
    """Make a token for DEVICE (name@domain) and print it, once: only its digest is kept. An older one is void.

    Its password stays what it is until the phone fetches; from then on it is one that follows from the token.

    \b
    Example:
      dialplane provision token desk1@acme.example
    """
    from controller.provisioning import store

    with database() as connection:
        token = store.new_token(connection, device)
        connection.commit()
    click.echo(token)
    say(
        "put it into the phone with the address of `dialplane provision serve`, as the password of its provisioning"
    )


@provision_command.command("list")
@account_option
@format_option
def list_command(account: str | None, form: str) -> None:
    """Devices that have a token: the generation of their password, and when they fetched one last.

    \b
    Example:
      dialplane provision list --account acme
    """
    from controller.provisioning import store

    with database() as connection:
        found = store.listed(connection, account)
    rows(form, store.Line._fields, found)


@provision_command.command("serve")
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    envvar="DIALPLANE_PROVISION_LISTEN",
    default="127.0.0.1:4581",
    show_default=True,
    help="Where phones fetch, over HTTP; over HTTPS with --certificate.",
)
@click.option(
    "--certificate", type=click.Path(path_type=Path), help="PEM file with the certificate and its chain."
)
@click.option(
    "--key", type=click.Path(path_type=Path), help="PEM file with its key. Default: in the same file."
)
def serve_command(listen: str, certificate: Path | None, key: Path | None) -> None:
    """Hand phones their configuration until stopped: GET /name@domain, with the device's token as Bearer or as the
    password of Basic. Beyond this machine it belongs behind TLS. What sends one-time codes tells here which were used.

    \b
    Examples:
      DIALPLANE_DATABASE=postgresql://controller@db/dialplane dialplane provision serve
      dialplane provision serve --listen 0.0.0.0:443 --certificate /etc/dialplane/provision.pem
    """
    from controller.provisioning import http, store

    address, _, port = listen.rpartition(":")
    if not (address and port.isdecimal()):
        raise InputError(f"--listen {listen}: write ADDRESS:PORT, such as 127.0.0.1:4581")
    log_to_stderr()
    try:
        door = http.server(
            (address, int(port)), store.fetcher(chosen_url()), store.teller(chosen_url()), certificate, key
        )
    except OSError as error:
        raise InputError(f"--listen {listen}: {error}") from None
    try:
        door.serve_forever()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        door.server_close()
