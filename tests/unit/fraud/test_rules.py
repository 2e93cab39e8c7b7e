"""Rules in files, in sentences, and from an account's own history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import BadRows
from controller.fraud import baseline, explain, proposed
from controller.fraud.defaults import PERMISSIONS, RULES
from controller.fraud.engine import Engine
from controller.fraud.model import EVERYBODY, OBSERVE, Owner, Permission
from tests.unit.fraud.calls import DESK, NOON, TUNIS, answer, rule, run, start

GENERAL = {one.name: one for one in RULES}


def test_a_file_says_what_rows_say() -> None:
    found = proposed.read(
        {
            "rules": [
                {"name": "own", "metric": "calls", "scope": "device", "window_s": 60, "critical": 5, "warning": 2.5,
                 "destinations": "premium TN +88213", "days": ["sat", "sun"], "from_time": "20:00", "to_time": "24:00",
                 "actions": ["notify", "outbound_off"], "account": "acme", "user": "alice"},
                {"name": "costly-calls", "account": "acme", "critical": 20, "mode": "enforce"},
                {"name": "cost", "reseller": "north", "enabled": False},
            ],
            "allows": [{"account": "acme", "what": "+22177", "reason": "branch"}, {"source": "198.51.100.1"}],
            "permissions": [{"reseller": "north", "class": "satellite", "allowed": True}],
            "rates": {"premium": 1.5},
        },
        RULES,
    )  # fmt: skip
    own, costly, cost = found.rules
    assert (own.destinations, own.days, own.from_minute, own.to_minute) == (
        ("premium", "TN", "+88213"), ("sat", "sun"), 1200, 1440,
    )  # fmt: skip
    assert (own.owner, own.mode, own.origin) == (Owner("acme", user="alice"), OBSERVE, "file")
    assert costly == replace(GENERAL["costly-calls"], owner=Owner("acme"), critical=20.0, origin="file")
    assert (cost.enabled, cost.metric, cost.owner) == (False, "cost", Owner(reseller="north"))
    assert found.allows[0].what == "+22177"
    assert found.permissions == [Permission("satellite", True, Owner(reseller="north"), "enforce", "file")]
    assert found.rates == {"premium": 1.5}


BASE = {"name": "x", "metric": "calls", "scope": "device", "window_s": 60, "critical": 5}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "Big Rule"}, "name: one word"),
        ({"name": "permission-x"}, "not permission-"),
        ({"metric": "cals"}, "metric: 'cals' must be calls or"),
        ({"scope": "phone"}, "scope: 'phone' must be device or"),
        ({"mode": "on"}, "mode: 'on' must be observe or enforce"),
        ({"actions": "shout"}, "actions: 'shout'"),
        ({"destinations": "Tunisia"}, "destinations: 'Tunisia'"),
        ({"days": "monday"}, "days: 'monday'"),
        ({"critical": None}, "give a warning, a critical threshold, or both"),
        ({"critical": 0}, "above 0"),
        ({"warning": 6}, "critical is not below warning"),
        ({"from_time": "20:00"}, "give both or none"),
        ({"from_time": "25:00", "to_time": "06:00"}, "must be a time"),
        ({"window_s": 0}, "1 or more seconds"),
        ({"window_s": "long"}, "window_s: 'long' must be a number"),
        ({"window_s": 1.5}, "window_s: 1.5 must be a number"),
        ({"critical": True}, "critical: True must be a number"),
        ({"enabled": "yes"}, "write true or false"),
        ({"metric": "failed_auth", "scope": "source", "destinations": "TN"}, "does not go by destinations"),
        ({"metric": "failed_names"}, "is counted by source"),
        ({"user": "alice"}, "needs its account beside it"),
        ({"account": "acme", "user": "alice", "device": DESK}, "not several"),
        ({"account": "acme", "reseller": "north"}, "leave account out, or reseller"),
        ({"threshold": 5}, "threshold: no such column"),
    ],
)
def test_every_problem_of_a_row_is_said(row: dict[str, object], words: str) -> None:
    with pytest.raises(BadRows) as refused:
        proposed.read({"rules": [BASE | row, BASE | {"scope": "nobody"}]})
    assert words in refused.value.problems[0]
    assert refused.value.problems[0].startswith("rules 1: ")
    assert refused.value.problems[-1].startswith("rules 2: scope: 'nobody'")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "expected rules"),
        ({"rule": []}, "rule: no such table"),
        ({"rules": {}}, "expected a list"),
        ({"rules": ["x"]}, "expected `name: value` lines"),
        ({"allows": [{"reason": "all"}]}, "it allows everybody everything"),
        ({"allows": [{"account": "acme", "what": "030"}]}, "first digits"),
        ({"permissions": [{"class": "moon", "allowed": True}]}, "class: 'moon'"),
        ({"permissions": [{"class": "premium"}]}, "allowed: write true or false"),
        (
            {"permissions": [{"class": "premium", "allowed": True, "reseller": "r", "account": "a"}]},
            "or reseller",
        ),
        ({"allows": [{"reseller": "north", "what": "+41", "reason": "x"}]}, "reseller: no such column"),
        ({"rates": {"moon": 1}}, "rates moon"),
        ({"rates": [1]}, "rates: expected"),
    ],
)
def test_what_is_no_table_of_rules(data: object, words: str) -> None:
    with pytest.raises(BadRows) as refused:
        proposed.read(data)
    assert words in refused.value.problems[0]


def test_rules_above_replace_those_of_the_same_name_and_owner() -> None:
    mine = replace(GENERAL["cost"], critical=1.0, owner=Owner("acme"))
    assert len(proposed.overlay(RULES, [mine])) == len(RULES) + 1
    assert replace(mine, owner=EVERYBODY) in proposed.overlay(RULES, [replace(mine, owner=EVERYBODY)])
    assert len(proposed.overlay(RULES, [replace(mine, owner=EVERYBODY)])) == len(RULES)
    assert len(proposed.overlay_permissions(PERMISSIONS, [Permission("premium", True)])) == len(PERMISSIONS)


def test_the_rules_that_come_with_it_have_nothing_wrong() -> None:
    assert [problem for one in RULES for problem in proposed.wrong(one)] == []


def test_a_verdict_is_a_sentence() -> None:
    (verdict,) = run([rule("calls", 2, destinations=("high_risk",))], [start(f"c{n}", n) for n in range(2)])
    assert explain.verdict(verdict) == (
        "account acme: critical: 2 calls to high_risk in 10 minutes, limit 2 (rule r for everybody, row); "
        "somebody is told, calls and messages there are blocked, until 2026-05-06T10:00:01Z"
    )
    assert "it observes: else" in explain.verdict(replace(verdict, rule=replace(verdict.rule, mode=OBSERVE)))
    assert explain.verdict(replace(verdict, level="released")) == "account acme: rule r holds no more"
    (refused,) = Engine([], permissions=[Permission("high_risk", False)]).feed(start("c", 0))
    assert f"called {TUNIS}, of class high_risk, without permission" in explain.verdict(refused)


def test_which_rule_holds_and_why() -> None:
    rules = [
        rule("calls", 5, name="many", scope="user", warning=2, baseline=2, new_account_days=7, days=("sat",)),
        rule("calls", 9, name="many", scope="user", owner=Owner("acme", user="alice"), mode=OBSERVE),
        rule("short_pct", 80, name="short", at_least=6, enabled=False, owner=Owner("acme")),
    ]
    engine = Engine(rules, usual={("acme", "many"): 10.0})
    (many, short) = explain.holding(engine, start("", 0))
    assert many == (
        "many", "calls in 10 minutes of one user: critical at 9",
        "for user acme/alice (row), before that for everybody (row); it observes",
    )  # fmt: skip
    assert short == ("short", "off", "for account acme (row)")
    (many, *_) = explain.holding(engine, start("", 0, user="bob"))
    assert many[1] == (
        "calls in 10 minutes of one user: warning at 8, critical at 20 (4 times by its own history), "
        "accounts younger than 7 days, sat by the account's clock"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 s"), (60, "1 minute"), (90, "90 s"), (7200, "2 hours"), (86_400, "1 day")]
)
def test_a_span_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert explain.span(seconds) == said


def test_usual_is_what_half_of_the_days_reach() -> None:
    watched = rule("answered", 5, baseline=2)
    events = []
    for day, count in enumerate((4, 9, 6, 200, 6)):
        for number in range(count):
            begun = start(f"d{day}-{number}", day * 86_400 + number)
            events += [begun, answer(begun, 0.5)]
    assert baseline.usual([watched], events) == {("acme", "r"): 6.0}
    # Of fewer days nobody knows what is usual.
    assert baseline.usual([watched], [one for one in events if one.at < NOON + 4 * 86_400 - 3600]) == {}
    assert baseline.usual([rule("answered", 5)], events) == {}
