"""What makes a plan suspicious. Such a plan is shown, with number and limit, and refused unless told why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controller.entries import Change

# Share of the entries of one table (percent) that one plan may delete, once it deletes more than the count.
DELETE_LIMIT_PCT = 10
DELETE_LIMIT_COUNT = 20

# Losing one of these silences somebody's way to help, or every call of a node.
_PRECIOUS = {
    "emergency": "an emergency number stops working",
    "media_node": "an edge stops trusting a media node",
}


class Danger(NamedTuple):
    """One reason to refuse, as a sentence."""

    table: str
    sentence: str


def dangers(changes: Iterable[Change], published_counts: Mapping[tuple[str, str], int]) -> tuple[Danger, ...]:
    """Everything suspicious. `published_counts`: (kind, table) -> entries published now."""
    deleted: Counter[tuple[str, str]] = Counter()
    found: list[Danger] = []
    for change in changes:
        if change.new is not None:
            continue
        address = change.address
        deleted[address.kind, address.table] += 1
        if address.table in _PRECIOUS:
            found.append(Danger(address.table, f"{address.key}: {_PRECIOUS[address.table]}"))
        if address.table == "dialplan" and address.key.startswith("emergency"):
            found.append(Danger("dialplan", f"{address.key}: an emergency route is gone"))
    for (kind, table), count in deleted.items():
        held = published_counts.get((kind, table), count)
        share_pct = 100 * count / max(held, 1)
        if count > DELETE_LIMIT_COUNT and share_pct > DELETE_LIMIT_PCT:
            found.append(
                Danger(
                    table,
                    f"deletes {count:,} of {held:,} {kind} {table} entries ({share_pct:.0f} %); "
                    f"the limit is {DELETE_LIMIT_PCT} %",
                )
            )
    return tuple(found)
