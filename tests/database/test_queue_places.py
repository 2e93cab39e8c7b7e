"""Places in a queue when a node dies: who calls again has the old one, and nobody takes that of one who is there."""

from __future__ import annotations

from typing import Any

import pytest

from controller.queues.store import Store
from controller.queues.waiting import Swept
from tests.database.queue_rows import (
    SETUP,
    does,
    events,
    queues,  # noqa: F401 - fixture url
    run,
    value,
    visit,
)

NUMBER = "+4930111"


def late(url: str, caller: int, seconds: int) -> None:
    does(
        url,
        f"UPDATE control.queue_callers SET seen_at = now() - interval '{seconds} s',"
        f" joined_at = least(joined_at, now() - interval '{seconds} s') WHERE id = {caller}",
    )


async def order(store: Store) -> list[int]:
    told = await store.told(SETUP, "support")
    return sorted(told, key=lambda caller: told[caller].position)


def test_who_calls_again_before_the_lease_is_over_has_the_place_at_once(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1", caller=NUMBER))
        other = await store.join(SETUP, visit("t2", caller="+4930222"))
        assert set(await store.claim(SETUP, "support")) == {first.id, other.id}
        late(url, first.id, 7)
        again = await store.join(SETUP, visit("t3", caller=NUMBER, node="media2"))
        assert (again.way, again.again) == (None, True)
        assert again.id != first.id
        assert await order(store) == [again.id, other.id]
        assert value(url, "SELECT array_agg(member) FROM control.queue_offers") == ["bob"], "alice is free"
        assert await store.heartbeat([first.id, other.id, again.id]) == {other.id, again.id}
        await store.leave(again.id, "abandoned")
        assert [event for event, _ in events(url, first.id)] == ["joined", "offered", "lost", "rejoined"]
        assert [event for event, _ in events(url, again.id)] == ["joined", "rejoined", "abandoned"]

    run(url, work)
    level = "SELECT callers || ' ' || lost || ' ' || abandoned FROM control.queue_service_level"
    assert value(url, level) == "1 0 1", "one caller, one outcome"


def test_who_called_again_sooner_has_the_place_when_the_loss_is_noticed(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1", caller=NUMBER))
        other = await store.join(SETUP, visit("t2", caller="+4930222"))
        late(url, first.id, 3)
        again = await store.join(SETUP, visit("t3", caller=NUMBER))
        third = await store.join(SETUP, visit("t4", caller=NUMBER))
        assert not again.again
        assert await order(store) == [first.id, other.id, again.id, third.id]
        late(url, first.id, 16)
        assert await store.sweep() == Swept(1, 0, ())
        assert await order(store) == [again.id, other.id, third.id]
        assert await store.sweep() == Swept(0, 0, ())
        assert await order(store) == [again.id, other.id, third.id]
        assert [event for event, _ in events(url, again.id)] == ["joined", "rejoined"]
        assert [event for event, _ in events(url, first.id)] == ["joined", "lost", "rejoined"]
        # The first one's call is there after all: both wait where they were.
        back = await store.join(SETUP, visit("t1", caller=NUMBER))
        assert (back.id, back.again) == (first.id, True)
        assert await order(store) == [first.id, again.id, other.id, third.id]

    run(url, work)


def test_two_people_behind_one_number_both_keep_their_places(url: str) -> None:
    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1", caller=NUMBER))
        late(url, first.id, 5)
        second = await store.join(SETUP, visit("t2", caller=NUMBER, node="media2"))
        assert not second.again
        assert await store.heartbeat([first.id, second.id]) == {first.id, second.id}
        assert await order(store) == [first.id, second.id]
        # The node of the first one dies later: the second one is somebody else, who came while it was there.
        does(url, f"UPDATE control.queue_callers SET seen_at = now() + interval '1 s' WHERE id = {second.id}")
        does(url, "UPDATE control.queue_callers SET joined_at = joined_at - interval '1 min'")
        late(url, first.id, 16)
        await store.sweep()
        assert await order(store) == [second.id]
        assert "rejoined" not in [event for event, _ in events(url, second.id)]

    run(url, work)


@pytest.mark.parametrize(
    ("changes", "kept"), [({}, True), ({"caller": ""}, False), ({"queue": "all"}, False), ({"rejoin_s": 0}, False)]
)  # fmt: skip
def test_whose_place_it_is(url: str, changes: dict[str, Any], kept: bool) -> None:
    """Same account, queue and number, if the queue keeps places at all."""
    changes = dict(changes)
    rejoin_s = changes.pop("rejoin_s", 60)

    async def work(store: Store) -> None:
        first = await store.join(SETUP, visit("t1", caller=str(changes.get("caller", NUMBER))))
        late(url, first.id, 7)
        does(url, f"UPDATE control.queue_callers SET rejoin_s = {rejoin_s}")
        again = await store.join(SETUP, visit("t2", **({"caller": NUMBER} | changes)))
        assert again.again is kept

    run(url, work)
