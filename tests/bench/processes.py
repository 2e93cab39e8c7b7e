"""Memory and processor time of the processes of a container, from /proc of this machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.bench.lab import Lab

_MB = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """`pss_mb`: shared pages counted once among those who share them; None when it may not be read."""

    command: str
    rss_mb: float
    pss_mb: float | None


def container_id(lab: Lab, name: str) -> str:
    """The full id."""
    return lab.command(["docker", "inspect", "-f", "{{.Id}}", name]).strip()


def pids(identity: str) -> list[int]:
    """Processes whose control group is the container's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if identity in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def memory(pid: int) -> Process | None:
    """A process as it is now; None: it ended."""
    folder = Path(f"/proc/{pid}")
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        rss = int((folder / "statm").read_text().split()[1]) * _PAGE / _MB
    except OSError:
        return None
    try:
        line = next(
            one for one in (folder / "smaps_rollup").read_text().splitlines() if one.startswith("Pss:")
        )
        pss = int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        pss = None
    return Process(command, rss, pss)


def cpu_s(identity: str) -> float:
    """Processor time used until now by the container's living processes, in seconds."""
    return sum(cpu_of(pid) or 0.0 for pid in pids(identity))


class Watch:
    """`with Watch(id) as seen: ...`: peak of the sum of resident sizes in MB, and processor time in s.

    Five looks a second: what a process used after the last look before its end is missed.
    """

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._used: dict[int, float] = {}
        self.rss_mb = 0.0
        self.processes = 0

    @property
    def cpu_s(self) -> float:
        """Processor time of all processes seen."""
        return sum(self._used.values())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            alive = pids(self._identity)
            now = [size for size in map(rss_mb, alive) if size]
            self._used |= {pid: used for pid in alive if (used := cpu_of(pid)) is not None}
            if sum(now) > self.rss_mb:
                self.rss_mb, self.processes = sum(now), len(now)


def cpu_of(pid: int) -> float | None:
    """Processor time a process has used, in s; None: it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICK


def rss_mb(pid: int) -> float:
    """Resident size in MB; 0 when it ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / _MB
    except OSError:
        return 0.0
