"""A SIP endpoint for tests: phone, media node or carrier. UDP, TCP and (as a client) TLS, one socket address each.

It does nothing by itself but receive; a test says what to send and what it expects, so that a test reads
like the call it is about. Only loopback addresses.
"""

from __future__ import annotations

import itertools
import queue
import re
import select
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.edge.message import Message, challenge_of, credentials, parse, uri_of

_serial = itertools.count(1)


@dataclass
class Leg:
    """A dialog as this endpoint sees it."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    cseq: int
    invite: Message | None = field(default=None, repr=False)


class Endpoint:
    """`user@domain` at `address:port`. `edge` is where it sends to."""

    def __init__(
        self,
        user: str,
        domain: str,
        address: str,
        edge: tuple[str, int],
        *,
        port: int = 5060,
        transport: str = "udp",
        password: str = "secret",
        claims: str | None = None,
    ) -> None:
        self.user, self.domain, self.address, self.port = user, domain, address, port
        self.edge, self.transport, self.password = edge, transport, password
        # What it says its address is: behind NAT, not the one it is seen from.
        self.claims = claims or address
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._seen: list[Message] = []
        self._closing = False
        self._connections: list[socket.socket] = []
        self._out: socket.socket | None = None
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self._sock = socket.socket(socket.AF_INET, kind)
        # With it, the port that Linux chooses may be that of another phone.
        if port:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((address, port))
        self.port = self._sock.getsockname()[1]
        if transport != "udp":
            self._sock.listen()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all sockets; what comes afterwards is refused."""
        self._closing = True
        for sock in (*self._connections, self._sock):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._thread.join(timeout=2)

    # -- wire --------------------------------------------------------------------------------------
    def _receive(self) -> None:
        buffers: dict[socket.socket, bytes] = {}
        while not self._closing:
            try:
                ready, _, _ = select.select([self._sock, *self._connections], [], [], 0.05)
            except (OSError, ValueError):
                continue
            for sock in ready:
                with suppress(OSError):
                    if self.transport == "udp":
                        data, source = sock.recvfrom(65535)
                        if data.strip(b"\r\n\0"):
                            self._inbox.put(parse(data, source))
                    elif sock is self._sock:
                        self._connections.append(sock.accept()[0])
                    else:
                        data = sock.recv(65535)
                        while isinstance(sock, ssl.SSLSocket) and sock.pending():
                            data += sock.recv(65535)
                        if not data:
                            self._connections.remove(sock)
                            continue
                        buffers[sock] = self._split(buffers.get(sock, b"") + data, sock)

    def _split(self, data: bytes, sock: socket.socket) -> bytes:
        while data:
            data = data.lstrip(b"\r\n")
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                break
            length = re.search(rb"^(?:content-length|l)\s*:\s*(\d+)", head, re.I | re.M)
            size = int(length.group(1)) if length else 0
            if len(rest) < size:
                break
            self._inbox.put(parse(head + found + rest[:size], sock.getpeername(), sock))
            data = rest[size:]
        return data

    def raw(self, data: bytes) -> None:
        """Bytes to the edge, as they are."""
        if self.transport == "udp":
            self._sock.sendto(data, self.edge)
            return
        if self._out is None or self._out.fileno() < 0 or self._out not in self._connections:
            out = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            out.bind((self.address, 0))
            out.connect(self.edge)
            if self.transport == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                out = context.wrap_socket(out)
            self._connections.append(out)
            self._out = out
        self._out.sendall(data)

    def expect(self, wanted: Callable[[Message], bool] | int | str, timeout: float = 3.0) -> Message:
        """The next message that is wanted: a status, a method (request), or any test. Others are kept.

        TimeoutError tells what came instead.
        """
        if isinstance(wanted, int):
            status = wanted
            test: Callable[[Message], bool] = lambda m: m.status == status  # noqa: E731
        elif isinstance(wanted, str):
            method = wanted
            test = lambda m: m.is_request and m.method == method  # noqa: E731
        else:
            test = wanted
        for message in self._seen:
            if test(message):
                self._seen.remove(message)
                return message
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if test(message):
                return message
            self._seen.append(message)
        raise TimeoutError(f"{self.user}: no {wanted}; came: {[one.start for one in self._seen]}")

    def silent(self, seconds: float = 0.5) -> bool:
        """True when nothing comes for that long and nothing is left unread."""
        time.sleep(seconds)
        return self._inbox.empty() and not self._seen

    # -- requests ----------------------------------------------------------------------------------
    @property
    def uri(self) -> str:
        """Address of record."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def contact(self) -> str:
        """Contact URI."""
        tail = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{self.user}@{self.claims}:{self.port}{tail}"

    def via(self) -> str:
        """A Via value with a fresh branch."""
        return f"SIP/2.0/{self.transport.upper()} {self.claims}:{self.port};branch=z9hG4bK{uuid.uuid4().hex};rport"

    def send(
        self,
        method: str,
        uri: str,
        *,
        call_id: str | None = None,
        cseq: int = 1,
        from_: str | None = None,
        to: str | None = None,
        via: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: str = "",
        contact: bool = True,
    ) -> Message:
        """Sends a request and returns it as sent. `contact`: with its own, unless `headers` have one."""
        lines = [
            ("Via", via or self.via()),
            ("Max-Forwards", "70"),
            ("From", from_ or f"<{self.uri}>;tag={uuid.uuid4().hex[:8]}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id or uuid.uuid4().hex),
            ("CSeq", f"{cseq} {method}"),
            *([("Contact", f"<{self.contact}>")] if contact else []),
            *headers,
            ("Content-Length", str(len(body.encode()))),
        ]
        message = Message(f"{method} {uri} SIP/2.0", lines, body, (self.address, self.port))
        self.raw(str(message).encode())
        return message

    def answer(
        self,
        request: Message,
        status: int,
        phrase: str = "X",
        headers: tuple[tuple[str, str], ...] = (),
        body: str = "",
    ) -> None:
        """Answers a request the way it came."""
        to = request["To"]
        if status > 100 and "tag=" not in to:
            to += f";tag=t{self.user.replace('+', '')}"
        lines = [
            *(("Via", one) for one in request.all("Via")),
            *(("Record-Route", one) for one in request.all("Record-Route")),
            ("From", request["From"]),
            ("To", to),
            ("Call-ID", request["Call-ID"]),
            ("CSeq", request["CSeq"]),
            ("Contact", f"<{self.contact}>"),
            *headers,
            ("Content-Length", str(len(body.encode()))),
        ]
        data = str(Message(f"SIP/2.0 {status} {phrase}", lines, body, request.source)).encode()
        if request.connection is not None:
            request.connection.sendall(data)
        else:
            self._sock.sendto(data, request.source)

    def register(
        self, *, algorithm: str = "MD5", expires: int = 300, password: str | None = None, status: int = 200
    ) -> Message:
        """Registers, answering one challenge; returns the last answer, whose status must be `status`."""
        registrar, call_id = f"sip:{self.domain}", uuid.uuid4().hex
        mine = (("Expires", str(expires)),)
        self.send("REGISTER", registrar, call_id=call_id, to=f"<{self.uri}>", headers=mine)
        challenge = challenge_of(self.expect(401), algorithm)
        proof = credentials(challenge, "REGISTER", registrar, self.user, password or self.password)
        self.send(
            "REGISTER", registrar, call_id=call_id, cseq=2, to=f"<{self.uri}>",
            headers=(*mine, ("Authorization", proof)),
        )  # fmt: skip
        return self.expect(status)

    def ack(self, invite: Message, answer: Message) -> None:
        """ACK to a negative answer: same branch, hop by hop."""
        self.send(
            "ACK", invite.uri, call_id=invite["Call-ID"], cseq=int(invite["CSeq"].split()[0]),
            from_=invite["From"], to=answer["To"], via=invite["Via"],
        )  # fmt: skip

    def invite(
        self,
        uri: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        algorithm: str = "MD5",
        sign: bool = True,
        from_: str | None = None,
        sdp: str = "",
    ) -> Message:
        """Sends an INVITE; with `sign` it answers the challenge. Returns the INVITE that counts."""
        call_id = uuid.uuid4().hex
        sdp = sdp or (
            f"v=0\r\no=- 1 1 IN IP4 {self.address}\r\ns=-\r\nc=IN IP4 {self.address}\r\n"
            "t=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
        )
        mine = (("Content-Type", "application/sdp"), *headers)
        first = self.send("INVITE", uri, call_id=call_id, headers=mine, body=sdp, from_=from_)
        if not sign:
            return first
        answer = self.expect(lambda m: m.status in (401, 407) and m["Call-ID"] == call_id)
        self.ack(first, answer)
        proof = credentials(challenge_of(answer, algorithm), "INVITE", uri, self.user, self.password)
        return self.send(
            "INVITE", uri, call_id=call_id, cseq=2, from_=first["From"],
            headers=(*mine, ("Proxy-Authorization", proof)), body=sdp,
        )  # fmt: skip

    def final(self, invite: Message, timeout: float = 5.0) -> Message:
        """The final answer to an INVITE; a negative one is acknowledged."""
        answer = self.expect(
            lambda m: m.status >= 200 and m["Call-ID"] == invite["Call-ID"] and m["CSeq"] == invite["CSeq"],
            timeout,
        )
        if answer.status >= 300:
            self.ack(invite, answer)
        return answer

    def established(self, invite: Message, answer: Message) -> Leg:
        """The caller's dialog after 2xx; the ACK is sent."""
        leg = Leg(
            invite["Call-ID"], invite["From"], answer["To"], uri_of(answer["Contact"]),
            answer.all("Record-Route")[::-1], int(invite["CSeq"].split()[0]), invite,
        )  # fmt: skip
        self.within(leg, "ACK", cseq=leg.cseq)
        return leg

    def callee(self, invite: Message) -> Leg:
        """The called side's dialog, after its own 2xx."""
        return Leg(
            invite["Call-ID"], invite["To"] + f";tag=t{self.user.replace('+', '')}", invite["From"],
            uri_of(invite["Contact"]), invite.all("Record-Route"), 1,
        )  # fmt: skip

    def within(
        self, leg: Leg, method: str, *, cseq: int | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> Message:
        """A request inside the dialog."""
        if cseq is None:
            leg.cseq += 1
        return self.send(
            method, leg.target, call_id=leg.call_id, cseq=cseq or leg.cseq, from_=leg.local, to=leg.remote,
            headers=(*(("Route", one) for one in leg.routes), *headers),
        )  # fmt: skip
