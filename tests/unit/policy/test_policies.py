"""Policies: the first rule that holds wins, and each one looked at has a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decide import decide
from controller.policy.snapshot import Live, Snapshot
from tests.unit.policy.acme import EVENING, call, decided, inside, seen

MAIN = call("policy", "main")
CLOSED = "closed since 17:30 until mon 2026-11-23 09:00: outside its times"


def rule(position: int, do: dict[str, Any], comment: str = "", **condition: Any) -> dict[str, Any]:
    return {"position": position, "comment": comment, "if": condition, "do": do}


def main(*rules: dict[str, Any], live: Live | None = None, **rest: Any) -> Snapshot:
    return seen(live, policy__main={"rules": list(rules), **rest})


def test_the_first_rule_that_holds_wins_whatever_the_order_of_the_rows() -> None:
    snapshot = main(
        rule(30, {"action": "voicemail", "target": "600"}),
        rule(20, {"action": "group", "target": "sales"}, "day", schedule="office"),
        rule(10, {"action": "reject", "target": "busy"}, caller="anonymous"),
    )
    program, reasons = decided(MAIN, snapshot)
    assert program == ["dp-next,s,1(group:sales,20)"]
    assert reasons == [
        ("rule 10 of policy main does not hold", "caller +49301234567 does not fit anonymous"),
        (
            "rule 20 (day) of policy main holds: group sales",
            "inside schedule office (open since 09:00 until 17:30: mon tue wed thu fri 09:00 to 17:30)",
        ),
    ]
    program, reasons = decided(MAIN, snapshot, EVENING)
    assert program == ["dp-next,s,1(voicemail:600,20)"]
    assert reasons[1:] == [
        ("rule 20 (day) of policy main does not hold", f"outside schedule office ({CLOSED})"),
        ("rule 30 of policy main holds: voicemail 600", "it has no condition"),
    ]


def test_otherwise_is_what_is_left() -> None:
    program, reasons = decided(
        MAIN, main(rule(1, {"action": "ring", "target": "bob"}, inside=True), otherwise="policy:night")
    )
    assert program == ["dp-next,s,1(policy:night,20)"]
    assert reasons[-1] == ("then policy night", "no rule of policy main ends the search")
    assert decided(MAIN, main())[0] == ["dp-next,s,1(hangup,20)"]


def test_next_sets_and_says_and_goes_on() -> None:
    program, reasons = decided(
        MAIN,
        main(
            rule(1, {"action": "next", "language": "fr", "caller_name": "VIP, (B)", "early": "welcome"}, list="vip"),
            rule(2, {"action": "next", "language": "it"}, language="de"),
            rule(3, {"action": "menu", "target": "main", "late": "acme/hello"}, language="fr"),
        ),
    )  # fmt: skip
    assert program == [
        r"dp-caller,s,1(fr,VIP\, \(B\))",
        "dp-early,s,1(welcome)",
        "dp-late,s,1(acme/hello)",
        "dp-next,s,1(menu:main,20)",
    ]
    assert [what for what, _ in reasons] == [
        "rule 1 of policy main holds: the next rules are looked at too",
        "language fr",
        "'VIP, (B)' before the caller's name",
        "play welcome before the call is answered",
        "rule 2 of policy main does not hold",
        "rule 3 of policy main holds: menu main",
        "answer and play acme/hello",
    ]


@pytest.mark.parametrize(
    ("action", "target", "line"),
    [
        ("extension", "101", "dp-next,s,1(extension:101,20)"),
        ("group", "sales", "dp-next,s,1(group:sales,20)"),
        ("menu", "main", "dp-next,s,1(menu:main,20)"),
        ("voicemail", "600", "dp-next,s,1(voicemail:600,20)"),
        ("announcement", "acme/closed", "dp-next,s,1(announce:acme/closed,20)"),
        ("forward", "+491709999", "dp-next,s,1(number:+491709999,20)"),
        ("reject", "unknown", "dp-reject,s,1(unknown)"),
        ("application", "survey", "dp-app,s,1(survey)"),
    ],
)
def test_an_action(action: str, target: str, line: str) -> None:
    program, reasons = decided(MAIN, main(rule(5, {"action": action, "target": target})))
    assert program == [line]
    assert reasons == [(f"rule 5 of policy main holds: {action} {target}", "it has no condition")]


def test_ring_a_user_a_device_nobody() -> None:
    def ring(target: str, live: Live | None = None) -> list[str]:
        return decided(MAIN, main(rule(5, {"action": "ring", "target": target}), live=live))[0]

    rest = "dp-otherwise,s,1(voicemail:101,busy,voicemail:101)"
    assert ring("alice") == ["dp-legs,s,1(app1@acme.example&desk1@acme.example,20,)", rest]
    assert ring("desk1@acme.example") == ["dp-legs,s,1(desk1@acme.example,20,)", rest]
    assert ring("lobby@acme.example") == [
        "dp-legs,s,1(lobby@acme.example,25,)",
        "dp-otherwise,s,1(hangup,busy,hangup)",
    ]
    assert ring("dave") == ["dp-next,s,1(extension:102,20)"]
    assert ring("zoe") == ["dp-reject,s,1(unavailable)"]
    assert ring("alice", Live(dnd=frozenset({"alice"}))) == ["dp-next,s,1(busy,17)"]
    assert ring("desk1@acme.example", Live(dnd=frozenset({"alice"}))) == ["dp-next,s,1(busy,17)"]


def test_the_headers_that_rules_look_at_are_known() -> None:
    snapshot = main(
        rule(1, {"action": "next"}, header=["X-Tier", "gold"]),
        rule(2, {"action": "next"}, header=["x-tier", "silver"]),
        rule(3, {"action": "next"}, header=["Subject", "help"]),
    )
    assert snapshot.headers == ("subject", "x-tier")
    assert seen().headers == ()


def test_what_is_decided_does_not_depend_on_what_was_decided_before() -> None:
    snapshot = main(rule(1, {"action": "next", "language": "fr"}, language="de"))
    assert decide(MAIN, snapshot, EVENING) == decide(MAIN, snapshot, EVENING)
    assert decided(replace(MAIN, language="en"), snapshot)[1][0][1] == "the language is en, not de"
    assert decided(inside("policy", "gone"), snapshot)[0] == []
