"""How long a decision takes, printed (pytest -s): the machine may be busy, so nothing is asserted of it."""

from __future__ import annotations

import timeit
from typing import Any

import pytest

from controller.policy.decide import decide
from controller.policy.model import STRATEGIES
from tests.unit.policy.acme import NOW, call, seen


def _printed(what: str, found: Any) -> None:
    seconds = min(timeit.repeat(found, number=20, repeat=5)) / 20
    print(f"{what}: {seconds * 1000:.2f} ms")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_group_of_50_members(strategy: str) -> None:
    users: dict[str, Any] = {
        f"user__u{number}": {"devices": [f"u{number}@acme.example"]} for number in range(50)
    }
    members = [{"user": f"u{number}", "list": "vip", "schedule": "office"} for number in range(50)]
    group = {"strategy": strategy, "members": members, "ring_s": 600, "step_s": 12}
    snapshot = seen(group__sales=group, **users)
    one = call("group", "sales")
    assert sum(act.context == "dp-legs" for act in decide(one, snapshot, NOW).program) in (1, 50)
    _printed(f"50 members, {strategy}", lambda: decide(one, snapshot, NOW))


@pytest.mark.parametrize("schedules", [1, 100])
def test_a_policy_of_100_rules(schedules: int) -> None:
    times = [{"days": ["mon"], "from": "09:00", "to": "17:00"}]
    held: dict[str, Any] = {
        f"schedule__s{number}": {"zone": "Europe/Berlin", "times": times} for number in range(schedules)
    }
    rules = [
        {
            "position": number,
            "if": {"caller": "+49*", "list": "vip", "schedule": f"s{number % schedules}"},
            "do": {},
        }
        for number in range(100)
    ]
    snapshot = seen(policy__main={"rules": rules}, **held)
    one = call("policy", "main")
    assert len(decide(one, snapshot, NOW).reasons) == 101
    _printed(f"100 rules, {schedules} schedules", lambda: decide(one, snapshot, NOW))
