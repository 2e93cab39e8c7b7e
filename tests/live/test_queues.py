"""Queues over two media nodes, with phones: places, pauses, and what dies while callers wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.live import stack
from tests.live.company import BOB, CAROL, DESK1, LOBBY
from tests.live.phones import Phones, Running
from tests.live.talk import both_hear, record, records, went_well
from tests.live.test_decisions import AGI, publish
from tests.live.test_faults import down
from tests.live.test_frozen import preferred

QUEUE = "698"
_MAKE = f"""
WITH a AS (SELECT id FROM public.accounts WHERE name = 'acme'),
q AS (INSERT INTO public.queues (account_id, name, display_name, strategy, ring_time_s, retry_s, join_empty)
      SELECT id, 'desk', 'Desk', 'in_order', 10, 1, true FROM a RETURNING id, account_id),
m AS (INSERT INTO public.queue_members (account_id, queue_id, user_id, position)
      SELECT q.account_id, q.id, u.id, position
        FROM q, public.users u JOIN (VALUES ('bob', 1), ('carol', 2)) AS one (name, position) USING (name)
       WHERE u.account_id = q.account_id RETURNING id)
INSERT INTO public.extensions (account_id, extension, kind, queue_id) SELECT account_id, '{QUEUE}', 'queue', id FROM q;
"""
_REMOVE = f"""
DELETE FROM public.extensions WHERE extension = '{QUEUE}';
DELETE FROM public.queues WHERE name = 'desk';
"""
_OPEN = "SELECT id, caller, state, node FROM control.queue_callers WHERE state <> 'gone' ORDER BY joined_at"


@pytest.fixture(scope="module")
def desk(company: None) -> Iterator[None]:
    """Bob, then Carol, take callers of 698."""
    publish(_REMOVE + _MAKE)
    yield
    publish(_REMOVE)


@pytest.fixture(autouse=True)
def nobody_waits(desk: None, phones: Phones) -> Iterator[None]:
    """Everybody is registered; the members pause."""
    went_well(*(phones.register(phone) for phone in (DESK1, BOB, CAROL, LOBBY)))
    for member in ("bob", "carol"):
        stack.dialplane("queue", "pause", f"{member}@acme", "--reason", "test")
    yield
    for member in ("bob", "carol"):
        stack.dialplane("queue", "unpause", f"{member}@acme")
    stack.until(lambda: not stack.documents(_OPEN), "nobody waits", limit_s=40)


def unpause(member: str) -> None:
    stack.dialplane("queue", "unpause", f"{member}@acme")


def waits(*states: str) -> list[dict[str, Any]]:
    """Callers in order, once they are in these states."""

    def found() -> list[dict[str, Any]]:
        callers = stack.documents(_OPEN)
        return callers if [one["state"] for one in callers] == list(states) else []

    return stack.until(found, f"callers are {states}: {stack.documents(_OPEN)}", limit_s=30)


@contextmanager
def two_wait(phones: Phones) -> Iterator[tuple[Running, Running]]:
    """Alice on one node, then the lobby on the other."""
    with preferred("media1"):
        first = phones.start("call", DESK1, to=QUEUE, talk_ms=30000, limit_s=60)
        waits("waiting")
    with preferred("media2"):
        second = phones.start("call", LOBBY, to=QUEUE, talk_ms=30000, limit_s=60)
        assert [one["node"] for one in waits("waiting", "waiting")] == ["media1", "media2"]
    with first, second:
        yield first, second


def test_callers_of_two_nodes_stand_in_one_line(phones: Phones) -> None:
    since = stack.now()
    with two_wait(phones) as (alice, lobby), phones.answering(BOB, CAROL, limit_s=60) as [bob, carol]:
        shown = stack.dialplane("queue", "show", "desk@acme").out
        assert "media1" in shown, shown
        assert "media2" in shown, shown
        unpause("bob")
        waits("talking", "waiting")
        unpause("carol")
        waits("talking", "talking")
        legs = [alice.wait(), bob.wait(), lobby.wait(), carol.wait()]
    went_well(*legs)
    both_hear((legs[0], DESK1), (legs[1], BOB))
    both_hear((legs[2], LOBBY), (legs[3], CAROL))
    assert all(leg.heard.get("other", 0) > 20 for leg in (legs[0], legs[2])), "music while they waited"
    query = f"""SELECT extract(epoch FROM o.at - u.at) * 1000 AS ms FROM control.queue_events AS o
                  JOIN control.queue_events AS u ON u.member = o.member AND u.event = 'unpaused' AND u.at >= '{since}'
                       AND u.queue = o.queue
                 WHERE o.event = 'offered' AND o.at >= '{since}'"""
    took_ms = [float(row["ms"]) for row in stack.documents(query)]
    print(f"from the end of a pause to the offer: {', '.join(f'{one:.0f} ms' for one in took_ms)}")
    assert len(took_ms) == 2
    assert max(took_ms) < 1000
    outcomes = stack.documents(f"SELECT outcome FROM control.queue_callers WHERE joined_at >= '{since}'")
    assert [one["outcome"] for one in outcomes] == ["answered", "answered"]
    assert {row["called"] for row in records(since, 2)} == {QUEUE}


def test_a_killed_process_costs_nobody_the_place(phones: Phones) -> None:
    since = stack.now()
    with two_wait(phones) as (alice, lobby), phones.answering(BOB, limit_s=60) as [bob]:
        before = [one["id"] for one in waits("waiting", "waiting")]
        for node in ("media1", "media2"):
            stack.signal(node, "KILL", AGI)
        unpause("bob")
        after = waits("talking", "waiting")
        assert [one["id"] for one in after] == before
        lobby.stop()
        legs = [alice.wait(), bob.wait()]
    went_well(*legs)
    both_hear((legs[0], DESK1), (legs[1], BOB))
    events = stack.documents(f"SELECT event FROM control.queue_events WHERE at >= '{since}'")
    assert "lost" not in [one["event"] for one in events]


def test_who_was_on_a_killed_node_calls_again_and_has_the_old_place(phones: Phones) -> None:
    with two_wait(phones) as (alice, lobby), phones.answering(BOB, limit_s=90) as [bob]:
        before = [one["id"] for one in waits("waiting", "waiting")]
        with down("media1"):
            stack.compose("kill", "media1")
            alice.stop()
            # Its lease runs out; the other caller keeps its place and its music.
            waits("waiting")
            again = phones.start("call", DESK1, to=QUEUE, talk_ms=30000, limit_s=60)
            assert [one["id"] for one in waits("waiting", "waiting")] == before
            unpause("bob")
            waits("talking", "waiting")
            lobby.stop()
            legs = [again.wait(), bob.wait()]
    went_well(*legs)
    both_hear((legs[0], DESK1), (legs[1], BOB))


def test_without_postgresql_the_queue_goes_on_by_itself(phones: Phones) -> None:
    since = stack.now()
    with phones.start("call", DESK1, to=QUEUE, talk_ms=45000, limit_s=90) as alice:
        waits("waiting")
        stack.compose("stop", "--timeout", "5", "controller", "postgres")
        try:
            with phones.answering(BOB, limit_s=90) as [bob]:
                bob.until("INVITE", limit_s=60)
                legs = [alice.wait(), bob.wait()]
        finally:
            stack.compose("start", "postgres")
            stack.until(lambda: stack.healthy("postgres"), "PostgreSQL is back", limit_s=40)
            stack.compose("start", "controller")
    went_well(*legs)
    both_hear((legs[0], DESK1), (legs[1], BOB))
    assert record(since)["answered_at"]
    stack.until(
        lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", limit_s=40, pause_s=1
    )
