"""What `wire/agi.py` says of res_agi holds on a real Asterisk: quoting, many commands at once, an early end."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.wire.agi import COMMAND_BYTES, REQUEST_BYTES, Broken, Request, Session
from controller.wire.agi_held import HeldCall
from tests.images import server_image

_EXTENSIONS = """
[calls]
exten => keys,1,Answer()
 same => n,AGI(agi://{host}:{port}/keys)
exten => _[a-z]!,1,Set(given=two "words", a \\\\ and ${{QUOTE}})
 same => n,AGI(agi://{host}:{port}/${{EXTEN}},group,sales,,${{given}},last)
 same => n,AGI(agi://{host}:{port}/look)
 same => n,Wait(20)

[pause]
exten => s,1,Wait(${{ARG1}})
 same => n,Return(${{ARG1}} and "${{ARG2}}")
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
            "app_stack",
            "res_musiconhold",
            "app_senddtmf",
            "codec_gsm",
            "codec_ulaw",
            "format_gsm",
            "func_channel",
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


# ----------------------------------------------------------------------------------------------------- calls that stay


async def test_a_sound_ends_with_the_next_command_wherever_it_is(place: Place) -> None:
    place.call("decide")
    session, _ = await place.next()
    held = HeldCall.of(session)
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()
    # At once (the commands may share a packet), in the middle, and about where it ends by itself (0.88 s).
    for delay_s in (0, 0.01, 0.5, 0.88):
        wake.clear()
        timer = loop.call_later(delay_s, wake.set)
        assert await held.play("vm-goodbye", wake) == ""
        timer.cancel()
        assert await held.full_variable(f"say {delay_s}") == f"say {delay_s}"
    wake.clear()
    began = loop.time()
    assert await held.play("vm-goodbye", wake) == ""
    assert loop.time() - began > 0.5, "played to its end"
    assert await held.play("not-there", wake) == ""
    # A sound after one that was interrupted.
    wake.set()
    await held.play("vm-goodbye", wake)
    wake.clear()
    assert await held.play("vm-goodbye", wake) == ""
    assert await held.full_variable("done") == "done"
    await held.finish([("SET", "VARIABLE", "A", "1")])


async def test_a_wait_for_keys_ends_with_the_next_command(place: Place) -> None:
    place.call("decide")
    session, _ = await place.next()
    held = HeldCall.of(session)
    wake = asyncio.Event()
    for delay_s in (0, 0.01, 0.1, 0.3):
        wake.clear()
        asyncio.get_running_loop().call_later(delay_s, wake.set)
        assert await held.rest(5, wake, keys=True) == ""
        assert await held.full_variable(f"say {delay_s}") == f"say {delay_s}"
    wake.clear()
    assert await held.rest(0.2, wake, keys=True) == ""
    assert await held.rest(0.2, wake) == ""
    assert await held.full_variable("done") == "done"
    await held.finish([("SET", "VARIABLE", "A", "1")])


async def test_a_gosub_takes_its_time_and_says_what_it_returned(place: Place) -> None:
    place.call("decide")
    session, _ = await place.next()
    held = HeldCall.of(session)
    wake = asyncio.Event()
    wake.set()
    await held.play("vm-goodbye", wake)
    assert await held.gosub("pause", "2", "silent") == '2 and "silent"'
    assert await held.run("SET", "MUSIC", "ON") is not None
    place.hang_up()
    with pytest.raises(Broken) as gone:
        await held.rest(20, asyncio.Event())
    assert gone.value.kind in ("hangup", "closed")
