"""Queues: how long a decision about a full one takes, in values and in PostgreSQL; then `queue_processes.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from controller.queues.engine import offer
from controller.queues.model import STRATEGIES, Caller, Member, Place, Queue, Setup
from controller.queues.store import Store
from tests.bench.figures import Figure, median
from tests.bench.lab import Failed, Lab, say
from tests.bench.queue_processes import processes

MEMBERS, WAITING = 1_000, 500
ROUNDS = 7
CLAIMS = 60
_NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
_DECISION_MS = 20
_COME = """
INSERT INTO control.queue_callers (ticket, account, queue, call_id, node, skills)
SELECT gen_random_uuid(), 'large', 'support', 'call', 'media1', ARRAY['german:' || 1 + n %% 3]
  FROM generate_series(1, %(count)s) AS n"""
# Everybody talks, with an open call and one device each.
_LARGE = (
    """
    INSERT INTO control.queue_callers (ticket, account, queue, call_id, node, state, member, answered_at)
    SELECT 'talk' || n, 'large', 'support', 'talk' || n, 'media1', 'talking', 'u' || n, clock_timestamp()
      FROM generate_series(0, %(members)s - 1) AS n""",
    """
    INSERT INTO control.queue_offers (account, member, caller_id, queue, legs, taken_at, until)
    SELECT account, member, id, queue, '{}', now(), now() + interval '1 hour' FROM control.queue_callers""",
    """
    INSERT INTO control.queue_member_stats (account, queue, member, last_offer_at, last_call_at, day, calls_today)
    SELECT account, queue, member, joined_at, joined_at, joined_at::date, 3 FROM control.queue_callers""",
    """
    INSERT INTO control.call_records (call_id, account, started_at, legs)
    SELECT call_id, account, joined_at, jsonb_build_array(jsonb_build_object('party', '+49301234567', 'ended_at', null),
           jsonb_build_object('party', member || '@large.example', 'ended_at', null)) FROM control.queue_callers""",
    """
    INSERT INTO control.node_state (node, kind, agent_started, heard_at)
    VALUES ('edge1', 'edge', now() - interval '1 min', now() + interval '1 hour')""",
    "INSERT INTO control.registrars VALUES ('edge1', now())",
    """
    INSERT INTO control.registrations (aor, edge, contacts, since)
    SELECT member || '@large.example', 'edge1', 1, now() FROM control.queue_callers""",
    _COME.replace("%(count)s", "%(waiting)s"),
    "ANALYZE",
)
_HANG_UP = """
WITH free AS (DELETE FROM control.queue_offers WHERE account = 'large' AND member = %(member)s RETURNING caller_id),
ended AS (UPDATE control.call_records AS r SET complete = true FROM free JOIN control.queue_callers AS c
             ON c.id = free.caller_id WHERE r.call_id = c.call_id)
UPDATE control.queue_callers AS c SET state = 'gone', outcome = 'answered', ended_at = clock_timestamp(),
       member = coalesce(member, %(member)s), answered_at = coalesce(answered_at, clock_timestamp())
  FROM free WHERE c.id = free.caller_id"""


def measure(lab: Lab, _: Sequence[int]) -> Iterator[Figure]:
    """Decisions; then three processes at one database."""
    yield decision()
    lab.postgres.create("queues")
    with psycopg.connect(lab.postgres.url("queues", "postgres"), autocommit=True) as rows:
        yield from asyncio.run(claims(lab.postgres.url("queues", "agent"), rows))
    yield from processes(lab.postgres.url("queues", "agent"))


def decision() -> Figure:
    """The slowest strategy: everybody is free, half as many wait."""
    members = {f"u{n}": Member((f"u{n}@x.example",)) for n in range(MEMBERS)}
    callers = [Caller(n, _NOW - timedelta(seconds=n), skills={"german": 1 + n % 3}) for n in range(WAITING)]
    took: dict[str, float] = {}
    for strategy in STRATEGIES:
        places = tuple(Place(f"u{n}", n % 3, skills={"german": 1 + n % 3}) for n in range(MEMBERS))
        queue = Queue("support", strategy, members=places)
        times = []
        for seed in range(ROUNDS):
            began = time.perf_counter()
            offer(queue, callers, members, _NOW, str(seed))
            times.append((time.perf_counter() - began) * 1000)
        took[strategy] = median(times)
    slowest = max(took, key=lambda strategy: took[strategy])
    note = f"{MEMBERS:,} members, {WAITING} wait, median of {ROUNDS}, strategy {slowest}; all offers of one decision"
    return Figure("queues.decision", took[slowest], "ms", _DECISION_MS, note=note)


async def claims(url: str, rows: psycopg.Connection[Any]) -> list[Figure]:
    """What a process does when a member of the full queue is free again, and when all are: lock, read, decide,
    reserve, tell."""
    say(f"{MEMBERS:,} members talk, {WAITING} callers wait")
    for statement in _LARGE:
        rows.execute(statement.encode(), {"members": MEMBERS, "waiting": WAITING})
    places = tuple(Place(f"u{n}", n % 3, skills={"german": 1 + n % 3}) for n in range(MEMBERS))
    devices = {place.user: (f"{place.user}@large.example",) for place in places}
    setup = Setup("large", {"support": Queue("support", "least_recent", members=places)}, devices)
    store = await Store.connect(url, lease_s=3600, take_s=3600, timeout_s=60)
    times = []
    for number in range(CLAIMS):
        rows.execute(_HANG_UP.encode(), {"member": f"u{number * 7 % MEMBERS}"})
        began = time.perf_counter()
        offered = await store.claim(setup, "support")
        times.append((time.perf_counter() - began) * 1000)
        if len(offered) != 1:
            raise Failed(f"a member is free, {len(offered)} callers were offered")
        rows.execute(_COME.encode(), {"count": 1})
    rows.execute(b"DELETE FROM control.queue_offers; UPDATE control.call_records SET complete = true")
    began = time.perf_counter()
    offered = await store.claim(setup, "support")
    whole = (time.perf_counter() - began) * 1000
    await store.close()
    # What follows has devices of no edge: nobody knows who is registered.
    rows.execute(b"DELETE FROM control.registrars")
    note = f"{MEMBERS:,} members, {WAITING} wait, one member hangs up; median of {CLAIMS}, worst {max(times):.0f}"
    return [
        Figure("queues.claim", median(times), "ms", _DECISION_MS, note=note),
        Figure(
            "queues.claim_all",
            whole / len(offered),
            "ms",
            note=f"all are free: {len(offered)} offers in {whole:.0f} ms",
        ),
    ]
