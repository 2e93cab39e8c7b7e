"""Hunt groups: a device that registers is told which numbers it shares, and may decline some."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import Message, challenge_of, credentials
from tests.edge.phone import Endpoint
from tests.edge.steps import dp

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
SALES = (("X-DP-Group", "sales"),)
Register = Callable[..., Message]


@pytest.fixture
def register(edge: Edge) -> Iterator[Register]:
    """Registers a contact with parameters; all are gone, and the shared numbers, after the test."""
    edge.put("shared", f"desk1@{DOMAIN}", "sales/+4930555020,sales/600,support/610,silent/")
    phones: list[Endpoint] = []

    def one(phone: Endpoint, decline: str = "", expires: int = 300) -> Message:
        uri, tail = f"sip:{DOMAIN}", f";decline={decline}" if decline else ""
        mine = (("Contact", f"<{phone.contact}{tail}>;expires={expires}"),)
        first = phone.send("REGISTER", uri, to=f"<{phone.uri}>", headers=mine, contact=False)
        challenge = challenge_of(phone.expect(401), "MD5")
        proof = credentials(challenge, "REGISTER", uri, phone.user, phone.password)
        phone.send(
            "REGISTER", uri, call_id=first["Call-ID"], cseq=2, to=f"<{phone.uri}>", contact=False,
            headers=(*mine, ("Authorization", proof)),
        )  # fmt: skip
        phones.append(phone)
        return phone.expect(200)

    yield one
    for phone in phones:
        phone.register(expires=0)
        edge.rpc("ul.rm", "location", f"{phone.user}@{DOMAIN}")
    edge.rpc("htable.flush", "shared")


def rings(
    media: Endpoint, phones: list[Endpoint], headers: tuple[tuple[str, str], ...]
) -> tuple[int, list[int]]:
    """What a media node hears that rings desk1, and the ports of the phones that rang (they answer 486)."""
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False, headers=headers)
    rang = []
    for phone in phones:
        try:
            incoming = phone.expect(lambda m: m.is_request and m.method == "INVITE", 1)
        except TimeoutError:
            continue
        assert dp(incoming) == {}
        rang.append(phone.port)
        phone.answer(incoming, 486)
    return media.final(invite).status, rang


@pytest.mark.parametrize(
    ("decline", "told"),
    [
        ("", ["+4930555020", "600", "610"]), ("support", ["+4930555020", "600"]), ("sales", ["610"]),
        ("sales+support", []), ("*", []), ("sale", ["+4930555020", "600", "610"]),
    ],
)  # fmt: skip
def test_who_registers_is_told_the_numbers_it_shares(
    make: Make, register: Register, decline: str, told: list[str]
) -> None:
    answer = register(make("desk1", 70), decline)
    own = [f"<sip:desk1@{DOMAIN}>", *(f"<sip:{number}@{DOMAIN}>" for number in told)]
    assert answer.all("P-Associated-URI") == [", ".join(own)]


def test_a_device_that_shares_nothing_is_told_nothing(make: Make) -> None:
    phone = make("desk2", 71)
    assert phone.register().get("P-Associated-URI") is None
    phone.register(expires=0)


def test_a_contact_that_declined_does_not_ring_for_the_group(
    make: Make, edge: Edge, media: Endpoint, register: Register
) -> None:
    willing, not_willing = make("desk1", 72), make("desk1", 73)
    register(not_willing, "sales")
    assert rings(media, [not_willing], SALES) == (404, [])
    assert edge.events()[-1]["reason"] == "declined"
    assert rings(media, [not_willing], ()) == (486, [not_willing.port])
    assert rings(media, [not_willing], (("X-DP-Group", "support"),)) == (486, [not_willing.port])
    assert rings(media, [not_willing], (("X-DP-Group", "others"),)) == (486, [not_willing.port])
    # The last one registered comes first among the contacts, and the first one first: both are looked at.
    for later in (willing, not_willing):
        register(later, "sales" if later is not_willing else "")
        status, rang = rings(media, [willing, not_willing], SALES)
        assert (status, rang) == (486, [willing.port])
    register(not_willing)
    assert sorted(rings(media, [willing, not_willing], SALES)[1]) == sorted([willing.port, not_willing.port])


def test_a_member_that_does_not_join_by_registering_cannot_decline(
    make: Make, edge: Edge, media: Endpoint, register: Register
) -> None:
    phone = make("desk1", 74)
    register(phone, "*")
    edge.drop("shared", f"desk1@{DOMAIN}")
    assert rings(media, [phone], SALES) == (486, [phone.port])


def test_a_text_of_a_media_node_reaches_all_contacts_of_a_device(make: Make, media: Endpoint) -> None:
    phone = make("desk2", 75)
    uri = f"sip:desk2@{DOMAIN}"
    media.send("MESSAGE", uri, headers=(("Content-Type", "text/plain"),), body="hello", contact=False)
    assert media.expect(404)
    phone.register()
    media.send("MESSAGE", uri, headers=(("Content-Type", "text/plain"),), body="hello", contact=False)
    message = phone.expect("MESSAGE")
    assert message.body == "hello"
    phone.answer(message, 200)
    assert media.expect(200)
    stranger = make("desk1", 76)
    stranger.send("MESSAGE", uri, headers=(("Content-Type", "text/plain"),), body="hello")
    assert stranger.expect(407), "who writes signs in"
    phone.register(expires=0)
