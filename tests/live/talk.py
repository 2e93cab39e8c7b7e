"""What tests of calls say again and again."""

from __future__ import annotations

import time

from tests.live import stack
from tests.live.phones import Leg, Message, Phone, Running

A_SECOND = 35  # of the 50 frames of a second: what must arrive at least
NODES = {"10.213.0.21": "media1", "10.213.0.22": "media2", "10.213.0.23": "media3", "10.213.0.24": "media4"}


def went_well(*legs: Leg) -> None:
    """Every scenario went as written; else all of them are shown."""
    assert all(leg.ok for leg in legs), "\n".join(map(str, legs))


def both_hear(one: tuple[Leg, Phone], other: tuple[Leg, Phone], frames: int = A_SECOND) -> None:
    """Sound arrived both ways."""
    assert one[0].hears(other[1]) >= frames, f"{one[1].user} did not hear {other[1].user}:\n{one[0]}"
    assert other[0].hears(one[1]) >= frames, f"{other[1].user} did not hear {one[1].user}:\n{other[0]}"


Talker = tuple[Running, Phone]


def hear_each_other(*pairs: tuple[Talker, Talker]) -> None:
    """From now on sound arrives both ways in every pair; what they heard before does not count."""

    def all_heard() -> list[tuple[Talker, Phone, int]]:
        return [
            (who, whom[1], who[0].heard().get(str(whom[1].voice), 0))
            for one, other in pairs
            for who, whom in ((one, other), (other, one))
        ]

    before = all_heard()
    time.sleep(1.0)
    for ((running, phone), whom, now), (_, _, then) in zip(all_heard(), before, strict=True):
        assert now - then >= A_SECOND, (
            f"{phone.user} did not hear {whom.user}: {now - then} frames\n{running}"
        )


def hears_music(who: Running, whom: Phone) -> None:
    """`whom` holds the call: `who` hears music and nothing of `whom`."""
    time.sleep(0.3)  # what was under way
    before = who.heard()
    time.sleep(0.8)
    after = who.heard()
    assert after.get("other", 0) - before.get("other", 0) >= A_SECOND / 2, (before, after)
    assert after.get(str(whom.voice), 0) == before.get(str(whom.voice), 0), (before, after)


def records(since: str, count: int, limit_s: float = 15) -> list[dict[str, object]]:
    """The records of all calls that began since then, oldest first: so many, and every one complete."""
    query = f"SELECT * FROM control.call_records WHERE started_at >= '{since}' ORDER BY started_at"

    def complete() -> list[dict[str, object]]:
        found = stack.documents(query)
        return found if len(found) >= count and all(one["complete"] for one in found) else []

    try:
        found = stack.until(complete, f"{count} complete call records", limit_s=limit_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: {stack.documents(query)}") from error
    assert len(found) == count, found
    return found


def record(since: str) -> dict[str, object]:
    """The record of the one call that began since then, complete."""
    return records(since, 1)[0]


def node_of(invite: Message) -> str:
    """The media node an INVITE came through."""
    return next(
        name for address, name in NODES.items() if any(address in via for via in invite.headers("Via"))
    )
