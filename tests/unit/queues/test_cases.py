"""Queues: tests/cases/queues, each moment a case. Where one has `asked_by`, that project asks the same of its queues.

A case has a `queue`, as its entry says, and `others` with callers of their own. A moment has the callers who wait then
(`waits_s` ago they came; `ringing`: a member rings for them), and what is new of members and queue: it holds on. Then
what is expected: `rings` (caller -> members), `legs`, `why` (of those named), `waits` (caller -> why nobody rings),
`idle` (member -> why it does not ring), `positions` (callers in order), `told` (caller -> position and wait, with
`talk_s`), `joins` (where one more caller goes instead, null: it may wait), `goes_on` (caller -> outcome and step).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.queues.engine import Decision, Rival, offer
from controller.queues.model import Caller, Member, Queue, queue, skills
from controller.queues.waiting import joins, leaves, positions, told

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
# What a member's times are called in the cases, in seconds before or after now.
AGO = {"last_offer_s": "last_offer_at", "last_call_s": "last_call_at"}
EXPECTED = ("rings", "legs", "why", "waits", "idle", "positions", "told", "joins", "joins_why", "goes_on")
GIVEN = ("when", "queue", "members", "callers", "talk_s")


def read() -> Iterable[Any]:
    """Moments, each with what the moments before it in the case have said of queue and members."""
    for path in sorted((Path(__file__).parents[2] / "cases" / "queues").glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            said: dict[str, Any] = {"queue": case["queue"], "members": {}, "others": case.get("others", [])}
            for number, moment in enumerate(case["moments"], 1):
                said = said | {
                    "queue": said["queue"] | moment.get("queue", {}),
                    "members": merged(said["members"], moment.get("members", {})),
                }
                yield pytest.param(said, moment, id=f"{path.stem}: {case['name']}: {number}")


def merged(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return before | {user: before.get(user, {}) | said for user, said in new.items()}


def member(user: str, said: Mapping[str, Any]) -> Member:
    """A member who is free, but for what is said of it."""
    values: dict[str, Any] = {"devices": (f"{user}@acme.example",)}
    for name, value in said.items():
        if name in AGO:
            values[AGO[name]] = NOW - timedelta(seconds=value)
        elif name in ("wrap_s", "rest_s"):
            values[name.replace("_s", "_until")] = NOW + timedelta(seconds=value)
        elif name == "pause":
            values |= {"paused": True, "pause_reason": value}
        else:
            values[name] = tuple(value) if name == "devices" else value
    return Member(**values)


def caller(said: Mapping[str, Any]) -> Caller:
    values = {name: value for name, value in said.items() if name not in ("waits_s", "retry_in_s", "ringing")}
    retry_in_s = said.get("retry_in_s")
    return Caller(
        **values
        | {"skills": skills(said.get("skills", ())), "tried": frozenset(said.get("tried", ()))}
        | {"joined_at": NOW - timedelta(seconds=said.get("waits_s", 0))}
        | {"retry_at": None if retry_in_s is None else NOW + timedelta(seconds=retry_in_s)}
    )


def states(of: Queue, said: Mapping[str, Any]) -> dict[str, Member]:
    return {place.user: member(place.user, said.get(place.user, {})) for place in of.members}


def rows(name: str, said: Mapping[str, Any]) -> Queue:
    """A queue as its entry; of a member that is only named the entry says no more."""
    assert said.keys() <= {one.name for one in fields(Queue)}
    members = [one if isinstance(one, dict) else {"user": one} for one in said.get("members", ())]
    return queue(name, {**said, "members": members})


def decided(of: Queue, said: Mapping[str, Any], moment: Mapping[str, Any]) -> Decision:
    rivals = []
    for other in said["others"]:
        rival = rows(other["name"], {key: other[key] for key in other if key not in ("name", "callers")})
        rivals.append(Rival(rival, [caller(one) for one in other["callers"]], states(rival, said["members"])))
    waiting = [caller(one) for one in moment.get("callers", ()) if not one.get("ringing")]
    return offer(of, waiting, states(of, said["members"]), NOW, "seed", rivals)


@pytest.mark.parametrize(("said", "moment"), list(read()))
def test_a_moment(said: dict[str, Any], moment: dict[str, Any]) -> None:
    asked = [name for name in EXPECTED if name in moment]
    assert asked
    assert moment.keys() <= {*EXPECTED, *GIVEN}
    of = rows("support", said["queue"])
    members = states(of, said["members"])
    callers = [caller(one) for one in moment.get("callers", ())]
    decision = decided(of, said, moment)
    place = positions(callers)
    instead = joins(of, len(callers), members)
    ways = {one.id: leaves(of, one, members, NOW) for one in callers}
    found: dict[str, Any] = {
        "rings": {one.caller: list(one.members) for one in decision.offers},
        "legs": {one.caller: list(map(str, one.legs)) for one in decision.offers},
        "why": {one.caller: one.why for one in decision.offers if one.caller in moment.get("why", ())},
        "waits": dict(decision.waits),
        "idle": dict(decision.idle_not),
        "positions": sorted(place, key=lambda one: place[one]),
        "told": {key: list(one) for key, one in told(of, callers, members, moment.get("talk_s")).items()},
        "joins": [instead.outcome, instead.step] if instead else None,
        "joins_why": instead.why if instead else None,
        "goes_on": {key: [way.outcome, way.step] for key, way in ways.items() if way},
    }
    assert {name: found[name] for name in asked} == {name: moment[name] for name in asked}
