"""Calls that ask an AGI server, as Asterisk does: one thread, sockets and epoll, no asyncio.

What asks must cost much less than what it measures, on the same processors: about 50 us a call.
"""

from __future__ import annotations

import select
import socket
import time

from tests.bench.lab import Failed

OK = b"200 result=1\n"
_LIMIT_S = 60


class _Call:
    """One exchange. `due`: when it should have begun."""

    def __init__(self, due: float, sock: socket.socket) -> None:
        self.due = due
        self.sock = sock
        self.held = b""
        self.decided: float | None = None


def ask(port: int, block: bytes, last: bytes, *, calls: int, rate: float) -> list[float]:
    """Latencies in ms of so many calls, `rate` of them a second: from when a call was due until its last command has
    arrived (a line that begins with `last`), so waiting in a queue counts. Failed: one got no decision."""
    address = ("127.0.0.1", port)
    began = time.perf_counter() + 0.05
    running: dict[int, _Call] = {}
    times: list[float] = []
    started = 0
    with select.epoll() as poll:
        while len(times) < calls:
            now = time.perf_counter()
            while started < calls and (due := began + started / rate) <= now:
                sock = socket.create_connection(address, timeout=_LIMIT_S)
                sock.sendall(block)
                sock.setblocking(False)
                running[sock.fileno()] = _Call(due, sock)
                poll.register(sock, select.EPOLLIN)
                started += 1
            due = began + started / rate if started < calls else now + _LIMIT_S
            if now > began + calls / rate + _LIMIT_S:
                raise Failed(f"{len(times)} of {calls} calls were decided in time")
            for number, _ in poll.poll(max(0.0, due - time.perf_counter())):
                call = running[number]
                if not _goes_on(call, last):
                    del running[number]
                    poll.unregister(number)
                    call.sock.close()
                    if call.decided is None:
                        raise Failed("the AGI server closed without a decision")
                    times.append((call.decided - call.due) * 1000)
    return times


def _goes_on(call: _Call, last: bytes) -> bool:
    """Read what is there and answer it; False: the server has said all."""
    data = call.sock.recv(65536)
    *lines, call.held = (call.held + data).split(b"\n")
    if lines and lines[-1].startswith(last):
        call.decided = time.perf_counter()
    if lines:
        call.sock.sendall(OK * len(lines))
    return bool(data)
