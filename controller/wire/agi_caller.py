"""The other side of FastAGI: asks a server as Asterisk does. For `dialplane agi try`, health checks and tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from controller.errors import NodeRefused, NodeUnreachable, UnsafeValue
from controller.wire.agi import REQUEST_BYTES


class Answer(NamedTuple):
    """What the server did: variables it set, in order, and expressions it asked for."""

    variables: dict[str, str]
    asked: tuple[str, ...]


def request(script: str, arguments: Sequence[str]) -> bytes:
    """The lines with which Asterisk begins. UnsafeValue: an argument with a line feed."""
    lines = ["agi_network: yes", f"agi_network_script: {script}", f"agi_request: agi://127.0.0.1/{script}"]
    lines += [f"agi_arg_{number}: {argument}" for number, argument in enumerate(arguments, 1)]
    if any("\n" in line for line in lines):
        raise UnsafeValue("an argument of AGI() with a line feed would be two lines")
    return "".join(f"{line}\n" for line in (*lines, "")).encode()


def words(line: str) -> list[str]:
    """A command line as Asterisk takes it apart."""
    found: list[str] = []
    quoted = escaped = inside = False
    for letter in line:
        if not escaped and letter == "\\":
            escaped = True
            continue
        if not escaped and not quoted and letter in " \t":
            inside = False
            continue
        if not inside:
            found.append("")
            inside = True
        if letter == '"' and not escaped:
            quoted = not quoted
        else:
            found[-1] += letter
        escaped = False
    return found


async def ask(
    host: str,
    port: int,
    script: str,
    arguments: Sequence[str],
    *,
    evaluate: Callable[[str], str] = lambda _: "",
    timeout_s: float = 3,
) -> Answer:
    """One exchange, until the server ends it. `evaluate` answers GET FULL VARIABLE.

    NodeUnreachable: nobody listens, no end in time, or the server ended it without a command. NodeRefused: it sent
    what Asterisk would not take.
    """
    where = f"AGI server at {host}:{port}"
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _exchange(host, port, request(script, arguments), evaluate, where)
    except TimeoutError:
        raise NodeUnreachable(f"{where}: no answer in {timeout_s:g} s") from None
    except OSError as error:
        raise NodeUnreachable(
            f"{where}: {error.strerror or error}; is `dialplane agi serve` running?"
        ) from None
    if not answer.variables and not answer.asked:
        raise NodeUnreachable(f"{where}: it ended the exchange without a word; its log says why")
    return answer


async def _exchange(host: str, port: int, block: bytes, evaluate: Callable[[str], str], where: str) -> Answer:
    reader, writer = await asyncio.open_connection(host, port, limit=REQUEST_BYTES)
    variables: dict[str, str] = {}
    asked: list[str] = []
    try:
        writer.write(block)
        while line := (await reader.readline()).decode():
            match words(line.rstrip("\n")):
                case ["SET", "VARIABLE", name, value]:
                    variables[name] = value
                    writer.write(b"200 result=1\n")
                case ["GET", "FULL", "VARIABLE", expression]:
                    asked.append(expression)
                    writer.write(f"200 result=1 ({evaluate(expression)})\n".encode())
                case _:
                    raise NodeRefused(
                        f"{where}: sent {line.strip()[:80]!r}, which is no command of a decision"
                    )
        return Answer(variables, tuple(asked))
    finally:
        writer.close()
