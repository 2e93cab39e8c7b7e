"""node list, show, drain, resume; rpc."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from controller.calls import operator
from controller.calls import store as calls
from controller.cli.common import Group, chosen_url, database, document, format_option, plain, rows, say
from controller.errors import InputError, PartlyApplied
from controller.revision import store, wait
from controller.schema import nodes
from controller.wire.jsonrpc import JsonRpc

# How long a drain waits for edges to hear of it; they do in milliseconds.
_EDGES_S = 10.0


@click.group("node", cls=Group)
def node_command() -> None:
    """Servers: what each holds, and taking one out of service."""


@node_command.command("list")
@format_option
def list_(form: str) -> None:
    """Every node: state, revision live, drift, when its agent was heard of last, and what is true of it now.

    \b
    Example:
      dialplane node list
    """
    with database() as connection:
        newest = store.newest(connection)
        found = wait.states(connection)
    rows(
        form,
        [
            "node",
            "kind",
            "group",
            "state",
            "calls",
            "load_pct",
            "revision",
            "drift",
            "repaired",
            "heard_at",
            "is",
        ],
        (
            (
                one.node,
                one.kind,
                one.group,
                one.state,
                one.calls,
                one.load_pct,
                one.revision,
                one.drift,
                one.repaired,
                one.heard_at,
                one.sentence(newest),
            )
            for one in found
        ),
    )


@node_command.command("show")
@click.argument("name")
@format_option
def show(name: str, form: str) -> None:
    """One node, everything its agent reported.

    \b
    Example:
      dialplane node show media1
    """
    with database() as connection:
        newest = store.newest(connection)
        found = {one.node: one for one in wait.states(connection)}
        registered = nodes.registered(connection, name)
    if name not in found:
        raise InputError(f"there is no node {name}; there are: {', '.join(found) or 'none'} (table nodes)")
    data: dict[str, Any] = {
        **found[name]._asdict(),
        "is": found[name].sentence(newest),
        "newest_revision": newest,
    }
    if found[name].kind == "edge":
        data["registered_devices"] = registered
    document(form, (f"{label.replace('_', ' '):<18} {plain(value)}" for label, value in data.items()), data)


@node_command.command("drain")
@click.argument("name")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Until it carries no call, at most so long.",
)
def drain(name: str, wait_s: float | None) -> None:
    """Send no new calls to a media node; the present ones go on. Live at once, no apply.

    With --wait it says when the last call is over and the server may be stopped; calls that are left when the time is
    over go on (exit code 5).

    \b
    Examples:
      dialplane node drain media1
      dialplane node drain media1 --wait 3600
    """
    number = _set_state(name, "draining")
    if wait_s is None:
        return
    shown: list[int | None] = []

    def progress(one: wait.NodeState) -> None:
        if not shown or shown[-1] != one.calls:
            shown.append(one.calls)
            say(f"{name}: {calls_left(one.calls)}")

    with database() as connection:
        connection.autocommit = True
        wait.until_live(
            connection, number, deadline_s=min(wait_s, _EDGES_S), touches=lambda one: one.kind == "edge"
        )
        left = wait.until_empty(connection, name, deadline_s=wait_s, progress=progress)
    if left != 0:
        raise PartlyApplied(
            f"{name} is draining, and after {wait_s:g} s {calls_left(left)}: stopping it now ends them. "
            "Run this again to go on waiting"
        )
    click.echo(f"{name} carries no call and gets none: it is safe to stop it")


def calls_left(calls: int | None) -> str:
    """How many, in words."""
    if calls is None:
        return "its agent does not say how many calls it carries"
    return {0: "no call is left", 1: "1 call is up"}.get(calls, f"{calls} calls are up")


@node_command.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Send calls to a node again. Live at once, no apply.

    \b
    Example:
      dialplane node resume media1
    """
    _set_state(name, "enabled")


def _set_state(name: str, state: str) -> int:
    """The newest revision then."""
    with database() as connection:
        before = nodes.set_state(connection, name, state)
        connection.commit()
        number = store.newest(connection)
    if before == state:
        say(f"{name} was {state} already: nothing to do")
    else:
        click.echo(f"{name} is {state} (was {before}), revision {number}")
    return number


@click.command("rpc", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("method")
@click.argument("parameters", nargs=-1)
def rpc_command(node: str, method: str, parameters: tuple[str, ...]) -> None:
    """Call a Kamailio RPC method on an edge and print the answer as JSON. Whole numbers are written i:5.

    NODE is the name of an edge, whose agent makes the call; or, on the edge itself, the path of its socket.

    \b
    Examples:
      dialplane rpc edge1 htable.get number +4930555010
      dialplane rpc /run/dialplane/kamailio.sock core.uptime
    """
    typed = [int(one[2:]) if re.fullmatch(r"i:-?\d+", one) else one for one in parameters]
    if "/" in node:
        with closing(JsonRpc(Path(node))) as client:
            answer = client.call(method, *typed)
    else:
        answer = asyncio.run(_by_agent(chosen_url(), node, method, typed))
    click.echo(json.dumps(answer, indent=2))


async def _by_agent(url: str, node: str, method: str, parameters: list[str | int]) -> Any:
    async with calls.connect(url) as connection:
        return await operator.rpc(connection, node, method, parameters)
