"""Two media nodes behind a real edge: a call on one of them is parked, and taken by a phone whose call comes to
the other; a third phone watches the slot and the one who parks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.message import Message
from tests.edge.phone import Endpoint, Leg
from tests.edge.test_lamps import Watch
from tests.media.features import FEATURES
from tests.media.site import SIP_PORT, Site, standing
from tests.media.test_calls import until

DOMAIN = "feat.example"
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def site(asterisk_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with standing(asterisk_image, tmp_path_factory.mktemp("edge"), FEATURES) as site:
        yield site


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
