"""import, db: the rows and their schema."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.common import Group, chosen_url, database, rows, say
from controller.errors import BadRows


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--check", "check_only", is_flag=True, help="Report problems, load nothing.")
def import_command(path: Path, check_only: bool) -> None:
    """Load a company from a YAML file, or from a folder of CSV files, one per table.

    Reports every problem at once and changes nothing if there is one. Loading the same again changes nothing.

    \b
    Examples:
      dialplane import acme.yaml --check
      dialplane import company/
    """
    from controller.schema.importer import check, load, read_company

    company = read_company(path)
    with database() as connection:
        if not check_only:
            counts = load(connection, company)
            connection.commit()
            click.echo(str(counts))
            return
        problems = check(company, connection)
    if problems:
        raise BadRows(problems)
    click.echo(f"{path}: no problem found")


@click.group("db", cls=Group)
def db_command() -> None:
    """The database: migrations, and its schema as a page."""


@db_command.command("migrate")
def migrate() -> None:
    """Bring the schema up to this version of dialplane. Each migration is one transaction.

    \b
    Example:
      dialplane db migrate
    """
    from controller.schema.migrate import migrate as run

    applied = run(chosen_url())
    for name in applied:
        say(f"  {name}")
    click.echo(f"{len(applied)} migrations applied" if applied else "the schema is up to date")


@db_command.command("status")
@click.pass_context
def status(ctx: click.Context) -> None:
    """Migrations not applied yet; ends with 3 when there are some.

    \b
    Example:
      dialplane db status
    """
    from controller.schema.migrate import pending

    waiting = pending(chosen_url())
    rows("text", ["pending"], ((name,) for name in waiting))
    ctx.exit(3 if waiting else 0)


@db_command.command("docs")
def docs() -> None:
    """Print every table, column, check and what it is for, as Markdown.

    \b
    Example:
      dialplane db docs > schema.md
    """
    from controller.schema.pages import schema_page

    with database() as connection:
        click.echo(schema_page(connection), nl=False)
