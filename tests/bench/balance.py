"""How far each of 1,000 media nodes is from its part of the calls; and what a simulated day of them costs."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence

import numpy as np

from controller.tiers import pick, world
from tests.bench.figures import Figure, percentile
from tests.bench.lab import ROOT, Failed, Lab, say

NODES, ACCOUNTS, CALLS_EACH = 1_000, 1_000_000, 20
_ERROR_PCT, _DAY_S, _DAY_MB = 5, 60, 1500
_SEED = 1


def measure(_: Lab, __: Sequence[int]) -> Iterator[Figure]:
    """Both."""
    yield distribution()
    yield from day()


def day() -> Iterator[Figure]:
    """`dialplane simulate` as it is typed: processor time, and memory at most."""
    command = [str(ROOT / ".venv/bin/dialplane"), "simulate", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Failed(f"dialplane simulate ended with {child.returncode}")
    note = "dialplane simulate: 1,000 media nodes, 200 edges, 1,000,000 accounts, 24 h"
    yield Figure("simulate.day", used.ru_utime + used.ru_stime, "s", _DAY_S, note=f"{note}; processor time")
    yield Figure("simulate.memory", used.ru_maxrss / 1000, "MB", _DAY_MB, note="the same")


def distribution() -> Figure:
    """All calls of all accounts, each chosen alone by `pick.choose`; the worst node, in percent of its part."""
    began = time.process_time()
    size = world.NODES_PER_CLUSTER
    clusters = [f"c{number:03}" for number in range(NODES // size)]
    digests = world.digests([world.account_name(n) for n in range(ACCOUNTS)])
    accounts = np.bincount(world.placed(digests, dict.fromkeys(clusters, 1.0)), minlength=len(clusters))
    say(f"{ACCOUNTS:,} accounts are placed")
    # The seed makes it the same each time.
    number = random.Random(_SEED).random
    errors = []
    takes = pick.Condition(takes=True, lost=False, why="", share_tenths=10)
    for held in accounts.tolist():
        offered = pick.targets((pick.Node(f"m{one}"), takes) for one in range(size))
        got = dict.fromkeys((target.name for target in offered), 0)
        for _call in range(held * CALLS_EACH):
            got[pick.choose(offered, lambda most: int(number() * most)) or ""] += 1
        part = ACCOUNTS * CALLS_EACH / NODES
        errors += [abs(calls - part) / part * 100 for calls in got.values()]
    note = (
        f"worst of {NODES:,} nodes; mean {sum(errors) / NODES:.1f}, p99 {percentile(errors, 0.99):.1f}; "
        f"{ACCOUNTS:,} accounts, {CALLS_EACH} calls each, {time.process_time() - began:.0f} s"
    )
    return Figure("balance.distribution_error", max(errors), "%", _ERROR_PCT, note=note)
