"""The two servers of the suite: our fake, and a real Asterisk in a container."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controller.wire.ami import Ami
from tests.contract_ami.fake_ami import FakeAmi
from tests.images import server_image

CONFIG = Path(__file__).parent / "asterisk"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def image(kind: str) -> str:
    """The image of a real server; without one the test is skipped."""
    found = server_image(kind)
    if found is None:
        pytest.skip(f"no Docker, or no image of {kind} (`make stack` builds it)")
    return found


class RealAsterisk:
    """One Asterisk with the configuration beside this file."""

    def __init__(self, image: str) -> None:
        self.name = f"e_asterisk_{uuid.uuid4().hex[:8]}"
        docker(
            "run", "-d", "--name", self.name, "-v", f"{CONFIG}:/etc/asterisk:ro", "--entrypoint", "asterisk", image,
            "-f", "-C", "/etc/asterisk/asterisk.conf",
        )  # fmt: skip
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            done = subprocess.run(
                ["docker", "exec", self.name, "asterisk", "-rx", "core waitfullybooted"],
                capture_output=True, check=False, timeout=60,
            )  # fmt: skip
            if b"fully booted" in done.stdout:
                self.host = docker(
                    "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name
                )
                return
            time.sleep(0.2)
        raise RuntimeError(docker("logs", self.name))

    def cli(self, command: str) -> str:
        return docker("exec", self.name, "asterisk", "-rx", command)

    def remove(self) -> None:
        docker("rm", "-f", self.name)


@pytest.fixture(scope="session")
def asterisk() -> Iterator[RealAsterisk]:
    server = RealAsterisk(image("media"))
    yield server
    server.remove()


@pytest.fixture
async def fake() -> AsyncIterator[FakeAmi]:
    server = FakeAmi()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Host and port of each server in turn."""
    if request.param == "fake":
        return "127.0.0.1", request.getfixturevalue("fake").port
    return request.getfixturevalue("asterisk").host, 5038


@pytest.fixture
async def ami(place: tuple[str, int]) -> AsyncIterator[Ami]:
    client = Ami(*place, "dialplane", "contract", backoff_s=(0.05, 0.2))
    await client.connect()
    yield client
    await client.close()


async def until(condition: object, timeout_s: float = 5) -> None:
    """Wait until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
