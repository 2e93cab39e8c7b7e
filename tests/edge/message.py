"""One SIP message, and what a signature in it is made of."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\s]+))')
CRLF = "\r\n"


@dataclass
class Message:
    """One SIP message as received: `start` line, headers in order, body, and where an answer goes."""

    start: str
    headers: list[tuple[str, str]]
    body: str
    source: tuple[str, int]
    connection: socket.socket | None = None

    @property
    def is_request(self) -> bool:
        """Request or answer."""
        return not self.start.startswith("SIP/2.0")

    @property
    def method(self) -> str:
        """Method of a request; of an answer, the one in CSeq."""
        return self.start.split()[0] if self.is_request else self["CSeq"].split()[1]

    @property
    def status(self) -> int:
        """Status of an answer, 0 for a request."""
        return 0 if self.is_request else int(self.start.split()[1])

    @property
    def uri(self) -> str:
        """Request-URI."""
        return self.start.split()[1]

    def all(self, name: str) -> list[str]:
        """Values of all headers of that name, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        if not found:
            raise KeyError(f"no header {name} in {self.start}")
        return found[0]

    def get(self, name: str) -> str | None:
        """First header of that name, or None."""
        found = self.all(name)
        return found[0] if found else None

    def __str__(self) -> str:
        return CRLF.join([self.start, *(f"{k}: {v}" for k, v in self.headers), "", self.body])


def parse(data: bytes, source: tuple[str, int], connection: socket.socket | None = None) -> Message:
    """A whole message; header names as sent."""
    head, _, body = data.decode(errors="replace").partition(CRLF + CRLF)
    start, *lines = head.split(CRLF)
    headers = [(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
    return Message(start, headers, body, source, connection)


def challenge_of(answer: Message, algorithm: str) -> dict[str, str]:
    """The parameters of the challenge with that algorithm in a 401 or 407."""
    name = "WWW-Authenticate" if answer.status == 401 else "Proxy-Authenticate"
    for value in answer.all(name):
        found = {key: quoted or bare for key, quoted, bare in _PARAMETER.findall(value)}
        if found.get("algorithm", "MD5") == algorithm:
            return found
    raise KeyError(f"no {algorithm} challenge in {answer.all(name)}")


def credentials(
    challenge: dict[str, str],
    method: str,
    uri: str,
    user: str,
    password: str,
    *,
    count: int = 1,
    **override: str,
) -> str:
    """The value of an (Proxy-)Authorization header for a challenge (RFC 7616, qop=auth)."""
    algorithm = challenge.get("algorithm", "MD5")
    digest: Callable[[str], str] = lambda text: (  # noqa: E731
        hashlib.sha256(text.encode()) if algorithm == "SHA-256" else hashlib.md5(text.encode())
    ).hexdigest()
    nonce, realm, cnonce, nc = challenge["nonce"], challenge["realm"], "c0ffee", f"{count:08x}"
    ha1 = override.get("ha1") or digest(f"{user}:{realm}:{password}")
    ha2 = digest(f"{method}:{uri}")
    response = digest(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f'algorithm={algorithm}, qop=auth, nc={nc}, cnonce="{cnonce}"'
    )


def uri_of(value: str) -> str:
    """The URI of a Contact, From, To or Route."""
    found = re.search(r"<([^>]+)>", value)
    return found.group(1) if found else value.split(";", maxsplit=1)[0]
