"""What strangers send: scanners, floods, garbage, torture. The server stays, a counter moves, customers stay in."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, Make, running
from tests.edge.edge import Edge
from tests.edge.message import challenge_of, credentials
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The edge with the log level it has in service."""
    yield from running(net, tmp_path_factory, worker_log=-2)


def alive(phone: Endpoint) -> None:
    """The edge answers."""
    phone.send("OPTIONS", f"sip:{DOMAIN}")
    assert phone.expect(200)


@pytest.mark.parametrize(
    "agent", ["friendly-scanner", "SIPVicious/0.3", "sipcli/v1.8", "VaxSIPUserAgent/3.1"]
)
def test_scanners_get_no_answer(make: Make, edge: Edge, agent: str) -> None:
    scanner = make("100", 40)
    before = edge.refused("scanner")
    scanner.send("OPTIONS", f"sip:100@{edge.address}", headers=(("User-Agent", agent),))
    assert scanner.silent()
    assert edge.refused("scanner") == before + 1


def test_flood_guard_spares_the_phone_behind_the_same_address(make: Make, edge: Edge) -> None:
    phone, moved, noisy = make("desk1", 41, port=0), make("desk1", 41, port=0), make("x", 41, port=0)
    phone.register()
    before = edge.refused("flood")
    for _ in range(400):
        noisy.send("OPTIONS", f"sip:{DOMAIN}")
    deadline = time.monotonic() + 3
    while edge.refused("flood") < before + 150:
        assert time.monotonic() < deadline, edge.refused("flood")
    # The flood goes on while the phone works: by its known port, and by one its NAT has just given it.
    noisy.send("OPTIONS", f"sip:{DOMAIN}")
    alive(phone)
    phone.register()
    invite = phone.invite(f"sip:mobile@{DOMAIN}")
    assert phone.final(invite).status == 480
    moved.register()
    stranger = make("desk9", 41, port=0)
    stranger.send("REGISTER", f"sip:{DOMAIN}", to=f"<{stranger.uri}>")
    assert stranger.silent()
    moved.register(expires=0)
    phone.register(expires=0)


def test_guessing_passwords_is_stopped(make: Make, edge: Edge) -> None:
    guesser = make("desk2", 42)
    registrar = f"sip:{DOMAIN}"
    for attempt in range(32):
        guesser.send("REGISTER", registrar, to=f"<{guesser.uri}>", cseq=2 * attempt + 1)
        try:
            challenge = challenge_of(guesser.expect(401, 0.5), "MD5")
        except TimeoutError:
            break
        proof = credentials(challenge, "REGISTER", registrar, "desk2", f"guess{attempt}")
        guesser.send(
            "REGISTER", registrar, to=f"<{guesser.uri}>", cseq=2 * attempt + 2,
            headers=(("Authorization", proof),),
        )  # fmt: skip
        guesser.expect(401)
    else:
        pytest.fail("32 wrong passwords from one address, and still an answer")


def test_a_blocked_source_cannot_register(make: Make, edge: Edge, net: str) -> None:
    phone = make("desk1", 43)
    edge.block(f"source:{net}.43:*")
    phone.send("REGISTER", f"sip:{DOMAIN}", to=f"<{phone.uri}>")
    assert phone.silent()
    edge.unblock(f"source:{net}.43:*")
    phone.register(expires=0)


def test_loops_end(make: Make, edge: Edge) -> None:
    phone = make("desk1", 44)
    before = edge.refused("hops")
    lines = (
        f"OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: {phone.via()}\r\nMax-Forwards: 0\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:{DOMAIN}>\r\nCall-ID: loop\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    phone.raw(lines.encode())
    assert phone.expect(483)
    assert edge.refused("hops") == before + 1


def test_oversized(make: Make, edge: Edge) -> None:
    phone = make("desk1", 45, transport="tcp")
    before = edge.refused("oversized")
    phone.send("OPTIONS", f"sip:{DOMAIN}", headers=(("X-Long", "x" * 20000),))
    assert phone.expect(513)
    assert edge.refused("oversized") == before + 1
    alive(make("desk1", 46))


def request(phone: Endpoint, **parts: str) -> str:
    """An OPTIONS, with parts replaced: a whole header line or the start line, by name."""
    lines = {
        "start": f"OPTIONS sip:{DOMAIN} SIP/2.0",
        "Via": f"Via: {phone.via()}",
        "Max-Forwards": "Max-Forwards: 70",
        "From": "From: <sip:a@b.example>;tag=1",
        "To": f"To: <sip:{DOMAIN}>",
        "Call-ID": "Call-ID: torture",
        "CSeq": "CSeq: 1 OPTIONS",
        "Content-Length": "Content-Length: 0",
    }
    lines.update({key.replace("_", "-"): value for key, value in parts.items()})
    return "\r\n".join(one for one in lines.values() if one) + "\r\n\r\n"


# In the manner of RFC 4475: valid but unusual, and invalid.
UNUSUAL = {
    "folded and compact headers": {
        "From": "f:\r\n \"Quoted \\\" name\"\t<sip:a@b.example>\r\n ;\r\n tag = 1",
        "To": f"t : <sip:{DOMAIN}>", "Call_ID": "i: a@b(x)",
    },
    "escaped user": {"start": f"OPTIONS sip:%61%20b%00c@{DOMAIN} SIP/2.0"},
    "unknown method": {"start": f"!interesting-Method0123456789_*+`.%indeed'~ sip:{DOMAIN} SIP/2.0",
                       "CSeq": "CSeq: 1 !interesting-Method0123456789_*+`.%indeed'~"},
    "unknown scheme": {"start": "OPTIONS nobodyknows:this SIP/2.0"},
    "many values": {"To": f"To: \"{'I' * 1500}\" <sip:{DOMAIN}>"},
    "empty header": {"Max_Forwards": "Max-Forwards: 70\r\nX-Empty:"},
}  # fmt: skip
BROKEN = {
    "no colon": {"From": "From <sip:a@b>"},
    "negative length": {"Content_Length": "Content-Length: -999"},
    "length too long": {"Content_Length": "Content-Length: 9999"},
    "huge numbers": {"CSeq": "CSeq: 36893488147419103232 OPTIONS"},
    "method mismatch": {"CSeq": "CSeq: 1 INVITE"},
    "unterminated quote": {"To": 'To: "Mr. J. User <sip:j@x.example>'},
    "angle brackets in the request line": {"start": f"OPTIONS <sip:{DOMAIN}> SIP/2.0"},
    "spaces in the request line": {"start": f"OPTIONS sip:{DOMAIN}; lr SIP/2.0"},
    "wrong version": {"start": f"OPTIONS sip:{DOMAIN} SIP/7.0"},
    "no call id": {"Call_ID": ""},
    "no from": {"From": ""},
    "two Via halves": {"Via": "Via: SIP/2.0/UDP 192.0.2.15;;,;,,"},
    "bad expires": {"Max_Forwards": "Max-Forwards: 70\r\nExpires: 0 0l@company.com"},
    "unknown proxy-require": {"Max_Forwards": "Max-Forwards: 70\r\nProxy-Require: nothingSupportsThis"},
    "many vias": {"Via": "\r\n".join(f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{n}" for n in range(200))},
}


@pytest.mark.parametrize("name", [*UNUSUAL, *BROKEN])
def test_torture(make: Make, edge: Edge, name: str) -> None:
    phone = make("desk1", 47)
    phone.raw(request(phone, **{**UNUSUAL, **BROKEN}[name]).encode())
    alive(phone)


def test_garbage_moves_a_counter_and_nothing_else(make: Make, edge: Edge) -> None:
    phone = make("desk1", 48)
    counted = ("err_requests", "bad_msg_hdr", "bad_URIs", "insane", "sent_err", "drop_requests")

    def sum_of() -> float:
        return sum(v for k, v in edge.metrics().items() if any(one in k for one in counted))

    before = sum_of()
    whole = request(phone).encode()
    for cut in range(20, len(whole), 17):
        phone.raw(whole[:cut])
    phone.raw(b"\x00\xff" * 700)
    phone.raw(b"SIP/2.0 200 OK\r\n\r\n")
    phone.raw(b"INVITE\r\n" * 50)
    phone.raw(request(phone, CSeq="CSeq: x OPTIONS").encode())
    alive(phone)
    assert sum_of() > before
    assert "core was" not in edge.log()


def test_hostile_requests_are_not_logged(make: Make, edge: Edge) -> None:
    for _ in range(2):  # each worker has read a request before, or learns to be quiet from the first round
        before = edge.log()
        for name in (*UNUSUAL, *BROKEN):
            for transport in ("udp", "tcp"):
                phone = make("desk1", 50, transport=transport, port=0)
                phone.raw(request(phone, **{**UNUSUAL, **BROKEN}[name]).encode())
                phone.raw(request(phone).encode()[:90])
                phone.close()
        for user in ("desk1", "nobody"):
            make(user, 51, port=0).register(password="wrong", status=401)
        scanner = make("100", 52, transport="tcp", port=0)
        scanner.send("OPTIONS", f"sip:100@{edge.address}", headers=(("User-Agent", "sipcli"),))
        alive(make("desk1", 53, port=0))
    assert edge.log()[len(before) :] == ""


def test_garbage_on_tcp(make: Make, edge: Edge) -> None:
    for data in (b"\r\n" * 100, b"\x16\x03\x01" + b"\0" * 200, b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000):
        phone = make("desk1", 49, transport="tcp", port=0)
        with pytest.MonkeyPatch.context():
            try:
                phone.raw(data)
            except OSError:
                continue
    alive(make("desk1", 49))
