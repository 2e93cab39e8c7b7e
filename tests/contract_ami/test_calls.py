"""Live calls, commands and lamps on a real Asterisk."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.calls.commands import MediaCommands
from controller.calls.mwi import Lamps, notify
from controller.calls.service import CallService
from controller.calls.table import CallTable
from controller.errors import InputError, NodeRefused
from controller.wire.ami import Ami
from tests.contract_ami.conftest import RealAsterisk, until

LIVE = {
    "Channel": "Local/answer@calls/n", "Context": "calls", "Exten": "answer", "Priority": "1", "Async": "true",
    "Variable": ["__DP_CALL=abc-1", "__DP_ACCOUNT=acme"],
}  # fmt: skip


@pytest.fixture
async def ami(asterisk: RealAsterisk) -> AsyncIterator[Ami]:
    client = Ami(asterisk.host, 5038, "dialplane", "contract", backoff_s=(0.05, 0.2))
    yield client
    await client.close()


async def test_one_call_from_first_to_last_event(ami: Ami) -> None:
    table = CallTable()
    commands = MediaCommands(ami, table)
    ami.on("*", table.apply)
    await ami.connect()
    (await ami.action("Originate", LIVE)).check("originate")
    await until(lambda: len(table.calls().get("abc-1", [])) == 2)
    found = (await commands.calls({}))["calls"]
    assert list(found) == ["abc-1"]
    assert {leg["account"] for leg in found["abc-1"]} == {"acme"}
    receipts = (await commands.hangup({"calls": ["abc-1"]}))["receipts"]
    assert [one["ok"] for one in receipts] == [True, True]
    await until(lambda: table.channels == {})
    assert (await commands.hangup({"calls": ["abc-1"]})) == {"receipts": []}


async def test_calls_are_known_without_events_of_the_dialplan(asterisk: RealAsterisk) -> None:
    ami = Ami(asterisk.host, 5038, "dialplane", "contract", events="call,system")
    commands = MediaCommands(ami, CallTable())
    await ami.connect()
    await ami.action("Originate", LIVE | {"Variable": ["__DP_CALL=abc-4"]})
    await asyncio.sleep(0.3)
    assert len((await commands.calls({}))["calls"]["abc-4"]) == 2
    assert (await commands.hangup({"calls": ["abc-4"]}))["receipts"][0]["ok"]
    await ami.close()


async def test_whose_calls_are_up_is_known_by_events_of_calls_alone(asterisk: RealAsterisk) -> None:
    """The agent asks for no others, and asks for no list once a second."""
    ami, table = Ami(asterisk.host, 5038, "dialplane", "contract", events="call,system"), CallTable()
    ami.on("*", table.apply)
    await ami.connect()
    for _ in range(2):
        await ami.action(
            "Originate", LIVE | {"Channel": "Local/call@calls/n", "Exten": "echo", "Variable": []}
        )
    await until(lambda: table.accounts() == {"acme": 2})
    for leg in list(table.channels.values()):
        await ami.action("Hangup", {"Channel": leg.name})
    await until(lambda: table.accounts() == {})
    await ami.close()


async def test_resync_finds_what_began_while_nobody_looked(
    ami: Ami, asterisk: RealAsterisk, tmp_path: Path
) -> None:
    first = Ami(asterisk.host, 5038, "dialplane", "contract")
    await first.connect()
    await first.action("Originate", LIVE | {"Variable": ["__DP_CALL=abc-2"]})
    await asyncio.sleep(0.3)
    service = CallService(node="m", dsn="host=/nonexistent", spool=tmp_path, state=tmp_path, ami=ami)
    task = asyncio.create_task(service.run())
    await until(lambda: len(service.table.calls().get("abc-2", [])) == 2)
    await until(lambda: bool(service._restarts))
    assert service._restarts[0].call_id == "node:m"
    for leg in service.table.calls()["abc-2"]:
        await first.action("Hangup", {"Channel": leg.name})
    await until(lambda: service.table.channels == {})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await first.close()


async def test_transfer_sends_the_caller_elsewhere(ami: Ami) -> None:
    table = CallTable()
    commands = MediaCommands(ami, table)
    ami.on("*", table.apply)
    await ami.connect()
    await ami.action("Originate", LIVE | {"Variable": ["__DP_CALL=abc-3"]})
    await until(lambda: len(table.calls().get("abc-3", [])) == 2)
    (receipt,) = (await commands.transfer({"call": "abc-3", "to": "echo"}))["receipts"]
    assert receipt["ok"]

    async def echoes() -> bool:
        return any(one["Application"] == "Echo" for one in (await ami.action("CoreShowChannels")).events)

    async with asyncio.timeout(5):
        while not await echoes():  # noqa: ASYNC110 - asked of the server
            await asyncio.sleep(0.05)
    await commands.hangup({"calls": ["abc-3"]})


async def test_devices_that_are_not_there_did_not_take_the_call(ami: Ami) -> None:
    commands = MediaCommands(ami, CallTable())
    await ami.connect()
    with pytest.raises(NodeRefused, match="did not take the call"):
        await commands.originate(
            {"devices": ["nobody@acme.example"], "to": "102", "account": "acme", "user": "alice", "ring_s": 2}
        )
    with pytest.raises(InputError):
        await commands.originate({"devices": ["a@b", "a@b/n,evil"], "to": "102", "account": "acme"})
    with pytest.raises(InputError):
        await commands.originate({"devices": ["a@b.example"] * 1000, "to": "102", "account": "acme"})


async def test_lamps_are_told_after_a_connect(ami: Ami) -> None:
    asked: list[tuple[str, str]] = []

    async def devices(account: str, mailbox: str) -> list[str]:
        asked.append((account, mailbox))
        return []

    Lamps(ami, devices)
    await ami.connect()
    await until(lambda: asked == [("acme", "101")])


async def test_the_lamp_reaches_the_edge(ami: Ami, asterisk: RealAsterisk) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as edge:
        gateway = asterisk.host.rsplit(".", 1)[0] + ".1"
        edge.bind((gateway, 5090))
        edge.setblocking(False)
        await ami.connect()
        answer = await ami.action("PJSIPNotify", notify("desk1@acme.example", "acme", 2, 1))
        answer.check("lamp")
        async with asyncio.timeout(5):
            text = (await asyncio.get_running_loop().sock_recv(edge, 65535)).decode()
    head, _, body = text.partition("\r\n\r\n")
    assert head.startswith("NOTIFY sip:desk1@acme.example SIP/2.0")
    assert "Event: message-summary" in head
    assert "X-DP-Account: acme" in head
    assert "Content-Type: application/simple-message-summary" in head
    assert body.split("\r\n")[:3] == [
        "Messages-Waiting: yes",
        "Message-Account: sip:desk1@acme.example",
        "Voice-Message: 2/1 (0/0)",
    ]
