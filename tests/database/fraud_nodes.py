"""Nodes that have calls and contacts, for tests of what they are asked when a verdict is enforced."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

DESK, LOBBY = "desk1@acme.example", "lobby@acme.example"


def legs(call: str, device: str, number: str, *, user: str = "alice") -> dict[str, list[dict[str, Any]]]:
    """Legs of a call to outside, on edge and media node."""
    told = {"call": call, "account": "acme"}
    return {
        "edge1": [
            told
            | {"id": "1:1", "leg": "in", "device": device, "caller": user, "called": number, "trunk": ""},
            told
            | {
                "id": "1:2",
                "leg": "out",
                "device": "",
                "caller": "+49305",
                "called": number,
                "trunk": "carrier-a",
            },
        ],
        "media1": [
            told | {"name": f"PJSIP/edge-{call}", "user": user, "exten": number, "state": "Up"},
            told | {"name": f"PJSIP/out-{call}", "user": user, "exten": number, "state": "Up"},
        ],
    }


class Nodes:
    """`with Nodes(url) as nodes:` edge1 and media1 answer. `calls`: node -> call -> legs; `contacts`: AOR -> number.

    `stop_at`: the command of that number is taken and not done until `go_on`; `stopped` says that it came.
    """

    def __init__(self, url: str, stop_at: int | None = None) -> None:
        self.calls: dict[str, dict[str, list[dict[str, Any]]]] = {"edge1": {}, "media1": {}}
        self.contacts: dict[str, int] = {}
        self.did: list[str] = []
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self.failing: set[str] = set()
        self.silent: set[str] = set()
        self._url, self._stop_at = url, stop_at
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def add(self, call: str, device: str = DESK, number: str = "+88213555", **more: str) -> None:
        """A call that is up."""
        for node, held in legs(call, device, number, **more).items():
            self.calls[node][call] = held

    def up(self) -> set[str]:
        """Calls that some node has."""
        return {call for calls in self.calls.values() for call in calls}

    def settle(self) -> None:
        """Until everything that was asked is done, also what somebody asked who is no more."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            deadline = time.monotonic() + 10
            while (
                connection.execute("SELECT FROM control.node_commands WHERE done_at IS NULL").fetchone()
                is not None
            ):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def __enter__(self) -> Nodes:
        with psycopg.connect(self._url) as connection:
            connection.execute("UPDATE nodes SET state = 'disabled' WHERE name NOT IN ('edge1', 'media1')")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._end.set()
        self.go_on.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True, row_factory=dict_row) as connection:
            while not self._end.is_set():
                row = connection.execute(
                    "UPDATE control.node_commands SET taken_at = now() WHERE id = (SELECT min(id) FROM"
                    " control.node_commands WHERE taken_at IS NULL AND node <> ALL (%s))"
                    " RETURNING id, node, verb, arguments",
                    (list(self.silent),),
                ).fetchone()
                if row is None:
                    time.sleep(0.005)
                    continue
                if (
                    self._stop_at is not None
                    and len(self.did) + 1 == self._stop_at
                    and not self.stopped.is_set()
                ):
                    self.stopped.set()
                    self.go_on.wait()
                self.did.append(f"{row['node']} {row['verb']}")
                connection.execute(
                    "UPDATE control.node_commands SET done_at = now(), result = %s WHERE id = %s AND done_at IS NULL",
                    (Jsonb(self._do(row["node"], row["verb"], row["arguments"])), row["id"]),
                )

    def _do(self, node: str, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if node in self.failing:
            return {"outcome": "unknown", "error": "it does not answer"}
        if verb == "calls":
            return {"calls": self.calls[node]}
        if verb == "hangup":
            gone = [
                (call, leg)
                for call in arguments["calls"]
                for held in self.calls.values()
                for leg in held.pop(call, [])
            ]
            mine = [
                (call, str(leg.get("name") or leg["id"]))
                for call, leg in gone
                if ("name" in leg) == (node == "media1")
            ]
            return {
                "receipts": [{"call": call, "leg": leg, "ok": True, "text": "ended"} for call, leg in mine]
            }
        number = self.contacts.pop(arguments["device"], 0)
        return {"receipts": [{"ok": True, "contact": f"sip:{n}", "asked": True} for n in range(number)]}
