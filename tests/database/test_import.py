"""Loading companies: files of tests/cases/import, each with the problems it must be told of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controller.errors import BadRows
from controller.schema.importer import check, load, read_company
from tests.database.conftest import SAMPLE

CASES = Path(__file__).parents[1] / "cases" / "import"
BAD = sorted(CASES.glob("bad_*.yaml"))
EVERYTHING = """
    SELECT tbl, sum(n) FROM (
        SELECT 'change_log' AS tbl, count(*) AS n FROM control.change_log
        UNION ALL SELECT 'audit', count(*) FROM control.audit
        UNION ALL SELECT 'revisions', count(*) FROM control.revisions
        UNION ALL SELECT 'accounts', count(*) FROM accounts
    ) AS counted GROUP BY tbl ORDER BY tbl"""


@pytest.fixture
def empty(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


def expected(path: Path, word: str) -> list[str]:
    """Lines `#   ...` after `# problems`, or what follows `# never: `."""
    lines = path.read_text().splitlines()
    if word == "never":
        return [line.removeprefix("# never: ") for line in lines if line.startswith("# never: ")]
    return [line.removeprefix("#   ") for line in lines if line.startswith("#   ")]


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_every_problem_is_told_and_nothing_changes(empty: psycopg.Connection, path: Path) -> None:
    before = empty.execute(EVERYTHING).fetchall()
    with pytest.raises(BadRows) as refused:
        load(empty, read_company(path))
    assert empty.execute(EVERYTHING).fetchall() == before
    problems = refused.value.problems
    for line in expected(path, "problems"):
        assert any(problem.startswith(f"{path}{line}") for problem in problems), (line, problems)
    assert len(problems) == len(expected(path, "problems")), problems
    for secret in expected(path, "never"):
        assert secret not in str(refused.value)
    assert check(read_company(path), empty) == problems
    assert empty.execute(EVERYTHING).fetchall() == before


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_shape_and_values_are_judged_without_a_database(path: Path) -> None:
    problems = check(read_company(path))
    assert bool(problems) == ("with a database" not in path.read_text().splitlines()[0])


@pytest.mark.parametrize("path", [SAMPLE, CASES / "good_csv"], ids=["yaml", "csv"])
def test_loading_twice_changes_nothing(empty: psycopg.Connection, path: Path) -> None:
    company = read_company(path)
    assert check(company, empty) == []
    first = load(empty, company)
    before = empty.execute(EVERYTHING).fetchall()
    second = load(empty, read_company(path))
    assert (first.changed, first.unchanged) == (0, 0)
    assert (second.added, second.changed, second.unchanged) == (0, 0, first.added)
    assert empty.execute(EVERYTHING).fetchall() == before
    assert str(second) == f"0 rows added, 0 changed, {first.added} as they were"


def test_a_changed_value_changes_one_row(empty: psycopg.Connection, tmp_path: Path) -> None:
    load(empty, read_company(SAMPLE))
    other = tmp_path / "acme.yaml"
    other.write_text(SAMPLE.read_text().replace("ring_time_s: 15", "ring_time_s: 16").replace("4711", "4713"))
    counts = load(empty, read_company(other))
    assert (counts.added, counts.changed) == (0, 2)


def test_limits_of_media_nodes_are_columns_of_a_company(empty: psycopg.Connection, tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "clusters: [c8]\nnodes: [{name: m8, kind: media, cluster: c8, address: 10.8.0.8, "
        "call_cap: 100000, load_limit_pct: 85}]"
    )
    load(empty, read_company(path))
    row = empty.execute("SELECT call_cap, load_limit_pct FROM nodes WHERE name = 'm8'").fetchone()
    assert row == (100000, 85)


def test_a_row_does_not_change_hands(empty: psycopg.Connection, tmp_path: Path) -> None:
    load(empty, read_company(SAMPLE))
    thief = tmp_path / "thief.yaml"
    thief.write_text(
        "accounts: [{name: globex, display_name: Globex Ltd, cluster: c1, country: GB, domains: [acme.example], "
        "numbers: [{e164: '+4930555010', extension: '201'}]}]"
    )
    with pytest.raises(BadRows) as refused:
        load(empty, read_company(thief))
    said = "\n".join(refused.value.problems)
    assert "domains acme.example: an account has this domain already" in said
    assert "numbers +4930555010: an account has this number already" in said


def test_csv_problems(empty: psycopg.Connection) -> None:
    folder = CASES / "bad_csv"
    with pytest.raises(BadRows) as refused:
        load(empty, read_company(folder))
    said = "\n".join(refused.value.problems)
    assert f"{folder}/accounts.csv:2: 5 values for 4 columns" in said
    assert f"{folder}/accounts.csv:3: accounts beta: country: 'Gb' must be two capital letters" in said
    assert f"{folder}/phones.csv: no such table" in said
    assert f"{folder}/users.csv:1: a column is named twice" in said


def test_no_secret_of_the_sample_is_kept(database: str) -> None:
    with psycopg.connect(database) as connection:
        load(connection, read_company(SAMPLE))
        for table in ("public.devices", "public.trunks", "public.voicemail_boxes", "control.audit"):
            kept = str(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())
            for secret in ("-secret'", "alice-desk", "'4711'", '"4711"'):
                assert secret not in kept
        connection.rollback()
