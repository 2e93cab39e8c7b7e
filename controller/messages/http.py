"""Messages to and from a carrier over HTTP.

Out: `POST <url>` with JSON `{"id", "from", "to", "text"}`, `Authorization: Bearer <token>`, and `Idempotency-Key:
<id>`, the same whenever it is repeated. 2xx: the carrier has it. 408, 409, 425, 429 and 5xx, or no answer in 15 s:
again later, no sooner than `Retry-After` says. Any other answer is final.

In: `POST /<carrier>/messages` with JSON `{"id", "from", "to", "text"}`, numbers in E.164 with +, signed:
`X-Signature: t=<Unix time>,v1=<hex HMAC-SHA256 of "<t>.<body>" with the carrier's secret>`, five minutes old at
most. 202: it is in PostgreSQL, once however often it comes; 404: nobody here has that number; 401: the signature;
400: what is wrong; 503: later.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from controller.errors import DatabaseError
from controller.messages import settle
from controller.messages.carriers import Carrier
from controller.messages.model import Outcome

log = logging.getLogger("dialplane.messages")

TIMEOUT_S = 15.0
_OLD_S = 300.0
_MOST_BYTES = 65_536
_LATER = frozenset({408, 409, 425, 429})
_LONGEST_PAUSE_S = 3600.0
_OK, _SERVER = 300, 500
_NUMBER = re.compile(r"\+[1-9][0-9]{4,14}")


class Text(NamedTuple):
    """What goes out. `id`: the same whenever it is repeated; `sender`, `to`: E.164."""

    id: str
    sender: str
    to: str
    text: str


class Inbound(NamedTuple):
    """What came in. `id`: the carrier's."""

    carrier: str
    id: str
    sender: str
    to: str
    text: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """The token is for the carrier's address and no other."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def send(carrier: Carrier, text: Text, tries: int) -> Outcome:
    """Hand it to the carrier, once; `tries` is how often that was tried before. Blocks for TIMEOUT_S at most."""
    body = json.dumps({"id": text.id, "from": text.sender, "to": text.to, "text": text.text}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": text.id, "User-Agent": "dialplane"}
    if carrier.token:
        headers["Authorization"] = f"Bearer {carrier.token}"
    request = urllib.request.Request(carrier.url, body, headers, method="POST")  # noqa: S310 - http(s), as read
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            return _outcome(answer.status, "", tries)
    except urllib.error.HTTPError as error:
        with error:
            return _outcome(error.code, str(error.headers.get("Retry-After") or ""), tries)
    except (OSError, ValueError) as error:
        return settle.unheard(f"{carrier.name}: {getattr(error, 'reason', None) or error}", tries)


def _outcome(status: int, wanted: str, tries: int) -> Outcome:
    if status < _OK:
        return Outcome("delivered", status, "the carrier has it")
    if status in _LATER or status >= _SERVER:
        later = settle.unheard("not now", tries, status)
        pause_s = float(wanted) if re.fullmatch("[0-9]{1,6}", wanted) else 0.0
        return later._replace(pause_s=max(later.pause_s, min(pause_s, _LONGEST_PAUSE_S)))
    return Outcome("failed", status, "the carrier will not have it")


# --- in -----------------------------------------------------------------------------------------------------------


def signature(secret: str, at: int, body: bytes) -> str:
    """The header X-Signature of a body that is sent at that time."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def genuine(secret: str, header: str, body: bytes, now: float) -> bool:
    """Whether who knows the secret signed it, not long ago."""
    found = re.fullmatch(r"t=([0-9]{1,12}),v1=[0-9a-f]{64}", header)
    if not secret or found is None or abs(now - int(found[1])) > _OLD_S:
        return False
    return hmac.compare_digest(signature(secret, int(found[1]), body), header)


def parsed(carrier: str, body: bytes) -> Inbound:
    """What a body says. ValueError: what is wrong with it."""
    said = json.loads(body)
    values = [said.get(name) for name in ("id", "from", "to", "text")] if isinstance(said, dict) else [None]
    if not all(isinstance(one, str) and one and "\0" not in one for one in values):
        raise ValueError("id, from, to and text are texts that say something")
    id_, sender, to, text = map(str, values)
    if not _NUMBER.fullmatch(to) or not re.fullmatch(r"\+[1-9][0-9]{4,14}|[A-Za-z0-9]{1,15}", sender):
        raise ValueError("to is a number in E.164 with +, from such a number, or up to 15 letters and digits")
    return Inbound(carrier, id_[:200], sender, to, text)


def server(
    address: tuple[str, int], carriers: Sequence[Carrier], keep: Callable[[Inbound], str | None]
) -> ThreadingHTTPServer:
    """The server for what comes in; `serve_forever` runs it.

    `keep` stores a message for good and gives its id, None: nobody has that number; DatabaseError: not now. It is
    called from several threads.
    """
    secrets = {one.name: one.secret for one in carriers if one.secret}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "dialplane", ""
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            found = re.fullmatch(r"/([a-z0-9-]{1,32})/messages", self.path)
            length = self.headers.get("Content-Length", "")
            if not re.fullmatch("[0-9]{1,6}", length) or int(length) > _MOST_BYTES:
                self.close_connection = True
                self._say(413 if length else 411, f"a Content-Length of at most {_MOST_BYTES}, please")
                return
            body = self.rfile.read(int(length))
            secret = secrets.get(found[1], "") if found else ""
            if found is None or not genuine(secret, self.headers.get("X-Signature", ""), body, time.time()):
                self._say(401, "X-Signature does not fit")
                return
            try:
                message = keep(parsed(found[1], body))
            except ValueError as error:
                self._say(400, str(error))
            except DatabaseError as error:
                log.warning("message by %s: %s", found[1], error)
                self._say(503, "not now", ("Retry-After", "30"))
            else:
                if message is None:
                    self._say(404, "nobody here has that number")
                else:
                    self._say(202, message, key="message")

        def _say(self, status: int, text: str, *headers: tuple[str, str], key: str = "error") -> None:
            body = json.dumps({key: text}).encode()
            self.send_response(status)
            for name, value in (
                *headers,
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: Any) -> None:
            """What strangers ask for is no line of ours."""

    return ThreadingHTTPServer(address, Handler)
