"""The AGI server beside a media node: calls ask it what to do, and go on without it when it is away.

`run(settings)` is the resident process.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.agent.settings import Settings
    from controller.agi.decide_app import App
    from controller.agi.server import Server
    from controller.agi.store import Store
    from controller.queues.model import Setup

REPORT_S = 5.0
log = logging.getLogger(__name__)


async def run(settings: Settings, port: int) -> None:
    """Answer calls until SIGTERM or SIGINT; then let open exchanges end.

    What one of its tasks did not expect ends the process (ExceptionGroup): calls go on in their dialplan, which asks
    again, and systemd starts it anew.
    """
    from controller.agi.decide_app import App
    from controller.agi.entries import Entries
    from controller.agi.live import Live
    from controller.agi.queue_app import QueueApp
    from controller.agi.server import Failures, Server
    from controller.agi.store import Store
    from controller.queues.desk import Desk

    entries, store, failures = (
        Entries(settings.state_file),
        Store(settings.database, settings.node),
        Failures(),
    )
    app = App(entries, Live(store), lambda: datetime.now(UTC), failures.error)

    async def queues(account: str) -> Setup:
        return (await entries.account(account)).queues

    desk = Desk(settings.database, settings.node, queues)
    app.scripts |= QueueApp(entries, desk).scripts
    server = Server(app, failures=failures, port=port)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(store.run()),
                tasks.create_task(desk.run()),
                tasks.create_task(_report(settings.node, server, app, store)),
            ]
            await stopping.wait()
            await server.stop()
            for task in background:
                task.cancel()
    finally:
        entries.close()


async def _report(node: str, server: Server, app: App, store: Store) -> None:
    """Ask ourselves as Asterisk would, and say that it was answered."""
    from controller.agi.store import Report
    from controller.errors import DatabaseError, NodeError
    from controller.wire import agi_caller

    started = datetime.now(UTC)
    while True:
        try:
            said = await agi_caller.ask("127.0.0.1", server.port, "ping", ())
            why = said.variables.get("DP_WHY")
            await store.report(Report(node, started, app.decided, dict(server.failures.counts), why))
        except NodeError as error:
            log.warning("%s", error)
        except DatabaseError as error:
            log.debug("not reported: %s", error)
        await asyncio.sleep(REPORT_S)
