"""Name servers: how long a changed row takes to be the answer, and questions per second from the rows against a file.

One name server is on the rows and keeps answers, which `dialplane agent names` takes back, one is on the rows and keeps
none, one keeps the zones it transferred. All stand in one network namespace, with who asks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from controller.schema import synthetic
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import Failed, Lab, say
from tests.bench.processes import Watch, container_id

_DATABASE, _ZONE = "names", "dialplane.internal"
_ROWS, _FILE, _PLAIN = "127.0.0.51", "127.0.0.52", "127.0.0.53"
_CLUSTERS, _NODES = 20, 4
_SECONDS, _WINDOW, _MOVES = 10, 32, 300
# Answers are kept for a minute at most.
_WARM_S = 30
_CLIENT = Path(__file__).with_name("names_client.py")


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """At the largest size."""
    accounts = max(sizes)
    _fill(lab, accounts)
    rows = lab.start(
        "ns1", "names", *lab.postgres.mount, "-e", f"ADDRESS={_ROWS}", "-e", f"SECONDARY={_FILE},127.0.0.1",
        "-e", "PURGED=1", "-e", f"DIALPLANE_DATABASE={lab.postgres.inside(_DATABASE, 'dns')}",
    )  # fmt: skip
    _wait(lab, rows, _ROWS, 60)
    plain = lab.start(
        "ns3", "names", *lab.postgres.mount, "-e", f"ADDRESS={_PLAIN}",
        "-e", f"DIALPLANE_DATABASE={lab.postgres.inside(_DATABASE, 'dns')}", network=f"container:{rows}",
    )  # fmt: skip
    _wait(lab, plain, _PLAIN, 60)

    def ask(what: str, address: str, **more: Any) -> dict[str, Any]:
        asked = {
            "what": what,
            "address": address,
            "accounts": accounts,
            "sample": min(accounts, 20_000),
            "zone": _ZONE,
        }
        asked |= {"window": _WINDOW, **more}
        said = lab.execute(
            rows, "/opt/dialplane/bin/python", "-c", _CLIENT.read_text(), json.dumps(asked), timeout_s=600
        )
        return dict(json.loads(said))

    say("name server on the rows: moving accounts under load")
    ask("load", _ROWS, seconds=3)
    took = ask(
        "changes", _ROWS, seconds=600, window=8, moves=_MOVES, url=lab.postgres.inside(_DATABASE, "admin"),
        clusters=[f"c{number}" for number in range(_CLUSTERS)],
    )["took_s"]  # fmt: skip
    yield Figure(
        "names.change_to_answer", percentile(took, 0.99) * 1000, "ms", bound=1000,
        note=f"p99 of {len(took)} accounts moved one after another while others ask; p50 {median(took) * 1000:.0f} ms; "
        f"{accounts:,} accounts",
    )  # fmt: skip

    say("transferring the zones")
    began = time.monotonic()
    kept = lab.start(
        "ns2", "names", "-e", f"PRIMARY={_ROWS}", "-e", f"ADDRESS={_FILE}", network=f"container:{rows}"
    )
    with Watch(container_id(lab, kept)) as seen:
        _wait(lab, kept, _FILE, 500)
    yield Figure(
        "names.transfer", time.monotonic() - began, "s",
        note=f"from the start of the secondary to its answer; it then takes {seen.rss_mb:.0f} MB",
    )  # fmt: skip

    say("asking for every name once")
    ask("load", _ROWS, seconds=_WARM_S)
    found: dict[str, list[float]] = {_ROWS: [], _FILE: [], _PLAIN: []}
    for _ in range(3):
        for address, each in found.items():
            said = ask("load", address, seconds=_SECONDS)
            each.append(said["per_second"])
            say(f"{address}: {said}")
    views, file, unkept = (median(each) for each in found.values())
    yield Figure(
        "names.queries_per_second", views / file, "", at_least=True,
        note=f"{views:,.0f}/s from the rows, answers kept until rows change, {unkept:,.0f}/s with each looked up anew; "
        f"{file:,.0f}/s from a file with the same zone",
    )  # fmt: skip


def _fill(lab: Lab, accounts: int) -> None:
    say(f"{accounts:,} accounts for names")
    postgres = lab.postgres
    postgres.create(_DATABASE)
    with psycopg.connect(postgres.url(_DATABASE, "postgres")) as connection:
        connection.execute("SET session_replication_role = replica")
        synthetic.fill(connection, accounts, 0)
        connection.execute(
            "INSERT INTO public.clusters (name) SELECT 'c' || n FROM generate_series(0, %s) n",
            (_CLUSTERS - 1,),
        )
        connection.execute(
            "UPDATE public.accounts a SET cluster_id = c.id FROM public.clusters c WHERE c.name = 'c' || (a.id %% %s)",
            (_CLUSTERS,),
        )
        connection.execute(
            """
            INSERT INTO public.nodes (name, kind, cluster_id, address)
            SELECT c.name || 'n' || n, 'media', c.id, ('10.1.' || c.id || '.' || n)::inet
              FROM public.clusters c CROSS JOIN generate_series(1, %s) n WHERE c.name LIKE 'c%%'""",
            (_NODES,),
        )
        connection.execute("INSERT INTO public.device_groups (name) VALUES ('phones')")
        connection.execute(
            "INSERT INTO public.nodes (name, kind, device_group_id, address) "
            "SELECT 'edge' || n, 'edge', g.id, ('10.2.0.' || n)::inet "
            "FROM public.device_groups g CROSS JOIN generate_series(1, 2) n"
        )
        connection.execute(
            "INSERT INTO control.node_state (node, kind, heard_at) "
            "SELECT name, kind, clock_timestamp() + interval '1 day' FROM public.nodes"
        )
    with psycopg.connect(postgres.url(_DATABASE, "postgres"), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _wait(lab: Lab, name: str, address: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if all("hostmaster" in _dig(lab, name, address, zone) for zone in (_ZONE, f"phones.{_ZONE}")):
                return
        except Failed:
            pass
        if time.monotonic() > deadline or not lab.running(name):
            raise Failed(f"the name server at {address} does not answer: {lab.logs(name)}")
        time.sleep(0.5)


def _dig(lab: Lab, name: str, address: str, zone: str) -> str:
    return lab.execute(name, "dig", "+short", "+time=1", "+tries=1", f"@{address}", zone, "SOA")
