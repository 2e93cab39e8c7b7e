"""What rules of fraud block, on a real edge: each scope and kind of block, what passes, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from controller.fraud.ranges import table
from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.messaging import final, said
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
DESK = f"desk1@{DOMAIN}"
SOON, PAST = 4102444800, 1


@pytest.fixture(autouse=True)
def rules(edge: Edge) -> Iterator[None]:
    """Nothing is allowed; acme may write to numbers outside."""
    edge.rpc("htable.flush", "allow")
    edge.put("account", "acme", "cluster=c1;status=active;country=DE;ext=3;text=1")
    yield
    edge.put("account", "acme", "cluster=c1;status=active;country=DE")


def goes_out(media: Endpoint, make: Make, number: str, *, device: str = DESK, account: str = "acme") -> int:
    """A media node calls a number outside for a device; what the edge, or the carrier, answers (486)."""
    carrier = make("carrier", 31)
    headers = (
        ("X-DP-Call", "c-b"),
        ("X-DP-Account", account),
        ("X-DP-Trunk", "carrier-a"),
        ("X-DP-Device", device),
    )
    sent = media.invite(f"sip:{number}@trunk.dialplane.internal", sign=False, headers=headers)
    with suppress(TimeoutError):
        carrier.answer(carrier.expect("INVITE", 0.5), 486)
    carrier.close()
    return media.final(sent).status


def test_the_edge_knows_all_ranges(edge: Edge) -> None:
    known = table()
    counts = {row["name"]: row["all"] for row in edge.rpc("htable.stats")}
    assert counts["class"] == len(known)
    for prefix in ("+498", "+491", min(known), max(known)):
        assert edge.rpc("htable.get", "class", prefix)["item"]["value"] == known[prefix]


SCOPES = ["account:acme", "user:acme/desk", f"device:{DESK}", "all:*"]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("what", "number", "other"),
    [
        ("+88213", "+88213555", "+88216555"), ("premium", "+49900123456", "+493012345"),
        ("satellite", "+881612345", "+493012345"), ("TN", "+21620123456", "+21320123456"),
        ("high_risk", "+21620123456", "+4420712345"), ("international", "+4420712345", "+493012345"),
        ("unallocated", "+9991234567", "+493012345"),
    ],
)  # fmt: skip
def test_destinations(
    make: Make, edge: Edge, media: Endpoint, *, scope: str, what: str, number: str, other: str
) -> None:
    edge.block(f"{scope}:{what}", f"fraud;incident=1;until={SOON}")
    assert goes_out(media, make, number) == 603
    assert edge.events()[-1]["reason"] == "blocked"
    assert goes_out(media, make, other) == 486


def test_who_dials_it_with_plus_is_refused_at_once(make: Make, edge: Edge) -> None:
    edge.block(f"device:{DESK}:premium")
    phone = make("desk1", 60)
    assert phone.final(phone.invite(f"sip:+49900123456@{DOMAIN}")).status == 403


def test_other_devices_and_users_are_not_meant(make: Make, edge: Edge, media: Endpoint) -> None:
    edge.block(f"device:{DESK}:outside")
    assert goes_out(media, make, "+493012345") == 603
    assert goes_out(media, make, "+493012345", device=f"lobby@{DOMAIN}") == 486
    edge.unblock(f"device:{DESK}:outside")
    edge.block("user:acme/desk:outside")
    assert goes_out(media, make, "+493012345", device=f"desk2@{DOMAIN}") == 603
    assert goes_out(media, make, "+493012345", device=f"lobby@{DOMAIN}") == 486


@pytest.mark.parametrize("scope", SCOPES[:3])
def test_nothing_goes_outside_and_calls_inside_go_on(
    make: Make, edge: Edge, media: Endpoint, scope: str
) -> None:
    edge.block(f"{scope}:outside", f"fraud;incident=1;until={SOON}")
    phone, lobby = make("desk1", 61), make("lobby", 62)
    lobby.register()
    assert phone.final(phone.invite(f"sip:+493012345@{DOMAIN}")).status == 403
    assert goes_out(media, make, "+493012345") == 603
    # Another account's number is outside, too; an own one is not.
    assert goes_out(media, make, "+4930555099") == 603
    invite = phone.invite(f"sip:103@{DOMAIN}")
    lobby.answer(lobby.expect("INVITE"), 486)
    assert phone.final(invite).status == 486
    invite = phone.invite(f"sip:+4930555010@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(invite).status == 486
    # Who is called from outside is no caller.
    carrier = make("carrier", 31)
    incoming = carrier.invite(f"sip:4930555010@{edge.address}", sign=False)
    media.answer(media.expect("INVITE"), 486)
    assert carrier.final(incoming).status == 486
    lobby.register(expires=0)


def test_messages(make: Make, edge: Edge) -> None:
    phone = make("desk1", 63)
    assert final(phone, said(phone, f"sip:0301234567@{DOMAIN}", "x")).status == 202
    edge.block("user:acme/desk:outside", f"fraud;incident=1;until={SOON}")
    assert final(phone, said(phone, f"sip:0301234567@{DOMAIN}", "x")).status == 403
    assert final(phone, said(phone, f"sip:+4930555099@{DOMAIN}", "x")).status == 403
    assert final(phone, said(phone, f"sip:lobby@{DOMAIN}", "x")).status == 202


def test_emergency_calls_pass_all_of_them(make: Make, edge: Edge, net: str, media: Endpoint) -> None:
    phone = make("desk1", 64)
    for key in (*(f"{scope}:outside" for scope in SCOPES[:3]), f"source:{net}.64:*"):
        edge.block(key, f"fraud;incident=1;until={SOON}")
    edge.put("block", "account:acme", "29/+49/premium/;lengths=03;most=1;until=4102444800")
    edge.put("block", "account:acme:*", "fraud;incident=2")
    assert phone.final(phone.invite(f"sip:101@{DOMAIN}")).status == 403
    calls = [phone.invite(f"sip:112@{DOMAIN}") for _ in range(2)]
    for _ in calls:
        media.answer(media.expect("INVITE"), 486)
    assert [phone.final(one).status for one in calls] == [486, 486]
    headers = (
        ("X-DP-Call", "c-e"), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"), ("X-DP-Device", DESK),
        ("X-DP-Emergency", "1"),
    )  # fmt: skip
    carrier = make("carrier", 31)
    sent = media.invite("sip:112@trunk.dialplane.internal", sign=False, headers=headers)
    carrier.answer(carrier.expect("INVITE"), 486)
    assert media.final(sent).status == 486


def test_a_block_ends_by_itself(make: Make, edge: Edge, media: Endpoint) -> None:
    """Nobody has to be there to remove it."""
    edge.block(f"device:{DESK}:*", f"fraud;incident=1;until={int(time.time()) + 2}")
    phone = make("desk1", 65)
    assert phone.final(phone.invite(f"sip:101@{DOMAIN}")).status == 403
    time.sleep(2.1)
    invite = phone.invite(f"sip:101@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(invite).status == 486


@pytest.mark.parametrize(
    "allow", ["account:acme:+88213", "user:acme/desk:*", f"device:{DESK}:+8821355", "all:*:+882"]
)
def test_what_is_allowed_passes_blocks_of_rules_but_no_persons(
    make: Make, edge: Edge, media: Endpoint, allow: str
) -> None:
    edge.block(f"device:{DESK}:outside", "fraud;incident=1")
    assert goes_out(media, make, "+88213555") == 603
    edge.put("allow", allow, f"allowed=1;until={PAST}")
    assert goes_out(media, make, "+88213555") == 603
    edge.put("allow", allow, "allowed=1")
    assert goes_out(media, make, "+88213555") == 486
    edge.block(f"device:{DESK}:outside", "unpaid")
    assert goes_out(media, make, "+88213555") == 603


def test_an_address_that_is_allowed(make: Make, edge: Edge, net: str) -> None:
    edge.block(f"source:{net}.66:*", "fraud;incident=1")
    phone = make("desk1", 66)
    with pytest.raises(TimeoutError):
        phone.register()
    edge.put("allow", f"source:{net}.66:*", "allowed=1")
    phone.register()
    phone.register(expires=0)


@pytest.mark.parametrize("whose", ["account:acme", "user:acme/desk", f"device:{DESK}"])
def test_a_cap_counts_calls_of_its_time(make: Make, edge: Edge, media: Endpoint, whose: str) -> None:
    phone = make("desk1", 67)
    edge.put("block", whose, f"16/;most=1;until={SOON}")
    first = phone.invite(f"sip:102@{DOMAIN}")
    leg = answered(phone, first, media, media.expect("INVITE"))
    assert phone.final(phone.invite(f"sip:102@{DOMAIN}")).status == 486
    assert edge.events()[-1]["reason"] == "limit"
    # Over: so is the cap.
    edge.put("block", whose, f"16/;most=1;until={PAST}")
    second = phone.invite(f"sip:102@{DOMAIN}")
    media.answer(media.expect("INVITE"), 603)
    assert phone.final(second).status == 603
    hang_up(phone, leg, media)
    edge.put("block", whose, f"16/;most=1;until={SOON}")
    third = phone.invite(f"sip:102@{DOMAIN}")
    media.answer(media.expect("INVITE"), 603)
    assert phone.final(third).status == 603


def test_a_cap_is_no_higher_than_the_limit_of_the_device(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("limited", 68)
    edge.put("block", f"device:limited@{DOMAIN}", f"16/;most=5;until={SOON}")
    leg = answered(phone, phone.invite(f"sip:102@{DOMAIN}"), media, media.expect("INVITE"))
    assert phone.final(phone.invite(f"sip:102@{DOMAIN}")).status == 486
    hang_up(phone, leg, media)


def test_a_secret_that_changed_is_the_only_one(make: Make, edge: Edge) -> None:
    phone = make("desk2", 69)
    phone.register()
    old = credential("desk2")
    edge.put("credential", f"desk2@{DOMAIN}", old.replace("md5=", "md5=0").replace("sha256=", "sha256=0"))
    phone.register(status=401)
    edge.put("credential", f"desk2@{DOMAIN}", old)
    phone.register(expires=0)


def took_ms(phone: Endpoint, calls: int) -> float:
    """The quickest of so many refused calls, each with a digest: what the machine does meanwhile must not count."""
    found = []
    for _ in range(calls):
        invite = phone.invite(f"sip:+9991234567@{DOMAIN}")
        began = time.perf_counter()
        assert phone.final(invite).status == 403
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)[len(found) // 4]
