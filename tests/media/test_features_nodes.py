"""Two media nodes behind a real edge: a call on one of them is parked, and taken by a phone whose call comes to
the other; a third phone watches the slot and the one who parks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.compiler import dialplan, dialplan_shared, edge
from controller.desired.model import Node, System
from tests.edge.conftest import ha1
from tests.edge.edge import Edge, seed
from tests.edge.edge import image as edge_image
from tests.edge.message import Message
from tests.edge.phone import Endpoint, Leg
from tests.edge.test_lamps import Watch
from tests.media import company
from tests.media.features import FEATURES
from tests.media.node import MediaNode
from tests.media.test_calls import until

DOMAIN, SIP_PORT = "feat.example", 5060
LIMIT_S = 30.0


@dataclass
class Site:
    """What runs."""

    edge: Edge
    nodes: dict[str, MediaNode]

    def lead(self, name: str) -> None:
        """Calls go to this node, but for what lives at the account's home."""
        targets = (
            f"{one}={node.address}:{SIP_PORT},{1000 if one == name else 0}"
            for one, node in self.nodes.items()
        )
        self.edge.put("target", "c1", " ".join(sorted(targets)))

    def told(self, event: str) -> set[str]:
        """Nodes whose events have this one: `dp.park 701 by f4@feat.example`."""
        return {
            name
            for name, node in self.nodes.items()
            if any(f"{one['eventtype']} " in f"{event} " and event.split(" ", 1)[1] in one["eventextra"]
                   for one in node.events() if one["eventtype"].startswith("dp."))
        }  # fmt: skip


@pytest.fixture(scope="module")
def site(asterisk_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if edge_image() is None:
        pytest.skip("no Docker image with Kamailio (dialplane-edge or DIALPLANE_EDGE_IMAGE)")
    first = MediaNode(asterisk_image)
    nodes = {"media2": MediaNode(asterisk_image, beside=first), "media1": first}
    gateway = first.gateway
    home: Path = tmp_path_factory.mktemp("edge")
    kamailio = Edge(home, gateway)
    signed = tuple(
        replace(one, ha1_md5=digest["md5"], ha1_sha256=digest["sha256"])
        for one in FEATURES.devices
        for digest in [ha1(one.name, one.domain)]
    )
    account = replace(FEATURES, devices=signed)
    system = company.system(gateway, SIP_PORT)
    try:
        seed(kamailio.state, _tables(account, system, nodes))
        kamailio.start()
        for node in nodes.values():
            node.hold(
                {
                    **dialplan_shared.shared_dialplan(system),
                    **dialplan.account_dialplan(account, system),
                },
                {},
                dialplan_shared.media_files(system),
            )
            node.start()
        yield Site(kamailio, nodes)
    finally:
        kamailio.stop()
        for node in nodes.values():
            node.remove()


def _tables(account: object, system: System, nodes: dict[str, MediaNode]) -> dict[str, dict[str, str]]:
    known = replace(
        system,
        nodes=(
            *(one for one in system.nodes if one.kind == "edge"),
            *(Node(name, "media", "c1", node.address, SIP_PORT, 10) for name, node in nodes.items()),
        ),
    )
    tables: dict[str, dict[str, str]] = {}
    for entry in (*edge.account_entries(account), *edge.system_entries(known)):  # type: ignore[arg-type]
        if entry.address.table != "registration":
            tables.setdefault(entry.address.table, {})[entry.address.key] = entry.value
    return tables


@pytest.fixture
def phones(site: Site) -> Iterator[dict[str, Endpoint]]:
    """f1 to f4, registered."""
    address = site.edge.address
    made = {
        name: Endpoint(name, DOMAIN, address, (address, SIP_PORT), port=5080 + number)
        for number, name in enumerate(("f1", "f2", "f3", "f4"))
    }
    for phone in made.values():
        phone.register()
    yield made
    for phone in made.values():
        phone.close()


def ring(called: Endpoint) -> tuple[Leg, Message]:
    """Its side of the call that it answers, and the INVITE."""
    incoming = called.expect("INVITE", LIMIT_S)
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {called.address}\r\ns=-\r\nc=IN IP4 {called.address}\r\nt=0 0\r\n"
        "m=audio 40002 RTP/AVP 0\r\n"
    )
    called.answer(incoming, 200, "OK", headers=(("Content-Type", "application/sdp"),), body=sdp)
    called.expect("ACK", LIMIT_S)
    return called.callee(incoming), incoming


def test_a_call_is_parked_on_one_node_and_taken_from_the_other(
    site: Site, phones: dict[str, Endpoint]
) -> None:
    fay, gus, hal, ida = phones.values()
    slot, parker = Watch(gus, f"sip:701@{DOMAIN}"), Watch(gus, f"sip:104@{DOMAIN}")
    for one in (slot, parker):
        assert one.subscribe().status == 200
        assert one.notified() == ("active", "terminated")

    site.lead("media1")
    invite = hal.invite(f"sip:104@{DOMAIN}")
    leg, _ = ring(ida)
    caller = hal.established(invite, hal.final(invite, LIMIT_S))
    # Rang so shortly that it may not have been told.
    until(lambda: parker.notified() == ("active", "confirmed"))
    assert site.told("dp.begin dialled 104") == {"media1"}

    ida.within(leg, "REFER", headers=(("Refer-To", f"<sip:700@{DOMAIN}>"),))
    until(lambda: site.told("dp.park 701 by f4@feat.example"), LIMIT_S)
    assert slot.notified() == ("active", "confirmed")
    # The phone of who parked is told the slot.
    told = ida.expect("INVITE", LIMIT_S)
    assert "<sip:701@" in told["From"]
    assert "answer-after=0" in told["Call-Info"]
    ida.answer(told, 486)

    site.lead("media2")
    asked = fay.invite(f"sip:701@{DOMAIN}")
    taker = fay.established(asked, fay.final(asked, LIMIT_S))
    until(lambda: site.told("dp.unpark 701"), LIMIT_S)
    assert site.told("dp.begin dialled 701 user fay") >= {"media2"}
    assert slot.notified() == ("active", "terminated")

    hal.within(caller, "BYE")
    fay.answer(fay.expect("BYE", LIMIT_S), 200)
    assert taker.call_id
    for node in site.nodes.values():
        until(lambda n=node: "0 active channels" in n.cli("core show channels count"), LIMIT_S)  # type: ignore[misc]


def test_a_page_reaches_who_is_free(site: Site, phones: dict[str, Endpoint]) -> None:
    fay, gus, hal, ida = phones.values()
    site.lead("media1")
    site.edge.put("dnd", "feat-1/hal", "1")
    invite = ida.invite(f"sip:*80@{DOMAIN}")
    heard = [ring(one) for one in (fay, gus)]
    for _, incoming in heard:
        assert "answer-after=0" in incoming["Call-Info"]
        assert not incoming.get("X-DP-Skip-Busy")
    leg = ida.established(invite, ida.final(invite, LIMIT_S))
    refused = [one for one in site.edge.events() if one["reason"] == "busy"]
    assert [one["device"] for one in refused] == [f"f3@{DOMAIN}"]
    ida.within(leg, "BYE")
    for one in (fay, gus):
        one.answer(one.expect("BYE", LIMIT_S), 200)
    with pytest.raises(TimeoutError):  # it does not want to be disturbed
        hal.expect("INVITE", 0.2)
    site.edge.drop("dnd", "feat-1/hal")
