"""What people say of themselves and of schedules: live at commit, moved, taken back, released."""

from __future__ import annotations

import psycopg
import pytest

from controller import reconciler
from controller.schema.importer import load, read_company
from tests.database.conftest import SAMPLE
from tests.database.policy_rows import (
    ALICE,
    AWAY,
    DND,
    OVERRIDE,
    Rows,
)


def held(rows: Rows) -> dict[tuple[str, str, str], str]:
    found = rows.execute("SELECT scope, tbl, key, value FROM control.entries WHERE tbl IN ('flag', 'dnd')")
    return {(scope, tbl, key): value for scope, tbl, key, value in found}


LIVE = {
    ("c1", "flag", "dnd/acme/alice"): "1",
    ("*", "dnd", "acme/alice"): "1",
    ("c1", "flag", "away/acme/sales/alice"): "1",
    ("c1", "flag", "override/acme/office"): "closed;2030-12-24T17:00:00Z",
}


def test_what_people_say_is_live_at_commit(rows: Rows) -> None:
    for statement in (DND, AWAY, OVERRIDE):
        rows.execute(statement.encode())
    assert held(rows) == LIVE
    flags = {key: value for (_, tbl, key), value in held(rows).items() if tbl == "flag"}
    rows.execute("UPDATE user_states SET dnd = false")
    rows.execute("UPDATE schedule_overrides SET open = true, until = NULL")
    assert held(rows) == {
        ("c1", "flag", "away/acme/sales/alice"): "1",
        ("c1", "flag", "override/acme/office"): "open",
    }
    assert flags["dnd/acme/alice"] == "1"


def test_a_new_name_or_cluster_moves_it(rows: Rows) -> None:
    for statement in (DND, AWAY, OVERRIDE):
        rows.execute(statement.encode())
    rows.execute("UPDATE users SET name = 'alicia' WHERE name = 'alice'")
    rows.execute("UPDATE schedules SET name = 'opening'")
    rows.execute("UPDATE groups SET name = 'selling'")
    rows.execute("INSERT INTO clusters (name) VALUES ('c2')")
    rows.execute("UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c2')")
    assert held(rows) == {
        ("c2", "flag", "dnd/acme/alicia"): "1",
        ("*", "dnd", "acme/alicia"): "1",
        ("c2", "flag", "away/acme/selling/alicia"): "1",
        ("c2", "flag", "override/acme/opening"): "closed;2030-12-24T17:00:00Z",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM user_states; DELETE FROM group_away; DELETE FROM schedule_overrides",
        "DELETE FROM accounts WHERE name = 'acme'",
    ],
)
def test_it_goes_with_its_row_and_its_account(rows: Rows, statement: str) -> None:
    for insert in (DND, AWAY, OVERRIDE):
        rows.execute(insert.encode())
    rows.execute(statement.encode())
    assert held(rows) == {}


def test_a_member_that_goes_is_no_longer_away(rows: Rows) -> None:
    rows.execute(AWAY.encode())
    rows.execute(f"DELETE FROM group_members WHERE user_id = {ALICE}".encode())
    assert held(rows) == {}


def test_what_is_over_is_released_and_said(sample: str) -> None:
    with psycopg.connect(sample) as connection:
        load(connection, read_company(SAMPLE))
        for statement in (DND, AWAY, OVERRIDE):
            connection.execute(statement.encode())
        connection.execute("UPDATE user_states SET until = now() + interval '1 hour'")
        connection.execute("UPDATE schedule_overrides SET until = now() - interval '1 s'")
        connection.execute("UPDATE group_away SET until = now() - interval '1 s'")
        connection.commit()
        said = reconciler.cycle(connection, auto=False)
        assert said.sentence.startswith("1 overrides ended, 1 members back in their group; ")
        assert set(held(connection)) == {("c1", "flag", "dnd/acme/alice"), ("*", "dnd", "acme/alice")}
        connection.execute("DELETE FROM user_states")
        connection.commit()
        assert "ended" not in reconciler.cycle(connection, auto=False).sentence


def test_what_is_live_waits_for_no_apply(rows: Rows) -> None:
    before = rows.execute("SELECT count(*) FROM control.pending_changes").fetchone()
    rows.execute(DND.encode())
    assert rows.execute("SELECT count(*) FROM control.pending_changes").fetchone() == before
