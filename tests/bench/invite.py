"""Calls per second through our edge against a bare proxy script: INVITE, 180, 200, ACK, BYE, 200.

`from_media`: from a media node over TCP to a registered phone over UDP. The bare script looks the phone up and relays.
`from_device`: from a phone over UDP to a media node over TCP, challenged and signed in by SHA-256. The bare script
authenticates in the same way and relays. No account in the test has a call limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from tests.bench.figures import Figure
from tests.bench.lab import Lab
from tests.bench.pairs import compare, in_turns
from tests.bench.signalling import BARE, EDGE, MEDIA, PHONE, signalling

PAIRS = 5
CALLS = 4_000
# scenario -> where calls come from, transport, port, what is done in words.
_WAYS = {
    "from_media": (MEDIA, "t1", 5070, "media node to registered phone, no authentication"),
    "from_device": (PHONE, "u1", 5070, "phone to media node, digest authentication of each call"),
}


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Both ways, each against the bare script."""
    place = signalling(lab)
    for server in (EDGE, BARE):
        place.run(server, "register", PHONE, count=1_000, at_once=5)
    place.answer(PHONE, "u1")
    place.answer(MEDIA, "t1")
    for scenario, (source, transport, port, words) in _WAYS.items():
        for server in (EDGE, BARE):
            # One after the other first: the edge counts a stranger's first requests.
            place.run(server, scenario, source, count=20, at_once=1, transport=transport, port=port)
        once = partial(
            place.run, scenario=scenario, source=source, count=CALLS, transport=transport, port=port
        )
        runs = in_turns(scenario, (EDGE, BARE), PAIRS, once)
        yield from compare(f"invite_per_second.{scenario}", runs[EDGE], runs[BARE], "calls/s", words)
