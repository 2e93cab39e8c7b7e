"""Rows of what people expect around calls: from a company file to the lines of the dialplan, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.compiler import dialplan, edge
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
      - {name: desk1, domain: acme.example, user: alice, password: alice-desk-secret, preferred: true}
      - {name: app1, domain: acme.example, user: alice, password: alice-app-secret}
    conferences:
      - {name: team, max_members: 20, announce: name}
      - name: board
        wait_for_moderator: true
        record: true
        pins:
          - {moderator: false, pin: "1234"}
          - {moderator: true, pin: "98765"}
    groups:
      - {name: floor, display_name: Floor, members: [{user: alice}, {user: bob}, {number: "+4930555777"}]}
      - {name: chiefs, display_name: Chiefs, members: [{user: bob}]}
    pages:
      - {name: floor, group: floor}
      - {name: board, group: floor, caller_group: chiefs, talk_back: true, tone: none, max_s: 30}
    parking_lots:
      - {name: desk, first_slot: "701", slots: 3, wait_s: 90, return_s: 20, on_timeout: "extension:101"}
    extensions:
      - {extension: "101", user: alice}
      - {extension: "700", park: desk}
      - {extension: "*80", page: floor}
      - {extension: "*81", page: board}
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


def test_parking(rows: Rows) -> None:
    found = lines(rows)
    assert found["700"] == "Gosub(dp-park,s,1(700,desk,701,3,90,20,extension:101))"
    assert found["703"] == "Gosub(dp-unpark,s,1(703,desk,703,1,90,20,extension:101))"
    assert "704" not in found
    assert ":owner:desk1@acme.example" in found


def test_pages(rows: Rows) -> None:
    found = lines(rows)
    devices = "app1@acme.example&desk1@acme.example"
    assert found["*80"] == f"Gosub(dp-page,s,1(floor,,beep,60,{devices}))"
    assert found["*81"] == f"Gosub(dp-page,s,1(board,dr,,30,{devices}))"
    assert [key for key in found if key.startswith(":may:")] == [":may:page:board:bob"]


def test_lamps(rows: Rows) -> None:
    """Only where the account wants them."""

    def held() -> dict[tuple[str, str], str]:
        (account,) = read.accounts(rows, ["acme"])
        entries = edge.account_entries(account)
        return {(one.address.table, one.address.key): one.value for one in entries}

    assert not any(table == "lamp" for table, _ in held())
    rows.execute("UPDATE accounts SET lamps = true")
    now = held()
    assert now["lamp", "101@acme.example"] == "acme/alice"
    assert now["credential", "app1@acme.example"].endswith(";lamp=1")


def test_a_user_has_one_preferred_device(rows: Rows) -> None:
    rows.execute("SET CONSTRAINTS ALL DEFERRED")
    rows.execute("UPDATE devices SET preferred = true WHERE name = 'app1'")
    rows.execute("UPDATE devices SET preferred = false WHERE name = 'desk1'")
    rows.execute("SET CONSTRAINTS ALL IMMEDIATE")


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
    ("UPDATE devices SET preferred = true", "devices_preferred_one", "one of them"),
    ("UPDATE devices SET user_id = NULL WHERE preferred", "devices_preferred", "give it a user"),
    ("UPDATE pages SET max_s = 1", "pages_max", "5 to 600"),
    ("UPDATE pages SET tone = 'Beep!'", "pages_tone", "such as beep"),
    ("DELETE FROM groups WHERE name = 'chiefs'", "pages_caller_group_fkey", "change its pages first"),
    ("DELETE FROM pages", "extensions_page_fkey", "extensions page there"),
    ("UPDATE extensions SET kind = 'echo' WHERE extension = '*80'", "extensions_page", "page_id"),
    ("UPDATE parking_lots SET first_slot = '0701'", "parking_lots_first_slot", "without a leading zero"),
    ("UPDATE parking_lots SET slots = 101", "parking_lots_slots", "1 to 100"),
    ("UPDATE parking_lots SET first_slot = '699'", "parking_lots_taken", "begin somewhere else"),
    (
        "UPDATE extensions SET extension = '703' WHERE extension = '8000'",
        "parking_lots_taken",
        "another number",
    ),
    (
        "INSERT INTO parking_lots (account_id, name, first_slot) SELECT id, 'other', '703' FROM accounts",
        "parking_lots_taken",
        "another number",
    ),
    ("UPDATE parking_lots SET on_timeout = 'voicemail'", "parking_lots_voicemail", "voicemail:600"),
    ("UPDATE parking_lots SET on_timeout = 'extension:109'", "parking_lots_steps", "Create extension 109"),
    ("DELETE FROM parking_lots", "extensions_parking_lot_fkey", "extensions park there"),
    ("UPDATE extensions SET kind = 'echo' WHERE extension = '700'", "extensions_park", "parking_lot_id"),
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
