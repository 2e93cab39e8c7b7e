"""From spool files to facts: nothing lost, whatever stops in between.

A file is known by its inode and the hash of its first line, a line by its byte position: so a renamed file
stays the same file, a new one under an old name is new, and shipping a line twice changes nothing. The state
(how far each file is shipped) only saves work: without it everything still there is shipped again.

- A line without its end is not a line yet. If its writer died in it, the next line sticks to it: the whole one
  behind is taken, the torn one is stated as a `bad_line` of the node.
- A file is removed when all of it is shipped and nothing was added for `keep_s`; Asterisk's one file, which has
  no time in its name, is renamed first, and when it is bigger than MOST_BYTES.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from controller.calls.facts import NODE, Fact, parse

READ_BYTES = 256 * 1024
MOST_BYTES = 16 * 1024 * 1024
BAD_LINE = "bad_line"
# How lines begin: of a media node (asterisk/cel_custom.conf), of an edge (kamailio/events.cfg).
_STARTS = (b'{"event', b'{"ts"')
# What Asterisk says of the channel in which messages to scripts are worked off: it is no call, and never ends.
_NO_CALL = b'"channame":"Message/'


class Spool:
    """The spool of one node. `batches` yields facts; `shipped` is called when a batch is safely stored.

    Who cannot wait for that looks whether it `changed`, and asks for the `news`: what neither gave before.
    """

    def __init__(self, directory: Path, node: str, state: Path, *, keep_s: float = 3600) -> None:
        self._directory, self._node, self._state, self._keep_s = directory, node, state, keep_s
        self._offsets = self._read_state()
        self._ahead: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self.bad_lines = 0

    def batches(self) -> Iterator[tuple[str, int, list[Fact]]]:
        """(file id, position after, facts) for what is not shipped yet, file by file, in order of name."""
        yield from self._batches(self._offsets)

    def changed(self) -> bool:
        """Whether a file is longer than when this was asked last, or new: a look costs microseconds for each file."""
        with suppress(FileNotFoundError), os.scandir(self._directory) as found:
            sizes = {one.name: one.stat().st_size for one in found if ".jsonl" in one.name}
            changed, self._sizes = sizes != self._sizes, sizes
            return changed
        return True

    def news(self) -> Iterator[list[Fact]]:
        """Facts of lines that are not shipped yet, each once. They are `told` when the next batch is asked for."""
        for file_id, position, facts in self._batches(self._offsets | self._ahead):
            yield facts
            self._ahead[file_id] = position

    def told(self, fact: Fact) -> bool:
        """Whether `news` gave it, and what it was asked for is done."""
        return fact.position < self._ahead.get(fact.file_id, 0)

    def _batches(self, offsets: dict[str, int]) -> Iterator[tuple[str, int, list[Fact]]]:
        for path in sorted(self._directory.glob("*.jsonl*")):
            try:
                yield from self._file(path, offsets)
            except FileNotFoundError:
                continue  # renamed or removed since the directory was read: the next round finds it

    def _file(self, path: Path, offsets: dict[str, int]) -> Iterator[tuple[str, int, list[Fact]]]:
        with path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):
                return
            status = os.fstat(file.fileno())
            file_id = f"{status.st_ino:x}-{hashlib.sha256(first).hexdigest()[:16]}"
            position = offsets.get(file_id, 0)
            if position >= status.st_size:
                if offsets is self._offsets:
                    self._put_away(path, file_id, status, position)
                return
            while True:
                # A line that was being written when it was read is read again, from its beginning.
                file.seek(position)
                lines = [line for line in file.readlines(READ_BYTES) if line.endswith(b"\n")]
                if not lines:
                    return
                facts: list[Fact] = []
                for line in lines:
                    facts.extend(self._facts(line, file_id, position))
                    position += len(line)
                yield file_id, position, facts

    def _put_away(self, path: Path, file_id: str, status: os.stat_result, position: int) -> None:
        """A shipped file that rests goes. Asterisk opens its one file for each line: it is renamed first."""
        rests = time.time() - status.st_mtime > self._keep_s
        if "_" not in path.stem and (rests or status.st_size > MOST_BYTES):
            path.rename(path.with_name(f"{path.stem}_{int(time.time())}_{status.st_ino:x}{path.suffix}"))
        elif rests and position == status.st_size:
            path.unlink()
            self._offsets.pop(file_id, None)

    def _facts(self, line: bytes, file_id: str, position: int) -> Iterator[Fact]:
        if not line.strip() or _NO_CALL in line:
            return
        try:
            yield parse(line, self._node, file_id, position)
        except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
            inner = max(line.rfind(start) for start in _STARTS)
            torn = line[:inner] if inner > 0 else line
            self.bad_lines += 1
            text = torn.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
            yield Fact(
                NODE + self._node,
                self._node,
                dt.datetime.now(dt.UTC),
                BAD_LINE,
                file_id,
                position,
                {"line": text[:2000], "error": str(error)},
            )
            if inner > 0:
                yield from self._facts(line[inner:], file_id, position + inner)

    def shipped(self, file_id: str, position: int) -> None:
        """Everything before `position` is stored. OSError (a full disk) costs a second shipping, nothing else."""
        self._offsets[file_id] = position
        if self._ahead.get(file_id, 0) <= position:
            self._ahead.pop(file_id, None)
        temporary = self._state.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(self._offsets))
            temporary.replace(self._state)
        except OSError as error:
            what = f"{error.strerror}; make room there, or let the agent's user write (records are shipped meanwhile)"
            raise OSError(error.errno, what, str(temporary)) from None

    def _read_state(self) -> dict[str, int]:
        try:
            offsets = json.loads(self._state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(offsets, dict):
            return {}
        return {str(key): int(value) for key, value in offsets.items()}
