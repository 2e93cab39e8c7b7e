"""What all commands share: the database, output formats, exit codes, the outermost error door."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
import psycopg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.errors import DialplaneError, InputError

if TYPE_CHECKING:
    from controller.calls.store import Connection

T = TypeVar("T")

EXIT_CODES = """\
Exit codes: 0 done or in sync, 1 failure, 2 usage, 3 changes pending or drift, 4 refused as unsafe,
5 partly applied, 6 applied but not verified, 7 stale plan or lock held."""
PENDING = 3


# What moves a terminal's cursor, writes its title, or hides what stands before: callers choose some of what is shown.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def visible(text: str) -> str:
    """Text of servers and callers for a terminal: control characters as `\\x1b`."""
    return text.translate(_CONTROLS)


class _AsItIs(Console):
    """What servers and callers say is no markup (`[Errno 28]`), no emoji (`:key:`), and moves no cursor."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


stdout = _AsItIs(soft_wrap=True)
stderr = _AsItIs(stderr=True, soft_wrap=True)


def say(message: str) -> None:
    """A log or progress line, on stderr."""
    stderr.print(message)


def log_to_stderr() -> None:
    """The log of a resident process."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )


class Group(click.Group):
    """Commands in the order they are written, and the error door: every failure has one sentence and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.parent is not None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except DialplaneError as error:
            say(f"error: {error}")
            ctx.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  the outermost door of a command
            if os.environ.get("DIALPLANE_DEBUG"):
                traceback.print_exc()
            say(f"error: {type(error).__name__}: {error} (this is a defect; DIALPLANE_DEBUG=1 shows where)")
            ctx.exit(1)


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--format text|json|tsv`, on every listing."""
    return click.option(
        "--format", "form", type=click.Choice(["text", "json", "tsv"]), default="text", show_default=True,
        help="How results are printed on stdout.",
    )(command)  # fmt: skip


def chosen_url() -> str:
    """The database named by --database or DIALPLANE_DATABASE, else the embedded one, which is said."""
    from psycopg.conninfo import conninfo_to_dict

    from controller.schema.database import VARIABLE, url_from

    option = click.get_current_context().find_root().params.get("database")
    chosen = url_from(option)
    if option and conninfo_to_dict(chosen.url).get("password"):
        raise InputError(
            "--database: a password there shows in the process list; "
            f"put it into the file that PGPASSFILE names (~/.pgpass), or the whole address into {VARIABLE}"
        )
    if chosen.embedded:
        say("no database is named: using the embedded one (--database or DIALPLANE_DATABASE names another)")
    return chosen.url


@contextmanager
def database(*, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the chosen database."""
    from controller.schema.database import connect

    with connect(chosen_url(), autocommit=autocommit) as connection:
        yield connection


def rows(form: str, columns: Sequence[str], records: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a listing: an aligned table, a JSON list of objects, or tab-separated values with a header line."""
    materialised = [[plain(value) for value in record] for record in records]
    if form == "json":
        click.echo(json.dumps([dict(zip(columns, record, strict=True)) for record in materialised], indent=2))
        return
    if form == "tsv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([["" if value is None else value for value in record] for record in materialised])
        click.echo(buffer.getvalue(), nl=False)
        return
    table = Table(title=title or None, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for record in materialised:
        table.add_row(*("-" if value is None else str(value) for value in record))
    (stdout if sys.stdout.isatty() else _AsItIs(width=200)).print(table)


def document(form: str, text: Iterable[str], data: Mapping[str, Any]) -> None:
    """Print one thing: its text lines, or its data as JSON (tsv: `name<TAB>value` lines)."""
    if form == "json":
        click.echo(json.dumps(data, indent=2, default=plain))
    elif form == "tsv":
        for name, value in data.items():
            told = plain(value)
            click.echo(f"{name}\t{told if isinstance(told, str | int) else json.dumps(told, default=plain)}")
    else:
        for line in text:
            click.echo(visible(line))


def time(option: str, text: str | None) -> datetime | None:
    """A moment given to an option, in UTC if it says no zone."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: not a time; write 2026-05-01T08:00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def run_calls(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something about calls or their records, on a connection to the chosen database."""
    import asyncio

    from controller.calls import store

    async def inside() -> T:
        async with store.connect(chosen_url()) as connection:
            return await work(connection)

    return asyncio.run(inside())


def plain(value: Any) -> Any:
    """A value as listings show it: times in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, str | int | float | bool | list | dict) or value is None:
        return value
    return str(value)


def who() -> str:
    """Who asks, for the history: DIALPLANE_AUTHOR, else the login name."""
    import getpass

    return os.environ.get("DIALPLANE_AUTHOR") or getpass.getuser()
