"""A verdict suspends an account: the longest time until the last of its live calls is down, at both ends.

An edge, a media node and the controller, with their agents. Telephones of two accounts are in calls: through the media
node to a carrier and straight from telephone to telephone, each answered and still ringing, and to an emergency number.
The verdict is handed to `enforce.act`; from there the time goes until a telephone, and who it talks with, have the BYE,
the CANCEL or the refusal. Calls of the other account and emergency calls must go on.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from controller.fraud import defaults, feed
from controller.fraud.enforce import act
from controller.fraud.model import CRITICAL, Verdict
from controller.schema.database import connect
from tests.bench.figures import Figure
from tests.bench.group import read
from tests.bench.installation import DOMAIN, OTHER, Installation, Load
from tests.bench.lab import Failed, Lab, say

_ACCOUNT = DOMAIN.removesuffix(".example")
_LIMIT_S = 1.0
_RING_MS = 40_000
_SET_UP_S, _AFTER_S = 20.0, 4.0
# Ports of those who are called: carriers, telephones that answer, telephones that ring.
_CARRIER, _RINGING, _ANSWER, _RING = 5060, 5061, 5070, 5071
_OUTSIDE, _UNANSWERED, _EMERGENCY = "0891234567", "0401234567", "112"
USERS = 100
_CALLEES = range(71, 86), range(86, 101)
ROWS = (
    f"""INSERT INTO public.trunks (name, host, port)
        VALUES ('carrier', %(telephones)s, {_CARRIER}), ('ringing', %(telephones)s, {_RINGING})""",
    """INSERT INTO public.routes (prefix, trunk_id)
       SELECT CASE name WHEN 'ringing' THEN '4940' ELSE '' END, id FROM public.trunks""",
    f"""INSERT INTO public.emergency_numbers (country, number) VALUES ('DE', '{_EMERGENCY}') ON CONFLICT DO NOTHING""",
    f"""INSERT INTO public.emergency_routes (emergency_number_id, trunk_id)
        SELECT n.id, t.id FROM public.emergency_numbers AS n, public.trunks AS t
         WHERE n.country = 'DE' AND n.number = '{_EMERGENCY}' AND t.name = 'carrier'""",
)


class Way(NamedTuple):
    """Calls of one kind: who calls what; whether they are answered; whether the verdict means them."""

    name: str
    callers: range
    callees: Sequence[int | str]
    answered: bool = True
    meant: bool = True
    domain: str = DOMAIN


WAYS = (
    Way("media, answered", range(1, 21), (_OUTSIDE,)),
    Way("media, ringing", range(21, 36), (_UNANSWERED,), answered=False),
    Way("straight, answered", range(36, 51), _CALLEES[0]),
    Way("straight, ringing", range(51, 66), _CALLEES[1], answered=False),
    Way("emergency", range(66, 69), (_EMERGENCY,), meant=False),
    Way("others, media", range(1, 21), (_OUTSIDE,), meant=False, domain=OTHER),
    Way("others, ringing", range(21, 31), (_UNANSWERED,), answered=False, meant=False, domain=OTHER),
    Way("others, straight", range(36, 51), _CALLEES[0], meant=False, domain=OTHER),
)


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The longest time, and calls that were touched and should not."""
    place = Installation(lab, "calls_down", USERS, rows=ROWS, accounts=2)
    place.answer(_CARRIER)
    far = [place.answer(_RINGING, ring_ms=_RING_MS, calls=2)]
    for number, domain in enumerate((DOMAIN, OTHER)):
        for callees, port in zip(_CALLEES, (_ANSWER, _RING), strict=True):
            place.register(callees, port=port + 10 * number, domain=domain)
    place.answer(_ANSWER)
    far.append(place.answer(_RING, ring_ms=_RING_MS, calls=2))
    place.answer(_ANSWER + 10)
    loads = {
        way: place.load(
            way.callers, way.callees, rate=10, count=len(way.callers), port=5100 + number, domain=way.domain,
            limit_s=60, ending="wait",
        )
        for number, way in enumerate(WAYS)
    }  # fmt: skip
    _wait(loads)
    say(f"{sum(len(way.callers) for way in WAYS)} calls are up or ring; a verdict suspends {_ACCOUNT}")
    began = _suspend(lab)
    time.sleep(_AFTER_S)
    downs = {way: [at - began for at in down(load.log).values()] for way, load in loads.items()}
    far_ends = [at - began for one in _far(place) for at in down(one).values()]
    place.remove()
    yield from figures(downs, far_ends)


def figures(downs: dict[Way, list[float]], far_ends: Sequence[float]) -> Iterator[Figure]:
    """Of each way the times at which calls were down, in s after the verdict; those of all who were called."""
    meant = {way: times for way, times in downs.items() if way.meant}
    up = {way.name: len(way.callers) - len(times) for way, times in meant.items()}
    if any(up.values()):
        raise Failed(f"still up {_AFTER_S:g} s after the verdict: {up}")
    count = sum(len(times) for times in meant.values())
    if len(far_ends) < count:
        raise Failed(f"{count} calls are down, but only {len(far_ends)} of those who were called know")
    last = {way.name: max(times) for way, times in meant.items()} | {"who was called": max(far_ends)}
    said = ", ".join(f"{name} {at:.2f}" for name, at in last.items())
    yield Figure(
        "fraud_calls_down.longest",
        max(last.values()),
        "s",
        _LIMIT_S,
        note=f"{count} calls; last of each: {said}",
    )
    touched = {way.name: len(times) for way, times in downs.items() if not way.meant}
    go_on = ", ".join(f"{len(way.callers)} {way.name}" for way in downs if not way.meant)
    yield Figure("fraud_calls_down.touched", sum(touched.values()), "calls", 0, note=f"of {go_on}")


def _far(place: Installation) -> list[Path]:
    ports = (_CARRIER, _RINGING, _ANSWER, _RING, _ANSWER + 10)
    return [place.folder / f"answer-{port}.log" for port in ports]


def _wait(loads: dict[Way, Load]) -> None:
    """Until all calls are what they shall be."""
    deadline = time.monotonic() + _SET_UP_S
    missing: dict[str, int] = {}
    while time.monotonic() < deadline:
        missing = {
            way.name: left
            for way, load in loads.items()
            if (left := len(way.callers) - _reached(load.log, answered=way.answered))
        }
        if not missing:
            return
        time.sleep(0.2)
    raise Failed(f"calls that were not set up: {missing}")


def _reached(log: Path, *, answered: bool) -> int:
    """Calls with a 200, or that ring."""
    if not log.exists():
        return 0
    wanted = ("SIP/2.0 200",) if answered else ("SIP/2.0 180", "SIP/2.0 183")
    return len({line.call for line in read(log) if not line.sent and line.start.startswith(wanted)})


def down(log: Path) -> dict[str, float]:
    """Calls that the far end, or who is between, ended: when."""
    found: dict[str, float] = {}
    for line in read(log):
        if line.sent or line.call in found:
            continue
        refused = line.start.startswith(("SIP/2.0 4", "SIP/2.0 5", "SIP/2.0 6"))
        if line.start.startswith(("BYE ", "CANCEL ")) or (refused and " 407 " not in line.start):
            found[line.call] = line.at
    return found


def _suspend(lab: Lab) -> float:
    """When the verdict was there."""
    rule = next(rule for rule in defaults.RULES if rule.name == "cost")
    rule = dataclasses.replace(rule, actions=("notify", "end_calls", "suspend"))
    with connect(lab.postgres.url("calls_down", "fraud")) as connection:
        at = time.time()
        found = Verdict(rule, "account", _ACCOUNT, CRITICAL, 300, 300, at, at + 3600, account=_ACCOUNT)
        with connection.transaction():
            feed.keep(connection, found)
            act(connection, found)
    return at
