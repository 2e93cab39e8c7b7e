"""Calls per second through the edge with forwarding names, against the same edge without.

A call is INVITE, 407, INVITE, 180, 200, ACK, BYE, 200, from a phone over UDP to a media node over TCP.
With: 20 accounts, each at a cluster, with two services apart, which other clusters serve and take over. Calls ask for
voice, queue, conference, voicemail and numbers outside in turn. So each call looks up which service it asks for, where
the account has that, who takes over, whether the account moves, and gets the name as its Request-URI.
Without: the same entries, phones and calls, and the same script, but for a cluster and a Request-URI that stand in it.
One of four nodes of the cluster is drawn by weight in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from controller.agent.state import State
from tests.bench.figures import Figure, median
from tests.bench.lab import Failed, Lab
from tests.bench.pairs import costs, in_turns, ratio
from tests.bench.signalling import PHONE, Signalling, credential, signalling

# Short ones: what the machine does besides is then in both of a pair.
PAIRS, CALLS = 15, 1_500
RATIO = 0.95
NAMED, PLAIN = "127.0.0.15", "127.0.0.16"
# One process answers for all media nodes, as it does without names.
MEDIA = "127.0.0.22"
ACCOUNTS, EACH = 20, 50
CLUSTERS, NODES = ("c1", "c2", "c3", "c4"), 4
DIALLED = ("200", "600", "800", "*102", "0891234567")
_SERVICES = {"600": "queue", "800": "conference", "*102": "voicemail"}

# kamailio/media.cfg without names: what stands there -> what stands there instead.
_ASSIGN = "    route(ASSIGN);\n    if (route(TALKS_THERE)) {\n        return 1;\n    }\n"
_NAME = '    $ru = "sip:" + $var(called) + "@" + $var(service) + "." + $var(account) + ".__ZONE__";\n'
_SCRIPTS: dict[str, dict[str, str]] = {
    NAMED: {},
    PLAIN: {
        _ASSIGN: '    $var(cluster) = "c1"; $var(over) = "c2";\n',
        _NAME: '    $ru = "sip:200@media.__ZONE__";\n',
    },
}


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The ratio."""
    place = signalling(lab)
    _prepare(place)
    once = partial(place.run, scenario="from_device_to", source=PHONE, port=5070, lines="calls")
    for server in _SCRIPTS:
        # One after the other first: the edge counts a stranger's first requests.
        once(server, count=200, at_once=1)
    chosen = [{node[:2] for node in _chosen(place, server)} for server in _SCRIPTS]
    if chosen != [set(CLUSTERS), {CLUSTERS[0]}]:
        raise Failed(f"calls went to nodes of {chosen}")
    runs = in_turns("names", tuple(_SCRIPTS), PAIRS, partial(once, count=CALLS))
    rates = [median([run.per_s for run in side]) for side in runs.values()]
    note = f"{rates[0]:,.0f} calls/s against {rates[1]:,.0f}; {costs(runs[NAMED], runs[PLAIN])}"
    yield ratio("names_on_the_edge", runs[NAMED], runs[PLAIN], RATIO, note)
    for server in _SCRIPTS:
        lab.remove(place.servers.pop(server))


def _prepare(place: Signalling) -> None:
    """The edges, running, who calls what, and who answers."""
    state = State(place.folder / "named.db")
    state.load(_entries(), 1)
    state.close()
    for number, (server, changes) in enumerate(_SCRIPTS.items()):
        place.edge(f"names{number}", server, 9104 + number, state="named.db")
        _rewrite(place.folder / f"names{number}/media.cfg", changes)
    place.dial("calls", _calls())
    place.start({server: f"names{number}/kamailio.cfg" for number, server in enumerate(_SCRIPTS)})
    place.answer(MEDIA, "t1")


def _calls() -> Iterator[tuple[str, str, str]]:
    """Who dials what."""
    for number in range(ACCOUNTS * EACH):
        turn, account = divmod(number, ACCOUNTS)
        yield f"d{turn + 1}", f"{_account(account)}.example", DIALLED[(turn + account) % len(DIALLED)]


def _rewrite(path: Path, changes: dict[str, str]) -> None:
    """Failed when what is to be replaced is not there: then this does not measure what it says."""
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            raise Failed(f"{path.name} has no {old.strip()!r}: say in {__name__} what stands there now")
        text = text.replace(old, new)
    path.write_text(text)


def _chosen(place: Signalling, server: str) -> set[str]:
    """Media nodes that calls went to, by the edge's call events."""
    spool = f"{place.folder}/names{list(_SCRIPTS).index(server)}-spool"
    found = place.lab.execute(
        place.servers[server], "sh", "-c", f"""cat {spool}/*.jsonl | grep -o '"media":"[^"]*"' | sort -u"""
    )
    return {line.split('"')[3] for line in found.splitlines()}


def _account(number: int) -> str:
    return f"bench{number:06}"


def _entries() -> Iterator[tuple[str, str, str]]:
    """What the compiler and the triggers make of these accounts and nodes."""
    yield "media_node", MEDIA, "media1"
    yield "emergency", "DE:112", "1"
    for place, cluster in enumerate(CLUSTERS):
        nodes = (f"{cluster}n{n}={MEDIA}:5060,{10 * n}" for n in range(1, NODES + 1))
        yield "target", cluster, " ".join(nodes)
        yield "overflow", cluster, CLUSTERS[(place + 1) % len(CLUSTERS)]
    for number in range(ACCOUNTS):
        name, domain = _account(number), f"{_account(number)}.example"
        own, first, second, third = (CLUSTERS[(number + n) % len(CLUSTERS)] for n in range(4))
        apart = f"queue={second}/{first};conference={first}/{third}"
        yield "account", name, f"cluster={own};status=active;country=DE;ext=3;{apart}"
        yield "domain", domain, name
        for dialled, service in _SERVICES.items():
            yield "service", f"{name}/{dialled}", service
        for n in range(1, EACH + 1):
            yield "credential", f"d{n}@{domain}", credential(name, n, domain)
