"""Busy lamps: who may watch whom, and what a watcher is told. User desk has two devices, lobby has one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.message import Message, challenge_of, credentials
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean", "lamps")]
DESK = f"sip:101@{DOMAIN}"
INFO = "{urn:ietf:params:xml:ns:dialog-info}"
LIMIT_S = 10.0


@pytest.fixture(scope="module", autouse=True)
def lamps(edge: Edge) -> None:
    edge.put("lamp", f"101@{DOMAIN}", "acme/desk")
    edge.put("lamp", f"103@{DOMAIN}", "acme/lobby")
    for device in ("desk1", "desk2", "lobby"):
        edge.put("credential", f"{device}@{DOMAIN}", credential(device, lamp="1"))


@dataclass
class Watch:
    """A subscription, as the phone that has it knows it."""

    phone: Endpoint
    uri: str
    event: str = "dialog"
    call_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    local: str = ""
    remote: str = ""
    target: str = ""
    cseq: int = 0
    told: int = 0

    def subscribe(self, expires: int = 300, password: str | None = None) -> Message:
        """Asks, or asks again; answers the challenge. The final answer."""
        self.local = self.local or f"<{self.phone.uri}>;tag={uuid.uuid4().hex[:8]}"
        answer = self._send(expires)
        if answer.status == 407:
            challenge = challenge_of(answer, "MD5")
            phone = self.phone
            proof = credentials(
                challenge, "SUBSCRIBE", self.target or self.uri, phone.user, password or phone.password
            )
            answer = self._send(expires, ("Proxy-Authorization", proof))
        if answer.status == 200:
            self.remote = answer["To"]
            contact = re.search("<(.*)>", answer["Contact"])
            assert contact
            self.target = contact[1]
        return answer

    def _send(self, expires: int, *more: tuple[str, str]) -> Message:
        self.cseq += 1
        self.phone.send(
            "SUBSCRIBE", self.target or self.uri, call_id=self.call_id, cseq=self.cseq, from_=self.local,
            to=self.remote or f"<{self.uri}>",
            headers=(("Event", self.event), ("Expires", str(expires)), *more),
        )  # fmt: skip
        number = str(self.cseq)
        return self.phone.expect(
            lambda m: m.status >= 200 and m["Call-ID"] == self.call_id and m["CSeq"].startswith(f"{number} "),
            LIMIT_S,
        )

    def notified(self) -> tuple[str, str]:
        """The next NOTIFY, answered: state of the subscription and of the lamp."""
        notify = self.phone.expect(
            lambda m: m.is_request and m.method == "NOTIFY" and m["Call-ID"] == self.call_id, LIMIT_S
        )
        self.phone.answer(notify, 200)
        self.told += 1
        assert notify["CSeq"] == f"{self.told} NOTIFY"
        assert notify.uri == self.phone.contact
        assert notify["From"] == self.remote
        assert notify["To"] == self.local
        assert notify["Event"] == self.event
        assert notify["Content-Type"] == "application/dialog-info+xml"
        body = ElementTree.fromstring(notify.body)
        assert body.get("version") == str(self.told - 1)
        assert body.get("entity") == self.uri
        state = body.findtext(f"{INFO}dialog/{INFO}state")
        assert state
        return notify["Subscription-State"].partition(";")[0], state

    def quiet(self) -> bool:
        """Nothing more is said to it for a while."""
        try:
            self.phone.expect(
                lambda m: m.is_request and m.method == "NOTIFY" and m["Call-ID"] == self.call_id, 0.5
            )
        except TimeoutError:
            return True
        return False


@pytest.fixture
def watch(make: Make) -> Iterator[Watch]:
    """The phone of lobby watches 101."""
    one = Watch(make("lobby", 70), DESK)
    assert one.subscribe().status == 200
    assert one.notified() == ("active", "terminated")
    yield one
    assert one.subscribe(0).status == 200
    assert one.notified()[0] == "terminated"


def test_a_device_rings_talks_and_ends(make: Make, media: Endpoint, watch: Watch) -> None:
    phone = make("desk1", 60)
    phone.register()
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False)
    incoming = phone.expect("INVITE")
    assert watch.notified() == ("active", "early")
    leg = answered(media, invite, phone, incoming)
    assert watch.notified() == ("active", "confirmed")
    hang_up(media, leg, phone)
    assert watch.notified() == ("active", "terminated")
    phone.register(expires=0)


def test_a_device_that_calls_is_on_the_telephone(make: Make, media: Endpoint, watch: Watch) -> None:
    phone = make("desk2", 61)
    invite = phone.invite(f"sip:600@{DOMAIN}")
    assert watch.notified() == ("active", "confirmed")
    media.answer(media.expect("INVITE"), 486)
    assert phone.final(invite).status == 486
    assert watch.notified() == ("active", "terminated")


def test_two_devices_of_one_user_have_one_lamp(make: Make, media: Endpoint, watch: Watch) -> None:
    first, second = make("desk1", 60), make("desk2", 61)
    for phone in (first, second):
        phone.register()
    invites = [media.invite(f"sip:{phone.user}@{DOMAIN}", sign=False) for phone in (first, second)]
    ringing = [phone.expect("INVITE") for phone in (first, second)]
    assert watch.notified() == ("active", "early")
    leg = answered(media, invites[0], first, ringing[0])
    assert watch.notified() == ("active", "confirmed")
    second.answer(ringing[1], 486)
    assert media.final(invites[1]).status == 486
    assert watch.quiet()
    hang_up(media, leg, first)
    assert watch.notified() == ("active", "terminated")
    for phone in (first, second):
        phone.register(expires=0)


def test_a_call_nobody_answers(make: Make, media: Endpoint, watch: Watch) -> None:
    phone = make("desk1", 60)
    phone.register()
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False)
    incoming = phone.expect("INVITE")
    phone.answer(incoming, 180)
    media.expect(180)
    assert watch.notified() == ("active", "early")
    media.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], from_=invite["From"], to=invite["To"],
        via=invite["Via"], cseq=int(invite["CSeq"].split()[0]),
    )  # fmt: skip
    phone.answer(phone.expect("CANCEL"), 200)
    phone.answer(incoming, 487)
    assert media.final(invite).status == 487
    assert watch.notified() == ("active", "terminated")
    phone.register(expires=0)


def test_both_ends_of_a_straight_call(make: Make, edge: Edge, watch: Watch) -> None:
    """103 is the one device of lobby: its own lamp is watched by desk1, which calls it."""
    caller = make("desk1", 60)
    lobby = watch.phone
    lobby.register()
    other = Watch(caller, f"sip:103@{DOMAIN}", event="dialog;id=7")
    assert other.subscribe().status == 200
    assert other.notified() == ("active", "terminated")
    invite = caller.invite(f"sip:103@{DOMAIN}")
    incoming = lobby.expect("INVITE")
    assert watch.notified() == ("active", "confirmed")
    assert other.notified() == ("active", "early")
    leg = answered(caller, invite, lobby, incoming)
    assert other.notified() == ("active", "confirmed")
    hang_up(caller, leg, lobby)
    assert watch.notified() == ("active", "terminated")
    assert other.notified() == ("active", "terminated")
    other.subscribe(0)
    assert other.notified()[0] == "terminated"
    lobby.register(expires=0)


def test_a_slot_in_which_a_call_waits(make: Make, media: Endpoint, edge: Edge) -> None:
    """The media node says so, and for how long at most: its own end cannot be told."""
    edge.put("lamp", f"701@{DOMAIN}", "acme/*701")
    one = Watch(make("lobby", 70), f"sip:701@{DOMAIN}")
    one.subscribe()
    assert one.notified() == ("active", "terminated")

    def tell(seconds: int, account: str = "acme") -> None:
        media.send(
            "MESSAGE", f"sip:701.{account}@lamp.dialplane.internal", body=str(seconds),
            headers=(("Content-Type", "text/plain"),), contact=False,
        )  # fmt: skip
        media.expect(200)

    tell(60)
    assert one.notified() == ("active", "confirmed")
    tell(0, "small")
    assert one.quiet()
    tell(0)
    assert one.notified() == ("active", "terminated")
    tell(1)
    assert one.notified() == ("active", "confirmed")
    assert one.notified() == ("active", "terminated")
    one.subscribe(0)
    one.notified()


def test_asked_again_it_says_the_state_again(watch: Watch) -> None:
    tag = watch.remote
    assert watch.subscribe(600)["Expires"] == "600"
    assert watch.remote == tag
    assert watch.notified() == ("active", "terminated")


def test_ended_it_says_nothing_more(make: Make, media: Endpoint, edge: Edge) -> None:
    one = Watch(make("lobby", 70), DESK)
    one.subscribe()
    one.notified()
    assert one.subscribe(0).status == 200
    assert one.notified() == ("terminated", "terminated")
    phone = make("desk2", 61)
    invite = phone.invite(f"sip:600@{DOMAIN}")
    media.answer(media.expect("INVITE"), 486)
    phone.final(invite)
    assert one.quiet()
    assert one.subscribe().status == 481
    assert edge.rpc("htable.stats") is not None
    with pytest.raises(LookupError):
        edge.rpc("htable.get", "watched", "acme/desk")


def test_what_may_be_watched_no_longer(make: Make, edge: Edge) -> None:
    one = Watch(make("lobby", 70), DESK)
    one.subscribe()
    one.notified()
    edge.drop("lamp", f"101@{DOMAIN}")
    try:
        assert one.subscribe().status == 481
        assert one.notified()[0] == "terminated"
        assert Watch(one.phone, DESK).subscribe().status == 404
    finally:
        edge.put("lamp", f"101@{DOMAIN}", "acme/desk")


@pytest.mark.parametrize(
    ("uri", "event", "expires", "status"),
    [
        (f"sip:199@{DOMAIN}", "dialog", 300, 404),
        (DESK, "message-summary", 300, 489),
        (DESK, "presence", 300, 489),
        (DESK, "dialog", 10, 423),
        ("sip:101@small.example", "dialog", 300, 404),
    ],
)
def test_what_is_refused(make: Make, uri: str, event: str, expires: int, status: int) -> None:
    answer = Watch(make("lobby", 70), uri, event).subscribe(expires)
    assert answer.status == status
    if status == 489:
        assert "dialog" in (answer.get("Allow-Events") or "")


def test_another_account_and_a_stranger_see_nothing(make: Make) -> None:
    other = make("s1", 71, domain="small.example")
    assert Watch(other, DESK).subscribe().status == 404
    assert Watch(make("lobby", 70), DESK).subscribe(password="wrong").status == 407


def test_a_subscription_that_nobody_here_knows(make: Make) -> None:
    """An edge that was restarted: the phone begins anew."""
    lost = Watch(make("lobby", 70), DESK, remote=f"<{DESK}>;tag=gone")
    assert lost.subscribe().status == 481


def test_many_watch_one(make: Make, media: Endpoint, edge: Edge) -> None:
    phone = make("lobby", 70)
    many = [Watch(phone, DESK) for _ in range(60)]
    for one in many:
        assert one.subscribe().status == 200
        assert one.notified() == ("active", "terminated")
    caller = make("desk2", 61)
    invite = caller.invite(f"sip:600@{DOMAIN}")
    for one in many:
        assert one.notified() == ("active", "confirmed")
    media.answer(media.expect("INVITE"), 486)
    caller.final(invite)
    for one in many:
        assert one.notified() == ("active", "terminated")
    # Places that are free are taken again.
    for one in many[:30]:
        one.subscribe(0)
        one.notified()
    again = Watch(phone, DESK)
    again.subscribe()
    again.notified()
    for one in (*many[30:], again):
        one.subscribe(0)
        one.notified()


def test_a_phone_on_a_connection_is_told_over_it(make: Make, media: Endpoint, edge: Edge) -> None:
    """And when it is closed, the next change finds nobody there."""
    phone = make("lobby", 72, transport="tcp")
    one = Watch(phone, DESK)
    assert one.subscribe().status == 200
    assert one.notified() == ("active", "terminated")
    caller = make("desk2", 61)
    invite = caller.invite(f"sip:600@{DOMAIN}")
    assert one.notified() == ("active", "confirmed")
    phone.close()
    media.answer(media.expect("INVITE"), 486)
    caller.final(invite)
    for _ in range(100):
        try:
            edge.rpc("htable.get", "watched", "acme/desk")
        except LookupError:
            return
        media.silent(0.1)
    raise AssertionError("the place is still taken")
