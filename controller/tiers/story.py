"""What a simulation says, as tables and as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.tiers.results import Outcome, Result, Sample

_HOUR_S = 3600
_TIMES = ("from", "at", "value")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the columns and the lines."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def aligned(self) -> list[tuple[str, ...]]:
        """The lines, columns of numbers at the right."""
        columns = []
        for title, *cells in zip(self.columns, *self.rows, strict=True):
            texts = [str(one) for one in cells]
            numbers = all(text[:1].isdigit() for text in texts) and title not in _TIMES
            width = max(len(title), *map(len, texts))
            columns.append([text.rjust(width) if numbers else text for text in texts])
        return list(zip(*columns, strict=True))


def clock(at_s: float) -> str:
    """Hours and minutes after the start."""
    return f"{int(at_s // _HOUR_S):02}:{int(at_s % _HOUR_S // 60):02}"


def heading(result: Result) -> str:
    """What was simulated."""
    size = result.size
    return (
        f"{size.nodes:,} media nodes in {result.clusters:,} clusters, {size.edges:,} edges in {result.groups:,} device "
        f"groups, {size.accounts:,} accounts, {size.hours:g} h, seed {size.seed}"
    )


def tables(result: Result) -> Iterator[Table]:
    """All of them, in the order they are read."""
    yield _hours(result)
    yield Table("Events", _EVENT_COLUMNS, tuple(_event(one) for one in result.outcomes))
    overloaded = tuple(_overload(one) for one in result.outcomes if one.count.shed or one.count.starved)
    if overloaded:
        yield Table("Overload", _OVERLOAD_COLUMNS, overloaded)
    yield _totals(result)
    yield Table("Placement", ("what", "value"), tuple(_placement(result)))
    if result.proposal is not None and result.proposal.batches:
        yield Table(
            "First moves of the rebalancing",
            ("batch", "account", "calls", "from", "to", "why"),
            tuple(
                (number, move.account, f"{move.load:.1f}", move.source, move.to, move.why)
                for number, batch in enumerate(result.proposal.batches[:3], 1)
                for move in batch[:3]
            ),
        )


def _hours(result: Result) -> Table:
    rows = []
    hours = range(-(-int(result.size.hours * _HOUR_S) // _HOUR_S))
    for hour in hours:
        part = [one for one in result.samples if hour * _HOUR_S < one.at_s <= (hour + 1) * _HOUR_S]
        if part:
            rows.append((clock(hour * _HOUR_S), *_hour(part)))
    return Table(
        "Hours (node, p99, cluster: how full the fullest node, hundredth of nodes and cluster are, by the mean of all)",
        (
            "from",
            "calls up",
            "calls/s",
            "node",
            "p99",
            "cluster",
            "overflowed",
            "refused",
            "shed",
            "late",
            "lost",
        ),
        tuple(rows),
    )


def _hour(part: Sequence[Sample]) -> tuple[Any, ...]:
    def mean(name: str) -> float:
        return float(sum(getattr(one, name) for one in part)) / len(part)

    counts = [
        sum(getattr(one, name) for one in part)
        for name in ("overflowed", "refused", "shed", "delayed", "lost")
    ]
    fullness = [f"{mean(name):.2f}" for name in ("node_max", "node_p99", "cluster_max")]
    return f"{mean('calls'):,.0f}", f"{mean('per_s'):,.0f}", *fullness, *(f"{one:,}" for one in counts)


_EVENT_COLUMNS = (
    "at", "event", "on", "lasts", "calls", "ringing", "up", "lost ringing", "lost up", "refused", "shed", "late",
    "longest", "overflowed", "recovered", "level again",
)  # fmt: skip


def _event(one: Outcome) -> tuple[Any, ...]:
    count = one.count
    return (
        clock(one.event.at_s),
        one.event.kind,
        one.what,
        f"{one.event.for_s:g} s",
        f"{count.tried:,}",
        f"{one.ringing:,}",
        f"{one.up:,}",
        f"{count.lost_ringing:,}",
        f"{count.lost_talking:,}",
        f"{count.refused + count.unreachable:,}",
        f"{count.shed:,}",
        f"{count.delayed:,}",
        f"{count.longest_s:g} s",
        f"{count.overflowed:,}",
        _seconds(one.recovered_s),
        _seconds(one.level_s),
    )


_OVERLOAD_COLUMNS = (
    "at", "event", "on", "shed", "accounts", "shed below the share", "no node below the share", "recovered",
)  # fmt: skip


def _overload(one: Outcome) -> tuple[Any, ...]:
    count = one.count
    return (
        clock(one.event.at_s),
        one.event.kind,
        one.what,
        f"{count.shed:,}",
        f"{one.shed_accounts:,}",
        f"{count.shed_below:,}",
        f"{count.starved:,}",
        _seconds(one.recovered_s),
    )


def _seconds(value: float | None) -> str:
    return "not in the run" if value is None else f"{value:.0f} s"


def _totals(result: Result) -> Table:
    total = result.total
    lines = (
        ("calls tried", total.tried),
        ("refused with 503, as no media node was left", total.refused),
        ("shed: refused with 503 for overload", total.shed),
        ("shed of accounts that were below their fair share", total.shed_below),
        ("no media node left, on overloaded clusters, for accounts within their share", total.starved),
        ("to phones whose edge was gone", total.unreachable),
        ("late: a node was silent first", total.delayed),
        ("overflowed to another cluster", total.overflowed),
        ("sent on after a refusal, in set-up", total.retried),
        ("lost in set-up", total.lost_ringing),
        ("lost while up", total.lost_talking),
    )
    rows = tuple((what, f"{value:,}", f"{value / max(1, total.tried) * 1e6:,.1f}") for what, value in lines)
    return Table("All calls", ("calls", "number", "per million"), rows)


def _placement(result: Result) -> Iterator[tuple[str, str]]:
    moved, between, part = result.one_more
    accounts = result.size.accounts
    yield (
        "accounts that one more cluster takes",
        f"{moved:,} of {accounts:,} ({moved / accounts:.2%}; its part is {part:.2%})",
    )
    yield "accounts that then move between old clusters", f"{between:,}"
    mean, p99, most = result.distribution_pct
    yield (
        "calls of a node against its weight in its cluster, without events",
        f"off by {mean:.2f} % in the mean, {p99:.2f} % p99, {most:.2f} % at most",
    )
    yield "changes of conditions of nodes", f"{result.conditions:,}"
    if result.proposal is not None:
        found = result.proposal
        yield (
            "rebalancing: fullest cluster by the mean, measured",
            f"{found.before:.2f}, then {found.after:.2f}; {len(found.moves):,} accounts, {len(found.batches)} batches",
        )
        yield "rebalancing ends because", found.why


def data(result: Result) -> dict[str, Any]:
    """Everything, for JSON."""
    found = result.proposal
    return {
        "size": asdict(result.size) | {"clusters": result.clusters, "device_groups": result.groups},
        "total": asdict(result.total) | {"shed_accounts": result.shed_accounts},
        "events": [asdict(one) for one in result.outcomes],
        "samples": [asdict(one) for one in result.samples],
        "one_more_cluster": dict(zip(("accounts", "between_old", "part"), result.one_more, strict=True)),
        "distribution_error_pct": dict(zip(("mean", "p99", "max"), result.distribution_pct, strict=True)),
        "condition_changes": result.conditions,
        "rebalancing": found
        and {
            "before": found.before,
            "after": found.after,
            "why": found.why,
            "batches": [[asdict(move) for move in batch] for batch in found.batches],
        },
    }
