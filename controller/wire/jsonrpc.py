"""JSON-RPC 2.0 to Kamailio over its Unix datagram socket (module jsonrpcs, transport 4).

    rpc = JsonRpc(Path("/run/dialplane/kamailio.sock"))
    rpc.call("htable.get", "account", "acme")          # the result, or NodeRefused
    rpc.calls([("htable.sets", ("account", "acme", "cluster=c1")), ...])   # results or Refusal, in order

Synchronous: use it from `asyncio.to_thread`; one thread at a time (a lock holds that). What Kamailio does, and what
follows from it (`jsonrpcs_sock.c`, seen on 6.1.5):

- it answers to the address a request came from, so the client binds one, beside the server's socket: both
  must see that directory under the same path;
- its answer is sent without waiting: when the client's queue is full (`net.unix.max_dgram_qlen`, 10 by default)
  the answer is lost. So no more than WINDOW requests are under way;
- a request that is not JSON or is longer than MAX_REQUEST_BYTES gets no answer, only a line in Kamailio's log;
  an answer longer than its send buffer (about 128 kB) is lost: ask for less, or for a file (`store_path`);
- strings arrive as they are: no `s:` prefix here, an integer-looking string stays a string. A NUL ends one.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from controller.errors import NodeRefused, NodeUnreachable, UnsafeValue

Param = str | int
Request = tuple[str, tuple[Param, ...]]

WINDOW = 8
MAX_REQUEST_BYTES = 65_000
# Greater than any datagram the kernel lets Kamailio send (net.core.wmem_max): nothing is cut off.
_RECEIVE_BYTES = 256 * 1024

_GONE = {errno.ECONNREFUSED, errno.ENOENT, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE}
_numbers = itertools.count(1)
# Made once: json.dumps and json.loads make a new one at each call with such options.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder(strict=False).decode


class Refusal(NamedTuple):
    """An error that the server answered to one request."""

    code: int
    message: str


class JsonRpc:
    """The client. `timeout_s` bounds the time without any answer."""

    def __init__(self, path: Path, *, timeout_s: float = 2.0, window: int = WINDOW) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._window = window
        self._own = path.parent / f"agent-{os.getpid()}-{next(_numbers)}.sock"
        self._socket: socket.socket | None = None
        self._id = 0
        self._lock = threading.Lock()

    def call(self, method: str, *params: Param, store_path: str | None = None) -> Any:
        """One request's result. NodeRefused with the server's code and words; NodeUnreachable: no answer."""
        (answer,) = self._exchange([(method, params)], store_path)
        if isinstance(answer, Refusal):
            raise NodeRefused(f"{method}: Kamailio refused: {answer.code} {answer.message}")
        return answer

    def calls(self, requests: Iterable[Request]) -> list[Any | Refusal]:
        """Send all, WINDOW under way at a time; the result or Refusal of each, in the order given.

        NodeUnreachable: the server went away in between; some of the requests may have been done.
        """
        return list(self._exchange(requests, None))

    def made_ns(self) -> int:
        """When the server made its socket, ns since 1970. NodeUnreachable: there is none."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        """Close and remove the own address; safe to call twice."""
        with self._lock:
            self._drop()

    def _exchange(self, requests: Iterable[Request], store_path: str | None) -> Iterator[Any | Refusal]:
        with self._lock:
            try:
                yield from self._pipelined(requests, store_path)
            except BaseException as error:
                # Late answers would not be mistaken for others, their ids differ, but they would fill the queue.
                self._drop()
                if isinstance(error, TimeoutError):
                    raise self._silent() from None
                if isinstance(error, OSError):
                    raise self._unreachable(error) from None
                raise

    def _pipelined(self, requests: Iterable[Request], store_path: str | None) -> Iterator[Any | Refusal]:
        under_way: dict[int, int] = {}
        answered: dict[int, Any] = {}
        due = self._id + 1
        number = self._id
        for method, params in requests:
            number = self._id = number + 1
            data = _encode(method, params, number, store_path)
            if under_way:
                self._socket_or_raise().send(data)
            else:
                self._first_send(data)
            under_way[number] = number
            if len(under_way) >= self._window:
                # Half of the window at once: fewer switches between the two processes.
                while len(under_way) > self._window // 2:
                    self._receive(under_way, answered)
                while due in answered:
                    yield answered.pop(due)
                    due += 1
        while under_way:
            self._receive(under_way, answered)
        while due in answered:
            yield answered.pop(due)
            due += 1

    def _first_send(self, data: bytes) -> None:
        """Send; if the server was restarted since the last use, connect again first."""
        if self._socket is not None:
            try:
                self._socket.send(data)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._drop()
            else:
                return
        self._connect()
        self._socket_or_raise().send(data)

    def _receive(self, under_way: dict[int, int], answered: dict[int, Any]) -> None:
        deadline = 0.0
        while True:
            number, result = _decode(self._socket_or_raise().recv(_RECEIVE_BYTES))
            if under_way.pop(number, None) is not None:
                answered[number] = result
                return
            # An answer to what nobody waits for any more.
            deadline = deadline or time.monotonic() + self._timeout_s
            if time.monotonic() > deadline:
                raise TimeoutError

    def _socket_or_raise(self) -> socket.socket:
        if self._socket is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._socket

    def _connect(self) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.settimeout(self._timeout_s)
            with suppress(FileNotFoundError):
                self._own.unlink()
            made.bind(str(self._own))
            # The server, another user of the same group, must be able to write its answer.
            self._own.chmod(0o660)
            made.connect(str(self.path))
        except BaseException:
            made.close()
            with suppress(OSError):
                self._own.unlink()
            raise
        self._socket = made

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with suppress(OSError):
                self._own.unlink()

    def _silent(self) -> NodeUnreachable:
        return NodeUnreachable(
            f"Kamailio at {self.path}: no answer in {self._timeout_s:g} s. It is stopped, busy, or may not write to"
            f" {self.path.parent}; its log says so if an answer was too long to send."
        )

    def _unreachable(self, error: OSError) -> NodeUnreachable:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return NodeUnreachable(f"Kamailio at {self.path}: nobody listens there. Is Kamailio running?")
        if error.errno in (errno.EACCES, errno.EPERM):
            return NodeUnreachable(
                f"Kamailio at {self.path}: not permitted. The agent must be in the group of that socket and"
                f" may write into {self.path.parent}."
            )
        return NodeUnreachable(f"Kamailio at {self.path}: {error.strerror or error}")


def _encode(method: str, params: tuple[Param, ...], number: int, store_path: str | None) -> bytes:
    for param in params:
        if isinstance(param, str) and "\0" in param:
            raise UnsafeValue(f"{method}: a value with NUL would be cut off there: {param!r}")
    extra = "" if store_path is None else f'"store_path":{_to_json(store_path)},'
    text = f'{{"jsonrpc":"2.0","method":{_to_json(method)},"params":{_to_json(params)},{extra}"id":{number}}}'
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise UnsafeValue(f"{method}: a value is not valid text: {params!r}") from None
    if len(data) > MAX_REQUEST_BYTES:
        raise UnsafeValue(
            f"{method} {params[:2]!r}: {len(data)} bytes, Kamailio takes {MAX_REQUEST_BYTES} in one datagram"
        )
    return data


def _decode(data: bytes) -> tuple[int, Any]:
    try:
        # A value set by hand may be no UTF-8: it must be shown, not hide all others.
        answer = _from_json(data.decode(errors="backslashreplace"))
        number = answer["id"]
        error = answer.get("error")
        if error is not None:
            return number, Refusal(int(error["code"]), str(error["message"]))
        return number, answer["result"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NodeRefused(f"Kamailio answered what is not JSON-RPC: {data[:80]!r}") from None
