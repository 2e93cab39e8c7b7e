"""Calls outside: normalisation, permission, routes, failover, caller id, emergency, and calls from outside."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import until

BOB = {"Caller": "bob", "Device": "bob1@acme.example"}
ALICE = {"Caller": "alice", "Device": "alice1@acme.example"}
CAROL = {"Caller": "carol-ann", "Device": "carol1@acme.example"}


def tried(edge: Edge) -> list[tuple[str, str]]:
    return [(one.get("x-dp-trunk"), one.user) for one in edge.invites]


@pytest.mark.parametrize(
    ("dialled", "e164"),
    [("03012345678", "+493012345678"), ("004930123456", "+4930123456"), ("+4930123456", "+4930123456"),
     ("030-123456", "+4930123456"), ("0012125550100", "+12125550100")],
)  # fmt: skip
def test_dialled_becomes_e164(edge: Edge, dialled: str, e164: str) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    leg = edge.call(dialled, **ALICE)
    leg.wait("200")
    assert tried(edge) == [("first-1", e164)]
    assert edge.invites[0].get("x-dp-device") == ALICE["Device"]
    leg.bye()


@pytest.mark.parametrize(
    ("codes", "tried_trunks", "final"),
    [
        (("503", "500", "answer"), 3, 200),
        (("408", "answer", "answer"), 2, 200),
        (("403", "answer", "answer"), 2, 200),
        (("486", "answer", "answer"), 1, 486),
        (("404", "answer", "answer"), 1, 404),
        (("603", "answer", "answer"), 1, 403),
        (("503", "503", "503"), 3, 503),
    ],
)
def test_failover(edge: Edge, codes: tuple[str, ...], tried_trunks: int, final: int) -> None:
    edge.answers = {
        f"trunk:{name}": code for name, code in zip(("first-1", "second", "third"), codes, strict=True)
    }
    leg = edge.call("030123456", **BOB)
    assert leg.wait("final").code == final
    assert [trunk for trunk, _ in tried(edge)] == ["first-1", "second", "third"][:tried_trunks]


def test_longest_prefix_and_weight(edge: Edge) -> None:
    """+331 goes to second and third by 3 to 1, not to the trunk of +33."""
    edge.answers = {"trunk:second": "486", "trunk:third": "486"}
    for _ in range(24):
        edge.call("0033155512345", **ALICE).wait("486")
    count = Counter(trunk for trunk, _ in tried(edge))
    assert set(count) <= {"second", "third"}
    assert count["second"] > count["third"]


def test_caller_id_of_device_before_account(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "486"}
    edge.call("030123456", Caller="alice", Device="alice2@acme.example").wait("486")
    edge.call("030123456", **BOB).wait("486")
    assert "<sip:+4930555011@" in edge.invites[0].get("from")
    assert "<sip:+4930555000@" in edge.invites[1].get("from")


def test_own_trunk_of_an_account_and_its_caller_id(edge: Edge) -> None:
    edge.answers = {"trunk:own-pbx": "503", "trunk:first-1": "answer"}
    leg = edge.call("2125550100", "small", Caller="sam", Device="sam1@small.example")
    assert leg.wait("final").code == 503
    assert tried(edge) == [("own-pbx", "+12125550100")]
    assert "<sip:+12125550199@" in edge.invites[0].get("from")


def test_own_number_stays_inside(edge: Edge) -> None:
    edge.answers = {"alice1": "answer"}
    leg = edge.call("03055 5010".replace(" ", ""), **BOB)
    leg.wait("200")
    assert edge.leg_to("alice1")
    leg.bye()


@pytest.mark.parametrize(("caller", "dialled"), [(CAROL, "030123456"), (BOB, "0012125550100")])
def test_permission(edge: Edge, caller: dict[str, str], dialled: str) -> None:
    edge.answers = {"trunk:first-1": "answer"}
    assert edge.call(dialled, **caller).wait("final").code == 403
    assert tried(edge) == []


def test_short_number(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "486"}
    edge.call("116117", **BOB).wait("486")
    assert tried(edge) == [("first-1", "116117")]


def test_emergency_asks_nothing_and_fails_over(edge: Edge) -> None:
    edge.answers = {"trunk:first-1": "503", "trunk:second": "answer"}
    leg = edge.call("112", **CAROL)
    leg.wait("200")
    assert tried(edge) == [("first-1", "112"), ("second", "112")]
    assert all(one.get("x-dp-emergency") == "1" for one in edge.invites)
    leg.bye()


def test_from_a_trunk_to_a_number(edge: Edge) -> None:
    edge.answers = {"alice1": "answer"}
    leg = edge.call("+4930555010", Trunk="second")
    leg.wait("200")
    assert edge.leg_to("alice1").invite.get("from").startswith('"Some ${EXTEN} One" <sip:555@')  # type: ignore[union-attr]
    leg.bye()


@pytest.mark.parametrize("dialled", ["101", "030123456", "+4930123456", "112", "%3Aaccount", "*98"])
def test_from_a_trunk_nowhere_else(edge: Edge, dialled: str) -> None:
    edge.answers = {"alice1": "answer", "trunk:first-1": "answer"}
    leg = edge.call(dialled, Trunk="second")
    assert leg.wait("final").code == 404
    assert edge.invites == []


def test_without_a_route_the_edge_is_asked_whose_number_it_is(edge: Edge, media: MediaNode) -> None:
    media.cli("dialplan remove extension _X!@routes")
    try:
        edge.answers = {"+4930777": "answer"}
        leg = edge.call("030777", **BOB)
        leg.wait("200")
        assert tried(edge) == [("", "+4930777")]
        leg.bye()
        edge.answers = {}
        assert edge.call("030777", **BOB).wait("final").code == 404
    finally:
        media.cli("dialplan reload")


@pytest.mark.parametrize(
    ("dialled", "caller", "whose"),
    [
        ("+4930555020", {"Trunk": "second"}, ("", "bob")),
        ("+4930555080", {"Trunk": "second"}, ("", "8000")),
        ("102", ALICE, (ALICE["Device"], "")),
        ("8000", ALICE, (ALICE["Device"], "")),
    ],
)
def test_the_trunk_is_told_whose_call_it_is(
    edge: Edge, dialled: str, caller: dict[str, str], whose: tuple[str, str]
) -> None:
    edge.answers = {"bob1": "404", "trunk:first-1": "answer"}
    leg = edge.call(dialled, **caller)
    leg.wait("200")
    (sent,) = (one for one in edge.invites if one.get("x-dp-trunk"))
    assert (sent.get("x-dp-device"), sent.get("x-dp-user")) == whose
    leg.bye()


def test_a_call_from_outside_that_is_transferred_out_is_of_who_transfers(edge: Edge) -> None:
    edge.answers = {"alice1": "answer", "trunk:first-1": "answer"}
    leg = edge.call("+4930555010", Trunk="second")
    leg.wait("200")
    edge.leg_to("alice1").send(
        "REFER", "Refer-To: <sip:0301234567@acme.example>", f"Referred-By: <sip:{ALICE['Device']}>"
    )
    until(lambda: any(one.get("x-dp-trunk") for one in edge.invites))
    sent = edge.invites[-1]
    assert (sent.get("x-dp-trunk"), sent.get("x-dp-device"), sent.get("x-dp-user")) == (
        "first-1",
        ALICE["Device"],
        "",
    )
    leg.bye()
