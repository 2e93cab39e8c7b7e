"""An account that moves from c1 to c2: new calls go there, what is up on c1 stays together until it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
ZONE = "dialplane.internal"
REST = ";status=active;country=DE"
BEFORE, TIED, AFTER = f"cluster=c1{REST}", f"cluster=c2{REST};was=c1", f"cluster=c2{REST}"
ASKS = (("X-DP-Call", "0123"), ("X-DP-Account", "acme"))
Says = Callable[[str], None]


@pytest.fixture
def says(edge: Edge, net: str) -> Iterator[Says]:
    """What the edge is told of acme; c1 is media1, c2 is media2."""
    edge.put("target", "c2", f"media2={net}.22:5060,10")
    edge.put("service", "acme/800", "conference")
    yield lambda entry: edge.put("account", "acme", entry)
    edge.put("account", "acme", BEFORE)
    edge.drop("target", "c2")
    edge.drop("service", "acme/800")


@pytest.fixture
def second(make: Make) -> Endpoint:
    """The media node of c2."""
    return make("media2", 22, transport="tcp")


def test_a_call_that_is_up_stays_and_its_device_s_next_calls_go_to_its_node(
    make: Make, edge: Edge, media: Endpoint, second: Endpoint, says: Says
) -> None:
    phone, neighbour = make("desk1", 71), make("desk2", 72)
    invite = phone.invite(f"sip:101@{DOMAIN}")
    leg = answered(phone, invite, media, media.expect("INVITE"))
    says(TIED)
    # Only there can both be joined.
    consult = phone.invite(f"sip:102@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(consult).status == 486
    other = neighbour.invite(f"sip:102@{DOMAIN}")
    second.answer(second.expect("INVITE"), 486)
    assert neighbour.final(other).status == 486
    # A node that failed a moment ago is not asked.
    edge.put("down", "media1", "1")
    passed = phone.invite(f"sip:102@{DOMAIN}")
    second.answer(second.expect("INVITE"), 486)
    assert phone.final(passed).status == 486
    edge.rpc("htable.flush", "down")
    hang_up(phone, leg, media)
    after = phone.invite(f"sip:102@{DOMAIN}")
    second.answer(second.expect("INVITE"), 486)
    assert phone.final(after).status == 486


def test_a_call_in_set_up_goes_on_where_it_was_sent(
    make: Make, media: Endpoint, second: Endpoint, says: Says
) -> None:
    phone = make("desk1", 73)
    invite = phone.invite(f"sip:101@{DOMAIN}")
    incoming = media.expect("INVITE")
    media.answer(incoming, 180)
    says(TIED)
    leg = answered(phone, invite, media, incoming)
    says(AFTER)
    hang_up(phone, leg, media)


def test_callers_meet_where_they_met_until_nobody_is_left(
    edge: Edge, net: str, media: Endpoint, second: Endpoint, says: Says
) -> None:
    def leads_to(node: Endpoint, asker: Endpoint) -> None:
        invite = asker.invite(f"sip:800@home.{ZONE}", headers=ASKS, sign=False)
        incoming = node.expect("INVITE")
        assert incoming.uri == f"sip:800@conference.acme.{ZONE}"
        hang_up(asker, answered(asker, invite, node, incoming), node)

    says(TIED)
    leads_to(media, second)
    # Gone: the new cluster takes over.
    edge.drop("target", "c1")
    leads_to(second, media)
    edge.put("target", "c1", f"media1={net}.21:5060,10")
    says(AFTER)
    leads_to(second, media)
    # A service with a cluster of its own does not move.
    says(f"{TIED};conference=c2/")
    leads_to(second, media)
