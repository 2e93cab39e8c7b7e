"""From a verdict of fraud to the moment both edges have its blocks in memory and have read them back.

A verdict is handed to what the service does with it (controller/fraud/serve.py): its row, the incident, blocks and
actions in one transaction. The time goes from there, commit included, until control.node_state says of both edges that
they hold the revision which that transaction published. Verdicts of three kinds in turn, of another account each: a
telephone may call nobody outside; an account may not call where fraud pays (four blocks); an address is shut out. The
controller runs, and ends calls for them meanwhile. At the end every block is looked for in the memory of each edge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from controller.calls import operator
from controller.calls import store as calls
from controller.fraud import defaults, feed
from controller.fraud.enforce import act
from controller.fraud.model import CRITICAL, Rule, Verdict
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import Failed, Lab, say
from tests.bench.world import EDGE, World

ACCOUNTS, VERDICTS = 1_000, 150
# Between two of them: what the controller does for one is not in the way of the next.
_PAUSE_S = 0.1
EDGES = (EDGE, "edge2")
_MEDIA = ("media1",)
_LIMIT_S = 20
_P99_MS = 100
_RULES = {rule.name: rule for rule in defaults.RULES}
KINDS = ("costly-concurrent-phone", "costly-calls", "names-from-one-address")
_PUBLISHED = """
    SELECT max(revision), array_agg(key) FROM control.changes
     WHERE revision = (SELECT max(id) FROM control.revisions) AND kind = 'edge' AND tbl = 'block' AND new LIKE %s"""
_HOLD_IT = """
    SELECT count(*) FROM control.node_state
     WHERE kind = 'edge' AND revision >= %s AND pending = 0 AND last_error IS NULL"""


def verdict(rule: Rule, account: str, number: int, at: float) -> Verdict:
    """One about something of that account, or about an address."""
    subject = {
        "device": f"d1@{account}.example", "account": account, "source": f"198.18.{number // 250}.{number % 250}",
    }[rule.scope]  # fmt: skip
    value = rule.critical or 0.0
    return Verdict(
        rule, rule.scope, subject, CRITICAL, value, value, at, at + rule.release_s, evidence=("bench",),
        account="" if rule.scope == "source" else account,
    )  # fmt: skip


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """The p99."""
    world = World(lab, ACCOUNTS)
    world.database, world.edges, world.media = "verdicts", EDGES, _MEDIA
    world.compile()
    world.start()
    worker, watcher = world.connect("fraud"), world.connect("admin")
    watcher.execute("LISTEN dialplane_node")
    names = watcher.execute(
        "SELECT name FROM public.accounts ORDER BY md5(name) LIMIT %s", (VERDICTS,)
    ).fetchall()
    took: list[float] = []
    done: list[float] = []
    keys: list[tuple[str, str]] = []
    say(f"{VERDICTS} verdicts")
    for number, (account,) in enumerate(names):
        time.sleep(_PAUSE_S)
        found = verdict(_RULES[KINDS[number % len(KINDS)]], account, number, time.time())
        for _ in watcher.notifies(timeout=0):
            pass
        began = time.perf_counter()
        with worker.transaction():
            feed.keep(worker, found)
            incident = act(worker, found)
        committed = time.perf_counter()
        row = watcher.execute(_PUBLISHED, (f"%;incident={incident};%",)).fetchone()
        if row is None or row[0] is None:
            raise Failed(f"incident {incident} published no block")
        while watcher.execute(_HOLD_IT, (row[0],)).fetchone() != (len(EDGES),):
            if time.perf_counter() - committed > _LIMIT_S:
                raise Failed(f"blocks of incident {incident} are not on both edges after {_LIMIT_S} s")
            for _ in watcher.notifies(timeout=1.0, stop_after=1):
                pass
        took.append((time.perf_counter() - began) * 1000)
        done.append((committed - began) * 1000)
        keys += [(key, f"incident={incident}") for key in row[1]]
    asyncio.run(_in_memory(lab.postgres.url(world.database, "admin"), keys))
    note = (
        f"{len(took)} verdicts, {len(keys)} blocks, {len(EDGES)} edges; p50 {median(took):.0f}, worst {max(took):.0f}; "
        f"of that until the commit p50 {median(done):.0f}, worst {max(done):.0f}"
    )
    yield Figure("fraud_verdict_to_block.p99", percentile(took, 0.99), "ms", _P99_MS, note=note)
    world.close()
    world.end()


async def _in_memory(url: str, keys: Sequence[tuple[str, str]]) -> None:
    async with calls.connect(url) as connection:
        for edge in EDGES:
            for key, value in keys:
                found = await operator.rpc(connection, edge, "htable.get", ["block", key])
                if value not in str(found):
                    raise Failed(f"{edge} has not {value} for {key}, but {found}")
