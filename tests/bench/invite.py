"""Calls per second through our edge against a bare proxy script: INVITE, 180, 200, ACK, BYE, 200.

`from_media`: from a media node over TCP to a registered phone over UDP. The bare script looks the phone up and relays.
`from_device`: from a phone over UDP to a media node over TCP, challenged and signed in by SHA-256. The bare script
authenticates in the same way and relays. No account in the test has a call limit.
The bare script runs as Kamailio does by itself, and once more with the memory manager that edges are started with: what
remains then is the price of what the edge does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from tests.bench.figures import Figure
from tests.bench.lab import Lab
from tests.bench.pairs import compare, costs, in_turns, ratio
from tests.bench.signalling import BARE, BARE_TLSF, EDGE, MEDIA, PHONE, signalling

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
    for server in (EDGE, BARE, BARE_TLSF):
        place.run(server, "register", PHONE, count=1_000, at_once=5)
    place.answer(PHONE, "u1")
    place.answer(MEDIA, "t1")
    for scenario, (source, transport, port, words) in _WAYS.items():
        for server in (EDGE, BARE, BARE_TLSF):
            # One after the other first: the edge counts a stranger's first requests.
            place.run(server, scenario, source, count=20, at_once=1, transport=transport, port=port)
        once = partial(
            place.run, scenario=scenario, source=source, count=CALLS, transport=transport, port=port
        )
        runs = in_turns(scenario, (EDGE, BARE, BARE_TLSF), PAIRS, once)
        yield from compare(f"invite_per_second.{scenario}", runs[EDGE], runs[BARE], "calls/s", words)
        yield ratio(
            f"invite_per_second.{scenario}.same_memory", runs[EDGE], runs[BARE_TLSF], None,
            f"the bare script with the edge's memory manager: {costs(runs[EDGE], runs[BARE_TLSF])}",
        )  # fmt: skip
