"""The forwarding name of a call, by account and type of service, and the cluster it leads to or overflows to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean", "placed")]
ZONE = "dialplane.internal"
ACME = "cluster=c1;ext=4;status=active;country=DE;queue=c3/c2;pstn=c2"


@pytest.fixture
def placed(edge: Edge, net: str) -> Iterator[None]:
    """Account acme: served by c1, queues by c3, calls outside by c2, which takes over for both others."""
    tables = {
        "account": {"acme": ACME},
        "service": {
            "acme/600": "queue", "acme/800": "conference", "acme/*98": "voicemail", "acme/+4930555010": "queue",
        },
        "overflow": {"c1": "c2"},
        "target": {"c2": f"media2={net}.22:5060,10", "c3": f"media3={net}.23:5060,10"},
        "media_node": {f"{net}.23": "media3"},
    }  # fmt: skip
    for table, items in tables.items():
        for key, value in items.items():
            edge.put(table, key, value)
    yield
    edge.put("account", "acme", "cluster=c1;status=active;country=DE")
    for table in ("service", "overflow", "target"):
        for key in tables[table]:
            edge.drop(table, key)
    edge.drop("media_node", f"{net}.23")


@pytest.fixture
def nodes(make: Make) -> dict[str, Endpoint]:
    """One media node of each cluster."""
    return {f"c{one}": make(f"media{one}", 20 + one, transport="tcp") for one in (1, 2, 3)}


@pytest.mark.parametrize(
    ("dialled", "service", "cluster"),
    [
        ("101", "voice", "c1"), ("600", "queue", "c3"), ("800", "conference", "c1"), ("*98", "voicemail", "c1"),
        ("0301234567", "pstn", "c2"), ("+49301234567", "pstn", "c2"), ("1010", "voice", "c1"), ("*8101", "voice", "c1"),
        ("alice", "voice", "c1"),
    ],
)  # fmt: skip
def test_what_a_device_dials_is_a_service(
    make: Make, nodes: dict[str, Endpoint], dialled: str, service: str, cluster: str
) -> None:
    caller = make("desk1", 41)
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    incoming = nodes[cluster].expect("INVITE")
    assert incoming.uri == f"sip:{dialled}@{service}.acme.{ZONE}"
    nodes[cluster].answer(incoming, 486)
    assert caller.final(invite).status == 486


def test_a_number_leads_to_the_service_behind_it(make: Make, nodes: dict[str, Endpoint]) -> None:
    carrier = make("carrier", 31)
    for called, service, cluster in (("+4930555010", "queue", "c3"),):
        invite = carrier.invite(f"sip:{called}@{DOMAIN}", sign=False)
        incoming = nodes[cluster].expect("INVITE")
        assert incoming.uri == f"sip:{called}@{service}.acme.{ZONE}"
        nodes[cluster].answer(incoming, 486)
        assert carrier.final(invite).status == 486


def overflowed(edge: Edge) -> float:
    return sum(value for name, value in edge.metrics().items() if "dialplane_overflow" in name)


@pytest.mark.parametrize("how", ["no node takes calls", "refused", "503", "failed a moment ago"])
def test_the_overflow_takes_over_and_gives_back(make: Make, edge: Edge, net: str, how: str) -> None:
    caller, second = make("desk1", 42), make("media2", 22, transport="tcp")
    first = None if how == "refused" else make("media1", 21, transport="tcp")
    if how == "no node takes calls":
        edge.drop("target", "c1")
    if how == "failed a moment ago":
        edge.put("down", "media1", "1")
    before = overflowed(edge)
    invite = caller.invite(f"sip:101@{DOMAIN}")
    if how == "503":
        assert first is not None
        first.answer(first.expect("INVITE"), 503)
    incoming = second.expect("INVITE", 4)
    assert incoming.uri == f"sip:101@voice.acme.{ZONE}"
    hang_up(caller, answered(caller, invite, second, incoming), second)
    assert overflowed(edge) == before + 1
    # Back when the own cluster is there again.
    first = first or make("media1", 21, transport="tcp")
    edge.put("target", "c1", f"media1={net}.21:5060,10")
    edge.rpc("htable.flush", "down")
    invite = caller.invite(f"sip:101@{DOMAIN}")
    first.answer(first.expect("INVITE"), 486)
    assert caller.final(invite).status == 486


def test_when_all_failed_a_moment_ago_the_own_cluster_is_tried_first(
    make: Make, edge: Edge, nodes: dict[str, Endpoint]
) -> None:
    for node in ("media1", "media2"):
        edge.put("down", node, "1")
    caller = make("desk1", 43)
    invite = caller.invite(f"sip:101@{DOMAIN}")
    nodes["c1"].answer(nodes["c1"].expect("INVITE"), 503)
    nodes["c2"].answer(nodes["c2"].expect("INVITE"), 503)
    assert caller.final(invite).status == 503


def test_nobody_at_all_is_told_when_to_come_again(make: Make, edge: Edge, net: str) -> None:
    edge.drop("target", "c1")
    edge.drop("target", "c2")
    caller = make("desk1", 44)
    answer = caller.final(caller.invite(f"sip:101@{DOMAIN}"))
    assert (answer.status, answer["Retry-After"]) == (503, "30")
    assert edge.events()[-1]["reason"] == "target"
    edge.put("target", "c2", f"media2={net}.22:5060,10")


def test_where_callers_meet_overflows_too(
    make: Make, edge: Edge, net: str, nodes: dict[str, Endpoint]
) -> None:
    asker = nodes["c3"]
    asks = (("X-DP-Call", "0123"), ("X-DP-Account", "acme"))
    for own, cluster in ((True, "c1"), (False, "c2")):
        if not own:
            edge.drop("target", "c1")
        invite = asker.invite(f"sip:800@home.{ZONE}", headers=asks, sign=False)
        incoming = nodes[cluster].expect("INVITE")
        assert incoming.uri == f"sip:800@conference.acme.{ZONE}"
        nodes[cluster].answer(incoming, 486)
        assert asker.final(invite).status == 486
