"""Rows of what people expect around calls: from a company file to the lines of the dialplan, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.compiler import dialplan
from controller.desired import read
from controller.schema.explain import explain
from controller.schema.importer import check, load, read_company

Rows = psycopg.Connection[Any]
COMPANY = """
clusters: [c1]
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    country: DE
    domains: [acme.example]
    users:
      - {name: alice, display_name: Alice}
      - {name: bob, display_name: Bob}
    devices:
      - {name: desk1, domain: acme.example, user: alice, password: alice-desk-secret}
    conferences:
      - {name: team, max_members: 20, announce: name}
      - name: board
        wait_for_moderator: true
        record: true
        pins:
          - {moderator: false, pin: "1234"}
          - {moderator: true, pin: "98765"}
    extensions:
      - {extension: "101", user: alice}
      - {extension: "8000", conference: team}
      - {extension: "8001", conference: board}
      - {extension: "*8", kind: pickup}
"""


@pytest.fixture
def rows(database: str, tmp_path: Path) -> Iterator[Rows]:
    path = tmp_path / "company.yaml"
    path.write_text(COMPANY)
    with psycopg.connect(database) as connection:
        load(connection, read_company(path))
        yield connection
        connection.rollback()


def lines(rows: Rows) -> dict[str, str]:
    (account,) = read.accounts(rows, ["acme"])
    found = dialplan.account_dialplan(account, read.system(rows))
    return {key.removeprefix("account-acme/"): value for key, value in found.items()}


def test_a_file_becomes_lines_and_loading_it_again_changes_nothing(rows: Rows, tmp_path: Path) -> None:
    found = lines(rows)
    assert found["8000"] == "Gosub(dp-conference,s,1(8000,team,,,20,n))"
    digests = {
        moderator: rows.execute("SELECT control.sha1(%s)", (f"board@acme:{pin}".encode(),)).fetchone()[0]  # type: ignore[index]
        for moderator, pin in ((False, "1234"), (True, "98765"))
    }
    assert found["8001"] == f"Gosub(dp-conference,s,1(8001,board,{digests[False]},{digests[True]},,wtr))"
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")
    again = load(rows, read_company(tmp_path / "company.yaml"))
    assert (again.added, again.changed) == (0, 0)


def test_pickup(rows: Rows) -> None:
    found = lines(rows)
    assert {key: found[key] for key in ("*8", "_*8X!", ":pickup:desk1@acme.example")} == {
        "*8": "Gosub(dp-pickup,s,1(*8,))",
        "_*8X!": "Gosub(dp-pickup,s,1(${EXTEN},${EXTEN:2}))",
        ":pickup:desk1@acme.example": "Return(101)",
    }


def test_a_pin_by_sql(rows: Rows) -> None:
    rows.execute("SELECT set_conference_pin('team', 'acme', '4711')")
    assert rows.execute("SELECT control.sha1('team@acme:4711')").fetchone()[0] in lines(rows)["8000"]  # type: ignore[index]
    rows.execute("SELECT set_conference_pin('team', 'acme', NULL)")
    assert lines(rows)["8000"] == "Gosub(dp-conference,s,1(8000,team,,,20,n))"
    logged = rows.execute(
        "SELECT DISTINCT new ->> 'pin_digest' FROM control.audit WHERE tbl = 'conference_pins'"
    )
    assert {value for (value,) in logged} <= {"changed", None}


REFUSED = [
    ("UPDATE conferences SET max_members = 1", "conferences_max_members", "2 to 500"),
    ("UPDATE conferences SET announce = 'loud'", "conferences_announce", "none, tone or name"),
    ("UPDATE conferences SET wait_for_moderator = true", "conferences_moderator", "set_conference_pin"),
    ("DELETE FROM conference_pins WHERE moderator", "conferences_moderator", "no PIN for moderators"),
    (
        "UPDATE conferences SET name = 'council' WHERE name = 'board'",
        "conferences_rename",
        "set_conference_pin",
    ),
    ("UPDATE accounts SET name = 'acne'", "accounts_rename", "conference_pins first"),
    ("DELETE FROM conferences", "extensions_conference_fkey", "extensions lead to this conference"),
    (
        "UPDATE extensions SET conference_id = NULL WHERE extension = '8000'",
        "extensions_conference",
        "conference_id",
    ),
    ("SELECT set_conference_pin('team', 'acme', '12')", None, "4 to 10 digits"),
    ("SELECT set_conference_pin('none', 'acme', '1234')", None, "conferences"),
]


@pytest.mark.parametrize(("statement", "constraint", "words"), REFUSED)
def test_refusals(rows: Rows, statement: str, constraint: str | None, words: str) -> None:
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(psycopg.Error) as refused:
        rows.execute(statement.encode())
    assert refused.value.diag.constraint_name == constraint
    assert words in explain(refused.value)


def test_a_name_without_pins_is_free_to_change(rows: Rows) -> None:
    rows.execute("UPDATE conferences SET name = 'crew' WHERE name = 'team'")
    assert ",crew," in lines(rows)["8000"]


def test_a_file_is_judged_whole(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        COMPANY.replace("max_members: 20", "max_members: 1")
        .replace("record: true", "announce: loud")
        .replace('pin: "1234"', 'pin: "12"')
        .replace("conference: team", "conference: gone")
    )
    said = "\n".join(check(read_company(path), rows))
    for words in (
        "a number from 2 to 500",
        "none or tone or name",
        "pin: it must be 4 to 10 digits",
        "gone is not in",
    ):
        assert words in said, (words, said)
    assert '"12"' not in said
