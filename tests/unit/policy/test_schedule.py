"""Schedules: tests/cases/schedules, each moment a case."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.errors import BadPolicy
from controller.policy.schedule import state
from controller.policy.snapshot import Live, live, snapshot

CASES = [
    pytest.param(case, moment, id=f"{path.stem}: {case['name']}: {moment['at']}")
    for path in sorted((Path(__file__).parents[2] / "cases" / "schedules").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
    for moment in case["moments"]
]


@pytest.mark.parametrize(("case", "moment"), CASES)
def test_a_moment(case: dict[str, Any], moment: dict[str, Any]) -> None:
    value = json.dumps({name: case[name] for name in ("zone", "times", "days") if name in case})
    flags = {"override/acme/office": case["override"]} if "override" in case else {}
    seen = snapshot("acme", {"acme/schedule/office": value}, live("acme", flags))
    now = datetime.fromisoformat(moment["at"])
    found = state(seen.schedules["office"], seen.live.overrides.get("office"), now)
    assert (found.open, found.why) == (moment["open"], moment["why"])
    assert found == state(seen.schedules["office"], seen.live.overrides.get("office"), now.astimezone(UTC))


def test_a_schedule_without_a_zone_has_that_of_the_account() -> None:
    entries = {"acme/account/-": '{"zone":"Asia/Kolkata"}', "acme/schedule/office": "{}"}
    assert str(snapshot("acme", entries, Live()).schedules["office"].zone) == "Asia/Kolkata"


@pytest.mark.parametrize("flag", ["", "perhaps", "open;tomorrow", ";2026-11-20T11:00:00Z"])
def test_an_override_that_cannot_be_read_is_named(flag: str) -> None:
    with pytest.raises(BadPolicy, match=r"flag override/acme/office: .*set the override again"):
        live("acme", {"override/acme/office": flag})
