"""How long the command takes to show its help: what a person waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.bench.lab import ROOT, Lab

_TIMES = 11


def measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]:
    """`dialplane --help` against a Python that does nothing, in turns."""
    program = str(Path(sys.executable).with_name("dialplane"))
    help_ms: list[float] = []
    nothing_ms: list[float] = []
    for _ in range(_TIMES):
        for command, times in (([program, "--help"], help_ms), ([sys.executable, "-c", ""], nothing_ms)):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, timeout=30, cwd=ROOT)
            times.append((time.perf_counter() - began) * 1000)
    yield Figure(
        "start_of_the_command", median(help_ms), "ms", note=f"bare Python: {median(nothing_ms):.0f} ms"
    )
