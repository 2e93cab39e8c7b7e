"""What `dialplane call ...` does: each function takes a connection of `store.connect` and returns dataclasses."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.calls import store
from controller.calls.fold import extra_of
from controller.errors import InputError, NodeError


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One call, with its legs on every hop: `legs` are (node, what the node says of the leg)."""

    call: str
    account: str
    caller: str
    called: str
    state: str
    legs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listing:
    """Live calls, and the nodes that could not be asked, each with why: a silent node is not an empty one."""

    calls: list[LiveCall]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a command on one leg. `ok` None: unknown. `call`: of several, which one."""

    node: str
    leg: str
    ok: bool | None
    text: str
    call: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a call's story; `offset_ms` from its start."""

    offset_ms: int
    node: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The story of a call and its record (a row of control.call_records, None if there is none yet)."""

    call: str
    started_at: dt.datetime
    steps: list[Step]
    record: dict[str, Any] | None


async def list_calls(connection: store.Connection, *, timeout_s: float = 5) -> Listing:
    """Ask every node for its calls and merge the legs by call id."""
    legs: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    unknown: dict[str, str] = {}
    rows = await connection.execute(
        "SELECT name FROM public.nodes WHERE state <> 'disabled' ORDER BY kind, name"
    )
    names = [row["name"] for row in await rows.fetchall()]

    async def one(node: str) -> None:
        try:
            said = await store.ask(connection, node, "calls", {}, timeout_s)
        except NodeError as error:
            unknown[node] = str(error)
            return
        for call, found in said["calls"].items():
            legs.setdefault(call, []).extend((node, leg) for leg in found)

    await asyncio.gather(*(one(name) for name in names))
    return Listing(
        [_live(call, sorted(found, key=lambda one: one[0])) for call, found in sorted(legs.items())], unknown
    )


def _live(call: str, legs: list[tuple[str, dict[str, Any]]]) -> LiveCall:
    everything = [leg for _, leg in legs]
    asking = [leg for leg in everything if leg.get("leg") in ("in", "straight")] or everything

    def first(*names: str) -> str:
        # The caller's own leg says who calls; an outgoing one names the called device.
        ways = ((name, told) for told in (asking, everything) for name in names)
        return next((str(leg[name]) for name, told in ways for leg in told if leg.get(name)), "")

    state = "up" if any(leg.get("state") == "up" for leg in asking) else "ringing"
    caller, called = first("device", "user", "caller"), first("called", "exten")
    return LiveCall(call, first("account"), caller, called, state, legs)


async def watch(connection: store.Connection, *, every_s: float = 1) -> AsyncIterator[Listing]:
    """Listings, one whenever something changed."""
    before: Listing | None = None
    while True:
        now = await list_calls(connection)
        if now != before:
            yield now
            before = now
        await asyncio.sleep(every_s)


async def hangup(connection: store.Connection, call: str) -> list[Receipt]:
    """End the call: on its media nodes, whose BYEs end the edge's dialogs; on the edge if it went straight.

    InputError: no node carries it. A node that cannot be asked is a receipt with `ok` None.
    """
    listing = await list_calls(connection)
    live = _one(listing, call)
    return [
        *(Receipt(node, "", None, why) for node, why in listing.unknown.items()),
        *await end(connection, [live]),
    ]


async def end(connection: store.Connection, calls: Sequence[LiveCall]) -> list[Receipt]:
    """End calls that were listed, each node asked once for all of them: on their media nodes; on their edges those that
    have none, or of which one could not be asked."""
    straight = [live for live in calls if not _on(live, media=True)]
    there, here = await asyncio.gather(
        _end_on(connection, calls, media=True), _end_on(connection, straight, media=False)
    )
    sure: dict[str, bool] = {}
    for one in there:
        sure[one.call] = sure.get(one.call, True) and bool(one.ok)
    left = [live for live in calls if _on(live, media=True) and not sure.get(live.call)]
    return [*there, *here, *await _end_on(connection, left, media=False)]


def _on(live: LiveCall, *, media: bool) -> list[str]:
    return sorted({node for node, leg in live.legs if ("name" in leg) is media})


async def _end_on(connection: store.Connection, calls: Sequence[LiveCall], *, media: bool) -> list[Receipt]:
    of: dict[str, list[str]] = {}
    for live in calls:
        for node in _on(live, media=media):
            of.setdefault(node, []).append(live.call)
    told = await asyncio.gather(
        *(_do(connection, node, "hangup", {"calls": ids}, ids) for node, ids in sorted(of.items()))
    )
    return [one for some in told for one in some]


async def transfer(connection: store.Connection, call: str, to: str) -> list[Receipt]:
    """Send the caller of the call to `to`. InputError: a call straight from phone to phone, no media node has it."""
    live = _one(await list_calls(connection), call)
    media = sorted({node for node, leg in live.legs if "name" in leg})
    if not media:
        raise InputError(f"call {live.call} goes straight from phone to phone: no media node can transfer it")
    return [
        one
        for node in media
        for one in await _do(connection, node, "transfer", {"call": live.call, "to": to})
    ]


async def originate(connection: store.Connection, who: str, to: str, *, ring_s: int = 30) -> str:
    """Ring `who` (one device by its AOR, or all devices of `user@account`, the preferred one first), then dial `to` in
    its name; the call's id.

    The errors are those of `store.ask`; InputError: no such device, or no media node that is enabled.
    """
    rows = await connection.execute(
        """SELECT a.name AS account, u.name AS user, d.name || '@' || dom.name AS aor, d.preferred,
            (SELECT n.name FROM public.nodes n WHERE n.cluster_id = a.cluster_id AND n.state = 'enabled'
             ORDER BY random() LIMIT 1) AS node
        FROM public.devices d JOIN public.domains dom ON dom.id = d.domain_id
            JOIN public.accounts a ON a.id = d.account_id LEFT JOIN public.users u ON u.id = d.user_id
        WHERE d.enabled AND (d.name || '@' || dom.name = %(who)s OR u.name || '@' || a.name = %(who)s)
        ORDER BY d.name || '@' || dom.name""",
        {"who": who},
    )
    found = await rows.fetchall()
    found = [row for row in found if row["aor"] == who] or found
    if not found:
        raise InputError(f"{who}: no enabled device and no user@account of that name")
    row = found[0]
    if row["node"] is None:
        raise InputError(f"account {row['account']}: no media node of its cluster is enabled")
    arguments = {
        "devices": [one["aor"] for one in found],
        "first": next((one["aor"] for one in found if one["preferred"]), None),
        "user": row["user"],
        "account": row["account"],
        "to": to,
        "ring_s": ring_s,
    }
    said = await store.ask(connection, row["node"], "originate", arguments, ring_s + 15)
    return str(said["call"])


async def rpc(connection: store.Connection, node: str, method: str, parameters: Sequence[str | int]) -> Any:
    """A method of an edge's JSON-RPC, by its agent; the errors are those of `store.ask`."""
    said = await store.ask(connection, node, "rpc", {"method": method, "parameters": list(parameters)})
    return said["result"]


async def trace(connection: store.Connection, call: str) -> Trace:
    """Everything said about the call, by time. InputError if nothing was."""
    call = await store.whole_id(connection, call)
    facts = sorted(await store.facts_of(connection, call), key=lambda one: (one.at, one.line))
    own = [one for one in facts if not one.call_id.startswith("node:")]
    if not own:
        raise InputError(f"call {call}: nothing is known of it (yet: spools are shipped every second)")
    start = own[0].at
    steps = [
        Step(
            round((one.at - start).total_seconds() * 1000), one.node, one.event, _text(one.event, one.detail)
        )
        for one in facts
        if one.at >= start
    ]
    return Trace(call, start, steps, await store.record_of(connection, call))


def _text(event: str, said: dict[str, Any]) -> str:
    if "eventtype" in said:
        extra = extra_of(said)
        if event.startswith("dp."):
            return str(extra.get("extra", ""))
        told = " ".join(f"{name} {value}" for name, value in extra.items() if value != "")
        return " ".join(str(part) for part in (said.get("channame"), said.get("exten"), told) if part)
    parts = [
        f"{name} {said[name]}"
        for name in ("leg", "caller", "called", "trunk", "media", "by", "reason")
        if said.get(name)
    ]
    return " ".join([*parts, *([f"status {said['status']}"] if said.get("status") else [])])


def _one(listing: Listing, call: str) -> LiveCall:
    """The call of that id; the beginning of an id is enough when it is one only."""
    found = [one for one in listing.calls if one.call == call] or [
        one for one in listing.calls if one.call.startswith(call)
    ]
    if len(found) != 1:
        silent = f"; not asked: {', '.join(listing.unknown)}" if listing.unknown else ""
        raise InputError(f"call {call}: {len(found)} live calls of that name{silent}")
    return found[0]


async def _do(
    connection: store.Connection,
    node: str,
    verb: str,
    arguments: dict[str, Any],
    calls: Sequence[str] = ("",),
) -> list[Receipt]:
    try:
        said = await store.ask(connection, node, verb, arguments)
    except NodeError as error:
        return [Receipt(node, "", None, str(error), call) for call in calls]
    return [
        Receipt(node, one["leg"], one["ok"], one["text"], one.get("call", "")) for one in said["receipts"]
    ]
