"""Prioritised alerting over all callers of a queue, and members who say no, as the rows say."""

from __future__ import annotations

import psycopg

from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from tests.database.queue_rows import (
    does,
    events,
    queues,  # noqa: F401 - fixture url
    run,
    value,
    visit,
)

USERS = ("alice", "bob", "carol", "dave")
DEVICES = {user: (f"{user}@acme.example",) for user in USERS}
PLACES = tuple(Place(user) for user in USERS)
QUEUE = Queue(
    "support", "in_order", join_empty=True, members=PLACES, alert_limit=2, alert_pace_ms=10_000, retry_s=0
)
ALL = Queue("support", "ring_all", join_empty=True, members=PLACES, retry_s=0)


def ringing(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT o.member FROM control.queue_offers o JOIN control.queue_callers c ON c.id = o.caller_id"
            " WHERE c.state = 'ringing' ORDER BY 1"
        )
        return [member for (member,) in rows]


def test_no_more_telephones_ring_than_may_whoever_calls(url: str) -> None:
    setup = Setup("acme", {"support": QUEUE}, DEVICES)

    async def work(store: Store) -> None:
        ids = [(await store.join(setup, visit(f"t{number}"))).id for number in range(4)]
        assert await store.claim(setup, "support") == ids[:2]
        assert await store.claim(setup, "support") == []
        decided, _, _ = await store.look(setup, "support")
        assert decided.waits == dict.fromkeys(ids[2:], "2 telephones are alerted, 2 may be at once")
        assert ringing(url) == ["alice", "bob"]
        # One who talks rings no more; but telephones that began just now count.
        await store.take(ids[0])
        assert await store.answered(ids[0], "alice")
        assert await store.claim(setup, "support") == []
        does(url, "UPDATE control.queue_member_stats SET last_offer_at = now() - interval '11 s'")
        assert await store.claim(setup, "support") == [ids[2]]
        assert ringing(url) == ["bob", "carol"]
        await store.missed(ids[1], QUEUE)
        does(url, "UPDATE control.queue_member_stats SET last_offer_at = now() - interval '11 s'")
        assert await store.claim(setup, "support") == [ids[1]], "whose turn it is"
        assert ringing(url) == ["carol", "dave"]

    run(url, work)


def test_who_says_no_is_free_for_others_while_the_rest_rings(url: str) -> None:
    setup = Setup("acme", {"support": ALL}, DEVICES)

    async def work(store: Store) -> None:
        first, second = [(await store.join(setup, visit(f"t{number}"))).id for number in range(2)]
        assert await store.claim(setup, "support") == [first]
        assert await store.take(first)
        assert await store.refused(first, "bob")
        assert not await store.refused(first, "bob"), "once"
        assert not await store.refused(first, "nobody")
        assert await store.claim(setup, "support") == [second]
        ring = await store.take(second)
        assert ring is not None
        assert ring.rings == {"bob": ("bob@acme.example",)}
        assert await store.missed(first, ALL) == ["alice", "carol", "dave"]
        assert await store.missed(second, ALL, refused=["bob"]) == ["bob"]
        # All have rung for the first one: anew. Bob comes last for the second one.
        assert await store.claim(setup, "support") == [first]
        assert ringing(url) == list(USERS)
        assert not await store.refused(second, "bob"), "it does not ring"
        for user in USERS:
            assert await store.refused(first, user)
        assert await store.claim(setup, "support") == [second]
        assert ringing(url) == ["alice", "carol", "dave"]
        assert await store.missed(first, ALL) == []

    run(url, work)
    assert [event for event in events(url) if event[1] == "bob"] == [
        ("offered", "bob"), ("refused", "bob"), ("offered", "bob"), ("refused", "bob"), ("offered", "bob"),
        ("refused", "bob"),
    ]  # fmt: skip
    assert value(url, "SELECT count(*) FROM control.queue_callers WHERE state = 'waiting'") == 1
