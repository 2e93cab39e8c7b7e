"""A call that a media node leads to where the callers of its account meet: one node, the same for every edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, dp, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
HOME = "home.dialplane.internal"


def asks(account: str) -> tuple[tuple[str, str], ...]:
    return ("X-DP-Call", "0123"), ("X-DP-Account", account), ("X-DP-Depth", "2")


@pytest.fixture
def nodes(make: Make, edge: Edge, net: str) -> Iterator[dict[str, Endpoint]]:
    """Two nodes of the cluster, whatever their weights."""
    both = {f"media{one}": make(f"media{one}", 20 + one, transport="tcp") for one in (1, 2)}
    edge.put("target", "c1", f"media1={net}.21:5060,1 media2={net}.22:5060,1000")
    yield both
    edge.put("target", "c1", f"media1={net}.21:5060,10")


def home_of(nodes: dict[str, Endpoint], account: str) -> str:
    """Where a call of the account is led to."""
    asker = nodes["media1"]
    invite = asker.invite(f"sip:8000@{HOME}", headers=asks(account), sign=False)
    for name, node in nodes.items():
        try:
            incoming = node.expect("INVITE", 1)
        except TimeoutError:
            continue
        hang_up(asker, answered(asker, invite, node, incoming), node)
        return name
    raise AssertionError("nobody got the call")


def test_all_calls_of_an_account_are_led_to_one_node(nodes: dict[str, Endpoint], edge: Edge) -> None:
    homes = {account: [home_of(nodes, account) for _ in range(3)] for account in ("acme", "small")}
    assert all(len(set(found)) == 1 for found in homes.values()), homes


def test_what_the_node_is_told(nodes: dict[str, Endpoint], edge: Edge) -> None:
    asker = nodes["media1"]
    home = nodes[home_of(nodes, "acme")]
    more = (("X-DP-Device", f"desk1@{DOMAIN}"), ("X-DP-Home", "no"))
    invite = asker.invite(f"sip:*8@{HOME}", headers=(*asks("acme"), *more), sign=False)
    incoming = home.expect("INVITE")
    assert incoming.uri == "sip:*8@voice.acme.dialplane.internal"
    assert dp(incoming) == {
        "X-DP-Call": "0123", "X-DP-Account": "acme", "X-DP-Depth": "2", "X-DP-Home": "1",
        "X-DP-Caller": "desk", "X-DP-Device": f"desk1@{DOMAIN}",
    }  # fmt: skip
    hang_up(asker, answered(asker, invite, home, incoming), home)


@pytest.mark.parametrize(("by", "told"), [(f"desk2@{DOMAIN}", True), ("s1@small.example", False)])
def test_who_transferred_the_call_is_told_if_it_is_of_the_account(
    nodes: dict[str, Endpoint], by: str, *, told: bool
) -> None:
    asker = nodes["media1"]
    home = nodes[home_of(nodes, "acme")]
    invite = asker.invite(f"sip:700@{HOME}", headers=(*asks("acme"), ("X-DP-By", by)), sign=False)
    incoming = home.expect("INVITE")
    assert dp(incoming).get("X-DP-By") == (by if told else None)
    hang_up(asker, answered(asker, invite, home, incoming), home)


def test_a_media_node_learns_who_transfers_from_the_edge(make: Make, nodes: dict[str, Endpoint]) -> None:
    """Who called and who was called: both are known by how they signed in, not by what they say."""
    caller = make("desk1", 61)
    caller.register()
    invite = caller.invite(f"sip:104@{DOMAIN}")
    node, incoming = next((one, found) for one in nodes.values() if (found := _offered(one)) is not None)
    leg = answered(caller, invite, node, incoming)
    lies = (("Refer-To", f"<sip:700@{DOMAIN}>"), ("Referred-By", "<sip:boss@acme.example>"))
    caller.within(leg, "REFER", headers=lies)
    asked = node.expect("REFER")
    assert asked.all("Referred-By") == [f"<sip:desk1@{DOMAIN}>"]
    node.answer(asked, 202)
    caller.expect(202)
    hang_up(caller, leg, node)
    out = node.invite(f"sip:desk1@{DOMAIN}", headers=asks("acme"), sign=False)
    ringing = caller.expect("INVITE")
    answered(node, out, caller, ringing)
    mine = caller.callee(ringing)
    caller.within(mine, "REFER", headers=lies[:1])
    asked = node.expect("REFER")
    assert asked.all("Referred-By") == [f"<sip:desk1@{DOMAIN}>"]
    node.answer(asked, 202)
    caller.expect(202)
    hang_up(caller, mine, node)


def _offered(node: Endpoint) -> Message | None:
    try:
        return node.expect("INVITE", 1)
    except TimeoutError:
        return None


def test_a_home_that_is_down_is_passed_over(nodes: dict[str, Endpoint], edge: Edge) -> None:
    home = home_of(nodes, "acme")
    edge.rpc("htable.seti", "down", home, 1)
    try:
        assert home_of(nodes, "acme") != home
    finally:
        edge.rpc("htable.delete", "down", home)


def test_a_phone_cannot_ask_for_it(make: Make, nodes: dict[str, Endpoint]) -> None:
    caller = make("desk1", 60)
    invite = caller.invite(f"sip:8000@{DOMAIN}", headers=(("X-DP-Home", "1"),))
    for node in nodes.values():
        try:
            incoming = node.expect("INVITE", 1)
        except TimeoutError:
            continue
        assert "X-DP-Home" not in dp(incoming)
        hang_up(caller, answered(caller, invite, node, incoming), node)


def test_the_others_are_those_that_have_not_seen_it(nodes: dict[str, Endpoint], edge: Edge) -> None:
    """Who asks is not asked itself; when all have seen it, that is final."""
    asker = nodes["media1"]
    invite = asker.invite("sip:*8@others.dialplane.internal", headers=asks("acme"), sign=False)
    incoming = nodes["media2"].expect("INVITE")
    assert dp(incoming)["X-DP-Tried"] == "media1"
    nodes["media2"].answer(incoming, 404, "Not Found")
    assert asker.final(invite).status == 404
    nodes["media2"].expect("ACK")
    seen = (*asks("acme"), ("X-DP-Tried", "media1"))
    last = nodes["media2"].invite("sip:*8@others.dialplane.internal", headers=seen, sign=False)
    assert nodes["media2"].final(last).status == 480


def test_another_node_that_fails_is_passed_over_and_the_one_that_asks_too(
    nodes: dict[str, Endpoint], edge: Edge
) -> None:
    asker = nodes["media1"]
    invite = asker.invite("sip:*8@others.dialplane.internal", headers=asks("acme"), sign=False)
    nodes["media2"].answer(nodes["media2"].expect("INVITE"), 503, "Service Unavailable")
    assert asker.final(invite).status == 480
    edge.rpc("htable.delete", "down", "media2")
