"""queue list, show, watch, add, remove, pause, unpause, events, report: callers who wait, and members."""

from __future__ import annotations

import asyncio
import time as clock
from collections.abc import Iterator
from datetime import date
from typing import Any

import click

from controller.cli import state
from controller.cli.common import Group, chosen_url, database, document, format_option, rows, time
from controller.errors import InputError
from controller.queues import looks
from controller.queues.engine import Decision
from controller.queues.model import Member, Setup
from controller.queues.store import Store
from controller.schema import states


@click.group("queue", cls=Group)
def queue_command() -> None:
    """Queues: who waits, who is called, members that log in and out and pause, reports."""


@queue_command.command("list")
@state.account_option
@format_option
def list_(account: str | None, form: str) -> None:
    """Every queue at the moment: its members, who waits and how long, who rings and talks.

    \b
    Example:
      dialplane queue list --account acme
    """
    with database() as connection:
        rows(form, looks.Glance._fields, looks.glances(connection, account))


@queue_command.command("show")
@click.argument("queue")
@format_option
def show(queue: str, form: str) -> None:
    """A queue as it is published: its callers in order, its members, and who would ring now and who not, and why.

    QUEUE is NAME@ACCOUNT, or NAME alone where one account has it.

    \b
    Example:
      dialplane queue show support@acme
    """
    with database() as connection:
        found = states.find(connection, "queue", queue)
        setup = looks.published(connection, found.account)
        lines = looks.lines(connection, found.account, found.name)
    if found.name not in setup.queues:
        raise InputError(f"queue {found.name} of {found.account} is not published yet: dialplane apply")
    decided, positions, members = asyncio.run(_look(chosen_url(), setup, found.name))
    held = setup.queues[found.name]
    rings = {member: one for one in decided.offers for member in one.members}
    why = {one.caller: one.why for one in decided.offers} | dict(decided.waits)
    data: dict[str, Any] = {
        "account": found.account,
        "queue": found.name,
        "strategy": held.strategy,
        "weight": held.weight,
        "callers": [
            {"position": positions.get(one.id), **one._asdict(), "why": why.get(one.id)} for one in lines
        ],
        "members": [
            {
                "member": place.user,
                "penalty": place.penalty,
                "calls_today": members[place.user].calls_today,
                "is": decided.idle_not.get(place.user)
                or (
                    f"would ring for caller {rings[place.user].caller}" if place.user in rings else "is free"
                ),
            }
            for place in held.members
        ],
    }
    document(form, _shown(data), data)


async def _look(url: str, setup: Setup, name: str) -> tuple[Decision, dict[int, int], dict[str, Member]]:
    store = await Store.connect(url)
    try:
        return await store.look(setup, name)
    finally:
        await store.close()


def _shown(data: dict[str, Any]) -> Iterator[str]:
    yield f"queue {data['queue']} of {data['account']}: {data['strategy']}, weight {data['weight']}"
    for one in data["callers"]:
        place = f"{one['position']}." if one["position"] else "-"
        who = f" with {one['member']}" if one["member"] else ""
        why = f": {one['why']}" if one["why"] else ""
        where = f"on {one['node']}, {one['wait_s']} s"
        yield f"  {place:<4} caller {one['id']} {one['caller']} {one['state']}{who} {where}{why}"
    if not data["callers"]:
        yield "  nobody waits"
    for one in data["members"]:
        penalty = f", penalty {one['penalty']}" if one["penalty"] else ""
        yield f"  {one['member']} {one['is']} ({one['calls_today']} calls today{penalty})"


@queue_command.command("watch")
@state.account_option
@click.option(
    "--every", "every_s", type=click.FloatRange(min=0.2), default=2, show_default=True, metavar="SECONDS"
)
@click.option("--times", type=click.IntRange(min=1), help="Stop after so many looks. Default: until Ctrl-C.")
@format_option
def watch(account: str | None, every_s: float, times: int | None, form: str) -> None:
    """The list of `queue list`, again and again.

    \b
    Example:
      dialplane queue watch --account acme --every 5
    """
    looked = 0
    with database(autocommit=True) as connection:
        while True:
            if form == "text":
                click.clear()
            rows(form, looks.Glance._fields, looks.glances(connection, account))
            looked += 1
            if looked == times:
                return
            clock.sleep(every_s)


@queue_command.command("add")
@click.argument("user")
def add(user: str) -> None:
    """Log a member in: all its queues call it again. Live at once, no apply.

    USER is NAME@ACCOUNT, or NAME alone where one account has it. Who is a member of which queue is table
    queue_members.

    \b
    Example:
      dialplane queue add alice@acme
    """
    _say(user, "is logged in to", None, logged_in=True)


@queue_command.command("remove")
@click.argument("user")
@state.until_option
def remove(user: str, until: str | None) -> None:
    """Log a member out: no queue calls it. A call that rings or is up goes on. Live at once, no apply.

    \b
    Example:
      dialplane queue remove alice@acme --until 2026-12-01T08:00:00+01:00
    """
    _say(user, "is logged out of", until, logged_in=False)


@queue_command.command("pause")
@click.argument("user")
@click.option("--reason", help="Why, for reports.")
@state.until_option
def pause(user: str, reason: str | None, until: str | None) -> None:
    """Let no queue call a member for the time being. Live at once, no apply.

    \b
    Example:
      dialplane queue pause alice@acme --reason lunch --until 2026-11-20T13:00:00+01:00
    """
    _say(user, "pauses in", until, paused=True, reason=reason)


@queue_command.command("unpause")
@click.argument("user")
def unpause(user: str) -> None:
    """Let queues call a member again. Live at once, no apply.

    \b
    Example:
      dialplane queue unpause alice@acme
    """
    _say(user, "pauses no more in", None, paused=False)


def _say(user: str, what: str, until: str | None, **said: Any) -> None:
    end = state.until(until)
    with database() as connection:
        found = states.find(connection, "user", user)
        queues = looks.say(connection, found.id, end, **said)
        connection.commit()
    click.echo(
        f"{found.name} of {found.account} {what} {', '.join(queues)}{f' until {end.isoformat()}' if end else ''}"
    )


@queue_command.command("events")
@click.argument("queue")
@click.option("--since", metavar="TIME", help="From then on: ISO 8601, UTC if it says no zone.")
@click.option(
    "--last", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest."
)
@format_option
def events(queue: str, since: str | None, last: int, form: str) -> None:
    """What happened in a queue: who came, rang, answered, gave up, and what members said.

    \b
    Example:
      dialplane queue events support@acme --last 20
    """
    with database() as connection:
        found = states.find(connection, "queue", queue)
        happened = looks.events(connection, found.account, found.name, time("--since", since), last)
    rows(form, looks.EVENTS, happened)


@queue_command.command("report")
@click.argument("queue")
@click.option("--from", "first", metavar="DAY", help="First day, such as 2026-11-01. Default: since ever.")
@click.option("--to", "last", metavar="DAY", help="Last day. Default: today.")
@format_option
def report(queue: str, first: str | None, last: str | None, form: str) -> None:
    """Callers of a queue for each day (UTC): how many were answered, in time, gave up; waiting and talking in seconds.

    \b
    Example:
      dialplane queue report support@acme --from 2026-11-01 --format tsv
    """
    with database() as connection:
        found = states.find(connection, "queue", queue)
        days = looks.report(connection, found.account, found.name, _day("--from", first), _day("--to", last))
    rows(form, looks.REPORT, days)


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: not a day; write 2026-11-01") from None
