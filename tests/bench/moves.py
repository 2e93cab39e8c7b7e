"""An account moves to another cluster: from COMMIT of the step that points it there to the moment both edges hold that.

The steps are those of controller/mover.py, in this process, as a command that follows its move takes them. One
transaction changes the account's row, its entry on the edges and the revision; then control.node_state must say of both
edges that they hold the revision, which their agents report after they read it back. One account after another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from controller import mover
from controller.moves.model import Batch
from controller.schema.database import connect
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import Failed, Lab, say
from tests.bench.world import EDGE, World

ACCOUNTS, MOVED = 1_000, 200
_EDGES, _MEDIA, _TO = (EDGE, "edge2"), ("media1", "media2"), "other"
_LIMIT_S = 20
_P99_MS = 50
# What a step published for the edges, if it is an account's place.
_POINTED = """
    SELECT revision FROM control.changes
     WHERE revision = (SELECT max(id) FROM control.revisions) AND kind = 'edge' AND tbl = 'account' AND new LIKE %s"""
_HOLD_IT = """
    SELECT count(*) FROM control.node_state
     WHERE kind = 'edge' AND revision >= %s AND pending = 0 AND last_error IS NULL"""


class Watch:
    """What the mover says: it comes right after the commit of a step."""

    def __init__(self, world: World) -> None:
        self.times_ms: list[float] = []
        self._world = world
        self._rows = world.connect("admin")
        self._rows.execute("LISTEN dialplane_node")

    def __call__(self, said: str) -> None:
        committed = time.perf_counter()
        row = self._rows.execute(_POINTED, (f"%cluster={_TO};%",)).fetchone()
        if row is None:
            return
        while not self._live(row[0]):
            if time.perf_counter() - committed > _LIMIT_S:
                raise Failed(f"{said}: not on both edges after {_LIMIT_S} s")
            for _ in self._rows.notifies(timeout=1.0, stop_after=1):
                pass
        self.times_ms.append((time.perf_counter() - committed) * 1000)

    def _live(self, revision: int) -> bool:
        row = self._rows.execute(_HOLD_IT, (revision,)).fetchone()
        return row is not None and row[0] == len(_EDGES)


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """p50 and p99."""
    world = _world(lab)
    watch = Watch(world)
    with connect(lab.postgres.url(world.database, "admin")) as connection:
        number = _begin(connection)
        began = time.monotonic()
        while len(watch.times_ms) < MOVED:
            if time.monotonic() - began > 120:
                raise Failed(f"{len(watch.times_ms)} of {MOVED} accounts moved: {_why(connection, number)}")
            mover.look(connection, number, watch)
            time.sleep(0.2)
    took = watch.times_ms
    note = f"{len(took)} accounts of {ACCOUNTS:,}, 2 edges; p50 {median(took):.0f}, worst {max(took):.0f}"
    yield Figure("move_to_live_on_edges.p99", percentile(took, 0.99), "ms", _P99_MS, note=note)
    world.close()
    for name in world.containers.values():
        lab.remove(name)


def _world(lab: Lab) -> World:
    """Two edges, and a media node in each of two clusters."""
    world = World(lab, ACCOUNTS)
    world.database, world.edges, world.media = "moves", _EDGES, _MEDIA
    world.compile()
    rows = world.connect("admin")
    rows.execute("INSERT INTO public.clusters (name) VALUES (%s)", (_TO,))
    rows.execute(
        "UPDATE public.nodes SET cluster_id = (SELECT id FROM public.clusters WHERE name = %s) WHERE name = %s",
        (_TO, _MEDIA[1]),
    )
    world.start(controller=False)
    return world


def _begin(connection: Connection[Any]) -> int:
    """A batch without canaries, all at once."""
    names = connection.execute(
        "SELECT name FROM public.accounts ORDER BY md5(name) LIMIT %s", (MOVED,)
    ).fetchall()
    limits = Batch(0, (), canary=0, at_once=MOVED)
    made = mover.draft(connection, [(name, _TO, "") for (name,) in names], limits)
    number = mover.begin(connection, made, author="bench", reason="moves")
    connection.commit()
    say(f"moving {MOVED} accounts")
    return number


def _why(connection: Connection[Any], number: int) -> str:
    rows = connection.execute(
        "SELECT step, why, count(*) FROM control.account_moves WHERE move_id = %s GROUP BY step, why LIMIT 5",
        (number,),
    )
    return str(rows.fetchall())
