"""Calls refused for overload: of whom the edge is told, to what the cluster cannot take, and no others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean", "told")]
ACME = "cluster=c1;status=active;country=DE"


def until(seconds: int = 60) -> str:
    return f"until={int(time.time()) + seconds};level=12.5"


@pytest.fixture
def told(edge: Edge) -> Iterator[None]:
    """Cluster c1 is overloaded, and account acme above its share."""
    edge.put("shed", "c1", until())
    edge.put("shed", "c1/acme", until())
    yield
    edge.put("account", "acme", ACME)
    for table in ("shed", "overflow", "target"):
        edge.rpc("htable.flush", table)


def taken(caller: Endpoint, node: Endpoint, dialled: str = "101") -> None:
    """A call is not refused by the edge."""
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    node.answer(node.expect("INVITE"), 486)
    assert caller.final(invite).status == 486


def test_who_is_above_its_share_is_told_when_to_come_again(make: Make, edge: Edge, media: Endpoint) -> None:
    caller, before = make("desk1", 41), edge.refused("shed")
    waits = set()
    for _ in range(8):
        answer = caller.final(caller.invite(f"sip:101@{DOMAIN}"))
        assert answer.status == 503
        waits.add(int(answer["Retry-After"]))
    assert all(20 <= one <= 40 for one in waits)
    assert len(waits) > 1, "not all at the same time"
    assert edge.refused("shed") == before + 8
    assert edge.events()[-1]["reason"] == "shed"
    assert media.silent()


def test_calls_of_a_trunk_count_as_those_of_the_account_they_come_to(
    make: Make, edge: Edge, media: Endpoint
) -> None:
    carrier = make("carrier", 31)
    assert carrier.final(carrier.invite(f"sip:+4930555010@{DOMAIN}", sign=False)).status == 503
    invite = carrier.invite(f"sip:+4930555099@{DOMAIN}", sign=False)
    media.answer(media.expect("INVITE"), 486)
    assert carrier.final(invite).status == 486, "another account"


def test_emergency_calls_and_calls_from_phone_to_phone_go_on(make: Make, media: Endpoint) -> None:
    caller, lobby = make("desk1", 41), make("lobby", 43)
    taken(caller, media, "112")
    lobby.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    lobby.answer(lobby.expect("INVITE"), 486)
    assert caller.final(invite).status == 486


def test_what_is_inside_a_call_goes_on(make: Make, edge: Edge, media: Endpoint) -> None:
    edge.drop("shed", "c1/acme")
    caller = make("desk1", 41)
    invite = caller.invite(f"sip:101@{DOMAIN}")
    leg = answered(caller, invite, media, media.expect("INVITE"))
    edge.put("shed", "c1/acme", until())
    hang_up(caller, leg, media)


def test_what_was_said_too_long_ago_counts_for_nothing(make: Make, edge: Edge, media: Endpoint) -> None:
    edge.put("shed", "c1/acme", until(-1))
    taken(make("desk1", 41), media)


def test_nobody_is_refused_while_another_cluster_takes_over(
    make: Make, edge: Edge, media: Endpoint, net: str
) -> None:
    edge.put("overflow", "c1", "c2")
    edge.put("target", "c2", f"media2={net}.22:5060,10")
    caller = make("desk1", 41)
    taken(caller, media)
    edge.put("shed", "c2", until())
    assert caller.final(caller.invite(f"sip:101@{DOMAIN}")).status == 503


def test_an_account_may_want_its_callers_to_hear_so(make: Make, edge: Edge, media: Endpoint) -> None:
    edge.put("account", "acme", f"{ACME};sorry=1")
    caller, before = make("desk1", 41), edge.refused("shed")
    invite = caller.invite(f"sip:101@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert incoming["X-DP-Refuse"] == "overload"
    media.answer(incoming, 183)
    media.answer(incoming, 503)
    answer = caller.final(invite)
    assert answer.start == "SIP/2.0 503 Overloaded"
    assert 20 <= int(answer["Retry-After"]) <= 40
    assert edge.refused("shed") == before + 1
    # No node has room: plainly.
    edge.drop("target", "c1")
    answer = caller.final(caller.invite(f"sip:101@{DOMAIN}"))
    assert answer.start == "SIP/2.0 503 Overloaded"


def test_no_phone_says_so_by_itself(make: Make, edge: Edge, media: Endpoint) -> None:
    edge.drop("shed", "c1/acme")
    caller = make("desk1", 41)
    invite = caller.invite(f"sip:101@{DOMAIN}", headers=(("X-DP-Refuse", "overload"),))
    incoming = media.expect("INVITE")
    assert incoming.get("X-DP-Refuse") is None
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
