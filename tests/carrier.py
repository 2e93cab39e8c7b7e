"""A carrier that speaks HTTP as `controller/messages/http.py` says: it takes messages, once each, and brings some."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from controller.messages.http import signature


class CarrierDouble:
    """`taken`: what it has, by id, once however often it came; `answers`: statuses of the next requests, then 202."""

    def __init__(self, token: str = "token", secret: str = "secret") -> None:
        self.token, self.secret = token, secret
        self.taken: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.pause_s = 0.0
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(double.pause_s)
                double.requests.append(body)
                status, headers = double.answers.pop(0) if double.answers else (202, {})
                if self.headers.get("Authorization") != f"Bearer {double.token}":
                    status = 401
                if self.headers.get("Idempotency-Key") != body["id"]:
                    status = 400
                if 200 <= status < 300:
                    double.taken[body["id"]] = body
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/messages"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @contextmanager
    def running(self) -> Iterator[CarrierDouble]:
        """As long as it lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def bring(
        self, url: str, said: dict[str, Any] | bytes, *, at: float | None = None, signed: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Brings a message to that address; status and answer."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        header = (
            signature(self.secret, int(time.time() if at is None else at), body) if signed is None else signed
        )
        request = urllib.request.Request(url, body, {"X-Signature": header}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())
