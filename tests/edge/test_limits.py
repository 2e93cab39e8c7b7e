"""Call limits, blocks, emergencies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import Message, challenge_of, credentials
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]


def test_account_limit_refuses_and_frees(make: Make, edge: Edge, media: Endpoint) -> None:
    one, two = make("s1", 50, "small.example"), make("s2", 51, "small.example")
    for ending in ("bye", "refused", "cancel"):
        invite = one.invite("sip:101@small.example")
        incoming = media.expect("INVITE")
        second = two.invite("sip:101@small.example")
        assert two.final(second).status == 486
        assert edge.events()[-1]["reason"] == "limit"
        if ending == "bye":
            hang_up(one, answered(one, invite, media, incoming), media)
        elif ending == "refused":
            media.answer(incoming, 603)
            assert one.final(invite).status == 603
        else:
            media.answer(incoming, 100)
            time.sleep(0.1)
            one.send(
                "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=2, from_=invite["From"], to=invite["To"],
                via=invite["Via"],
            )  # fmt: skip
            media.answer(media.expect("CANCEL"), 200)
            media.answer(incoming, 487)
            assert one.final(invite).status == 487
    invite = two.invite("sip:101@small.example")
    media.answer(media.expect("INVITE"), 486)
    assert two.final(invite).status == 486
    assert edge.rpc("dlg.profile_get_size", "call", "account:small") == 0


def test_device_limit_counts_both_directions(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("limited", 52)
    phone.register()
    invite = phone.invite(f"sip:101@{DOMAIN}")
    leg = answered(phone, invite, media, media.expect("INVITE"))
    assert media.final(media.invite(f"sip:limited@{DOMAIN}", sign=False)).status == 486
    assert phone.final(phone.invite(f"sip:102@{DOMAIN}")).status == 486
    hang_up(phone, leg, media)
    invite = media.invite(f"sip:limited@{DOMAIN}", sign=False)
    phone.answer(phone.expect("INVITE"), 486)
    assert media.final(invite).status == 486
    phone.register(expires=0)


def test_emergency_passes_every_bar(make: Make, edge: Edge, net: str, media: Endpoint) -> None:
    one, two = make("s1", 53, "small.example"), make("s2", 54, "small.example")
    held = one.invite("sip:101@small.example")
    leg = answered(one, held, media, media.expect("INVITE"))
    edge.block("account:small:*")
    edge.block("all:*:112")
    edge.block(f"source:{net}.54:*")
    assert two.final(two.invite("sip:102@small.example")).status == 403
    invite = two.invite("sip:112@small.example")
    media.answer(media.expect("INVITE"), 486)
    assert two.final(invite).status == 486
    hang_up(one, leg, media)
    asleep = make("a1", 55, "asleep.example")
    assert asleep.final(asleep.invite("sip:101@asleep.example")).status == 403
    assert edge.events()[-1]["reason"] == "suspended"
    invite = asleep.invite("sip:112@asleep.example")
    media.answer(media.expect("INVITE"), 486)
    assert asleep.final(invite).status == 486


@pytest.mark.parametrize(
    ("key", "dialled"),
    [
        ("account:acme:*", "101"), ("account:acme:+88213", "+88213555"), ("all:*:+882", "+88213555"),
        (f"device:desk1@{DOMAIN}:*", "101"), ("source:{net}.56:*", "101"),
        (f"device:desk1@{DOMAIN}:+1", "+12125550100"),
    ],
)  # fmt: skip
def test_blocks(make: Make, edge: Edge, net: str, media: Endpoint, *, key: str, dialled: str) -> None:
    phone = make("desk1", 56)
    edge.block(key.format(net=net))
    edge.block("account:other:*")
    assert phone.final(phone.invite(f"sip:{dialled}@{DOMAIN}")).status == 403
    assert edge.events()[-1]["reason"] == "blocked"
    edge.unblock(key.format(net=net))
    invite = phone.invite(f"sip:{dialled}@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(invite).status == 486


def prepared(caller: Endpoint, uri: str) -> Callable[[], Message]:
    """The INVITE with its digest, to be sent when called: two of them can then be one moment apart."""
    call_id = uuid.uuid4().hex
    first = caller.send("INVITE", uri, call_id=call_id)
    answer = caller.expect(lambda one: one.status == 407 and one["Call-ID"] == call_id)
    caller.ack(first, answer)
    proof = credentials(challenge_of(answer, "MD5"), "INVITE", uri, caller.user, caller.password)

    def send() -> Message:
        mine = (("Proxy-Authorization", proof),)
        return caller.send("INVITE", uri, call_id=call_id, cseq=2, from_=first["From"], headers=mine)

    return send


def test_a_crowd_at_once_gets_no_place_more_than_there_are(make: Make, edge: Edge) -> None:
    """Calls straight to a device whose limit is 1, by all workers of the edge in one moment."""
    phone, callers = make("limited", 60), [make("desk1", port) for port in range(61, 69)]
    phone.register()
    edge.put("lead", "acme/109", f"user=limited;device=limited@{DOMAIN};straight=1")
    try:
        for _ in range(20):
            sends = [prepared(caller, f"sip:109@{DOMAIN}") for caller in callers]
            with ThreadPoolExecutor(len(sends)) as pool:
                invites = list(pool.map(lambda send: send(), sends))
            incoming = phone.expect("INVITE")
            assert phone.silent(0.1)
            phone.answer(incoming, 603)
            phone.expect("ACK")
            statuses = [caller.final(invite).status for caller, invite in zip(callers, invites, strict=True)]
            assert sorted(statuses) == [486] * (len(callers) - 1) + [603]
    finally:
        edge.drop("lead", "acme/109")
        phone.register(expires=0)
