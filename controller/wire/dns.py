"""Questions to name servers: UDP, many under way at once, TCP where an answer does not fit. No recursion asked for."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from controller.dns.compare import Answer, Question
from controller.dns.names import Record
from controller.errors import InputError

PORT = 53
_TIMEOUT_S = 2.0
_TRIES = 3
_WINDOW = 64
_BUFFER = 65_535
Server = tuple[str, int]
T = TypeVar("T")


def server(text: str) -> Server:
    """Address and port of `host`, `host:port`, `[IPv6]:port` or an IPv6 address. InputError: it cannot be resolved."""
    host, port = text, PORT
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = _port(text, rest.removeprefix(":")) if rest else PORT
    elif text.count(":") == 1:
        host, _, rest = text.partition(":")
        port = _port(text, rest)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"name server {host}: no address ({error}); write its address, here or in the setting name_servers"
        ) from None
    return str(found[0][4][0]), port


def _port(text: str, port: str) -> int:
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise InputError(f"name server {text}: write host, host:port or [IPv6]:port")
    return int(port)


def ask(where: Server, name: str, kind: str, timeout_s: float = _TIMEOUT_S) -> Answer:
    """One question; an answer always comes, if only that there was none in time."""
    question = Question(name, kind, ())
    return next(answer for _, answer in ask_all(where, [question], timeout_s))


def ask_all(
    where: Server, questions: Iterable[Question], timeout_s: float = _TIMEOUT_S
) -> Iterator[tuple[Question, Answer]]:
    """Ask all, 64 at a time, each up to three times; each question with its answer, in the order they come."""
    with socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.connect(where)
        channel.setblocking(False)
        yield from _Exchange(where, channel, timeout_s).run(iter(questions))


class _Exchange:
    """What is under way: message id -> question, wire, when it was sent, how often."""

    def __init__(self, where: Server, channel: socket.socket, timeout_s: float) -> None:
        self.where, self.channel, self.timeout_s = where, channel, timeout_s
        self.waiting: dict[int, tuple[Question, dns.message.Message, float, int]] = {}

    def run(self, questions: Iterator[Question]) -> Iterator[tuple[Question, Answer]]:
        number, more = 0, True
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            while more or self.waiting:
                while more and len(self.waiting) < _WINDOW:
                    question = next(questions, None)
                    if question is None:
                        more = False
                        break
                    number = (number + 1) % (1 << 16)
                    message = dns.message.make_query(
                        question.name, question.type, use_edns=0, payload=1232, id=number, flags=0
                    )
                    self._send(number, question, message, 1)
                if selector.select(0.05):
                    yield from self._received()
                yield from self._late()

    def _send(self, number: int, question: Question, message: dns.message.Message, tries: int) -> None:
        self.waiting[number] = (question, message, time.monotonic(), tries)
        with contextlib.suppress(OSError):  # nobody listens there, or the queue is full: it is sent again
            self.channel.send(message.to_wire())

    def _received(self) -> Iterator[tuple[Question, Answer]]:
        while True:
            try:
                wire = self.channel.recv(_BUFFER)
            except BlockingIOError:
                return
            except OSError:  # nobody listens
                return
            number = int.from_bytes(wire[:2], "big")
            if number not in self.waiting:
                continue
            question, message, _, _ = self.waiting[number]
            try:
                reply = dns.message.from_wire(wire, ignore_trailing=True)
            except dns.exception.DNSException as error:
                del self.waiting[number]
                yield question, Answer(problem=f"not a DNS message: {error}")
                continue
            if not message.is_response(reply):
                continue
            del self.waiting[number]
            if reply.flags & dns.flags.TC:
                try:
                    reply = dns.query.tcp(message, self.where[0], self.timeout_s, self.where[1])
                except (OSError, dns.exception.DNSException) as error:
                    yield question, Answer(problem=f"cut short, and no answer over TCP: {error}")
                    continue
            yield question, _answer(reply)

    def _late(self) -> Iterator[tuple[Question, Answer]]:
        now = time.monotonic()
        for number, (question, message, sent, tries) in list(self.waiting.items()):
            if now - sent < self.timeout_s:
                continue
            if tries < _TRIES:
                self._send(number, question, message, tries + 1)
            else:
                del self.waiting[number]
                yield (
                    question,
                    Answer(problem=f"no answer in {self.timeout_s:g} s, {_TRIES} times", silent=True),
                )


def _answer(reply: dns.message.Message) -> Answer:
    rcode = dns.rcode.to_text(reply.rcode())
    if rcode not in ("NOERROR", "NXDOMAIN"):
        return Answer(rcode, problem=rcode)
    if not reply.flags & dns.flags.AA:
        return Answer(rcode, problem="not authoritative")
    return Answer(
        rcode,
        tuple(
            Record(
                answer.name.to_text().lower(),
                answer.ttl,
                dns.rdatatype.to_text(answer.rdtype),
                one.to_text().lower(),
            )
            for answer in reply.answer
            for one in answer
        ),
    )
