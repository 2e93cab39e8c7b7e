"""The Asterisk beside an agent, over AMI, and the files it reads.

How a dialplan extension is read back: `ShowDialPlan` shows lines exactly, but walks every context under the global lock
(0.1 ms with 1,000 contexts, 2 to 90 ms with 100,000). On a big node `EVAL_EXTEN` and `DIALPLAN_EXISTS` read by hash
(0.03 ms) but not the application's name; that is then the one Asterisk acknowledged when it was told. A comparison
lists whole contexts, and the names of contexts nobody meant, as long as its time lasts (`listing.py`).
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence

from controller.agent.answers import CHANNELS, channels, completed, completion, dialplan, field, variable
from controller.agent.link import AmiClient, Link
from controller.agent.listing import Listing, ours, sections
from controller.agent.operations import FLAG_FAMILIES, extension_operations, flag_operation, module_of
from controller.agent.operations import Ami as Operation
from controller.agent.server import Coverage, Failures, Running, Slice
from controller.agent.state import State, Wanted
from controller.agent.values import Line, joined, lines, mailbox, split_context
from controller.catalog import TABLES
from controller.entries import Kind
from controller.errors import NodeError, NodeRefused, UnsafeValue
from controller.wire.files import Directory

# From here on extensions are read back by hash.
BIG_NODE_CONTEXTS = 1_000
# `dialplan reload` reads all lines from the state file, 5 us each; an action costs 40 us a line. So a reload is
# cheaper when more than one line in 8 changes; below RELOAD_LINES neither is worth counting.
RELOAD_LINES = 2_000
_RELOAD_SHARE = 8
_PAGE = 500
_PROBE = 3
# Contexts without patterns: what a look-up by hash finds there is the extension itself.
_WITHOUT_PATTERNS = ("account-", "inbound-")
# Below /etc/asterisk. A context that a file there declares is not dialplane's.
_DECLARED = "*.conf"
_UNKNOWN = Line("", "", "")
# Sorts after every key: where a table goes on with what nobody meant.
_REST = "~"


class Media:
    """One Asterisk."""

    kind = Kind.MEDIA.value
    tables = tuple(name for kind, name in TABLES if kind == Kind.MEDIA)

    def __init__(self, ami: AmiClient, state: State, directory: Directory) -> None:
        self.link = Link(ami)
        self._state = state
        self._files = directory
        self.big_node_contexts = BIG_NODE_CONTEXTS
        self.reload_lines = RELOAD_LINES
        self.listing = Listing()
        self._contexts: list[str] | None = None
        self._told: dict[str, dict[str, str]] = {}

    async def close(self) -> None:
        """Log off."""
        await self.link.close()

    async def running(self) -> Running:
        """Asterisk's time of start, and its calls: those that run a dialplan; one at least if it has a channel."""
        status, count = await self.link.send([("CoreStatus", {}), ("Command", {"Command": CHANNELS})])
        fields = status.check("CoreStatus").fields
        started = f"{field(fields, 'CoreStartupDate')} {field(fields, 'CoreStartupTime')}"
        return Running(started, max(int(field(fields, "CoreCurrentCalls")), min(1, channels(count))))

    # --- reading --------------------------------------------------------------------------------

    async def read(self, table: str, keys: Sequence[str]) -> dict[str, str | None]:
        """Each table in its own way; a mailbox as app_voicemail would find it."""
        if table == "dialplan":
            return await self._extensions(keys)
        if table == "flag":
            return await self._flags(keys)
        if table == "file":
            return {key: self._files.read(key) for key in keys}
        if table == "policy":  # the AGI server reads the rows themselves
            return {key: self._state.value(table, key) for key in keys}
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
        answers = await self.link.send(
            [("DBGet", dict(zip(("Family", "Key"), key.partition("/")[::2], strict=True))) for key in keys]
        )
        found: dict[str, str | None] = {}
        for key, answer in zip(keys, answers, strict=True):
            if not answer.ok and "not found" not in answer.message:
                raise NodeRefused(f"DBGet {key}: Asterisk refused: {answer.message}")
            found[key] = field(answer.events[0], "Val") if answer.ok and answer.events else None
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
        """Whether EVAL_EXTEN gives the text as it was told: no pattern near it, nothing that is substituted."""
        value = self._state.value("dialplan", key) or ""
        apart = key.startswith(_WITHOUT_PATTERNS)
        return apart and "/_" not in key and "$" not in value and "," not in key

    async def _shown(self, keys: Sequence[str]) -> dict[str, str | None]:
        """By ShowDialPlan: a pattern cannot be asked for by its name, its context is."""
        wanted = [split_context(key) for key in keys]
        asked = sorted({(context, "" if name.startswith("_") else name) for context, name in wanted})
        answers = await self.link.send(
            [
                ("ShowDialPlan", {"Context": context} | ({"Extension": name} if name else {}))
                for context, name in asked
            ]
        )
        found: dict[str, str | None] = dict.fromkeys(keys)
        for answer in answers:
            for key, value in dialplan(answer).items():
                if key in found:
                    found[key] = value
        return found

    async def _hashed(self, keys: Sequence[str], *, trusting: bool) -> dict[str, str | None]:
        meant = await asyncio.to_thread(self._state.values, "dialplan", keys)
        known = {key: {line.priority: line for line in lines(meant[key] or "")} for key in keys}
        lines_of: dict[str, list[Line]] = {key: [] for key in keys}
        ask = {key: range(1, len(known[key]) + 1 + _PROBE) for key in keys}
        answers = await self.link.send(
            [
                ("ExtensionState", dict(zip(("Context", "Exten"), split_context(key), strict=True)))
                for key in keys
            ]
        )
        for key, answer in zip(keys, answers, strict=True):
            if hint := field(answer.check(f"ExtensionState {key}").fields, "Hint"):
                lines_of[key].append(Line("hint", hint, ""))
        while ask:
            places = [(key, number) for key, numbers in ask.items() for number in numbers]
            values = await self._variables(
                [
                    variable(name, key, number)
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
        answers = await self.link.send([("Getvar", {"Variable": name}) for name in names])
        for name, answer in zip(names, answers, strict=True):
            answer.check(f"Getvar {name} (is func_evalexten loaded?)")
        return [field(answer.fields, "Value") for answer in answers]

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
                new = {split_context(one.key)[0] for one in extensions if one.value is not None} - known
                self._contexts = sorted(known | new) if new else self._contexts
            found = await self._extensions([one.key for one in extensions], trusting=False)
            for one in extensions:
                operations.extend(extension_operations(one.key, one.value, found[one.key]))
        return operations

    async def _operate(self, operations: Sequence[Operation], failures: Failures) -> None:
        try:
            answers = await self.link.send([(one.action, dict(one.fields)) for one in operations])
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
        (answer,) = await self.link.send([("Reload", {"Module": module})])
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
        """Dialplan: some contexts, then strangers; files: all; the rest by keys, then flags nobody meant."""
        if table == "dialplan":
            return await self._contexts_after(after)
        if table == "file":
            meant = await asyncio.to_thread(self._state.page, table, "", 1_000_000)
            names = sorted(set(self._files.names()) | set(meant))
            return Slice(meant, {name: self._files.read(name) for name in names}), None
        if after == _REST:
            return await self._flag_trees(), None
        meant = await asyncio.to_thread(self._state.page, table, after, _PAGE)
        more = max(meant) if len(meant) == _PAGE else _REST if table == "flag" else None
        return Slice(meant, await self.read(table, list(meant))), more

    async def _flag_trees(self) -> Slice:
        """Everything in the families that are dialplane's own."""
        answers = await self.link.send([("DBGetTree", {"Family": family}) for family in FLAG_FAMILIES])
        found: dict[str, str | None] = {}
        for family, answer in zip(FLAG_FAMILIES, answers, strict=True):
            if not answer.ok and "not found" not in answer.message:
                raise NodeRefused(f"DBGetTree {family}: Asterisk refused: {answer.message}")
            for event in answer.events:
                found[field(event, "Key").lstrip("/")] = field(event, "Val")
        meant = await asyncio.to_thread(self._state.values, "flag", found)
        return Slice({key: value for key, value in meant.items() if value is not None}, found)

    async def _contexts_after(self, after: str) -> tuple[Slice, str | None]:
        """Contexts that are listed, or read by hash once the comparison's time for lists is used up."""
        if not after or self._contexts is None:
            self._contexts = await asyncio.to_thread(self._state.contexts)
        if not after:
            self.listing.begin(self._contexts)
        if after.startswith(_REST):
            return await self._strangers(after)
        at = bisect_right(self._contexts, after)
        names = self._contexts[at : at + self.listing.batch]
        if not names:
            return await self._strangers(_REST)
        meant: dict[str, str] = {}
        for name in names:
            meant |= await asyncio.to_thread(self._state.context, name)
        if not self.listing.wants(names[-1]):
            return Slice(meant, await self._extensions(list(meant))), names[-1]
        found = dict.fromkeys(meant) | await self._listed(names)
        self.listing.listed(names[-1], len(names))
        return Slice(meant, found), names[-1]

    async def _listed(self, names: Sequence[str]) -> dict[str, str | None]:
        began = time.monotonic()
        answers = await self.link.send([("ShowDialPlan", {"Context": name}) for name in names])
        self.listing.took(time.monotonic() - began)
        return {key: value for answer in answers for key, value in dialplan(answer).items()}

    async def _strangers(self, after: str) -> tuple[Slice, str | None]:
        """Contexts of dialplane's families that no entry names. One that a file declares is the site's."""
        groups = self.listing.groups(after)
        if not groups:
            return Slice({}, {}), None
        began = time.monotonic()
        answers = await self.link.send([("Command", {"Command": completion(group)}) for group in groups])
        self.listing.took(time.monotonic() - began)
        there = {
            name for group, answer in zip(groups, answers, strict=True) for name in completed(group, answer)
        }
        # What a longer beginning stands for may be a name too.
        there |= {group[:-1] for group in groups}
        unknown = sorted(name for name in there - set(self._contexts or ()) if ours(name))
        found = await self._listed(unknown)
        if found:
            declared = await asyncio.to_thread(self._declared)
            found = {key: value for key, value in found.items() if split_context(key)[0] not in declared}
        meant: dict[str, str] = {}
        for name in {split_context(key)[0] for key in found}:
            meant |= await asyncio.to_thread(self._state.context, name)
        self.listing.listed(_REST + groups[-1])
        return Slice(meant, found), _REST + groups[-1]

    def _declared(self) -> set[str]:
        return sections(
            path.read_text(errors="replace")
            for path in self._files.root.parent.rglob(_DECLARED)
            if path.is_file()
        )

    def coverage(self) -> Coverage | None:
        """Of the last comparison."""
        return self.listing.coverage()

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
