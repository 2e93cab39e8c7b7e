"""Questions to name servers that answer, are silent, talk nonsense, or answer at such length that TCP is needed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from controller.dns.compare import Question
from controller.errors import InputError
from controller.wire import dns as wire

Reply = Callable[[dns.message.Message], bytes | None]


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], tuple[str, int]]]:
    """A server on loopback that answers as told."""
    channels: list[socket.socket] = []

    def start(reply: Reply) -> tuple[str, int]:
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        channel.bind(("127.0.0.1", 0))
        channels.append(channel)

        def run() -> None:
            while True:
                try:
                    data, sender = channel.recvfrom(4096)
                except OSError:
                    return
                said = reply(dns.message.from_wire(data))
                if said is not None:
                    channel.sendto(said, sender)

        threading.Thread(target=run, daemon=True).start()
        return channel.getsockname()  # type: ignore[no-any-return]

    yield start
    for one in channels:
        one.close()


def answer(asked: dns.message.Message, *data: str, flags: int = dns.flags.AA) -> bytes:
    reply = dns.message.make_response(asked)
    reply.flags |= flags
    if data:
        reply.answer.append(dns.rrset.from_text(asked.question[0].name, 5, "IN", "SRV", *data))
    return reply.to_wire()


def test_an_answer_is_shown_as_dig_shows_it(serve: Callable[[Reply], tuple[str, int]]) -> None:
    where = serve(lambda asked: answer(asked, "10 20 5060 Media1.C1.nodes.example."))
    found = wire.ask(where, "_sip._tcp.voice.acme.example.", "SRV")
    assert found.rcode == "NOERROR"
    assert [str(one) for one in found.records] == [
        "_sip._tcp.voice.acme.example. 5 IN SRV 10 20 5060 media1.c1.nodes.example."
    ]


def test_many_questions_are_under_way_at_once_and_a_lost_one_is_asked_again(
    serve: Callable[[Reply], tuple[str, int]],
) -> None:
    seen: set[str] = set()

    def reply(asked: dns.message.Message) -> bytes | None:
        name = str(asked.question[0].name)
        if name not in seen and len(seen) % 50 == 0:
            seen.add(name)
            return None
        seen.add(name)
        return answer(asked, f"10 1 5060 {name}")

    where = serve(reply)
    questions = [Question(f"n{number}.example.", "SRV", ()) for number in range(500)]
    began = time.monotonic()
    found = {one.name: said for one, said in wire.ask_all(where, questions, timeout_s=0.3)}
    assert len(found) == 500
    assert all(said.records[0].data == f"10 1 5060 {name}" for name, said in found.items())
    assert time.monotonic() - began < 10


def test_silence_is_said(serve: Callable[[Reply], tuple[str, int]]) -> None:
    found = wire.ask(serve(lambda _: None), "a.example.", "SRV", timeout_s=0.05)
    assert found.problem == "no answer in 0.05 s, 3 times"


def test_nobody_listens() -> None:
    assert wire.ask(("127.0.0.1", 1), "a.example.", "SRV", timeout_s=0.05).problem is not None


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (lambda asked: asked.to_wire()[:2] + b"nonsense", "not a DNS message"),
        (lambda asked: answer(asked, flags=0), "not authoritative"),
        (lambda asked: answer(asked, flags=dns.flags.TC), "no answer over TCP"),
        (lambda asked: answer(asked, flags=dns.rcode.SERVFAIL), "SERVFAIL"),
    ],
)
def test_what_is_no_answer_is_said(
    serve: Callable[[Reply], tuple[str, int]], reply: Reply, problem: str
) -> None:
    found = wire.ask(serve(reply), "a.example.", "SRV", timeout_s=0.2)
    assert problem in (found.problem or "")


def test_an_answer_to_another_question_is_passed_over(serve: Callable[[Reply], tuple[str, int]]) -> None:
    def reply(asked: dns.message.Message) -> bytes:
        other = dns.message.make_query("b.example.", "SRV", id=asked.id)
        return answer(other, "1 1 1 b.example.")

    assert (wire.ask(serve(reply), "a.example.", "SRV", timeout_s=0.05).problem or "").startswith("no answer")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_how_a_server_is_written(text: str, where: tuple[str, int]) -> None:
    assert wire.server(text) == where


@pytest.mark.parametrize("text", ["127.0.0.1:x", "127.0.0.1:0", "no such host.invalid", "a..b"])
def test_a_server_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match="name server"):
        wire.server(text)
