"""The command reference, generated from help: `python -m controller.cli.reference` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from controller.cli import main
from controller.cli.common import EXIT_CODES

# As the real commands have it.
_AS_SHOWN: dict[str, Any] = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


def reference() -> str:
    """The whole page, Markdown."""
    lines = [
        "# Commands",
        "",
        "Generated from the help of each command. " + EXIT_CODES.replace("\n", " "),
        "",
    ]
    for path, command in _walk(main, ("dialplane",)):
        with click.Context(command, info_name=" ".join(path), **_AS_SHOWN) as context:
            lines += [f"## {' '.join(path)}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=path[-1]) as context:
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                if found is not None and not found.hidden:
                    yield from _walk(found, (*path, name))


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference())
