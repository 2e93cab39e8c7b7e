"""One SIPp process with sound, inside the phones container: `python3 run.py < job`.

The first line of stdin is the job (JSON: `scenario` XML, `arguments` of SIPp, `port`, `voice`, `limit_s`). Later
lines are commands: `dtmf 12#`, `heard`, `hang-up`, `refer sip:...`, `stop`. Stdout: `READY` once SIPp listens, `M` and
a message (JSON) as it passes, `H` and what was heard so far (JSON), `R` and the result (JSON) at the end.

SIPp does the signalling; this script does the sound, because counting who heard whom needs more than echo. A
phone's voice is PCMU in which every byte is its `voice`: constant, so it stays the same over a bridge, a recorder
and a player however frames are cut, and a receiver knows which phone it hears.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

RULE = re.compile(rb"\n-{20,}\n")  # what SIPp did not expect is logged once more below one
FRAME_S = 0.02
# Who had the phone's port before may not be quite gone.
FREED_S = 2.0
# Frames of one key press: duration so far (in 1/8000 s), end bit. The end is sent three times.
EVENT = [(160, 0), (320, 0), (480, 0), (640, 0), (800, 0), (800, 0x80), (800, 0x80), (800, 0x80)]
HEADER = re.compile(rb"^-{10,} (\S+)\n(\w+ message (sent|received) .*)\n\n", re.M)


def messages(log: bytes) -> Iterator[dict[str, Any]]:
    """Messages of SIPp's message log: when (text), sent or received, the message itself."""
    marks = list(HEADER.finditer(log))
    ends = [mark.start() for mark in marks[1:]] + [len(log)]
    for mark, end in zip(marks, ends, strict=False):
        yield {
            "at": mark[1].decode(),
            "sent": mark[3] == b"sent",
            "text": RULE.split(log[mark.end() : end])[0]
            .decode(errors="replace")
            .strip("\n")
            .replace("\r", ""),
        }


def peer_of(passed: list[dict[str, Any]]) -> tuple[str, int] | None:
    """(address, port) of the peer's sound from the last SDP received, or None. A phone is silent until it sent one."""
    if not any(message["sent"] and "\nm=audio" in message["text"] for message in passed):
        return None
    for message in reversed(passed):
        address = re.search(r"^c=IN IP4 (\S+)", message["text"], re.M)
        port = re.search(r"^m=audio (\d+)", message["text"], re.M)
        if address and port and not message["sent"]:
            return (address[1], int(port[1])) if address[1] != "0.0.0.0" and int(port[1]) else None
    return None


def listening(port: int, *kinds: str) -> bool:
    """Whether some process in this container has that port open, for UDP or TCP."""
    wanted = f":{port:04X} "
    return any(wanted in pathlib.Path(f"/proc/net/{kind}").read_text() for kind in kinds)


class Sound:
    """Sends the voice every 20 ms, counts what comes in by voice."""

    def __init__(self, voice: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0", 0))
        self.port = self.socket.getsockname()[1]
        self.voice = bytes([voice]) * 160
        self.heard: collections.Counter[str] = collections.Counter()
        self.sent = self.sequence = self.stamp = 0
        self.ssrc = os.getpid()
        self.events: collections.deque[tuple[int, int]] = collections.deque()

    def receive(self) -> None:
        data = self.socket.recv(2048)
        if len(data) > 12 and data[1] & 0x7F == 0:
            byte, count = collections.Counter(data[12:]).most_common(1)[0]
            self.heard[str(byte) if count > 0.9 * (len(data) - 12) else "other"] += 1

    def send(self, peer: tuple[str, int]) -> None:
        self.stamp += 160
        kind, stamp, body = 0, self.stamp, self.voice
        if self.events:
            step, code = self.events.popleft()
            if step < len(EVENT):
                duration, end = EVENT[step]
                kind, stamp = 0x80 | 101 if step == 0 else 101, self.stamp - step * 160
                body = struct.pack("!BBH", code, end | 10, duration)
        with contextlib.suppress(OSError):  # the peer may be gone already; what was heard is what counts
            self.socket.sendto(
                struct.pack("!BBHII", 0x80, kind, self.sequence, stamp, self.ssrc) + body, peer
            )
            self.sent += 1
        self.sequence = (self.sequence + 1) & 0xFFFF

    def press(self, digits: str) -> None:
        """Queues the digits: each an RFC 4733 event of 100 ms, then as much of the voice."""
        for digit in digits:
            self.events.extend((step, "0123456789*#ABCD".index(digit)) for step in range(2 * len(EVENT)))


def order(log: bytes, refer_to: str) -> bytes:
    """An INFO inside the call of the log, as from the far end: a talking phone hangs up then, or refers.

    SIPp has no other way to be told something of one call. It takes the peer's tag from every request.
    """
    first, *others = messages(log)
    tags = [re.search(r"^To:.*tag=([^;\s]+)", one["text"], re.M) for one in others if not one["sent"]]
    if not first["sent"]:
        tags = [re.search(r"^From:.*tag=([^;\s]+)", first["text"], re.M)]
    tag = next(found[1] for found in reversed(tags) if found)
    call_id = re.search(r"^Call-ID:\s*(\S+)", first["text"], re.M)
    assert call_id
    lines = [
        "INFO sip:order SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-order",
        f"From: <sip:order@127.0.0.1>;tag={tag}",
        "To: <sip:phone@127.0.0.1>",
        f"Call-ID: {call_id[1]}",
        "CSeq: 900 INFO",
        *([f"Refer-To: {refer_to}"] if refer_to else []),
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def obey(line: str, sipp: subprocess.Popen[bytes], sound: Sound, port: int, log: pathlib.Path) -> bool:
    """Does what a command line asks; False when it is the last one."""
    verb, _, rest = line.strip().partition(" ")
    if verb == "dtmf":
        sound.press(rest)
    elif verb == "heard":
        print("H", json.dumps(dict(sound.heard)), flush=True)
    elif verb in ("hang-up", "refer"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as teller:
            teller.sendto(order(log.read_bytes(), rest), ("127.0.0.1", port))
    else:
        sipp.send_signal(signal.SIGUSR1)
        return False
    return True


def main() -> None:
    # Unbuffered: of two commands that come together select() would never tell the second.
    commands = open(0, "rb", buffering=0)  # noqa: SIM115
    job = json.loads(commands.readline())
    sound = Sound(job["voice"])
    where = pathlib.Path(tempfile.mkdtemp(prefix="call-"))
    (where / "scenario.xml").write_text(job["scenario"])
    log = where / "messages.log"
    freed = time.monotonic() + FREED_S
    while listening(job["port"], "udp") and time.monotonic() < freed:
        time.sleep(FRAME_S)
    sipp = subprocess.Popen(
        ["sipp", "-sf", "scenario.xml", "-p", str(job["port"]), "-key", "rtp", str(sound.port), "-m", "1", "-nostdin",
         "-trace_msg", "-message_file", "messages.log", "-trace_err", "-error_file", "errors.log", *job["arguments"]],
        cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(where / "stderr").open("wb"),
    )  # fmt: skip
    began = tick = looked = time.monotonic()
    ready, size, told = False, 0, 0
    peer: tuple[str, int] | None = None
    inputs: list[Any] = [sound.socket, commands]
    over = False
    while not over:
        over = sipp.poll() is not None
        for source in select.select(inputs, [], [], max(0.0, tick - time.monotonic()))[0]:
            if source is sound.socket:
                sound.receive()
            elif not obey(commands.readline().decode(), sipp, sound, job["port"], log):
                inputs.remove(commands)
        now = time.monotonic()
        if now >= tick:
            tick += FRAME_S
            if peer:
                sound.send(peer)
        if over or now - looked > 0.05:
            looked = now
            if not ready and (over or listening(job["port"], "udp", "tcp")):
                ready = True
                print("READY", flush=True)
            if ready and log.exists() and log.stat().st_size != size:
                size = log.stat().st_size
                passed = list(messages(log.read_bytes()))
                peer = peer_of(passed)
                for message in passed[told:]:
                    print("M", json.dumps(message), flush=True)
                    told += 1
        if now - began > job["limit_s"] + 2:
            sipp.kill()
    errors = [
        path.read_text(errors="replace") for path in (where / "errors.log", where / "stderr") if path.exists()
    ]
    result = {
        "exit": sipp.returncode,
        "errors": "\n".join(errors).strip(),
        "heard": dict(sound.heard),
        "spoken": sound.sent,
    }
    print("R", json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
