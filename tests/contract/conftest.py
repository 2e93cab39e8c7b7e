"""Every server of the suite: our doubles, and the real ones in containers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.agent.edge import Edge
from controller.agent.media import Media
from controller.agent.server import Server
from controller.agent.state import State
from controller.errors import NodeUnreachable
from controller.wire.ami import Ami
from controller.wire.files import Directory
from controller.wire.jsonrpc import JsonRpc
from tests.contract.asterisk.files import FILES
from tests.contract.fake_asterisk import FakeAsterisk
from tests.contract.fake_kamailio import FakeKamailio
from tests.images import server_image

TABLES = tuple(table for table in Edge.tables if table != "registration")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass
class Place:
    """A server with its state file, and ways to treat it badly. `locked`: the same server by a wrong AMI secret."""

    server: Server
    state: State
    restart: Callable[[], None]
    files: Path
    by_hand: Callable[[str], object]
    fake: FakeKamailio | FakeAsterisk | None = None
    locked: Callable[[], Server] | None = None


def image(kind: str) -> str:
    """The image of a real server; without one the test is skipped."""
    found = server_image(kind)
    if found is None:
        pytest.skip(f"no Docker, or no image of {kind} (`make stack` builds it)")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a Unix socket's path holds 107 bytes.
    path = Path(f"/tmp/dpc-{uuid.uuid4().hex[:8]}")
    path.mkdir()
    path.chmod(0o777)
    (path / "files").mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def real_kamailio(folder: Path, image: str, tables: str | None = None) -> str:
    name = f"D-kamailio-{folder.name}"
    text = (Path(__file__).parent / "kamailio" / "kamailio.cfg").read_text()
    lines = tables or "\n".join(
        f'modparam("htable", "htable", "{t}=>size=8;dbtable=ht_{t};")' for t in TABLES
    )
    (folder / "kamailio.cfg").write_text(text.replace("@DIR@", str(folder)).replace("@TABLES@", lines))
    docker(
        "run", "-d", "--name", name, "--network", "none", "-v", f"{folder}:{folder}", "--entrypoint", "kamailio", image,
        "-DD", "-E", "-m", "1024", "-M", "64", "-f", f"{folder}/kamailio.cfg",
    )  # fmt: skip
    until(lambda: _answers(folder))
    return name


def _answers(folder: Path) -> bool:
    rpc = JsonRpc(folder / "kamailio.sock", timeout_s=0.2)
    try:
        rpc.call("core.uptime")
    except NodeUnreachable:
        return False
    finally:
        rpc.close()
    return True


def real_asterisk(folder: Path, image: str) -> str:
    name = f"D-asterisk-{folder.name}"
    etc = folder / "etc"
    etc.mkdir()
    for path, content in FILES.items():
        (etc / path).write_text(content.replace("@DIR@", str(folder)))
    docker(
        "run", "-d", "--name", name, "-v", f"{folder}:{folder}", "-v", f"{etc}:/etc/asterisk",
        "--entrypoint", "asterisk", image, "-f", "-C", "/etc/asterisk/asterisk.conf",
    )  # fmt: skip
    _booted(name)
    return name


def _reachable(host: str, port: int) -> bool:
    """A new container's address answers a moment after the container runs."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _booted(name: str) -> None:
    command = ["docker", "exec", name, "asterisk", "-rx", "core waitfullybooted"]
    until(lambda: b"booted" in subprocess.run(command, capture_output=True, check=False, timeout=60).stdout)


@pytest.fixture(params=["fake", "real"])
async def edge(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Place]:
    state = State(folder / "state.db")
    rpc = JsonRpc(folder / "kamailio.sock")
    fake, name = None, ""
    if request.param == "fake":
        fake = FakeKamailio(folder / "kamailio.sock", TABLES)
        fake.start()
        restart = fake.restart
    else:
        name = real_kamailio(folder, image("edge"))

        def restart() -> None:
            docker("restart", "-t", "1", name)
            until(lambda: _answers(folder))

    def by_hand(text: str) -> None:
        method, *params = text.split()
        other = JsonRpc(folder / "kamailio.sock")
        other.call(method, *params)
        other.close()

    server = Edge(rpc, state)
    yield Place(server, state, restart, folder / "files", by_hand, fake)
    await server.close()
    state.close()
    if fake is not None:
        fake.stop()
    else:
        docker("rm", "-f", name)


@pytest.fixture(params=["fake", "real"])
async def media(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Place]:
    state = State(folder / "state.db")
    (folder / "state.db").chmod(0o666)
    files = Directory(folder / "files")
    if request.param == "fake":
        fake = FakeAsterisk(state)
        server = Media(fake, state, files)

        locked = FakeAsterisk(state)
        locked.refuses = True
        yield Place(
            server, state, fake.restart, files.root, fake.console, fake, lambda: Media(locked, state, files)
        )
        state.close()
        return
    name = real_asterisk(folder, image("media"))
    host = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
    until(lambda: _reachable(host, 5038))
    ami = Ami(host, 5038, "agent", "contract", events="system", backoff_s=(0.05, 0.2))

    def restart_real() -> None:
        docker("restart", "-t", "2", name)
        _booted(name)

    real = Media(ami, state, files)
    yield Place(
        real,
        state,
        restart_real,
        files.root,
        lambda text: print(docker("exec", name, "asterisk", "-rx", text)),
        locked=lambda: Media(Ami(host, 5038, "agent", "of another installation"), state, files),
    )
    await real.close()
    state.close()
    docker("rm", "-f", name)


async def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions of all sorts, in tests
            await asyncio.sleep(0.005)
