"""One SIP message of a TCP stream."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(slots=True)
class Sip:
    """One message: start line, headers (lower-case names, several values kept), body; when it was here (monotonic)."""

    start: str
    headers: list[tuple[str, str]]
    body: str
    at: float = field(default_factory=time.monotonic)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def code(self) -> int:
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def user(self) -> str:
        matched = re.match(r"\w+ sips?:([^@;>]*)@", self.start)
        return matched[1] if matched else ""


def read(stream: BinaryIO) -> Sip | None:
    """The next message of a stream; None at its end."""
    line = stream.readline()
    while line in (b"\r\n", b"\n"):
        line = stream.readline()
    if not line:
        return None
    start = line.decode().strip()
    headers: list[tuple[str, str]] = []
    while written := stream.readline().decode().rstrip("\r\n"):
        name, _, value = written.partition(":")
        headers.append((name.strip().lower(), value.strip()))
    message = Sip(start, headers, "")
    length = int(message.get("content-length") or 0)
    message.body = stream.read(length).decode() if length else ""
    return message
