"""Where phones fetch their configuration.

`GET /<name>@<domain>` with the device's token: `Authorization: Bearer <token>`, or Basic with the token as password
(what most phones can do; the user is not looked at). 200: JSON `{"device", "user", "domain", "password", "server",
"generation"}`, for the phone alone; 401: no such device, or not its token; 503: later. Once it has answered, edges let
the phone in. Over the open network it belongs behind TLS: a certificate, or a proxy of yours. That phones show
certificates of their own (what makers put into them) is a matter of that proxy.

`POST /<name>@<domain>/used/<id of a message>` with the same token, of what sends one-time codes: the code in that
message (X-DP-Message in the answer to its MESSAGE) was used. 200: it is in PostgreSQL, once however often it comes;
404: the device sent no such message; 401 and 503 as above.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import ssl
import sys
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from controller.errors import DatabaseError
from controller.provisioning import store

log = logging.getLogger("dialplane.provisioning")

_TIMEOUT_S = 15.0
_AOR = re.compile(r"/([a-z0-9][a-z0-9._-]{0,63}@[a-z0-9.-]{1,253})")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
_USED = re.compile(_AOR.pattern + r"/used/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
#: (device, token, message) -> whether the device sent it; None: not its token. DatabaseError: not now.
Used = Callable[[str, str, uuid.UUID], bool | None]
#: (device, token, address) -> what it gets; None: nothing. DatabaseError: not now.
Fetch = Callable[[str, str, str], store.Handed | None]


def token_of(header: str) -> str:
    """The token of an Authorization header; "" if there is none."""
    scheme, _, rest = header.partition(" ")
    word = rest.strip()
    if scheme.lower() == "basic":
        try:
            word = base64.b64decode(word, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    elif scheme.lower() != "bearer":
        return ""
    return word if _TOKEN.fullmatch(word) else ""


class _Door(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A stranger who goes away, or speaks no TLS, is no line of ours; what we did not expect is."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("provisioning: a defect of dialplane", exc_info=error)


def server(
    address: tuple[str, int],
    fetch: Fetch,
    used: Used,
    certificate: Path | None = None,
    key: Path | None = None,
) -> ThreadingHTTPServer:
    """The server; `serve_forever` runs it. OSError: the address is taken, or the certificate cannot be read."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "dialplane", ""
        timeout = _TIMEOUT_S

        def do_GET(self) -> None:
            found = _AOR.fullmatch(unquote(self.path))
            token = token_of(self.headers.get("Authorization", ""))
            try:
                handed = fetch(found[1], token, self.client_address[0]) if found and token else None
            except DatabaseError as error:
                log.warning("provisioning: %s", error)
                self._say(503, {"error": "not now"}, ("Retry-After", "10"))
                return
            if handed is None or found is None:
                self._say(401, {"error": "a token, please"}, ("WWW-Authenticate", 'Basic realm="dialplane"'))
                return
            log.info("%s fetched generation %d", found[1], handed.generation)
            self._say(200, {"device": found[1], **handed._asdict()})

        def do_POST(self) -> None:
            # Nothing is read: whatever else it says is no request.
            self.close_connection = True
            found = _USED.fullmatch(unquote(self.path))
            token = token_of(self.headers.get("Authorization", ""))
            try:
                done = used(found[1], token, uuid.UUID(found[2])) if found and token else None
            except DatabaseError as error:
                log.warning("provisioning: %s", error)
                self._say(503, {"error": "not now"}, ("Retry-After", "10"))
                return
            if found is None or done is None:
                self._say(401, {"error": "a token, please"}, ("WWW-Authenticate", 'Basic realm="dialplane"'))
            elif done:
                self._say(200, {"message": found[2]})
            else:
                self._say(404, {"error": f"{found[1]} sent no such message"})

        def _say(self, status: int, said: dict[str, Any], *headers: tuple[str, str]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            for name, value in (
                *headers,
                ("Content-Type", "application/json"),
                ("Cache-Control", "no-store"),
                ("Content-Length", str(len(body))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: Any) -> None:
            """What strangers ask for is no line of ours, and what phones show is nobody's."""

    door = _Door(address, Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake is the connection's own thread's: a silent stranger keeps nobody waiting.
        door.socket = context.wrap_socket(door.socket, server_side=True, do_handshake_on_connect=False)
    return door
