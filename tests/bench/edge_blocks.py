"""Calls per second through the edge with 100,000 blocks, against the same edge with none.

A call is INVITE, 407, INVITE, 180, 200, ACK, BYE, 200, from a phone over UDP to a media node over TCP, to an extension,
and to numbers as people and as telephones write them, in turn. The blocks are those of many accounts, users, devices,
addresses: prefixes of several lengths, classes, a country. The account that calls has some, so have half of its
devices; none of them fits what they dial, so every call looks at all that there can be.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from controller.agent.state import State
from tests.bench.figures import Figure, median
from tests.bench.lab import Failed, Lab, say
from tests.bench.pairs import costs, in_turns, ratio
from tests.bench.signalling import ACCOUNT as OWN
from tests.bench.signalling import DEVICES, DOMAIN, MEDIA, PHONE, Signalling, signalling
from tests.bench.signalling import entries as without

# A second each: of shorter ones the pairs differ by a third.
PAIRS, CALLS = 15, 4_000
RATIO = 0.97
BLOCKS = 100_000
_PRIVATE_MB = 128
# Address of the edge -> its entries.
BLOCKED, FREE = "127.0.0.17", "127.0.0.18"
DIALLED = ("200", "0891234567", "+49891234567", "+442071234567")
# Digits first; none of them begins what is dialled.
_PREFIXES = ("+88213", "+2162", "+53")
_HELD = "+8821312345"
_OWN = (*_PREFIXES, "premium", "satellite", "TN")

_Block = tuple[str, str]


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The ratio."""
    place = signalling(lab)
    _prepare(place)
    once = partial(place.run, scenario="from_device_to", source=PHONE, port=5070, lines="dialled")
    for server in (BLOCKED, FREE):
        # One after the other first: the edge counts a stranger's first requests.
        once(server, count=200, at_once=1)
    held = partial(once, count=1, at_once=1, lines="held")
    held(FREE)
    try:
        held(BLOCKED)
    except Failed:
        say(f"a call to {_HELD} is refused, as it should be")
    else:
        raise Failed(f"a call to {_HELD} was not blocked: this does not measure what it says")
    runs = in_turns("blocks", (BLOCKED, FREE), PAIRS, partial(once, count=CALLS))
    rates = [median([run.per_s for run in runs[server]]) for server in (BLOCKED, FREE)]
    note = f"{BLOCKS:,} blocks: {rates[0]:,.0f} calls/s against {rates[1]:,.0f}; {costs(runs[BLOCKED], runs[FREE])}"
    yield ratio("blocks_on_the_edge", runs[BLOCKED], runs[FREE], RATIO, note)
    for server in (BLOCKED, FREE):
        lab.remove(place.servers.pop(server))


def _prepare(place: Signalling) -> None:
    """Both edges, running, who calls what, and who answers."""
    state = State(place.folder / "blocks.db")
    state.load((*without(), *entries(list(blocks()), int(time.time()) + 86_400)), 1)
    state.close()
    place.edge("blocked", BLOCKED, 9106, state="blocks.db")
    place.edge("free", FREE, 9107)
    place.dial("dialled", ((f"d{n}", DOMAIN, DIALLED[n % len(DIALLED)]) for n in range(1, DEVICES + 1)))
    place.dial("held", [("d1", DOMAIN, _HELD)])
    place.start({BLOCKED: "blocked/kamailio.cfg", FREE: "free/kamailio.cfg"}, _PRIVATE_MB)
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
    lengths = sorted({len(what) for what in whats if what.startswith("+")}, reverse=True)
    pairs = [f"lengths={'/'.join(f'{one:02}' for one in lengths)}"] if lengths else []
    if begins := sorted({what[:3] for what in whats if what.startswith("+")}):
        pairs.append(f"begins={'/'.join(begins)}")
    if kinds := sorted(what for what in whats if what[0] not in "+*" and what != "outside"):
        pairs.append(f"kinds={'/'.join(kinds)}")
    pairs += [f"{name}=1" for what, name in (("outside", "outside"), ("*", "all")) if what in whats]
    return ";".join(pairs)
