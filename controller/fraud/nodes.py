"""What nodes do for an incident: end calls, remove contacts. Each piece may be done twice, so a process that was killed
leaves nothing that the next one cannot do again.

    await resume(connection)      # at start, and whenever an incident was written
    await follow(dsn)             # the same until cancelled, woken by channel dialplane_fraud

One process at a time does an action (an advisory lock of its session). An action that a node could not be asked about
is tried again, TRIES times at most; then it is failed, with what is known as its receipt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from psycopg.types.json import Jsonb

from controller.calls import operator, store
from controller.calls.store import Connection
from controller.errors import DatabaseError, NodeError
from controller.fraud.actions import is_meant

log = logging.getLogger("dialplane.fraud")

TRIES = 20
OTHERS_S = 15.0
# Until edges have read a new block back, calls begin; those are looked for once more.
_LIVE_S, _LOOK_S = 2.0, 0.02
_AGAIN_S = 1.0
_ASK_S = 3.0
# At first nobody waits for a node that is silent: what the others carry is ended, and the second look has time.
_ASK_FIRST_S = 0.5
Receipt = dict[str, Any]

_PENDING = """
    SELECT a.id, a.incident_id, a.action, a.target, a.receipt, a.tries
      FROM control.fraud_actions AS a JOIN public.fraud_incidents AS i ON i.id = a.incident_id
     WHERE a.state = 'pending' AND i.state = 'open' AND i.until > clock_timestamp()
       AND (%(incident)s::bigint IS NULL OR a.incident_id = %(incident)s)
     ORDER BY a.id"""
_LOCK = "SELECT pg_try_advisory_lock(hashtext('dialplane.fraud_action'), %s) AS mine"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('dialplane.fraud_action'), %s)"
_STILL = "SELECT FROM control.fraud_actions WHERE id = %s AND state = 'pending'"
_SAY = """
    UPDATE control.fraud_actions
       SET receipt = %(receipt)s, tries = tries + 1, state = CASE WHEN state = 'pending' THEN %(state)s ELSE state END,
           done_at = CASE WHEN %(state)s <> 'pending' THEN clock_timestamp() ELSE done_at END
     WHERE id = %(id)s"""
_BEHIND = """
    SELECT n.name FROM public.nodes AS n JOIN control.node_state AS s ON s.node = n.name
     WHERE n.kind = 'edge' AND n.state <> 'disabled' AND s.heard_at > clock_timestamp() - interval '10 seconds'
       AND (s.revision < %(revision)s OR coalesce(s.pending, 0) > 0)"""
_EMERGENCY = "SELECT DISTINCT number FROM public.emergency_numbers"
_EDGES = "SELECT name FROM public.nodes WHERE kind = 'edge' AND state <> 'disabled' ORDER BY name"


async def resume(connection: Connection, incident: int | None = None) -> int:
    """Do what is pending, of one incident or of all; how many actions are over now."""
    return sum(one is True for one in await _round(connection, incident))


async def finish(connection: Connection, incident: int) -> None:
    """The same for one incident, and wait for others that are at it; for OTHERS_S at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + OTHERS_S
    while loop.time() < deadline:
        if None not in await _round(connection, incident):
            return
        await asyncio.sleep(_LOOK_S)


async def _round(connection: Connection, incident: int | None) -> list[bool | None]:
    """Each pending action once: whether it is over; None: somebody else is at it."""
    rows = await (await connection.execute(_PENDING, {"incident": incident})).fetchall()
    # At once: a node that does not answer must not keep contacts where they are.
    told = await asyncio.gather(*(_alone(connection, row) for row in rows), return_exceptions=True)
    over: list[bool | None] = []
    for one in told:
        if isinstance(one, BaseException):
            raise one
        over.append(one)
    await connection.execute("SELECT control.close_handed_over()")
    return over


async def follow(dsn: str, stop: Callable[[], bool] = lambda: False) -> None:
    """Until `stop()`, which is asked every second, or cancelled; survives the database going away."""
    said = ""
    while not stop():
        try:
            async with store.connect(dsn) as listening, store.connect(dsn) as working:
                await listening.execute("LISTEN dialplane_fraud")
                await _work_off(listening, working, stop)
        except DatabaseError as error:
            if str(error) != said:
                log.warning("%s; trying again", error)
            said = str(error)
        await asyncio.sleep(_AGAIN_S)


async def _work_off(listening: Connection, working: Connection, stop: Callable[[], bool]) -> None:
    """Until `stop()`. What takes long, as a node is silent, keeps nothing that is pending later waiting."""
    busy: dict[int, asyncio.Task[bool | None]] = {}
    try:
        while not stop():
            for row in await (await working.execute(_PENDING, {"incident": None})).fetchall():
                if row["id"] not in busy:
                    busy[row["id"]] = asyncio.create_task(_alone(working, row))
            async for _ in listening.notifies(timeout=_AGAIN_S, stop_after=1):
                break
            for number in [number for number, task in busy.items() if task.done()]:
                busy.pop(number).result()
            await working.execute("SELECT control.close_handed_over()")
    finally:
        for task in busy.values():
            task.cancel()
        await asyncio.gather(*busy.values(), return_exceptions=True)


async def _alone(connection: Connection, row: dict[str, Any]) -> bool | None:
    """The action: whether it is over; None: somebody else is at it."""
    locked = await (await connection.execute(_LOCK, (row["id"],))).fetchone()
    if not locked or not locked["mine"]:
        return None
    try:
        if await (await connection.execute(_STILL, (row["id"],))).fetchone() is None:
            return False
        return await _one(connection, row)
    finally:
        await connection.execute(_UNLOCK, (row["id"],))


async def _one(connection: Connection, row: dict[str, Any]) -> bool:
    """Do one action once; whether it is over."""
    work = _WORK[row["action"]]
    receipts, sure = await work(connection, row["target"])
    # What was done before stays said.
    told = list(row["receipt"]) + [one for one in receipts if one not in row["receipt"]]
    state = "done" if sure else "pending" if row["tries"] + 1 < TRIES else "failed"
    await connection.execute(_SAY, {"id": row["id"], "receipt": Jsonb(told), "state": state})
    log.info("incident %d: %s: %s", row["incident_id"], row["action"], state)
    return state != "pending"


async def _end_calls(connection: Connection, target: dict[str, Any]) -> tuple[list[Receipt], bool]:
    """End the calls that are meant; once more when every edge has the blocks, for what began meanwhile."""
    emergency = {str(one["number"]) for one in await (await connection.execute(_EMERGENCY)).fetchall()}
    first, _ = await _end_once(connection, target, emergency, _ASK_FIRST_S)
    await live(connection)
    second, all_asked = await _end_once(connection, target, emergency, _ASK_S)
    told = [one for one in first if "call" in one]
    told += [one for one in second if one not in told]
    return told, all_asked and all(one["ok"] is not None for one in second)


async def _end_once(
    connection: Connection, target: dict[str, Any], emergency: set[str], ask_s: float
) -> tuple[list[Receipt], bool]:
    listing = await operator.list_calls(connection, timeout_s=ask_s)
    receipts: list[Receipt] = [
        {"ok": None, "node": node, "text": why} for node, why in listing.unknown.items()
    ]
    meant = [
        call
        for call in listing.calls
        if is_meant(call.call, [leg for _, leg in call.legs], target, emergency)
    ]
    for one in await operator.end(connection, meant):
        receipts.append({"ok": one.ok, "call": one.call, "node": one.node, "leg": one.leg, "text": one.text})
    return receipts, not listing.unknown


async def _unregister(connection: Connection, target: dict[str, Any]) -> tuple[list[Receipt], bool]:
    """Have each edge ask the phones to fetch their configuration, and remove their contacts."""
    receipts: list[Receipt] = []
    sure = True
    edges = [str(row["name"]) for row in await (await connection.execute(_EDGES)).fetchall()]
    # Each home has to have asked before anybody removes what others know by it.
    for rest in (False, True):
        for edge in edges:
            for aor in target["devices"]:
                try:
                    asked = {"device": aor, "rest": rest}
                    said = await store.ask(connection, edge, "unregister", asked, _ASK_S)
                except NodeError as error:
                    receipts.append({"ok": None, "node": edge, "device": aor, "text": str(error)})
                    sure = False
                else:
                    receipts += [{"node": edge, "device": aor, **one} for one in said["receipts"]]
    return receipts, sure


async def live(connection: Connection) -> None:
    """Wait until every edge that is heard of has read back what is published now; _LIVE_S at most."""
    row = await (
        await connection.execute("SELECT coalesce(max(id), 0) AS id FROM control.revisions")
    ).fetchone()
    revision = row["id"] if row else 0
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LIVE_S
    while loop.time() < deadline:
        rows = await connection.execute(_BEHIND, {"revision": revision})
        if not await rows.fetchall():
            return
        await asyncio.sleep(_LOOK_S)


_WORK: dict[str, Callable[[Connection, dict[str, Any]], Awaitable[tuple[list[Receipt], bool]]]] = {
    "end_calls": _end_calls,
    "unregister": _unregister,
}
