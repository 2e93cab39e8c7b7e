"""What the edge writes of who called, registered, wrote or did not know the password: address and user agent."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from controller.calls.facts import parse
from controller.messages.outbox import Outbox
from tests.edge.conftest import DOMAIN, Make
from tests.edge.edge import Edge
from tests.edge.message import challenge_of, credentials
from tests.edge.messaging import GREETING, TEXT, final, forget, said
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, dp, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
Lines = Callable[[], list[dict[str, Any]]]
PHONE = (("User-Agent", "Yealink SIP-T46U 66.86.0.15"),)


@pytest.fixture
def lines(edge: Edge) -> Lines:
    """What was written since the test began: as written, every line as JSON, and as the agent reads it."""
    before = len(_raw(edge))

    def new() -> list[dict[str, Any]]:
        time.sleep(0.1)
        return [parse(line, "edge1", "file", 0).detail for line in _raw(edge)[before:]]

    return new


def _raw(edge: Edge) -> list[bytes]:
    found = []
    for path in sorted((edge.home / "spool").glob("edge_*.jsonl")):
        for line in path.read_bytes().splitlines():
            assert line.isascii()
            json.loads(line)
            found.append(line)
    return found


def sent(phone: Endpoint, agent: bytes) -> None:
    """From now on it says that it is this, byte by byte."""
    plain = phone.raw
    phone.raw = lambda data: plain(  # type: ignore[method-assign]
        data.replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nUser-Agent: " + agent + b"\r\n")
    )


def test_a_call_says_where_it_came_from_once(make: Make, lines: Lines, media: Endpoint, net: str) -> None:
    caller, carrier = make("desk1", 90), make("+4930123456", 31, "carrier.example")
    invite = caller.invite(f"sip:0301234567@{DOMAIN}", headers=PHONE)
    incoming = media.expect("INVITE")
    call = dp(incoming)["X-DP-Call"]
    out = media.invite(
        "sip:+49301234567@trunk.dialplane.internal",
        sign=False,
        headers=(
            ("X-DP-Call", call), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"),
            ("X-DP-Device", f"desk1@{DOMAIN}"), ("User-Agent", "Asterisk"),
        ),
    )  # fmt: skip
    outgoing = carrier.expect("INVITE")
    there = answered(media, out, carrier, outgoing)
    hang_up(caller, answered(caller, invite, media, incoming), media)
    hang_up(media, there, carrier)
    found = [
        (one["event"], one["leg"], one.get("source"), one.get("agent"), one.get("payer")) for one in lines()
    ]
    assert sorted(found, key=lambda one: one[1]) == [
        ("start", "in", f"{net}.90", PHONE[0][1], None),
        ("answered", "in", None, None, None),
        ("end", "in", None, None, None),
        *((event, "out", None, None, f"desk1@{DOMAIN}") for event in ("start", "answered", "end")),
    ]


@pytest.mark.parametrize(
    ("headers", "whose"),
    [
        ((("X-DP-Device", f"desk1@{DOMAIN}"),), {"payer": f"desk1@{DOMAIN}", "user": "desk"}),
        ((("X-DP-User", "alice"),), {"user": "alice"}),
        ((("X-DP-User", "200"),), {"user": "200"}),
        ((("X-DP-User", 'a","event":"end'),), {}),
        ((), {}),
    ],
    ids=["device", "user", "extension", "injected", "nobody"],
)
def test_a_leg_to_a_trunk_says_whose_call_it_is(
    make: Make, lines: Lines, media: Endpoint, headers: tuple[tuple[str, str], ...], whose: dict[str, str]
) -> None:
    carrier = make("+4930123456", 31, "carrier.example")
    out = media.invite(
        "sip:+49301234567@trunk.dialplane.internal", sign=False,
        headers=(("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"), *headers),
    )  # fmt: skip
    hang_up(media, answered(media, out, carrier, carrier.expect("INVITE")), carrier)
    found = lines()
    assert [one["event"] for one in found] == ["start", "answered", "end"]
    for one in found:
        assert {name: one[name] for name in ("payer", "user") if name in one} == whose


@pytest.mark.parametrize(
    ("agent", "read"),
    [
        (b'a "quoted" \\ phone', 'a "quoted" \\ phone'),
        (b"folded\r\n  twice\r\n\there", "folded??  twice???here"),
        (b"caf\xe9 \xff\xfe\x80", "caf\N{REPLACEMENT CHARACTER} " + 3 * "\N{REPLACEMENT CHARACTER}"),
        ("Grüße 你好".encode(), "Grüße 你好"),
        (b"x" * 2048, "x" * 128),
        (b"\xc3\xa9" * 1024, "é" * 64),
        (b'","event":"end","x":"$ru %s %00 \x7f\x01', '","event":"end","x":"$ru %s %00 ??'),
        (b"a\0b", None),
        (b"", ""),
    ],
    ids=["quote", "folded", "bytes", "utf8", "long", "long utf8", "injected", "nul", "empty"],
)  # fmt: skip
def test_whatever_it_says_it_is_the_line_is_json(
    make: Make, lines: Lines, net: str, *, agent: bytes, read: str | None
) -> None:
    caller = make("desk1", 91)
    sent(caller, agent)
    call = caller.invite(f"sip:mobile@{DOMAIN}")
    assert caller.final(call).status == 480
    (line,) = lines()
    assert (line["event"], line["reason"], line["source"]) == ("failed", "unregistered", f"{net}.91")
    assert read in (None, line["agent"])


def test_a_call_without_a_user_agent_and_one_that_is_blocked(
    make: Make, edge: Edge, lines: Lines, net: str
) -> None:
    caller = make("desk1", 92)
    edge.block("all:*:+88213")
    caller.final(caller.invite(f"sip:+88213123456@{DOMAIN}"))
    (line,) = lines()
    assert (line["event"], line["reason"], line["source"], line["agent"]) == (
        "failed",
        "blocked",
        f"{net}.92",
        "",
    )


def test_an_emergency_call_is_known_as_such(make: Make, lines: Lines, media: Endpoint) -> None:
    caller = make("desk1", 93)
    invite = caller.invite(f"sip:112@{DOMAIN}", headers=PHONE)
    incoming = media.expect("INVITE")
    media.answer(incoming, 486, "No")
    caller.final(invite)
    media.expect("ACK")
    other = caller.invite(f"sip:101@{DOMAIN}", headers=PHONE)
    media.answer(media.expect("INVITE"), 486, "No")
    caller.final(other)
    media.expect("ACK")
    began = [one for one in lines() if one["event"] == "start"]
    assert [(one["called"], one.get("emergency")) for one in began] == [("112", 1), ("101", None)]


def test_calls_of_carriers_say_nothing_of_the_phone_before(
    make: Make, lines: Lines, media: Endpoint, edge: Edge
) -> None:
    """Workers keep variables: what one request left is not said of the next."""
    carrier = make("+15551234", 31, "carrier.example")
    for number in range(6):
        caller = make("desk1", 94, port=0)
        caller.final(caller.invite(f"sip:mobile@{DOMAIN}", headers=PHONE))
        invite = carrier.invite(f"sip:4930555010@{edge.address}", sign=False)
        media.answer(media.expect("INVITE"), 404, f"{number}")
        carrier.final(invite)
        media.expect("ACK")
    inbound = [one for one in lines() if one.get("leg") == "in" and one["trunk"]]
    assert len(inbound) == 12
    assert not any("source" in one or "agent" in one for one in inbound)


def test_a_phone_that_registers(make: Make, lines: Lines, net: str) -> None:
    phone = make("desk2", 95)
    sent(phone, PHONE[0][1].encode())
    phone.register()
    phone.register(expires=0)
    assert [(one["event"], one["aor"], one["source"], one["agent"]) for one in lines()] == [
        (event, f"desk2@{DOMAIN}", f"{net}.95", PHONE[0][1]) for event in ("registered", "gone")
    ]


def test_a_message_from_phone_to_phone(make: Make, lines: Lines, net: str) -> None:
    phone, lobby = make("desk1", 96), make("lobby", 97)
    lobby.register()
    message = said(phone, f"sip:lobby@{DOMAIN}", headers=(*TEXT, *PHONE))
    lobby.answer(lobby.expect("MESSAGE"), 200, "OK")
    final(phone, message)
    told = [one for one in lines() if one["event"] == "message"]
    assert [(one["status"], one["source"], one["agent"]) for one in told] == [(200, f"{net}.96", PHONE[0][1])]
    lobby.register(expires=0)


@pytest.mark.parametrize(
    ("agent", "read"),
    [
        (PHONE[0][1].encode(), PHONE[0][1]),
        (b"');DROP TABLE message;--", "');DROP TABLE message;--"),
        (b"\"'\\ $ru %s %00 \x7f\xff", "\"'\\ $ru %s %00 ?\N{REPLACEMENT CHARACTER}"),
        (b"\xc3\xa9" * 1024, "é" * 64),
        (b"", ""),
    ],
    ids=["phone", "injected", "bytes", "long", "empty"],
)
@pytest.mark.parametrize("there", [True, False], ids=["refused", "away"])
def test_a_message_that_is_kept(
    make: Make, edge: Edge, lines: Lines, net: str, *, agent: bytes, read: str, there: bool
) -> None:
    """Whether it is known at once that nobody takes it, or by what the phone answers."""
    forget(edge)
    phone, lobby = make("desk1", 101), make("lobby", 102)
    sent(phone, agent)
    if there:
        lobby.register()
    before = len(lines())
    message = said(phone, f"sip:lobby@{DOMAIN}", GREETING)
    if there:
        # A long one is tried by TCP before.
        lobby.answer(lobby.expect("MESSAGE", 8), 480, "Not Now")
    assert final(phone, message).status == 202
    (row,) = Outbox(edge.messages).batch()
    assert (row.source, row.agent, row.bad, row.body.decode()) == (f"{net}.101", read, "", GREETING)
    # It is told of from its row.
    assert [one for one in lines()[before:] if one["event"] == "message"] == []
    forget(edge)
    lobby.register(expires=0)


def guess(phone: Endpoint, user: str, number: int) -> None:
    """So many wrong passwords in a row, each for the challenge that the one before got."""
    registrar, call = f"sip:{DOMAIN}", uuid.uuid4().hex
    phone.send("REGISTER", registrar, call_id=call, to=f"<{phone.uri}>")
    answer = phone.expect(401)
    for cseq in range(2, number + 2):
        proof = credentials(challenge_of(answer, "MD5"), "REGISTER", registrar, user, "guess")
        phone.send(
            "REGISTER", registrar, call_id=call, cseq=cseq, to=f"<{phone.uri}>",
            headers=(*PHONE, ("Authorization", proof)),
        )  # fmt: skip
        answer = phone.expect(401)


@pytest.mark.parametrize("user", ["desk1", "nobody", 'odd"\\ ü' + "y" * 300])
def test_a_sign_in_that_failed(make: Make, lines: Lines, net: str, user: str) -> None:
    phone = make("desk1", 98)
    guess(phone, user.replace('"', '\\"').replace("\\ ", "\\\\ "), 1)
    (line,) = (one for one in lines() if one["event"] == "refused_sign_in")
    assert (line["event"], line["source"], line["agent"], line["count"]) == (
        "refused_sign_in", f"{net}.98", PHONE[0][1], 1,
    )  # fmt: skip
    if len(user) < 10:
        assert line["aor"] == f"{user}@{DOMAIN}"
    else:
        assert line["aor"].startswith("odd")
        assert len(line["aor"].encode()) <= 128


def test_the_first_challenge_and_a_nonce_that_is_over_are_none(make: Make, lines: Lines) -> None:
    phone = make("desk2", 99)
    phone.register()
    registrar, call = f"sip:{DOMAIN}", uuid.uuid4().hex
    phone.send("REGISTER", registrar, call_id=call, to=f"<{phone.uri}>")
    proof = credentials(challenge_of(phone.expect(401), "MD5"), "REGISTER", registrar, "desk2", "secret")
    for cseq, status in ((2, 200), (3, 401)):
        phone.send(
            "REGISTER", registrar, call_id=call, cseq=cseq, to=f"<{phone.uri}>",
            headers=(("Authorization", proof),),
        )  # fmt: skip
        phone.expect(status)
    phone.register(expires=0)
    assert "refused_sign_in" not in [one["event"] for one in lines()]


def test_a_flood_of_guesses_is_a_few_lines_that_count_all(make: Make, lines: Lines, net: str) -> None:
    # As many as an address has in a minute; what comes after them is not even read.
    phone = make("desk1", 100)
    phone.register()
    before = time.monotonic()
    guess(phone, "desk1", 28)
    took_s = time.monotonic() - before
    time.sleep(1.5)
    told = [one for one in lines() if one["event"] == "refused_sign_in"]
    assert sum(one["count"] for one in told) == 28
    assert {one["source"] for one in told} == {f"{net}.100"}
    assert len(told) <= 11 * (took_s + 2)
    assert any(one["count"] > 1 and one["aor"] == "" for one in told)
    phone.register(expires=0)
