"""The record does not depend on how its events arrive; there is one, and it says what happened."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.calls.facts import Fact, parse, restart
from controller.calls.fold import fold

CALL = "6f0e"
T0 = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def at(seconds: float) -> float:
    return T0.timestamp() + seconds


def edge(second: float, event: str, position: int, **more: object) -> Fact:
    said = {
        "event": event, "ts": at(second) * 1000, "status": 0, "reason": "", "by": "", "cause": 0, "id": "1:1",
        "call": CALL, "leg": "in", "edge": "edge1", "account": "acme", "caller": "alice", "called": "102",
        "device": "desk1@acme.example", "trunk": "", "media": "media1",
    } | more  # fmt: skip
    return parse(json.dumps(said).encode(), "edge1", "e", position)


def media(second: float, event: str, position: int, uniqueid: str = "m.1", **more: object) -> Fact:
    said = {
        "eventtype": event, "eventtime": at(second), "userfield": CALL, "accountcode": "acme",
        "uniqueid": uniqueid, "linkedid": "m.1", "channame": f"PJSIP/{uniqueid}", "num": "101", "name": "Alice",
        "exten": "102", "context": "account-acme", "peer": "", "eventextra": "",
    } | more  # fmt: skip
    return parse(json.dumps(said).encode(), "media1", "m", position)


HANGUP = json.dumps({"hangupcause": 16, "hangupsource": "PJSIP/m.1", "dialstatus": "ANSWER"})
WHOLE = [
    edge(0, "start", 0),
    media(0.01, "CHAN_START", 0, userfield=""),
    media(0.02, "dp.begin", 100, eventextra={"extra": "dialled 102 caller alice trunk "}),
    media(0.03, "CHAN_START", 200, "m.2", userfield=""),
    edge(0.04, "start", 100, leg="out", id="1:2", device=""),
    edge(2, "answered", 200, leg="out", id="1:2", status=200),
    media(2.01, "ANSWER", 300, "m.2", userfield=""),
    media(2.02, "ANSWER", 400),
    edge(2.03, "answered", 300, status=200),
    edge(10, "end", 400, by="caller", status=200),
    media(10.01, "HANGUP", 500, eventextra=HANGUP),
    media(10.01, "CHAN_END", 600),
    media(10.02, "HANGUP", 700, "m.2", userfield="", eventextra=HANGUP),
    media(10.02, "CHAN_END", 800, "m.2", userfield=""),
    edge(10.03, "end", 500, leg="out", id="1:2", by="caller", status=200),
    media(10.04, "LINKEDID_END", 900, "m.2"),
]


def test_a_whole_call() -> None:
    record = fold(CALL, WHOLE)
    assert record is not None
    assert record.complete
    assert (record.account, record.direction, record.caller, record.called) == (
        "acme", "internal", "desk1@acme.example", "102"
    )  # fmt: skip
    assert (record.edge, record.media_node, record.trunk) == ("edge1", "media1", None)
    assert (record.cause, record.cause_text, record.ended_by) == (16, "normal clearing", "caller")
    assert record.duration_ms == 10030
    assert record.talk_ms == 8000
    assert [leg["leg"] for leg in record.legs] == ["in", "channel", "channel", "out"]
    assert [step["step"] for step in record.decisions] == ["dp.begin"]


@given(st.permutations(WHOLE), st.lists(st.sampled_from(WHOLE)))
def test_order_and_repetition_do_not_matter(shuffled: list[Fact], again: list[Fact]) -> None:
    assert fold(CALL, shuffled + again) == fold(CALL, WHOLE)


@given(st.sets(st.integers(0, len(WHOLE) - 1)))
def test_with_both_servers_restarted_every_call_is_over_whatever_was_lost(gone: set[int]) -> None:
    left = [fact for index, fact in enumerate(WHOLE) if index not in gone]
    later = [restart(node, T0 + dt.timedelta(hours=1)) for node in ("edge1", "media1")]
    record = fold(CALL, left + later)
    if all(fact.event.startswith(("dp.", "LINKEDID")) for fact in left):
        assert record is None
        return
    assert record is not None
    assert record.complete
    assert record.cause_text
    assert record.ended_at is not None
    assert record.duration_ms is not None
    assert 0 <= (record.talk_ms or 0) <= record.duration_ms


def without(*gone: tuple[str, str]) -> list[Fact]:
    return [fact for fact in WHOLE if (fact.node, fact.event) not in gone]


def test_an_edge_killed_in_a_call_that_the_media_node_saw_end() -> None:
    facts = without(("edge1", "end"))
    open_record = fold(CALL, facts)
    assert open_record is not None
    assert not open_record.complete
    assert open_record.ended_at is None
    record = fold(CALL, [*facts, restart("edge1", T0 + dt.timedelta(seconds=30))])
    assert record is not None
    assert record.complete
    assert (record.cause, record.ended_by) == (16, "caller")
    assert record.ended_at == T0 + dt.timedelta(seconds=10.02)


def test_both_killed_is_lost_at_the_restart() -> None:
    facts = without(
        ("edge1", "end"), ("media1", "HANGUP"), ("media1", "CHAN_END"), ("media1", "LINKEDID_END")
    )
    later = [
        restart("edge1", T0 + dt.timedelta(seconds=30)),
        restart("media1", T0 + dt.timedelta(seconds=20)),
    ]
    record = fold(CALL, facts + later)
    assert record is not None
    assert record.complete
    assert record.cause_text == "lost"
    assert record.ended_at == T0 + dt.timedelta(seconds=30)


def test_a_media_node_killed_keeps_what_the_edge_says() -> None:
    facts = without(("media1", "HANGUP"), ("media1", "CHAN_END"), ("media1", "LINKEDID_END"))
    record = fold(CALL, [*facts, restart("media1", T0 + dt.timedelta(seconds=60))])
    assert record is not None
    assert (record.cause_text, record.duration_ms) == ("normal clearing", 10030)


def test_a_restart_before_the_call_ends_nothing() -> None:
    record = fold(CALL, [WHOLE[0], restart("edge1", T0 - dt.timedelta(seconds=1))])
    assert record is not None
    assert not record.complete


@pytest.mark.parametrize(
    ("status", "cause", "text"),
    [(486, 17, "busy"), (404, 1, "unallocated number"), (499, 31, "normal, unspecified")],
)
def test_a_failed_call_has_the_cause_of_its_status(status: int, cause: int, text: str) -> None:
    record = fold(CALL, [edge(0, "start", 0), edge(1, "failed", 1, status=status)])
    assert record is not None
    assert (record.cause, record.cause_text, record.answered_at) == (cause, text, None)


def test_a_refused_call_says_why() -> None:
    record = fold(CALL, [edge(0, "failed", 0, status=403, reason="blocked")])
    assert record is not None
    assert record.decisions[0]["text"] == "blocked: 403"
    assert record.ended_by == "edge"


def test_the_trunk_is_the_one_that_took_the_call() -> None:
    record = fold(
        CALL,
        [
            edge(0, "start", 0),
            edge(1, "start", 1, leg="out", id="2", trunk="a"),
            edge(2, "failed", 2, leg="out", id="2", trunk="a", status=503),
            edge(2, "start", 3, leg="out", id="3", trunk="b"),
            edge(3, "answered", 4, leg="out", id="3", trunk="b", status=200),
            edge(3, "answered", 5, status=200),
            edge(4, "end", 6, leg="out", id="3", trunk="b", by="callee"),
            edge(4, "end", 7, by="callee"),
        ],
    )
    assert record is not None
    assert (record.trunk, record.direction, record.complete) == ("b", "outbound", True)


def test_a_straight_call_has_no_media_node() -> None:
    record = fold(CALL, [edge(0, "start", 0, leg="straight", media="0"), edge(1, "failed", 1, status=480)])
    assert record is not None
    assert record.media_node is None
    assert record.cause == 18


def test_a_phone_that_never_said_a_word_keeps_no_record_open() -> None:
    silent = edge(3, "start", 900, leg="out", id="1:9", device="lobby@acme.example")
    record = fold(CALL, [*WHOLE, silent])
    assert record is not None
    assert record.complete
    assert record.ended_at == T0 + dt.timedelta(seconds=10.03)
    later = fold(CALL, [*WHOLE, silent, edge(32, "failed", 901, leg="out", id="1:9", status=408)])
    assert later is not None
    assert later.complete
    assert later.legs[-1]["status"] == 408
    assert later.ended_at == record.ended_at


def test_a_placed_call_is_that_of_the_device_that_took_it() -> None:
    """Two devices ring by a Local channel, which nobody talks on; the second takes the call and dials 102."""
    local = {"uniqueid": "m.1", "channame": "Local/102@dp-originate-user-1;1"}
    out = {"leg": "out", "caller": "102"}
    facts = [
        media(0, "CHAN_START", 0, **local),
        media(0.01, "dp.place", 1, uniqueid="m.2", channame="Local/102@dp-originate-user-1;2"),
        media(0.1, "CHAN_START", 2, "m.3", num="", exten=""),
        media(0.1, "CHAN_START", 3, "m.4", num="", exten=""),
        edge(0.2, "start", 4, id="1:3", **(out | {"device": "desk1@acme.example", "called": "desk1"})),
        edge(0.2, "start", 5, id="1:4", **(out | {"device": "app1@acme.example", "called": "app1"})),
        edge(2, "answered", 6, id="1:4", status=200, **(out | {"device": "app1@acme.example"})),
        media(2, "ANSWER", 7, "m.4"),
        media(2, "ANSWER", 8, **local),
        media(2.01, "HANGUP", 9, "m.3", eventextra=json.dumps({"hangupcause": 26})),
        media(2.01, "HANGUP", 10, eventextra=HANGUP, **local),
        media(2.02, "dp.begin", 11, "m.4", eventextra={"extra": "dialled 102 user alice trunk "}),
        edge(2.1, "failed", 12, id="1:3", status=487, **out),
        media(2.2, "CHAN_START", 13, "m.5"),
        media(3, "ANSWER", 14, "m.5"),
        edge(9, "end", 15, id="1:4", by="caller", status=200, **out),
        media(
            9, "HANGUP", 16, "m.4", eventextra=json.dumps({"hangupcause": 16, "hangupsource": "PJSIP/m.4"})
        ),
        media(9, "HANGUP", 17, "m.5", eventextra=HANGUP),
    ]
    record = fold(CALL, facts)
    assert record is not None
    assert record.complete
    assert (record.caller, record.called, record.direction) == ("app1@acme.example", "102", "internal")
    assert (record.cause, record.ended_by, record.talk_ms) == (16, "caller", 7000)
    assert [leg["party"] for leg in record.legs if leg["leg"] == "channel"] == [
        "PJSIP/m.3",
        "PJSIP/m.4",
        "PJSIP/m.5",
    ]
