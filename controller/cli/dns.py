"""dns show, check, zone: names of accounts, and whether name servers answer as the rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from controller.cli.common import PENDING, Group, database, format_option, rows, say
from controller.dns import names, store
from controller.dns.compare import Difference

if TYPE_CHECKING:
    from psycopg import Connection


@click.group("dns", cls=Group)
def dns_command() -> None:
    """Names of accounts: which media nodes and edges they lead to, and what name servers answer."""


@dns_command.command("show")
@click.argument("account")
@format_option
def show(account: str, form: str) -> None:
    """What the rows say of an account's names, as dig shows answers; which nodes are left out now, and why.

    \b
    Example:
      dialplane dns show acme
    """
    with database() as connection:
        settings = store.settings(connection)
        place = store.place(connection, account)
        known = store.nodes(connection)
        clusters = {one for pair in place.services.values() for one in pair if one}
        missing = store.left_out(connection, clusters)
    found = list(names.of_account(place, known, settings))
    if form != "text":
        rows(
            form,
            ["name", "ttl", "type", "data"],
            ((one.name, one.ttl, one.type, one.data) for _, records in found for one in records),
        )
        return
    targets = {one.data.rpartition(" ")[2] for _, records in found for one in records}
    click.echo(";; ANSWER SECTION:")
    for name, records in found:
        for record in records:
            click.echo(str(record))
        if not records:
            click.echo(f"; {name} leads nowhere: no enabled node for it")
    click.echo("\n;; ADDITIONAL SECTION:")
    for record in names.addresses(known, settings):
        if record.name in targets:
            click.echo(str(record))
    for one in missing:
        shown = any(target.startswith(f"{one.node}.{one.cluster}.nodes.") for target in targets)
        end = "answered all the same: no node of the cluster takes calls" if shown else "not answered"
        click.echo(f"; {one.node} of {one.cluster}: {one.why}; {end}")


@dns_command.command("check")
@click.argument("account", required=False)
@click.option("--all", "everything", is_flag=True, help="Every account.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Name server to ask; more than once: each. Default: those of the setting name_servers.",
)
@format_option
@click.pass_context
def check(
    ctx: click.Context, account: str | None, everything: bool, servers: tuple[str, ...], form: str
) -> None:
    """Ask name servers, and compare with the rows: serials, what all accounts share, the names of ACCOUNT or of all.

    A name server on the rows answers with live conditions, one that transfers zones without: both are right. What
    differs is looked at twice. Ends with 3 when something differs.

    \b
    Examples:
      dialplane dns check acme
      dialplane dns check --all --server 10.213.0.51 --server 10.213.0.52
    """
    from controller.dns import ask
    from controller.wire import dns as wire

    if account and everything:
        raise click.UsageError("name an account, or give --all")
    with database(autocommit=True) as connection:
        settings = store.settings(connection)
        if account:
            store.place(connection, account)  # there is one of that name
        asked = {
            one: wire.server(one)
            for one in servers or (address or host for host, address in settings.name_servers)
        }
        standing = [(one, *ask.standing(connection, settings, where)) for one, where in asked.items()]
        found: list[Difference] = []
        for one, _, _, said, late in standing:
            if late is None:
                found.append(Difference(one, f"{settings.zone}.", "SOA", "an answer", said))
                continue
            told = ask.differences(
                connection, settings, (one, asked[one]), _places(connection, account, everything)
            )
            found += told.differences
            if told.stopped:
                found.append(Difference(one, f"{settings.zone}.", "SRV", "answers", told.stopped))
    differing = bool(found) or any(said != "in sync" for *_, said, _ in standing)
    if form == "text":
        rows(form, ["server", "serial", "serial of the rows", "is"], (one[:4] for one in standing))
        if found:
            click.echo("")
            _print(form, found)
    else:
        for one, _, _, said, _ in standing:
            say(f"{one}: {said}")
        _print(form, found)
    ctx.exit(PENDING if differing else 0)


def _print(form: str, found: list[Difference]) -> None:
    columns = ["server", "name", "type", "the rows say", "the server says"]
    rows(form, columns, ((one.server, one.name, one.type, one.wanted, one.got) for one in found))


def _places(
    connection: Connection[Any], account: str | None, everything: bool
) -> Callable[[], Iterable[names.Place]]:
    if account:
        return lambda: [store.place(connection, account)]
    return lambda: store.places(connection) if everything else ()


@dns_command.command("zone")
@click.argument("which", type=click.Choice(list(store.ZONES)))
def zone(which: str) -> None:
    """Print a zone as a zone file (RFC 1035) for other name servers: as the rows say, without live conditions.

    \b
    Example:
      dialplane dns zone forwarding > dialplane.internal.zone
    """
    with database() as connection:
        for record in store.zone(connection, which):
            click.echo(str(record))
