"""What the documents say is so: pages made from code are current, and every link, path, command and name exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from controller.agent import settings
from controller.cli import main
from controller.cli.common import EXIT_CODES
from controller.cli.reference import PAGE, reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "controller" / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    DOCS / "guide.md",
    DOCS / "features.md",
    DOCS / "scale.md",
]
UNITS = sorted((DOCS / "units").glob("*.service"))
# Where a path in a document may begin.
BASES = (ROOT, ROOT / "controller", ROOT / "controller" / "schema" / "migrations", ROOT / "kamailio", DOCS)
TOP = ("controller", "kamailio", "asterisk", "templates", "tests")


def _commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from _commands(found, (*path, name))


COMMANDS = dict(_commands())
LEAVES = {name: command for name, command in COMMANDS.items() if not isinstance(command, click.Group)}


def _ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _code(text: str) -> Iterator[str]:
    """Code spans, and the lines of code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    without = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"`([^`\n]+)`", without)


def test_the_page_of_commands_is_made_from_their_help() -> None:
    assert PAGE.read_text() == reference(), "run: .venv/bin/python -m controller.cli.reference"


def test_the_main_help_ends_with_the_exit_codes() -> None:
    with click.Context(main, max_content_width=200) as context:
        words = " ".join(main.get_help(context).split())
    assert words.endswith(" ".join(EXIT_CODES.split()))
    assert [int(number) for number in re.findall(r"[:,]\s(\d) ", EXIT_CODES)] == list(range(8))


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_has_a_help_text_with_an_example_that_can_be_parsed(name: str) -> None:
    lines = (LEAVES[name].help or "").splitlines()
    assert lines, f"{name} has no help"
    examples = [line.strip() for line in lines if f"dialplane {name}" in line]
    assert examples, f"the help of {name} has no example"
    for example in examples:
        _check(example)


def _check(line: str) -> None:
    """Every `dialplane ...` in the line names a command, with options it has and as many arguments as it wants."""
    for said in re.findall(r"(?<![\w./-])dialplane (.+)", re.split(r"\s#|\s\||;|\s>|&&", line)[0]):
        words = shlex.split(said.split(" dialplane ")[0].rstrip("."))
        if words[:1] == ["--database"]:
            words = words[2:]
        if not words or words[0].startswith(("-", "...")):
            continue
        command: click.Command = main
        while words and isinstance(command, click.Group):
            name = words.pop(0)
            with click.Context(command) as context:
                found = command.get_command(context, name)
            assert found is not None, f"there is no command {name!r} in: {line}"
            command = found
        options = {
            one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in options | {"--help"}, f"no option {word} in: {line}"


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_commands_in_a_document_exist(page: Path) -> None:
    lines = [line for line in _code(page.read_text()) if "dialplane " in line]
    for line in lines:
        if re.match(r"(\$ |[A-Z_]+=\S+ )*(docker compose exec (-u \w+ )?\w+ )?dialplane [a-z-]", line):
            _check(line)


@pytest.mark.parametrize("unit", UNITS, ids=_ids(UNITS))
def test_what_a_unit_starts_exists(unit: Path) -> None:
    started = re.findall(r"^ExecStart=/usr/local/bin/(.+)$", unit.read_text(), re.M)
    assert started
    for line in started:
        _check(line)


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_make_targets_in_a_document_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in _code(page.read_text()):
        if match := re.fullmatch(r"(?:\$ )?make ([a-z-]+).*", line):
            assert match[1] in targets, line


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, DOCS / "commands.md"], ids=lambda one: one.name)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```\w*\n.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert anchor in map(_anchor, headings), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_paths_in_a_document_exist(page: Path) -> None:
    for span in _code(page.read_text()):
        for word in re.findall(r"(?<![\w/.<-])[\w.-]+(?:/[\w.-]+)+/?|\b\d{4}_\w+\.sql\b", span):
            first = word.split("/")[0]
            named = first in TOP or word.endswith((".py", ".sql", ".j2", ".cfg"))
            if named and ("/" in word or word.endswith(".sql")):
                assert any((base / word).exists() for base in BASES), f"{page.name}: {word}"


def test_the_guide_has_every_setting_of_an_agent() -> None:
    guide = (DOCS / "guide.md").read_text()
    table = re.findall(r"^\| (\w+) *\| (DIALPLANE_\w+) *\|", settings.__doc__ or "", re.M)
    assert len(table) > 10
    for name, variable in table:
        short = variable.removeprefix("DIALPLANE_AMI")
        assert f"`{name}`" in guide, name
        assert variable in guide or f"`{short}`" in guide, variable


def test_the_guide_names_no_variable_that_nothing_reads() -> None:
    code = "".join(path.read_text() for path in (ROOT / "controller").rglob("*.py"))
    for variable in set(re.findall(r"DIALPLANE_[A-Z_]+[A-Z]", (DOCS / "guide.md").read_text())):
        name = variable.removeprefix("DIALPLANE_").lower()
        assert variable in code or name in settings.Settings.__dataclass_fields__, variable


def test_the_guide_has_every_reason_of_a_refusal_that_the_edge_counts() -> None:
    script = "".join(path.read_text() for path in (ROOT / "kamailio").glob("*.cfg"))
    said = re.findall(r'prom_counter_inc\("dialplane_refused", "1", "(\w+)"\)', script)
    said += re.findall(r'\$var\(reason\) = "(\w+)"', script)
    row = next(line for line in (DOCS / "guide.md").read_text().splitlines() if "refused{reason}" in line)
    assert {f"`{reason}`" for reason in said} <= set(re.findall(r"`\w+`", row))
    for counter in re.findall(r'"prom_counter", "name=(\w+);', script):
        assert f"kamailio_{counter}" in (DOCS / "guide.md").read_text()


def test_the_guide_says_what_a_node_without_agent_ini_would_guess() -> None:
    """Ports and places the guide names are those of the code."""
    guide = (DOCS / "guide.md").read_text()
    defaults = (ROOT / "templates" / "kamailio" / "defaults.yaml").read_text()
    port = re.search(r"^metrics_port: (\d+)", defaults, re.M)
    assert port is not None
    assert f"127.0.0.1:{port[1]}/metrics" in guide
    for name in ("state", "rpc_socket", "files", "spool", "ami_port"):
        assert f"`{settings.Settings.__dataclass_fields__[name].default}`" in guide, name
