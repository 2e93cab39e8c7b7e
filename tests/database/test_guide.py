"""The guide's section about who rings: its rows are taken, by SQL and by YAML, and its commands answer as printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from click.testing import CliRunner

from controller.cli import main
from controller.schema.importer import load, read_company
from tests.database.conftest import SAMPLE
from tests.database.test_explain import publish

_PAGE = Path(__file__).parents[2] / "controller" / "docs" / "guide.md"
SECTION = re.search(r"^## Who rings, and when\n(.*?)^## ", _PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]  # type: ignore[index]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module", params=["sql", "yaml"])
def company(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    url = new_database()
    with psycopg.connect(url) as connection:
        load(connection, read_company(SAMPLE))
        if request.param == "sql":
            for block in blocks("sql"):
                connection.execute(block.encode())
        else:
            path = tmp_path_factory.mktemp("guide") / "acme.yaml"
            path.write_text(yaml.safe_dump(_merged()))
            load(connection, read_company(path))
        publish(connection)
    return url


def _merged() -> dict[str, object]:
    """The sample company with what the guide writes under its account."""
    company = yaml.safe_load(SAMPLE.read_text())
    account = next(one for one in company["accounts"] if one["name"] == "acme")
    for block in blocks("yaml"):
        for table, rows in yaml.safe_load(block).items():
            account.setdefault(table, [])
            for row in rows:
                same = next(
                    (one for one in account[table] if table == "users" and one["name"] == row["name"]), None
                )
                if same is None:
                    account[table].append(row)
                else:
                    same.update(row)
    account["numbers"].append({"e164": "+4930555810", "extension": "810"})
    return dict(company)


def consoles() -> Iterator[tuple[str, list[str]]]:
    """Each command, and the lines it is said to print; `...` stands for others."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.strip("\n").split("\n")
            yield command, [line for line in lines if line != "..."]


def words(line: str) -> str:
    """Without the number of the step and the columns' width."""
    return " ".join(re.sub(r"^ *\d+  (?=[a-z])", "", line).split())


@pytest.mark.parametrize(
    ("command", "lines"), list(consoles()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_commands_answer_as_printed(company: str, command: str, lines: list[str]) -> None:
    result = CliRunner().invoke(main, ["--database", company, *shlex.split(command)[1:]])
    assert result.exit_code == 0, result.output
    printed = iter([words(line) for line in result.stdout.splitlines()])
    missing = [line for line in lines if words(line) not in printed]
    assert not missing, result.stdout


def test_commands_by_hand_are_accepted(company: str) -> None:
    (block,) = (one for one in blocks("sh") if "group leave" in one)
    for line in block.splitlines():
        result = CliRunner().invoke(main, ["--database", company, *shlex.split(line)[1:], "--wait", "0"])
        assert result.exit_code == 0, result.output
