"""Beside a name server on the rows: what it keeps goes when rows or live conditions change.

A primary notifies `dialplane_dns` (rows that names depend on) or `dialplane_condition` (live conditions) at commit.
On a replica nobody can LISTEN: there two numbers (`dns.changes`) are read 25 times a second, of which one is another
after each such change and after nothing else. A replica whose primary is away has no changes, and what is kept stays;
one that becomes the primary is listened to from then on.

A question under way when a change comes may still put an answer of before into the cache: so each change purges twice.
While there is no database to ask, everything goes every few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
# Between two looks at a replica: 0.1 ms of its time each.
LOOK_S = 0.04
_TICK_S = 1.0
_PAUSE_S = 1.0
# Without a database to listen to: the name server may have one.
DEAF_S = 5.0


class _Changes(Protocol):
    """Who hears of changes. `over`: no more, begin anew."""

    over: bool

    def come(self, wait_s: float) -> bool:
        """Whether something changed since it was asked last, or does within `wait_s`."""


def run(url: str, control: Path, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Run until `stop()`; survives database and name server going away. `control`: the control socket."""
    away = ""
    purge_at = 0.0
    while not stop():
        try:
            with connect(url, autocommit=True) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                replica = bool(row and row[0])
                changes: _Changes = _Looked(connection) if replica else _Heard(connection)
                how = "looking at a replica" if replica else "listening"
                log.info("%s; %s is purged when rows change", how, control)
                away = ""
                _follow(changes, control, stop)
        except DatabaseError as error:
            if str(error) != away:
                log.warning("%s Trying again.", error)
                away = str(error)
            if time.monotonic() >= purge_at:
                purge_at = time.monotonic() + DEAF_S
                with suppress(NodeUnreachable):
                    pdns.purge(control)
            time.sleep(_PAUSE_S)


class _Heard:
    """Changes of a primary, which notifies."""

    over = False

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        for channel in CHANNELS:
            connection.execute(f"LISTEN {channel}")

    def come(self, wait_s: float) -> bool:
        """See `_Changes`."""
        if not any(True for _ in self._connection.notifies(timeout=max(wait_s, 0.001), stop_after=1)):
            return False
        for _ in self._connection.notifies(timeout=LEAST_S):
            pass
        return True


class _Looked:
    """Changes that a replica has replayed."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.over = False
        self._connection = connection
        self._seen = self._look()

    def _look(self) -> tuple[int, int] | None:
        row = self._connection.execute(
            "SELECT pg_is_in_recovery(), names, conditions FROM dns.changes"
        ).fetchone()
        # Once it is a primary it notifies, and its numbers are not looked at any more.
        self.over = row is not None and not row[0]
        return None if row is None else (row[1], row[2])

    def come(self, wait_s: float) -> bool:
        """See `_Changes`."""
        ends = time.monotonic() + wait_s
        while not self.over:
            left_s = ends - time.monotonic()
            time.sleep(min(LOOK_S, max(left_s, 0)))
            before, self._seen = self._seen, self._look()
            if self._seen != before:
                return True
            if left_s <= LOOK_S:
                break
        return False


def _follow(changes: _Changes, control: Path, stop: Callable[[], bool]) -> None:
    # What came before is not known: so it begins.
    due = [time.monotonic()]
    away = ""
    while not stop() and not changes.over:
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
        if changes.come(wait_s):
            now = time.monotonic()
            due = [now, now + AGAIN_S]
