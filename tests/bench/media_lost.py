"""A media node dies under load: the longest time from INVITE to answer of calls in set-up, and how many calls failed.

An edge and three media nodes with their agents and the controller; phones call phones, 25 a second, and each rings for
half a second, so that some are in set-up at any time. Two media nodes are killed, one after the other, with all that
runs there. A call's time begins with its first INVITE, which is challenged, and ends with the 200. Who was answered by
the node that died is cut off; nobody else may notice more than that it rings again, or 2 s of silence where the INVITE
was on its way to the node when that died.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure
from tests.bench.installation import Installation
from tests.bench.lab import Failed, Lab, say
from tests.live.load import Call

MEDIA = ("media1", "media2", "media3")
# Each caller is in one call at a time: a second one would go where the first is.
CALLERS, CALLEES = 120, 40
RATE, RING_MS, TALK_MS = 25, 500, 500
_BEFORE_S, _BETWEEN_S = 4, 7
_LIMIT_S = 3
# An extension with a next step: a call from phone to phone that needs a media node.
_ROWS = ("UPDATE public.extensions SET on_no_answer = 'busy'",)


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Both."""
    place = Installation(lab, "media_lost", CALLERS + CALLEES, media=MEDIA, rows=_ROWS)
    callees = range(CALLERS + 1, CALLERS + CALLEES + 1)
    place.register(callees, port=5070)
    place.answer(5070, ring_ms=RING_MS, calls=2)
    killed = MEDIA[:2]
    say(f"{RATE} calls a second; killing {' and '.join(killed)}")
    seconds = _BEFORE_S + _BETWEEN_S * len(killed)
    load = place.load(range(1, CALLERS + 1), callees, rate=RATE, count=RATE * seconds, talk_ms=TALK_MS)
    deaths: list[tuple[float, float]] = []
    for number, node in enumerate(killed):
        time.sleep(_BETWEEN_S if number else _BEFORE_S)
        deaths.append((time.time(), place.kill(node)))
    calls = load.calls()
    place.remove()
    yield from figures(calls, deaths)


def figures(calls: Sequence[Call], deaths: Sequence[tuple[float, float]]) -> Iterator[Figure]:
    """Of each death: when it was begun, and when it was done."""
    set_up = [
        call
        for call in calls
        if any(call.began < done and (call.answered or done) >= begun for begun, done in deaths)
    ]
    new = [call for call in calls if call.began >= deaths[0][1] and call not in set_up]
    moved = sum(call.answered is None or call.set_up_s > RING_MS / 1000 * 1.2 for call in set_up)
    if not moved:
        raise Failed(f"none of {len(set_up)} calls in set-up was on a media node that died")
    failed = [call for call in (*set_up, *new) if call.answered is None]
    for call in failed:
        say(f"failed: {call}; deaths {deaths}")
    ring_s, slowest = RING_MS / 1000, max(call.set_up_s for call in new)
    yield Figure(
        "media_node_lost.set_up", max(call.set_up_s for call in set_up), "s", _LIMIT_S,
        note=f"longest of {len(set_up)} calls in set-up, {moved} of them on the node; phones ring for {ring_s:g} s",
    )  # fmt: skip
    yield Figure(
        "media_node_lost.failed", len(failed), "calls", 0,
        note=f"of these, and of {len(new)} begun after it, of which the slowest took {slowest:.2f} s; "
        f"{len(deaths)} of {len(MEDIA)} nodes killed, {RATE} calls/s",
    )  # fmt: skip
