"""The Asterisk Manager Interface as bytes: actions out, responses and events in. No socket, no waiting.

What Asterisk 22 does with an action (`main/manager.c`), and so what is refused here with UnsafeValue:

- a line ends at LF, and NUL ends a string: CR, LF and NUL may stand in no header name and no value;
- a line with its CR LF may hold 1,024 bytes and an action 128 lines: what is longer is thrown away;
- white space before a value is skipped, so a value that begins with it would arrive changed.

Messages are parsed with panoramisk's `Message.from_line`, which is given whole blocks only: its own protocol
class decodes each read by itself (a UTF-8 character cut by a read is lost) and strips blocks (a last header
with an empty value is lost).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from panoramisk.message import Message

from controller.errors import NodeRefused, NodeUnreachable, UnsafeValue

GREETING = b"Asterisk Call Manager/"
MAX_LINE_BYTES = 1022
MAX_LINES = 128
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

#: Done twice they do something twice, so they are sent once whatever the caller says about them.
NOT_IDEMPOTENT = frozenset(
    {
        *("originate", "redirect", "hangup", "bridge", "park", "atxfer", "blindtransfer", "cancelatxfer"),
        *("pjsipnotify", "playdtmf", "playmf", "userevent", "messagesend", "sendtext", "agi", "queuelog"),
        *("voicemailmove", "voicemailremove", "voicemailforward", "confbridgekick", "localoptimizeaway"),
        *("mixmonitor", "stopmixmonitor"),
    }
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_BREAKS = re.compile(r"[\r\n\0]")
_RESERVED = frozenset(("action", "actionid"))
_GOOD = frozenset(("Success", "Goodbye", "Follows"))


class OutcomeUnknown(NodeUnreachable):
    """An action that must not be sent twice was sent and not answered: it may or may not have run."""


@dataclass(slots=True)
class Response:
    """What Asterisk answered to one action.

    `fields` are the headers of the answer (a repeated one joined with LF), `events` the list that followed,
    without its closing event, `output` the lines a CLI command printed.
    """

    ok: bool
    message: str
    events: list[dict[str, str]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    def check(self, what: str) -> Response:
        """Itself; NodeRefused naming `what` and Asterisk's words if the answer was an error."""
        if not self.ok:
            raise NodeRefused(f"{what}: Asterisk refused: {self.message or 'no reason given'}")
        return self


def encode(name: str, action_id: str, fields: Mapping[str, str | Sequence[str]]) -> bytes:
    """The bytes of one action. UnsafeValue names the header that cannot be carried."""
    lines = [_line("Action", name), b"ActionID: " + action_id.encode()]
    for header, value in fields.items():
        if not _NAME.fullmatch(header) or header.lower() in _RESERVED:
            raise UnsafeValue(f"AMI action {name!r}: {header!r} cannot be a header name")
        if isinstance(value, str):
            lines.append(_line(header, value))
        else:
            lines.extend(_line(header, one) for one in value)
    if len(lines) > MAX_LINES:
        raise UnsafeValue(f"AMI action {name!r}: {len(lines)} lines, Asterisk takes {MAX_LINES}")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _line(header: str, value: str) -> bytes:
    if _BREAKS.search(value):
        raise UnsafeValue(
            f"AMI header {header}: a value with CR, LF or NUL would start a new line: {value!r}"
        )
    if value and value[0] <= " ":
        raise UnsafeValue(f"AMI header {header}: Asterisk drops the white space that {value!r} begins with")
    try:
        line = f"{header}: {value}".encode()
    except UnicodeEncodeError:
        raise UnsafeValue(f"AMI header {header}: {value!r} is not valid text") from None
    if len(line) > MAX_LINE_BYTES:
        raise UnsafeValue(
            f"AMI header {header}: the line has {len(line)} bytes, Asterisk takes {MAX_LINE_BYTES}"
        )
    return line


class Frames:
    """Bytes in, messages out. `feed` yields each whole message as its headers; `greeting` is set first.

    NodeRefused if the other side does not greet as Asterisk or a message exceeds MAX_MESSAGE_BYTES.
    """

    def __init__(self) -> None:
        self.greeting: str | None = None
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, in order."""
        if self.greeting is None or b"\n" in data:
            data = b"".join((*self._parts, data))
            self._parts.clear()
            self._held = 0
            if self.greeting is None:
                data = self._greet(data)
            *blocks, data = data.split(b"\r\n\r\n")
            for block in blocks:
                message = Message.from_line(block.decode("utf-8", "replace").lstrip("\r\n"))
                if message is not None:
                    yield message
        if data:
            self._parts.append(data)
            self._held += len(data)
            if self._held > MAX_MESSAGE_BYTES:
                raise NodeRefused(f"a message without an end after {self._held} bytes: not an AMI server")

    def _greet(self, data: bytes) -> bytes:
        line, end, rest = data.partition(b"\r\n")
        if not GREETING.startswith(line[: len(GREETING)]) or (not end and len(line) > MAX_LINE_BYTES):
            raise NodeRefused(f"not an AMI server: it greets with {line[:40]!r}")
        if not end:
            return data
        if len(line) < len(GREETING):
            raise NodeRefused(f"not an AMI server: it greets with {line[:40]!r}")
        self.greeting = line.decode("utf-8", "replace")
        return rest


def headers(message: Message) -> dict[str, str]:
    """The headers as a plain dict; a repeated one is joined with LF (no single value can hold one)."""
    return {
        key: value if type(value) is str else "\n".join(value)
        for key, value in message.items()
        if key != "content"  # added by panoramisk, always empty: Asterisk 22 has no bodies
    }


class Answer:
    """One action's answer as it arrives: a response, and for lists the events up to the closing one."""

    __slots__ = ("_listing", "response")

    def __init__(self) -> None:
        self.response: Response | None = None
        self._listing = False

    def add(self, message: Message) -> bool | None:
        """True: complete; False: more is to come; None: no part of the answer, an event about the action."""
        if "event" not in message:
            fields = headers(message)
            self.response = Response(
                ok=fields.get("Response") in _GOOD, message=fields.get("Message", ""), fields=fields
            )
            if "Output" in fields:
                self.response.output = fields.pop("Output").split("\n")
            self._listing = message.get("eventlist", "").lower() == "start"
            return not self._listing
        if not self._listing or self.response is None:
            return None
        if "eventlist" in message:
            if message["eventlist"].lower() != "complete":
                self.response.ok = False
                self.response.message = f"the list ended with {message['eventlist']}"
            return True
        self.response.events.append(headers(message))
        return False
