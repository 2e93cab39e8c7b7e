"""What the edge writes of devices that come and go."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from time import monotonic, sleep

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import challenge_of, credentials
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live
Told = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def told(edge: Edge) -> Told:
    """What was written of desk1 since the last time it was asked."""
    edge.rpc("htable.flush", "left")
    before = len(edge.registrations(f"desk1@{DOMAIN}"))

    def new() -> list[tuple[str, str]]:
        nonlocal before
        lines = edge.registrations(f"desk1@{DOMAIN}")[before:]
        before += len(lines)
        return lines

    return new


def eventually(told: Told, wanted: tuple[str, str], longest_s: float = 30) -> None:
    lines: list[tuple[str, str]] = []
    deadline = monotonic() + longest_s
    while wanted not in lines:
        assert monotonic() < deadline, lines
        sleep(0.1)
        lines += told()


def signed(phone: Endpoint, contact: str, status: int = 200) -> None:
    """A REGISTER with these contacts."""
    registrar, call = f"sip:{DOMAIN}", uuid.uuid4().hex
    mine = (("Contact", contact), ("Expires", "300"))
    phone.send("REGISTER", registrar, call_id=call, to=f"<{phone.uri}>")
    proof = credentials(challenge_of(phone.expect(401), "MD5"), "REGISTER", registrar, phone.user, "secret")
    message = phone.send(
        "REGISTER", registrar, call_id=call, cseq=2, to=f"<{phone.uri}>",
        headers=(*mine, ("Authorization", proof)), contact=False,
    )  # fmt: skip
    assert phone.expect(lambda one: one.status == status and one["CSeq"] == message["CSeq"])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_comes_refreshes_and_leaves(make: Make, told: Told, transport: str) -> None:
    phone = make("desk1", 50, transport=transport)
    phone.register()
    assert told() == [("registered", "")]
    phone.register()
    phone.register(algorithm="SHA-256")
    assert told() == []
    phone.register(expires=0)
    assert told() == [("gone", "left")]
    phone.register()
    assert told() == [("registered", "")]
    phone.register(expires=0)


def test_who_comes_back_at_once_is_told(make: Make, edge: Edge, told: Told) -> None:
    """A contact that is in the file is kept until it is taken out of it: who comes back before is refreshed."""
    phone = make("desk1", 59)
    phone.register()
    deadline = monotonic() + 30
    with closing(sqlite3.connect(edge.location)) as file:
        while not file.execute("SELECT 1 FROM location WHERE contact = ?", (phone.contact,)).fetchall():
            assert monotonic() < deadline
            sleep(0.1)
    told()
    phone.register(expires=0)
    phone.register()
    assert told() == [("gone", "left"), ("registered", "")]
    phone.register(expires=0)


def test_each_contact_is_told(make: Make, edge: Edge, told: Told) -> None:
    one, two = make("desk1", 51), make("desk1", 52)
    one.register()
    two.register()
    assert told() == [("registered", ""), ("registered", "")]
    one.register(expires=0)
    two.register(expires=0)
    assert told() == [("gone", "left"), ("gone", "left")]


def test_several_contacts_in_one_request(make: Make, edge: Edge, net: str, told: Told) -> None:
    phone = make("desk1", 53)
    phone.register()
    told()
    # The known one last: the module would say that it was only refreshed.
    other = f'"Desk, 1" <sip:desk1@{net}.53:5070>;methods="INVITE,ACK"'
    signed(phone, f"{other}, <{phone.contact}>")
    assert told() == [("registered", "")]
    signed(phone, f'<{phone.contact}>;methods="INVITE,ACK";+x="<urn:a, b>"')
    assert told() == []
    edge.rpc("ul.rm", "location", f"desk1@{DOMAIN}")


def test_a_registration_that_runs_out(make: Make, edge: Edge, told: Told) -> None:
    phone = make("desk1", 54)
    edge.rpc("ul.add", "location", f"desk1@{DOMAIN}", phone.contact, 1, "0.5", "", 0, 0, 0)
    eventually(told, ("gone", "expired"))


def test_a_connection_takes_its_contacts_along(make: Make, edge: Edge, told: Told) -> None:
    stays, goes = make("desk1", 55), make("desk1", 56, transport="tcp")
    stays.register()
    goes.register()
    told()
    goes.close()
    eventually(told, ("gone", "closed"))
    there = edge.rpc("ul.lookup", "location", f"desk1@{DOMAIN}")["Contacts"]
    assert [one["Contact"]["Address"] for one in there] == [stays.contact]
    back = make("desk1", 57, transport="tcp")
    back.register()
    assert told() == [("registered", "")]
    back.register(expires=0)
    stays.register(expires=0)
    assert edge.rpc("htable.dump", "flow")  # one line per connection, not per registration


def test_one_connection_of_two_devices(make: Make, edge: Edge, told: Told) -> None:
    shared = make("desk1", 58, transport="tcp")
    shared.register()
    shared.user = "desk2"
    shared.register()
    told()
    shared.close()
    eventually(told, ("gone", "closed"))
    assert ("gone", "closed") in edge.registrations(f"desk2@{DOMAIN}")
