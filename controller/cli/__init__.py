"""The command line. Each command parses, calls a room, prints; the rooms know nothing of it."""

from __future__ import annotations

import importlib
from typing import Any

import click

from controller.cli.common import EXIT_CODES, Group

# Command -> module that has it. A module is imported when its command runs: start-up stays fast.
_COMMANDS = {
    "plan": "change",
    "apply": "change",
    "rollback": "change",
    "history": "change",
    "show": "change",
    "verify": "verify",
    "route": "route",
    "policy": "policy",
    "group": "group",
    "queue": "queue",
    "schedule": "schedule",
    "user": "user",
    "account": "account",
    "call": "call",
    "message": "message",
    "node": "node",
    "dns": "dns",
    "import": "rows",
    "db": "rows",
    "doctor": "doctor",
    "rpc": "node",
    "fraud": "fraud",
    "provision": "provision",
    "simulate": "simulate",
    "try": "trial",
    "agent": "service",
    "agi": "agi",
    "controller": "service",
    "completion": "service",
}


class _Lazy(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"controller.cli.{_COMMANDS[name]}")
        command: Any = getattr(module, f"{name.replace('-', '_')}_command")
        return command  # type: ignore[no-any-return]


@click.group(
    cls=_Lazy,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--database",
    metavar="URL",
    help="PostgreSQL, as a libpq URL. Default: DIALPLANE_DATABASE, else an embedded one.",
)
@click.version_option(package_name="dialplane", prog_name="dialplane")
def main(database: str | None) -> None:
    """Control plane of a hosted telephony service on Kamailio and Asterisk.

    Rows in PostgreSQL say what should be; `plan` shows what that changes, `apply` makes it live on the running
    servers, `verify` proves it.
    """
