"""Beside a name server on the rows: what it keeps goes when rows or live conditions change.

Every change of rows that names depend on notifies `dialplane_dns`, every change of live conditions
`dialplane_condition`, both at commit. A question under way at that moment may still put an answer of before into the
cache: so each change purges twice. While nobody can be listened to, everything goes every few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.errors import DatabaseError, NodeUnreachable
from controller.schema.database import connect
from controller.wire import pdns

if TYPE_CHECKING:
    from psycopg import Connection

log = logging.getLogger("dialplane.names")

CHANNELS = ("dialplane_dns", "dialplane_condition")
# The second time; longer than a question takes.
AGAIN_S = 0.3
# Between two purges: many changes at once are one.
LEAST_S = 0.02
_TICK_S = 1.0
_PAUSE_S = 1.0
# Without a database to listen to: the name server may have one.
DEAF_S = 5.0


def run(url: str, control: Path, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Run until `stop()`; survives database and name server going away. `control`: the control socket."""
    away = ""
    purge_at = 0.0
    while not stop():
        try:
            with connect(url, autocommit=True) as connection:
                for channel in CHANNELS:
                    connection.execute(f"LISTEN {channel}")
                log.info("listening; %s is purged when rows change", control)
                away = ""
                _follow(connection, control, stop)
        except DatabaseError as error:
            if str(error) != away:
                log.warning("%s Trying again.", error)
                away = str(error)
            if time.monotonic() >= purge_at:
                purge_at = time.monotonic() + DEAF_S
                with suppress(NodeUnreachable):
                    pdns.purge(control)
            time.sleep(_PAUSE_S)


def _follow(connection: Connection[Any], control: Path, stop: Callable[[], bool]) -> None:
    # What came before we listened is not known: so it begins.
    due = [time.monotonic()]
    away = ""
    while not stop():
        now = time.monotonic()
        if due and due[0] <= now:
            try:
                pdns.purge(control)
            except NodeUnreachable as error:
                # It may start any moment, with nothing kept, or hang with all of it.
                due = [now + _TICK_S]
                if str(error) != away:
                    log.warning("%s", error)
                    away = str(error)
            else:
                if away:
                    log.info("the name server answers")
                    away = ""
                due.pop(0)
        wait_s = min(due[0] - now, _TICK_S) if due else _TICK_S
        if any(True for _ in connection.notifies(timeout=max(wait_s, 0.001), stop_after=1)):
            for _ in connection.notifies(timeout=LEAST_S):
                pass
            now = time.monotonic()
            due = [now, now + AGAIN_S]
