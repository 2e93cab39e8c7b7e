"""The Asterisk beside an agent, over AMI, and the files it reads.

How a dialplan extension is read back: `ShowDialPlan` shows lines exactly, but walks every context under the global lock
(0.1 ms with 1,000 contexts, 2 to 90 ms with 100,000). On a big node `EVAL_EXTEN` and `DIALPLAN_EXISTS` read by hash
(0.03 ms) but not the application's name; that is then the one Asterisk acknowledged when it was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from controller.agent.operations import Ami as Operation
from controller.agent.operations import extension_operations, flag_operation, module_of
from controller.agent.server import Failures, Slice
from controller.agent.state import State, Wanted
from controller.agent.values import Line, canonical, joined, lines, mailbox, split_context
from controller.catalog import TABLES
from controller.entries import Kind
from controller.errors import NodeError, NodeRefused, UnsafeValue
from controller.wire.ami import Response
from controller.wire.files import Directory

# From here on extensions are read back by hash.
BIG_NODE_CONTEXTS = 1_000
# `dialplan reload` reads all lines from the state file, 5 us each; an action costs 40 us a line. So a reload is
# cheaper when more than one line in 8 changes; below RELOAD_LINES neither is worth counting.
RELOAD_LINES = 2_000
_RELOAD_SHARE = 8
_PAGE = 500
_PROBE = 3
_REGISTRAR = "pbx_config"
_UNKNOWN = Line("", "", "")

Actions = Sequence[tuple[str, Mapping[str, str | Sequence[str]]]]


class AmiClient(Protocol):
    """What is used of `controller.wire.ami.Ami`."""

    async def connect(self) -> None: ...
    async def close(self) -> None: ...
    async def actions(
        self, actions: Actions, *, window: int = 256, timeout_s: float = 5
    ) -> list[Response]: ...


class Media:
    """One Asterisk."""

    kind = Kind.MEDIA.value
    tables = tuple(name for kind, name in TABLES if kind == Kind.MEDIA)

    def __init__(self, ami: AmiClient, state: State, directory: Directory) -> None:
        self._ami = ami
        self._state = state
        self._files = directory
        self.big_node_contexts = BIG_NODE_CONTEXTS
        self.reload_lines = RELOAD_LINES
        self._connected = False
        self._contexts: list[str] | None = None
        self._told: dict[str, dict[str, str]] = {}

    async def close(self) -> None:
        """Log off."""
        if self._connected:
            await self._ami.close()
            self._connected = False

    async def started(self) -> str:
        """Asterisk's time of start."""
        (answer,) = await self._send([("CoreStatus", {})])
        fields = answer.check("CoreStatus").fields
        return f"{_field(fields, 'CoreStartupDate')} {_field(fields, 'CoreStartupTime')}"

    async def _send(self, actions: Actions) -> list[Response]:
        if not actions:
            return []
        if not self._connected:
            await self._ami.connect()
            self._connected = True
        return await self._ami.actions(actions)

    # --- reading --------------------------------------------------------------------------------

    async def read(self, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        """Each table in its own way; a mailbox as app_voicemail would find it."""
        if table == "dialplan":
            return await self._extensions(keys)
        if table == "flag":
            return await self._flags(keys)
        if table == "file":
            return {key: self._files.read(key) for key in keys}
        return {key: self._box(key) for key in keys}

    def _box(self, key: str) -> str | None:
        """The value meant, if the row app_voicemail finds says the same."""
        name, _, context = key.partition("@")
        row = self._state.box(name, context)
        if row is None:
            return None
        value = self._state.value("mailbox", key)
        return value if value is not None and row == mailbox(key, value) else " ".join(row)

    async def _flags(self, keys: Sequence[str]) -> dict[str, str | None]:
        answers = await self._send(
            [("DBGet", dict(zip(("Family", "Key"), key.partition("/")[::2], strict=True))) for key in keys]
        )
        found: dict[str, str | None] = {}
        for key, answer in zip(keys, answers, strict=True):
            if not answer.ok and "not found" not in answer.message:
                raise NodeRefused(f"DBGet {key}: Asterisk refused: {answer.message}")
            found[key] = _field(answer.events[0], "Val") if answer.ok and answer.events else None
        return found

    async def _extensions(self, keys: Sequence[str], *, trusting: bool = True) -> dict[str, str | None]:
        """`trusting`: an application's name that cannot be read is the one told, else the one meant."""
        if self._contexts is None:
            self._contexts = await asyncio.to_thread(self._state.contexts)
        by_hash = [key for key in keys if len(self._contexts) > self.big_node_contexts and self._plain(key)]
        shown = sorted(set(keys) - set(by_hash))
        found = await self._shown(shown)
        return found | (await self._hashed(by_hash, trusting=trusting) if by_hash else {})

    def _plain(self, key: str) -> bool:
        """Whether EVAL_EXTEN gives the text as it was told: no pattern, nothing that is substituted."""
        value = self._state.value("dialplan", key) or ""
        return "/_" not in key and "$" not in value and "," not in key

    async def _shown(self, keys: Sequence[str]) -> dict[str, str | None]:
        """By ShowDialPlan: a pattern cannot be asked for by its name, its context is."""
        wanted = [split_context(key) for key in keys]
        asked = sorted({(context, "" if name.startswith("_") else name) for context, name in wanted})
        answers = await self._send(
            [
                ("ShowDialPlan", {"Context": context} | ({"Extension": name} if name else {}))
                for context, name in asked
            ]
        )
        found: dict[str, str | None] = dict.fromkeys(keys)
        for answer in answers:
            for key, value in _dialplan(answer).items():
                if key in found:
                    found[key] = value
        return found

    async def _hashed(self, keys: Sequence[str], *, trusting: bool) -> dict[str, str | None]:
        meant = await asyncio.to_thread(self._state.values, "dialplan", keys)
        known = {key: {line.priority: line for line in lines(meant[key] or "")} for key in keys}
        lines_of: dict[str, list[Line]] = {key: [] for key in keys}
        ask = {key: range(1, len(known[key]) + 1 + _PROBE) for key in keys}
        answers = await self._send(
            [
                ("ExtensionState", dict(zip(("Context", "Exten"), split_context(key), strict=True)))
                for key in keys
            ]
        )
        for key, answer in zip(keys, answers, strict=True):
            if hint := _field(answer.check(f"ExtensionState {key}").fields, "Hint"):
                lines_of[key].append(Line("hint", hint, ""))
        while ask:
            places = [(key, number) for key, numbers in ask.items() for number in numbers]
            values = await self._variables(
                [
                    _variable(name, key, number)
                    for key, number in places
                    for name in ("DIALPLAN_EXISTS", "EVAL_EXTEN")
                ]
            )
            last: dict[str, bool] = {}
            for (key, number), exists, data in zip(places, values[::2], values[1::2], strict=True):
                last[key] = exists == "1"
                if last[key]:
                    app = ""
                    if trusting:
                        supposed = known[key].get(str(number), _UNKNOWN).app
                        app = self._told.get(key, {}).get(str(number), supposed)
                    lines_of[key].append(Line(str(number), app, data.strip()))
            ask = {key: range(ask[key].stop, ask[key].stop + 20) for key, more in last.items() if more}
        return {key: joined(tuple(found)) if found else None for key, found in lines_of.items()}

    async def _variables(self, names: Sequence[str]) -> list[str]:
        answers = await self._send([("Getvar", {"Variable": name}) for name in names])
        for name, answer in zip(names, answers, strict=True):
            answer.check(f"Getvar {name} (is func_evalexten loaded?)")
        return [_field(answer.fields, "Value") for answer in answers]

    # --- changing -------------------------------------------------------------------------------

    async def apply(self, wanted: Sequence[Wanted]) -> Failures:
        """Files first, they need no Asterisk; then actions; then one reload per module."""
        failures: Failures = {}
        reloads: dict[str, list[str]] = {}
        for one in wanted:
            if one.table == "file":
                await self._file(one, failures, reloads)
        operations = await self._decided(wanted, failures)
        if operations is None:
            await self._reload(
                "pbx_config.so",
                [("dialplan", one.key) for one in wanted if one.table == "dialplan"],
                failures,
            )
            operations = _flag_operations(wanted, failures)
        await self._operate(operations, failures)
        for module, paths in sorted(reloads.items()):
            await self._reload(module, [("file", path) for path in paths], failures)
        return failures

    async def _file(self, one: Wanted, failures: Failures, reloads: dict[str, list[str]]) -> None:
        try:
            module = module_of(one.key)
            if one.value is None:
                await asyncio.to_thread(self._files.remove, one.key)
            else:
                await asyncio.to_thread(self._files.write, one.key, one.value)
        except (UnsafeValue, OSError) as error:
            failures[one.table, one.key] = str(error)
        else:
            reloads.setdefault(module, []).append(one.key)

    async def _decided(self, wanted: Sequence[Wanted], failures: Failures) -> list[Operation] | None:
        """None: so many lines that a reload from the state file costs less."""
        extensions = [one for one in wanted if one.table == "dialplan"]
        changed = sum((one.value or "").count("\n") + 1 for one in extensions)
        if changed > self.reload_lines:
            total = await asyncio.to_thread(self._state.line_count)
            if changed * _RELOAD_SHARE > total:
                return None
        operations = _flag_operations(wanted, failures)
        self._told = {}
        if extensions:
            if self._contexts is not None:
                known = set(self._contexts)
                self._contexts += {split_context(one.key)[0] for one in extensions} - known
            found = await self._extensions([one.key for one in extensions], trusting=False)
            for one in extensions:
                operations.extend(extension_operations(one.key, one.value, found[one.key]))
        return operations

    async def _operate(self, operations: Sequence[Operation], failures: Failures) -> None:
        try:
            answers = await self._send([(one.action, dict(one.fields)) for one in operations])
        except UnsafeValue as error:
            # Nothing was sent. Find the one that cannot be carried; the others must reach Asterisk.
            if len(operations) == 1:
                failures[operations[0].table, operations[0].key] = str(error)
                return
            for one in operations:
                if (one.table, one.key) not in failures:
                    await self._operate([one], failures)
            return
        for one, answer in zip(operations, answers, strict=True):
            if not answer.ok and not one.may_fail:
                failures[one.table, one.key] = f"{one.action}: {answer.message}"
            elif one.action == "DialplanExtensionAdd":
                fields = dict(one.fields)
                self._told.setdefault(one.key, {})[fields["Priority"]] = fields["Application"]

    async def _reload(self, module: str, keys: Sequence[tuple[str, str]], failures: Failures) -> None:
        (answer,) = await self._send([("Reload", {"Module": module})])
        if not answer.ok:
            failures.update(dict.fromkeys(keys, f"reload of {module}: {answer.message}"))

    async def fill(self) -> None:
        """After a snapshot: one reload instead of a comparison that finds everything missing."""
        failures: Failures = {}
        await self._reload("pbx_config.so", [("dialplan", "*")], failures)
        if failures:
            raise NodeRefused(next(iter(failures.values())))

    async def refill(self, table: str) -> str | None:
        """Nothing to do: slices show everything."""
        del table
        return None

    # --- comparing ------------------------------------------------------------------------------

    async def slice(self, table: str, after: str) -> tuple[Slice, str | None]:
        """Dialplan: one context; files: all; the rest by keys."""
        if table == "dialplan":
            return await self._context(after)
        if table == "file":
            meant = await asyncio.to_thread(self._state.page, table, "", 1_000_000)
            names = sorted(set(self._files.names()) | set(meant))
            return Slice(meant, {name: self._files.read(name) for name in names}), None
        meant = await asyncio.to_thread(self._state.page, table, after, _PAGE)
        return Slice(meant, await self.read(table, list(meant))), max(meant) if len(meant) == _PAGE else None

    async def _context(self, after: str) -> tuple[Slice, str | None]:
        if not after or self._contexts is None:
            self._contexts = await asyncio.to_thread(self._state.contexts)
        name = min((name for name in self._contexts if name > after), default=None)
        if name is None:
            return Slice({}, {}), None
        meant = await asyncio.to_thread(self._state.context, name)
        if len(self._contexts) > self.big_node_contexts:
            return Slice(meant, await self._extensions(list(meant))), name
        (answer,) = await self._send([("ShowDialPlan", {"Context": name})])
        found: dict[str, str | None] = dict.fromkeys(meant)
        return Slice(meant, found | _dialplan(answer)), name

    async def surplus(self, table: str) -> int:
        """None that slices would not show."""
        del table
        return 0


def _flag_operations(wanted: Sequence[Wanted], failures: Failures) -> list[Operation]:
    operations = []
    for one in wanted:
        if one.table == "flag":
            try:
                operations.append(flag_operation(one.key, one.value))
            except NodeError as error:
                failures[one.table, one.key] = str(error)
    return operations


def _dialplan(answer: Response) -> dict[str, str | None]:
    """Extensions of a ShowDialPlan answer. "Did not find" is an answer; what others registered is not ours."""
    if not answer.ok:
        if answer.message.startswith("Did not find"):
            return {}
        raise NodeRefused(f"ShowDialPlan: Asterisk refused: {answer.message}")
    found: dict[str, list[Line]] = {}
    for event in answer.events:
        if (
            _field(event, "Event") == "ListDialplan"
            and _field(event, "Registrar") == _REGISTRAR
            and "Priority" in event
        ):
            line = Line(event["Priority"], _field(event, "Application"), _field(event, "AppData").strip())
            found.setdefault(f"{event['Context']}/{event['Extension']}", []).append(line)
    return {key: canonical("dialplan", joined(tuple(value))) for key, value in found.items()}


def _variable(name: str, key: str, priority: int) -> str:
    context, extension = split_context(key)
    return f"{name}({context},{extension},{priority})"


def _field(fields: Mapping[str, str], name: str) -> str:
    """A header, whatever its case."""
    if name in fields:
        return fields[name]
    lower = name.lower()
    return next((value for header, value in fields.items() if header.lower() == lower), "")
