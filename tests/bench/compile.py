"""Everything compiled from nothing: rows of the largest size, an empty control schema, `make_plan(everything)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure
from tests.bench.lab import Lab

_LIMIT_S, _LIMIT_MB = 60, 1024


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Time of the plan, peak of resident memory of our processes, time to publish."""
    world = lab.world(max(sizes))
    seen = world.compile()
    note = (
        f"{world.devices:,} devices, {seen['changes']:,.0f} entries, {seen['processes']:.0f} processes, "
        f"{seen['cpu_s']:.0f} s of processor time in them"
    )
    yield Figure("compile_from_nothing.plan", seen["plan_s"], "s", _LIMIT_S, note=note)
    yield Figure(
        "compile_from_nothing.memory",
        seen["rss_mb"],
        "MB",
        _LIMIT_MB,
        note="peak sum of resident sizes, PostgreSQL apart",
    )
    yield Figure(
        "compile_from_nothing.publish", seen["publish_s"], "s", note="the same entries into a revision"
    )
