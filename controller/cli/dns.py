"""dns show, check, zone: names of accounts, and whether name servers answer as the rows say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from controller.cli.common import PENDING, Group, database, format_option, rows, say
from controller.dns import compare, names, store
from controller.dns.compare import Difference, Question

if TYPE_CHECKING:
    from psycopg import Connection

# Live conditions change while we look: what differs is looked at again after so long.
_AGAIN_S = 1.5


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
        standing = [(one, *_serials(connection, settings, where)) for one, where in asked.items()]
        found: list[Difference] = []
        for one, _, _, said, reached in standing:
            if reached:
                found += _differences(connection, settings, (one, asked[one]), account, everything)
            else:
                found.append(Difference(one, f"{settings.zone}.", "SOA", "an answer", said))
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


def _serials(
    connection: Connection[Any], settings: names.Settings, where: tuple[str, int]
) -> tuple[str, int, str, bool]:
    """Serial of a server, that of the rows, what that means, and whether the server answers for both zones."""
    from controller.wire import dns as wire

    said: list[str] = []
    for zone in (settings.zone, settings.device_zone):
        answer = wire.ask(where, f"{zone}.", "SOA")
        if answer.problem or not answer.records:
            problem = answer.problem or f"no SOA record ({answer.rcode})"
            return "-", store.serial(connection), f"{zone}: {problem}", False
        said.append(answer.records[0].data.split()[2])
    newest = store.serial(connection)
    late = max(compare.behind(int(one), newest) for one in said)
    text = "in sync" if late == 0 else f"behind by {late}" if late > 0 else f"ahead by {-late}: other rows?"
    return "/".join(dict.fromkeys(said)), newest, text, True


def _differences(
    connection: Connection[Any],
    settings: names.Settings,
    server: tuple[str, tuple[str, int]],
    account: str | None,
    everything: bool,
) -> list[Difference]:
    def questions() -> Iterator[Question]:
        known = store.nodes(connection)
        yield from compare.of_all(known, settings)
        if account:
            yield from compare.of_place(store.place(connection, account), known, settings)
        elif everything:
            for place in store.places(connection):
                yield from compare.of_place(place, known, settings)

    found = list(_asked(server, questions()))
    if not found:
        return []
    time.sleep(_AGAIN_S)
    suspicious = {(one.name, one.type) for one in found}
    return list(_asked(server, (one for one in questions() if (one.name, one.type) in suspicious)))


def _asked(server: tuple[str, tuple[str, int]], questions: Iterable[Question]) -> Iterator[Difference]:
    from controller.wire import dns as wire

    for question, answer in wire.ask_all(server[1], questions):
        if one := compare.difference(server[0], question, answer):
            yield one


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
