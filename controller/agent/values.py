"""Values of entries taken apart. Pure.

Formats: ARCHITECTURE.md, "Tables of a node".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from controller.errors import UnsafeValue

HINT = "hint:"


class Line(NamedTuple):
    """One line of an extension. `priority` is `hint` or a number from 1; `data` the arguments."""

    priority: str
    app: str
    data: str

    @property
    def config(self) -> str:
        """As extensions.conf writes it after the extension and a comma."""
        return (
            f"{self.priority},{self.app}"
            if self.priority == "hint"
            else f"{self.priority},{self.app}({self.data})"
        )


def split_context(key: str) -> tuple[str, str]:
    """Context and extension of a dialplan key."""
    context, slash, extension = key.partition("/")
    if not (context and slash and extension):
        raise UnsafeValue(f"dialplan {key!r}: not context/extension")
    return context, extension


def lines(value: str) -> tuple[Line, ...]:
    """The lines of a dialplan value, as Asterisk takes them apart (`pbx_load_config`)."""
    found: list[Line] = []
    rows = value.split("\n") if value else []
    if rows and rows[0].startswith(HINT):
        found.append(Line("hint", rows.pop(0)[len(HINT) :].strip(), ""))
    for number, row in enumerate(rows, 1):
        app, parenthesis, rest = row.strip().partition("(")
        data = rest.rpartition(")")[0] if parenthesis and ")" in rest else rest
        found.append(Line(str(number), app.strip(), data.strip()))
    return tuple(found)


def joined(found: Iterable[Line]) -> str:
    """The value of those lines: `joined(lines(value))` is the one way to write that value.

    A priority that is missing in between is an empty line: it must not let the later ones slip up.
    """
    by_priority = {line.priority: line for line in found}
    hint = by_priority.pop("hint", None)
    last = max(map(int, by_priority), default=0)
    rows = [by_priority.get(str(number)) for number in range(1, last + 1)]
    return "\n".join(
        ([HINT + hint.app] if hint else [])
        + [f"{row.app}({row.data})" if row is not None and row.app else "" for row in rows]
    )


def pairs(value: str) -> dict[str, str]:
    """`name=value` pairs joined with `;`."""
    return dict(part.split("=", 1) for part in value.split(";") if "=" in part)


def mailbox(key: str, value: str) -> tuple[str, str, str, str, str, str]:
    """Columns of a mailbox: mailbox, context, password, fullname, email, language.

    The password is a digest or `!`: nothing a phone can dial. The dialplan checks the PIN before it lets a caller in.
    """
    name, _, context = key.partition("@")
    fields = json.loads(value)
    return (
        name,
        context,
        str(fields.get("pin") or "!"),
        str(fields.get("fullname") or ""),
        str(fields.get("email") or ""),
        str(fields.get("language") or ""),
    )


def canonical(table: str, value: str | None) -> str | None:
    """The same text for values that mean the same to the server, for comparing meant with found."""
    if value is None:
        return None
    if table == "dialplan":
        return joined(lines(value))
    if table == "registration":
        fields = pairs(value)
        # Kamailio writes what the registrar grants over `expires`, and keeps no mark of it.
        fields.pop("expires", None)
        fields.setdefault("port", "5060")
        fields.setdefault("transport", "udp")
        return ";".join(f"{name}={fields[name]}" for name in sorted(fields))
    return value
