"""Queues in PostgreSQL: visits, who may wait, who is offered whom."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from controller.errors import InputError
from controller.queues.engine import on_duty
from controller.queues.model import Member, Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Joined, Way
from tests.database.queue_rows import (
    ACME,
    ALICE,
    SETUP,
    SUPPORT_QUEUE,
    does,
    events,
    queues,  # noqa: F401 - fixture url
    run,
    value,
    visit,
)


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


@pytest.mark.thorough
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
                alert_limit=(None, 3, 1, None)[number % 4], alert_pace_ms=10_000,
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


@pytest.mark.parametrize("says", ["refused at once", "all refused", "not reached"])
def test_who_says_no_is_offered_nobody_for_a_second_by_any_queue(url: str, says: str) -> None:
    """Whatever `retry_s` is: here nothing."""
    rest = "UPDATE control.queue_member_stats SET rest_until = rest_until - interval '1 s'"

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1", "vip"))
        other = await store.join(SETUP, visit("t2", "vip", caller="+4930222"))
        vip = replace(SETUP.queues["vip"], retry_s=0)
        assert await store.claim(SETUP, "vip") == [one.id]
        assert await store.take(one.id)
        if says == "refused at once":
            assert await store.refused(one.id, "alice")
        await store.missed(one.id, vip, ["alice"] if says == "all refused" else [])
        assert await store.claim(SETUP, "vip") == []
        decided, _, members = await store.look(SETUP, "vip")
        assert decided.idle_not["alice"].startswith("said no, or was not reached, and rings again in ")
        assert on_duty(vip, members) == 1
        third = await store.join(SETUP, visit("t3", "support"))
        assert await store.claim(SETUP, "support") == [third.id]
        assert value(url, "SELECT member FROM control.queue_offers") == "bob"
        does(url, rest)
        assert await store.claim(SETUP, "vip") == [one.id]
        assert await store.take(one.id)
        # Who lets it ring has no rest.
        does(url, "UPDATE control.queue_member_stats SET last_offer_at = now() - interval '3 s'")
        await store.missed(one.id, vip)
        assert await store.claim(SETUP, "vip") == [one.id]
        await store.leave(other.id, "abandoned")

    run(url, work, rest_s=1.0)


def test_who_lets_calls_ring_out_pauses_until_somebody_ends_that(url: str) -> None:
    queue = replace(SETUP.queues["vip"], retry_s=0, autopause_after=3)
    setup = replace(SETUP, queues={**SETUP.queues, "vip": queue})
    paused = "SELECT coalesce(bool_or(paused), false) FROM member_states"

    async def rings_out(store: Store, caller: int, *, refused: bool = False) -> None:
        assert await store.claim(setup, "vip") == [caller]
        assert await store.take(caller)
        await store.missed(caller, queue, ["alice"] if refused else [])

    async def work(store: Store) -> None:
        one = await store.join(setup, visit("t1", "vip"))
        for _ in range(2):
            await rings_out(store, one.id)
        await rings_out(store, one.id, refused=True)
        for _ in range(2):
            await rings_out(store, one.id)
            assert value(url, paused) is False, "who said no begins anew"
        assert await store.claim(setup, "vip") == [one.id]
        assert await store.take(one.id)
        assert await store.answered(one.id, "alice")
        assert await store.ended(one.id, queue)
        two = await store.join(setup, visit("t2", "vip"))
        for number in range(3):
            assert value(url, paused) is False, number
            await rings_out(store, two.id)
        assert await store.claim(setup, "vip") == []
        decided, _, _ = await store.look(setup, "vip")
        assert decided.idle_not["alice"] == "pauses (let 3 calls of queue vip ring out)"
        said = "SELECT member || ': ' || detail FROM control.queue_events WHERE event = 'paused' AND queue = 'support'"
        assert value(url, said) == "alice: let 3 calls of queue vip ring out", "in all her queues"
        does(url, "DELETE FROM member_states")
        await rings_out(store, two.id)
        assert value(url, paused) is False, "it begins anew"

    run(url, work)


def test_what_a_member_says_itself_is_no_pause_of_the_queue(url: str) -> None:
    def pauses(member: str) -> bool:
        return bool(value(url, f"SELECT control.queue_autopause('acme', '{member}', 'let 3 calls ring out')"))

    assert not pauses("nobody")
    does(url, f"INSERT INTO member_states (account_id, user_id, logged_in) SELECT {ACME}, {ALICE}, false")
    assert not pauses("alice")
    does(url, "UPDATE member_states SET logged_in = true, paused = true, pause_reason = 'lunch'")
    assert not pauses("alice")
    assert value(url, "SELECT pause_reason FROM member_states") == "lunch"
    does(url, "UPDATE member_states SET until = now() - interval '1 s'")
    assert pauses("alice"), "the lunch is over"
    assert (
        value(url, "SELECT pause_reason || coalesce(until::text, '') FROM member_states")
        == "let 3 calls ring out"
    )


def test_a_member_may_have_a_wrap_up_of_its_own(url: str) -> None:
    queue = replace(SUPPORT_QUEUE, members=(Place("alice", wrap_up_s=5), Place("bob")))
    setup = replace(SETUP, queues={**SETUP.queues, "support": queue})

    async def work(store: Store) -> None:
        for ticket, member in (("t1", "alice"), ("t2", "bob")):
            one = await store.join(setup, visit(ticket))
            assert await store.claim(setup, "support") == [one.id]
            assert await store.take(one.id)
            assert await store.answered(one.id, member)
            assert await store.ended(one.id, queue)

    run(url, work)
    wraps = (
        "SELECT string_agg(round(extract(epoch FROM wrap_until - last_call_at))::text, ' ' ORDER BY member)"
        " FROM control.queue_member_stats"
    )
    assert value(url, wraps) == "5 30"
