"""Dialogs of a real Kamailio: more than a datagram holds, and the end of one that rings."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.calls.commands import EdgeCommands
from controller.wire.jsonrpc import JsonRpc
from tests.contract_ami.conftest import docker, image

CONFIG = Path(__file__).parent / "kamailio"
INVITE = (
    "INVITE sip:{call}@edge SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n"
    "From: <sip:a@edge>;tag={call}\r\nTo: <sip:b@edge>\r\nCall-ID: id-{call}\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:a@{me}>\r\nContent-Length: 0\r\n\r\n"
)


@pytest.fixture
def kamailio() -> Iterator[tuple[str, Path]]:
    """Its address and its RPC socket."""
    name, folder = f"e_kamailio_{uuid.uuid4().hex[:8]}", Path(tempfile.mkdtemp(prefix="dp-edge-"))
    docker(
        "run", "-d", "--name", name, "-v", f"{CONFIG}:/etc/contract:ro", "-v", f"{folder}:{folder}",
        "--entrypoint", "kamailio", image("edge"), "-DD", "-E", "-f", "/etc/contract/kamailio.cfg",
        "-A", f'SOCKET="{folder}/kamailio.sock"',
    )  # fmt: skip
    deadline = time.monotonic() + 15
    while not (folder / "kamailio.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    yield (
        docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name),
        folder / "kamailio.sock",
    )
    docker("rm", "-f", name)
    shutil.rmtree(folder, ignore_errors=True)


async def test_dialogs_of_an_edge(kamailio: tuple[str, Path]) -> None:
    host, path = kamailio
    rpc = JsonRpc(path)
    commands = EdgeCommands(rpc)
    assert await commands.calls({}) == {"calls": {}}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.connect((host, 5070))
        me = "{}:{}".format(*phone.getsockname())
        for number in range(200):
            phone.send(INVITE.format(call=f"c{number}", me=me).encode())
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
        found = (await commands.calls({}))["calls"]
        assert len(found) == 200
        assert found["c7"][0]["account"] == "acme"
        (receipt,) = (await commands.hangup({"calls": ["c7"]}))["receipts"]
        assert receipt["ok"] is True
    assert list(path.parent.glob("dialogs-*")) == []
    rpc.close()
