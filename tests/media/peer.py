"""The edge as Asterisk sees it: SIP over TCP and RTP, for tests. One thread per connection, every wait has a limit.

`Edge.answers` says what the phone or carrier behind a user part (or `trunk:<name>`) does: `answer`, `ring` (until
CANCEL), or a status code to refuse with: `486`, with a phrase `486 On The Telephone`, after so many seconds `486~0.4`.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field

from tests.media.sip import Sip, read

LIMIT_S = 30.0
PCMA_SILENCE = b"\xd5" * 160
VOICE = bytes((0x34, 0xB4) * 80)


class Audio:
    """One RTP end: sends noise it can be told by, counts what arrives."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.2)
        self.host, self.port = self.socket.getsockname()
        self.received = 0
        self.loud = 0
        self.mute = False
        self.events: list[int] = []
        self.voice = VOICE
        self._target: tuple[str, int] | None = None
        self._stop = threading.Event()
        self.digits: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._receive, daemon=True).start()

    def sdp(self, direction: str = "sendrecv") -> str:
        return (
            f"v=0\r\no=- 1 {int(time.time() * 1000)} IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.port} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a=ptime:20\r\na={direction}\r\n"
        )

    def talk_to(self, sdp: str) -> None:
        """Sends to where this SDP says, from now on."""
        host, port = re.search(r"c=IN IP4 (\S+)", sdp), re.search(r"m=audio (\d+)", sdp)
        if host and port:
            first = self._target is None
            self._target = (host[1], int(port[1]))
            if first:
                threading.Thread(target=self._send, daemon=True).start()

    def close(self) -> None:
        self._stop.set()

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                packet = self.socket.recv(2048)
            except TimeoutError:
                continue
            except OSError:
                return
            if packet[1] & 0x7F == 101:
                self.events.append(packet[12])
            else:
                self.received += 1
                self.loud += len(set(packet[12:])) > 1

    def _send(self) -> None:
        sequence = stamp = 0
        due = time.monotonic()
        while not self._stop.is_set():
            target = self._target
            assert target
            if not self.digits.empty():
                code = "0123456789*#".index(self.digits.get())
                for step in range(8):
                    end = 0x80 if step > 4 else 0
                    self._packet(target, 101 | (0x80 if not step else 0), sequence, stamp,
                                 bytes((code, end | 10, (step + 1) * 160 >> 8, (step + 1) * 160 & 255)))  # fmt: skip
                    sequence += 1
                    time.sleep(0.02)
                stamp += 1600
                time.sleep(0.1)
                due = time.monotonic()
                continue
            # loud and still by turns, so silence detection hears speech
            self._packet(
                target,
                8,
                sequence,
                stamp,
                self.voice if (sequence // 25) % 3 and not self.mute else PCMA_SILENCE,
            )
            sequence, stamp, due = sequence + 1, stamp + 160, due + 0.02
            time.sleep(max(0.0, due - time.monotonic()))

    def _packet(self, target: tuple[str, int], kind: int, sequence: int, stamp: int, data: bytes) -> None:
        head = (
            bytes((0x80, kind)) + (sequence & 0xFFFF).to_bytes(2) + (stamp & 0xFFFFFFFF).to_bytes(4) + b"dpts"
        )
        try:
            self.socket.sendto(head + data, target)
        except OSError:
            self._stop.set()


@dataclass(slots=True)
class Leg:
    """A dialog at the edge's side, seen from the phone (or carrier) behind it."""

    edge: Edge
    call_id: str
    audio: Audio
    local: str = ""
    remote: str = ""
    target: str = ""
    invite: Sip | None = None
    responses: list[Sip] = field(default_factory=list)
    requests: list[Sip] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    sequence: int = 100
    branch: str = ""
    connection: socket.socket | None = None

    def note(self, message: Sip) -> None:
        with self.changed:
            (self.responses if message.code else self.requests).append(message)
            self.changed.notify_all()

    def wait(self, what: str, limit_s: float = LIMIT_S) -> Sip:
        """Waits for a response code (`200`, `4xx` as `4`), `final`, or a request method; returns the message."""

        def found() -> Sip | None:
            for one in self.responses:
                if one.get("cseq").endswith("INVITE") and (
                    (what == "final" and one.code >= 200) or str(one.code).startswith(what)
                ):
                    return one
            return next((one for one in self.requests if one.method == what), None)

        with self.changed:
            self.changed.wait_for(lambda: found() is not None, limit_s)
            message = found()
        assert message is not None, f"no {what} in {limit_s} s; seen {self.seen()}"
        return message

    def seen(self) -> list[str]:
        return [one.start for one in (*self.responses, *self.requests)]

    def send(self, method: str, *more: str, body: str = "") -> None:
        """A request inside the dialog."""
        if method not in ("ACK", "CANCEL"):
            self.sequence += 1
        self.edge.send(self.edge.request(self, method, self.target, self.sequence, more, body))

    def bye(self) -> None:
        self.send("BYE")

    def hear(self, packets: int, limit_s: float = LIMIT_S) -> None:
        """Waits until so many more audio packets arrived."""
        goal, end = self.audio.received + packets, time.monotonic() + limit_s
        while self.audio.received < goal:
            assert time.monotonic() < end, f"{self.audio.received} of {goal} packets in {limit_s} s"
            time.sleep(0.05)


class Edge:
    """Listens for Asterisk, plays phones and carriers, and calls Asterisk."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.host = host
        self.answers: dict[str, str] = {}
        self.invites: list[Sip] = []
        self.legs: dict[str, Leg] = {}
        self.others: list[Sip] = []
        self.asterisk = ("", 0)
        self._lock = threading.Lock()
        self._out: socket.socket | None = None
        self._server = socket.create_server((host, port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        for leg in list(self.legs.values()):
            leg.audio.close()
        self.answers, self.invites, self.legs, self.others = {}, [], {}, []

    def send(self, text: str) -> None:
        with self._lock:
            if self._out is None:
                self._out = socket.create_connection(self.asterisk, timeout=LIMIT_S)
                threading.Thread(target=self._serve, args=(self._out,), daemon=True).start()
            self._out.sendall(text.encode())

    def drop(self) -> None:
        """Forgets the connection to Asterisk (it was restarted)."""
        with self._lock:
            if self._out is not None:
                self._out.close()
            self._out = None

    def request(
        self, leg: Leg, method: str, target: str, sequence: int, more: tuple[str, ...] = (), body: str = ""
    ) -> str:
        branch = leg.branch if method == "CANCEL" else f"z9hG4bK{uuid.uuid4().hex}"
        if method == "INVITE":
            leg.branch = branch
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/TCP {self.host}:{self.port};branch={branch};rport",
            f"From: {leg.local}",
            f"To: {leg.remote}",
            f"Call-ID: {leg.call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: <sip:edge@{self.host}:{self.port};transport=tcp>",
            "Max-Forwards: 60",
            "Supported: replaces, 100rel",
            *more,
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])

    def call(self, dialled: str, account: str = "acme", number: str = "555", **headers: str) -> Leg:
        """An INVITE to the media node; `headers`: X-DP-* without the prefix, e.g. Caller="alice"."""
        leg = Leg(self, uuid.uuid4().hex, Audio(self.host))
        leg.local = f'"Some ${{EXTEN}} One" <sip:{number}@phones.example>;tag={uuid.uuid4().hex[:8]}'
        target = f"sip:{dialled}@voice.{account}.dialplane.internal"
        leg.remote = f"<{target}>"
        leg.target = target
        self.legs[leg.call_id] = leg
        given = {"Call": f"call-{leg.call_id}", "Account": account, **headers}
        more = tuple(f"X-DP-{name}: {value}" for name, value in given.items())
        leg.invite = Sip(f"INVITE {target} SIP/2.0", [], "")
        self.send(self.request(leg, "INVITE", target, leg.sequence, more, leg.audio.sdp()))
        return leg

    def cancel(self, leg: Leg) -> None:
        """The caller gives up before an answer."""
        assert leg.invite
        to, leg.remote = leg.remote, leg.remote.partition(";tag=")[0]
        self.send(self.request(leg, "CANCEL", leg.invite.start.split(" ")[1], leg.sequence))
        leg.remote = to

    # ------------------------------------------------------------------------------------- what Asterisk sends

    def _accept(self) -> None:
        while True:
            connection, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        stream = connection.makefile("rb")
        while True:
            try:
                message = read(stream)
            except (OSError, ValueError):
                return
            if message is None:
                return
            self._take(message, connection)

    def _take(self, message: Sip, connection: socket.socket) -> None:
        leg = self.legs.get(message.get("call-id"))
        if message.code:
            if leg:
                self._response(leg, message)
            return
        if message.method == "INVITE" and (leg is None or "tag=" not in message.get("to")):
            self.invites.append(message)
            threading.Thread(target=self._play, args=(message, connection), daemon=True).start()
            return
        if leg is None:
            self.others.append(message)
            if message.method != "ACK":
                self._reply(connection, message, 200 if message.method in ("NOTIFY", "MESSAGE") else 481)
            return
        leg.note(message)
        if message.method == "INVITE":
            leg.audio.talk_to(message.body)
            self._reply(connection, message, 200, leg.audio.sdp())
        elif message.method == "CANCEL":
            self._reply(connection, message, 200)
            assert leg.invite
            self._reply(connection, leg.invite, 487, tag=leg.local)
        elif message.method != "ACK":
            self._reply(connection, message, 200)

    def _response(self, leg: Leg, message: Sip) -> None:
        if message.get("cseq").endswith("INVITE"):
            if message.body:
                leg.audio.talk_to(message.body)
            if message.code >= 180 and "tag=" in message.get("to"):
                leg.remote = message.get("to")
                contact = re.search(r"<([^>]+)>", message.get("contact"))
                leg.target = contact[1] if contact else leg.target
            if message.code >= 200:
                number = int(message.get("cseq").split()[0])
                self.send(self.request(leg, "ACK", leg.target, number))
            elif "100rel" in message.get("require"):
                leg.sequence += 1
                rack = f"RAck: {message.get('rseq')} {message.get('cseq')}"
                self.send(self.request(leg, "PRACK", leg.target, leg.sequence, (rack,)))
        leg.note(message)

    def _play(self, invite: Sip, connection: socket.socket) -> None:
        trunk = invite.get("x-dp-trunk")
        does = self.answers.get(f"trunk:{trunk}" if trunk else invite.user, "404")
        leg = Leg(self, invite.get("call-id"), Audio(self.host), invite=invite)
        leg.local = f"{invite.get('to')};tag={uuid.uuid4().hex[:8]}"
        leg.remote = invite.get("from")
        contact = re.search(r"<([^>]+)>", invite.get("contact"))
        leg.target = contact[1] if contact else ""
        self.legs[leg.call_id] = leg
        if does[0].isdigit():
            said, _, after_s = does.partition("~")
            code, _, phrase = said.partition(" ")
            if after_s:
                self._reply(connection, invite, 180, tag=leg.local)
                time.sleep(float(after_s))
            self._reply(connection, invite, int(code), tag=leg.local, phrase=phrase or "Answer")
            return
        self._reply(connection, invite, 180, tag=leg.local)
        if does == "answer":
            time.sleep(0.1)
            leg.audio.talk_to(invite.body)
            self._reply(connection, invite, 200, leg.audio.sdp(), tag=leg.local)
        leg.connection = connection

    def answer(self, leg: Leg) -> None:
        """A phone that rings answers."""
        end = time.monotonic() + LIMIT_S
        while leg.connection is None:
            assert time.monotonic() < end, "nothing rings"
            time.sleep(0.02)
        assert leg.invite
        leg.audio.talk_to(leg.invite.body)
        self._reply(leg.connection, leg.invite, 200, leg.audio.sdp(), tag=leg.local)

    def _reply(
        self, connection: socket.socket, request: Sip, code: int, body: str = "", tag: str = "", phrase: str = "Answer",
    ) -> None:  # fmt: skip
        lines = [f"SIP/2.0 {code} {phrase}"]
        lines += [f"Via: {value}" for value in request.all("via")]
        lines += [f"Record-Route: {value}" for value in request.all("record-route")]
        lines += [
            f"From: {request.get('from')}",
            f"To: {tag or request.get('to')}",
            f"Call-ID: {request.get('call-id')}",
            f"CSeq: {request.get('cseq')}",
            f"Contact: <sip:phone@{self.host}:{self.port};transport=tcp>",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        try:
            connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())
        except OSError:
            return

    def last_leg_to(self, user: str) -> Leg:
        """The last of the legs Asterisk made to a user part."""
        self.leg_to(user)
        return [
            one for one in self.legs.values() if one.invite and one.invite.user == user and one.invite.headers
        ][-1]

    def leg_to(self, user: str, limit_s: float = LIMIT_S) -> Leg:
        """The leg Asterisk made to a user part."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            for leg in list(self.legs.values()):
                if leg.invite and leg.invite.user == user and leg.invite.headers:
                    return leg
            time.sleep(0.02)
        raise AssertionError(f"no call to {user} in {limit_s} s: {[one.start for one in self.invites]}")
