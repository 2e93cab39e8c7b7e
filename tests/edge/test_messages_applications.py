"""Messages to scripts of the site: by the forwarding name of service messaging, with failover."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.messaging import GREETING, TEXT, final, forget, kept, lines, said
from tests.edge.steps import SPOOF, UUID, dp

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean", "placed")]
SCRIPT = f"sip:900@{DOMAIN}"


@pytest.fixture
def placed(edge: Edge, net: str) -> Iterator[None]:
    """900 is a script that takes messages; cluster c2 has service messaging, c1 takes over."""
    edge.put("account", "acme", "cluster=c1;status=active;country=DE;messaging=c2/c1")
    edge.put("service", "acme/900", "app")
    edge.put("lead", "acme/900", "application=bot")
    edge.put("target", "c2", f"media2={net}.22:5060,10")
    forget(edge)
    yield
    edge.put("account", "acme", "cluster=c1;status=active;country=DE")
    for table, key in (("service", "acme/900"), ("lead", "acme/900"), ("target", "c2")):
        edge.drop(table, key)


def test_a_script_gets_it_by_its_forwarding_name(make: Make, edge: Edge) -> None:
    desk, node = make("desk1", 41), make("media2", 22, transport="tcp")
    sent = said(desk, SCRIPT, GREETING, (*TEXT, *SPOOF))
    came = node.expect("MESSAGE")
    assert came.uri == "sip:900@messaging.acme.dialplane.internal"
    told = dp(came)
    assert len(told["X-DP-Message"]) == UUID
    assert told == {
        "X-DP-Message": told["X-DP-Message"],
        "X-DP-Account": "acme",
        "X-DP-Caller": "desk",
        "X-DP-Device": f"desk1@{DOMAIN}",
        "X-DP-Application": "bot",
    }
    assert came.body == GREETING
    assert came.all("Proxy-Authorization") == []
    node.answer(came, 202, "Accepted")
    answer = final(desk, sent)
    assert answer.status == 202
    assert dp(answer) == {}
    line = lines(edge)[-1]
    assert (line["message"], line["to"], line["status"]) == (told["X-DP-Message"], "bot", 202)
    assert kept(edge) == []


@pytest.mark.parametrize("how", ["refuses", "503", "silent"])
def test_another_node_takes_over(make: Make, edge: Edge, how: str) -> None:
    desk, over = make("desk1", 42), make("media1", 21, transport="tcp")
    first = None if how == "refuses" else make("media2", 22, transport="tcp")
    sent = said(desk, SCRIPT)
    if first is not None:
        lost = first.expect("MESSAGE")
        if how == "503":
            first.answer(lost, 503, "Service Unavailable")
    came = over.expect("MESSAGE", 4)
    over.answer(came, 202, "Accepted")
    assert final(desk, sent).status == 202


def test_what_no_node_takes_is_refused_and_what_one_refuses_is_its_word(make: Make, edge: Edge) -> None:
    desk = make("desk1", 43)
    sent = said(desk, SCRIPT)
    assert final(desk, sent).status in (500, 503)
    line = lines(edge)[-1]
    assert (line["status"], line["reason"]) == (503, "target")
    edge.rpc("htable.flush", "down")
    node = make("media2", 22, transport="tcp")
    sent = said(desk, SCRIPT)
    node.answer(node.expect("MESSAGE"), 404, "Not Found")
    assert final(desk, sent).status == 404
    assert (lines(edge)[-1]["status"], lines(edge)[-1]["reason"]) == (404, "application")


def test_a_call_to_it_asks_for_service_app(make: Make, edge: Edge) -> None:
    desk, node = make("desk1", 44), make("media1", 21, transport="tcp")
    invite = desk.invite(SCRIPT)
    incoming = node.expect("INVITE")
    assert incoming.uri == "sip:900@app.acme.dialplane.internal"
    node.answer(incoming, 486)
    assert desk.final(invite).status == 486
