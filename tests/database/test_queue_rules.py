"""Rows of queues that are refused, what members say, what an agent may do."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.queues.store import Store
from controller.schema.explain import explain
from tests.database.queue_rows import (
    ACME,
    ALICE,
    SETUP,
    SUPPORT,
    SUPPORT_QUEUE,
    does,
    events,
    queues,  # noqa: F401 - fixture url
    run,
    value,
    visit,
)

Rows = psycopg.Connection[Any]


REFUSED = [
    ("UPDATE queues SET strategy = 'loudest'", "queues_strategy", "round_robin"),
    (
        "UPDATE queues SET strategy = 'batch', batch_wait_s = 20",
        "queues_batch_wait",
        "the second batch never rings",
    ),
    ("UPDATE queues SET on_full = 'voicemail'", "queues_voicemail", "voicemail:600"),
    ("UPDATE queues SET on_full = 'queue:gone'", "queues_steps", "on_full leads to queue gone"),
    ("UPDATE queues SET required_skills = '{German}'", "queues_skills", "{german:2,billing}"),
    ("UPDATE queue_members SET skills = '{german:10}'", "queue_members_skills", "{german:3,billing}"),
    ("UPDATE queue_members SET penalty = -1", "queue_members_penalty", "0 to 100"),
    ("UPDATE queue_members SET wrap_up_s = 3601", "queue_members_wrap_up", "0 to 3600"),
    ("UPDATE queues SET autopause_after = 0", "queues_autopause", "1 to 100"),
    ("UPDATE queues SET retry_s = 601", "queues_retry", "0 to 600"),
    ("UPDATE queues SET max_waiting = 0", "queues_max_waiting", "1 to 10000"),
    ("UPDATE queues SET callback_permission = 'premium'", "queues_callback_permission", "internal, national"),
    ("UPDATE queues SET callback_tries = 0", "queues_callback_tries", "1 to 10 times"),
    ("UPDATE queues SET callback_pause_s = 1", "queues_callback_pause", "10 to 3600 seconds"),
    ("UPDATE extensions SET kind = 'queue' WHERE extension = '101'", "extensions_queue", "queue_id"),
    (f"DELETE FROM queues WHERE id = {SUPPORT}", "extensions_queue_fkey", "extensions lead to this queue"),
    (
        "UPDATE menus SET on_timeout = 'queue:support'; UPDATE queues SET name = 'help'",
        "menus_steps",
        "menu welcome of account acme: on_timeout leads to queue support",
    ),
    (
        f"INSERT INTO member_states (account_id, user_id, pause_reason) SELECT {ACME}, {ALICE}, 'tea'",
        "member_states_reason",
        "set paused",
    ),
    (
        f"INSERT INTO member_states (account_id, user_id, until) SELECT {ACME}, {ALICE}, now()",
        "member_states_until",
        "logged_in to false",
    ),
]


@pytest.mark.parametrize(("statement", "constraint", "said"), REFUSED, ids=[c for _, c, _ in REFUSED])
def test_refused_with_a_sentence(rows: Rows, statement: str, constraint: str, said: str) -> None:
    with pytest.raises(psycopg.Error) as refused:  # noqa: PT012 - what rows name is checked at commit
        rows.execute(statement.encode())
        rows.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert refused.value.diag.constraint_name == constraint
    assert said in explain(refused.value)


def test_what_members_say_is_told_and_noted(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as listening:
        listening.execute("LISTEN dialplane_queue")
        does(url, f"INSERT INTO member_states (account_id, user_id, paused, pause_reason) "
                  f"SELECT {ACME}, {ALICE}, true, 'lunch'")  # fmt: skip
        does(url, "UPDATE member_states SET paused = false, pause_reason = NULL, logged_in = false")
        does(url, "DELETE FROM member_states")
        said = [one.payload for one in listening.notifies(timeout=5, stop_after=3)]
    assert said == ["acme/support"] * 3
    assert events(url) == [(event, "alice") for event in ("paused", "logged_out", "unpaused", "logged_in")]
    assert value(url, "SELECT detail FROM control.queue_events WHERE event = 'paused'") == "lunch"
    assert (
        value(url, "SELECT state FROM control.change_log WHERE tbl = 'member_states' LIMIT 1")
        == "operational"
    )
    assert value(url, "SELECT count(*) FROM control.pending_changes WHERE tbl = 'member_states'") == 0


def test_an_agent_may_do_what_the_store_does_and_no_more(url: str, postgresql: str) -> None:
    role = f"queues_{os.getpid()}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN IN ROLE dialplane_agent".encode())

    async def work(store: Store) -> None:
        joined = await store.join(SETUP, visit("t1"))
        await store.claim(SETUP, "support")
        assert await store.take(joined.id)
        await store.missed(joined.id, SUPPORT_QUEUE)
        await store.claim(SETUP, "support")
        await store.answered(joined.id, "alice")
        await store.told(SETUP, "support")
        await store.heartbeat([joined.id])
        await store.ended(joined.id, SUPPORT_QUEUE)
        await store.sweep()

    mine = make_conninfo(url, user=role)
    try:
        run(mine, work)
        does(mine, "SELECT control.queue_autopause('acme', 'alice', 'let 3 calls ring out')")
        assert value(url, "SELECT pause_reason FROM member_states") == "let 3 calls ring out"
        for refused in (
            "SELECT * FROM member_states", "UPDATE queues SET weight = 1", "DELETE FROM control.queue_events",
            "SELECT * FROM users", "DELETE FROM control.queue_member_stats",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                does(mine, refused)
    finally:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())
