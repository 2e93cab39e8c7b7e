"""The edge that phones registered at is gone: the longest time until a call for them by another edge rings them.

Three edges of one device group, a media node and the controller, with their agents. Phones over UDP are at the first
edge and at the second, calls for them come by the third, 20 a second. The second edge stands still (`silent`): who asks
it waits 2 s for any answer, then rings the phone itself. The first is killed, and its address with it (`killed`). From
INVITE, which is challenged, to the 200 of a phone that answers as soon as it rings; of all calls begun since the edge
was gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from tests.bench.figures import Figure, median
from tests.bench.installation import Installation
from tests.bench.lab import Failed, Lab, say

EDGES = ("edge1", "edge2", "edge3")
CALLERS, CALLEES = 40, 20
RATE = 20
_BEFORE_S, _AFTER_S = 2, 6
# A second for what comes after the 2 s of silence.
_LIMIT_S = 3


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Both ways to be gone."""
    place = Installation(lab, "edge_lost", CALLERS + 2 * CALLEES, edges=EDGES)
    killed, silent, by = EDGES
    ways: tuple[tuple[str, str, Callable[[str], float]], ...] = (
        ("silent", silent, place.freeze),
        ("killed", killed, place.kill),
    )
    groups = {}
    for number, (way, edge, _) in enumerate(ways):
        first = CALLERS + number * CALLEES + 1
        groups[way] = range(first, first + CALLEES)
        place.register(groups[way], at=edge, port=5071 + number)
        place.answer(5071 + number, ring_ms=0)
    for number, (way, edge, happens) in enumerate(ways):
        say(f"{RATE} calls a second by {by}; {edge} will be {way}")
        load = place.load(
            range(1, CALLERS + 1), groups[way], by=by, rate=RATE, count=RATE * (_BEFORE_S + _AFTER_S), talk_ms=200,
            port=5091 + number,
        )  # fmt: skip
        time.sleep(_BEFORE_S)
        gone = happens(edge)
        calls = load.calls()
        before = [call for call in calls if call.answered and call.answered < gone]
        after = [call for call in calls if call.began >= gone]
        if failed := [call for call in after if call.answered is None]:
            raise Failed(f"{way}: {len(failed)} of {len(after)} phones were not reached: {failed[:5]}")
        took, usual = ([call.set_up_s for call in some] for some in (after, before))
        late = sum(one > 0.3 for one in took)
        yield Figure(
            f"edge_lost.{way}", max(took), "s", _LIMIT_S,
            note=f"longest of {len(took)} calls for phones over UDP, {late} of which took more than 0.3 s; "
            f"p50 {median(took) * 1000:.0f} ms, before {median(usual) * 1000:.0f} ms. Phones over TCP and TLS: when "
            "they registered at another edge",
        )  # fmt: skip
    place.remove()
