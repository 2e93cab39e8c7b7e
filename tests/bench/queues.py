"""Queues: how long a decision about a full one takes, how many reservations three processes make a second, and that
nobody rings twice: in 100,000 simulated offers, and in all that the three processes made."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controller.queues.engine import offer
from controller.queues.model import STRATEGIES, Caller, Member, Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Visit
from tests.bench.figures import Figure, median
from tests.bench.lab import ROOT, Failed, Lab, say

MEMBERS, WAITING = 1_000, 500
ROUNDS = 7
SIMULATED = 100_000
PROCESSES, SECONDS = 3, 10
_NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
_DECISION_MS = 50
# Three queues that share their members: what one lock guards, and what the reservations alone do.
_SETUP = Setup(
    "crowd",
    {
        name: Queue(
            name, "least_recent", retry_s=0, join_empty=True, members=tuple(Place(f"u{n}") for n in range(60))
        )
        for name in ("one", "two", "three")
    },
    {f"u{n}": (f"u{n}@crowd.example",) for n in range(60)},
)


def measure(lab: Lab, _: Sequence[int]) -> Iterator[Figure]:
    """A decision; the simulation; the processes."""
    yield decision()
    yield simulation()
    lab.postgres.create("queues")
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


def simulation() -> Figure:
    """A day of a queue in values: how often a member was offered who rang already."""
    dice = random.Random(1)
    strategies = [one for one in STRATEGIES if one != "ring_all"]
    members = {f"u{n}": Member((f"u{n}@x.example",)) for n in range(40)}
    places = tuple(Place(user, dice.randrange(3)) for user in members)
    waiting: dict[int, Caller] = {}
    rings: dict[int, tuple[str, ...]] = {}
    now, came, offers, double = _NOW, 0, 0, 0
    while offers < SIMULATED:
        now += timedelta(seconds=1)
        for _ in range(dice.randrange(12)):
            came += 1
            waiting[came] = Caller(came, now)
        queue = Queue("support", strategies[came % len(strategies)], members=places)
        made = offer(queue, waiting.values(), members, now, str(offers)).offers
        for one in made:
            del waiting[one.caller]
            rings[one.caller] = one.members
            for user in one.members:
                offers += 1
                double += members[user].reserved
                members[user] = replace(members[user], reserved=True, last_offer_at=now)
        for caller in [caller for caller in rings if dice.random() < 0.4]:
            for user in rings.pop(caller):
                members[user] = replace(members[user], reserved=False, last_call_at=now)
    return Figure("queues.double_rings.simulated", double, "rings", 0, note=f"in {offers:,} simulated offers")


def processes(url: str) -> Iterator[Figure]:
    """Engine processes of three media nodes at one database."""
    say(f"{PROCESSES} processes claim for {SECONDS} s")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.queues", url, str(number)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    rings: list[tuple[str, float, float]] = []
    for process in running:
        said, _ = process.communicate(timeout=SECONDS * 6)
        if process.returncode:
            raise Failed(f"a process that claims ended with {process.returncode}")
        rings += [tuple(one) for one in json.loads(said)]
    rings.sort()
    double = sum(1 for one, after in itertools.pairwise(rings) if one[0] == after[0] and after[1] < one[2])
    began, ended = min(one[1] for one in rings), max(one[2] for one in rings)
    yield Figure(
        "queues.reservations_per_second", len(rings) / (ended - began), "1/s", at_least=True,
        note=f"{PROCESSES} processes, 3 queues with the same 60 members; each from joining to its end",
    )  # fmt: skip
    yield Figure("queues.double_rings", double, "rings", 0, note=f"in {len(rings):,} reservations")


async def claims(url: str, number: int) -> list[tuple[str, float, float]]:
    """One process: callers come, ring for one round, and give up; member, beginning and end of each ring."""
    store = await Store.connect(url, lease_s=60, take_s=60, timeout_s=60)
    dice = random.Random(number)
    rings: list[tuple[str, float, float]] = []
    ringing: list[tuple[int, tuple[str, ...], float]] = []
    callers: set[int] = set()
    until, came = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        came += 1
        name = dice.choice(sorted(_SETUP.queues))
        joined = await store.join(
            _SETUP, Visit(f"{number}-{came}", "crowd", name, f"{number}-{came}", f"media{number}")
        )
        callers.add(joined.id)
        await store.claim(_SETUP, name)
        for caller, members, began in ringing:
            ended = time.monotonic()
            await store.leave(caller, "abandoned")
            rings += [(member, began, ended) for member in members]
            callers.discard(caller)
        ringing = []
        for caller in sorted(callers):
            taken = await store.take(caller)
            if taken is not None:
                ringing.append((caller, taken.members, time.monotonic()))
    await store.close()
    return rings


if __name__ == "__main__":
    print(json.dumps(asyncio.run(claims(sys.argv[1], int(sys.argv[2])))))
