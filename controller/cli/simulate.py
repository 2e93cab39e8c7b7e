"""simulate: a day of a large installation, without any server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from controller.cli.common import rows, say
from controller.errors import InputError
from controller.tiers import events


@click.command("simulate")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same result."
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="Media nodes, eight to a cluster.",
)
@click.option(
    "--edges",
    type=click.IntRange(2, 2_000),
    default=200,
    show_default=True,
    help="Edges, two to a device group.",
)
@click.option(
    "--accounts",
    type=click.IntRange(1, 10_000_000),
    default=1_000_000,
    show_default=True,
    help="Accounts, few large and many small.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 240),
    default=24.0,
    show_default=True,
    help="How long, from midnight.",
)
@click.option(
    "--failures",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML: what happens when, instead of the usual day.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How results are printed on stdout.",
)
@click.option(
    "--plot", metavar="FILE.svg", type=click.Path(path_type=Path), help="Write a picture of it as well."
)
def simulate_command(
    seed: int,
    nodes: int,
    edges: int,
    accounts: int,
    hours: float,
    file: Path | None,
    form: str,
    plot: Path | None,
) -> None:
    """What load, failures and a rebalancing do to a large installation; no server is touched.

    Accounts are placed, nodes take calls and calls choose nodes by the rules of the real thing. A day of the usual size
    takes half a minute on one processor and 400 MB, and needs numpy: pip install 'dialplane[simulate]'.

    In the table of events, shed are calls of accounts above their fair share of an overloaded cluster; recovered is the
    time from its begin until no call had trouble; level again, from its end until nodes were as evenly full as before.

    FILE is a list; kinds are node_crash, node_freeze, edge_crash, cluster_loss, reports_lost, control_away, load_swing,
    overload (of clusters and of those that take over for them) and rebalance:

    \b
      - {at: "09:30", kind: node_freeze, count: 20, for_s: 300}
      - {at: "12:00", kind: rebalance, count: 500, for_s: 60}
      - {at: "15:00", kind: load_swing, count: 10, factor: 2.5, for_s: 1800}
      - {at: "17:00", kind: overload, count: 2, factor: 3, for_s: 900}

    \b
    Examples:
      dialplane simulate
      dialplane simulate --seed 7 --nodes 200 --edges 40 --accounts 100000 --hours 12
      dialplane simulate --failures bad-day.yaml --plot bad-day.svg
      dialplane simulate --format json
    """
    if edges % 2:
        raise InputError(f"--edges {edges}: two edges make a device group; write an even number")
    if plot is not None and plot.suffix != ".svg":
        raise InputError(f"--plot {plot}: the picture is SVG; name a file that ends with .svg")
    happens = events.default(hours, nodes, edges) if file is None else events.read(_yaml(file))
    try:
        import numpy  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            "simulate needs numpy, which is not installed: pip install 'dialplane[simulate]'"
        ) from None
    from controller.tiers import plot as picture
    from controller.tiers import simulate, story
    from controller.tiers.world import Size

    result = simulate.simulate(Size(nodes, edges, accounts, hours, seed), happens, _progress())
    if form == "json":
        click.echo(json.dumps(story.data(result), indent=1))
    else:
        click.echo(story.heading(result) + "\n")
        for table in story.tables(result):
            click.echo(table.title)
            rows("text", table.columns, table.aligned())
            click.echo()
        for line in picture.terminal(result):
            click.echo(line)
    if plot is not None:
        try:
            plot.write_text(picture.svg(result))
        except OSError as error:
            raise InputError(f"--plot {plot}: {error.strerror}") from None
        say(f"wrote {plot}")


def _yaml(file: Path) -> object:
    import yaml

    try:
        data: object = yaml.safe_load(file.read_text())
    except OSError as error:
        raise InputError(f"--failures {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--failures {file}: not YAML: {error}") from None
    return data


def _progress() -> Callable[[float, str], None]:
    """A line for each tenth, on stderr."""
    said = -1

    def tell(part: float, what: str) -> None:
        nonlocal said
        if int(part * 10) > said:
            said = int(part * 10)
            say(f"{said * 10:>3} %  {what}")

    return tell
