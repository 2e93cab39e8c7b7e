"""fraud serve, rules, explain, replay: what goes on, the rules, what they would have done. What was done stands in
`fraud_incidents.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.common import (
    PENDING,
    Group,
    chosen_url,
    database,
    document,
    format_option,
    log_to_stderr,
    rows,
    say,
)
from controller.cli.common import time as moment
from controller.cli.fraud_incidents import (
    block_command,
    incidents_command,
    resume_command,
    status_command,
    unblock_command,
)
from controller.cli.state import account_option
from controller.errors import InputError

if TYPE_CHECKING:
    from controller.fraud.model import Event, People
    from controller.fraud.proposed import Proposed
    from controller.fraud.store import Setup

_DAY = timedelta(days=1)
_NOTHING = "Nothing is enforced: this is what rules would have done."
_LISTED = 100
_rules_option = click.option(
    "--rules", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Rules, allows, permissions and rates (YAML) over those in force.",
)  # fmt: skip


@click.group("fraud", cls=Group)
def fraud_command() -> None:
    """Fraud: what is going on, the rules in force, what they would have done to calls there were, what is blocked."""


for _command in (status_command, incidents_command, block_command, unblock_command, resume_command):
    fraud_command.add_command(_command)


@fraud_command.command("serve")
@click.option(
    "--places", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", envvar="DIALPLANE_PLACES",
    help="Where addresses are, in MaxMind's format (GeoLite2 City, DB-IP City). Without it no rule of metric "
    "impossible_travel counts anything.",
)  # fmt: skip
def serve_command(places: Path | None) -> None:
    """Follow calls, messages and sign-ins while they happen, until stopped, and have done what rules say: a line of
    the log, an incident, and what follows at once; the controller has nodes do the rest. Several may run: one works,
    the others stand by.

    Needs no more than a member of dialplane_fraud may. Rows of rules, allows and permissions hold once they change.

    \b
    Examples:
      DIALPLANE_DATABASE=postgresql://fraud@db/dialplane dialplane fraud serve
      dialplane fraud serve --places /var/lib/GeoIP/GeoLite2-City.mmdb
    """
    from controller.fraud.live import nowhere
    from controller.fraud.places import Places
    from controller.fraud.serve import Service

    log_to_stderr()
    if places is None:
        say("no --places: rules of impossible_travel count nothing")
    Service(chosen_url(), places=nowhere if places is None else Places(places)).run()


@fraud_command.command("rules")
@account_option
@_rules_option
@format_option
def rules_command(account: str | None, file: Path | None, form: str) -> None:
    """Every rule in force: those that come with dialplane, and rows over them.

    Of rules with the same name the most specific holds: device, user, group, account, reseller, everybody.

    \b
    Examples:
      dialplane fraud rules
      dialplane fraud rules --account acme --format tsv
    """
    from controller.fraud import explain
    from controller.fraud.model import NOBODY

    setup, _ = _setup(file)
    columns = ["rule", "for", "mode", "says", "then", "from", "what it is for"]
    lines = []
    reseller = setup.profiles.get(account or "", NOBODY).reseller
    for rule in sorted(setup.rules, key=lambda one: (one.name, one.owner.rank, one.key)):
        if account is None or (rule.owner.account in ("", account) and rule.owner.reseller in ("", reseller)):
            mode = rule.mode if rule.enabled else "off"
            says, then = explain.limits(rule), " ".join(rule.actions)
            lines.append((rule.name, str(rule.owner), mode, says, then, rule.origin, rule.comment))
    if form == "text":
        width = max((len(line[0]) for line in lines), default=0)
        for name, owner, mode, says, then, origin, comment in lines:
            click.echo(f"{name:<{width}}  {owner}, {mode}, {origin}: {says}; then {then}")
            if comment:
                click.echo(f"{'':<{width}}  {comment}")
    else:
        rows(form, columns, lines)


@fraud_command.command("explain")
@click.argument("account")
@click.option("--user", default="", help="A user of the account.")
@click.option(
    "--device", default="", metavar="NAME@DOMAIN", help="A device of the account; its user is known."
)
@click.option(
    "--to",
    "number",
    default="",
    metavar="NUMBER",
    help="A number with +: its class, and whether it may be called.",
)
@click.option(
    "--at", metavar="TIME", help="What is allowed then: ISO 8601, UTC if it says no zone. Default: now."
)
@_rules_option
@format_option
def explain_command(
    account: str, user: str, device: str, number: str, at: str | None, file: Path | None, form: str
) -> None:
    """Which rule of each name holds for an account, user or device, and why that one.

    With --to: where the number leads, whether its class may be called, and whether an allow-list takes it out of all.

    \b
    Examples:
      dialplane fraud explain acme
      dialplane fraud explain acme --device desk1@acme.example --to +88213123456
    """
    from controller.fraud import explain
    from controller.fraud.destinations import classify
    from controller.fraud.engine import Engine
    from controller.fraud.model import START, Event

    setup, whose = _setup(file, account=account, user=user, device=device)
    when = (moment("--at", at) or datetime.now(UTC)).timestamp()
    user = user or (whose.users.get(device, "") if device else "")
    profile = setup.profiles[account]
    if number and not number.startswith("+"):
        raise InputError(f"--to {number}: write the number with + and country code, such as +4930555010")
    country, cls = classify(number, profile.country) if number else ("", "")
    groups = whose.groups.get((account, user), ()) if user else ()
    event = Event(
        "", when, START, account, user=user, groups=groups, device=device, reseller=profile.reseller, called=number,
        country=country, cls=cls,
    )  # fmt: skip
    engine = Engine(setup.rules, allows=setup.allows, permissions=setup.permissions, profiles=setup.profiles)
    held = [dict(zip(("rule", "holds", "why"), one, strict=True)) for one in explain.holding(engine, event)]
    data: dict[str, Any] = {"account": account, "reseller": profile.reseller}
    data |= {"user": user, "groups": list(groups), "device": device}
    if number:
        permission = engine.holding.permission(event)
        allowed = engine.holding.allowed(event, when)
        says = "nobody says anything: yes"
        if permission is not None:
            says = f"{'yes' if permission.allowed else 'no'}, by the row for {permission.owner} ({permission.origin})"
        data |= {"number": number, "country": country or "none", "class": cls, "may_be_called": says}
        data["allow_list"] = "counts nothing and is never blocked" if allowed else "no row takes it out"
    data["rules"] = held

    def text() -> Iterable[str]:
        for name, value in data.items():
            if name != "rules" and value:
                yield f"{name.replace('_', ' '):<14} {' '.join(value) if isinstance(value, list) else value}"
        width = max(len(one["rule"]) for one in held)
        for one in held:
            yield f"{one['rule']:<{width}}  {one['holds']}"
            yield f"{'':<{width}}  {one['why']}"

    document(form, text(), data)


@fraud_command.command("replay")
@account_option
@click.option(
    "--since",
    metavar="TIME",
    help="Calls from then on: ISO 8601, UTC if it says no zone. Default: a day ago.",
)
@click.option("--until", metavar="TIME", help="Calls before then. Default: now.")
@_rules_option
@click.option("--only", is_flag=True, help="The rules of FILE alone, without those in force.")
@click.option(
    "--history", type=click.IntRange(0, 90), default=28, show_default=True, metavar="DAYS",
    help="Calls of so many days before are what accounts usually do; 0: nobody has a history.",
)  # fmt: skip
@click.option(
    "--corpus", is_flag=True, help="Over made-up days with labelled campaigns, instead of recorded calls."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=21,
    show_default=True,
    help="With --corpus: same seed, same days.",
)
@click.option("--days", type=click.IntRange(1, 30), default=3, show_default=True, help="With --corpus.")
@click.option(
    "--accounts", type=click.IntRange(8, 5000), default=300, show_default=True, help="With --corpus."
)
@format_option
@click.pass_context
def replay_command(
    ctx: click.Context,
    account: str | None,
    since: str | None,
    until: str | None,
    file: Path | None,
    only: bool,
    history: int,
    corpus: bool,
    seed: int,
    days: int,
    accounts: int,
    form: str,
) -> None:
    """What rules, those in force or proposed ones, would have blocked: whom, why, and what that would have saved.

    Nothing is enforced, and nothing is changed. Every rule counts as if it enforced, whatever its mode; what a verdict
    covers is left out from then on. Records say neither where a call came from nor with which user agent, and there are
    none of messages and sign-ins: rules about these see something in a corpus only. Money is minutes times the rates
    that come with dialplane, or those of FILE. Ends with 3 when something would have been blocked.

    A corpus is days of ordinary traffic with campaigns of fraud in it that are labelled, from a seed; the report is
    then how many were stopped, what was lost before, and who was blocked for nothing.

    \b
    Examples:
      dialplane fraud replay --since 2026-05-01 --until 2026-06-01
      dialplane fraud replay --rules stricter.yaml --account acme --format json
      dialplane fraud replay --corpus --seed 41 --days 3 --accounts 300
    """
    if only and file is None:
        raise InputError("--only: name the rules with --rules FILE")
    if corpus:
        _corpus(_made(file, only=only), seed, accounts, days, form)
        return
    ctx.exit(PENDING if _recorded(account, since, until, file, only, history, form) else 0)


def _corpus(made: Proposed, seed: int, accounts: int, days: int, form: str) -> None:
    from controller.fraud import report
    from controller.fraud.corpus import generate
    from controller.fraud.corpus.score import score

    made_up = generate.corpus(seed, accounts, days)
    found = score(
        made_up, made.rules, permissions=made.permissions, allows=made.allows,
        progress=lambda count: say(f"  {count:,} events"),
    )  # fmt: skip
    if form == "json":
        click.echo(json.dumps(report.data(found), indent=2))
    else:
        rows(form, report.KINDS, report.kinds(found))
    for line in report.sentences(found):
        (click.echo if form == "text" else say)(line)
    say(_NOTHING)


def _recorded(
    account: str | None,
    since: str | None,
    until: str | None,
    file: Path | None,
    only: bool,
    history: int,
    form: str,
) -> bool:
    from controller.fraud import baseline, defaults, report, store
    from controller.fraud.engine import Engine
    from controller.fraud.trial import Trial

    end = moment("--until", until) or datetime.now(UTC)
    begin = moment("--since", since) or end - _DAY
    if begin >= end:
        raise InputError(f"--since {begin:%Y-%m-%dT%H:%M:%SZ} is not before --until {end:%Y-%m-%dT%H:%M:%SZ}")
    with database() as connection:
        setup = store.setup(connection)
        setup, rates = _over(setup, _read(file, setup), only=only)
        rates = defaults.RATES | rates

        def events(first: datetime, last: datetime) -> Iterable[Event]:
            return store.events(connection, setup.profiles, rates, account, first, last)

        total = store.count(connection, account, begin, end)
        usual: dict[tuple[str, str], float] = {}
        engine = Engine(
            setup.rules, allows=setup.allows, permissions=setup.permissions, profiles=setup.profiles, usual=usual
        )  # fmt: skip

        def remembered() -> Iterator[Event]:
            for event in events(begin - history * _DAY, begin):
                engine.learn(event)
                yield event

        if history:
            usual.update(baseline.usual(setup.rules, remembered()))
        trial = Trial(engine)
        progress = _progress(total)
        for event in events(begin, end):
            trial.step(event)
            progress(event)
    effects = [one for one in trial.effects if one.calls or one.messages or one.cut]
    if effects or form != "text":
        rows(form, report.BLOCKED, report.blocked(effects[:_LISTED] if form == "text" else effects))
    here = report.total(effects)
    tell = click.echo if form == "text" else say
    tell(
        f"{total} records: {here.verdicts} verdicts would have stopped {here.calls} calls and ended {here.cut}, "
        f"{here.minutes} minutes and {here.cost} of money, of {here.customers} accounts; {len(trial.warnings)} warnings"
    )
    if len(effects) > _LISTED and form == "text":
        tell(f"{len(effects) - _LISTED} more are not listed (--format tsv lists all)")
    for line in report.by_rule(effects):
        tell(
            f"  {line[0]}: {line[1]} verdicts, {line[2]} accounts, {line[3]} calls, {line[5]} minutes, {line[6]} money"
        )
    say(_NOTHING)
    return bool(effects)


def _progress(total: int) -> Callable[[Event], None]:
    told = seen = 0

    def tell(event: Event) -> None:
        nonlocal told, seen
        seen += event.kind == "start"
        if seen - told >= 5000:  # noqa: PLR2004
            told = seen
            say(f"  {seen} calls of {total} records")

    return tell


def _setup(
    file: Path | None, *, account: str | None = None, user: str = "", device: str = ""
) -> tuple[Setup, People]:
    """The rules in force with those of the file, and whose devices are. InputError: no such account, user or device."""
    from controller.fraud import store

    with database() as connection:
        setup, whose = store.setup(connection), store.people(connection)
        if account is not None:
            store.check_names(connection, account, user, device)
    return _over(setup, _read(file, setup), only=False)[0], whose


def _made(file: Path | None, *, only: bool) -> Proposed:
    """Of a corpus: what comes with dialplane, with the file over it."""
    from controller.fraud import defaults
    from controller.fraud.proposed import overlay, overlay_permissions
    from controller.fraud.store import Setup

    setup = Setup(defaults.RULES, (), defaults.PERMISSIONS, {})
    made = _read(file, setup)
    made.rules = made.rules if only else overlay(defaults.RULES, made.rules)
    made.permissions = overlay_permissions(defaults.PERMISSIONS, made.permissions)
    return made


def _over(setup: Setup, made: Proposed, *, only: bool) -> tuple[Setup, dict[str, float]]:
    from controller.fraud.proposed import overlay, overlay_permissions

    return replace(
        setup,
        rules=tuple(made.rules if only else overlay(setup.rules, made.rules)),
        allows=(*setup.allows, *made.allows),
        permissions=tuple(overlay_permissions(setup.permissions, made.permissions)),
    ), made.rates


def _read(file: Path | None, setup: Setup) -> Proposed:
    import yaml

    from controller.fraud import proposed

    if file is None:
        return proposed.Proposed()
    try:
        data: object = yaml.safe_load(file.read_text())
    except OSError as error:
        raise InputError(f"--rules {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--rules {file}: not YAML: {error}") from None
    return proposed.read(data, setup.rules)
