"""What happens to callers and offers when sessions die, and when three processes do everything at once."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from controller.queues.store import Store
from controller.queues.waiting import Joined, Swept
from tests.database import queue_process
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


def test_a_talk_lasts_as_long_as_the_edge_knows_its_telephone(url: str) -> None:
    """Without its session; channels of a node that died never end, and say nothing."""
    open_, over = "null", '"2026-11-20T09:00:00Z"'

    def record(out: str) -> str:
        ends = {"channel": "null", "in": "null", "out": out}
        legs = ", ".join(f'{{"leg": "{leg}", "ended_at": {end}}}' for leg, end in ends.items())
        return (
            "INSERT INTO control.call_records (call_id, account, started_at, legs) "
            f"VALUES ('call-t1', 'acme', now(), '[{legs}]') ON CONFLICT (call_id) DO UPDATE SET legs = excluded.legs"
        )

    async def work(store: Store) -> None:
        one = await store.join(SETUP, visit("t1"))
        await store.claim(SETUP, "support")
        await store.take(one.id)
        await store.answered(one.id, "alice")
        does(url, "UPDATE control.queue_callers SET seen_at = now() - interval '1 min'")
        does(url, record(open_))
        assert await store.sweep() == Swept(0, 0, ())
        does(url, record(over))
        assert await store.sweep() == Swept(1, 1, ())
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


@pytest.mark.thorough
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
