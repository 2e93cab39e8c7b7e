"""Logs: what is old goes, a batch at a time; what somebody still needs stays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from controller import reconciler
from controller.calls import store
from controller.cli import doctor
from controller.desired import read
from tests.unit.calls.test_fold import CALL, WHOLE

Rows = psycopg.Connection[Any]


@pytest.fixture
def rows(new_database: Callable[..., str]) -> Iterator[Rows]:
    """An installation whose logs are empty."""
    with psycopg.connect(new_database()) as connection:
        connection.execute("TRUNCATE control.change_log, control.audit")
        connection.commit()
        yield connection


def queue_events(rows: Rows, *ages_days: float) -> None:
    for age in ages_days:
        rows.execute(
            """INSERT INTO control.queue_events (at, account, queue, event)
            VALUES (now() - make_interval(secs => %s), 'acme', 'support', 'joined')""",
            (age * 86_400,),
        )
    rows.commit()


def count(rows: Rows, table: str) -> int:
    row = rows.execute(f"SELECT count(*) FROM control.{table}".encode()).fetchone()
    assert row
    return int(row[0])


def test_old_rows_go_in_batches_and_the_log_says_how_many(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue_events(rows, 500, 450, 401, 399, 1)
    assert reconciler.forget(rows, 2)
    assert count(rows, "queue_events") == 3
    assert not reconciler.forget(rows, 2)
    assert count(rows, "queue_events") == 2
    assert not reconciler.forget(rows, 2)
    assert [one for one in caplog.messages if "queue_events" in one] == [
        "2 old rows of queue_events removed",
        "1 old rows of queue_events removed",
    ]


def test_settings_say_how_long(rows: Rows) -> None:
    queue_events(rows, 450, 8, 6)
    rows.execute("INSERT INTO settings (name, value) VALUES ('queue_events_keep_days', 'forever')")
    assert not reconciler.forget(rows)
    assert count(rows, "queue_events") == 3
    rows.execute("UPDATE settings SET value = '7' WHERE name = 'queue_events_keep_days'")
    reconciler.forget(rows)
    assert count(rows, "queue_events") == 1


def test_the_audit_stays_unless_a_setting_says_otherwise(rows: Rows) -> None:
    rows.execute("INSERT INTO clusters (name) VALUES ('c1')")
    rows.execute("UPDATE control.audit SET at = now() - interval '9 years'")
    reconciler.forget(rows)
    assert count(rows, "audit") == 1
    rows.execute("INSERT INTO settings (name, value) VALUES ('audit_keep_days', '3650')")
    reconciler.forget(rows)
    assert count(rows, "audit") == 2
    rows.execute("UPDATE settings SET value = '365' WHERE name = 'audit_keep_days'")
    reconciler.forget(rows)
    found = rows.execute("SELECT tbl FROM control.audit ORDER BY id").fetchall()
    assert [tbl for (tbl,) in found] == ["settings", "settings"]


def test_changes_that_no_revision_accounts_for_stay(rows: Rows) -> None:
    """The log keeps telling the same accounts, before a revision and after."""
    rows.execute("INSERT INTO clusters (name) VALUES ('c1')")
    rows.execute(
        """INSERT INTO accounts (name, display_name, cluster_id, country)
        SELECT unnest('{acme,globex}'::text[]), 'An account', id, 'DE' FROM clusters"""
    )
    rows.execute("UPDATE control.change_log SET at = now() - interval '1 year'")
    rows.commit()
    before = read.touched(rows, everything=False, with_held=True)
    assert before.accounts == ["acme", "globex"]
    reconciler.forget(rows)
    assert read.touched(rows, everything=False, with_held=True).accounts == before.accounts
    rows.execute(
        "INSERT INTO control.change_cursor VALUES ('configuration', %s, %s::text::pg_snapshot)",
        (before.cursor.position, before.cursor.snapshot),
    )
    rows.commit()
    reconciler.forget(rows)
    assert count(rows, "change_log") == 1
    after = read.touched(rows, everything=False, with_held=True)
    assert (after.accounts, after.cursor.position) == ([], before.cursor.position)
    rows.execute("UPDATE accounts SET call_limit = 3 WHERE name = 'acme'")
    rows.commit()
    assert read.touched(rows, everything=False, with_held=True).accounts == ["acme"]


async def test_events_of_a_call_go_together_and_its_record_stays(new_database: Callable[..., str]) -> None:
    url = new_database()
    old = "UPDATE control.call_events SET at = at - interval '4 months'"
    async with store.connect(url) as connection:
        await store.ship(connection, WHOLE[:-5])  # not over yet
        await connection.execute(old)
        with psycopg.connect(url) as rows:
            reconciler.forget(rows)
            assert count(rows, "call_events") == len(WHOLE) - 5
            await store.ship(connection, WHOLE[-5:])
            await connection.execute("UPDATE control.call_events SET at = now() - interval '4 months'")
            await connection.execute("UPDATE control.call_records SET ended_at = now() - interval '4 months'")
            record = await store.record_of(connection, CALL)
            assert record
            assert record["complete"]
            rows.rollback()
            reconciler.forget(rows)
            assert count(rows, "call_events") == 0
        # A line that comes too late makes no new record of what is left.
        await store.ship(connection, WHOLE[-1:])
        assert await store.record_of(connection, CALL) == record


def test_the_doctor_tells(rows: Rows) -> None:
    queue_events(rows, 500)
    found = {one.about: one for one in doctor._kept(rows)}
    assert found["log queue_events"].found.startswith("kept 400 days, the oldest row is of ")
    assert "controller" in found["log queue_events"].remedy
    assert found["log audit"].found.startswith("kept forever")
    assert not found["log audit"].remedy
    reconciler.forget(rows)
    assert not any(one.remedy for one in doctor._kept(rows))
