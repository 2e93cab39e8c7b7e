from __future__ import annotations

from typing import Any

import pytest

from controller.calls import store
from controller.calls.operator import LiveCall, Receipt, _text, end
from controller.errors import NodeUnreachable


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


def _live(call: str, *nodes: str) -> LiveCall:
    legs = [
        (node, {"name": f"PJSIP/{call}"} if node.startswith("media") else {"id": "7:9"}) for node in nodes
    ]
    return LiveCall(call, "acme", "desk1@acme.example", "102", "up", legs)


async def test_each_node_is_asked_once_and_edges_for_what_media_nodes_did_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, list[str]]] = []

    async def ask(_: Any, node: str, verb: str, arguments: dict[str, Any], timeout_s: float = 10) -> Any:
        assert verb == "hangup"
        asked.append((node, arguments["calls"]))
        if node == "media2":
            raise NodeUnreachable("it does not answer")
        done = {call: call != "stuck" for call in arguments["calls"] if (node, call) != ("media1", "gone")}
        return {"receipts": [{"call": call, "leg": node, "ok": ok, "text": ""} for call, ok in done.items()]}

    monkeypatch.setattr(store, "ask", ask)
    calls = [
        _live("a", "edge1", "media1"),
        _live("b", "edge1", "edge2", "media1"),
        _live("stuck", "edge1", "media1"),
        _live("gone", "edge2", "media1"),
        _live("unknown", "edge2", "media2"),
        _live("straight", "edge1", "edge2"),
    ]
    found = await end(None, calls)  # type: ignore[arg-type]
    assert sorted(asked[:4]) == [
        ("edge1", ["straight"]),
        ("edge2", ["straight"]),
        ("media1", ["a", "b", "stuck", "gone"]),
        ("media2", ["unknown"]),
    ]
    assert sorted(asked[4:]) == [("edge1", ["stuck"]), ("edge2", ["gone", "unknown"])]
    assert Receipt("media2", "", None, "it does not answer", "unknown") in found
    assert {one.call for one in found} == {one.call for one in calls}
