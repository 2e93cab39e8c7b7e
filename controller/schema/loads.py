"""Where accounts are by their rows, and how many calls each has at the same time by the records of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

# A call counts in the hour it began in; so long a call as to reach into the next is rare.
_LOAD = """
WITH hours AS (
    SELECT account, extract(hour FROM started_at AT TIME ZONE 'UTC')::integer AS hour, sum(duration_ms) AS ms
      FROM control.call_records
     WHERE started_at >= now() - make_interval(days => %(days)s) AND media_node IS NOT NULL AND duration_ms > 0
     GROUP BY 1, 2
), busy AS (
    SELECT hour FROM hours GROUP BY hour ORDER BY sum(ms) DESC, hour LIMIT 1
)
SELECT busy.hour, a.name, (h.ms / 3600000.0 / %(days)s)::double precision
  FROM hours AS h JOIN busy USING (hour) JOIN public.accounts AS a ON a.name = h.account"""


@dataclass(frozen=True, slots=True)
class Loads:
    """What a proposal goes by.

    `hour`: the busiest of the day, UTC (None: there are no records). `load`: account -> calls at the same time in that
    hour, in the mean of the days. `assigned`: account -> cluster. `capacity`: cluster -> weights of its enabled nodes.
    """

    hour: int | None
    load: Mapping[str, float]
    assigned: Mapping[str, str]
    capacity: Mapping[str, float]


def read(connection: Connection[Any], days: int) -> Loads:
    """From the rows, and from the records of calls of so many days that a media node carried."""
    measured = connection.execute(_LOAD, {"days": days}).fetchall()
    assigned = connection.execute(
        "SELECT a.name, c.name FROM public.accounts AS a JOIN public.clusters AS c ON c.id = a.cluster_id"
    ).fetchall()
    capacity = connection.execute(
        """
        SELECT c.name, coalesce(sum(n.weight) FILTER (WHERE n.kind = 'media' AND n.state = 'enabled'), 0)
          FROM public.clusters AS c LEFT JOIN public.nodes AS n ON n.cluster_id = c.id
         GROUP BY c.name ORDER BY c.name"""
    ).fetchall()
    return Loads(
        measured[0][0] if measured else None,
        {name: load for _, name, load in measured},
        dict(assigned),
        {name: float(weight) for name, weight in capacity},
    )
