"""The listener: what goes wrong is counted and told, many sessions fit, and it ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import resource
from pathlib import Path

import pytest

from controller.agi import server as room
from controller.agi.server import Failures, Server
from controller.errors import InputError, NodeUnreachable
from controller.wire.agi import Session
from controller.wire.agi_caller import ask, request
from tests.unit.agi.place import filled, serving, stage

DECIDE = ("group", "sales", "acme", "call-1", "+49301234567", "", "", "carrier-a", "600", "de", "0")


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    filled(tmp_path / "state.db").close()
    return tmp_path / "state.db"


async def until(condition: object, timeout_s: float = 30) -> None:
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def test_a_decision_arrives(state_file: Path) -> None:
    async with serving(state_file) as (server, app, failures):
        answer = await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        steps = [answer.variables[f"DP_STEP_{n}"] for n in range(1, int(answer.variables["DP_STEPS"]) + 1)]
        assert steps == [
            "dp-legs,s,1(bob@acme.example,15,)",
            "dp-legs,s,1(carol@acme.example,10,)",
            "dp-otherwise,s,1(hangup,busy,hangup)",
        ]
        assert list(answer.variables)[-1] == "DP_STEPS"
        assert answer.variables["DP_WHY_1"] == "ring bob for 15 s: group sales: in order"
        assert "DP_WHY" not in answer.variables
        await until(lambda: app.decided == 1)
        assert failures.counts == {}


async def test_it_listens_on_this_machine_alone(state_file: Path) -> None:
    async with serving(state_file) as (server, _, _):
        assert server._listener is not None
        assert {one.getsockname()[0] for one in server._listener.sockets} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", "silent"),
        (b"agi_network: y", "closed"),
        (b"GET /\n\n", "garbage"),
        (request("nonsense", DECIDE), "garbage"),
        (request("decide", ["group"]), "garbage"),
        (b"agi_x: y\n" * 9_000, "long"),
    ],
)
async def test_each_failure_has_a_counter_and_a_line_and_harms_nobody_else(
    state_file: Path, sent: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(state_file, deadline_s=30) as (server, app, failures):
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            writer.close()
        await until(lambda: failures.counts[kind] == 3)
        assert list(failures.counts) == [kind]
        told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(told) == 1, "a flood of one kind is one line"
        assert told[0].startswith(f"no decision: {kind}: ")
        await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        await until(lambda: app.decided == 1)


async def test_a_silent_caller_is_cut_off_and_others_do_not_wait_for_it(state_file: Path) -> None:
    async with serving(state_file, deadline_s=1) as (server, app, failures):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request("decide", DECIDE))
        await until(lambda: server.open == 1)
        await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        await until(lambda: app.decided == 1)
        await reader.read()
        await until(lambda: failures.counts == {"slow": 1})  # it never replied to what it got
        writer.close()


async def test_a_decision_that_takes_too_long_is_given_up() -> None:
    async def answer(session: Session) -> None:
        await session.request()
        await asyncio.Event().wait()

    failures = Failures()
    server = Server(answer, failures=failures, port=0, deadline_s=0.2)
    await server.start()
    with pytest.raises(NodeUnreachable):
        await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
    assert failures.counts == {"slow": 1}
    await server.stop()


async def test_a_defect_ends_one_session_only(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(session: Session) -> None:
        raise ZeroDivisionError("seven")

    failures = Failures()
    server = Server(answer, failures=failures, port=0)
    await server.start()
    for _ in range(2):
        with pytest.raises(NodeUnreachable):
            await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
    assert failures.counts == {"defect": 2}
    assert "seven" in caplog.text
    await server.stop()


async def test_a_file_that_cannot_be_read_is_no_decision_and_it_recovers(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with serving(path) as (server, app, failures):
        answer = await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        assert answer.variables["DP_STEPS"] == "0"
        assert str(path) in answer.variables["DP_WHY"]
        assert failures.counts == {"state": 1}
        state = filled(path)
        answer = await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        assert answer.variables["DP_STEPS"] == "3"
        stage(state, 2, group__sales="{")
        answer = await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=30)
        assert "acme/group/sales" in answer.variables["DP_WHY"]
        await until(lambda: app.decided == 1)
        assert failures.counts == {"state": 1, "policy": 1}
        state.close()


async def test_stopping_takes_no_new_call_and_lets_open_ones_end(state_file: Path) -> None:
    async with serving(state_file, deadline_s=30) as (server, app, failures):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        block = request("decide", DECIDE)
        writer.write(block[:40])
        await until(lambda: server.open == 1)
        stopping = asyncio.create_task(server.stop())
        await until(lambda: server._listener is None)
        with pytest.raises(NodeUnreachable):
            await ask("127.0.0.1", server.port, "ping", ())
        assert not stopping.done()
        writer.write(block[40:] + b"200 result=1\n" * 20)
        await stopping
        assert (app.decided, failures.counts) == (1, {})
        writer.close()


async def test_a_taken_port_is_said(state_file: Path) -> None:
    async with serving(state_file) as (server, app, failures):
        second = Server(app, failures=failures, port=server.port)
        with pytest.raises(InputError, match=f"127.0.0.1:{server.port}: .*another one is running"):
            await second.start()


@pytest.mark.thorough
async def test_several_thousand_sessions_are_open_at_once(state_file: Path) -> None:
    """Both ends are in this process: so many as it may have descriptors for, 3,000 at most."""
    count = min(3_000, (room.raised_limit() - 200) // 2)
    block = request("decide", DECIDE)
    async with serving(state_file, deadline_s=120) as (server, app, failures):
        ends = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
        for _, writer in ends:
            writer.write(block[:60])
        await until(lambda: server.open == count, 120)
        await ask("127.0.0.1", server.port, "decide", DECIDE, timeout_s=60)
        for _, writer in ends:
            writer.write(block[60:] + b"200 result=1\n" * 20)
        await until(lambda: server.open == 0, 120)
        assert (app.decided, failures.counts) == (count + 1, {})
        for _, writer in ends:
            writer.close()


async def test_beyond_the_limit_of_descriptors_a_session_is_refused_with_the_limit(
    state_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "raised_limit", lambda: room._OTHER_FILES + 2)
    async with serving(state_file, deadline_s=60) as (server, _, failures):
        ends = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await until(lambda: server.open == 2)
        with pytest.raises(NodeUnreachable):
            await ask("127.0.0.1", server.port, "ping", (), timeout_s=30)
        assert failures.counts["full"] == 1
        assert f"RLIMIT_NOFILE = {room._OTHER_FILES + 2}" in (failures.last or "")
        ends[0][1].close()
        await until(lambda: server.open == 1)
        await ask("127.0.0.1", server.port, "ping", (), timeout_s=30)
        ends[1][1].close()


def test_the_limit_of_descriptors_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
    assert room.raised_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
