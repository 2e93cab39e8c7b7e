"""An Asterisk of ours behind the calls the agent makes of `Ami`: dialplan, AstDB, reloads, answered as 22.10 does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from controller.agent.answers import CHANNELS
from controller.agent.state import State
from controller.errors import NodeRefused, NodeUnreachable
from controller.wire.ami import Response
from controller.wire.ami_frames import encode

Fields = Mapping[str, str | Sequence[str]]
Extension = dict[str, tuple[str, str]]


class FakeAsterisk:
    """`history`: the dialplan after each change. `reload` reads the state file, as pbx_config does."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.dialplan: dict[tuple[str, str], Extension] = {}
        self.database: dict[tuple[str, str], str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.history: list[dict[tuple[str, str], Extension]] = []
        self.reloads: list[str] = []
        self.starts = 1
        self.away = False
        self.refuses = False
        self.stop_after: int | None = None
        self.connects = 0
        self.booted = asyncio.Event()
        self.booted.set()

    async def connect(self) -> None:
        self.connects += 1
        await self.booted.wait()
        if self.away:
            raise NodeUnreachable("AMI: nobody listens")
        if self.refuses:
            raise NodeRefused("AMI login at 127.0.0.1:5038 as 'agent' refused: Authentication failed")

    async def close(self) -> None:
        pass

    async def actions(
        self, actions: Sequence[tuple[str, Fields]], *, window: int = 256, timeout_s: float = 5
    ) -> list[Response]:
        del window, timeout_s
        for name, fields in actions:
            encode(name, "id", fields)
        return [
            self._one(name, {key: str(value) for key, value in fields.items()}) for name, fields in actions
        ]

    def console(self, text: str) -> None:
        """What somebody types: `dialplan add extension 1,1,App(x) into c [replace]`, `dialplan remove extension 1@c`,
        `database put family key value`.
        """
        match text.split():
            case ["dialplan", "add", "extension", line, "into", context, *_]:
                extension, priority, app = line.split(",", 2)
                name, _, rest = app.partition("(")
                self.dialplan.setdefault((context, extension), {})[priority] = (name, rest.removesuffix(")"))
            case ["dialplan", "remove", "extension", place]:
                extension, context = place.split("@")
                del self.dialplan[context, extension]
            case ["database", "put", family, key, value]:
                self.database[family, key] = value
            case _:
                raise ValueError(text)

    def restart(self) -> None:
        self.starts += 1
        self.load()

    def load(self) -> None:
        self.dialplan.clear()
        for context in self.state.contexts():
            for key, value in self.state.context(context).items():
                extension = key.partition("/")[2]
                rows = value.split("\n")
                held: Extension = {}
                if rows[0].startswith("hint:"):
                    held["hint"] = (rows.pop(0)[5:], "")
                for number, row in enumerate(rows, 1):
                    app, _, rest = row.partition("(")
                    held[str(number)] = (app, rest.rpartition(")")[0])
                self.dialplan[context, extension] = held

    def _one(self, name: str, fields: dict[str, str]) -> Response:
        if self.away:
            raise NodeUnreachable("AMI: nobody listens")
        if self.stop_after is not None:
            if self.stop_after == 0:
                self.away = True
                raise NodeUnreachable("AMI: connection lost")
            self.stop_after -= 1
        self.seen.append((name, fields))
        answer: Response = getattr(self, "_" + name.lower())(fields)
        if name.startswith("Dialplan"):
            self.history.append({place: dict(held) for place, held in self.dialplan.items()})
        return answer

    def _corestatus(self, _: dict[str, str]) -> Response:
        return Response(
            True,
            "",
            fields={
                "CoreStartupDate": "2026-01-01",
                "CoreStartupTime": str(self.starts),
                "CoreCurrentCalls": "0",
            },
        )

    def _dialplanextensionadd(self, fields: dict[str, str]) -> Response:
        held = self.dialplan.setdefault((fields["Context"], fields["Extension"]), {})
        held[fields["Priority"]] = (fields["Application"], fields.get("ApplicationData", ""))
        return Response(True, "Added requested extension")

    def _dialplanextensionremove(self, fields: dict[str, str]) -> Response:
        place = (fields["Context"], fields["Extension"])
        held = self.dialplan.get(place)
        if held is None or ("Priority" in fields and fields["Priority"] not in held):
            return Response(False, "Failed to remove requested extension")
        if "Priority" in fields:
            del held[fields["Priority"]]
        else:
            held.clear()
        if not held:
            del self.dialplan[place]
        return Response(True, "Removed the requested extension")

    def _showdialplan(self, fields: dict[str, str]) -> Response:
        events = [
            {
                "Event": "ListDialplan",
                "Context": context,
                "Extension": extension,
                "Priority": priority,
                "Application": app,
                "Registrar": "pbx_config",
            }
            | ({} if priority == "hint" else {"AppData": data})
            for (context, extension), held in self.dialplan.items()
            if context == fields["Context"] and fields.get("Extension", extension) == extension
            for priority, (app, data) in held.items()
        ]
        if not events:
            return Response(False, f"Did not find context {fields['Context']}")
        return Response(True, "DialPlan list will follow", events)

    def _command(self, fields: dict[str, str]) -> Response:
        """The number of channels, or completion of contexts' names: what is common to all, each, a mark."""
        if fields["Command"] == CHANNELS:
            return Response(True, "Command output follows", output=["0 active channels", "0 active calls"])
        word = fields["Command"].split('"')[-2]
        names = sorted({context for context, _ in self.dialplan if context.lower().startswith(word.lower())})
        common = [word] if names else []
        return Response(True, "Command output follows", output=[" ".join([*common, *names, "_EOF_"])])

    def _getvar(self, fields: dict[str, str]) -> Response:
        function, _, rest = fields["Variable"].rstrip(")").partition("(")
        context, extension, priority = rest.split(",")
        line = self.dialplan.get((context, extension), {}).get(priority)
        value = "" if line is None else line[1]
        if function == "DIALPLAN_EXISTS":
            value = "0" if line is None else "1"
        return Response(True, "", fields={"Variable": fields["Variable"], "Value": value})

    def _extensionstate(self, fields: dict[str, str]) -> Response:
        hint = self.dialplan.get((fields["Context"], fields["Exten"]), {}).get("hint", ("", ""))[0]
        return Response(True, "Extension Status", fields={"Hint": hint})

    def _dbput(self, fields: dict[str, str]) -> Response:
        self.database[fields["Family"], fields["Key"]] = fields["Val"]
        return Response(True, "Updated database successfully")

    def _dbdel(self, fields: dict[str, str]) -> Response:
        if self.database.pop((fields["Family"], fields["Key"]), None) is None:
            return Response(False, "Database entry could not be deleted")
        return Response(True, "Key deleted successfully")

    def _dbget(self, fields: dict[str, str]) -> Response:
        value = self.database.get((fields["Family"], fields["Key"]))
        if value is None:
            return Response(False, "Database entry not found")
        return Response(True, "Result will follow", [{"Event": "DBGetResponse", "Val": value}])

    def _dbgettree(self, fields: dict[str, str]) -> Response:
        events = [
            {"Event": "DBGetTreeResponse", "Key": f"/{family}/{key}", "Val": value}
            for (family, key), value in self.database.items()
            if family == fields["Family"]
        ]
        return Response(True, "Result will follow", events)

    def _reload(self, fields: dict[str, str]) -> Response:
        self.reloads.append(fields["Module"])
        if fields["Module"] == "pbx_config.so":
            self.load()
        return Response(True, "Module reloaded.")
