"""The AGI server itself, on this machine, with a real PostgreSQL, for the node in its container: no stand-ins."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from controller.agent.state import State, Wanted
from controller.agi.decide_app import App
from controller.agi.entries import Entries
from controller.agi.live import Live
from controller.agi.server import Failures, Server
from controller.agi.store import Store
from controller.compiler.policy import account_entries
from controller.desired.model import Account
from tests.media.node import MediaNode

_START_S = 30.0
# In the node's network: what comes to the server's port there goes to where the server is.
_RELAY = """
import asyncio, os, sys
folder, host, port = "/var/spool/dialplane/calls/", sys.argv[1], int(sys.argv[2])
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
async def serve(reader, writer):
    there, out = await asyncio.open_connection(host, port)
    await asyncio.gather(copy(reader, out), copy(there, writer), return_exceptions=True)
    out.close()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 4573)
    open(folder + "relay.pid", "w").write(str(os.getpid()))
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def serving(
    media: MediaNode, account: Account, database: str, folder: Path
) -> Iterator[Callable[[Account], None]]:
    """Decides calls of the account while it lasts; gives what makes it another one from then on."""
    state = State(folder / "state.db")

    def hold(account: Account) -> None:
        wanted = [Wanted(one.address.table, one.address.key, one.value) for one in account_entries(account)]
        state.stage(wanted, 1)

    hold(account)
    ready, stop, port = threading.Event(), threading.Event(), [0]
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(folder / "state.db", database, media.gateway, port, ready, stop))
    )
    thread.start()
    try:
        assert ready.wait(_START_S), "the AGI server does not start"
        _relay(media, port[0])
        yield hold
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            media.sh(f"kill -9 {(media.spool / 'relay.pid').read_text()}")
        stop.set()
        thread.join()
        state.close()


async def _serve(
    path: Path, database: str, host: str, port: list[int], ready: threading.Event, stop: threading.Event
) -> None:
    entries, store, failures = Entries(path), Store(database, "media1"), Failures()
    app = App(entries, Live(store), lambda: datetime.now(UTC), failures.error)
    server = Server(app, failures=failures, port=0)
    await server.start()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, out), copy(there, writer), return_exceptions=True)
        out.close()
        writer.close()

    relay = await asyncio.start_server(pass_on, host, 0)
    port[0] = relay.sockets[0].getsockname()[1]
    running = asyncio.create_task(store.run())
    while not store.connected:  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.02)
    ready.set()
    while not stop.is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0.05)
    relay.close()
    await server.stop()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    entries.close()


def _relay(media: MediaNode, port: int) -> None:
    pid = media.spool / "relay.pid"
    pid.unlink(missing_ok=True)
    (media.spool / "relay.py").write_text(_RELAY)
    script = "/var/spool/dialplane/calls/relay.py"
    subprocess.run(
        ["docker", "exec", "-d", media.name, "python3", script, media.gateway, str(port)],
        check=True,
        timeout=60,
    )
    end = time.monotonic() + _START_S
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < end, "the relay to the AGI server does not start"
        time.sleep(0.05)
