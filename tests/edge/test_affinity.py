"""A device in a call: its next calls go to the media node that has the call (attended transfer, RFC 3891)."""

from __future__ import annotations

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]


@pytest.mark.parametrize("role", ["caller", "callee"])
def test_further_calls_go_to_the_node_of_the_first(
    make: Make, edge: Edge, net: str, media: Endpoint, role: str
) -> None:
    phone, other = make("desk1", 90), make("media2", 22, transport="tcp")
    phone.register()
    if role == "caller":
        invite = phone.invite(f"sip:101@{DOMAIN}")
        leg, far = answered(phone, invite, media, media.expect("INVITE")), media
    else:
        invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False)
        leg = answered(media, invite, phone, phone.expect("INVITE"))
        far = phone
    edge.put("target", "c1", f"media1={net}.21:5060,1 media2={net}.22:5060,1000000")
    for _ in range(2):
        second = phone.invite(f"sip:102@{DOMAIN}")
        media.answer(media.expect("INVITE"), 486)
        assert phone.final(second).status == 486
    # Another device goes by weight.
    neighbour = make("desk2", 91)
    third = neighbour.invite(f"sip:102@{DOMAIN}")
    other.answer(other.expect("INVITE"), 486)
    assert neighbour.final(third).status == 486
    # A node that is drained or just failed is not asked, whatever it holds.
    edge.put("down", "media1", "1")
    fourth = phone.invite(f"sip:102@{DOMAIN}")
    other.answer(other.expect("INVITE"), 486)
    assert phone.final(fourth).status == 486
    edge.rpc("htable.flush", "down")
    second = phone.invite(f"sip:102@{DOMAIN}")
    both = answered(phone, second, media, media.expect("INVITE"))
    hang_up(phone if role == "caller" else media, leg, far)
    assert [one["name"] for slot in edge.rpc("htable.dump", "talk") for one in slot["slot"]] == [
        f"desk1@{DOMAIN}/media1"
    ]
    hang_up(phone, both, media)
    assert edge.rpc("htable.dump", "talk") == []
    last = phone.invite(f"sip:102@{DOMAIN}")
    other.answer(other.expect("INVITE"), 486)
    assert phone.final(last).status == 486
    phone.register(expires=0)


def test_a_straight_call_has_no_node(make: Make, edge: Edge, media: Endpoint) -> None:
    caller, lobby = make("desk1", 92), make("lobby", 93)
    before = caller.invite(f"sip:101@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    caller.final(before)
    lobby.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    leg = answered(caller, invite, lobby, lobby.expect("INVITE"))
    assert edge.rpc("htable.dump", "talk") == []
    hang_up(caller, leg, lobby)
    assert {one["media"] for one in edge.events()[-3:]} == {""}
    lobby.register(expires=0)
