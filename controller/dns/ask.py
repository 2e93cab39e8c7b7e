"""Name servers asked, and what they say beside what the rows say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.dns import compare, names, store
from controller.dns.compare import Difference, Question
from controller.wire import dns as wire

if TYPE_CHECKING:
    from psycopg import Connection

# Live conditions change while we look: what differs is looked at again after so long.
AGAIN_S = 1.5
# A server that leaves so many questions unanswered is away: no more are asked.
_SILENCES = 8
Places = Callable[[], Iterable[names.Place]]


class Standing(NamedTuple):
    """Serial of a server, that of the rows, what that means, how far it is behind (None: it does not answer)."""

    serial: str
    newest: int
    text: str
    late: int | None


def standing(
    connection: Connection[Any], settings: names.Settings, where: wire.Server, timeout_s: float = 2.0
) -> Standing:
    """Whether a server answers for both zones, and with which serial."""
    said: list[str] = []
    for zone in (settings.zone, settings.device_zone):
        answer = wire.ask(where, f"{zone}.", "SOA", timeout_s)
        if answer.problem or not answer.records:
            problem = answer.problem or f"no SOA record ({answer.rcode})"
            return Standing("-", store.serial(connection), f"{zone}: {problem}", None)
        said.append(answer.records[0].data.split()[2])
    newest = store.serial(connection)
    late = max(compare.behind(int(one), newest) for one in said)
    text = "in sync" if late == 0 else f"behind by {late}" if late > 0 else f"ahead by {-late}: other rows?"
    return Standing("/".join(dict.fromkeys(said)), newest, text, late)


class Asked(NamedTuple):
    """What a server answers otherwise; `accounts` it was asked about; `stopped`: why not about all, None: it was."""

    differences: list[Difference]
    accounts: int
    stopped: str | None


def differences(
    connection: Connection[Any],
    settings: names.Settings,
    server: tuple[str, wire.Server],
    places: Places,
    *,
    limit_s: float | None = None,
) -> Asked:
    """Ask a server about what all accounts share and the names of these places; what differs is looked at twice."""
    first = _Round(limit_s)
    found = list(first.asked(server, connection, settings, places))
    if found and not first.silent:
        time.sleep(AGAIN_S)
        suspicious = {(one.name, one.type) for one in found}
        found = list(_Round(limit_s).asked(server, connection, settings, places, suspicious))
    return Asked(found, first.accounts, first.stopped)


class _Round:
    """One time through all questions; it ends early when time is over or the server falls silent."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._ends = None if limit_s is None else time.monotonic() + limit_s
        self._silences = 0
        self.silent = False
        self.accounts = 0
        self.stopped: str | None = None

    def asked(
        self,
        server: tuple[str, wire.Server],
        connection: Connection[Any],
        settings: names.Settings,
        places: Places,
        only: set[tuple[str, str]] | None = None,
    ) -> Iterator[Difference]:
        for question, answer in wire.ask_all(server[1], self._questions(connection, settings, places, only)):
            if answer.silent:
                self._silences += 1
                if self._silences >= _SILENCES:
                    self.silent = True
                    self.stopped = f"no answers any more: {answer.problem}"
                continue
            if one := compare.difference(server[0], question, answer):
                yield one

    def _questions(
        self,
        connection: Connection[Any],
        settings: names.Settings,
        places: Places,
        only: set[tuple[str, str]] | None,
    ) -> Iterator[Question]:
        known = store.nodes(connection)
        for question in self._all(compare.of_all(known, settings), places, known, settings):
            if self._ends is not None and time.monotonic() > self._ends:
                self.stopped = self.stopped or f"not in {self._limit_s:g} s"
            if self.stopped:
                return
            if only is None or (question.name, question.type) in only:
                yield question

    def _all(
        self, shared: Iterable[Question], places: Places, known: names.Nodes, settings: names.Settings
    ) -> Iterator[Question]:
        yield from shared
        for place in places():
            yield from compare.of_place(place, known, settings)
            self.accounts += 1
