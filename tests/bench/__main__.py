"""The command: pick benchmarks, run them, write bench.json, print the table. Exit 1: a bound was missed."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import psycopg

from tests.bench import DEVICES, REGISTRY, SIZES
from tests.bench.figures import Figure, table, write
from tests.bench.lab import ROOT, Failed, Lab, say


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(REGISTRY)))
@click.option(
    "--accounts",
    type=int,
    multiple=True,
    help=f"Sizes, instead of {', '.join(map(str, SIZES))}; {DEVICES} devices each.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=ROOT / "bench.json", show_default="bench.json"
)
def main(names: Sequence[str], accounts: Sequence[int], output: Path) -> None:
    """Measure the promises with numbers; all of them without NAMES."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = tuple(sorted(accounts)) or SIZES
    figures: list[Figure] = []
    failed: list[str] = []
    chosen = names or tuple(REGISTRY)
    with Lab(chosen) as lab:
        for place, name in enumerate(chosen, 1):
            say(f"== {name}")
            try:
                lab.build()
                for figure in importlib.import_module(REGISTRY[name]).measure(lab, sizes):
                    figures.append(figure)
                    say("  ".join(figure.row()))
            except (Failed, psycopg.Error) as error:
                failed.append(name)
                say(f"{name} could not be measured: {error}")
            lab.tidy(chosen[place:])
    write(figures, output)
    print(table(figures))
    print(f"{os.cpu_count()} processors; load average at the end {os.getloadavg()[0]:.1f}")
    missed = [figure.name for figure in figures if figure.held is False]
    for what, which in (("bounds missed", missed), ("not measured", failed)):
        if which:
            print(f"{what}: {', '.join(which)}", file=sys.stderr)
    sys.exit(1 if missed or failed else 0)


if __name__ == "__main__":
    main()
