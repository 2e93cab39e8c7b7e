"""Calls from one account to another's number: they stay inside, as an inbound call of who is called."""

from __future__ import annotations

import pytest

from tests.edge.conftest import Make
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.phone import Endpoint
from tests.edge.steps import UUID, answered, dp, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]

ACCOUNT = {"acme": ("acme", "+4930555010"), "small": ("small", "+4930555099"), "asleep": ("", "+4930555098")}


def dial(media: Endpoint, owner: str, call: str, *more: tuple[str, str]) -> Message:
    """An outbound call of acme to a number of `owner`."""
    headers = (("X-DP-Call", call), ("X-DP-Account", "acme"), *more)
    return media.invite(f"sip:{ACCOUNT[owner][1]}@trunk.dialplane.internal", sign=False, headers=headers)


@pytest.mark.parametrize("trunk", [(), (("X-DP-Trunk", "carrier-a"),)])
def test_another_accounts_number_stays_inside(
    make: Make, edge: Edge, net: str, media: Endpoint, trunk: tuple[tuple[str, str], ...]
) -> None:
    carrier, other = make("carrier", 31), make("media2", 22, transport="tcp")
    edge.put("target", "c1", f"media2={net}.22:5060,10")
    name = f"c-onnet-{len(trunk)}"
    invite = dial(media, "small", name, ("X-DP-Depth", "3"), *trunk)
    incoming = other.expect("INVITE")
    assert incoming.uri == "sip:+4930555099@voice.small.dialplane.internal"
    found = dp(incoming)
    call = found.pop("X-DP-Call")
    assert len(call) == UUID
    assert found == {"X-DP-Account": "small", "X-DP-Trunk": "onnet", "X-DP-Depth": "3"}
    assert carrier.silent(0.2)
    other.answer(incoming, 180)
    media.expect(180)
    hang_up(media, answered(media, invite, other, incoming), other)
    for which, account, leg, node in ((name, "acme", "out", "media1"), (call, "small", "in", "media2")):
        story = edge.events(which)
        assert [(e["event"], e["by"]) for e in story] == [("start", ""), ("answered", ""), ("end", "caller")]
        assert {(e["account"], e["leg"], e["media"], e["trunk"]) for e in story} == {
            (account, leg, node, "onnet")
        }
    assert edge.rpc("htable.dump", "asked") == []
    assert edge.rpc("dlg.profile_get_size", "call", "account:small") == 0


def test_the_called_accounts_limit_and_blocks_count(make: Make, edge: Edge, media: Endpoint) -> None:
    first = dial(media, "small", "c-one")
    incoming = media.expect("INVITE")
    assert media.final(dial(media, "small", "c-two")).status == 486
    refused = [e for e in edge.events() if e["reason"] == "limit"][-2:]
    assert [(e["account"], e["leg"], e["event"]) for e in refused] == [
        ("small", "in", "failed"),
        ("acme", "out", "failed"),
    ]
    assert refused[1]["call"] == "c-two"
    media.answer(incoming, 486)
    assert media.final(first).status == 486
    edge.block("account:small:+4930555099")
    # Final for the media node: no other trunk leads elsewhere.
    assert media.final(dial(media, "small", "c-three")).status == 480
    assert media.final(dial(media, "asleep", "c-four")).status == 480
    assert [(e["call"] == "c-four", e["status"]) for e in edge.events()[-2:]] == [(False, 403), (True, 403)]


@pytest.mark.parametrize(("said", "heard"), [(403, 480), (603, 480), (500, 480), (404, 404), (486, 486)])
def test_what_the_called_account_answers_is_final(edge: Edge, media: Endpoint, said: int, heard: int) -> None:
    invite = dial(media, "acme", f"c-said-{said}")
    incoming = media.expect("INVITE")
    media.answer(incoming, 100)
    media.answer(incoming, said)
    assert media.final(invite).status == heard
    assert [e["event"] for e in edge.events(f"c-said-{said}")] == ["start", "failed"]


def test_an_emergency_is_for_the_trunk(make: Make, edge: Edge, media: Endpoint) -> None:
    carrier = make("carrier", 31)
    invite = dial(media, "small", "c-sos", ("X-DP-Trunk", "carrier-a"), ("X-DP-Emergency", "1"))
    carrier.answer(carrier.expect("INVITE"), 486)
    assert media.final(invite).status == 486


def test_a_depth_that_is_no_number_is_left_out(edge: Edge, media: Endpoint) -> None:
    invite = dial(media, "acme", "c-deep", ("X-DP-Depth", "3)x"))
    incoming = media.expect("INVITE")
    assert "X-DP-Depth" not in dp(incoming)
    media.answer(incoming, 486)
    assert media.final(invite).status == 486


def test_a_node_that_dies_lets_the_carrier_go(make: Make, edge: Edge, media: Endpoint) -> None:
    carrier = make("carrier", 31)
    headers = (("X-DP-Call", "c-dies"), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"))
    media.invite("sip:+4930777@trunk.dialplane.internal", sign=False, headers=headers)
    incoming = carrier.expect("INVITE")
    carrier.answer(incoming, 180)
    media.expect(180)
    media.close()
    carrier.answer(carrier.expect("CANCEL"), 200)
    carrier.answer(incoming, 487)
    carrier.expect("ACK")
    assert [e["event"] for e in edge.events("c-dies")] == ["start", "failed"]
