"""A Kamailio of ours: the JSON-RPC of htable, uac and core over a Unix datagram socket, answered as 6.1.5 does.

The contract suite runs on it and on the real one, so it stays honest. `mangle` breaks answers on purpose.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REGISTRATION = (
    *("l_uuid", "l_username", "l_domain", "r_username", "r_domain", "realm"),
    *("auth_username", "auth_password", "auth_ha1", "auth_proxy", "expires"),
)


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class FakeKamailio:
    def __init__(self, path: Path, tables: tuple[str, ...]) -> None:
        self.path = path
        self.tables: dict[str, dict[str, str]] = {table: {} for table in tables}
        self.registrations: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, list[Any]]] = []
        self.mangle: Callable[[bytes], bytes | None] = lambda answer: answer
        self.starts = 0
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.starts += 1
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._serve, args=(self._socket,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            if self._thread is not None:
                self._thread.join(2)
            self._socket.close()
            self._socket = None
        self.path.unlink(missing_ok=True)

    def restart(self) -> None:
        """A new process: memory is gone."""
        self.stop()
        for table in self.tables.values():
            table.clear()
        self.registrations.clear()
        self.start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                data, sender = listening.recvfrom(65_456)
            except OSError:
                return
            if not data:
                return
            answer = self._answer(data)
            if answer is not None:
                answer = self.mangle(answer)
            if answer is not None and len(answer) < 131_072:
                try:
                    listening.sendto(answer, sender)
                except OSError:
                    continue

    def _answer(self, data: bytes) -> bytes | None:
        try:
            request = json.loads(data)
        except ValueError:
            return None
        method, params = request["method"], request["params"]
        self.seen.append((method, params))
        reply: dict[str, Any] = {"jsonrpc": "2.0"}
        try:
            reply["result"] = getattr(self, "_" + method.replace(".", "_"), self._unknown)(*params)
        except Refused as refused:
            reply["error"] = {"code": refused.code, "message": refused.message}
        reply["id"] = request["id"]
        return json.dumps(reply, ensure_ascii=False, indent="\t").encode()

    def _table(self, name: str) -> dict[str, str]:
        if name not in self.tables:
            raise Refused(500, "No such htable")
        return self.tables[name]

    def _unknown(self, *_: Any) -> Any:
        raise Refused(404, "Method Not Found")

    def _core_uptime(self) -> Any:
        return {"now": "x", "up_since": f"start {self.starts}", "uptime": 1}

    def _core_ps(self) -> Any:
        return [self.starts, "main process - attendant"]

    def _dlg_stats_active(self) -> Any:
        return {"starting": 0, "connecting": 0, "answering": 0, "ongoing": 0, "all": 0}

    def _htable_sets(self, table: str, key: str, value: str) -> Any:
        self._table(table)[key] = value
        return "Ok. Key set to new value."

    def _htable_get(self, table: str, key: str) -> Any:
        held = self._table(table)
        if key not in held:
            raise Refused(500, "Key name doesn't exist in htable.")
        return {"item": {"name": key, "value": held[key], "flags": 2, "expire": "NEVER"}}

    def _htable_delete(self, table: str, key: str) -> Any:
        if self._table(table).pop(key, None) is None:
            raise Refused(404, "Key not found in htable.")
        return "Ok. Key deleted."

    def _htable_stats(self) -> Any:
        return [{"name": name, "slots": 256, "all": len(held)} for name, held in self.tables.items()]

    def _htable_dump(self, table: str) -> Any:
        held = self._table(table)
        slots = [
            {"entry": n, "size": 1, "slot": [{"name": key, "value": value, "type": "str"}]}
            for n, (key, value) in enumerate(held.items())
        ]
        return slots or {}

    def _uac_reg_add(self, *params: Any) -> Any:
        if params[0] in self.registrations:
            raise Refused(409, "uuid already exists")
        self.registrations[params[0]] = dict(zip(_REGISTRATION, params, strict=False))
        return {}

    def _uac_reg_remove(self, uuid: str) -> Any:
        if self.registrations.pop(uuid, None) is None:
            raise Refused(404, "Record not found")
        return {}

    def _uac_reg_info(self, _attribute: str, uuid: str) -> Any:
        if uuid not in self.registrations:
            raise Refused(404, "Record not found")
        return self.registrations[uuid]

    def _uac_reg_dump(self) -> Any:
        return list(self.registrations.values())
