"""Messages of phones at an edge: relayed, refused, or accepted and on disk before the sender hears so."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import Message
from tests.edge.messaging import GREETING, TEXT, final, forget, kept, lines, said
from tests.edge.phone import Endpoint
from tests.edge.steps import SPOOF, UUID, dp

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean", "company_messages")]
KEY = "0123456789abcdef"


@pytest.fixture
def company_messages(edge: Edge) -> Iterator[None]:
    """What leads to whom."""
    edge.put("lead", "acme/lobby", f"user=lobby;device=lobby@{DOMAIN}")
    edge.put("lead", "acme/101", f"user=desk;device=desk1@{DOMAIN}+desk2@{DOMAIN}")
    edge.put("lead", "acme/600", "group=sales")
    edge.put("agent", "key", KEY)
    forget(edge)
    yield
    for one in ("lobby", "101", "600"):
        edge.drop("lead", f"acme/{one}")


@pytest.fixture
def phones(make: Make) -> Iterator[tuple[Endpoint, Endpoint]]:
    """desk1 and lobby, registered."""
    both = make("desk1", 71), make("lobby", 72)
    for phone in both:
        phone.register()
    yield both
    for phone in both:
        phone.register(expires=0)


@pytest.mark.parametrize("called", ["103", "lobby", "lobby@other"])
def test_from_phone_to_phone(edge: Edge, phones: tuple[Endpoint, Endpoint], called: str) -> None:
    desk, lobby = phones
    user = called.partition("@")[0]
    sent = said(desk, f"sip:{user}@{DOMAIN}", headers=(*TEXT, *SPOOF))
    got = lobby.expect("MESSAGE")
    assert got.body == GREETING
    assert got["Content-Type"] == TEXT[0][1]
    assert got["From"].startswith(f"<sip:desk1@{DOMAIN}>")
    (mine,) = dp(got).items()
    assert mine[0] == "X-DP-Message"
    assert len(mine[1]) == UUID
    assert got.get("Proxy-Authorization") is None
    lobby.answer(got, 200, "OK")
    assert final(desk, sent).status == 200
    assert kept(edge) == []
    told = lines(edge)[-1]
    assert told["message"] == mine[1]
    assert (told["status"], told["account"], told["device"], told["to"], told["called"]) == (
        200, "acme", f"desk1@{DOMAIN}", f"lobby@{DOMAIN}", user,
    )  # fmt: skip


def test_the_answer_of_a_phone_that_will_not_is_the_senders(
    edge: Edge, phones: tuple[Endpoint, Endpoint]
) -> None:
    desk, lobby = phones
    sent = said(desk, f"sip:103@{DOMAIN}")
    lobby.answer(lobby.expect("MESSAGE"), 415, "Unsupported Media Type")
    assert final(desk, sent).status == 415
    assert kept(edge) == []
    assert (lines(edge)[-1]["status"], lines(edge)[-1]["reason"]) == (415, "phone")


@pytest.mark.parametrize("status", [480, 408, 503, 500, 486])
def test_what_a_phone_does_not_take_now_is_accepted(
    edge: Edge, phones: tuple[Endpoint, Endpoint], status: int
) -> None:
    desk, lobby = phones
    sent = said(desk, f"sip:103@{DOMAIN}")
    got = lobby.expect("MESSAGE")
    lobby.answer(got, status, "Not Now")
    answer = final(desk, sent)
    assert answer.status == 202
    (row,) = kept(edge)
    assert row["id"] == got["X-DP-Message"] == answer["X-DP-Message"]
    assert (row["target"], row["why"]) == (f"lobby@{DOMAIN}", str(status))


def test_a_silent_phone(edge: Edge, phones: tuple[Endpoint, Endpoint]) -> None:
    desk, _ = phones
    sent = said(desk, f"sip:103@{DOMAIN}")
    assert final(desk, sent, 9).status == 202
    assert kept(edge)[0]["why"] == "408"


@pytest.mark.parametrize(
    ("called", "target", "why"),
    [
        ("desk2", f"desk2@{DOMAIN}", "unregistered"),
        ("101", "", "several"),
        ("600", "", "several"),
        ("+4930555099", "", "several"),
    ],
)
def test_accepted_before_202(make: Make, edge: Edge, called: str, target: str, why: str) -> None:
    desk = make("desk1", 73)
    before = time.time()
    sent = said(desk, f"sip:{called}@{DOMAIN}", headers=(*TEXT, ("Expires", "600")))
    answer = final(desk, sent)
    assert answer.status == 202
    (row,) = kept(edge)
    assert row | {"ms": 0} == {
        "id": answer["X-DP-Message"], "ms": 0, "account": "acme", "device": f"desk1@{DOMAIN}", "user": "desk",
        "called": called, "target": target, "why": why, "expires": 600, "type": TEXT[0][1], "body": GREETING,
        "source": f"{edge.address.rpartition('.')[0]}.73", "agent": "",
    }  # fmt: skip
    assert before - 1 < row["ms"] / 1000 < time.time() + 1


def test_a_retransmission_is_one_message(make: Make, edge: Edge) -> None:
    desk = make("desk1", 74)
    sent = said(desk, f"sip:600@{DOMAIN}")
    for _ in range(2):
        # As a phone does it: not before half a second.
        time.sleep(0.1)
        desk.raw(str(sent).encode())
    assert final(desk, sent).status == 202
    assert final(desk, sent).status == 202
    desk.raw(str(sent).encode())
    assert final(desk, sent).status == 202
    assert len(kept(edge)) == 1


@pytest.mark.parametrize(
    ("user", "domain", "uri", "status", "reason"),
    [
        ("desk1", DOMAIN, f"sip:999@{DOMAIN}", 404, "number"),
        ("desk1", DOMAIN, f"sip:nobody@{DOMAIN}", 404, "number"),
        ("desk1", DOMAIN, "sip:s1@small.example", 404, "domain"),
        ("desk1", DOMAIN, "sip:+33123456789@" + DOMAIN, 404, "number"),
        ("a1", "asleep.example", "sip:a1@asleep.example", 403, "suspended"),
    ],
)
def test_refused(make: Make, edge: Edge, user: str, domain: str, uri: str, status: int, reason: str) -> None:
    phone = make(user, 75, domain)
    sent = said(phone, uri)
    assert final(phone, sent).status == status
    assert kept(edge) == []
    assert (lines(edge)[-1]["status"], lines(edge)[-1]["reason"]) == (status, reason)


@pytest.mark.parametrize("block", ["user:acme/desk:*", f"device:desk1@{DOMAIN}:*", "account:acme:*"])
def test_blocks_hold(edge: Edge, phones: tuple[Endpoint, Endpoint], block: str) -> None:
    desk, lobby = phones
    edge.block(block)
    sent = said(desk, f"sip:103@{DOMAIN}")
    assert final(desk, sent).status == 403
    assert lobby.silent(0.2)


def test_a_stranger_is_asked_who_it_is(make: Make, edge: Edge) -> None:
    stranger = make("desk1", 76, password="wrong")
    sent = stranger.send("MESSAGE", f"sip:103@{DOMAIN}", headers=TEXT, body="x", contact=False)
    assert final(stranger, sent).status == 407
    # The key of the agent is worth nothing elsewhere.
    sent = stranger.send(
        "MESSAGE",
        f"sip:lobby@{DOMAIN}",
        headers=(*TEXT, ("X-DP-Agent", KEY), ("X-DP-Message", "a-b")),
        body="x",
    )
    assert final(stranger, sent).status == 407


def test_somebody_is_typing_is_not_kept(make: Make, edge: Edge) -> None:
    desk = make("desk1", 77)
    typing = (("Content-Type", "application/im-iscomposing+xml"),)
    sent = said(desk, f"sip:desk2@{DOMAIN}", "<isComposing/>", typing)
    assert final(desk, sent).status == 480
    assert kept(edge) == []


def test_long_text_goes_by_tcp_where_the_phone_listens(
    make: Make, edge: Edge, phones: tuple[Endpoint, Endpoint]
) -> None:
    desk, lobby = phones
    long = "лорем ипсум " * 300
    stream = make("lobby", 72, transport="tcp")
    sent = said(desk, f"sip:103@{DOMAIN}", long)
    got = stream.expect("MESSAGE")
    assert got.body == long
    stream.answer(got, 200, "OK")
    assert final(desk, sent).status == 200
    assert lobby.silent(0.1)
    stream.close()
    # Nobody listens there: as it registered.
    sent = said(desk, f"sip:103@{DOMAIN}", long)
    got = lobby.expect("MESSAGE", 8)
    assert got.body == long
    lobby.answer(got, 200, "OK")
    assert final(desk, sent).status == 200


def test_longest_text(make: Make, edge: Edge) -> None:
    desk = make("desk1", 79, transport="tcp")
    long = "ä" * 7500
    headers = (*TEXT, ("User-Agent", "'" * 200))
    assert final(desk, said(desk, f"sip:600@{DOMAIN}", long, headers)).status == 202
    assert (kept(edge)[0]["body"], kept(edge)[0]["agent"]) == (long, "%27" * 128)


def delivered(
    make: Make, edge: Edge, aor: str = f"lobby@{DOMAIN}", key: str = KEY
) -> tuple[Endpoint, Message]:
    """What the agent sends, from the edge's own address."""
    agent = make("agent", int(edge.address.rsplit(".", 1)[1]), port=0, transport="tcp")
    sent = agent.send(
        "MESSAGE", f"sip:{aor}", from_=f"<sip:desk1@{DOMAIN}>;tag=1-1",
        headers=(*TEXT, ("X-DP-Agent", key), ("X-DP-Message", "1-2-3")), body=GREETING, contact=False,
    )  # fmt: skip
    return agent, sent


def test_the_agent_delivers(make: Make, edge: Edge, phones: tuple[Endpoint, Endpoint]) -> None:
    _, lobby = phones
    agent, sent = delivered(make, edge)
    got = lobby.expect("MESSAGE")
    assert dp(got) == {"X-DP-Message": "1-2-3"}
    assert got.body == GREETING
    lobby.answer(got, 606, "Not Acceptable")
    assert final(agent, sent).status == 606
    assert kept(edge) == []


@pytest.mark.parametrize(
    ("aor", "key", "status"),
    [(f"desk2@{DOMAIN}", KEY, 480), (f"gone@{DOMAIN}", KEY, 404), (f"lobby@{DOMAIN}", "wrong", 407)],
)
def test_the_agent_hears_why_not(make: Make, edge: Edge, aor: str, key: str, status: int) -> None:
    agent, sent = delivered(make, edge, aor, key)
    answer = final(agent, sent)
    assert (answer.status, answer.get("X-DP-Away")) == (status, "1" if status == 480 else None)


def test_who_is_away_is_the_edges_word(make: Make, edge: Edge, phones: tuple[Endpoint, Endpoint]) -> None:
    _, lobby = phones
    agent, sent = delivered(make, edge)
    lobby.answer(lobby.expect("MESSAGE"), 480, "Not Registered", (("X-DP-Away", "1"),))
    answer = final(agent, sent)
    assert (answer.status, answer.get("X-DP-Away")) == (480, None)
