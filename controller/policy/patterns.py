"""Extension patterns as Asterisk matches them (Asterisk documentation, "Pattern Matching").

`_` starts a pattern; X 0-9, Z 1-9, N 2-9, [..] a set, `.` one or more of anything, `!` none or more of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SETS = {"X": frozenset("0123456789"), "Z": frozenset("123456789"), "N": frozenset("23456789")}
_ANY = 10_000  # `.` matches less specifically than every set, `!` less than `.`


def best(extensions: Iterable[str], dialled: str) -> str | None:
    """The extension that takes a dialled number: the very one, else the most specific pattern; None: no match."""
    fitting = [extension for extension in extensions if matches(extension, dialled)]
    return min(fitting, key=_rank, default=None)


def matches(extension: str, dialled: str) -> bool:
    """Whether one extension or pattern takes the dialled number."""
    if not extension.startswith("_"):
        return extension.replace("-", "") == dialled
    place = 0
    for element in _elements(extension):
        if element == "!":
            return True
        if element == ".":
            return place < len(dialled)
        if place >= len(dialled) or dialled[place] not in _set(element):
            return False
        place += 1
    return place == len(dialled)


def _rank(extension: str) -> tuple[bool, list[int]]:
    if not extension.startswith("_"):
        return (False, [])
    sizes = [
        {".": _ANY, "!": _ANY + 1}.get(element) or len(_set(element)) for element in _elements(extension)
    ]
    # A pattern that ends goes before one that goes on with anything.
    return (True, [*sizes, 0])


def _elements(pattern: str) -> Iterator[str]:
    """The elements of a pattern after its `_`: a letter each, a set as `[...]`; hyphens mean nothing."""
    place = 1
    while place < len(pattern):
        if pattern[place] == "[":
            end = pattern.index("]", place)
            yield pattern[place : end + 1]
            place = end + 1
            continue
        if pattern[place] != "-":
            yield pattern[place]
        place += 1


def _set(element: str) -> frozenset[str]:
    if element in _SETS:
        return _SETS[element]
    if not element.startswith("["):
        return frozenset(element)
    inside = element[1:-1]
    found: set[str] = set()
    place = 0
    while place < len(inside):
        if place + 2 < len(inside) and inside[place + 1] == "-":
            found.update(chr(code) for code in range(ord(inside[place]), ord(inside[place + 2]) + 1))
            place += 3
        else:
            found.add(inside[place])
            place += 1
    return frozenset(found)
