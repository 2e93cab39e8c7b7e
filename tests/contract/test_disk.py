"""A full disk, a real one: the agent's state file and the spool of call events on a file system of two megabytes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agent.state import State
from controller.calls.service import CallService
from controller.errors import StateError
from tests.contract.conftest import Place, eventually
from tests.contract.control import Control
from tests.contract.test_agent import Running, cluster, control, edge_agent

__all__ = ["cluster", "control", "edge_agent"]  # fixtures

MANY = 2000


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where `edge` keeps its state: a file system of its own."""
    path = Path(f"/tmp/dpc-{uuid.uuid4().hex[:8]}")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        path.rmdir()
        pytest.skip(f"a small file system needs root: {done.stderr.strip()}")
    (path / "files").mkdir()
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


def fill(folder: Path) -> Path:
    """Until nothing more fits."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(OSError, match=r"No space left") as refused:
        (folder / "one-more").write_bytes(b"x")
    assert refused.value.errno == errno.ENOSPC
    (folder / "one-more").unlink()
    return filler


def held(folder: Path) -> tuple[str, int, int]:
    """The state file as a server that starts now reads it: integrity, credentials, and the agent's revision."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/state.db?mode=ro", uri=True)) as base:
        [(whole,)] = base.execute("PRAGMA integrity_check")
        [(count,)] = base.execute("SELECT count(*) FROM ht_credential")
        [(revision,)] = base.execute("SELECT value FROM meta WHERE name = 'held'")
    return str(whole), int(count), int(revision)


async def test_a_state_file_on_a_full_disk_keeps_its_last_good_state(
    edge_agent: Running, edge: Place, folder: Path, control: Control
) -> None:
    first = control.publish(
        "edge", [("credential", "a@b", "account=acme"), ("account", "acme", "cluster=c1")]
    )
    edge_agent.start()
    await edge_agent.live(first)
    filler = fill(folder)
    many = [("credential", f"p{n}@b", f"account=acme;{'x' * 200}") for n in range(MANY)]
    second = control.publish("edge", [("account", "acme", "cluster=c2"), *many])
    await eventually(lambda: "full" in (control.state("edge1")["last_error"] or ""))
    state = control.state("edge1")
    assert f"{folder}/state.db" in state["last_error"]
    assert "Make room" in state["last_error"]
    assert state["revision"] == first
    # It is there, says so, and what is held is what was held.
    await eventually(lambda: control.state("edge1")["heard_at"] > state["heard_at"])
    assert held(folder) == ("ok", 1, first)
    assert await edge.server.read("account", ["acme"]) == {"acme": "cluster=c1"}
    assert await edge.server.read("credential", ["a@b", "p1@b"]) == {"a@b": "account=acme", "p1@b": None}
    filler.unlink()
    after = await edge_agent.live(second)
    assert after["last_error"] is None
    assert held(folder) == ("ok", MANY + 1, second)
    assert await edge.server.read("account", ["acme"]) == {"acme": "cluster=c2"}


@pytest.mark.parametrize("edge", ["fake"], indirect=True)
async def test_an_agent_that_starts_on_a_full_disk_says_what_to_do(edge: Place, folder: Path) -> None:
    edge.state.load([("credential", "a@b", "account=acme")], 1)
    edge.state.close()
    filler = fill(folder)
    with pytest.raises(StateError, match=r"state\.db: .*Make room on its disk"):
        State(folder / "state.db")
    filler.unlink()
    assert held(folder) == ("ok", 1, 1)


async def test_call_events_on_a_full_disk_are_shipped_all_the_same(
    folder: Path,
    control: Control,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was written is shipped once, whatever could not be noted; a torn line costs itself only."""

    def line(n: int) -> bytes:
        # In the order of kamailio/events.cfg.
        stamp = 1_790_000_000_000 + n
        return f'{{"ts":{stamp},"event":"start","status":0,"id":"1:{n}","call":"c{n}","leg":"in"}}\n'.encode()

    def shipped() -> list[int]:
        rows = control.connection.execute(
            "SELECT call_id FROM control.call_events WHERE event = 'start' ORDER BY at"
        ).fetchall()
        return [int(row[0][1:]) for row in rows]

    monkeypatch.setattr("controller.calls.spool.READ_BYTES", 20_000)
    path = folder / "edge_1.jsonl"
    count = 0
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        filler = folder / "filler"
        filler.write_bytes(b"x" * 2_000_000)
        while file.write(line(count)) == len(line(count)):
            count += 1
    fill(folder)
    assert count > 500
    assert not path.read_bytes().endswith(b"\n"), "the last line is torn"
    service = CallService(node="edge1", dsn=control.url, spool=folder, state=folder, ship_interval_s=0.05)
    running = asyncio.create_task(service.run())
    try:
        await eventually(lambda: len(shipped()) == count, 60)
        assert "spool.new" in caplog.text
        assert "No space left on device; make room there" in caplog.text
        assert not (folder / "spool.json").exists()
        filler.unlink()
        with path.open("ab") as more:
            more.write(line(count))
        await eventually(lambda: len(shipped()) == count + 1)
        await eventually((folder / "spool.json").exists)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert shipped() == list(range(count + 1))
    bad = control.connection.execute(
        "SELECT detail FROM control.call_events WHERE event = 'bad_line'"
    ).fetchall()
    assert len(bad) == 1
