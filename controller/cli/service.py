"""agent run, agent prepare, controller run, completion: what a unit file or a container starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from controller import install
from controller.cli.common import Group, chosen_url, log_to_stderr


@click.group("agent", cls=Group)
def agent_command() -> None:
    """The process beside a server, the only one that changes it. Configured by environment (see the guide)."""


agent_command.add_command(install.main, "install")


@agent_command.command("prepare")
def prepare() -> None:
    """Make the node's local files before its server first starts. Needs no database; fills from one if it answers.

    \b
    Example:
      DIALPLANE_NODE=edge1 dialplane agent prepare
    """
    from controller.agent import prepare as run
    from controller.agent.settings import from_environment

    log_to_stderr()
    click.echo(run(from_environment()))


@agent_command.command("run")
def agent_run() -> None:
    """Keep this node at the newest revision until stopped.

    \b
    Example:
      DIALPLANE_NODE=edge1 DIALPLANE_DATABASE=postgresql://agent@db/dialplane dialplane agent run
    """
    from controller.agent import run
    from controller.agent.settings import from_environment

    log_to_stderr()
    asyncio.run(run(from_environment()))


@agent_command.command("names")
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    default=Path("/run/pdns/pdns.controlsocket"),
    show_default=True,
    help="Control socket of the name server.",
)
def agent_names(control: Path) -> None:
    """Beside a name server that keeps answers (`agent install names --purged`): take them back when rows or live
    conditions change, until stopped. On a read replica too.

    \b
    Example:
      dialplane --database postgresql://dns@db/dialplane agent names
    """
    from controller.dns import purge

    log_to_stderr()
    purge.run(chosen_url(), control)


@click.group("controller", cls=Group)
def controller_command() -> None:
    """The resident controller: releases expired blocks, and publishes safe plans by itself when told to."""


@controller_command.command("run")
@click.option(
    "--auto", is_flag=True, envvar="DIALPLANE_AUTO", help="Publish safe plans as soon as rows change."
)
def controller_run(auto: bool) -> None:
    """Run until stopped. Several may run: one is active, the others stand by.

    \b
    Example:
      dialplane controller run --auto
    """
    from controller import reconciler

    log_to_stderr()
    reconciler.run(chosen_url(), auto=auto)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      dialplane completion bash > /etc/bash_completion.d/dialplane
    """
    from click.shell_completion import get_completion_class

    from controller.cli import main

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(main, {}, "dialplane", "_DIALPLANE_COMPLETE").source())
