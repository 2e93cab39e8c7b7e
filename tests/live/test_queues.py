"""Queues over two media nodes, with phones: places, pauses, and what dies while callers wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from controller.queues.rows import LEASE_S
from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, DESK1, LOBBY
from tests.live.phones import Phone, Phones, Running
from tests.live.talk import hear_each_other, records, went_well
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
    phones.registered(DESK1, BOB, CAROL, LOBBY)
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
        first = phones.start("call", DESK1, to=QUEUE, talk_ms=80000, limit_s=90)
        waits("waiting")
    with preferred("media2"):
        second = phones.start("call", LOBBY, to=QUEUE, talk_ms=80000, limit_s=90)
        assert [one["node"] for one in waits("waiting", "waiting")] == ["media1", "media2"]
    with first, second:
        yield first, second


def test_callers_of_two_nodes_stand_in_one_line(phones: Phones) -> None:
    """Bob ends his pause, Carol logs in: that very moment they are offered the first who waits."""
    since = stack.now()
    stack.dialplane("queue", "remove", "carol@acme")
    unpause("carol")
    with two_wait(phones) as (alice, lobby), phones.answering(BOB, CAROL, limit_s=60) as [bob, carol]:
        shown = stack.dialplane("queue", "show", "desk@acme").out
        assert "media1" in shown, shown
        assert "media2" in shown, shown
        unpause("bob")
        waits("talking", "waiting")
        stack.dialplane("queue", "add", "carol@acme")
        waits("talking", "talking")
        hear_each_other(((alice, DESK1), (bob, BOB)), ((lobby, LOBBY), (carol, CAROL)))
        legs = [alice.hang_up().wait(), bob.wait(), lobby.hang_up().wait(), carol.wait()]
    went_well(*legs)
    assert all(leg.heard.get("other", 0) > 20 for leg in (legs[0], legs[2])), "music while they waited"
    query = f"""SELECT u.event, extract(epoch FROM o.at - u.at) * 1000 AS ms FROM control.queue_events AS o
                  JOIN control.queue_events AS u ON u.member = o.member AND u.queue = o.queue AND u.at >= '{since}'
                       AND u.event = CASE o.member WHEN 'bob' THEN 'unpaused' ELSE 'logged_in' END
                 WHERE o.event = 'offered' AND o.at >= '{since}' ORDER BY o.at"""
    took = [(row["event"], float(row["ms"])) for row in stack.documents(query)]
    print(f"until the offer: {', '.join(f'{event} {ms:.0f} ms' for event, ms in took)}")
    assert [event for event, _ in took] == ["unpaused", "logged_in"]
    # The figure, 100 ms, is that of a machine that does nothing else (tests/bench).
    assert max(ms for _, ms in took) < 300, took
    outcomes = stack.documents(f"SELECT outcome FROM control.queue_callers WHERE joined_at >= '{since}'")
    assert [one["outcome"] for one in outcomes] == ["answered", "answered"]
    assert {row["called"] for row in records(since, 2)} == {QUEUE}


def test_who_has_learned_what_a_caller_waits_for_is_offered_the_caller(phones: Phones) -> None:
    """From the revision to the offer: the node's agent, its file, and the queue in between."""
    skills = "UPDATE queue_members SET skills = '{{{}}}' WHERE queue_id = (SELECT id FROM queues WHERE name = 'desk')"
    asks = "UPDATE queues SET required_skills = '{{{}}}' WHERE name = 'desk'"
    publish(skills.format("") + ";" + asks.format("german"))
    try:
        with (
            phones.answering(BOB) as [bob],
            phones.start("call", DESK1, to=QUEUE, talk_ms=60000, limit_s=70) as alice,
        ):
            unpause("bob")
            waits("waiting")
            time.sleep(1.5)
            since = stack.now()
            publish(skills.format("german"))
            waits("talking")
            went_well(alice.hang_up().wait(), bob.wait())
        query = f"""SELECT extract(epoch FROM o.at - r.created_at) * 1000 AS ms
                      FROM control.queue_events AS o, control.revisions AS r
                     WHERE o.event = 'offered' AND o.at >= '{since}' AND r.created_at >= '{since}'
                       AND r.state = 'configuration'"""
        [ms] = [float(row["ms"]) for row in stack.documents(query)]
    finally:
        publish(asks.format(""))
    print(f"until the offer: {ms:.0f} ms")
    # The figure, 100 ms, is that of a machine that does nothing else (tests/bench).
    assert ms < 300


def kill_processes() -> None:
    """Those that decide for queues, and the controller."""
    for node in ("media1", "media2"):
        stack.signal(node, "KILL", AGI)
    stack.signal("controller", "KILL", "*dialplane controller run*")


def test_killed_processes_cost_nobody_the_place(phones: Phones) -> None:
    """While two wait, and again while a member's telephone rings for the first: it rings on, and who takes it talks."""
    since = stack.now()
    with two_wait(phones) as (alice, lobby), phones.answering(BOB, ring_ms=3000, limit_s=60) as [bob]:
        before = [one["id"] for one in waits("waiting", "waiting")]
        kill_processes()
        unpause("bob")
        bob.until("INVITE", limit_s=30)
        assert [one["id"] for one in waits("ringing", "waiting")] == before
        kill_processes()
        bob.until("ACK")
        assert [one["id"] for one in waits("talking", "waiting")] == before
        hear_each_other(((alice, DESK1), (bob, BOB)))
        # Who waits is served by the processes that came after.
        went_well(alice.hang_up().wait(), bob.wait())
        with phones.answering(BOB) as [again]:
            [talks] = waits("talking")
            assert talks["id"] == before[1]
            hear_each_other(((lobby, LOBBY), (again, BOB)))
            went_well(lobby.hang_up().wait(), again.wait())
    events = [
        one["event"]
        for one in stack.documents(
            f"SELECT event FROM control.queue_events WHERE at >= '{since}' ORDER BY id"
        )
    ]
    assert "lost" not in events, events
    assert events.count("answered") == 2, events


def test_a_member_passes_a_caller_on(phones: Phones) -> None:
    """Bob asks Carol first (attended transfer). Then nobody of the queue has that caller any more."""
    since = stack.now()
    with (
        preferred("media1"),
        phones.start("call", LOBBY, to=QUEUE, talk_ms=50000, limit_s=60) as lobby,
        phones.answering(BOB, refers=True, limit_s=60) as [bob],
        phones.answering(CAROL, limit_s=60) as [carol],
    ):
        waits("waiting")
        unpause("bob")
        waits("talking")
        with phones.start("call", replace(BOB, port=5132), to="104", ending="wait") as question:
            question.until(200)
            bob.refer("104@acme.example", replaces=question)
            went_well(question.wait(), bob.wait())
        hear_each_other(((lobby, LOBBY), (carol, CAROL)))
        stack.until(lambda: not stack.documents(_OPEN), "the queue's part is over", limit_s=5)
        assert stack.sql("SELECT count(*) FROM control.queue_offers") == "0"
        went_well(lobby.hang_up().wait(), carol.wait())
    assert [row["called"] for row in records(since, 2)] == [QUEUE, "104"]


def test_a_killed_node_costs_others_nothing_and_who_calls_again_has_the_old_place(phones: Phones) -> None:
    """Bob's telephone rings for a caller of the node, Carol talks to another one. Both are free within the lease, Carol
    because her telephone hung up."""
    phones.registered(APP1)
    with ExitStack() as all_phones:

        def call(who: Phone, node: str, *states: str) -> Running:
            with preferred(node):
                caller = all_phones.enter_context(
                    phones.start("call", who, to=QUEUE, talk_ms=100000, limit_s=110)
                )
                assert waits(*states)[-1]["node"] == node
            return caller

        def answering(who: Phone, **keys: Any) -> Running:
            [phone] = all_phones.enter_context(phones.answering(who, limit_s=110, **keys))
            return phone

        desk = call(DESK1, "media1", "waiting")
        carol = answering(CAROL)
        unpause("carol")
        carol.until("ACK")
        app = call(APP1, "media1", "talking", "waiting")
        lobby = call(LOBBY, "media2", "talking", "waiting", "waiting")
        bob = answering(BOB, calls=2, ring_ms=2500, arguments=("-m", "2"))
        unpause("bob")
        bob.until("INVITE")
        waiting = waits("talking", "ringing", "waiting")[-1]["id"]
        with down("media1"):
            stack.compose("kill", "media1")
            killed = time.monotonic()
            for one in (desk, app, carol):
                one.hang_up()
            bob.until("INVITE", times=2, limit_s=30)
            print(f"bob rings for another caller {time.monotonic() - killed:.1f} s after the node was killed")
            assert time.monotonic() - killed < LEASE_S + 6
            bob.until("ACK", times=2)
            hear_each_other(((lobby, LOBBY), (bob, BOB)))
            again = all_phones.enter_context(phones.start("call", APP1, to=QUEUE, talk_ms=60000, limit_s=80))
            # Who calls again stands before the one who talks meanwhile, and who came later.
            there = ["waiting", "talking"]
            stack.until(lambda: [one["state"] for one in stack.documents(_OPEN)] == there, str(there))
            assert stack.documents(_OPEN)[1]["id"] == waiting
            went_well(lobby.hang_up().wait(), bob.wait())
            bob = answering(BOB)
            bob.until("ACK", limit_s=20)
            hear_each_other(((again, APP1), (bob, BOB)))
            went_well(again.hang_up().wait(), bob.wait())
            stack.until(
                lambda: not stack.sql("SELECT * FROM control.queue_offers"), "all are free", limit_s=30
            )


def test_without_postgresql_the_queue_goes_on_and_the_others_keep_their_order(phones: Phones) -> None:
    """For 20 s members ring as they are rendered, one is there and takes a caller. Then the others, in their order."""
    phones.registered(APP1)
    since = stack.now()
    with (
        two_wait(phones) as (alice, lobby),
        phones.start("call", APP1, to=QUEUE, talk_ms=80000, limit_s=90) as app,
    ):
        callers = ((alice, DESK1), (lobby, LOBBY), (app, APP1))
        before = dict(
            zip((one["id"] for one in waits("waiting", "waiting", "waiting")), callers, strict=True)
        )
        stack.compose("stop", "--timeout", "5", "controller", "postgres")
        gone = time.monotonic()
        try:
            with phones.answering(BOB, limit_s=60) as [bob]:
                bob.until("ACK", limit_s=30)
                time.sleep(0.5)
                [taken] = [one for one in callers if one[0].heard().get(str(BOB.voice), 0) > 5]
                hear_each_other((taken, (bob, BOB)))
                went_well(taken[0].hang_up().wait(), bob.wait())
            time.sleep(max(0.0, 20 - (time.monotonic() - gone)))
        finally:
            stack.compose("start", "postgres")
            stack.until(lambda: stack.healthy("postgres"), "PostgreSQL is back", limit_s=40)
            stack.compose("start", "controller")
        left = [one for one, who in before.items() if who is not taken]
        assert [one["id"] for one in waits("waiting", "waiting")] == left
        for place, caller in enumerate(left):
            with phones.answering(BOB, limit_s=60) as [bob]:
                if not place:
                    unpause("bob")
                bob.until("ACK", limit_s=20)
                hear_each_other((before[caller], (bob, BOB)))
                went_well(before[caller][0].hang_up().wait(), bob.wait())
    assert all(row["answered_at"] for row in records(since, 3))
    stack.until(
        lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", limit_s=40, pause_s=1
    )
