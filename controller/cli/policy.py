"""policy replay: recorded calls against the rows as they are now."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import click

from controller import replay
from controller.cli.common import PENDING, Group, database, format_option, rows, say
from controller.cli.common import time as moment
from controller.cli.state import account_option
from controller.errors import InputError

_DAY = timedelta(days=1)


@click.group("policy", cls=Group)
def policy_command() -> None:
    """Policies: what a change of rows would do to the calls there were."""


@policy_command.command("replay")
@account_option
@click.option(
    "--since",
    metavar="TIME",
    help="Calls from then on: ISO 8601, UTC if it says no zone. Default: a day ago.",
)
@click.option("--until", metavar="TIME", help="Calls before then. Default: now.")
@click.option(
    "--limit", type=int, default=100, show_default=True, help="How many calls are listed; all are counted."
)
@format_option
@click.pass_context
def replay_command(
    ctx: click.Context, account: str | None, since: str | None, until: str | None, limit: int, form: str
) -> None:
    """Walk recorded calls through the rows as they are now, and list those that would have gone elsewhere.

    Nothing is published: change rows, replay, then plan and apply, or change them back. Each call meets the schedules,
    overrides, do-not-disturb and absences of its own time. Phones that were silent, busy or away are so again, and
    callers press the same keys; from the first difference on nobody knows what they would have done, so only that is
    told. Ends with 3 when a call would have gone elsewhere.

    Not known, and counted so: rules that ask for a SIP header or for who was registered, since neither is recorded, and
    calls decided while no AGI server answered. Whose turn it was in a group does not count as a difference. Ring times,
    announcements before a call goes on, and what a caller's name showed are not compared; blocks and limits of the
    edges are left out.

    \b
    Examples:
      dialplane policy replay --account acme
      dialplane policy replay --since 2026-05-01 --until 2026-06-01 --limit 1000 --format tsv
    """
    now = datetime.now(UTC)
    end = moment("--until", until) or now
    begin = moment("--since", since) or end - _DAY
    if begin >= end:
        raise InputError(f"--since {begin:%Y-%m-%dT%H:%M:%SZ} is not before --until {end:%Y-%m-%dT%H:%M:%SZ}")
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    listed: list[replay.Replayed] = []
    with database() as connection:
        for one in replay.run(connection, account=account, since=begin, until=end, progress=_progress):
            counts[one.verdict.verdict] += 1
            if one.verdict.verdict == replay.ELSEWHERE and len(listed) < limit:
                listed.append(one)
            elif one.verdict.verdict == replay.UNKNOWN:
                unknown[one.verdict.why] += 1
    columns = ["at", "account", "caller", "called", "went to", "would go to", "because", "call"]
    if listed or form != "text":
        rows(
            form,
            columns,
            (
                (one.started_at, one.account, one.caller, one.called, one.verdict.was, one.verdict.would,
                 one.verdict.why, one.call_id)
                for one in listed
            ),
        )  # fmt: skip
    _sum(form, counts, unknown, len(listed))
    ctx.exit(PENDING if counts[replay.ELSEWHERE] else 0)


def _progress(done: int, total: int) -> None:
    if total > done or total >= replay.BATCH:
        say(f"  {done} of {total} records")


def _sum(form: str, counts: Counter[str], unknown: Counter[str], listed: int) -> None:
    elsewhere = counts[replay.ELSEWHERE]
    lines = [
        f"{counts.total()} calls: {counts[replay.SAME]} as before, {elsewhere} elsewhere, "
        f"{counts[replay.UNKNOWN]} not known"
    ]
    if elsewhere > listed:
        lines.append(f"{elsewhere - listed} more are not listed (--limit)")
    lines += [f"not known: {count} x {why}" for why, count in unknown.most_common(10)]
    for line in lines:
        if form == "text":
            click.echo(line)
        else:
            say(line)
