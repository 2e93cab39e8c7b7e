"""What `wire/agi.py` says of res_agi holds on a real Asterisk: quoting, many commands at once, an early end."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.wire.agi import COMMAND_BYTES, REQUEST_BYTES, Broken, Request, Session
from tests.images import server_image

_EXTENSIONS = """
[calls]
exten => _[a-z]!,1,Set(given=two "words", a \\\\ and ${{QUOTE}})
 same => n,AGI(agi://{host}:{port}/${{EXTEN}},group,sales,,${{given}},last)
 same => n,AGI(agi://{host}:{port}/look)
 same => n,Wait(20)
"""
_FILES = {
    "asterisk.conf": "[options]\nverbose = 0\n",
    "modules.conf": "[modules]\nautoload = no\n"
    + "".join(
        f"load = {one}.so\n"
        for one in (
            "pbx_config",
            "res_speech",
            "res_agi",
            "res_clioriginate",
            "bridge_simple",
            "res_timing_timerfd",
        )
    ),
    "logger.conf": "[logfiles]\nconsole = warning,error\n",
}
VALUES = ('a "b" c', "a\\", '\\"', "", " ", "a\tb", "ä→", "'", "a,b;c|d", "dp-legs,s,1(a@b.example&c@b.example~5,25,s)",
          "x" * (COMMAND_BYTES - len(b"SET VARIABLE DP_11 ")))  # fmt: skip


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"docker {arguments[0]}: {done.stderr.strip()}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    found = server_image("media")
    if found is None:
        pytest.skip("no Docker, or no image of media (`make stack` builds it)")
    return found


@pytest.fixture(scope="module")
def gateway(image: str) -> str:
    """This machine as a container sees it."""
    return docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}") or "172.17.0.1"


class Place:
    """A listener of this test, and an Asterisk that calls it."""

    def __init__(self) -> None:
        self.name = f"e_agi_{uuid.uuid4().hex[:8]}"
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.closed: dict[Session, asyncio.Event] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, deadline_s=60)
        self.closed[session] = asyncio.Event()
        await self.sessions.put(session)
        await self.closed[session].wait()
        writer.close()

    async def next(self) -> tuple[Session, Request]:
        async with asyncio.timeout(60):
            session = await self.sessions.get()
            return session, await session.request()

    def call(self, script: str) -> None:
        docker(
            "exec",
            self.name,
            "asterisk",
            "-rx",
            f"channel originate Local/{script}@calls application Wait 20",
        )

    def hang_up(self) -> None:
        docker("exec", self.name, "asterisk", "-rx", "channel request hangup all")


@pytest.fixture
async def place(tmp_path: Path, image: str, gateway: str) -> AsyncIterator[Place]:
    made = Place()
    server = await asyncio.start_server(made.serve, gateway, 0, limit=REQUEST_BYTES)
    port = server.sockets[0].getsockname()[1]
    for name, content in {**_FILES, "extensions.conf": _EXTENSIONS.format(host=gateway, port=port)}.items():
        (tmp_path / name).write_text(content)
    docker("run", "-d", "--name", made.name, "-v", f"{tmp_path}:/etc/asterisk:ro", "--entrypoint", "asterisk", image,
           "-f", "-C", "/etc/asterisk/asterisk.conf")  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while "fully booted" not in await asyncio.to_thread(_booted, made.name):  # noqa: ASYNC110 - a program
                await asyncio.sleep(0.2)
        yield made
    finally:
        for event in made.closed.values():
            event.set()
        server.close()
        await asyncio.to_thread(docker, "rm", "-f", made.name)


def _booted(name: str) -> str:
    command = ["docker", "exec", name, "asterisk", "-rx", "core waitfullybooted"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


async def test_all_commands_at_once_arrive_whole_and_in_order(place: Place) -> None:
    place.call("decide")
    session, request = await place.next()
    assert request.script == "decide"
    assert request.arguments[:3] == ("group", "sales", "")
    assert request.arguments[-1] == "last"
    commands = [("SET", "VARIABLE", f"DP_{n}", value) for n, value in enumerate(VALUES, 1)]
    many = [("SET", "VARIABLE", f"DP_MANY_{n}", f"value {n}") for n in range(200)]
    await session.finish([*commands, *many])
    place.closed[session].set()
    session, _ = await place.next()
    for n, value in enumerate(VALUES, 1):
        got = await session.full_variable(f"${{DP_{n}}}")
        assert got == value, n
    assert await session.full_variable("${DP_MANY_199}") == "value 199"
    reply = await session.command("GET", "VARIABLE", "DP_1")
    assert reply == ("1", VALUES[0])


async def test_what_asterisk_refuses_is_said(place: Place) -> None:
    place.call("decide")
    session, _ = await place.next()
    with pytest.raises(Broken, match="510"):
        await session.command("NONSENSE")
    with pytest.raises(Broken, match="refused"):
        await session.command("SET", "VARIABLE", "ONE")
    # The usage was read to its end: the next reply is the next command's.
    assert await session.full_variable("a${DP_NOT_SET}b") == "ab"


async def test_a_caller_who_hangs_up_is_told(place: Place) -> None:
    place.call("decide")
    session, _ = await place.next()
    place.hang_up()
    with pytest.raises(Broken, match="hung up"):
        await session._reply()
