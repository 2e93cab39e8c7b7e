"""Three processes decide about queues that share their members: `python -m tests.bench.queue_processes URL NUMBER RUN`.

Callers come, ring for one round, and give up. RUN `one_by_one`: each caller rings one member, for a time; `crowd`: many
at once, until 100,000 members rang. Each process prints who rang from when to when, as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Visit
from tests.bench.figures import Figure
from tests.bench.lab import ROOT, Failed, say

PROCESSES = 3
_LIMIT_S = 120


class Run(NamedTuple):
    """`members` of each of three queues; a process ends after so many seconds or rings."""

    members: int
    strategies: tuple[str, str, str]
    seconds: float
    rings: int


class Ring(NamedTuple):
    """A member rang, in seconds of the machine's clock."""

    member: str
    began: float
    ended: float


# What one lock guards, and what the reservations alone do: the queues have the same members.
RUNS = {
    "one_by_one": Run(60, ("least_recent", "least_recent", "least_recent"), 6, 1_000_000),
    "crowd": Run(300, ("ring_all", "batch", "ring_all"), _LIMIT_S, 100_000 // PROCESSES + 1),
}


def processes(url: str) -> Iterator[Figure]:
    """Both runs. Failed: a process ended before its time, or the crowd is too slow."""
    for name, run in RUNS.items():
        say(f"{PROCESSES} processes at 3 queues of {run.members} members: {name}")
        rings = _rings(url, name)
        began, ended = min(one.began for one in rings), max(one.ended for one in rings)
        yield Figure(
            f"queues.reservations_per_second.{name}", len(rings) / (ended - began), "1/s", at_least=True,
            note=f"{PROCESSES} processes, 3 queues with the same {run.members} members; each from joining to its end",
        )  # fmt: skip
        yield Figure(
            f"queues.double_rings.{name}", double(rings), "rings", 0, note=f"in {len(rings):,} offers"
        )
        if name == "crowd" and len(rings) < 100_000:
            raise Failed(f"{len(rings):,} offers in {_LIMIT_S} s")


def double(rings: list[Ring]) -> int:
    """How often a member rang who rang already."""
    return sum(
        1
        for one, after in itertools.pairwise(sorted(rings))
        if one.member == after.member and after.began < one.ended
    )


def _rings(url: str, name: str) -> list[Ring]:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.queue_processes", url, str(number), name],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    rings: list[Ring] = []
    for process in running:
        said, _ = process.communicate(timeout=2 * _LIMIT_S)
        if process.returncode:
            raise Failed(f"a process that claims ended with {process.returncode}")
        rings += [Ring(*one) for one in json.loads(said)]
    return rings


async def ring(url: str, number: int, run: Run, account: str) -> list[Ring]:
    """One process."""
    users = [f"u{n}" for n in range(run.members)]
    setup = Setup(
        account,
        {
            name: Queue(name, strategy, retry_s=0, join_empty=True, members=tuple(map(Place, users)))
            for name, strategy in zip(("one", "two", "three"), run.strategies, strict=True)
        },
        {user: (f"{user}@{account}.example",) for user in users},
    )
    store = await Store.connect(url, lease_s=60, take_s=60, timeout_s=60)
    dice = random.Random(number)
    rings: list[Ring] = []
    ringing: list[tuple[int, tuple[str, ...], float]] = []
    until = time.monotonic() + run.seconds
    came = 0
    while ringing or (time.monotonic() < until and len(rings) < run.rings):
        offered: list[int] = []
        if time.monotonic() < until and len(rings) < run.rings:
            came += 1
            name, ticket = dice.choice(sorted(setup.queues)), f"{account}-{number}-{came}"
            await store.join(setup, Visit(ticket, account, name, ticket, f"media{number}"))
            # Callers of the other processes too: who claims is their session.
            offered = await store.claim(setup, name)
        # They rang while we, and the others, decided.
        for caller, members, began in ringing:
            ended = time.monotonic()
            await store.leave(caller, "abandoned")
            rings += [Ring(member, began, ended) for member in members]
        taken = [await store.take(caller) for caller in offered]
        ringing = [(one.caller, one.members, time.monotonic()) for one in taken if one is not None]
    await store.close()
    return rings


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ring(sys.argv[1], int(sys.argv[2]), RUNS[sys.argv[3]], sys.argv[3]))))
