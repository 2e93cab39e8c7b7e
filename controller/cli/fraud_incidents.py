"""fraud status, incidents, block, unblock: what verdicts brought about, and what a person says instead of a rule."""

from __future__ import annotations

import time
from typing import Any

import click

from controller.cli.common import document, format_option, rows, run_calls, say
from controller.cli.state import account_option

_HERE = (
    "block_destination",
    "cap_calls",
    "outbound_off",
    "end_calls",
    "block_source",
    "unregister",
    "rotate",
    "suspend",
)


_RECEIPT = ("node", "device", "call", "leg", "contact", "block", "message", "to", "text")


@click.command("status")
@format_option
def status_command(form: str) -> None:
    """What is blocked now because of fraud, and whether nodes have done what they had to.

    \b
    Example:
      dialplane fraud status
    """
    from controller.cli.common import database
    from controller.fraud import incidents

    with database() as connection:
        found = incidents.status(connection)
        lines = incidents.listed(connection, None, 100, only_open=True)
    if form == "text":
        for line in _sentences(found):
            click.echo(line)
        if lines:
            rows(form, incidents.Line._fields, lines)
    else:
        document(form, (), found._asdict())


def _sentences(found: Any) -> list[str]:
    said = [
        f"{found.enforced} incidents are open, {found.blocks} blocks of theirs in force;"
        f" {found.by_persons} blocks were set by persons"
    ]
    if found.observed:
        said.append(f"{found.observed} more are of rules that only observe")
    if found.pending:
        said.append(
            f"{found.pending} actions wait for nodes: the controller asks them, or dialplane fraud resume"
        )
    if found.failed:
        said.append(f"{found.failed} actions failed: dialplane fraud incidents NUMBER says why")
    return said


@click.command("incidents")
@click.argument("number", type=click.IntRange(min=1), required=False)
@account_option
@click.option("--open", "only_open", is_flag=True, help="Those that are not over.")
@click.option(
    "--most", "-n", type=click.IntRange(1, 10_000), default=50, show_default=True, help="So many at most."
)
@format_option
def incidents_command(number: int | None, account: str | None, only_open: bool, most: int, form: str) -> None:
    """The newest incidents: of whom, by which rule, what followed. With NUMBER: that one, with each receipt.

    \b
    Examples:
      dialplane fraud incidents --open
      dialplane fraud incidents 17
    """
    from controller.cli.common import database
    from controller.fraud import incidents

    with database() as connection:
        if number is not None:
            found = incidents.one(connection, number)
            document(form, _shown(found), found)
            return
        lines = incidents.listed(connection, account, most, only_open=only_open)
    rows(form, incidents.Line._fields, lines)


def _shown(found: dict[str, Any]) -> list[str]:
    said = [
        f"incident {found['id']}: {found['scope']} {found['subject']}, {found['level']}, {found['mode']}: "
        + found["state"]
        + (f" by {found['ended_by']}" if found["ended_by"] else ""),
        f"  rule {found['rule']} of {found['owner']}: {found['value']:g} where {found['threshold']:g} is too much,"
        f" for {' '.join(found['destinations'])}",
        f"  since {found['at']}, until {found['until']}, by {found['opened_by']}",
    ]
    said += [f"  seen: {one}" for one in found["evidence"]]
    said += [f"  blocked: {one}" for one in found["blocks"]]
    for action in found["actions"]:
        said.append(f"  {action['action']}: {action['state']}")
        for one in action["receipt"]:
            outcome = {True: "ok", False: "no"}.get(one.get("ok"), "unknown")
            told = " ".join(str(one[name]) for name in _RECEIPT if one.get(name) not in (None, ""))
            said.append(f"    {outcome}: {told}")
    return said


@click.command("block")
@click.argument("subject")
@click.option(
    "--to",
    "destinations",
    multiple=True,
    metavar="WHERE",
    help="Prefixes with +, countries such as TN, classes such as premium; several times. Default: everything outside.",
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=click.Choice(_HERE),
    help="What to do; several times. Default: block_destination, of an address block_source.",
)
@click.option(
    "--most",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="With cap_calls: so many calls.",
)
@click.option(
    "--for", "length", default="1d", show_default=True, metavar="TIME", help="How long: 30m, 2h, 7d."
)
@click.option("--why", default="", help="What is kept as evidence.")
@format_option
def block_command(
    subject: str,
    destinations: tuple[str, ...],
    actions: tuple[str, ...],
    most: int,
    length: str,
    why: str,
    form: str,
) -> None:
    """Block a SUBJECT by hand, as a rule would: device:name@domain, user:account/name, group:account/name,
    account:name, reseller:name (each account that it has now) or source:address.

    Blocks hold on every edge at once. Emergency calls always pass, and so does what allow-lists name. For a device that
    was taken over: --action outbound_off --action end_calls --action rotate.

    \b
    Examples:
      dialplane fraud block user:acme/alice --to premium --to +88213 --for 2h
      dialplane fraud block device:desk1@acme.example --action outbound_off --action end_calls --action rotate
      dialplane fraud block source:203.0.113.9 --why "guesses passwords"
    """
    from controller.cli.common import database
    from controller.fraud import incidents, nodes
    from controller.fraud.enforce import act

    scope, _ = incidents.subject(subject)
    for_s = incidents.duration_s(length)
    incidents.destinations(destinations)
    wanted = actions or (("block_source",) if scope == "source" else ("block_destination",))
    with database(autocommit=True) as connection:
        verdict = incidents.by_hand(
            connection, subject, wanted, destinations, now=time.time(), for_s=for_s, most=most, why=why
        )
        number = act(connection, verdict) or 0
    say(f"incident {number}: blocks are published; nodes are asked for the rest")
    run_calls(lambda working: nodes.finish(working, number))
    with database() as connection:
        found = incidents.one(connection, number)
    document(form, _shown(found), found)
    _judge(found)


def _judge(found: dict[str, Any]) -> None:
    from controller.errors import PartlyApplied

    left = [one["action"] for one in found["actions"] if one["state"] in ("failed", "pending")]
    if left:
        raise PartlyApplied(
            f"incident {found['id']}: not done: {', '.join(left)} (the receipts above say why); "
            f"dialplane fraud resume asks nodes again, dialplane fraud unblock {found['id']} lifts it"
        )


@click.command("unblock")
@click.argument("what", required=True)
def unblock_command(what: str) -> None:
    """End an incident, by its number or all of a subject (as in block); its blocks are lifted on every edge at once.

    Calls that were ended, contacts that were removed and secrets that were changed stay so.

    \b
    Examples:
      dialplane fraud unblock 17
      dialplane fraud unblock device:desk1@acme.example
    """
    from controller.cli.common import database
    from controller.fraud import incidents

    with database() as connection:
        found = incidents.lift(connection, what)
        connection.commit()
    for number in found:
        click.echo(f"incident {number} released: its blocks are lifted")


@click.command("resume")
def resume_command() -> None:
    """Have nodes do what open incidents still wait for: end calls, remove contacts. Safe to run again.

    \b
    Example:
      dialplane fraud resume
    """
    from controller.cli.common import database
    from controller.fraud import incidents, nodes

    over = run_calls(nodes.resume)
    with database() as connection:
        found = incidents.status(connection)
    click.echo(f"{over} actions are over, {found.pending} wait, {found.failed} failed")
