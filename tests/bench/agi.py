"""One AGI decision, a group of ten, against a server on the same streams that decides nothing, at 300 calls a second.

Asked over loopback (`agi_client.py`); a third server, without asyncio, answers at once, which shows what client and
machine take alone: on a busy machine nearly all of the last per cent. Then the door that starts a process for each
call; then what open sessions cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from controller.agent.state import State, Wanted
from controller.wire.agi_caller import request
from tests.bench.agi_client import ask
from tests.bench.figures import Figure, median, percentile
from tests.bench.lab import ROOT, Failed, Lab, say
from tests.bench.processes import cpu_of, rss_mb

RATE = 300
ROUNDS = 5
CALLS = 750
SESSIONS = 5_000
SCRIPTS = 15
_ARGUMENTS = ("group", "sales", "acme", "call-1", "+49301234567", "", "", "carrier-a", "600", "de", "0")
_BLOCK = b"".join(b"agi_more_%d: as Asterisk sends some twenty of them\n" % n for n in range(20)) + request(
    "decide", _ARGUMENTS
)
_LAST = b"SET VARIABLE DP_STEPS "


@contextmanager
def server(*arguments: str) -> Iterator[tuple[int, int]]:
    """Process id and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.agi_server", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.communicate(timeout=30)


def _state(path: Path) -> None:
    """An account with a group of ten, two devices each."""
    names = [f"user{number}" for number in range(10)]
    entries: dict[str, object] = {
        f"acme/user/{name}": {"devices": [f"{name}a@acme.example", f"{name}b@acme.example"]} for name in names
    }
    entries["acme/group/sales"] = {"members": [{"user": name} for name in names]}
    state = State(path)
    state.stage([Wanted("policy", key, json.dumps(value)) for key, value in entries.items()], 1)
    state.close()


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """Ratio and 99th percentile; the per-call door; memory and processor time of open sessions."""
    path = lab.folder / "agi" / "state.db"
    _state(path)
    with (
        server("decides", str(path)) as (decides, port),
        server("nothing") as (_, bare),
        server("floor") as (_, floor),
    ):
        times: dict[int, list[list[float]]] = {port: [], bare: [], floor: []}
        for one in times:
            ask(one, _BLOCK, _LAST, calls=RATE, rate=RATE)
        used = cpu_of(decides) or 0.0
        for number in range(ROUNDS):
            # The order changes from round to round, so that a drift of the machine favours neither.
            for one, rounds in sorted(times.items(), reverse=bool(number % 2)):
                calls = RATE if one == floor else CALLS
                rounds.append(ask(one, _BLOCK, _LAST, calls=calls, rate=RATE))
            said = (
                f"{median(rounds[-1]):.2f} (p99 {percentile(rounds[-1], 0.99):.1f})"
                for rounds in times.values()
            )
            say(f"agi {number + 1}/{ROUNDS}: {', '.join(said)} ms")
        used = ((cpu_of(decides) or 0.0) - used) / (ROUNDS * CALLS)
        ratios = [median(one) / median(other) for one, other in zip(times[port], times[bare], strict=True)]
        middle = {one: median([ms for times in rounds for ms in times]) for one, rounds in times.items()}
        note = (
            f"group of 10 at {RATE} calls/s: {middle[port]:.2f} ms against {middle[bare]:.2f}; "
            f"client and machine alone {middle[floor]:.2f}"
        )
        yield Figure("agi_decision_ratio", median(ratios), "x", bound=1.5, note=note)
        # Of each round, so that one pause of the machine is not the whole figure.
        p99 = {one: median([percentile(times, 0.99) for times in rounds]) for one, rounds in times.items()}
        note = (
            f"a server that decides nothing {p99[bare]:.1f} ms, client and machine alone {p99[floor]:.1f}; "
            f"{used * 1000:.2f} ms of CPU a decision"
        )
        yield Figure("agi_decision_p99", p99[port], "ms", bound=10, note=note)
        yield from _scripts(path.parent)
        yield from asyncio.run(_open(decides, port))


def _scripts(state: Path) -> Iterator[Figure]:
    """The same decision by a process of its own for each call, one after another."""
    given = request("decide", _ARGUMENTS) + b"200 result=1\n" * 100
    command = [sys.executable, str(ROOT / "asterisk" / "agi-bin" / "dialplane-decide")]
    environment = os.environ | {"DIALPLANE_STATE": str(state), "DIALPLANE_KIND": "media"}
    times = []
    for _ in range(SCRIPTS):
        began = time.perf_counter()
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, check=False, timeout=60
        )
        times.append((time.perf_counter() - began) * 1000)
        if done.returncode or _LAST not in done.stdout:
            raise Failed(f"dialplane-decide: {done.stderr.decode().strip()}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    note = (
        f"a process for each call (dialplane-decide), one at a time; {before.ru_maxrss / 1024:.0f} MB at most"
    )
    yield Figure("agi_decision_by_a_script", median(times), "ms", note=note)


async def _open(pid: int, port: int) -> list[Figure]:
    """Sessions that have said half of their request, all open at once; then each is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(SESSIONS, hard - 200)
    before_mb, before_s = rss_mb(pid), cpu_of(pid) or 0.0
    half = len(_BLOCK) // 2
    ends = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_BLOCK[:half])
        ends.append((reader, writer))
    await asyncio.sleep(2)
    held_mb, opened_s = rss_mb(pid), cpu_of(pid) or 0.0
    await asyncio.sleep(2)
    idle_s = (cpu_of(pid) or 0.0) - opened_s

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(_BLOCK[half:])
        said = await reader.read()
        writer.write(b"200 result=1\n" * said.count(b"\n"))
        writer.close()
        return _LAST in said

    began = time.perf_counter()
    decided = sum(await asyncio.gather(*(end(*one) for one in ends)))
    took_s = time.perf_counter() - began
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if decided != count:
        raise Failed(f"{decided} of {count} open sessions were decided")
    note = f"{count:,} open at once, {held_mb:.0f} MB in all; then all decided within {took_s:.1f} s"
    return [
        Figure("agi_open_session_memory", (held_mb - before_mb) * 1024 / count, "kB", note=note),
        Figure("agi_open_sessions_cpu", idle_s / 2 * 100, "% of a CPU",
               note=f"while they wait; opening them took {opened_s - before_s:.1f} s of CPU"),
    ]  # fmt: skip
