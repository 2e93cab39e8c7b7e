"""verify: what nodes run against what was meant, and whether everything agrees about every account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller import mover
from controller.cli.common import PENDING, chosen_url, format_option, rows, say
from controller.errors import DialplaneError, InputError
from controller.revision import store, verify

if TYPE_CHECKING:
    from psycopg import Connection

    from controller.agreement.compare import Finding
    from controller.revision.wait import NodeState

_NODE = ["node", "kind", "revision", "drift", "verified", "detail"]
_FINDING = ["account", "what", "where", "expected", "found", "done"]


@click.command("verify")
@click.option("--deadline", "deadline_s", type=float, default=60, show_default=True, metavar="SECONDS")
@click.option(
    "--names",
    "asked",
    default="200",
    show_default=True,
    metavar="COUNT|all",
    help="Accounts, by chance, whose names every name server is asked for; 0: none.",
)
@click.option(
    "--names-deadline",
    "names_s",
    type=float,
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="No name server is asked for longer; how far that came is said.",
)
@format_option
@click.pass_context
def verify_command(ctx: click.Context, deadline_s: float, asked: str, names_s: float, form: str) -> None:
    """Have every node compare all it runs with what was meant, now, and say what it found and repaired; then say where
    rows, what is published, edges' memory, media nodes and name servers disagree about an account. Accounts on their
    way to another cluster are named, and whether what is published for them is what their move says.

    Ends with 3 when something differed (it is repaired by then, unless the table says otherwise), 1 when a node
    did not answer. In json and tsv disagreements are rows of the one listing, without a revision.

    \b
    Examples:
      dialplane verify
      dialplane verify --names all --names-deadline 600
    """
    from controller.schema.database import connect

    sample = _sample(asked)
    url = chosen_url()
    with connect(url, autocommit=True) as connection:
        found = verify.now(connection, deadline_s=deadline_s)
        newest = store.newest(connection)
        findings = _agreement(connection, url, sample, names_s)
        moving = mover.sentences(connection)
    nodes = [_node(state, newest) for state in found.states]
    if form == "text":
        rows(form, _NODE, nodes)
        if findings:
            click.echo("")
            rows(form, _FINDING, findings)
    else:
        columns = _NODE + _FINDING
        empty = (None,) * len(_NODE)
        listed = [(*one, *(None,) * len(_FINDING)) for one in nodes]
        rows(form, columns, listed + [(*empty, *one) for one in findings])
    for one in moving:
        say(one.sentence)
    if found.silent:
        raise DialplaneError(f"no answer within {deadline_s:g} s from: {', '.join(found.silent)}")
    differs = any(state.drift or not state.holds(newest) for state in found.states)
    differs = differs or any(one.differs for one in moving)
    ctx.exit(PENDING if differs or findings else 0)


def _sample(asked: str) -> int | None:
    if asked == "all":
        return None
    if not asked.isdigit():
        raise InputError(f"--names {asked}: write a number of accounts, or all")
    return int(asked)


def _node(state: NodeState, newest: int) -> tuple[Any, ...]:
    detail = state.drift_detail or ("in sync" if state.holds(newest) else state.sentence(newest))
    return state.node, state.kind, state.revision, state.drift, state.verified_at, detail


def _agreement(connection: Connection[Any], url: str, sample: int | None, names_s: float) -> list[Finding]:
    """What disagrees; which name servers said what goes to stderr."""
    from controller.agreement import look, names
    from controller.agreement import store as agreement

    may = agreement.may_repair(connection)
    seen = look.database(connection, repair=may)
    findings = seen.findings + (look.keys(connection, url, seen.suspicions) if may else look.unnamed(seen))
    if sample != 0:
        suspected = {one.account for one in findings if one.account}
        differing, said = names.look(connection, sample, suspected, limit_s=names_s)
        findings += differing
        for sentence in said:
            say(sentence)
    return findings
