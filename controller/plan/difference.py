"""Entries wanted against entries published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.entries import Address, Change, Entry
from controller.errors import BadRows
from controller.plan.reasons import reason


def index(entries: Iterable[Entry]) -> dict[Address, Entry]:
    """Entries by address. Two entries at one address mean two rows claim the same thing: all are reported."""
    found: dict[Address, Entry] = {}
    problems = []
    for entry in entries:
        other = found.setdefault(entry.address, entry)
        if other is not entry:
            address = entry.address
            problems.append(
                f"{address.table} {address.key}: claimed by {entry.account or 'the system'} and by "
                f"{other.account or 'the system'}; change one of the rows"
            )
    if problems:
        raise BadRows(problems)
    return found


def difference(wanted: Mapping[Address, Entry], published: Mapping[Address, Entry]) -> Iterator[Change]:
    """Changes that turn `published` into `wanted`: creates and updates first, then deletes."""
    for address, entry in wanted.items():
        before = published.get(address)
        if before is None:
            yield Change(address, None, entry.value, entry.account, reason(address, None, entry.value))
        elif before.value != entry.value:
            yield Change(
                address, before.value, entry.value, entry.account, reason(address, before.value, entry.value)
            )
    for address, entry in published.items():
        if address not in wanted:
            yield Change(address, entry.value, None, entry.account, reason(address, entry.value, None))


def apply(changes: Iterable[Change], published: Mapping[Address, Entry]) -> dict[Address, Entry]:
    """`published` after the changes: what a publish does to the entries, for tests and previews."""
    after = dict(published)
    for change in changes:
        if change.new is None:
            after.pop(change.address, None)
        else:
            after[change.address] = Entry(change.address, change.new, change.account)
    return after
