"""The way of a change against a real PostgreSQL: plan, publish, go stale, roll back, hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from controller import pipeline, reconciler
from controller.errors import InputError, StalePlan, UnsafePlan
from controller.plan import show
from controller.plan.reasons import SECRETS
from controller.policy import explain
from controller.revision import store
from controller.revision.entries import Published

Rows = psycopg.Connection[Any]


# A fresh database for each test: revisions are never undone.
@pytest.fixture
def rows(loaded_sample: str, new_database: Callable[..., str]) -> Iterator[Rows]:
    """The sample company, nothing published."""
    with psycopg.connect(new_database(loaded_sample)) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def live(published_sample: str, new_database: Callable[..., str]) -> Iterator[Rows]:
    """The sample company, published."""
    with psycopg.connect(new_database(published_sample)) as connection:
        yield connection
        connection.rollback()


def publish(connection: Rows, **options: Any) -> int:
    number = pipeline.publish(
        connection, pipeline.make_plan(connection), author="test", reason="test", **options
    )
    connection.commit()
    return number


def change(connection: Rows, statement: str) -> None:
    connection.execute(statement)
    connection.commit()


RING_30 = "UPDATE extensions SET ring_time_s = 30 WHERE extension = '101'"
RING_40 = "UPDATE extensions SET ring_time_s = 40 WHERE extension = '101'"


def entries(connection: Rows) -> set[tuple[Any, ...]]:
    return set(
        connection.execute("SELECT kind, scope, tbl, key, value, account FROM control.entries").fetchall()
    )


def test_publishing_the_plan_leaves_nothing_to_do(live: Rows) -> None:
    assert pipeline.make_plan(live).empty
    assert pipeline.make_plan(live, everything=True).empty


def test_only_what_changed_is_compiled_and_only_that_entry_changes(live: Rows) -> None:
    change(live, RING_30)
    plan = pipeline.make_plan(live)
    assert [one.address.key for one in plan.changes] == ["account-acme/101", "acme/user/alice"]
    assert "20 -> 30" in "\n".join(show.text(plan))


def test_a_plan_that_somebody_overtook_is_stale(live: Rows) -> None:
    change(live, RING_30)
    seen = pipeline.make_plan(live)
    change(live, RING_40)
    publish(live)
    with pytest.raises(StalePlan, match="newer; make a new plan"):
        pipeline.publish(live, seen, author="late", reason="")


def test_two_publishers_at_once_publish_once(live: Rows) -> None:
    change(live, RING_30)
    outcomes: list[object] = []
    barrier = threading.Barrier(2)

    def one() -> None:
        with psycopg.connect(live.info.dsn) as connection:
            plan = pipeline.make_plan(connection)
            barrier.wait()
            try:
                outcomes.append(pipeline.publish(connection, plan, author="one", reason=""))
                connection.commit()
            except StalePlan as error:
                outcomes.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StalePlan", "int"]


def test_an_operational_revision_in_between_does_not_make_a_plan_stale(live: Rows) -> None:
    change(live, RING_30)
    plan = pipeline.make_plan(live)
    change(live, "UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    assert pipeline.publish(live, plan, author="test", reason="") == store.newest(live)


def test_a_rollback_restores_every_entry_and_holds_the_account_back(live: Rows) -> None:
    before, number = entries(live), store.base(live)
    change(live, RING_30)
    change(live, "DELETE FROM numbers WHERE e164 = '+4930555012'")
    publish(live)
    rollback = pipeline.make_rollback(live, number)
    pipeline.publish(live, rollback, author="test", reason="undo")
    live.commit()
    assert entries(live) == before
    pending = pipeline.make_plan(live)
    assert pending.held == ("acme",)
    assert not pending.empty
    assert pipeline.make_plan(live, with_held=False).empty
    publish(live)
    assert pipeline.make_plan(live).held == ()


def test_automatic_publishing_goes_on_for_others_while_one_account_is_held(live: Rows) -> None:
    number = store.base(live)
    change(live, RING_30)
    publish(live)
    pipeline.publish(live, pipeline.make_rollback(live, number), author="test", reason="undo")
    live.commit()
    change(live, "UPDATE accounts SET call_limit = 11 WHERE name = 'globex'")
    assert "published" in reconciler.cycle(live, auto=True).sentence
    changed = {one.account for one in store.changes_of(live, store.base(live))}
    assert changed == {"globex"}


def test_going_back_to_what_never_was_is_refused(live: Rows) -> None:
    with pytest.raises(InputError, match="there is no revision 99"):
        pipeline.make_rollback(live, 99)


def test_a_deleted_account_takes_its_entries_along(live: Rows) -> None:
    change(live, "DELETE FROM accounts WHERE name = 'globex'")
    plan = pipeline.make_plan(live)
    assert {one.verb for one in plan.changes if one.account == "globex"} == {"delete"}
    publish(live, unsafe_reason="test")
    assert not [row for row in entries(live) if row[5] == "globex"]


def test_losing_an_emergency_number_is_refused_unless_told_why(live: Rows) -> None:
    change(live, "DELETE FROM emergency_numbers WHERE country = 'DE' AND number = '112'")
    with pytest.raises(UnsafePlan, match="DE:112: an emergency number stops working"):
        publish(live)
    number = publish(live, unsafe_reason="moved to another system")
    one = store.one(live, number)
    assert one is not None
    assert one.unsafe_reason == "moved to another system"


def test_a_change_committed_late_is_not_lost(live: Rows) -> None:
    with psycopg.connect(live.info.dsn) as slow:
        slow.execute(RING_30)  # its place in the change log is taken now, its commit comes later
        change(live, "UPDATE accounts SET call_limit = 12 WHERE name = 'globex'")
        publish(live)
        slow.commit()
    keys = [one.address.key for one in pipeline.make_plan(live).changes]
    assert keys == ["account-acme/101", "acme/user/alice"]


def test_many_accounts_are_planned_by_processes_to_the_same_end(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = pipeline.make_plan(rows)
    monkeypatch.setattr(pipeline, "SHARED_ABOVE", 1)
    shared = pipeline.make_plan(rows)
    assert shared.staged
    assert shared.digest == alone.digest
    assert shared.summary.counts == alone.summary.counts
    publish(rows)
    assert pipeline.make_plan(rows, everything=True).empty


def test_a_staged_plan_whose_changes_are_gone_is_stale(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SHARED_ABOVE", 1)
    plan = pipeline.make_plan(rows)
    change(rows, "DELETE FROM control.staged WHERE key = 'acme'")
    with pytest.raises(StalePlan, match="no longer staged"):
        pipeline.publish(rows, plan, author="test", reason="")


def test_nothing_printed_of_the_first_plan_is_a_secret(rows: Rows) -> None:
    plan = pipeline.make_plan(rows)
    printed = "\n".join(show.text(plan)) + str(show.as_json(plan))
    secrets = [
        part.partition("=")[2]
        for one in plan.changes
        if one.address.table in ("credential", "trunk", "registration")
        for part in (one.new or "").split(";")
        if part.partition("=")[0] in SECRETS
    ]
    assert len(secrets) > 10
    assert not [secret for secret in secrets if secret in printed]


def test_explain_answers_as_it_is_as_it_was_and_as_it_will_be(live: Rows) -> None:
    then = datetime.now(UTC)
    change(live, "INSERT INTO blocks (scope, subject, reason, expires_at) "
                 "VALUES ('account', 'acme', 'fraud', now() + interval '1 hour')")  # fmt: skip
    call = explain.call_from("desk1@acme.example", "102")

    def last(at: datetime | None) -> str:
        return explain.explain(call, Published(live, at))[-1].what

    assert last(None) == "refuse 403 Blocked"
    assert last(then) != "refuse 403 Blocked"
    assert last(then + timedelta(hours=2)) != "refuse 403 Blocked"
