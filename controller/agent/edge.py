"""The Kamailio beside an agent, over JSON-RPC.

Many changes go the same way as one, pipelined: `htable.reload` reads a whole table into private memory first, keeps the
only RPC process busy for as long, and drops what an operator may need to see. It is the repair for keys
nobody can list in a table too big to dump.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from controller.agent.operations import Rpc, edge_operations
from controller.agent.server import Failures, Running, Slice
from controller.agent.state import State, Wanted
from controller.catalog import TABLES
from controller.entries import Kind
from controller.errors import NodeRefused, UnsafeValue
from controller.wire.jsonrpc import JsonRpc, Refusal, Request

# A dump in one datagram: below it the answer (name, value, braces) stays under Kamailio's 128 kB.
_LIST_LIMIT = 150
# Keys compared in one go: new changes wait for it, some ten milliseconds.
_PAGE = 500
_FILL_PAGE = 2_000
_ABSENT = "doesn't exist"


class Edge:
    """One Kamailio. Requests run in a thread, one batch at a time."""

    kind = Kind.EDGE.value
    tables = tuple(name for kind, name in TABLES if kind == Kind.EDGE)

    def __init__(self, rpc: JsonRpc, state: State) -> None:
        self._rpc = rpc
        self._state = state
        self._filled: dict[str, str] = {}

    async def close(self) -> None:
        """Close the socket."""
        self._rpc.close()

    async def running(self) -> Running:
        """Time of start (full seconds), process id (1 in a container), when its socket was made; its dialogs."""
        ask: list[Request] = [("core.uptime", ()), ("core.ps", ()), ("dlg.stats_active", ())]
        answers: list[Any] = await asyncio.to_thread(self._rpc.calls, ask)
        for answer in answers:
            if isinstance(answer, Refusal):
                raise NodeRefused(
                    f"core.uptime, core.ps, dlg.stats_active: Kamailio refused: {answer.message}"
                )
        uptime, processes, dialogs = answers
        return Running(
            f"{uptime['up_since']} pid {processes[0]} socket {self._rpc.made_ns()}", dialogs["all"]
        )

    async def slice(self, table: str, after: str) -> tuple[Slice, str | None]:
        """A small table as a whole, from a dump; a big one by keys."""
        return await asyncio.to_thread(self._slice, table, after)

    def _slice(self, table: str, after: str) -> tuple[Slice, str | None]:
        if not after:
            listed = self._listing(table)
            if listed is not None and self._state.count(table) <= _LIST_LIMIT:
                return Slice(self._state.page(table, "", _LIST_LIMIT), listed), None
        # An empty table, page after page of one pass: there is no use in reading it before it is filled.
        if not after:
            self._filled.pop(table, None)
        filling = self._filled.get(table) == after if after else not self._count(table)
        meant = self._state.page(table, after, _FILL_PAGE if filling else _PAGE)
        if not meant:
            return Slice({}, {}), None
        if filling:
            self._filled[table] = max(meant)
            return Slice(meant, dict.fromkeys(meant)), max(meant)
        return Slice(meant, self._read(table, list(meant))), max(meant)

    async def surplus(self, table: str) -> int:
        """Keys beyond those meant, by count."""
        held = await asyncio.to_thread(self._count, table)
        return max(0, (held or 0) - self._state.count(table))

    def _count(self, table: str) -> int | None:
        if table == "registration":
            listed = self._registrations()
            return None if listed is None else len(listed)
        for row in self._rpc.call("htable.stats"):
            if row["name"] == table:
                return int(row["all"])
        raise NodeRefused(
            f"Kamailio has no table {table}: add modparam('htable', 'htable', '{table}=>...') to its configuration"
        )

    async def read(self, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        """`htable.get` or `uac.reg_info` for each key."""
        return await asyncio.to_thread(self._read, table, keys)

    def _read(self, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        if table == "registration":
            answers = self._rpc.calls(("uac.reg_info", ("l_uuid", key)) for key in keys)
            return {key: _registration(answer) for key, answer in zip(keys, answers, strict=True)}
        answers = self._rpc.calls(("htable.get", (table, key)) for key in keys)
        return {key: _item(table, answer) for key, answer in zip(keys, answers, strict=True)}

    async def apply(self, wanted: Sequence[Wanted]) -> Failures:
        """Send what `edge_operations` decides."""
        return await asyncio.to_thread(self._apply, wanted)

    def _apply(self, wanted: Sequence[Wanted]) -> Failures:
        failures: Failures = {}
        operations = list(_decided(wanted, failures))
        if not failures:
            self._send(operations, failures)
            return failures
        # A value that cannot be carried must not keep the others from their server.
        self._send([one for one in operations if (one.table, one.key) not in failures], failures)
        return failures

    def _send(self, operations: list[Rpc], failures: Failures) -> None:
        try:
            answers = self._rpc.calls((one.method, one.params) for one in operations)
        except UnsafeValue as error:
            if len(operations) == 1:
                failures[operations[0].table, operations[0].key] = str(error)
                return
            for one in operations:
                self._send([one], failures)
            return
        for one, answer in zip(operations, answers, strict=True):
            if isinstance(answer, Refusal) and answer.code != one.fine_code:
                failures[one.table, one.key] = f"{one.method}: {answer.code} {answer.message}"

    def _listing(self, table: str) -> dict[str, str | None] | None:
        if table == "registration":
            return self._registrations()
        if (self._count(table) or 0) > _LIST_LIMIT:
            return None
        dumped = self._rpc.call("htable.dump", table)
        # No slot at all is an empty object.
        slots: list[dict[str, Any]] = dumped if isinstance(dumped, list) else []
        return {item["name"]: str(item["value"]) for slot in slots for item in slot["slot"]}

    def _registrations(self) -> dict[str, str | None] | None:
        dumped = self._rpc.call("uac.reg_dump")
        rows: list[dict[str, Any]] = dumped if isinstance(dumped, list) else [dumped] if dumped else []
        return {row["l_uuid"]: _registration(row) for row in rows}

    def coverage(self) -> None:
        """Everything is compared each time."""

    async def fill(self) -> None:
        """Nothing: an empty table is filled by the comparison, without reading it first."""

    async def refill(self, table: str) -> str | None:
        """`htable.reload`; registrations have no such way that would keep the others."""
        if table == "registration":
            return "registrations are changed one by one"
        try:
            await asyncio.to_thread(self._rpc.call, "htable.reload", table)
        except NodeRefused as error:
            return f"{error}; it may need more private memory (kamailio -M)"
        return None


def _decided(wanted: Sequence[Wanted], failures: Failures) -> Iterator[Rpc]:
    for one in wanted:
        try:
            yield from edge_operations((one,))
        except UnsafeValue as error:
            failures[one.table, one.key] = str(error)


def _item(table: str, answer: Any) -> str | None:
    if isinstance(answer, Refusal):
        if _ABSENT in answer.message:
            return None
        raise NodeRefused(f"htable.get {table}: Kamailio refused: {answer.code} {answer.message}")
    return str(answer["item"]["value"])


def _registration(answer: Any) -> str | None:
    if isinstance(answer, Refusal):
        if answer.code == 404:  # noqa: PLR2004  not found
            return None
        raise NodeRefused(f"uac.reg_info: Kamailio refused: {answer.code} {answer.message}")
    place, _, transport = str(answer["auth_proxy"]).removeprefix("sip:").partition(";transport=")
    values = {
        "user": answer["auth_username"],
        "realm": answer["realm"],
        "ha1": answer["auth_ha1"],
        "host": answer["r_domain"],
        "port": place.rpartition(":")[2],
        "transport": transport,
        "expires": answer["expires"],
    }
    return ";".join(
        f"{name}={value}" for name, value in values.items() if value not in (None, "", "none", ".")
    )
