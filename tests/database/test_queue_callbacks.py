"""Who hung up and is called back: answered when reached, tried again, unreached in the end."""

from __future__ import annotations

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
                # The process died before it could say so: it counts, with the pause that is the default.
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
