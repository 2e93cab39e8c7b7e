"""Calls on a real Asterisk, decided as the AGI server decides: replayed on the same rows, they went where they go."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from controller.calls import facts, fold
from controller.compiler import compile_account, compile_system
from controller.desired.model import Account, Step
from controller.policy import model, program
from controller.policy.decide import decide
from controller.policy.replay import ELSEWHERE, SAME, Verdict, recorded, replay
from tests.media import company
from tests.media.decided import DECIDED, Agi
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import until
from tests.unit.test_policy import Held

BEN = {"Caller": "ben", "Device": "p3@decided.example"}


def entries(edge: Edge, account: Account) -> Held:
    system = company.system(edge.host, edge.port)
    return Held.of([*compile_account(account, system), *compile_system(system)])


def record(media: MediaNode, call: str) -> dict[str, Any]:
    """The call's record, once Asterisk has told its end."""

    def own() -> list[dict[str, str]]:
        return [one for one in media.events() if one["userfield"] == call]

    until(lambda: any(one["eventtype"] == "LINKEDID_END" for one in own()))
    told = [facts.parse(json.dumps(one).encode(), "media1", "f", place) for place, one in enumerate(own())]
    found = fold.fold(call, told)
    assert found is not None
    return asdict(found) | {"caller": BEN["Device"], "account": "dec-1"}


SALES = next(one for one in DECIDED.groups if one.name == "sales-1")


@pytest.mark.parametrize(
    ("dialled", "kind", "name", "changed", "goes"),
    [
        ("600", "group", "sales-1", {"groups": (replace(SALES, on_busy=Step("voicemail", "101")), *DECIDED.groups[1:])},
         ("busy", "voicemail 101@dec-1")),
        ("610", "policy", "main", {"policies": (replace(DECIDED.policies[0], otherwise=Step("busy")),)},
         ("ring ann for 3 s", "busy")),
        ("104", "user", "dora", {"forwardings": DECIDED.forwardings[:2]}, ("ring ann for 3 s", "hangup")),
    ],
)  # fmt: skip
def test_a_real_call_goes_where_it_went(
    edge: Edge,
    agi: Agi,
    media: MediaNode,
    dialled: str,
    kind: str,
    name: str,
    changed: Any,
    goes: tuple[str, str],
) -> None:
    held = entries(edge, DECIDED)
    asked = model.Call("dec-1", "", kind, name, "", "ben", BEN["Device"], called=dialled, language="en")
    decision = decide(asked, held.snapshot("c1", "dec-1"), held.now)
    agi.decides(*(line.replace("\\", "\\\\") for line in program.lines(decision.program)))
    edge.answers = {"p1": "486", "p2": "486"}
    leg = edge.call(dialled, "dec-1", **BEN)
    assert leg.wait("final").code == 486
    call = recorded(record(media, f"call-{leg.call_id}"), "c1")
    assert call is not None
    assert call.leg.called == dialled
    assert replay(call, held) == Verdict(SAME)
    verdict = replay(call, entries(edge, replace(DECIDED, **changed)))
    assert (verdict.verdict, verdict.was, verdict.would) == (ELSEWHERE, *goes)
