"""`dialplane agi serve` as a process, asked by `dialplane agi try`, stopped as systemd stops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.agent.settings import Settings
from controller.agi import run
from controller.cli import main
from controller.entries import Kind
from controller.queues.desk import Desk
from controller.wire.agi_caller import request
from tests.unit.agi.place import filled, stage

ROOT = Path(__file__).parents[3]


class Resident:
    """The process, and its log."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        own = {
            "DIALPLANE_STATE": str(folder),
            "DIALPLANE_DATABASE": "host=127.0.0.1 port=1",
            "DIALPLANE_KIND": "media",
        }
        command = [sys.executable, "-c", "from controller.cli import main; main()", "agi", "serve"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, **own},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self.until("listening on")

    def until(self, words: str) -> None:
        """Read the log until it says so."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if words in line:
                return
        raise AssertionError("".join(self.log))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=60)
        self.log.append(rest)
        return self.process.returncode


@pytest.fixture
def resident(tmp_path: Path) -> Iterator[Resident]:
    state = filled(tmp_path / "state.db")
    stage(state, 2, policy__main={"otherwise": "busy", "rules": [
        {"position": 1, "if": {"header": ["X-Campaign", "spring"]}, "do": {"action": "group", "target": "sales"}},
    ]})  # fmt: skip
    state.close()
    running = Resident(tmp_path)
    yield running
    if running.process.poll() is None:
        running.stop()


def asked(resident: Resident, *words: str) -> Result:
    return CliRunner().invoke(main, ["agi", "try", *words, "--account", "acme", "--port", str(resident.port)])


def test_a_decision_is_asked_for_and_printed(resident: Resident) -> None:
    done = asked(resident, "group", "sales", "--caller", "+4930123456")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "  ring bob for 15 s: group sales: in order"
    assert "1. dp-legs,s,1(bob@acme.example,15,)" in done.stdout
    assert "PostgreSQL" not in done.stdout


def test_headers_are_given_by_option(resident: Resident) -> None:
    done = asked(resident, "policy", "main", "--header", "x-campaign=spring", "--format", "json")
    assert json.loads(done.stdout)["program"] == ["dp-next,s,1(group:sales,20)"]
    assert json.loads(asked(resident, "policy", "main", "--format", "json").stdout)["program"] == [
        "dp-next,s,1(busy,20)"
    ]


def test_no_decision_ends_with_1_and_the_reason(resident: Resident) -> None:
    done = asked(resident, "group", "nobody")
    assert done.exit_code == 1
    assert "account acme has no group nobody" in done.stdout


def test_it_stops_when_told_after_the_open_call_is_answered(resident: Resident) -> None:
    block = request("decide", ("group", "sales", "acme", "call-1"))
    with socket.create_connection(("127.0.0.1", resident.port), timeout=60) as call:
        call.sendall(block[:30])
        # It has taken the call when it answers one that came later.
        assert asked(resident, "group", "sales").exit_code == 0
        resident.process.send_signal(signal.SIGTERM)
        resident.until("open sessions end first")
        call.sendall(block[30:] + b"200 result=1\n" * 20)
        said = b""
        while data := call.recv(4096):
            said += data
        assert b"SET VARIABLE DP_STEPS 3\n" in said
    assert resident.process.wait(timeout=60) == 0
    done = asked(resident, "group", "sales")
    assert done.exit_code == 1
    assert "is `dialplane agi serve` running?" in done.stderr


def test_a_database_that_is_away_is_told_once(resident: Resident) -> None:
    resident.until("turns of groups are remembered by this process alone")
    time.sleep(1)  # long enough for two more attempts
    assert resident.stop() == 0
    assert "".join(resident.log).count("remembered by this process alone") == 1


def test_a_task_that_ends_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers of queues would hear music for ever; systemd starts it anew, and their dialplan asks again."""
    filled(tmp_path / "state.db").close()

    async def defect(desk: Desk) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(Desk, "_claim", defect)
    settings = Settings("media1", Kind.MEDIA, "host=127.0.0.1 port=1", tmp_path)

    async def go() -> None:
        async with asyncio.timeout(20):
            await run(settings, 0)

    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(go())
    assert ended.value.subgroup(ValueError) is not None
