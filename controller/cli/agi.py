"""agi serve, agi try: decisions for calls on a media node."""

from __future__ import annotations

import asyncio
import uuid

import click

from controller.cli.common import Group, document, format_option, log_to_stderr

_port_option = click.option(
    "--port",
    type=int,
    default=4573,
    show_default=True,
    envvar="DIALPLANE_AGI_PORT",
    help="TCP port on 127.0.0.1.",
)


@click.group("agi", cls=Group)
def agi_command() -> None:
    """The process beside a media node that decides about calls. Configured as the agent beside it."""


@agi_command.command("serve")
@_port_option
def serve(port: int) -> None:
    """Answer the calls of this node until stopped; those under way are answered first.

    Reads the agent's state file. Without PostgreSQL, turns of groups are this process's own.

    \b
    Example:
      DIALPLANE_NODE=media1 DIALPLANE_DATABASE=postgresql://agent@db/dialplane dialplane agi serve
    """
    from controller.agent.settings import from_environment
    from controller.agi import run

    log_to_stderr()
    asyncio.run(run(from_environment(), port))


@agi_command.command("try")
@click.argument("kind", type=click.Choice(["group", "policy", "user"]))
@click.argument("name")
@click.option("--account", required=True, help="Whose group, policy or user it is.")
@click.option("--caller", default="", help="Number of the caller.")
@click.option("--user", default="", help="User who calls, from inside.")
@click.option("--device", default="", help="Device that calls, as name@domain.")
@click.option("--trunk", default="", help="Trunk the call came from.")
@click.option("--called", default="", help="What was dialled.")
@click.option("--language", default="", help="Language of the caller.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of the call.")
@_port_option
@format_option
@click.pass_context
def try_(
    ctx: click.Context,
    kind: str,
    name: str,
    account: str,
    caller: str,
    user: str,
    device: str,
    trunk: str,
    called: str,
    language: str,
    headers: tuple[str, ...],
    port: int,
    form: str,
) -> None:
    """Ask this node's AGI server for one decision, as Asterisk does, and print it.

    A group's turn moves on as with a call. Ends with 1 when nothing is decided.

    \b
    Example:
      dialplane agi try group sales --account acme --caller +4930123456 --trunk carrier-a
    """
    from controller.wire import agi_caller

    given = {header.lower(): value for header, _, value in (one.partition("=") for one in headers)}
    arguments = (kind, name, account, str(uuid.uuid4()), caller, user, device, trunk, called, language, "0")
    answer = asyncio.run(
        agi_caller.ask(
            "127.0.0.1", port, "decide", arguments, evaluate=lambda asked: given.get(_header(asked), "")
        )
    ).variables
    program, reasons = _numbered(answer, "DP_STEP"), _numbered(answer, "DP_WHY")
    text = [f"  {reason}" for reason in reasons] + [
        f"{number}. {line}" for number, line in enumerate(program, 1)
    ]
    document(form, text, {"program": program, "reasons": reasons})
    ctx.exit(0 if program else 1)


def _header(expression: str) -> str:
    """The name in `${PJSIP_HEADER(read,name)}`, in lower case."""
    return expression.rpartition(",")[2].removesuffix(")}").lower()


def _numbered(variables: dict[str, str], name: str) -> list[str]:
    """NAME_1 to NAME_n, n as NAMES says."""
    return [variables[f"{name}_{number}"] for number in range(1, int(variables.get(f"{name}S", "0")) + 1)]
