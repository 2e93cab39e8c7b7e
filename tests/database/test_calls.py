"""Call events to records, and node commands, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.calls import operator, store
from controller.calls.commands import EdgeCommands
from controller.calls.facts import Fact
from controller.calls.service import CallService
from controller.calls.spool import Spool
from controller.errors import DatabaseError, NodeRefused, NodeUnreachable
from controller.wire.ami import OutcomeUnknown
from tests.unit.calls.test_fold import CALL, T0, WHOLE, media


@pytest.fixture
async def connection(database: str) -> AsyncIterator[store.Connection]:
    async with store.connect(database) as one:
        await one.execute("TRUNCATE control.call_events, control.call_records, control.node_commands")
        yield one


async def records(connection: store.Connection) -> list[dict[str, Any]]:
    rows = await connection.execute("SELECT * FROM control.call_records")
    return await rows.fetchall()


def write(folder: Path, facts: list[Fact], name: str) -> Path:
    path = folder / name
    with path.open("a") as file:
        file.writelines(json.dumps(fact.detail) + "\n" for fact in facts)
    return path


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


async def ship(connection: store.Connection, spool: Spool) -> int:
    count = 0
    for file_id, position, facts in spool.batches():
        await store.ship(connection, facts)
        spool.shipped(file_id, position)
        count += len(facts)
    return count


async def test_two_nodes_ship_one_call_at_once(database: str, connection: store.Connection) -> None:
    halves = [[one for one in WHOLE if one.node == node] for node in ("edge1", "media1")]
    async with store.connect(database) as other:
        for round_ in range(3):
            await asyncio.gather(store.ship(connection, halves[0]), store.ship(other, halves[1]))
            (record,) = await records(connection)
            assert record["complete"], round_
            assert (record["cause"], record["duration_ms"], len(record["legs"])) == (16, 10030, 4)


async def test_an_attended_transfer_on_one_node_leaves_each_call_its_own_channels(
    connection: store.Connection,
) -> None:
    """Asterisk gives what is left of the second call the linkedid of the first."""

    def line(second: float, event: str, position: int, channel: str, linked: str, call: str) -> Fact:
        return media(second, event, position, channel, linkedid=linked, userfield=call)

    facts = [
        line(0, "CHAN_START", 0, "m.1", "m.1", ""),
        line(0.1, "dp.begin", 1, "m.1", "m.1", "first"),
        line(0.2, "CHAN_START", 2, "m.2", "m.1", ""),
        line(1, "CHAN_START", 3, "m.3", "m.3", ""),
        line(1.1, "dp.begin", 4, "m.3", "m.3", "second"),
        line(1.2, "CHAN_START", 5, "m.4", "m.3", ""),
        line(2, "ATTENDEDTRANSFER", 6, "m.3", "m.3", "second"),
        line(2.1, "CHAN_END", 7, "m.3", "m.3", "second"),
        line(2.1, "CHAN_END", 8, "m.1", "m.1", "first"),
        line(5, "CHAN_END", 9, "m.4", "m.1", "second"),
        line(5, "CHAN_END", 10, "m.2", "m.1", "first"),
    ]
    for fact in facts:
        await store.ship(connection, [fact])
    told = {
        one["call_id"]: (one["complete"], [leg["id"] for leg in one["legs"]])
        for one in await records(connection)
    }
    assert told == {"first": (True, ["m.1", "m.2"]), "second": (True, ["m.3", "m.4"])}


async def test_the_later_half_sees_what_the_earlier_wrote(
    database: str, connection: store.Connection
) -> None:
    halves = [[one for one in WHOLE if one.node == node] for node in ("edge1", "media1")]
    async with store.connect(database) as other:
        async with connection.transaction():
            await store.ship(connection, halves[0])
            later = asyncio.create_task(store.ship(other, halves[1]))
            await asyncio.sleep(0.3)
        await later
    (record,) = await records(connection)
    assert len(record["legs"]) == 4


async def test_lines_from_before_the_call_was_known_come_late(connection: store.Connection) -> None:
    for fact in reversed(WHOLE):
        await store.ship(connection, [fact])
    (record,) = await records(connection)
    assert [leg["leg"] for leg in record["legs"]] == ["in", "channel", "channel", "out"]


async def test_a_restart_closes_what_was_open(
    tmp_path: Path, database: str, connection: store.Connection
) -> None:
    await store.ship(connection, [one for one in WHOLE if one.event not in ("end", "HANGUP", "CHAN_END")])
    for node in ("edge1", "media1"):
        service = CallService(node=node, dsn=database, spool=tmp_path, state=tmp_path)
        service.server_started(5, T0.replace(hour=13))
        service.server_started(6, T0.replace(hour=13, second=1))
        await service.ship_once(connection)
    (record,) = await records(connection)
    assert (record["complete"], record["cause_text"]) == (True, "lost")


async def test_spool_ships_each_line_once_whatever_happens(
    tmp_path: Path, connection: store.Connection
) -> None:
    edge = [one for one in WHOLE if one.node == "edge1"]
    path = write(tmp_path, edge[:2], "edge_1.jsonl")
    spool = Spool(tmp_path, "edge1", tmp_path / "spool.json")
    assert await ship(connection, spool) == 2
    with path.open("a") as file:
        file.write('{"event":"answe')
    assert await ship(connection, spool) == 0
    write(tmp_path, edge[2:], "edge_1.jsonl")
    path.rename(tmp_path / "edge_1.jsonl.1")
    write(tmp_path, edge[:1], "edge_1.jsonl")
    assert await ship(connection, spool) == len(edge) - 2 + 2
    assert spool.bad_lines == 1
    assert await ship(connection, Spool(tmp_path, "edge1", tmp_path / "lost.json")) == len(edge) + 2
    rows = await connection.execute(
        "SELECT event, detail FROM control.call_events WHERE call_id = 'node:edge1'"
    )
    (bad,) = await rows.fetchall()
    assert bad["detail"]["line"] == '{"event":"answe'
    (record,) = await records(connection)
    assert record["complete"]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"[]\n",
        b"\n",
        b'{"event":"start"}\n',
        b'{"a":NaN}\n',
        b'{"event":"x\\u0000","ts":1,"call":"c"}\n',
        b'{"event":"start","ts":1,"call":"c","x":"\\ud800"}\n',
        b'{"event":"start","ts":1e999,"call":"c"}\n',
        b'{"event":"start","ts":1,"call":"c","x":1e999}\n',
    ],
)
async def test_a_bad_line_stops_nothing(tmp_path: Path, connection: store.Connection, line: bytes) -> None:
    path = write(tmp_path, WHOLE[:1], "edge_1.jsonl")
    with path.open("ab") as file:
        file.write(line)
    write(tmp_path, [one for one in WHOLE[1:] if one.node == "edge1"], "edge_1.jsonl")
    await ship(connection, Spool(tmp_path, "edge1", tmp_path / "spool.json"))
    (record,) = await records(connection)
    assert record["complete"]


async def test_shipped_files_are_removed_when_they_rest(tmp_path: Path, connection: store.Connection) -> None:
    path = write(tmp_path, WHOLE[:1], "edge_1.jsonl")
    spool = Spool(tmp_path, "edge1", tmp_path / "spool.json", keep_s=100)
    await ship(connection, spool)
    await ship(connection, spool)
    assert path.exists()
    os.utime(path, (0, 0))
    await ship(connection, spool)
    assert not path.exists()


async def test_the_file_of_asterisk_is_renamed_before_it_goes(
    tmp_path: Path, connection: store.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.calls.spool.MOST_BYTES", 100)
    media = [one for one in WHOLE if one.node == "media1"]
    write(tmp_path, media[:5], "media.jsonl")
    spool = Spool(tmp_path, "media1", tmp_path / "spool.json")
    assert await ship(connection, spool) == 5
    assert await ship(connection, spool) == 0
    (renamed,) = list_files(tmp_path)
    assert renamed.name.startswith("media_")
    with renamed.open("a") as late:
        late.write(json.dumps(media[5].detail) + "\n")
    write(tmp_path, media[6:], "media.jsonl")
    assert await ship(connection, spool) == len(media) - 5
    os.utime(renamed, (0, 0))
    await ship(connection, spool)
    assert not renamed.exists()


async def test_a_database_away_loses_nothing(
    tmp_path: Path, database: str, connection: store.Connection
) -> None:
    write(tmp_path, [one for one in WHOLE if one.node == "edge1"], "edge_1.jsonl")
    spool = Spool(tmp_path, "edge1", tmp_path / "spool.json")

    async def cut_off() -> None:
        async with store.connect(database) as other:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
            await ship(other, spool)

    with pytest.raises(DatabaseError):
        await cut_off()
    assert await records(connection) == []
    await ship(connection, spool)
    assert len(await records(connection)) == 1


# --- commands ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def agent(database: str, folder: Path, node: str = "n1") -> AsyncIterator[CallService]:
    service = CallService(node=node, dsn=database, spool=folder, state=folder)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_agent_answers(tmp_path: Path, database: str, connection: store.Connection) -> None:
    async def echo(arguments: Any) -> dict[str, Any]:
        if "refuse" in arguments:
            raise NodeRefused("no")
        return {"got": dict(arguments)}

    async with agent(database, tmp_path) as service:
        service.handlers["echo"] = echo
        assert await store.ask(connection, "n1", "echo", {"a": 1}) == {"got": {"a": 1}}
        with pytest.raises(NodeRefused, match="echo on n1: no"):
            await store.ask(connection, "n1", "echo", {"refuse": 1})
        with pytest.raises(NodeRefused, match="no agent of this kind can 'fly'"):
            await store.ask(connection, "n1", "fly", {})


async def test_no_agent_is_said_and_the_command_is_withdrawn(connection: store.Connection) -> None:
    with pytest.raises(NodeUnreachable, match="withdrawn"):
        await store.ask(connection, "nobody", "hangup", {"call": "x"}, 0.1)
    assert await store.take(connection, "nobody") is None


async def test_an_agent_that_died_leaves_an_unknown_outcome(
    tmp_path: Path, database: str, connection: store.Connection
) -> None:
    ran = []
    started = asyncio.Event()

    async def never(arguments: Any) -> dict[str, Any]:
        ran.append(1)
        started.set()
        await asyncio.sleep(60)
        return {}

    asking = asyncio.create_task(store.ask(connection, "n1", "hangup", {}, 20))
    async with agent(database, tmp_path) as service:
        service.handlers["hangup"] = never
        await asyncio.wait_for(started.wait(), 5)
    async with agent(database, tmp_path) as service:
        service.handlers["hangup"] = never
        with pytest.raises(OutcomeUnknown, match="the agent ended while it ran"):
            await asking
    assert ran == [1]


async def test_two_workers_never_take_one_command(database: str, connection: store.Connection) -> None:
    for number in range(50):
        await connection.execute(
            "INSERT INTO control.node_commands (node, verb, arguments) VALUES ('n1', 'x', '{}')",
            (),
            prepare=True,
        )
        assert number >= 0
    taken: list[int] = []

    async def work() -> None:
        async with store.connect(database) as one:
            while (command := await store.take(one, "n1")) is not None:
                taken.append(command.id)

    await asyncio.gather(*(work() for _ in range(4)))
    assert len(taken) == len(set(taken)) == 50


async def test_a_silent_node_is_unknown_not_empty(sample: str) -> None:
    async with store.connect(sample) as connection:
        listing = await operator.list_calls(connection, timeout_s=0.1)
    assert listing.calls == []
    assert listing.unknown


async def test_trace_tells_the_call_in_order(connection: store.Connection) -> None:
    await store.ship(connection, WHOLE)
    story = await operator.trace(connection, CALL)
    assert [step.event for step in story.steps][:3] == ["start", "CHAN_START", "dp.begin"]
    assert story.steps[2].text == "dialled 102 caller alice trunk "
    assert story.record is not None
    assert story.record["complete"]


def test_an_agent_may_do_its_part_and_no_more(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE dialplane_agent")
        connection.execute("SELECT id FROM control.node_commands")
        connection.execute("UPDATE control.node_commands SET taken_at = now() WHERE false")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO control.node_commands (node, verb) VALUES ('n1', 'hangup')")


async def test_a_dialog_that_is_gone_and_told_of_no_end_is_closed_once(
    connection: store.Connection, sample: str, tmp_path: Path
) -> None:
    """Two looks in a row; a dialog that still stands is left alone; an end told late is taken instead."""
    begun = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    for number, call in enumerate(("call-gone", "call-up")):
        said = {"id": f"7:{number}", "leg": "straight", "event": "start", "caller": "bob", "called": "103"}
        await store.ship(connection, [Fact(call, "edge9", begun, "start", "f", number, said)])

    class Rpc:
        path = tmp_path / "kamailio.sock"

        def call(self, method: str, /, *params: Any, store_path: str | None = None) -> Any:
            said = '"call":"call-up","leg":"straight"'
            standing = {"h_entry": 7, "h_id": 1, "state": 4, "variables": [{"ev": said}]}
            Path(str(store_path)).write_text(json.dumps({"result": [standing]}))

    service = CallService(node="edge9", dsn=sample, spool=tmp_path, state=tmp_path, rpc=Rpc())
    for look in range(3):
        record = await store.record_of(connection, "call-gone")
        assert record is not None
        assert record["complete"] is (look == 2)
        await service.close_gone(connection, EdgeCommands(Rpc()))
    up = await store.record_of(connection, "call-up")
    assert up is not None
    assert not up["complete"]
    ended = begun + dt.timedelta(seconds=3)
    late = {"id": "7:0", "leg": "straight", "event": "end", "status": 200, "by": "caller", "cause": 16}
    await store.ship(connection, [Fact("call-gone", "edge9", ended, "end", "f", 9, late)])
    record = await store.record_of(connection, "call-gone")
    assert record is not None
    assert (record["cause"], record["ended_at"]) == (16, ended)
