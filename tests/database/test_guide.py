"""The page of features: its rows are taken, by SQL and by YAML, and its commands answer as printed."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import CliRunner

from controller.cli import main
from controller.schema.importer import load, read_company
from tests.database.conftest import SAMPLE
from tests.database.test_calls import agent
from tests.database.test_explain import publish

pytestmark = pytest.mark.thorough

PAGE = (Path(__file__).parents[2] / "controller" / "docs" / "features.md").read_text()
# Each feature has its rows as SQL, as YAML, or both: then they say the same.
FEATURES = re.split(r"^## .*\n", PAGE, flags=re.MULTILINE)


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def written(preferred: str) -> dict[str, list[str]]:
    """The rows of each feature once: by the language that is asked for, where it has them so."""
    other = {"sql": "yaml", "yaml": "sql"}[preferred]
    found: dict[str, list[str]] = {"sql": [], "yaml": []}
    for feature in FEATURES:
        language = preferred if blocks(preferred, feature) else other
        found[language] += blocks(language, feature)
    return found


@pytest.fixture(scope="module", params=["sql", "yaml"])
def company(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    url, rows = new_database(), written(request.param)
    path = tmp_path_factory.mktemp("features") / "acme.yaml"
    path.write_text(yaml.safe_dump(_merged(rows["yaml"])))
    with psycopg.connect(url) as connection:
        load(connection, read_company(path))
        for block in rows["sql"]:
            connection.execute(block.encode())
        publish(connection)
    return url


def _merged(rows: list[str]) -> dict[str, object]:
    """The sample company with what the page writes under its account."""
    company = yaml.safe_load(SAMPLE.read_text())
    account = next(one for one in company["accounts"] if one["name"] == "acme")
    for block in rows:
        for table, added in yaml.safe_load(block).items():
            held = account.setdefault(table, [])
            for row in added:
                same = next((one for one in held if table == "users" and one["name"] == row["name"]), None)
                if same is None:
                    held.append(row)
                else:
                    same.update(row)
    return dict(company)


def test_a_feature_with_rows_shows_what_they_do() -> None:
    for feature in FEATURES:
        assert not (blocks("sql", feature) or blocks("yaml", feature)) or blocks("console", feature), feature


# Needs a node: `test_who_is_called_by_a_click`.
ASKS_A_NODE = "dialplane call originate "


def consoles() -> Iterator[tuple[str, list[str]]]:
    """Each command, and the lines it is said to print; `...` stands for others."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.strip("\n").split("\n")
            if command.startswith("dialplane ") and not command.startswith(ASKS_A_NODE):
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


async def test_who_is_called_by_a_click(company: str, tmp_path: Path) -> None:
    """The node of the account, which stands in here, is asked to ring the preferred device first."""
    (block,) = (one for one in blocks("console") if one.startswith(f"$ {ASKS_A_NODE}"))
    command, *lines = block.strip().split("\n")
    seen: list[dict[str, Any]] = []

    async def originate(arguments: Any) -> dict[str, Any]:
        seen.append(dict(arguments))
        return {"call": lines[0].removeprefix("call ").partition(":")[0]}

    with psycopg.connect(company, autocommit=True) as connection:
        connection.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media2'")
    async with agent(company, tmp_path, "media1") as service:
        service.handlers["originate"] = originate
        words = ["--database", company, *shlex.split(command)[2:]]
        result = await asyncio.to_thread(CliRunner().invoke, main, words)
    assert result.stdout.splitlines() == lines, result.output
    assert (seen[0]["devices"], seen[0]["first"]) == (
        ["app1@acme.example", "desk1@acme.example"],
        "desk1@acme.example",
    )


def test_commands_by_hand_are_accepted(company: str) -> None:
    (block,) = (one for one in blocks("sh") if "group leave" in one)
    for line in block.splitlines():
        result = CliRunner().invoke(main, ["--database", company, *shlex.split(line)[1:], "--wait", "0"])
        assert result.exit_code == 0, result.output
