"""What a plan amounts to, added up change by change: it does not need the changes to be in memory at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.entries import Change, change_digest
from controller.plan.safety import Danger, precious

# Of a plan whose changes are staged, so many are kept for showing.
KEPT = 2_000
# Of changes that are each a danger, so many are named.
DANGERS = 20


@dataclass(slots=True)
class Summary:
    """Counts per (kind, table, verb), the (kind, scope) of nodes that hold any of it, the sum of digests, the first
    dangers that one change alone is, and the changes themselves: all of them, or the first `limit`."""

    limit: int | None = None
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    scopes: set[tuple[str, str]] = field(default_factory=set)
    digest_sum: int = 0
    precious: list[Danger] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)

    def add(self, changes: Iterable[Change]) -> None:
        """Count these in."""
        for change in changes:
            kind, scope, table, _ = change.address
            self.counts[kind, table, change.verb] += 1
            self.scopes.add((kind, scope))
            self.digest_sum += change_digest(change)
            if len(self.precious) < DANGERS and (danger := precious(change)):
                self.precious.append(danger)
            if self.limit is None or len(self.kept) < self.limit:
                self.kept.append(change)

    def merge(self, other: Summary) -> None:
        """Count in what another worker counted."""
        self.counts.update(other.counts)
        self.scopes |= other.scopes
        self.digest_sum += other.digest_sum
        self.precious += other.precious
        self.kept += other.kept if self.limit is None else other.kept[: self.limit - len(self.kept)]

    def total(self, verb: str | None = None) -> int:
        """How many changes, of that verb or in all."""
        return sum(count for (_, _, one), count in self.counts.items() if verb in (None, one))

    @property
    def digest(self) -> str:
        """64 hex digits; see controller.entries.digest."""
        return f"{self.digest_sum % (1 << 256):064x}"
