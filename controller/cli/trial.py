"""try: everything but servers, on a database of its own, within seconds."""

from __future__ import annotations

import tempfile
import time
from importlib.resources import files
from pathlib import Path

import click

from controller.cli.common import say


@click.command("try")
@click.argument("folder", type=click.Path(path_type=Path), default="dialplane-try")
def try_command(folder: Path) -> None:
    """See dialplane work with no server, no root, no Docker: a sample company from rows to rendered files.

    Uses an embedded PostgreSQL of its own, thrown away at the end. What a node would hold is written to FOLDER.

    \b
    Example:
      dialplane try
    """
    from controller import pipeline
    from controller.plan import show
    from controller.policy import explain
    from controller.render import write_files
    from controller.revision.entries import Published
    from controller.schema.database import connect, embedded
    from controller.schema.importer import load, read_company
    from controller.schema.migrate import migrate

    began = time.monotonic()

    def step(text: str) -> None:
        say(f"[{time.monotonic() - began:4.1f} s] {text}")

    with tempfile.TemporaryDirectory(prefix="dialplane-try-") as scratch:
        step("starting an embedded PostgreSQL")
        url = embedded(Path(scratch) / "postgresql")
        step(f"{len(migrate(url))} migrations")
        sample = Path(str(files("controller.schema"))) / "sample" / "acme.yaml"
        with connect(url) as connection:
            counts = load(connection, read_company(sample))
            connection.commit()
            step(f"sample company loaded: {counts}")
            plan = pipeline.make_plan(connection)
            click.echo()
            for line in show.text(plan):
                click.echo(line)
            click.echo()
            number = pipeline.publish(connection, plan, author="try", reason="dialplane try")
            connection.commit()
            written = write_files(connection, folder)
            step(f"published as revision {number}; what each node would hold is in {folder}/:")
            for path in written:
                click.echo(f"  {path}")
            click.echo()
            click.echo("what would happen to a call, without placing it:")
            for line in explain.text(
                explain.explain(explain.call_from("desk1@acme.example", "102"), Published(connection))
            ):
                click.echo(f"  {line}")
    step("done; `make demo` shows the same with real servers and real calls")
