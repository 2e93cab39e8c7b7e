"""SIPp phones and carriers, run inside the stack's containers.

A `Phone` is one SIP device (or a carrier's peer) at a port of its container. `Phones.start` runs a scenario of
`scenarios/` (Jinja2 over SIPp's XML) and returns a `Running`; `Running.wait` gives a `Leg`: SIPp's exit status, every
message with its time, and how many 20 ms frames of whose voice arrived. Nothing here waits without a limit.
"""

from __future__ import annotations

import json
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import jinja2

SCENARIOS = Path(__file__).with_name("scenarios")
EDGE = "10.213.0.11"
TRANSPORTS = {"udp": "u1", "tcp": "t1", "tls": "l1"}
TLS_PORT = 5061
START_LIMIT_S = 15.0
# Kept ready in each container: one takes longer to begin than most of its jobs.
RUNNERS = 2


@dataclass(frozen=True, slots=True)
class Phone:
    """One SIP device. `voice` (1..126) is the sound it makes; phones in one call need different ones."""

    user: str
    domain: str
    password: str = ""
    port: int = 5060
    voice: int = 1
    transport: str = "udp"
    login: str | None = None  # user name in the digest, when it is not `user`


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP message as SIPp saw it: `at` is its own clock (text, sortable)."""

    at: str
    sent: bool
    text: str

    @property
    def start(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]

    @property
    def line(self) -> str:
        """One line for people."""
        return f"{self.at[11:23]} {'->' if self.sent else '<-'} {self.start}"

    @property
    def time_s(self) -> float:
        """Seconds since the epoch."""
        return datetime.fromisoformat(self.at).timestamp()

    @property
    def status(self) -> int | None:
        """The status of a response, None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """The method of a request, or that of the request a response answers."""
        return self.start.split()[0] if self.status is None else self.headers("CSeq")[0].split()[1]

    def headers(self, name: str) -> list[str]:
        """Values of a header, in order; [] when it is not there."""
        return re.findall(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*?)[ \t]*$", self.text, re.M | re.I)


@dataclass(frozen=True, slots=True, repr=False)
class Leg:
    """What came of one scenario. `heard` counts frames of 20 ms by the voice in them (`other`: announcements)."""

    exit: int
    messages: tuple[Message, ...]
    errors: str
    heard: dict[str, int] = field(default_factory=dict)
    spoken: int = 0

    @property
    def ok(self) -> bool:
        """Whether the scenario went as written."""
        return self.exit == 0

    @property
    def received(self) -> list[Message]:
        """Messages that came in."""
        return [message for message in self.messages if not message.sent]

    @property
    def codes(self) -> list[int]:
        """Statuses that came in, in order."""
        return [message.status for message in self.received if message.status is not None]

    def invite(self) -> Message:
        """The INVITE that came in first, or of a caller the last one sent (that with its digest)."""
        invites = [one for one in self.messages if one.status is None and one.method == "INVITE"]
        return invites[-1] if invites[0].sent else invites[0]

    @property
    def called(self) -> bool:
        """Whether an INVITE came in."""
        return any(message.status is None and message.method == "INVITE" for message in self.received)

    def hears(self, phone: Phone) -> int:
        """Frames (20 ms) of that phone's voice that arrived."""
        return self.heard.get(str(phone.voice), 0)

    def __repr__(self) -> str:
        lines = [f"exit {self.exit}, heard {self.heard or 'nothing'}, sent {self.spoken} frames"]
        lines += [f"  {message.line}" for message in self.messages]
        return "\n".join([*lines, *(f"  {line}" for line in self.errors.splitlines()[:20])])


class PhoneError(Exception):
    """The container or SIPp itself failed (not the call)."""


def render(scenario: str, **keys: Any) -> str:
    """The SIPp XML of a scenario."""
    loader = jinja2.FileSystemLoader(SCENARIOS)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.Undefined, autoescape=False)
    return environment.get_template(f"{scenario}.xml").render(**keys).lstrip()


class Running:
    """A scenario under way."""

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float) -> None:
        self._process, self._deadline = process, time.monotonic() + limit_s + START_LIMIT_S
        self._leg: Leg | None = None
        self._heard: dict[str, int] = {}
        self.messages: list[Message] = []
        line = self._line()
        if line != "READY\n":
            raise PhoneError(f"SIPp did not start: {line}{self._rest()}")

    def _line(self, limit_s: float | None = None) -> str:
        """The next line of the runner. TimeoutError after `limit_s` (default: what is left of the scenario's time)."""
        assert self._process.stdout
        left = self._deadline - time.monotonic()
        ready, _, _ = select.select(
            [self._process.stdout], [], [], max(0.0, left if limit_s is None else limit_s)
        )
        if not ready:
            raise TimeoutError(f"nothing more within {limit_s or left:.1f} s after:\n{self}")
        line = b""
        while not line.endswith(b"\n") and (more := self._process.stdout.readline()):
            line += more
        return line.decode()

    def _next(self, limit_s: float | None = None) -> str:
        """Takes in the next line and gives its kind: M (a message), H (what was heard), R: the scenario is over."""
        line = self._line(limit_s)
        if line.startswith("M "):
            self.messages.append(Message(**json.loads(line[2:])))
        elif line.startswith("H "):
            self._heard = json.loads(line[2:])
        elif line.startswith("R "):
            self._leg = Leg(messages=tuple(self.messages), **json.loads(line[2:]))
            self._process.communicate()
        else:
            raise PhoneError(line + self._rest())
        return line[0]

    def __str__(self) -> str:
        return "\n".join(message.line for message in self.messages) or "no message yet"

    def received(self, *starts: int | str) -> list[Message]:
        """Messages with that status or method that came until now."""
        return [one for one in self.messages if not one.sent and (one.status or one.method) in starts]

    def over(self) -> bool:
        """Takes in what has come; whether the scenario is over."""
        with suppress(TimeoutError):
            while self._leg is None:
                self._next(0)
        return self._leg is not None

    def until(self, *starts: int | str, limit_s: float = 10.0, times: int = 1) -> Message:
        """The first (or `times`-th) message received with that status or method; TimeoutError, PhoneError."""
        deadline = time.monotonic() + limit_s
        while True:
            if len(found := self.received(*starts)) >= times:
                return found[times - 1]
            if self._leg is not None or self._next(deadline - time.monotonic()) == "R":
                raise PhoneError(f"the scenario ended without {starts}:\n{self._leg}")

    def _rest(self) -> str:
        self._process.kill()
        out, err = self._process.communicate()
        return (out + err).decode(errors="replace").strip()

    def _command(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def heard(self) -> dict[str, int]:
        """Frames of 20 ms heard until now, by voice (`other`: music, announcements)."""
        if not self.over():
            self._command("heard")
            while self._next() == "M":
                pass
        return self._leg.heard if self._leg else self._heard

    def until_heard(self, voice: Phone | None = None, frames: int = 35, limit_s: float = 20) -> Self:
        """Waits until so many frames of a phone's voice have come, or of sounds (None); AssertionError."""
        kind, deadline = "other" if voice is None else str(voice.voice), time.monotonic() + limit_s
        while (count := self.heard().get(kind, 0)) < frames:
            assert time.monotonic() < deadline, f"{count} of {frames} frames {kind}:\n{self}"
            assert not self.over(), f"over with {count} of {frames} frames {kind}:\n{self}"
            time.sleep(0.1)
        return self

    def dtmf(self, digits: str) -> None:
        """Presses keys (RFC 4733)."""
        self._command(f"dtmf {digits}")

    def hang_up(self) -> Self:
        """Ends the talk now, whatever its time was to be."""
        self._command("hang-up")
        return self

    def refer(self, target: str, replaces: Running | None = None) -> Self:
        """Transfers the talk (key `refers`) to a SIP address, blindly or to the answered call of `replaces`."""
        extra = ""
        if replaces is not None:
            answered = replaces.until(200)
            local, remote = (answered.headers(name)[0].rpartition("tag=")[2] for name in ("From", "To"))
            call_id = answered.headers("Call-ID")[0].replace("@", "%40")
            extra = f"?Replaces={call_id}%3Bto-tag%3D{remote}%3Bfrom-tag%3D{local}"
        self._command(f"refer sip:{target}{extra}")
        return self

    def stop(self) -> None:
        """Ends SIPp, as when the phone is switched off."""
        if self._leg is None and self._process.poll() is None:
            self._command("stop")

    def wait(self) -> Leg:
        """The result, when the scenario is over; PhoneError when it is not over in time."""
        while self._leg is None:
            self._next()
        return self._leg

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.wait()


class Phones:
    """The phones of one container."""

    # Container -> runners that have no job yet.
    _runners: ClassVar[dict[str, list[subprocess.Popen[bytes]]]] = {}
    # When those registered that still are, all containers together.
    _bound: ClassVar[dict[Phone, float]] = {}

    @classmethod
    def forget(cls) -> None:
        """The edge may have lost who registered a moment ago."""
        cls._bound.clear()

    def __init__(self, container: str = "dialplane-phones-1", target: str = f"{EDGE}:5060") -> None:
        self.container, self.target = container, target

    def start(self, scenario: str, phone: Phone, *, limit_s: float = 30.0, **keys: Any) -> Running:
        """Starts a scenario of that phone; returns once SIPp listens (or has ended). `keys` go into the scenario."""
        return Running(self._begin(scenario, phone, limit_s=limit_s, **keys), limit_s)

    def _begin(
        self,
        scenario: str,
        phone: Phone,
        *,
        target: str | None = None,
        limit_s: float,
        arguments: Sequence[str] = (),
        **keys: Any,
    ) -> subprocess.Popen[bytes]:
        password = keys.pop("password", phone.password)
        host, _, port = (target or self.target).partition(":")
        edge = f"{host}:{TLS_PORT}" if phone.transport == "tls" else f"{host}:{port}"
        job = {
            "scenario": render(scenario, user=phone.user, domain=phone.domain, **keys),
            "port": phone.port,
            "voice": phone.voice,
            "limit_s": limit_s,
            "arguments": [
                edge,
                *(
                    "-t",
                    TRANSPORTS[phone.transport],
                    "-au",
                    phone.login or phone.user,
                    "-ap",
                    password or "none",
                ),
                # A NOTIFY that comes while another one is being answered comes again; it is no reason to hang up.
                *(("-default_behaviors", "all,-abortunexp") if keys.get("refers") else ()),
                *("-timeout", f"{limit_s:.0f}s", "-recv_timeout", f"{limit_s * 1000:.0f}"),
                *arguments,
            ],
        }
        process = self._runner()
        assert process.stdin
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        return process

    def _runner(self) -> subprocess.Popen[bytes]:
        """One that waits for its job; another one is begun meanwhile."""
        waiting = [one for one in self._runners.get(self.container, ()) if one.poll() is None]
        command = ["docker", "exec", "-i", self.container, "python3", "-u", "/scenarios/run.py"]
        pipe = subprocess.PIPE
        while len(waiting) < RUNNERS + 1:
            waiting.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0))
        self._runners[self.container] = waiting[1:]
        return waiting[0]

    def together(
        self, scenario: str, *phones: Phone, limit_s: float = 30.0, **keys: Any
    ) -> Iterator[Running]:
        """Starts that scenario of several phones at once; each as `start` gives it."""
        begun = [self._begin(scenario, phone, limit_s=limit_s, **keys) for phone in phones]
        for process in begun:
            yield Running(process, limit_s)

    def run(self, scenario: str, phone: Phone, **keys: Any) -> Leg:
        """Starts a scenario and waits for its end."""
        return self.start(scenario, phone, **keys).wait()

    def register(self, phone: Phone, **keys: Any) -> Leg:
        """Registers the phone (REGISTER, challenge, REGISTER), from the port at which it will be called."""
        self._bound.pop(phone, None)
        leg = self.run("register", phone, limit_s=10, **keys)
        if leg.ok and not keys:
            self._bound[phone] = time.monotonic()
        return leg

    def registered(self, *phones: Phone) -> None:
        """These phones are registered, for two minutes at least: who has done so a moment ago does not again."""
        late = time.monotonic() - 150
        wanted = [phone for phone in phones if self._bound.get(phone, late) <= late]
        for phone, running in zip(wanted, self.together("register", *wanted, limit_s=10), strict=True):
            leg = running.wait()
            assert leg.ok, leg
            self._bound[phone] = time.monotonic()

    @contextmanager
    def answering(self, *phones: Phone, **keys: Any) -> Iterator[list[Running]]:
        """Phones that take a call as the `answer` scenario says; switched off at the end."""
        running: list[Running] = []
        try:
            running.extend(self.together("answer", *phones, **keys))
            yield running
        finally:
            for one in running:
                one.stop()
