"""Dialplan text -> entries, and what stands in it: keys of data, devices, routes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from controller.desired.model import Route, Trunk
from controller.errors import TemplateError
from controller.escape import Raw, name

# Asterisk discards an AMI line over 1024 bytes, header name included.
MAX_LINE_BYTES = 900
# What one line holds of devices to ring.
MAX_DEVICES_BYTES = 600

_CONTEXT = re.compile(r"\[([A-Za-z0-9._-]+)\]").fullmatch
_EXTEN = re.compile(r"exten\s*=>?\s*([^,\s/$]+)\s*,\s*(\w+)\s*,\s*(.+)").fullmatch
_SAME = re.compile(r"same\s*=>?\s*(\w+)\s*,\s*(.+)").fullmatch
_APPLICATION = re.compile(r"[A-Za-z]\w*(?:\(.*\))?").fullmatch
_USUAL = re.compile(r"exten => ([^,\s/$]+),1,([A-Za-z]\w*\([^;]*\))").fullmatch
# A character is 4 bytes at most: a line of so many needs no counting.
_SHORT_CHARACTERS = MAX_LINE_BYTES // 4
_COMMENT = re.compile(r"(?<!\\);.*")


def parse_dialplan(text: str, origin: str) -> dict[str, str]:
    """`context/extension` -> one `App(arguments)` per priority, joined with newlines, a `hint:` line first.

    Understands contexts, `exten =>` with a number, `n` or `hint`, `same =>`, and comments. TemplateError naming
    `origin` and the line for anything else, for a gap in the priorities, and for lines AMI cannot carry.
    """
    parser = _Parser(origin)
    for number, line in enumerate(text.split("\n"), 1):
        # Nearly every line is a whole extension: one regular expression decides.
        if (
            len(line) > _SHORT_CHARACTERS
            or not (matched := _USUAL(line))
            or not parser.first(*matched.groups())
        ):
            parser.read(number, line.strip())
    return parser.entries()


class _Parser:
    """Reads dialplan text line by line."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.context = ""
        self.extension = ""
        self.found: dict[str, list[str]] = {}
        self.hints: dict[str, str] = {}

    def entries(self) -> dict[str, str]:
        for key, hint in self.hints.items():
            self.found[key].insert(0, f"hint:{hint}")
        return {key: lines[0] if len(lines) == 1 else "\n".join(lines) for key, lines in self.found.items()}

    def first(self, extension: str, application: str) -> bool:
        """The only or first priority of an extension; False: this is not the place for one."""
        key = f"{self.context}/{extension}"
        if not self.context or key in self.found:
            return False
        self.extension = extension
        self.found[key] = [application]
        return True

    def read(self, number: int, line: str) -> None:
        """Any line: what is no extension, and extensions written in another way."""
        if ";" in line:
            line = _COMMENT.sub("", line).rstrip()
        if not line:
            return
        if matched := _CONTEXT(line):
            self.context, self.extension = matched[1], ""
        elif matched := _EXTEN(line):
            if not self.context:
                raise self.wrong(number, line, "an extension before the first [context]")
            self.add(number, line, *matched.groups())
        elif matched := _SAME(line):
            if not self.extension:
                raise self.wrong(number, line, "`same` before the first extension of its context")
            self.add(number, line, self.extension, *matched.groups())
        else:
            raise self.wrong(number, line, "neither a [context], nor exten =>, nor same =>")

    def add(self, number: int, line: str, extension: str, priority: str, application: str) -> None:
        """One priority of an extension."""
        key = f"{self.context}/{extension}"
        self.extension = extension
        lines = self.found.setdefault(key, [])
        if len(application.encode()) > MAX_LINE_BYTES:
            raise self.wrong(number, line, f"longer than {MAX_LINE_BYTES} bytes, more than AMI can carry")
        if priority == "hint":
            if key in self.hints:
                raise self.wrong(number, line, "a second hint")
            self.hints[key] = application
        elif not _APPLICATION(application):
            raise self.wrong(number, line, "not of the form Application(arguments)")
        elif priority not in ("n", str(len(lines) + 1)):
            raise self.wrong(number, line, f"priority {priority} where {len(lines) + 1} or n was expected")
        else:
            lines.append(application if application[-1] == ")" else application + "()")

    def wrong(self, number: int, line: str, why: str) -> TemplateError:
        return TemplateError(f"{self.origin}: rendered line {number}: {why}: {line[:120]}")


def data_key(text: str) -> str:
    """A name inside a data extension: Asterisk ignores `-` in extensions, so it is written `:`."""
    return text.replace("-", ":")


def routes(rows: Iterable[Route], trunks: dict[str, Trunk]) -> list[tuple[Raw, Raw]]:
    """(pattern over digits, trunks in order) per prefix; only enabled trunks, none left: no pattern.

    Trunks: `|` next priority, `&` equals, `*` weight, e.g. `carrier-a*3&carrier-b*1|carrier-c*1`.
    """
    usable = sorted(
        (one for one in rows if one.trunk in trunks and trunks[one.trunk].enabled),
        key=lambda one: (one.prefix, one.priority, one.trunk),
    )
    return [
        (
            Raw(f"_{name(prefix)}!" if prefix else "_X!"),
            Raw(
                "|".join(
                    "&".join(f"{name(one.trunk)}*{one.weight:d}" for one in equals)
                    for _, equals in groupby(same, key=lambda one: one.priority)
                )
            ),
        )
        for prefix, same in groupby(usable, key=lambda one: one.prefix)
    ]


def trunk_caller_ids(trunks: Iterable[Trunk]) -> list[tuple[Raw, str]]:
    """The number that each trunk shows, as `:trunk:<key>` holds it; only of those that have one and are enabled."""
    return [(name(data_key(one.name)), one.caller_id) for one in trunks if one.caller_id and one.enabled]
