"""The whole agent: real schema, doubles and real servers, and everything that may go wrong in between."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.agent.loop import Agent
from controller.agent.settings import Settings
from controller.agent.state import State
from controller.agent.store import Store
from controller.cli.doctor import examine
from controller.entries import Kind
from controller.schema.database import embedded
from controller.wire.files import fingerprints
from tests.contract.conftest import Place, eventually
from tests.contract.control import Control, made

KEY = "account-acme/101"


@pytest.fixture(scope="session")
def cluster() -> str:
    folder = Path(tempfile.mkdtemp(prefix="dpc-pg-"))
    folder.chmod(0o755)  # the embedded server runs as a user of its own
    # It stops at exit, and exit handlers run last first: the folder goes after it.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return embedded(folder / "data")


@pytest.fixture
def control(cluster: str) -> Iterator[Control]:
    name = f"a{uuid.uuid4().hex[:8]}"
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = cluster.replace("/postgres?", f"/{name}?")
    assert name in url
    made(url)
    control = Control(url)
    yield control
    control.connection.close()


class Running:
    """An agent beside a place, which can be killed and started again."""

    def __init__(self, place: Place, control: Control, base: tuple[Path, ...] = ()) -> None:
        kind = Kind(place.server.kind)
        self.node = f"{kind}1"
        # With the rights of an agent and no others.
        url = control.url + ("&" if "?" in control.url else "?") + "options=-c%20role%3Ddialplane_agent"
        self.settings = Settings(
            self.node,
            kind,
            url,
            place.state.path.parent,
            files=place.files,
            base_files=base,
            verify_interval_s=600,
        )
        self.place, self.control = place, control
        self.agent: Agent
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        store = Store(self.settings.database, self.node)
        self.agent = Agent(self.settings, self.place.state, self.place.server, store)
        self.task = asyncio.create_task(self.agent.run())

    async def kill(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            await self.agent.store.close()
            self.task = None

    async def live(self, revision: int, timeout_s: float = 15) -> dict[str, Any]:
        try:
            await eventually(lambda: self.control.live(self.node, revision), timeout_s)
        except TimeoutError:
            raise AssertionError((self.agent.status, self.control.state(self.node))) from None
        return self.control.state(self.node)

    async def verified(self) -> dict[str, Any]:
        before = self.control.state(self.node).get("verified_at")
        self.control.connection.execute("SELECT pg_notify('dialplane_verify', '')")
        await eventually(lambda: self.control.state(self.node).get("verified_at") != before)
        return self.control.state(self.node)


@pytest.fixture
async def edge_agent(edge: Place, control: Control) -> AsyncIterator[Running]:
    running = Running(edge, control)
    yield running
    await running.kill()


@pytest.fixture
async def media_agent(media: Place, control: Control) -> AsyncIterator[Running]:
    running = Running(media, control)
    yield running
    await running.kill()


async def test_changes_become_live_and_are_reported(edge_agent: Running) -> None:
    control, server = edge_agent.control, edge_agent.place.server
    control.publish("edge", [("account", "acme", "cluster=c1"), ("number", "+49", "acme")])
    control.publish("media", [("flag", "a/b", "1")])
    last = control.publish("edge", [("account", "other", "of another group")], scope="g2")
    edge_agent.start()
    await edge_agent.live(last)
    assert await server.read("account", ["acme", "other"]) == {"acme": "cluster=c1", "other": None}
    second = control.publish("edge", [("number", "+49", None), ("account", "acme", "cluster=c2")])
    state = await edge_agent.live(second)
    assert await server.read("account", ["acme"]) == {"acme": "cluster=c2"}
    assert await server.read("number", ["+49"]) == {"+49": None}
    assert (state["drift"], state["repaired"]) == (0, 0)


async def test_media_too(media_agent: Running) -> None:
    control, place = media_agent.control, media_agent.place
    media_agent.start()
    revision = control.publish(
        "media",
        [("dialplan", KEY, "NoOp(x)\nHangup()"), ("flag", "dnd/acme/a", "1"), ("mailbox", "1@acme", "{}"),
         ("file", "acl-x.conf", "[x]\n")],
        scope="c1",
    )  # fmt: skip
    await media_agent.live(revision)
    assert (await place.server.read("dialplan", [KEY]))[KEY] == "NoOp(x)\nHangup()"
    assert (await place.server.read("flag", ["dnd/acme/a"]))["dnd/acme/a"] == "1"
    assert (place.files / "acl-x.conf").read_text() == "[x]\n"


async def test_a_change_by_hand_is_found_repaired_and_told(edge_agent: Running) -> None:
    control, place = edge_agent.control, edge_agent.place
    edge_agent.start()
    await edge_agent.live(
        control.publish("edge", [("account", "acme", "cluster=c1"), ("domain", "a.b", "acme")])
    )
    await edge_agent.verified()
    place.by_hand("htable.sets account acme hacked")
    place.by_hand("htable.sets account stranger x")
    place.by_hand("htable.delete domain a.b")
    state = await edge_agent.verified()
    assert (state["drift"], state["repaired"]) == (3, 3)
    assert "account acme: expected 'cluster=c1', found 'hacked'" in state["drift_detail"]
    found = await place.server.read("account", ["acme", "stranger"])
    assert found == {"acme": "cluster=c1", "stranger": None}
    assert (await edge_agent.verified())["drift"] == 0


async def test_a_wrong_ami_secret_is_said_with_its_remedy_and_loses_nothing(media_agent: Running) -> None:
    """What was live serves on; the change waits, is not called refused, and is live as soon as the agent may log in."""
    control, place, good = media_agent.control, media_agent.place, media_agent.place.server
    assert place.locked is not None
    media_agent.start()
    before = control.publish("media", [("dialplan", KEY, "NoOp(old)\nHangup()")])
    await media_agent.live(before)
    await media_agent.kill()
    place.server = place.locked()
    revision = control.publish("media", [("dialplan", KEY, "NoOp(new)\nHangup()")])
    media_agent.start()
    await eventually(lambda: control.state("media1")["pending"] == 1)
    await eventually(lambda: bool(control.state("media1")["last_error"]))
    # It stays so: tried again and again, and the same is said each time.
    await asyncio.sleep(1)
    state = control.state("media1")
    assert re.match(r"AMI login at \S+:5038 as 'agent' refused: Authentication failed; ", state["last_error"])
    assert (state["revision"], state["pending"]) == (before, 1)
    assert await good.read("dialplan", [KEY]) == {KEY: "NoOp(old)\nHangup()"}
    (found,) = (one for one in examine(control.url) if one.about == "node media1")
    assert found.found == f"failed: {state['last_error']}"
    assert "dialplane agent install media" in found.found
    assert found.remedy == "the sentence says what; the agent tries again by itself"
    await media_agent.kill()
    await place.server.close()
    place.server = good
    media_agent.start()
    state = await media_agent.live(revision, 5)
    assert state["last_error"] is None
    assert await good.read("dialplan", [KEY]) == {KEY: "NoOp(new)\nHangup()"}


async def test_a_removed_extension_is_put_back(media_agent: Running) -> None:
    control, place = media_agent.control, media_agent.place
    media_agent.start()
    await media_agent.live(control.publish("media", [("dialplan", KEY, "NoOp(x)\nHangup()")]))
    await media_agent.verified()
    place.by_hand("dialplan remove extension 101@account-acme")
    state = await media_agent.verified()
    assert (state["drift"], state["repaired"]) == (1, 1)
    assert (await place.server.read("dialplan", [KEY]))[KEY] == "NoOp(x)\nHangup()"


async def test_an_edited_base_file_is_told(edge: Place, control: Control, tmp_path: Path) -> None:
    (tmp_path / "kamailio.cfg").write_text("a")
    running = Running(edge, control, (tmp_path,))
    edge.state.put(base=json.dumps(fingerprints([tmp_path])))
    running.start()
    try:
        await running.live(control.publish("edge", [("account", "a", "b")]))
        assert (await running.verified())["drift"] == 0
        (tmp_path / "kamailio.cfg").write_text("b")
        state = await running.verified()
        assert state["drift"] == 1
        assert "kamailio.cfg" in state["drift_detail"]
    finally:
        await running.kill()


async def test_a_server_restarted_in_between(edge_agent: Running) -> None:
    control, place = edge_agent.control, edge_agent.place
    edge_agent.start()
    await edge_agent.live(control.publish("edge", [("account", "acme", "1")]))
    restart = asyncio.create_task(asyncio.to_thread(place.restart))
    revisions = []
    for n in range(20):
        revisions.append(control.publish("edge", [("account", f"a{n}", str(n)), ("account", "acme", str(n))]))
        await asyncio.sleep(0.05)
    await restart
    await edge_agent.live(revisions[-1], 30)
    await eventually(
        lambda: "start" in str(control.state("edge1")["server_started"]) or edge_agent.place.fake is None
    )
    await edge_agent.verified()
    found = await place.server.read("account", ["acme", *(f"a{n}" for n in range(20))])
    assert found == {"acme": "19"} | {f"a{n}": str(n) for n in range(20)}


async def test_a_database_gone_and_back(edge_agent: Running) -> None:
    control, place = edge_agent.control, edge_agent.place
    edge_agent.start()
    await edge_agent.live(control.publish("edge", [("account", "acme", "1")]))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dialplane agent%'"
    for n in range(3):
        control.connection.execute(end)
        revision = control.publish("edge", [("account", "acme", f"after {n}")])
        await edge_agent.live(revision)
    assert await place.server.read("account", ["acme"]) == {"acme": "after 2"}


async def test_killed_at_any_point_the_next_one_finishes(edge_agent: Running) -> None:
    control, place = edge_agent.control, edge_agent.place
    edge_agent.start()
    await edge_agent.live(control.publish("edge", [("account", "acme", "0")]))
    for n in range(12):
        revision = control.publish("edge", [("account", f"k{m}", f"{n}") for m in range(30)])
        await asyncio.sleep(n * 0.0007)
        await edge_agent.kill()
        edge_agent.start()
        if n % 4 == 3:
            await edge_agent.live(revision)
    found = await place.server.read("account", [f"k{m}" for m in range(30)])
    assert set(found.values()) == {"11"}


async def test_what_the_server_refuses_is_never_reported_live(edge_agent: Running) -> None:
    control = edge_agent.control
    edge_agent.start()
    good = control.publish("edge", [("account", "acme", "1")])
    await edge_agent.live(good)
    control.publish("edge", [("account", "big", "x" * 70_000), ("account", "small", "1")])
    await eventually(lambda: bool(control.state("edge1")["last_error"]))
    state = control.state("edge1")
    assert (state["revision"], state["pending"]) == (good, 1)
    assert "account big" in state["last_error"]
    assert await edge_agent.place.server.read("account", ["small"]) == {"small": "1"}
    await edge_agent.live(control.publish("edge", [("account", "big", "fits")]))


async def test_a_restored_older_database_is_noticed(edge_agent: Running, cluster: str) -> None:
    del cluster
    control, place = edge_agent.control, edge_agent.place
    edge_agent.start()
    await edge_agent.live(control.publish("edge", [("account", "acme", "1"), ("account", "gone", "1")]))
    await edge_agent.kill()
    place.state.put(digest="of another history")
    place.state.stage([], 99, "of another history")
    revision = control.publish("edge", [("account", "acme", "2"), ("account", "gone", None)])
    edge_agent.start()
    await eventually(lambda: place.state.held() == revision)
    await edge_agent.live(revision)
    assert await place.server.read("account", ["acme", "gone"]) == {"acme": "2", "gone": None}


async def test_latency_from_notification_to_report(edge_agent: Running) -> None:
    control = edge_agent.control
    edge_agent.start()
    await edge_agent.live(control.publish("edge", [("account", "acme", "0")]))
    await edge_agent.verified()
    control.connection.execute("LISTEN dialplane_node")
    times = []
    for n in range(40):
        await asyncio.sleep(0.02)
        list(control.connection.notifies(timeout=0))

        def once(n: int = n) -> float:
            revision = control.publish("edge", [("account", "acme", f"{n + 1}")])
            began = time.perf_counter()
            while not control.live("edge1", revision):
                list(control.connection.notifies(timeout=0.5, stop_after=1))
            return time.perf_counter() - began

        times.append(await asyncio.to_thread(once))
    times.sort()
    print(f"latency ms: median {times[20] * 1000:.1f}, worst {times[-1] * 1000:.1f}")
    assert times[20] < 0.05


def test_prepare_works_without_a_database(folder: Path) -> None:
    from controller.agent import prepare

    settings = Settings("edge1", Kind.EDGE, "host=/nonexistent dbname=x", folder)
    assert "empty for now" in prepare(settings)
    assert State(folder / "state.db").held() == 0


def test_prepare_fills_an_empty_node(folder: Path, control: Control) -> None:
    from controller.agent import prepare

    revision = control.publish(
        "media", [("file", "acl-a.conf", "[a]\n"), ("dialplan", KEY, "NoOp()")], scope="c1"
    )
    settings = Settings("media1", Kind.MEDIA, control.url, folder, files=folder / "files")
    assert f"filled with 2 entries of revision {revision}" in prepare(settings)
    assert (folder / "files" / "acl-a.conf").read_text() == "[a]\n"
    assert f"holds revision {revision}" in prepare(settings)


def test_a_base_file_edited_before_a_restart_is_still_noticed(folder: Path) -> None:
    """Prepare runs before each start of the server: it must not take for granted what it finds."""
    from controller.agent import prepare
    from controller.install import base_files

    place = folder / "etc"
    place.mkdir()
    base_files("asterisk", place)
    (place / "site.conf").write_text("a")
    settings = Settings(
        "media1",
        Kind.MEDIA,
        "host=/nonexistent dbname=x",
        folder,
        files=place / "dialplane.d",
        base_files=(place,),
    )

    def differing() -> set[str]:
        prepare(settings)
        state = State(folder / "state.db")
        base = json.loads(state.get("base") or "")
        state.close()
        now = fingerprints([place])
        return {Path(path).name for path in base.keys() | now.keys() if base.get(path) != now.get(path)}

    assert differing() == set()
    (place / "extensions.conf").write_text((place / "extensions.conf").read_text() + "; by hand\n")
    (place / "modules.conf").unlink()
    (place / "site.conf").write_text("b")
    assert differing() == {"extensions.conf", "modules.conf"}
    base_files("asterisk", place)
    assert differing() == set()
