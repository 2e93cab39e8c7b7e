"""schedule list, show, override, clear: when something is open, and opening or closing it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from controller.cli import state
from controller.cli.common import Group, database, document, format_option, rows, time
from controller.policy import model
from controller.policy import schedule as policy
from controller.revision.entries import Published
from controller.schema import states

if TYPE_CHECKING:
    from psycopg import Connection

_NOT_PUBLISHED = "not published: nothing of the account is decided by it yet"


@click.group("schedule", cls=Group)
def schedule_command() -> None:
    """Schedules: open or closed, why, and until when."""


@schedule_command.command("list")
@state.account_option
@format_option
def list_(account: str | None, form: str) -> None:
    """Every schedule: whether it is open now, and why.

    \b
    Example:
      dialplane schedule list --account acme
    """
    with database() as connection:
        published = Published(connection)
        found = [(one, _now(published, one)) for one in states.schedules(connection, account)]
    rows(
        form,
        ["account", "schedule", "zone", "is", "why"],
        ((one.account, one.name, one.time_zone, is_, why) for one, (is_, why) in found),
    )


def _now(published: Published, one: states.ScheduleRow) -> tuple[str | None, str]:
    account = published.snapshot(one.cluster, one.account)
    held = account.schedules.get(one.name)
    if held is None:
        return None, _NOT_PUBLISHED
    found = policy.state(held, account.live.overrides.get(one.name), published.now)
    return "open" if found.open else "closed", found.why


@schedule_command.command("show")
@click.argument("schedule")
@click.option("--at", metavar="TIME", help="As it was or will be then: ISO 8601, UTC if it says no zone.")
@format_option
def show(schedule: str, at: str | None, form: str) -> None:
    """A schedule as it is published: open or closed, its weekly times, its special days, what was set by hand.

    SCHEDULE is NAME@ACCOUNT, or NAME alone where one account has it.

    \b
    Examples:
      dialplane schedule show office@acme
      dialplane schedule show office --at 2026-12-25T10:00:00+01:00
    """
    with database() as connection:
        found = states.find(connection, "schedule", schedule)
        row = next(one for one in states.schedules(connection, found.account) if one.name == found.name)
        published = Published(connection, time("--at", at))
        held = published.snapshot(found.cluster, found.account).schedules.get(found.name)
        is_, why = _now(published, row)
    data: dict[str, Any] = {
        "account": found.account,
        "schedule": found.name,
        "zone": row.time_zone,
        "at": published.now,
        "is": is_,
        "why": why,
        "times": [_times(one) for one in held.times] if held else [],
        "days": [_day(one) for one in held.days] if held else [],
        "override": None
        if row.override is None
        else {"open": row.override, "until": row.until, "reason": row.reason},
    }
    document(form, _shown(data), data)


def _times(one: model.Times) -> str:
    dates = (
        f"{f' from {one.from_date}' if one.from_date else ''}{f' to {one.to_date}' if one.to_date else ''}"
    )
    return f"{' '.join(one.days)} {_clock(one.start)} to {_clock(one.end)}{dates}"


def _day(one: model.Day) -> str:
    times = "" if one.start is None or one.end is None else f" from {_clock(one.start)} to {_clock(one.end)}"
    year = f"every {one.day:%m-%d}" if one.yearly else f"{one.day}"
    return f"{year} {'open' if one.open else 'closed'}{times}{f' ({one.name})' if one.name else ''}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _shown(data: dict[str, Any]) -> Iterator[str]:
    yield f"schedule {data['schedule']} of {data['account']}, clocks of {data['zone']}"
    yield f"{data['is'] or 'not published'} at {data['at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC: {data['why']}"
    yield from (f"  {one}" for one in data["times"])
    yield from (f"  {one}" for one in data["days"])
    if data["override"]:
        by_hand = data["override"]
        end = f" until {by_hand['until'].astimezone(UTC):%Y-%m-%d %H:%M} UTC" if by_hand["until"] else ""
        why = f": {by_hand['reason']}" if by_hand["reason"] else ""
        yield f"  now {'open' if by_hand['open'] else 'closed'} by hand{end}{why}"


@schedule_command.command("override")
@click.argument("schedule")
@click.argument("is_", metavar="open|closed", type=click.Choice(["open", "closed"]))
@state.until_option
@click.option("--reason", help="Why, kept in the row.")
@state.wait_option
def override(schedule: str, is_: str, until: str | None, reason: str | None, wait_s: float) -> None:
    """Open or close SCHEDULE by hand, whatever the clock says. Live at once, no apply.

    \b
    Example:
      dialplane schedule override office@acme closed --until 2026-05-01T18:00:00+02:00 --reason "works outing"
    """

    def change(connection: Connection[Any]) -> tuple[str, str]:
        found = states.find(connection, "schedule", schedule)
        states.override(connection, found, is_ == "open", state.until(until), reason)
        return f"schedule {found.name} of {found.account} is {is_} by hand", found.cluster

    state.live(wait_s, change)


@schedule_command.command("clear")
@click.argument("schedule")
@state.wait_option
def clear(schedule: str, wait_s: float) -> None:
    """Let SCHEDULE go by the clock again. Live at once, no apply.

    \b
    Example:
      dialplane schedule clear office@acme
    """

    def change(connection: Connection[Any]) -> tuple[str, str]:
        found = states.find(connection, "schedule", schedule)
        was_set = states.clear(connection, found)
        goes = "goes by the clock again" if was_set else "was not set by hand"
        return f"schedule {found.name} of {found.account} {goes}", found.cluster

    state.live(wait_s, change)
