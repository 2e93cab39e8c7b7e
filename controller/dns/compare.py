"""What name servers answer against what the rows say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from controller.dns.names import Nodes, Place, Record, Settings, addresses, of_account, of_zone


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to a question. `problem`: it said nothing of use, None: it did; `silent`: nothing at all;
    `rcode` as dig names it."""

    rcode: str = ""
    records: tuple[Record, ...] = ()
    problem: str | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A name and type, and the answers that are right: with live conditions, and as transferred, without."""

    name: str
    type: str
    right: tuple[frozenset[Record], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One name that a server answers otherwise."""

    server: str
    name: str
    type: str
    wanted: str
    got: str


def of_place(place: Place, known: Nodes, settings: Settings) -> Iterator[Question]:
    """Questions about the names of an account."""
    live = of_account(place, known, settings)
    stored = of_account(place, known, settings, live=False)
    for (name, now), (_, kept) in zip(live, stored, strict=True):
        yield Question(name, "SRV", (frozenset(now), frozenset(kept)))


def of_all(known: Nodes, settings: Settings) -> Iterator[Question]:
    """Questions about what all accounts share: name servers, addresses of targets."""
    for zone in (settings.zone, settings.device_zone):
        yield Question(f"{zone}.", "NS", (frozenset(of_zone(zone, settings)),))
    for record in addresses(known, settings):
        yield Question(record.name, record.type, (frozenset({record}),))


def difference(server: str, question: Question, answer: Answer) -> Difference | None:
    """None: the server says what the rows say, with live conditions or (a secondary) without."""
    if answer.problem is None:
        if frozenset(answer.records) in question.right:
            return None
        got = _shown(answer.records) or answer.rcode
    else:
        got = answer.problem
    return Difference(server, question.name, question.type, _shown(question.right[0]) or "no record", got)


def _shown(records: Iterable[Record]) -> str:
    """The same text for the same set."""
    found: Sequence[Record] = sorted(records, key=lambda one: (one.type, one.data))
    ttls = {one.ttl for one in found}
    text = ", ".join(one.data for one in found)
    return f"{text} (TTL {'/'.join(map(str, sorted(ttls)))})" if text else ""


def behind(serial: int, rows: int) -> int:
    """How far a serial is behind that of the rows, by RFC 1982; negative: ahead of it."""
    distance = (rows - serial) % (1 << 32)
    return distance if distance < 1 << 31 else distance - (1 << 32)
