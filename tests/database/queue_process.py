"""A process that takes callers to a queue and rings members, as fast as it can: `python -m ... URL NUMBER OFFERS`.

It prints one JSON line for each ring when it is over: member, beginning and end (seconds of the machine's clock).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import NamedTuple

from controller.queues.model import Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Visit

USERS = [f"user{number}" for number in range(12)]
QUEUES = ("one", "two")
# Two queues with the same members, so that the lock of one queue alone protects nobody.
SETUP = Setup(
    "crowd",
    {
        name: Queue(name, "least_recent" if name == "one" else "batch", retry_s=0, join_empty=True,
                    members=tuple(Place(user) for user in USERS))
        for name in QUEUES
    },
    {user: (f"{user}@crowd.example",) for user in USERS},
)  # fmt: skip


class Ring(NamedTuple):
    """A member rang or talked."""

    member: str
    began: float
    ended: float


async def main(url: str, number: int, offers: int) -> None:
    """Ring until there were so many rings, then send those who wait away."""
    store = await Store.connect(url, lease_s=10, take_s=10, rest_s=0, timeout_s=60)
    dice = random.Random(number)
    callers: dict[int, str] = {}
    came = rings = 0
    while rings < offers:
        while len(callers) < 3:
            came += 1
            name = dice.choice(QUEUES)
            joined = await store.join(
                SETUP, Visit(f"{number}-{came}", "crowd", name, f"{number}-{came}", "node")
            )
            callers[joined.id] = name
        for name in QUEUES:
            await store.claim(SETUP, name)
        await store.sweep()
        await store.heartbeat(callers)
        for caller, name in list(callers.items()):
            ringing = await store.take(caller)
            if ringing is not None:
                rings += len(ringing.members)
                if await ring(store, caller, SETUP.queues[name], list(ringing.members), dice):
                    del callers[caller]
    for caller in callers:
        await store.leave(caller, "abandoned")
    await store.close()


async def ring(store: Store, caller: int, queue: Queue, members: list[str], dice: random.Random) -> bool:
    """One of them answers, or nobody, or the caller gives up; whether the caller is gone then."""
    began = time.monotonic()
    await asyncio.sleep(dice.choice((0, 0.002)))
    fate = dice.random()
    over = time.monotonic()
    if fate < 0.3:
        await store.missed(caller, queue)
    elif fate < 0.5:
        await store.leave(caller, "abandoned")
    else:
        taker = dice.choice(members)
        # From here on the others may ring elsewhere.
        await store.answered(caller, taker)
        for member in members:
            if member != taker:
                said(Ring(member, began, over))
        members = [taker]
        # Long enough for others to decide meanwhile.
        await asyncio.sleep(dice.choice((0, 0.03)))
        over = time.monotonic()
        await store.ended(caller, queue)
    for member in members:
        said(Ring(member, began, over))
    return fate >= 0.3


def said(ring: Ring) -> None:
    """Print it."""
    print(json.dumps(ring), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
