"""Who is registered at this edge, kept in `control.registrations`.

A line of the spool says that the contacts of an address of record changed. How many there are, the edge is asked
(`ul.lookup`): so neither order nor age of lines matters, and many lines about one device cost one look. What lines
cannot say (the agent or the database was away, the edge restarted) is found by comparison with the edge's own file
of contacts, which costs the edge nothing at any size. That file is some seconds late, so it only tells
where to look, and is read a second time after a start.

Edges of one device group know the contacts of each other. Each agent tells of those that are at home at its own edge
(`server_id`; 0: written before the edge had one), so that every contact is told of once.

Until a comparison has ended, `control.registered` says that nothing is known of this edge.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from controller.calls.facts import DEVICE, Fact
from controller.calls.store import Connection, utc_now
from controller.entries import server_id
from controller.errors import NodeRefused
from controller.wire.jsonrpc import JsonRpc, Refusal

# Devices looked up, and stored, in one go: some ten milliseconds of the edge's RPC process.
_BATCH = 500
# The edge writes its file every 10 s (usrloc, timer_interval).
_SECOND_LOOK_S = 20.0
_COMPARE_S = 3600.0
_WATCH_S = 5.0
# The second: they are over, but not cleared away yet.
_NONE = ("AOR not found in location table", "AOR has no contacts")
_USER_AGENT = 255

_PAGE = """
    SELECT username, domain, count(*) FROM location WHERE (username, domain) > (?, ?) AND server_id IN (0, ?)
     GROUP BY username, domain ORDER BY username, domain LIMIT ?"""
_THERE = (
    "SELECT username, domain FROM location WHERE username = ? AND domain = ? AND server_id IN (0, ?) LIMIT 1"
)
_KNOWN = "SELECT aor, contacts FROM control.registrations WHERE edge = %s AND aor = ANY (%s)"
_NEXT = """
    SELECT aor FROM control.registrations WHERE edge = %s AND contacts > 0 AND aor > %s ORDER BY aor LIMIT %s"""
_STORE = """
    INSERT INTO control.registrations AS r (edge, aor, contacts, since, user_agent)
    SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::timestamptz[], %s::text[])
    ON CONFLICT (aor, edge) DO UPDATE SET
        contacts = excluded.contacts, user_agent = coalesce(excluded.user_agent, r.user_agent),
        since = CASE WHEN (r.contacts = 0) = (excluded.contacts = 0) THEN r.since ELSE excluded.since END
    WHERE r.contacts <> excluded.contacts
       OR r.user_agent IS DISTINCT FROM coalesce(excluded.user_agent, r.user_agent)"""
_COMPARED = """
    INSERT INTO control.registrars (edge, compared_at) VALUES (%(edge)s, {at})
    ON CONFLICT (edge) DO UPDATE SET compared_at = excluded.compared_at"""
_FORGET = """
    DELETE FROM control.registrations WHERE edge = %s AND contacts = 0 AND since < now() - interval '90 days'"""


class Contacts(NamedTuple):
    """Of one device at this edge."""

    number: int
    user_agent: str | None


class Registrations:
    """`location`: the edge's file of contacts. One task uses it, but for `heard`."""

    def __init__(self, node: str, rpc: JsonRpc, location: Path) -> None:
        self._node, self._rpc, self._location = node, rpc, location
        self._id = server_id(node)
        self._changed: dict[str, dt.datetime] = {}
        self._news = asyncio.Event()

    def heard(self, facts: Iterable[Fact]) -> None:
        """Lines of the spool about devices. They need not be kept: who starts compares everything."""
        for fact in facts:
            self._changed[fact.call_id.removeprefix(DEVICE)] = fact.at
            self._news.set()

    async def follow(self, connection: Connection) -> None:
        """Keep the table right until the database or the edge is lost. DatabaseError, NodeError, OSError."""
        loop = asyncio.get_running_loop()
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(_COMPARED.format(at="NULL"), {"edge": self._node})
        started = await self._started()
        again_at = loop.time() + _SECOND_LOOK_S
        await self.compare(connection)
        while True:
            await self.store(connection)
            if loop.time() >= again_at:
                again_at = loop.time() + _COMPARE_S
                await self.compare(connection)
            try:
                async with asyncio.timeout(_WATCH_S):
                    await self._news.wait()
            except TimeoutError:
                if await self._started() != started:
                    return
            self._news.clear()

    async def _started(self) -> str:
        said = await asyncio.to_thread(self._rpc.call, "core.uptime")
        return str(said["up_since"])

    async def store(self, connection: Connection) -> None:
        """Ask the edge about all that changed, and store what it says. What fails stays to be done."""
        while self._changed:
            batch = dict(islice(self._changed.items(), _BATCH))
            found = await asyncio.to_thread(self._look, list(batch))
            await connection.execute(
                _STORE,
                (
                    self._node,
                    list(batch),
                    [found[aor].number for aor in batch],
                    list(batch.values()),
                    [found[aor].user_agent for aor in batch],
                ),
            )
            for aor, at in batch.items():
                if self._changed.get(aor) is at:
                    del self._changed[aor]

    async def compare(self, connection: Connection) -> None:
        """Look at every device of which the edge's file and the table say different things."""
        after = ("", "")
        while page := await asyncio.to_thread(self._page, after):
            after = max(page)
            count = {f"{user}@{domain}": number for (user, domain), number in page.items()}
            rows = await connection.execute(_KNOWN, (self._node, list(count)))
            known = {row["aor"]: row["contacts"] for row in await rows.fetchall()}
            await self._doubt(connection, (aor for aor, number in count.items() if known.get(aor) != number))
        last = ""
        while True:
            rows = await connection.execute(_NEXT, (self._node, last, _BATCH))
            there = [str(row["aor"]) for row in await rows.fetchall()]
            if not there:
                break
            last = there[-1]
            await self._doubt(connection, await asyncio.to_thread(self._absent, there))
        await connection.execute(_FORGET, (self._node,))
        await connection.execute(_COMPARED.format(at="clock_timestamp()"), {"edge": self._node})

    async def _doubt(self, connection: Connection, aors: Iterable[str]) -> None:
        now = utc_now()
        for aor in aors:
            self._changed.setdefault(aor, now)
        await self.store(connection)

    # --- the edge -----------------------------------------------------------------------------------------

    def _look(self, aors: list[str]) -> dict[str, Contacts]:
        answers = self._rpc.calls([("ul.lookup", ("location", aor)) for aor in aors])
        return {aor: _contacts(aor, answer, self._id) for aor, answer in zip(aors, answers, strict=True)}

    def _page(self, after: tuple[str, str]) -> dict[tuple[str, str], int]:
        return {(row[0], row[1]): row[2] for row in self._read([(*after, self._id, _BATCH)], _PAGE)}

    def _absent(self, aors: list[str]) -> list[str]:
        there = {
            f"{row[0]}@{row[1]}"
            for row in self._read([(*aor.split("@", 1), self._id) for aor in aors], _THERE)
        }
        return [aor for aor in aors if aor not in there]

    def _read(self, each: Iterable[Sequence[str | int]], statement: str) -> list[Any]:
        """The rows of the statement with each of these values."""
        try:
            with closing(
                sqlite3.connect(f"{self._location.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
            ) as file:
                return [row for values in each for row in file.execute(statement, values)]
        except sqlite3.Error as error:
            raise NodeRefused(
                f"contacts of the edge, {self._location}: {error}; the agent must be able to read that file and those "
                "beside it (a group in common with Kamailio), or is it elsewhere (location, DIALPLANE_LOCATION)?"
            ) from None


def _contacts(aor: str, answer: Any, home: int) -> Contacts:
    if isinstance(answer, Refusal):
        if answer.message in _NONE:
            return Contacts(0, None)
        raise NodeRefused(f"ul.lookup {aor}: Kamailio refused: {answer.code} {answer.message}")
    there = [one["Contact"] for one in answer["Contacts"] if one["Contact"]["Server-Id"] in (0, home)]
    if not there:
        return Contacts(0, None)
    newest = max(there, key=lambda one: int(one["Last-Modified"]))
    # A phone may call itself anything, or nothing.
    name = "".join(char if char.isprintable() else "?" for char in str(newest["User-Agent"]))[:_USER_AGENT]
    return Contacts(len(there), None if name in ("", "n/a") else name)
