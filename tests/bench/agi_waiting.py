"""2,000 callers who wait in one queue, held by one AGI server: its memory and its processor time.

Their channels are ours: they answer as Asterisk does (sounds take their time, a wait for a key ends when something else
is to be done). The server, its database and the queue are real; every member talks, so nobody is served.
"""

from __future__ import annotations

import heapq
import itertools
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from controller.agent.state import State, Wanted
from controller.wire.agi_caller import request
from tests.bench.agi import server
from tests.bench.agi_client import OK
from tests.bench.figures import Figure
from tests.bench.lab import Failed, Lab, say
from tests.bench.processes import cpu_of, rss_mb

CALLERS, MEMBERS = 2_000, 50
# They come so fast; then nothing but waiting is looked at.
_PER_S = 150
_SETTLE_S, _LOOK_S, _LIMIT_S = 5.0, 20.0, 60.0
_QUEUE = {
    "strategy": "least_recent", "announce_position": True, "announce_every_s": 30, "max_wait_s": 3600,
    "members": [{"user": f"u{n}"} for n in range(MEMBERS)],
}  # fmt: skip
# Every member talks.
_ROWS = (
    """
    INSERT INTO control.queue_callers (ticket, account, queue, call_id, node, state, member, answered_at, seen_at)
    SELECT 'talk' || n, 'hold', 'support', 'talk' || n, 'media2', 'talking', 'u' || n, now(), now() + interval '1 day'
      FROM generate_series(0, %(members)s - 1) AS n""",
    """
    INSERT INTO control.queue_offers (account, member, caller_id, queue, legs, taken_at, until)
    SELECT account, member, id, queue, '{}', now(), now() + interval '1 day'
      FROM control.queue_callers WHERE account = 'hold'""",
)


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """They come, wait, and hang up."""
    folder = lab.folder / "callers"
    folder.mkdir()
    _state(folder / "state.db")
    lab.postgres.create("callers")
    with psycopg.connect(lab.postgres.url("callers", "postgres"), autocommit=True) as rows:
        for statement in _ROWS:
            rows.execute(statement.encode(), {"members": MEMBERS})
        with server("queues", str(folder), lab.postgres.url("callers", "agent")) as (pid, port):
            yield from _looked_at(pid, Callers(port), rows)


def _state(path: Path) -> None:
    entries: dict[str, object] = {
        f"hold/user/u{n}": {"devices": [f"u{n}@hold.example"]} for n in range(MEMBERS)
    }
    entries["hold/queue/support"] = _QUEUE
    file = State(path)
    file.stage([Wanted("policy", key, json.dumps(value)) for key, value in entries.items()], 1)
    file.close()


def _looked_at(pid: int, callers: Callers, rows: psycopg.Connection) -> Iterator[Figure]:
    before_mb, before_s = rss_mb(pid), cpu_of(pid) or 0.0
    say(f"{CALLERS:,} callers come")
    for number in range(CALLERS):
        callers.comes(number)
        callers.run(1 / _PER_S)
    callers.run(_SETTLE_S)
    if (waiting := _number(rows, "state = 'waiting'")) != CALLERS:
        raise Failed(f"{waiting:,} of {CALLERS:,} callers wait")
    joined_s, held_mb = cpu_of(pid) or 0.0, rss_mb(pid)
    callers.run(_LOOK_S)
    waited_s = (cpu_of(pid) or 0.0) - joined_s
    say("they hang up")
    began = time.monotonic()
    callers.hang_up()
    while left := _number(rows, "state = 'waiting'"):
        if time.monotonic() - began > _LIMIT_S:
            raise Failed(f"{left:,} callers hung up and wait still")
        time.sleep(0.1)
    if (gave_up := _number(rows, "outcome = 'abandoned'")) != CALLERS:
        raise Failed(f"{CALLERS:,} callers hung up, of {gave_up:,} that is known")
    note = f"{CALLERS:,} callers, {held_mb:.0f} MB in all; positions told every 30 s"
    yield Figure("queue_callers.memory", (held_mb - before_mb) * 1024 / CALLERS, "kB", note=note)
    note = (
        f"while they wait; {(joined_s - before_s) * 1000 / CALLERS:.1f} ms of CPU for each who came; "
        f"all hung up at once: gone after {time.monotonic() - began:.1f} s"
    )
    yield Figure("queue_callers.cpu", waited_s / _LOOK_S * 100, "% of a CPU", note=note)


def _number(rows: psycopg.Connection, condition: str) -> int:
    statement = f"SELECT count(*) FROM control.queue_callers WHERE account = 'hold' AND {condition}"
    found = rows.execute(statement.encode()).fetchone()
    return int(found[0]) if found else 0


class _Channel:
    """`due`: the reply that comes when a sound or a wait is over; `said`: which of them it is."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""
        self.due = b""
        self.said = 0


class Callers:
    """Channels of one Asterisk."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._channels: dict[int, _Channel] = {}
        self._timers: list[tuple[float, int, _Channel]] = []
        self._numbers = itertools.count(1)

    def comes(self, number: int) -> None:
        """One more caller."""
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=_LIMIT_S)
        arguments = (
            "support",
            "hold",
            f"call-{number}",
            f"ticket-{number}",
            f"+4930{number:06d}",
            "",
            "",
            "",
        )
        sock.sendall(request("queue", arguments))
        sock.setblocking(False)
        self._channels[sock.fileno()] = _Channel(sock)
        self._poll.register(sock, select.EPOLLIN)

    def hang_up(self) -> None:
        """All of them."""
        for channel in list(self._channels.values()):
            self._ends(channel)

    def run(self, seconds: float) -> None:
        """Answer for so long. Failed: the server ended a session."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            while self._timers and self._timers[0][0] <= now:
                _, number, channel = heapq.heappop(self._timers)
                if channel.said == number:
                    self._says(channel, channel.due)
                    channel.due = b""
            at = min(until, self._timers[0][0]) if self._timers else until
            for number, _ in self._poll.poll(max(0.0, at - now)):
                channel = self._channels[number]
                data = channel.sock.recv(65536)
                if not data:
                    raise Failed("the AGI server ended the session of a caller who waits")
                *lines, channel.held = (channel.held + data).split(b"\n")
                for line in lines:
                    self._does(channel, line)

    def _does(self, channel: _Channel, line: bytes) -> None:
        if channel.due.startswith(b"200 result=0\n"):
            self._says(channel, channel.due)
        channel.due, channel.said = b"", next(self._numbers)
        match line.replace(b'"', b"").split():
            case [b"STREAM", b"FILE", *_]:
                self._later(channel, 2.0, b"200 result=0 endpos=16000\n")
            case [b"EXEC", b"SayNumber", *_]:
                self._later(channel, 0.5, b"200 result=0\n")
            case [b"WAIT", b"FOR", b"DIGIT", milliseconds]:
                self._later(channel, int(milliseconds) / 1000, b"200 result=0\n")
            case _:
                self._says(channel, OK)

    def _later(self, channel: _Channel, seconds: float, reply: bytes) -> None:
        channel.due = reply
        heapq.heappush(self._timers, (time.monotonic() + seconds, channel.said, channel))

    def _says(self, channel: _Channel, reply: bytes) -> None:
        if channel.sock.fileno() >= 0:
            channel.sock.sendall(reply)

    def _ends(self, channel: _Channel) -> None:
        number = channel.sock.fileno()
        self._poll.unregister(number)
        del self._channels[number]
        channel.sock.close()
