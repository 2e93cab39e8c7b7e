"""Resident memory of each process with the largest world running. For information."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.bench.figures import Figure
from tests.bench.lab import Lab
from tests.bench.processes import Process, container_id, memory, pids

# A word of the command line -> what the process is called here. The first that fits.
_CALLED = (
    ("agent run", "agent"),
    ("agi serve", "agi"),
    ("controller run", "controller"),
    ("kamailio -", "kamailio"),
    ("asterisk -", "asterisk"),
    ("postgres", "postgresql"),
)


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Per kind of process and container: the largest, and all together."""
    world = lab.world(max(sizes))
    world.run()
    for what, container in {**world.containers, "postgres": lab.postgres.name}.items():
        kinds: dict[str, list[Process]] = defaultdict(list)
        for pid in pids(container_id(lab, container)):
            seen = memory(pid)
            if seen is None:
                continue
            kind = next((name for word, name in _CALLED if word in seen.command), None)
            if kind:
                kinds[kind].append(seen)
        for kind, group in kinds.items():
            largest = max(one.rss_mb for one in group)
            shares = [one.pss_mb for one in group if one.pss_mb is not None]
            together = f"; together (PSS) {sum(shares):.0f} MB" if len(shares) == len(group) else ""
            label = what if kind in ("controller", "postgresql") else f"{what}.{kind}"
            note = f"largest of {len(group)} processes{together}" if len(group) > 1 else together.strip("; ")
            yield Figure(f"memory.{label}", largest, "MB", note=note)
