"""FastAGI as bytes and deadlines: what Asterisk sends of a call, commands to it, its replies. No policy.

    session = Session(reader, writer, deadline_s=2)     # streams of a listener with limit=REQUEST_BYTES
    request = await session.request()
    value = await session.full_variable("${PJSIP_HEADER(read,Subject)}")
    await session.finish([("SET", "VARIABLE", "A", "1"), ("SET", "VARIABLE", "B", "2")])

What Asterisk 22 does (`res/res_agi.c`), and what follows:

- a request is lines `agi_name: value`, then an empty one; values stand there as they are, so a line feed in one makes
  lines of its own: a name that comes twice is refused;
- a command is one line. Quotes make one word of white space, a backslash makes the next character literal, in quotes
  and outside; a line feed ends the line and cannot be escaped, NUL hides the rest: both are refused (and CR);
- a line of 8,191 bytes or more becomes two commands, words beyond 127 are dropped: both are refused;
- lines are read through a buffer, but waited for on the socket: a second command in one packet waits until the next
  packet or the end of what we send. So `finish` sends all there is and then ends its direction;
- a caller that hangs up shows as a line HANGUP anywhere between replies; it also comes when Asterisk is done.

Every failure is a Broken, whose `kind` counts it; no wait is longer than the deadline of the whole session.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from controller.errors import NodeError, UnsafeValue

REQUEST_BYTES = 16 * 1024
REQUEST_LINES = 200
COMMAND_BYTES = 8190
COMMAND_WORDS = 127
USAGE_LINES = 100

# kind -> what happened. `silent`: nothing was ever sent, as a look whether the port is open does.
KINDS: Mapping[str, str] = {
    "silent": "connected and closed without a word",
    "closed": "closed before the exchange was over",
    "slow": "not done within the deadline",
    "long": "a request or reply longer than any Asterisk sends",
    "garbage": "not AGI",
    "hangup": "the caller hung up meanwhile",
    "refused": "Asterisk refused a command",
}

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
_FORBIDDEN = re.compile(r"[\0\r\n]")
_SPECIAL = re.compile(r'[\\"]')
_REPLY = re.compile(r"(\d{3})([ -])(?:result=(-?\w*))?\s*(.*)", re.S)
_OK, _USAGE = 200, 520


class Broken(NodeError):
    """An exchange that cannot go on; `kind` is one of KINDS."""

    def __init__(self, kind: str, detail: str = "") -> None:
        self.kind = kind
        super().__init__(f"{kind}: {KINDS[kind]}{f': {detail}' if detail else ''}")


class Request(NamedTuple):
    """What Asterisk says first: `variables` without `agi_`, `arguments` of AGI() in order."""

    variables: Mapping[str, str]
    arguments: tuple[str, ...]

    @property
    def script(self) -> str:
        """Path of the address that was called, `decide` in agi://host/decide."""
        return self.variables.get("network_script", "")


class Reply(NamedTuple):
    """`result` as Asterisk writes it, mostly a number; `value` what stands in brackets after it."""

    result: str
    value: str


def encode(words: Sequence[str]) -> bytes:
    """One command line. UnsafeValue: it would arrive changed, as two commands, or cut off."""
    if not words or len(words) > COMMAND_WORDS:
        raise UnsafeValue(f"AGI command of {len(words)} words: 1 to {COMMAND_WORDS} can be sent")
    for word in words:
        if _FORBIDDEN.search(word):
            raise UnsafeValue(
                f"AGI {' '.join(words)[:60]!r}: NUL, CR and LF cannot be carried in {word[:60]!r}"
            )
    line = " ".join(word if _PLAIN.fullmatch(word) else f'"{_SPECIAL.sub(_escape, word)}"' for word in words)
    data = line.encode(errors="replace")
    if len(data) > COMMAND_BYTES:
        raise UnsafeValue(f"AGI {line[:60]!r}...: {len(data)} bytes, a line has at most {COMMAND_BYTES}")
    return data + b"\n"


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def parse_request(block: bytes) -> Request:
    """The lines before the empty one. Broken(garbage, long): they are no request."""
    lines = block.decode(errors="replace").rstrip("\n").split("\n")
    if len(lines) > REQUEST_LINES:
        raise Broken("long", f"{len(lines)} lines")
    variables: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon or not name.startswith("agi_"):
            raise Broken("garbage", f"line {line[:60]!r}")
        if name in variables:
            raise Broken("garbage", f"{name} stands there twice")
        variables[name] = value
    arguments: list[str] = []
    while (argument := variables.pop(f"agi_arg_{len(arguments) + 1}", None)) is not None:
        arguments.append(argument)
    return Request({name.removeprefix("agi_"): value for name, value in variables.items()}, tuple(arguments))


class Session:
    """One exchange. The deadline runs from the making of this object."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        deadline_s: float,
        limit: asyncio.Timeout | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._deadline_s = deadline_s
        self._until: float | None = asyncio.get_running_loop().time() + deadline_s

    def keep(self) -> None:
        """The exchange may take as long as its call: the server's own deadline (`limit`) is off."""
        if self._limit is not None:
            self._limit.reschedule(None)

    async def request(self) -> Request:
        """What Asterisk says of the call."""
        return parse_request(await self._read(b"\n\n", "silent"))

    async def command(self, *words: str) -> Reply:
        """Send one command and wait for its reply. UnsafeValue: nothing was sent."""
        self._writer.write(encode(words))
        return await self._reply()

    async def full_variable(self, expression: str) -> str:
        """An expression with `${}` as the call's channel evaluates it; a variable that is not set is empty."""
        return (await self.command("GET", "FULL", "VARIABLE", expression)).value

    async def finish(self, commands: Sequence[Sequence[str]]) -> None:
        """Send all commands at once, and wait until each is done. Nothing can be sent afterwards.

        UnsafeValue: one of them cannot be carried, and nothing was sent.
        """
        self._writer.write(b"".join(map(encode, commands)))
        with _named(self._deadline_s, "closed"):
            self._writer.write_eof()
        for _ in commands:
            await self._reply()

    async def _reply(self) -> Reply:
        return await self._parsed(await self._line())

    async def _parsed(self, line: str) -> Reply:
        found = _REPLY.fullmatch(line)
        if found is None:
            raise Broken("hangup") if line == "HANGUP" else Broken("garbage", f"reply {line[:60]!r}")
        code, more, result, rest = int(found[1]), found[2], found[3] or "", found[4]
        if code == _OK:
            if rest.startswith("(") and not rest.endswith(")"):
                raise Broken("garbage", "a value of more than one line")
            return Reply(result, rest[1:-1] if rest.startswith("(") else rest)
        if code == _USAGE and more == "-":
            rest = await self._usage()
        raise Broken("refused", f"{code} {rest}".strip())

    async def _usage(self) -> str:
        """Asterisk's help for a command it was given wrongly: the first line of it that says something."""
        said = ""
        for _ in range(USAGE_LINES):
            line = await self._line()
            if line.startswith(f"{_USAGE} "):
                return said
            said = said or line.strip()
        raise Broken("long", f"usage of more than {USAGE_LINES} lines")

    async def _line(self) -> str:
        return (await self._read(b"\n")).decode(errors="replace").rstrip("\n")

    async def _read(self, end: bytes, nothing: str = "closed") -> bytes:
        with _named(self._deadline_s, nothing):
            async with asyncio.timeout_at(self._until):
                return await self._reader.readuntil(end)


@contextmanager
def _named(deadline_s: float, nothing: str) -> Iterator[None]:
    """What the streams raise, as Broken; kind `nothing` where they end before a first byte."""
    try:
        yield
    except asyncio.IncompleteReadError as error:
        raise Broken("closed" if error.partial else nothing) from None
    except asyncio.LimitOverrunError:
        raise Broken("long", f"more than {REQUEST_BYTES} bytes") from None
    except TimeoutError:
        raise Broken("slow", f"{deadline_s:g} s") from None
    except OSError as error:
        raise Broken("closed", error.strerror or type(error).__name__) from None
