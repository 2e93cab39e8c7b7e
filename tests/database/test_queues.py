"""Queues in PostgreSQL: places and reservations, what processes do at once, what happens when one is killed."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from controller.cli import main
from controller.errors import InputError
from controller.queues import looks
from controller.queues.model import Member, Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Joined, Swept, Way
from controller.schema.explain import explain
from controller.schema.importer import check, read_company
from tests.database import queue_process
from tests.database.conftest import SAMPLE
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


# ------------------------------------------------------------------------------------------------------- visits


def test_a_call_from_joining_to_its_end(url: str) -> None:
    async def work(store: Store) -> None:
        joined = await store.join(SETUP, visit("t1", caller="+4930111", skills=("german",)))
        assert joined.way is None
        assert await store.claim(SETUP, "support") == []  # nobody has the skill
        await store.leave(joined.id, "abandoned")
        joined = await store.join(SETUP, visit("t2"))
        assert await store.claim(SETUP, "support") == [joined.id]
        assert await store.claim(SETUP, "support") == []
        ringing = await store.take(joined.id)
        assert ringing is not None
        assert ringing.legs == ("desk1@acme.example", "app1@acme.example")
        assert ringing.members == ("alice",)
        assert await store.take(joined.id) is None, "it rings once"
        assert await store.missed(joined.id, SUPPORT_QUEUE, refused=["alice"]) == ["alice"]
        assert await store.missed(joined.id, SUPPORT_QUEUE) == []
        assert await store.claim(SETUP, "support") == [joined.id]
        ringing = await store.take(joined.id)
        assert ringing is not None
        assert ringing.members == ("bob",), "who said no rings last"
        assert await store.answered(joined.id, "bob")
        assert await store.answered(joined.id, "bob"), "told twice, it is once"
        assert not await store.answered(joined.id, "alice")
        assert await store.leave(joined.id, "abandoned") == "answered"
        assert await store.ended(joined.id, SUPPORT_QUEUE)
        assert not await store.ended(joined.id, SUPPORT_QUEUE)
        assert events(url, joined.id) == [
            ("joined", None), ("offered", "alice"), ("refused", "alice"), ("offered", "bob"), ("answered", "bob"),
            ("ended", "bob"),
        ]  # fmt: skip
        # Bob wraps up, for every queue.
        again = await store.join(SETUP, visit("t3", "all"))
        assert await store.claim(SETUP, "all") == [again.id]
        ringing = await store.take(again.id)
        assert ringing is not None
        assert ringing.members == ("alice",)

    run(url, work)
    with psycopg.connect(url) as connection:
        level = connection.execute(
            "SELECT callers, answered, in_time, abandoned, in_time_percent FROM control.queue_service_level"
            " WHERE queue = 'support'"
        ).fetchone()
    assert level == (2, 1, 1, 1, 50)


def test_places_and_who_may_wait(url: str) -> None:
    async def work(store: Store) -> None:
        does(url, f"INSERT INTO member_states (account_id, user_id, paused) SELECT {ACME}, {ALICE}, true")
        ids = [(await store.join(SETUP, visit(f"t{n}", priority=int(n == 3)))).id for n in range(4)]
        told = await store.told(SETUP, "support")
        assert [told[one].position for one in ids] == [2, 3, 4, 1]
        full = await store.join(SETUP, visit("t9"))
        assert full.way == Way("full", "busy", "4 callers wait already, 4 may")
        again = await store.join(SETUP, visit("t9"))
        assert (again.id, again.way is not None and again.way.outcome) == (full.id, "full")
        assert events(url, full.id) == [("full", None)]
        assert await store.join(SETUP, visit("t1")) == Joined(ids[1], None, again=True)
        # Bob alone is there: first the one with the priority.
        assert await store.claim(SETUP, "support") == [ids[3]]
        assert await store.leave(ids[0], "left") == "left"
        assert await store.leave(ids[0], "abandoned") == "left"
        told = await store.told(SETUP, "support")
        assert ids[0] not in told
        assert told[ids[1]].position == 2
        does(url, "UPDATE member_states SET paused = false, logged_in = false")
        does(url, f"INSERT INTO member_states (account_id, user_id, logged_in) SELECT {ACME}, id, false "
                  f"FROM users WHERE name = 'bob' AND account_id = {ACME}")  # fmt: skip
        assert (await store.join(SETUP, visit("t10"))).way == Way("empty", "hangup", "no member is on duty")
        assert await store.leaving(SETUP, "support") == {}
        leaving = replace(SETUP, queues={"support": replace(SUPPORT_QUEUE, leave_empty=True)})
        ways = await store.leaving(leaving, "support")
        assert {one: way.outcome for one, way in ways.items()} == {ids[1]: "empty", ids[2]: "empty"}
        with pytest.raises(InputError, match="no queue nosuch"):
            await store.join(SETUP, visit("t11", "nosuch"))

    run(url, work)


STATES: list[tuple[str, dict[str, Any]]] = [
    ("SELECT 1", {}),
    (f"INSERT INTO member_states (account_id, user_id, paused, pause_reason) SELECT {ACME}, {ALICE}, true, 'lunch'",
        {"paused": True, "pause_reason": "lunch"}),
    (f"INSERT INTO member_states (account_id, user_id, logged_in) SELECT {ACME}, {ALICE}, false", {"logged_in": False}),
    (f"INSERT INTO member_states (account_id, user_id, logged_in, until) SELECT {ACME}, {ALICE}, false, "
        "now() - interval '1 s'", {}),
    (f"INSERT INTO user_states (account_id, user_id, dnd) SELECT {ACME}, {ALICE}, true", {"disturb_not": True}),
    ("INSERT INTO control.call_records (call_id, account, started_at, legs) VALUES ('x', 'acme', now(), "
        """'[{"party": "app1@acme.example", "ended_at": null}]')""", {"busy": True}),
    ("INSERT INTO control.call_records (call_id, account, started_at, legs) VALUES ('x', 'acme', now(), "
        """'[{"party": "app1@acme.example", "ended_at": "2026-11-20T09:00:00Z"}]')""", {}),
    ("INSERT INTO control.call_records (call_id, account, started_at, legs, complete) VALUES ('x', 'acme', now(), "
        """'[{"party": "app1@acme.example", "ended_at": null}]', true)""", {}),
    ("INSERT INTO control.queue_member_stats (account, queue, member, calls_today, day) VALUES "
        "('acme', 'support', 'alice', 7, (now() AT TIME ZONE 'UTC')::date)", {"calls_today": 7}),
    ("INSERT INTO control.queue_member_stats (account, queue, member, calls_today, day) VALUES "
        "('acme', 'support', 'alice', 7, (now() AT TIME ZONE 'UTC')::date - 1)", {"calls_today": 0}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "changes"), STATES, ids=[f"{i}-{c}" for i, (_, c) in enumerate(STATES)]
)
def test_how_members_are(url: str, statement: str, changes: dict[str, Any]) -> None:
    does(url, statement)
    members = run(url, lambda store: store._members(SETUP, SUPPORT_QUEUE))
    assert members["alice"] == replace(Member(SETUP.devices["alice"]), **changes)


def test_who_is_registered(url: str) -> None:
    def registered() -> bool:
        members = run(url, lambda store: store._members(SETUP, SUPPORT_QUEUE))
        return bool(members["alice"].registered)

    assert registered(), "nobody knows"
    does(url, "INSERT INTO control.node_state (node, kind, agent_started, heard_at) VALUES "
              "('edge1', 'edge', now() - interval '1 min', now() + interval '1 h') ON CONFLICT DO NOTHING; "
              "INSERT INTO control.registrars VALUES ('edge1', now())")  # fmt: skip
    assert not registered(), "no device was ever seen"
    does(
        url,
        "INSERT INTO control.registrations (aor, edge, contacts, since) "
        "VALUES ('app1@acme.example', 'edge1', 1, now())",
    )
    assert registered()
    does(url, "UPDATE control.registrations SET contacts = 0")
    assert not registered()
    does(url, "UPDATE control.registrars SET compared_at = NULL")
    assert registered(), "the edge cannot say"


def test_a_heavier_queue_is_served_first(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1"))
        second = await store.join(SETUP, visit("t2"))
        vip = await store.join(SETUP, visit("t3", "vip"))
        assert await store.claim(SETUP, "support") == [first.id]
        assert (await store.take(first.id)).members == ("bob",)  # type: ignore[union-attr]
        assert await store.claim(SETUP, "vip") == [vip.id]
        assert (await store.take(vip.id)).members == ("alice",)  # type: ignore[union-attr]
        await store.leave(vip.id, "abandoned")
        assert await store.claim(SETUP, "support") == [second.id]

    run(url, work)


def test_a_claim_decides_as_if_it_had_read_everything(url: str) -> None:
    """`claim` reads members who are free and the first callers only; `look` reads all. Both decide the same."""
    dice = random.Random(7)
    users = [f"m{n}" for n in range(12)]
    devices = {user: (f"{user}@acme.example",) for user in users} | {
        "m3": ("m3@acme.example", "app@acme.example")
    }

    async def work(store: Store) -> None:
        served = 0
        for number in range(40):
            strategy = ("in_order", "round_robin", "least_recent", "fewest_calls", "batch", "ring_all")[
                number % 6
            ]
            skills = [{"german": dice.randrange(4)} if dice.random() < 0.7 else {} for _ in users]
            places = tuple(
                Place(user, dice.randrange(2), skills=one) for user, one in zip(users, skills, strict=True)
            )
            heavy = Queue("vip", "in_order", weight=50, members=places[:4], retry_s=0, join_empty=True)
            queue = Queue(
                f"q{number}", strategy, members=places, retry_s=0, join_empty=True, max_waiting=None,
                alert_limit=(None, 3, 1, None)[number % 4],
            )  # fmt: skip
            setup = Setup("acme", {queue.name: queue, "vip": heavy}, devices)
            for caller in range(dice.randrange(1, 9)):
                wanted = dice.choice(((), ("german",), ("german:3",)))
                priority, name = dice.randrange(2), dice.choice((queue.name, queue.name, queue.name, "vip"))
                await store.join(setup, visit(f"{number}-{caller}", name, priority=priority, skills=wanted))
            does(
                url, "UPDATE control.queue_callers SET retry_at = now() + interval '1 h' WHERE random() < 0.2"
            )
            for user in users:
                fate = dice.randrange(6)
                if fate < 3:
                    does(url, _STATE[fate].replace("MEMBER", user).replace("QUEUE", queue.name))
            decided, _, _ = await store.look(setup, queue.name)
            expected = {(one.caller, one.members) for one in decided.offers}
            assert set(await store.claim(setup, queue.name)) == {caller for caller, _ in expected}
            found = set()
            for caller, _ in expected:
                ringing = await store.take(caller)
                assert ringing is not None
                found.add((caller, tuple(sorted(ringing.members))))
            assert found == {(caller, tuple(sorted(members))) for caller, members in expected}
            served += len(expected)
            does(
                url,
                "DELETE FROM control.queue_callers; DELETE FROM control.call_records;"
                " DELETE FROM control.queue_member_stats",
            )
        assert served > 30, "the cases decide something"

    run(url, work)


_STATE = (
    "INSERT INTO control.call_records (call_id, account, started_at, legs) VALUES ('MEMBER', 'acme', now(), "
    """'[{"party": "MEMBER@acme.example", "ended_at": null}]')""",
    "INSERT INTO control.queue_member_stats (account, queue, member, wrap_until, last_offer_at) VALUES "
    "('acme', 'QUEUE', 'MEMBER', now() + interval '1 min', now())",
    "INSERT INTO control.queue_member_stats (account, queue, member, last_call_at, last_offer_at, calls_today, day) "
    "VALUES ('acme', 'QUEUE', 'MEMBER', now() - interval '1 h', now() - random() * interval '1 h', 3, "
    "(now() AT TIME ZONE 'UTC')::date)",
)


def test_a_decision_that_is_made_again_holds_nothing_meanwhile(url: str) -> None:
    """Else two queues that share members could wait for each other for ever."""

    async def work(store: Store) -> None:
        first, second = [(await store.join(SETUP, visit(f"t{n}"))).id for n in range(2)]
        reserve, locks = store._reserve, []

        async def partly(account: str, queue: str, offers: Any) -> tuple[list[int], bool]:
            locks.append(value(url, "SELECT count(*) FROM control.queue_offers"))
            made, _ = await reserve(account, queue, offers[:1])
            return made, False

        store._reserve = partly  # type: ignore[method-assign]
        assert await store.claim(SETUP, "support") == [first, second]
        # Another connection sees, before the second round, what the first one reserved.
        assert locks == [0, 1]

    run(url, work)


# ------------------------------------------------------------------------------------------------------- leases


def test_a_caller_whose_session_died_comes_back_to_its_place(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1", caller="+4930111"))
        second = await store.join(SETUP, visit("t2", caller="+4930222"))
        assert set(await store.claim(SETUP, "support")) == {first.id, second.id}
        assert await store.take(first.id)
        does(
            url, f"UPDATE control.queue_callers SET seen_at = now() - interval '1 min' WHERE id = {first.id}"
        )
        assert await store.sweep() == Swept(1, 1, ())
        assert await store.sweep() == Swept(0, 0, ())
        assert await store.heartbeat([first.id, second.id]) == {second.id}
        assert value(url, "SELECT count(*) FROM control.queue_offers") == 1
        # By the same ticket, and by number with another one; another number is somebody else.
        other = await store.join(SETUP, visit("t3", caller="+4930333"))
        assert not other.again
        back = await store.join(SETUP, visit("t1"))
        assert back == Joined(first.id, None, again=True)
        assert (await store.told(SETUP, "support"))[first.id].position == 1
        does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
        await store.sweep()
        back = await store.join(SETUP, visit("t4", caller="+4930222", node="media2"))
        assert (back.way, back.again) == (None, True)
        assert back.id not in (first.id, second.id), "another visit, which has the place"
        assert (await store.told(SETUP, "support"))[back.id].position == 1
        does(
            url, "UPDATE control.queue_callers SET ended_at = now() - interval '2 min' WHERE outcome = 'lost'"
        )
        late = await store.join(SETUP, visit("t5", caller="+4930333"))
        assert not late.again, "later than rejoin_s"
        assert not (await store.join(SETUP, visit("t6", caller="+4930222"))).again, (
            "a place has one successor"
        )
        await store.leave(back.id, "abandoned")
        assert [event for event, _ in events(url, second.id)] == ["joined", "offered", "lost", "rejoined"]
        assert [event for event, _ in events(url, back.id)] == ["joined", "rejoined", "abandoned"]

    run(url, work)
    assert value(url, "SELECT sum(lost) || ' ' || sum(abandoned) FROM control.queue_service_level") == "2 1"


def test_an_offer_nobody_takes_is_withdrawn(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1"))
        assert await store.claim(SETUP, "support") == [first.id]
        does(url, "UPDATE control.queue_offers SET until = now() - interval '1 s'")
        assert await store.sweep() == Swept(0, 1, ())
        assert await store.take(first.id) is None
        second = await store.join(SETUP, visit("t2"))
        assert await store.claim(SETUP, "support") == [second.id], "the first one has its pause"

    run(url, work)


def test_a_session_that_was_thought_lost_and_talks(url: str) -> None:
    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        await store.claim(SETUP, "support")
        await store.take(one.id)
        does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
        await store.sweep()
        assert await store.answered(one.id, "alice")
        other = await store.join(SETUP, visit("t2", "all"))
        await store.claim(SETUP, "all")
        ringing = await store.take(other.id)
        assert ringing is not None
        assert ringing.members == ("bob",), "who talks is reserved"
        # The dialplan asks again with its ticket: the talk is over.
        over = await store.join(SETUP, visit("t1"))
        assert over.way is not None
        assert over.way.outcome == "answered"
        assert [event for event, _ in events(url, one.id)][-4:] == ["lost", "rejoined", "answered", "ended"]

    run(url, work)


def test_a_talk_whose_session_died_is_ended_once(url: str) -> None:
    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        await store.claim(SETUP, "support")
        await store.take(one.id)
        await store.answered(one.id, "alice")
        does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
        assert await store.sweep() == Swept(1, 1, ())
        assert not await store.ended(one.id, SUPPORT_QUEUE)
        assert [event for event, _ in events(url, one.id)].count("ended") == 1

    run(url, work)


def test_who_wants_to_be_called_back_keeps_the_place(url: str) -> None:
    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        two = await store.join(SETUP, visit("t2"))
        assert await store.call_back(one.id, "+4930111")
        assert not await store.call_back(one.id, "+4930111")
        does(
            url,
            "UPDATE control.queue_callers SET seen_at = now() - interval '1 min' WHERE state = 'callback'",
        )
        assert await store.sweep() == Swept(0, 0, (("acme", "support"),))
        assert await store.claim(SETUP, "support") == [one.id, two.id]
        ringing = await store.take(one.id)
        assert ringing is not None
        assert ringing.callback == "+4930111"
        # The process that called back dies: the caller waits for another one.
        does(url, f"UPDATE control.queue_callers SET seen_at = now() - interval '1 min' WHERE id = {one.id}")
        assert await store.sweep() == Swept(1, 1, (("acme", "support"),))
        assert await store.claim(SETUP, "support") == [one.id]
        assert (await store.take(one.id)) is not None
        assert await store.leave(one.id, "unreached") == "unreached"

    run(url, work)


# --------------------------------------------------------------------------------------------------- processes


def _processes(url: str, count: int, offers: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.database.queue_process", url, str(number), str(offers)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for number in range(count)
    ]  # fmt: skip


def _double(rings: list[queue_process.Ring]) -> list[tuple[queue_process.Ring, queue_process.Ring]]:
    """Rings of one member that overlap in time."""
    ordered = sorted(rings, key=lambda one: (one.member, one.began))
    return [
        (one, after)
        for one, after in itertools.pairwise(ordered)
        if one.member == after.member and after.began < one.ended
    ]


def test_three_processes_ring_nobody_twice_even_when_one_is_killed(url: str) -> None:
    processes = _processes(url, 3, 600)
    rings: list[queue_process.Ring] = []
    try:
        assert processes[0].stdout is not None
        for line in processes[0].stdout:
            rings.append(queue_process.Ring(*json.loads(line)))
            if len(rings) == 100:
                processes[0].send_signal(signal.SIGKILL)
                break
        # What the dead one said before its end is in the pipe yet.
        for process in processes:
            said, _ = process.communicate(timeout=300)
            rings += [
                queue_process.Ring(*json.loads(line)) for line in said.splitlines() if line.endswith("]")
            ]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0]
    assert len(rings) >= 1200
    assert _double(rings) == []
    run(url, _swept, lease_s=0.0)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM control.queue_offers").fetchone() == (0,)
        rows = connection.execute(
            "SELECT c.id, c.state, array_agg(e.event::text) FROM control.queue_callers c JOIN control.queue_events e"
            " ON e.caller_id = c.id AND e.event IN ('answered', 'abandoned', 'lost') GROUP BY c.id"
        ).fetchall()
        total = connection.execute("SELECT count(*) FROM control.queue_callers").fetchone()
    assert total == (len(rows),)
    assert Counter((state, len(outcomes)) for _, state, outcomes in rows) == {("gone", 1): len(rows)}
    # None, when it was killed between two calls: what becomes of callers of the dead has its own test.
    print(sum(outcomes == ["lost"] for _, _, outcomes in rows), "callers were lost with the process")


async def _swept(store: Store) -> None:
    await store.sweep()


def test_a_double_ring_would_be_seen() -> None:
    ring = queue_process.Ring
    assert _double([ring("a", 1.0, 2.0), ring("a", 1.9, 3.0), ring("b", 1.0, 2.0)]) == [
        (ring("a", 1.0, 2.0), ring("a", 1.9, 3.0))
    ]
    assert _double([ring("a", 1.0, 2.0), ring("a", 2.0, 3.0)]) == []


# ------------------------------------------------------------------------------------------------- rows, roles


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
    ("UPDATE queues SET retry_s = 601", "queues_retry", "0 to 600"),
    ("UPDATE queues SET max_waiting = 0", "queues_max_waiting", "1 to 10000"),
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
        for refused in (
            "SELECT * FROM member_states", "UPDATE queues SET weight = 1", "DELETE FROM control.queue_events",
            "SELECT * FROM users", "DELETE FROM control.queue_member_stats",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                does(mine, refused)
    finally:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


# ----------------------------------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def live(new_database: Callable[..., str]) -> Callable[..., Any]:
    """A command on the sample company, published."""
    mine = new_database()

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["--database", mine, *arguments])

    assert call("import", str(SAMPLE)).exit_code == 0
    assert call("apply", "--yes", "--wait", "0").exit_code == 0
    with psycopg.connect(mine) as connection:
        setup = looks.published(connection, "acme")

    async def work(store: Store) -> None:
        talks = await store.join(setup, visit("t1", caller="+4930111"))
        await store.claim(setup, "support")
        ringing = await store.take(talks.id)
        assert ringing is not None
        await store.answered(talks.id, ringing.members[0])
        await store.join(setup, visit("t2", caller="+4930222"))

    run(mine, work)
    return call


def said(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_queue_list_and_show(live: Callable[..., Any]) -> None:
    (row,) = said(live("queue", "list", "--format", "json"))
    assert {name: row[name] for name in ("account", "queue", "strategy", "members", "waiting", "talking")} == {
        "account": "acme", "queue": "support", "strategy": "least_recent", "members": 3, "waiting": 1, "talking": 1,
    }  # fmt: skip
    (again,) = said(live("queue", "watch", "--times", "1", "--format", "json"))
    assert again["queue"] == "support"
    shown = said(live("queue", "show", "support", "--format", "json"))
    talks, waits = shown["callers"]
    assert (talks["state"], talks["position"], talks["member"]) == ("talking", None, "alice")
    assert (waits["position"], waits["caller"], waits["why"]) == (1, "+4930222", "last call longest ago: bob")
    assert {one["member"]: one["is"] for one in shown["members"]} == {
        "alice": "rings for a caller or talks to one",
        "bob": f"would ring for caller {waits['id']}",
        "carol": "is free",
    }
    text = live("queue", "show", "support@acme").stdout
    assert "queue support of acme: least_recent, weight 10" in text
    assert "1.   caller" in text
    assert "carol is free (0 calls today, penalty 1)" in text


def test_members_come_and_go_by_command(live: Callable[..., Any]) -> None:
    def is_(user: str) -> str:
        members = said(live("queue", "show", "support", "--format", "json"))["members"]
        return str(next(one["is"] for one in members if one["member"] == user))

    assert live("queue", "pause", "bob@acme", "--reason", "lunch").stdout == "bob of acme pauses in support\n"
    assert is_("bob") == "pauses (lunch)"
    assert live("queue", "remove", "bob", "--until", "2126-11-20T13:00:00").stdout == (
        "bob of acme is logged out of support until 2126-11-20T13:00:00+00:00\n"
    )
    assert is_("bob") == "is logged out"
    assert live("queue", "add", "bob").stdout == "bob of acme is logged in to support\n"
    assert is_("bob") == "pauses (lunch)", "one is not the other"
    assert live("queue", "unpause", "bob").stdout == "bob of acme pauses no more in support\n"
    assert is_("bob").startswith("would ring")
    happened = said(live("queue", "events", "support", "--format", "json"))
    assert [one["event"] for one in happened if one["member"] == "bob"] == [
        "paused", "logged_out", "logged_in", "unpaused",
    ]  # fmt: skip
    assert len(said(live("queue", "events", "support", "--last", "2", "--format", "json"))) == 2
    for arguments, words in (
        (("add", "lobby"), "member of no queue"),
        (("add", "nobody"), "there is no user nobody"),
        (("show", "nosuch"), "there is no queue nosuch"),
        (("pause", "bob", "--until", "2020-01-01"), "over already"),
        (("report", "support", "--from", "yesterday"), "not a day"),
    ):
        refused = live("queue", *arguments)
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_queue_report(live: Callable[..., Any]) -> None:
    (day,) = said(live("queue", "report", "support", "--format", "json"))
    assert (day["callers"], day["answered"], day["in_time_percent"]) == (1, 1, 100.0)
    assert said(live("queue", "report", "support", "--to", "2020-01-01", "--format", "json")) == []


def test_a_plan_says_what_changes_in_a_queue(live: Callable[..., Any], tmp_path: Path) -> None:
    more = tmp_path / "queue_members.csv"
    more.write_text("account,queue,user,penalty\nacme,support,lobby,2\n")
    assert live("import", str(tmp_path)).exit_code == 0
    plan = live("plan").stdout
    assert "queue support calls its members differently" in plan
    assert "lobby added" in plan


COMPANY = """
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    country: DE
    queues:
      - {name: night, display_name: Night, strategy: loudest, required_skills: [German]}
      - {name: day, display_name: Day, on_full: "queue:gone", members: [alice, {user: nobody, penalty: 900}, alice]}
    extensions:
      - {extension: "629", queue: gone}
"""


def test_an_import_names_every_problem(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "company.yaml"
    path.write_text(COMPANY)
    problems = "\n".join(check(read_company(path), rows))
    for words in (
        "queues acme/night: strategy: 'loudest' must be ring_all or batch",
        "queues acme/night: required_skills: 'German' must be skills as words",
        "queue_members acme/day/nobody: penalty: '900' must be a number from 0 to 100",
        "queue_members acme/day/alice: stands here twice",
        "queue day of account acme: on_full leads to queue gone, which does not exist",
        "extensions acme/629: queue: gone is not in queues",
    ):
        assert words in problems
