"""Calls per second through the edge with 100,000 blocks, against the same edge with none.

A call is INVITE, 407, INVITE, 180, 200, ACK, BYE, 200, from a phone over UDP to a media node over TCP, to an extension,
and to numbers as people and as telephones write them, in turn. The blocks are those of many accounts, users, devices,
addresses: prefixes of several lengths, classes, a country. The account that calls has some, so have half of its
devices; none of them fits what they dial, so every call looks at all that there can be. Two edges run side by side;
each has the blocks in its memory half of the time, while the other has none. They share a processor, SIPp has another.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing

from controller.agent.state import State
from controller.wire.jsonrpc import JsonRpc
from tests.bench.figures import Figure, median
from tests.bench.lab import Failed, Lab, say
from tests.bench.pairs import costs, ratio, side_by_side
from tests.bench.signalling import ACCOUNT as OWN
from tests.bench.signalling import AT_ONCE, DEVICES, DOMAIN, MEDIA, PHONE, Run, Signalling, signalling
from tests.bench.signalling import entries as without

COUPLES, CALLS = 15, 4_000
RATIO = 0.97
BLOCKS = 100_000
_PRIVATE_MB = 128
# What has such a table read once more within this time is well.
_RELOAD_S = 30.0
# Addresses of the edges, and the ports of the phones that call through each.
EDGES = {"127.0.0.17": 5070, "127.0.0.18": 5071}
BLOCKED, FREE = "blocked", "free"
DIALLED = ("200", "0891234567", "+49891234567", "+442071234567")
# Digits first; none of them begins what is dialled.
_PREFIXES = ("+88213", "+2162", "+53")
_HELD = "+8821312345"
# How numbers of a country begin.
_COUNTRIES = {"TN": "+21"}
_OWN = (*_PREFIXES, "premium", "satellite", "TN")

_Block = tuple[str, str]


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The ratio."""
    place = signalling(lab)
    _prepare(place)

    def once(server: str, lines: str = "dialled", count: int = CALLS, at_once: int = AT_ONCE // 2) -> Run:
        return place.run(
            server, "from_device_to", PHONE, port=EDGES[server], lines=lines, count=count, at_once=at_once
        )

    def become(server: str, side: str) -> None:
        with closing(JsonRpc(place.folder / f"{_name(server)}.sock", timeout_s=_RELOAD_S)) as rpc:
            rpc.call("htable.reload" if side == BLOCKED else "htable.flush", "block")

    for server in EDGES:
        # One after the other first: the edge counts a stranger's first requests.
        once(server, count=200, at_once=1)
        become(server, FREE)
        once(server, "held", 1, 1)
        become(server, BLOCKED)
        try:
            once(server, "held", 1, 1)
        except Failed:
            say(f"a call to {_HELD} is refused, as it should be")
        else:
            raise Failed(f"a call to {_HELD} was not blocked: this does not measure what it says")
    with place.apart(EDGES):
        runs = side_by_side((BLOCKED, FREE), tuple(EDGES), COUPLES, become, once)
    rates = [median([run.per_s for run in runs[side]]) for side in (BLOCKED, FREE)]
    note = f"{BLOCKS:,} blocks: {rates[0]:,.0f} calls/s against {rates[1]:,.0f}; {costs(runs[BLOCKED], runs[FREE])}"
    yield ratio("blocks_on_the_edge", runs[BLOCKED], runs[FREE], RATIO, note)
    for server in EDGES:
        lab.remove(place.servers.pop(server))


def _name(server: str) -> str:
    return f"blocks{EDGES[server]}"


def _prepare(place: Signalling) -> None:
    """Both edges, running, who calls what, and who answers."""
    state = State(place.folder / "blocks.db")
    state.load((*without(), *entries(list(blocks()), int(time.time()) + 86_400)), 1)
    state.close()
    for server, port in EDGES.items():
        place.edge(_name(server), server, port + 4036, state="blocks.db")
    place.dial("dialled", ((f"d{n}", DOMAIN, DIALLED[n % len(DIALLED)]) for n in range(1, DEVICES + 1)))
    place.dial("held", [("d1", DOMAIN, _HELD)])
    place.start({server: f"{_name(server)}/kamailio.cfg" for server in EDGES}, _PRIVATE_MB)
    place.answer(MEDIA, "t1")


def blocks() -> Iterator[_Block]:
    """BLOCKS of them: whose, and of what."""
    yield from itertools.islice(_blocks(), BLOCKS)


def _blocks() -> Iterator[_Block]:
    for what in _OWN:
        yield f"account:{OWN}", what
    for n in range(2, DEVICES + 1, 2):
        for what in _PREFIXES[:2]:
            yield f"device:d{n}@{DOMAIN}", what
    for number in itertools.count(1):
        account = f"other{number:06}"
        for what in _OWN:
            yield f"account:{account}", what
        yield f"device:d1@{account}.example", "outside"
        yield f"device:d2@{account}.example", f"+2161{number % 1000:03}"
        yield f"user:{account}/u1", "+882"
        yield f"source:198.18.{number // 250 % 250}.{number % 250}", "*"


def entries(found: Sequence[_Block], until: int) -> Iterator[tuple[str, str, str]]:
    """What the triggers of table `blocks` make of them."""
    of: dict[str, list[str]] = defaultdict(list)
    for whose, what in found:
        of[whose].append(what)
        yield "block", f"{whose}:{what}", f"fraud;incident=7;until={until}"
    for whose, whats in of.items():
        yield "block", whose, announced(whats)


def announced(whats: Sequence[str]) -> str:
    """The entry of a subject: what there can be."""
    prefixes = [what for what in whats if what.startswith("+")]
    kinds = {what for what in whats if what[0] not in "+*" and what != "outside"}
    more = sum(
        bit
        for there, bit in ((kinds - _COUNTRIES.keys(), 1), ("outside" in whats, 4), ("*" in whats, 8))
        if there
    )
    begins = {what[:3] for what in prefixes} | {_COUNTRIES[what] for what in kinds & _COUNTRIES.keys()}
    tokens = "".join(f"{one}/" for one in sorted(begins | kinds))
    lengths = "/".join(f"{one:02}" for one in sorted({len(what) for what in prefixes}, reverse=True))
    return f"{more}/{tokens}" + (f";lengths={lengths}" if lengths else "")
