from __future__ import annotations

from typing import Any

import pytest

from controller.calls.operator import _text


@pytest.mark.parametrize(
    ("event", "said", "told"),
    [
        ("dp.route", {"eventtype": 9, "eventextra": '{"extra":"by carrier-a"}'}, "by carrier-a"),
        ("dp.route", {"eventtype": 9, "eventextra": {"extra": "by carrier-a"}}, "by carrier-a"),
        ("dp.route", {"eventtype": 9, "eventextra": "no JSON"}, "no JSON"),
        ("HANGUP", {"eventtype": 2, "channame": "PJSIP/edge-1", "eventextra": '{"hangupcause":16,"dialstatus":""}'},
         "PJSIP/edge-1 hangupcause 16"),
        ("end", {"leg": "in", "status": 200}, "leg in status 200"),
    ],
)  # fmt: skip
def test_a_step_reads_as_words(event: str, said: dict[str, Any], told: str) -> None:
    assert _text(event, said) == told
