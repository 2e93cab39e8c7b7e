"""Steps that tests of messages have in common, and what runs beside an edge: its agent, the process that delivers."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from controller.calls.registrations import Registrations
from controller.calls.service import CallService
from controller.messages.carriers import Carrier
from controller.messages.engine import Engine
from controller.messages.outbox import Outbox
from controller.wire.jsonrpc import JsonRpc
from tests.edge.edge import Edge
from tests.edge.message import Message, challenge_of, credentials
from tests.edge.phone import Endpoint

TEXT = (("Content-Type", "text/plain;charset=UTF-8"),)
GREETING = "Grüße aus Köln, привет, 你好 'quoted' $ru \"x\""
LONGEST_S = 30
_ENTRY = """
    INSERT INTO control.entries (kind, scope, tbl, key, value, revision) VALUES (%s, %s, %s, %s, %s, 1)
    ON CONFLICT (kind, scope, tbl, key) DO UPDATE SET value = excluded.value"""


def said(
    phone: Endpoint,
    uri: str,
    body: str = GREETING,
    headers: tuple[tuple[str, str], ...] = TEXT,
    *,
    call_id: str | None = None,
) -> Message:
    """Sends a MESSAGE, answers the challenge; the MESSAGE that counts."""
    call_id = call_id or uuid.uuid4().hex
    first = phone.send("MESSAGE", uri, call_id=call_id, headers=headers, body=body, contact=False)
    answer = phone.expect(lambda m: m.status == 407 and m["Call-ID"] == call_id)
    proof = credentials(challenge_of(answer, "SHA-256"), "MESSAGE", uri, phone.user, phone.password)
    return phone.send(
        "MESSAGE", uri, call_id=call_id, cseq=2, from_=first["From"],
        headers=(*headers, ("Proxy-Authorization", proof)), body=body, contact=False,
    )  # fmt: skip


def final(phone: Endpoint, sent: Message, timeout: float = 8) -> Message:
    return phone.expect(
        lambda m: m.status >= 200 and m["Call-ID"] == sent["Call-ID"] and m["CSeq"] == sent["CSeq"], timeout
    )


def lines(edge: Edge) -> list[dict[str, Any]]:
    """What the edge wrote of messages, once what was sent a moment ago is in it."""
    time.sleep(0.1)
    found = [
        json.loads(line)
        for path in sorted((edge.home / "spool").glob("edge_*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [one for one in found if one["event"] == "message"]


def kept(edge: Edge) -> list[dict[str, Any]]:
    """Rows of the edge's file, decoded."""
    with closing(sqlite3.connect(edge.messages)) as file:
        file.row_factory = sqlite3.Row
        rows = [dict(row) for row in file.execute("SELECT * FROM message ORDER BY rowid")]
    for row in rows:
        row["body"] = base64.b64decode(row["body"]).decode()
        row["type"] = base64.b64decode(row["type"]).decode()
    return rows


def forget(edge: Edge) -> None:
    with closing(sqlite3.connect(edge.messages)) as file:
        file.execute("DELETE FROM message")
        file.commit()


def publish(url: str, entries: dict[str, dict[str, str]], kind: str = "edge", scope: str = "*") -> None:
    """Entries as a revision has them: table -> key -> value."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO control.revisions (id, state, author, reason, digest) "
            "VALUES (1, 'configuration', 'test', 'test', '') ON CONFLICT DO NOTHING"
        )
        for table, rows in entries.items():
            for key, value in rows.items():
                connection.execute(
                    _ENTRY,
                    (kind, scope, table, key, value),
                )


@asynccontextmanager
async def agent(
    url: str, edge: Edge, folder: Path, name: str = "edge1", *, ship_interval_s: float = 0.1
) -> AsyncIterator[None]:
    """The call half of the edge's agent, as long as it lasts."""
    with psycopg.connect(url) as connection:
        connection.execute(
            """INSERT INTO control.node_state (node, kind, revision, agent_started, heard_at, pending)
            VALUES (%s, 'edge', 0, now() - interval '1 hour', now() + interval '1 hour', 0)
            ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at""",
            (name,),
        )
    rpc = JsonRpc(edge.home / "rpc.sock")
    service = CallService(
        node=name, dsn=url, spool=edge.home / "spool", state=folder, rpc=rpc,
        registrations=Registrations(name, rpc, edge.location), outbox=Outbox(edge.messages),
        ship_interval_s=ship_interval_s,
    )  # fmt: skip
    task = asyncio.create_task(service.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        rpc.close()


@asynccontextmanager
async def engine(url: str, carriers: Sequence[Carrier] = ()) -> AsyncIterator[None]:
    """A process that delivers."""
    task = asyncio.create_task(Engine(url, carriers).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def record(url: str, message: str) -> dict[str, Any]:
    """The row of a message, with its deliveries (`to`: address -> state)."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        row = connection.execute("SELECT * FROM control.messages WHERE id = %s", (message,)).fetchone()
        rows = connection.execute(
            "SELECT address, state FROM control.message_deliveries WHERE message = %s ORDER BY id", (message,)
        ).fetchall()
    return (row or {}) | {"to": {one["address"]: one["state"] for one in rows}}


async def until(test: Callable[[], Any], longest_s: float = LONGEST_S) -> Any:
    """What it gives when it gives something."""
    found: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            while not (found := await asyncio.to_thread(test)):  # noqa: ASYNC110 - a row is awaited
                await asyncio.sleep(0.05)
    assert found
    return found
