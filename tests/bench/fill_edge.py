"""An edge with nothing gets its entries from PostgreSQL: from the start of its agent to the report `verified`.

Kamailio runs with empty tables and an empty state file when its agent starts: every entry goes over RPC and is
compared. The size is ENTRIES entries: credentials. With fewer accounts asked for, as many as they have devices.
Beside it, a new machine: container started, state file filled before Kamailio starts and loads it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import psycopg

from tests.bench import DEVICES
from tests.bench.figures import Figure
from tests.bench.lab import Lab, say
from tests.bench.world import EDGE, World, add_nodes

ENTRIES = 1_000_000
_LIMIT_S = 60
_SUPERVISOR = ("supervisorctl", "-c", "/run/supervisord.conf")

# What the compiler makes of a device, without the rows behind it.
_PUBLISH = """
WITH revision AS (
    INSERT INTO control.revisions (id, state, base, digest, author, reason)
    SELECT max(id) + 1, 'configuration', max(id), 'bench', 'bench', 'an edge to fill' FROM control.revisions
    RETURNING id),
made AS (
    SELECT format('d%%s@bench%%s.example', n %% 10, lpad((n / 10)::text, 6, '0')) AS key,
           format('account=bench%%s;user=u%%s;md5=%%s;sha256=%%s', lpad((n / 10)::text, 6, '0'), n %% 10, md5(n::text),
                  encode(sha256(n::text::bytea), 'hex')) AS value,
           format('bench%%s', lpad((n / 10)::text, 6, '0')) AS account, revision.id AS revision
      FROM generate_series(1, %s) AS n, revision),
changes AS (
    INSERT INTO control.changes (revision, kind, scope, tbl, key, account, new, reason)
    SELECT revision, 'edge', '*', 'credential', key, account, value, 'bench' FROM made)
INSERT INTO control.entries (kind, scope, tbl, key, value, account, revision)
SELECT 'edge', '*', 'credential', key, value, account, revision FROM made"""


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Both ways to fill an edge."""
    count = min(ENTRIES, max(sizes) * DEVICES)
    world = World(lab, 0)
    world.database, world.devices = "fill", count
    lab.postgres.create(world.database)
    add_nodes(psycopg.connect(lab.postgres.url(world.database, "admin"), autocommit=True))
    world.containers[EDGE] = world.node(EDGE)
    world.wait_verified(world.newest(), 60, (EDGE,))
    lab.execute(world.containers[EDGE], *_SUPERVISOR, "stop", "agent")
    say(f"{count:,} entries into control.entries")
    with psycopg.connect(lab.postgres.url(world.database, "postgres")) as connection:
        connection.execute(_PUBLISH, (count,))
    with psycopg.connect(lab.postgres.url(world.database, "postgres"), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    say("starting the agent of the empty edge")
    began = time.monotonic()
    lab.execute(world.containers[EDGE], *_SUPERVISOR, "start", "agent")
    world.wait_verified(world.newest(), 300, (EDGE,))
    took = time.monotonic() - began
    yield Figure(
        "fill_empty_edge",
        took,
        "s",
        _LIMIT_S,
        note=f"{count:,} entries by RPC into a running Kamailio, all compared",
    )
    lab.remove(world.containers.pop(EDGE))
    with psycopg.connect(lab.postgres.url(world.database, "postgres"), autocommit=True) as connection:
        connection.execute("DELETE FROM control.node_state")
    say("a new machine of the same name")
    began = time.monotonic()
    world.containers[EDGE] = world.node(EDGE)
    world.wait_verified(world.newest(), 300, (EDGE,))
    yield Figure(
        "fill_empty_edge.new_machine", time.monotonic() - began, "s",
        note="container start, state file, Kamailio loads it, all compared",
    )  # fmt: skip
    lab.remove(world.containers.pop(EDGE))
