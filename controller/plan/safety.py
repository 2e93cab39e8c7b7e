"""What makes a plan suspicious. Such a plan is shown, with number and limit, and refused unless told why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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


def precious(change: Change) -> Danger | None:
    """The danger that one change is by itself."""
    address = change.address
    if change.new is not None:
        return _at_once(change) if address.table == "account" and change.old is not None else None
    if address.table in _PRECIOUS:
        return Danger(address.table, f"{address.key}: {_PRECIOUS[address.table]}")
    if address.table == "dialplan" and address.key.startswith("emergency"):
        return Danger("dialplan", f"{address.key}: an emergency route is gone")
    return None


def _at_once(change: Change) -> Danger | None:
    """An account that goes to another cluster while its entries leave the old one, where calls need them."""
    before, after = (
        dict(re.findall(r"(?:^|;)(cluster|was)=([^;]+)", value or "")) for value in (change.old, change.new)
    )
    old, new = before.get("cluster"), after.get("cluster")
    if old == new or after.get("was") == old:
        return None
    account = change.address.key
    return Danger(
        "account",
        f"{account}: goes from cluster {old} to {new} at once, calls that are up there lose what they need; "
        f"dialplane account move {account} --to {new} goes step by step",
    )


def mass(
    deletes: Mapping[tuple[str, str], int], published_counts: Mapping[tuple[str, str], int]
) -> Iterator[Danger]:
    """Tables of which too big a share is deleted. Both arguments: (kind, table) -> entries."""
    for (kind, table), count in deletes.items():
        held = published_counts.get((kind, table), count)
        share_pct = 100 * count / max(held, 1)
        if count > DELETE_LIMIT_COUNT and share_pct > DELETE_LIMIT_PCT:
            yield Danger(
                table,
                f"deletes {count:,} of {held:,} {kind} {table} entries ({share_pct:.0f} %); "
                f"the limit is {DELETE_LIMIT_PCT} %",
            )
