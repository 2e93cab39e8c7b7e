"""What rows of edges say, as events: whose a call is, when it begins and ends, and what is no call at all."""

from __future__ import annotations

import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from controller.fraud.defaults import RATES
from controller.fraud.live import MOST_AT_ONCE, Live, Row
from controller.fraud.metrics import GAVE_UP
from controller.fraud.model import (
    ANSWER,
    END,
    FAILED_AUTH,
    MESSAGE,
    REGISTER,
    START,
    USED,
    Event,
    People,
    Profile,
)
from tests.unit.fraud.calls import DESK, NOON, TUNIS

CALL = "0dd1f29f-0000-4000-8000-000000000001"
PHONE = {"source": "198.51.100.9", "agent": "phone/1"}
WHOSE = People({DESK: "alice"}, {("acme", "alice"): ("sales",)}, {DESK: "acme"})
PROFILES = {"acme": Profile("DE", ZoneInfo("Europe/Berlin"))}
_ids = itertools.count(1)


def live() -> Live:
    return Live(WHOSE, PROFILES, RATES)


def row(
    at: float, event: str, dialog: str = "1:1", call: str = CALL, node: str = "edge1", **detail: Any
) -> Row:
    return Row(next(_ids), call, node, NOON + at, event, {"id": dialog, **detail})


def own(at: float, event: str, called: str = "0021620123456", **detail: Any) -> Row:
    """Of the phone's leg."""
    whose = {"leg": "in", "account": "acme", "caller": "alice", "device": DESK, "called": called, "trunk": ""}
    return row(at, event, **(whose | (PHONE if event in ("start", "failed") else {}) | detail))


def out(at: float, event: str, dialog: str = "1:2", called: str = TUNIS, **detail: Any) -> Row:
    """Of a leg to a trunk."""
    said = {
        "leg": "out",
        "account": "acme",
        "caller": "alice",
        "device": "",
        "called": called,
        "trunk": "carrier-a",
    }
    return row(at, event, dialog, **(said | detail))


def told(*rows: Row, by: Live | None = None) -> list[Event]:
    hears = live() if by is None else by
    return [event for one in rows for event in hears.events(one)]


def kinds(events: list[Event]) -> list[tuple[str, float, str]]:
    return [(one.kind, round(one.at - NOON, 3), one.called) for one in events]


def test_a_call_outside_is_the_phones_with_the_number_of_the_trunk() -> None:
    events = told(
        own(0, "start"), out(0.1, "start", payer=DESK), out(4, "answered"), own(4.1, "answered"),
        own(64, "end"), out(64.1, "end"),
    )  # fmt: skip
    assert kinds(events) == [(START, 0.1, TUNIS), (ANSWER, 4, TUNIS), (END, 64.1, TUNIS)]
    for one in events:
        assert (one.account, one.user, one.groups, one.device, one.call) == (
            "acme",
            "alice",
            ("sales",),
            DESK,
            CALL,
        )
        assert (one.source, one.agent, one.country, one.cls) == (*PHONE.values(), "TN", "high_risk")
    assert [one.id for one in events] == [f"{CALL}/s", f"{CALL}/a", f"{CALL}/e"]
    assert events[0].rate == RATES["high_risk"]
    assert events[2].talk_s == pytest.approx(60.1)
    assert events[2].duration_s == pytest.approx(64)
    assert events[2].cost == pytest.approx(60.1 / 60 * RATES["high_risk"])


def test_another_trunk_for_the_same_number_is_no_other_call() -> None:
    events = told(
        own(0, "start"), out(1, "start"), out(2, "failed", status=503), out(2, "start", "1:3"),
        out(5, "answered", "1:3"), out(9, "end", "1:3"), own(9, "end"),
    )  # fmt: skip
    assert kinds(events) == [(START, 1, TUNIS), (ANSWER, 5, TUNIS), (END, 9, TUNIS)]


def test_who_gives_up_is_known_as_such() -> None:
    events = told(
        own(0, "start"), out(1, "start"), out(4, "failed", status=487), own(4, "failed", status=487)
    )
    assert [(one.kind, one.status, one.talk_s) for one in events] == [(START, 0, 0), (END, GAVE_UP, 0)]


def test_two_numbers_are_two_calls() -> None:
    other = "+41227301111"
    events = told(
        own(0, "start"), out(1, "start"), out(2, "failed"), out(3, "start", "1:3", other),
        out(4, "answered", "1:3", other), own(5, "answered"), own(9, "end"), out(9, "end", "1:3", other),
    )  # fmt: skip
    assert sorted(kinds(events)) == sorted(
        [(START, 1, TUNIS), (START, 3, other), (ANSWER, 4, other), (END, 9, TUNIS), (END, 9, other)]
    )
    assert {one.call for one in events} == {CALL, f"{CALL}/1"}


def test_what_no_trunk_got_is_what_was_dialled() -> None:
    answered = told(own(0, "start", "102"), own(3, "answered", "102"), own(8, "end", "102"))
    assert kinds(answered) == [(START, 0, "102"), (ANSWER, 3, "102"), (END, 8, "102")]
    assert {one.cls for one in answered} == {"internal"}
    assert kinds(told(own(0, "start", "900441"), own(1, "failed", "900441", status=404))) == [
        (START, 0, "900441"), (END, 1, "900441"),
    ]  # fmt: skip
    straight = told(
        own(0, "start", "103", leg="straight"), own(1, "failed", "103", leg="straight", status=487)
    )
    assert [(one.kind, one.status) for one in straight] == [(START, 0), (END, GAVE_UP)]


def test_what_was_stopped_or_could_not_be_is_nothing() -> None:
    for reason in ("blocked", "suspended", "shed", "target"):
        assert told(own(0, "failed", "+21620123456", reason=reason)) == []
    blocked = told(own(0, "start"), out(1, "failed", reason="blocked"), own(2, "failed", status=603))
    assert blocked == []
    assert kinds(told(own(0, "failed", "201", reason="unregistered"))) == [(START, 0, "201"), (END, 0, "201")]


def test_a_forwarding_is_nobodys_device() -> None:
    events = told(
        own(0, "start", "+4930555010", device="", caller="+4930111", trunk="carrier-a", source="", agent=""),
        out(1, "start"), out(2, "answered"), out(5, "end"), own(5, "end", device="", trunk="carrier-a"),
    )  # fmt: skip
    assert kinds(events) == [(START, 1, TUNIS), (ANSWER, 2, TUNIS), (END, 5, TUNIS)]
    assert {(one.account, one.user, one.device, one.source) for one in events} == {("acme", "", "", "")}
    inbound = told(own(0, "start", device="", trunk="carrier-a"), own(5, "end", device="", trunk="carrier-a"))
    assert inbound == []


def test_an_emergency_is_known_as_such() -> None:
    events = told(
        own(0, "start", "112", emergency=1), out(1, "start", called="112", emergency=1), own(9, "end")
    )
    assert {one.emergency for one in events} == {True}


def test_a_call_goes_on_when_who_called_has_left_it() -> None:
    events = told(own(0, "start"), out(1, "start"), out(2, "answered"), own(10, "end"), out(600, "end"))
    assert kinds(events) == [(START, 1, TUNIS), (ANSWER, 2, TUNIS), (END, 600, TUNIS)]


def test_a_call_from_outside_is_of_who_sends_it_on() -> None:
    came = {"caller": "+4930999", "device": "", "called": "+4930555013", "trunk": "carrier-a"}
    for user, groups in (("alice", ("sales",)), ("200", ())):
        events = told(
            own(0, "start", **came), out(1, "start", user=user), out(2, "answered", user=user),
            out(9, "end", user=user), own(9, "end", **came),
        )  # fmt: skip
        assert [one.kind for one in events] == [START, ANSWER, END]
        assert {(one.account, one.user, one.groups, one.device) for one in events} == {
            ("acme", user, groups, "")
        }


def test_a_call_is_of_who_transferred_it_wherever_it_came_from() -> None:
    other = "desk2@acme.example"
    events = told(
        own(0, "start", "102", device=other, caller="bob"), out(9, "start", payer=DESK, user="alice")
    )
    assert [(one.device, one.user, one.groups, one.source, one.agent) for one in events] == [
        (DESK, "alice", ("sales",), "", "")
    ]


def test_lines_of_two_edges_may_come_the_other_way_round() -> None:
    events = told(
        out(1, "start", payer=DESK, node="edge2"), own(0, "start"), out(2, "answered", node="edge2")
    )
    assert [(one.kind, one.device, one.user) for one in events] == [
        (START, DESK, "alice"),
        (ANSWER, DESK, "alice"),
    ]
    assert kinds(told(out(2, "answered"), out(5, "end"))) == [
        (START, 2, TUNIS),
        (ANSWER, 2, TUNIS),
        (END, 5, TUNIS),
    ]
    assert told(out(5, "end"), own(5, "end")) == []


def test_a_restart_and_what_an_edge_lost_end_calls() -> None:
    hears = live()
    told(own(0, "start"), out(1, "start"), out(2, "answered"), by=hears)
    assert told(row(30, "restart", call="node:media1", node="media1"), by=hears) == []
    ended = told(row(60, "restart", call="node:edge1"), by=hears)
    assert [(one.kind, one.at - NOON, one.talk_s) for one in ended] == [(END, 60, 58)]
    told(own(100, "start"), out(101, "start"), out(102, "answered"), by=live())
    hears = live()
    told(own(0, "start"), out(1, "start"), out(2, "answered"), by=hears)
    assert kinds(told(row(90, "gone", "1:2", leg="out"), by=hears)) == [(END, 90, TUNIS)]


def test_what_is_over_is_forgotten_and_so_is_what_nobody_ended() -> None:
    hears = live()
    for number in range(100):
        call = f"call-{number}"
        told(own(number, "start", call=call), by=hears)
        if number % 2:
            told(own(number + 1, "end", call=call), by=hears)
    told(own(500, "start", call="later"), by=hears)
    assert len(hears) == 51
    told(own(90_000, "start", call="much later"), by=hears)
    assert len(hears) == 1


def test_messages() -> None:
    said = {"account": "acme", "caller": "alice", "device": DESK, **PHONE}
    (sent,) = told(row(0, "message", call="message:m1", status=202, called="004122 7301111", to="", **said))
    assert (sent.kind, sent.id, sent.called, sent.cls, sent.user) == (
        MESSAGE, "message:m1", "+41227301111", "international", "alice",
    )  # fmt: skip
    assert sent.cost > 0
    assert (sent.source, sent.agent) == tuple(PHONE.values())
    (inside,) = told(
        row(0, "message", call="message:m2", status=200, called="103", to="lobby@acme.example", **said)
    )
    assert (inside.cls, inside.cost, inside.source) == ("internal", 0, PHONE["source"])
    assert (
        told(row(0, "message", call="message:m3", status=403, reason="blocked", called="103", to="", **said))
        == []
    )


def test_sign_ins() -> None:
    (came,) = told(row(0, "registered", call=f"device:{DESK}", aor=DESK, **PHONE))
    assert (came.kind, came.account, came.user, came.device, came.source, came.agent) == (
        REGISTER, "acme", "alice", DESK, *PHONE.values(),
    )  # fmt: skip
    many = told(
        row(0, "refused_sign_in", call="source:203.0.113.9", aor="", source="203.0.113.9", count=5_000_000)
    )
    assert len({one.id for one in many}) == len(many) == MOST_AT_ONCE
    assert {(one.kind, one.source, one.account) for one in many} == {(FAILED_AUTH, "203.0.113.9", "")}
    (one,) = told(
        row(0, "refused_sign_in", call="source:203.0.113.9", aor=DESK, source="203.0.113.9", count=1)
    )
    assert (one.device, one.account) == (DESK, "acme")


def test_every_event_of_an_account_says_whose_customer_it_is() -> None:
    profiles = {"acme": PROFILES["acme"]._replace(reseller="north")}
    by = Live(WHOSE, profiles, RATES)
    said = {"account": "acme", "caller": "alice", "device": DESK, **PHONE}
    events = told(
        own(0, "start"), out(0.1, "start", payer=DESK), out(4, "answered"), out(64, "end"), own(64, "end"),
        row(65, "message", call="message:m1", status=202, called="0041227301111", to="", **said),
        row(66, "registered", call=f"device:{DESK}", aor=DESK, **PHONE),
        row(67, "refused_sign_in", call="source:203.0.113.9", aor=DESK, source="203.0.113.9", count=1),
        by=by,
    )  # fmt: skip
    assert [one.kind for one in events] == [START, ANSWER, END, MESSAGE, REGISTER, FAILED_AUTH]
    assert {one.reseller for one in events} == {"north"}
    inside = told(own(0, "failed", "201", call="i", reason="unregistered"), by=by)
    assert {one.reseller for one in inside} == {"north"}
    # Sent on by another account: its reseller's, or nobody's.
    (sent,) = told(own(0, "start", call="b"), out(1, "start", call="b", account="other", payer="x@y"), by=by)
    assert (sent.account, sent.reseller) == ("other", "")
    # It moves while things go on.
    profiles["acme"] = PROFILES["acme"]._replace(reseller="south")
    (came,) = told(row(70, "registered", call=f"device:{DESK}", aor=DESK, **PHONE), by=by)
    assert came.reseller == "south"
    (stranger,) = told(
        row(71, "refused_sign_in", call="source:x", aor="who@x", source="203.0.113.9", count=1), by=by
    )
    assert stranger.reseller == ""


def test_nonsense_is_nothing() -> None:
    assert told(row(0, "refused_sign_in", call="source:x", count="many"), row(0, "message", status="?")) == []


def test_codes_count_for_accounts_that_tell_which_are_used() -> None:
    said = {
        "account": "acme",
        "caller": "alice",
        "device": DESK,
        "called": TUNIS,
        "status": 202,
        "reason": "several",
    }
    sent = Row(1, "message:m1", "edge1", NOON, "message", said | {"code": 1})
    used = Row(2, "message:m1", "edge1", NOON + 9, "message", said | {"status": 200, "reason": "used"})
    words = Row(3, "message:m2", "edge1", NOON, "message", said)
    silent = told(sent, used)
    assert [(one.kind, one.code) for one in silent] == [(MESSAGE, False), (USED, False)]
    tells = Live(WHOSE, {"acme": PROFILES["acme"]._replace(codes_told=True)}, RATES)
    found = told(sent, used, words, by=tells)
    assert [(one.kind, one.code, one.called) for one in found] == [
        (MESSAGE, True, TUNIS), (USED, True, TUNIS), (MESSAGE, False, TUNIS),
    ]  # fmt: skip
    assert len({one.id for one in found}) == 3
    assert found[1].cost == 0.0


def test_where_who_calls_and_signs_in_is() -> None:
    somewhere = Live(WHOSE, PROFILES, RATES, {PHONE["source"]: (52.5, 13.4)}.get)
    signed_in = row(0, "registered", call=f"device:{DESK}", **PHONE)
    elsewhere = row(0, "registered", call=f"device:{DESK}", source="192.0.2.1")
    found = told(signed_in, elsewhere, own(1, "start"), out(1, "start"), by=somewhere)
    assert [one.place for one in found] == [(52.5, 13.4), None, (52.5, 13.4)]
    assert {one.place for one in told(signed_in, own(1, "start"), out(1, "start"))} == {None}
