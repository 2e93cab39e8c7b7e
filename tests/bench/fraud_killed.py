"""`dialplane fraud serve` is killed in the middle of a campaign, before the call that makes the verdict: the time from
its death to the verdict of the next process, and whether that counted each call once.

An edge, a media node and the controller, with their agents; one telephone calls a carrier ten times a second, and each
call goes on. The rule `calls-per-minute` that comes with dialplane warns at 15 calls and turns the telephone off at 30.
The process gets SIGKILL, and is started again by Docker's restart policy, which is that of compose.yaml. A verdict's
value must be the number of calls that had been sent to the carrier by then, and each level said once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from controller.fraud import defaults
from controller.fraud.model import CRITICAL
from tests.bench.figures import Figure
from tests.bench.installation import DOMAIN, Installation
from tests.bench.lab import Failed, Lab, say
from tests.bench.processes import container_id, pids

RULE = next(rule for rule in defaults.RULES if rule.name == "calls-per-minute")
CARRIER = 5060
RATE, COUNT, TALK_MS = 10, 50, 4_000
# Calls that were made when the process is killed: one campaign for each.
KILLED_AT = (12, 24, 28)
_LIMIT_S = 5.0
_START_S = 30.0
_ROWS = (
    f"INSERT INTO public.trunks (name, host, port) VALUES ('carrier', %(telephones)s, {CARRIER})",
    "INSERT INTO public.routes (prefix, trunk_id) SELECT '', id FROM public.trunks",
)
_VERDICTS = """
    SELECT level, value, extract(epoch FROM at)::float8 FROM control.fraud_verdicts
     WHERE rule = %s AND subject = %s ORDER BY id"""
# What an edge said of a leg to a trunk, in order of time: a call is counted from there.
_MADE = """
    SELECT extract(epoch FROM min(at))::float8 FROM control.call_events
     WHERE event = 'start' AND detail ->> 'leg' = 'out' AND detail ->> 'called' = %s GROUP BY call_id ORDER BY 1"""


class Told(NamedTuple):
    """A verdict; `made`: calls by then."""

    level: str
    value: float
    made: int


class Campaign(NamedTuple):
    """`killed`, `known`: when the process was killed, and when the critical verdict could be read; in s since 1970."""

    killed: float
    known: float
    passed: int
    told: list[Told]


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The longest time, and what was counted wrongly."""
    place = Installation(lab, "engine_killed", len(KILLED_AT), rows=_ROWS)
    place.answer(CARRIER)
    service = lab.start(
        "fraud", "controller", *lab.postgres.mount, "--restart", "unless-stopped",
        "-e", f"DIALPLANE_DATABASE={lab.postgres.inside('engine_killed', 'fraud')}",
        command=["dialplane", "fraud", "serve"],
    )  # fmt: skip
    _until(lambda: "works: " in lab.logs(service), "dialplane fraud serve does not begin to work")
    rows = place.world.connect("admin")
    campaigns = [_campaign(place, rows, service, n, at) for n, at in enumerate(KILLED_AT, 1)]
    place.world.close()
    place.remove()
    lab.remove(service)
    yield from figures(campaigns)


def figures(campaigns: Sequence[Campaign]) -> Iterator[Figure]:
    """Of all campaigns."""
    took = [one.known - one.killed for one in campaigns]
    said = ", ".join(
        f"killed after {at} calls {s:.1f} s, {one.passed} sent to the carrier"
        for at, s, one in zip(KILLED_AT, took, campaigns, strict=True)
    )
    yield Figure("fraud_engine_killed.verdict", max(took), "s", _LIMIT_S, note=f"{RATE} calls/s; {said}")
    wrong = [one for campaign in campaigns for one in campaign.told if one.value != one.made]
    levels = [one.level for campaign in campaigns for one in campaign.told]
    again = len(levels) - 2 * len(campaigns)
    told = ", ".join(f"{one.level} {one.value:g} of {one.made}" for c in campaigns for one in c.told)
    yield Figure("fraud_engine_killed.miscounted", len(wrong) + abs(again), "verdicts", 0, note=told)


def _campaign(place: Installation, rows: Connection[Any], service: str, n: int, after: int) -> Campaign:
    """Of user n, with the process killed after so many calls."""
    number, device = f"+498912340{n:02}", f"d{n}@{DOMAIN}"
    victims = pids(container_id(place.lab, service))
    say(f"campaign {n}: {RATE} calls a second, the process is killed after {after}")
    load = place.load([n], [number], rate=RATE, count=COUNT, port=5100 + n, talk_ms=TALK_MS, limit_s=20)
    _until(lambda: len(_made(rows, number)) >= after, f"{after} calls were not made")
    if any(level == CRITICAL for level, *_ in _verdicts(rows, device)):
        raise Failed("the verdict was there before the process was killed: kill it earlier")
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    killed = time.time()
    _until(
        lambda: any(level == CRITICAL for level, *_ in _verdicts(rows, device)), "no verdict after the kill"
    )
    known = time.time()
    load.wait()
    # What follows in a moment would be said by then.
    time.sleep(2)
    made = _made(rows, number)
    told = [
        Told(level, value, sum(one <= at for one in made)) for level, value, at in _verdicts(rows, device)
    ]
    return Campaign(killed, known, len(made), told)


def _verdicts(rows: Connection[Any], device: str) -> list[tuple[str, float, float]]:
    return rows.execute(_VERDICTS, (RULE.name, device)).fetchall()


def _made(rows: Connection[Any], number: str) -> list[float]:
    return [at for (at,) in rows.execute(_MADE, (number,)).fetchall()]


def _until(happened: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _START_S
    while not happened():
        if time.monotonic() > deadline:
            raise Failed(otherwise)
        time.sleep(0.01)
