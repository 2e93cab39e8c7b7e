"""One row changed to live and verified on every node, by the resident controller; the same at every size.

From the return of COMMIT to the moment control.node_state says of the edge and both media nodes that they hold the
change's revision: each agent reports a revision only after reading the change back from its server. One size after
another: an installation has its machines for itself, so the servers of those that are done go.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from psycopg import Connection

from tests.bench import DEVICES
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import Failed, Lab, say
from tests.bench.world import EDGE, MEDIA, World

ROUNDS = 4
PER_ROUND = 60
BLOCKS_PER_ROUND = 10
_LIMIT_S = 20
_RATIO = 1.5
_P99_MS = 50

Change = Callable[[Connection[Any], str, int], None]


def _ring_time(connection: Connection[Any], account: str, number: int) -> None:
    connection.execute(
        "UPDATE public.extensions SET ring_time_s = 10 + (ring_time_s + 1) %% 40 WHERE extension = %s AND account_id = "
        "(SELECT id FROM public.accounts WHERE name = %s)",
        (str(101 + number % DEVICES), account),
    )


def _call_limit(connection: Connection[Any], account: str, number: int) -> None:
    connection.execute(
        "UPDATE public.accounts SET call_limit = 1 + coalesce(call_limit, 0) %% 500 WHERE name = %s",
        (account,),
    )


def _new_number(connection: Connection[Any], account: str, number: int) -> None:
    connection.execute(
        """
        INSERT INTO public.numbers (account_id, e164, extension_id)
        SELECT a.id, %s, e.id FROM public.accounts a JOIN public.extensions e ON e.account_id = a.id
         WHERE a.name = %s AND e.extension = '101'""",
        (f"+4940{number:07d}", account),
    )


def _password(connection: Connection[Any], account: str, number: int) -> None:
    connection.execute(
        "SELECT public.set_device_password(%s, %s)", (f"d1@{account}.example", f"Another-pass-{number:06d}!")
    )


def _block(connection: Connection[Any], account: str, number: int) -> None:
    connection.execute(
        "INSERT INTO public.blocks (scope, subject, what, reason) VALUES ('account', %s, %s, 'fraud')",
        (account, f"+882{number:05d}"),
    )


KINDS: dict[str, Change] = {
    "ring time": _ring_time,
    "call limit": _call_limit,
    "new number": _new_number,
    "device password": _password,
}


class Runner:
    """Makes changes in one world and times them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blocks_ms: list[float] = []
        self.times_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._rows = world.connect("admin")
        self._listener = world.connect("admin")
        self._listener.execute("LISTEN dialplane_node")
        # Accounts of the cluster whose media nodes run, far apart.
        names = self._rows.execute(
            "SELECT a.name FROM public.accounts a JOIN public.nodes n USING (cluster_id) WHERE n.name = %s "
            "ORDER BY md5(a.name) LIMIT %s",
            (MEDIA[0], 2 * ROUNDS * PER_ROUND),
        ).fetchall()
        self._accounts = itertools.cycle([name for (name,) in names])
        self._number = itertools.count(1)

    def round(self, count: int, *, keep: bool = True) -> None:
        """So many changes, one after the other."""
        for kind in itertools.islice(itertools.cycle(KINDS), count):
            took = self._one(KINDS[kind], kind)
            if keep:
                self.times_ms[kind].append(took * 1000)

    def blocks(self, count: int) -> None:
        """Blocks: operational state, published by the row's own transaction."""
        for _ in range(count):
            self.blocks_ms.append(self._one(_block, "block") * 1000)

    def _one(self, change: Change, kind: str) -> float:
        row = self._rows.execute("SELECT max(id) FROM control.revisions").fetchone()
        wanted = (row[0] if row else 0) + 1
        for _ in self._listener.notifies(timeout=0):
            pass
        change(self._rows, next(self._accounts), next(self._number))
        committed = time.perf_counter()
        while not self._live(wanted):
            if time.perf_counter() - committed > _LIMIT_S:
                raise Failed(f"{kind}: not live after {_LIMIT_S} s:\n{self._why()}")
            for _ in self._listener.notifies(timeout=1.0, stop_after=1):
                pass
        return time.perf_counter() - committed

    def _live(self, revision: int) -> bool:
        row = self._listener.execute(
            "SELECT count(*) FROM control.node_state WHERE revision >= %s AND pending = 0 AND last_error IS NULL",
            (revision,),
        ).fetchone()
        return row is not None and row[0] == 1 + len(MEDIA)

    def _why(self) -> str:
        states = self._rows.execute(
            "SELECT node, revision, pending, last_error FROM control.node_state"
        ).fetchall()
        logs = (self.world.lab.logs(self.world.containers[name], 5) for name in ("controller", EDGE, *MEDIA))
        return "\n".join([str(states), *logs])

    def all_ms(self) -> list[float]:
        """Every time of every kind."""
        return [one for times in self.times_ms.values() for one in times]


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """p50 and p99 at each size, their kinds, and the ratio of the largest to the smallest."""
    runners = []
    for size in sizes:
        world = lab.world(size)
        world.run()
        runner = Runner(world)
        runner.round(2 * len(KINDS), keep=False)
        for number in range(ROUNDS):
            say(f"row_to_live: round {number + 1} of {ROUNDS}, {world.accounts:,} accounts")
            runner.round(PER_ROUND)
            runner.blocks(BLOCKS_PER_ROUND)
        runners.append(runner)
        yield from _figures(runner)
        if size != sizes[-1]:
            world.end()
    if len(runners) > 1:
        first, last = runners[0], runners[-1]
        ratio = median(last.all_ms()) / median(first.all_ms())
        yield Figure(
            "row_to_live.p50_ratio", ratio, "x", _RATIO,
            note=f"{last.world.accounts:,} against {first.world.accounts:,} accounts",
        )  # fmt: skip


def _figures(runner: Runner) -> Iterator[Figure]:
    world, times = runner.world, runner.all_ms()
    name = f"row_to_live.{world.accounts}"
    share = f"{world.devices:,} devices on the edge, {world.accounts // world.clusters:,} accounts on a media node"
    kinds = ", ".join(f"{kind} {median(times):.0f}" for kind, times in runner.times_ms.items())
    yield Figure(f"{name}.p50", median(times), "ms", note=f"{len(times)} changes; p50 of each kind: {kinds}")
    yield Figure(
        f"{name}.p99", percentile(times, 0.99), "ms", _P99_MS, note=f"worst {max(times):.0f}; {share}"
    )
    yield Figure(
        f"{name}.block_p50", median(runner.blocks_ms), "ms",
        note=f"operational: no controller in between; worst of {len(runner.blocks_ms)}: {max(runner.blocks_ms):.0f}",
    )  # fmt: skip
