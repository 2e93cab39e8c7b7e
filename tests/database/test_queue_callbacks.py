"""Who hung up and is called back: answered when reached, tried again, unreached in the end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.errors import DatabaseError
from controller.queues.store import Store
from controller.queues.waiting import Swept
from tests.database.queue_rows import (
    SETUP,
    SUPPORT_QUEUE,
    does,
    events,
    queues,  # noqa: F401 - fixture url
    run,
    value,
    visit,
)


def test_who_is_called_back_was_answered_when_reached_and_is_tried_again(url: str) -> None:
    queue = replace(SUPPORT_QUEUE, callback_tries=2, callback_pause_s=60)
    stats = (
        "SELECT calls_today || ' ' || (wrap_until IS NOT NULL) FROM control.queue_member_stats"
        " WHERE member = 'alice'"
    )

    async def rings(store: Store, caller: int) -> None:
        assert await store.claim(SETUP, "support") == [caller]
        assert await store.take(caller)
        await store.calls(caller, "another-call")
        assert await store.answered(caller, "alice")

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        assert await store.claim(SETUP, "support") == [one.id]
        # Its offer was taken by nobody while it typed the number.
        assert await store.call_back(one.id, "+4930111222")
        assert value(url, "SELECT count(*) FROM control.queue_offers") == 0
        assert not await store.reached(one.id), "nobody rings yet"
        await rings(store, one.id)
        assert value(url, "SELECT call_id FROM control.queue_callers") == "another-call"
        assert await store.unreached(one.id, queue, "busy")
        assert not await store.unreached(one.id, queue, "busy"), "told twice, it is once"
        assert not await store.ended(one.id, queue)
        assert value(url, stats) == "0 false"
        assert await store.claim(SETUP, "support") == [], "it has its pause"
        assert (
            value(url, "SELECT round(extract(epoch FROM retry_at - now())) FROM control.queue_callers") == 60
        )
        does(url, "UPDATE control.queue_callers SET retry_at = now()")
        await rings(store, one.id)
        assert await store.reached(one.id)
        assert not await store.reached(one.id)
        assert not await store.unreached(one.id, queue, "told too late")
        assert value(url, stats) == "1 false"
        assert await store.ended(one.id, queue, "alice")
        assert value(url, stats) == "1 true"
        assert events(url, one.id) == [
            ("joined", None), ("offered", "alice"), ("callback", None), ("offered", "alice"), ("calling", "alice"),
            ("unanswered", "alice"), ("offered", "alice"), ("calling", "alice"), ("answered", "alice"),
            ("ended", "alice"),
        ]  # fmt: skip

    run(url, work)


def test_who_never_answers_a_call_back_is_unreached(url: str) -> None:
    queue = replace(SUPPORT_QUEUE, callback_tries=2, callback_pause_s=0)

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1", caller="+4930111222"))
        await store.call_back(one.id, "+4930111222")
        for lost in (False, True):
            assert await store.claim(SETUP, "support") == [one.id]
            assert await store.take(one.id)
            assert await store.answered(one.id, "alice")
            if lost:
                # The process died before it could say so: it counts. Nothing is published here: the defaults.
                does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
                assert await store.sweep() == Swept(1, 1, (("acme", "support"),))
                does(url, "UPDATE control.queue_callers SET retry_at = now()")
                assert await store.claim(SETUP, "support") == [one.id]
                assert await store.take(one.id)
                assert await store.answered(one.id, "alice")
            assert await store.ended(one.id, queue)
        assert value(url, "SELECT outcome FROM control.queue_callers") == "unreached"
        assert [event for event, _ in events(url, one.id)].count("unanswered") == 3
        assert [event for event, _ in events(url, one.id)].count("unreached") == 1
        again = await store.join(SETUP, visit("t2", caller="+4930111222"))
        assert not again.again

    run(url, work)
    assert value(url, "SELECT answered || ' ' || unreached FROM control.queue_service_level") == "0 1"


@pytest.mark.parametrize("number", ["112", "030123", "101", "+49", "+0123456"])
def test_only_e164_or_an_own_device_can_be_stored_to_be_called_back(url: str, number: str) -> None:
    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        with pytest.raises(DatabaseError, match="queue_callers_callback"):
            await store.call_back(one.id, number)
        assert await store.call_back(one.id, number, "desk1@acme.example")
        assert await store.claim(SETUP, "support") == [one.id]
        ringing = await store.take(one.id)
        assert ringing is not None
        assert (ringing.callback, ringing.device) == (number, "desk1@acme.example")

    run(url, work)


def test_what_a_lost_session_tried_counts_by_the_row_of_its_queue(url: str) -> None:
    """As it is published: the process that notices may hold no entries of the account."""
    entry = json.dumps({"callback_tries": 2, "callback_pause_s": 77})
    does(
        url,
        "INSERT INTO control.entries (kind, scope, tbl, key, value, account, revision)"
        f" VALUES ('media', 'c9', 'policy', 'acme/queue/support', '{entry}', 'acme', 1)",
    )

    async def rings(store: Store, caller: int) -> None:
        assert await store.claim(SETUP, "support") == [caller]
        assert await store.take(caller)
        assert await store.answered(caller, "alice")
        does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
        await store.sweep()

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        await store.call_back(one.id, "+4930111222")
        await rings(store, one.id)
        pause = "SELECT round(extract(epoch FROM retry_at - now())) FROM control.queue_callers"
        assert value(url, pause) == 77
        does(url, "UPDATE control.queue_callers SET retry_at = now()")
        await rings(store, one.id)
        assert value(url, "SELECT outcome FROM control.queue_callers") == "unreached"
        detail = (
            "SELECT string_agg(detail, '; ' ORDER BY id) FROM control.queue_events WHERE event = 'unanswered'"
        )
        assert value(url, detail) == "call 1 of 2: its session was lost; call 2 of 2: its session was lost"

    try:
        run(url, work)
    finally:
        does(url, "DELETE FROM control.entries WHERE scope = 'c9'")


def test_who_calls_instead_of_being_called_has_the_place(url: str) -> None:
    """One visit, one outcome; on the telephone from then on, and no pause between two calls back holds any more."""

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1", caller="+4930111222"))
        other = await store.join(SETUP, visit("t2", caller="+4930333"))
        await store.call_back(one.id, "+4930111222")
        does(url, f"UPDATE control.queue_callers SET retry_at = now() + interval '1 h' WHERE id = {one.id}")
        does(
            url,
            "UPDATE control.queue_callers SET joined_at = now() - interval '1 h', called_at = now() - interval '1 h'",
        )
        stranger = await store.join(SETUP, visit("t3", caller="+4930999"))
        assert not stranger.again
        again = await store.join(SETUP, visit("t4", caller="+4930111222", node="media2"))
        assert (again.id, again.way, again.again) == (one.id, None, True)
        assert value(url, "SELECT count(*) FROM control.queue_callers") == 3
        waits = (
            "SELECT state || ' ' || node || ' ' || (now() - called_at < interval '1 min')::text"
            f" FROM control.queue_callers WHERE id = {one.id}"
        )
        assert value(url, waits) == "waiting media2 true"
        assert await store.heartbeat([one.id]) == {one.id}
        assert await store.claim(SETUP, "support") == [one.id, other.id]
        ringing = await store.take(one.id)
        assert ringing is not None
        assert ringing.callback is None
        assert await store.calls_back([one.id], "media1") == []
        assert await store.answered(one.id, "alice")
        assert await store.ended(one.id, SUPPORT_QUEUE, "alice")
        assert [event for event, _ in events(url, one.id)] == [
            "joined", "callback", "rejoined", "offered", "answered", "ended",
        ]  # fmt: skip

    run(url, work)
    assert value(url, "SELECT callers FROM control.queue_service_level") == 1


def test_who_calls_while_members_ring_for_the_call_back_has_the_place_afterwards(url: str) -> None:
    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1", caller="+4930111222"))
        await store.call_back(one.id, "+4930111222")
        other = await store.join(SETUP, visit("t2", caller="+4930333"))
        assert await store.claim(SETUP, "support") == [one.id, other.id]
        assert await store.take(one.id)
        again = await store.join(SETUP, visit("t3", caller="+4930111222"))
        assert again.id not in (one.id, other.id)
        assert await store.answered(one.id, "alice")
        # Its line is busy: it is on the telephone with us.
        assert await store.unreached(one.id, SUPPORT_QUEUE, "busy")
        assert value(url, f"SELECT state FROM control.queue_callers WHERE id = {one.id}") == "gone"
        await store.missed(other.id, SUPPORT_QUEUE)
        told = await store.told(SETUP, "support")
        assert {caller: told[caller].position for caller in told} == {again.id: 1, other.id: 2}
        await store.leave(again.id, "abandoned")
        await store.leave(other.id, "abandoned")

    run(url, work)
    assert value(url, "SELECT callers || ' ' || abandoned FROM control.queue_service_level") == "2 2"
