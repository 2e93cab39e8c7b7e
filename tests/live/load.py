"""Many calls, one after another and at once, while something happens: what became of each, told as a table.

A `Load` is some devices that call the echo test so many times a second by one edge; every message of its calls
has its time. `Faults` says of each thing that happened what became of the calls that were up, in set-up, or begun
until the next one.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from tests.live import stack
from tests.live.phones import Phone, render

_FOLDER = "/tmp"


@dataclass(slots=True)
class Call:
    """Times in seconds since the epoch; None: it did not come to that."""

    began: float
    answered: float | None = None
    hung_up: float | None = None
    ended: float | None = None
    status: int = 0
    bye_status: int = 0

    @property
    def lost(self) -> bool:
        """It was not answered, or its end was not confirmed: its other end was gone."""
        return self.ended is None

    @property
    def set_up_s(self) -> float:
        """From INVITE to 200; for one that was refused, nothing."""
        return self.answered - self.began if self.answered else 0.0


class Load:
    """Calls of devices in turn, `rate` a second, to `to` by the edge `target`, each `talk_ms` long, until stopped;
    `most` at once."""

    def __init__(
        self, phones: Sequence[Phone], *, to: str, target: str, rate: int, talk_ms: int, most: int = 500
    ) -> None:
        port, [domain] = phones[0].port, {phone.domain for phone in phones}
        name = f"{_FOLDER}/load-{port}"
        self._log = f"{name}.log"
        scenario = render("call", user="[field0]", domain=domain, to=to, talk_ms=talk_ms)
        # Nobody listens: what is counted are calls.
        scenario = scenario.replace("[rtp]", "9").replace("[authentication]", "[field1]")
        lines = (
            f"{phone.user};[authentication username={phone.user} password={phone.password}]"
            for phone in phones
        )
        for suffix, text in (("xml", scenario), ("csv", "\n".join(["SEQUENTIAL", *lines, ""]))):
            written = stack.execute(
                "phones", "sh", "-c", f"rm -f {self._log}; cat > {name}.{suffix}", stdin=text
            )
            assert written.exit == 0, written
        self._process = subprocess.Popen(
            ["docker", "exec", stack.container("phones"), "sipp", "-sf", f"{name}.xml", "-inf", f"{name}.csv",
             "-p", str(port), "-r", str(rate), "-l", str(most), "-nostdin",
             "-recv_timeout", "20000", "-timeout", "300s", "-trace_shortmsg",
             "-shortmessage_file", self._log, "-cid_str", f"%u-{time.time_ns()}@%s", f"{target}:5060"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No new call; those that are up end (SIGUSR1), or are over after 20 s."""
        if self._process.poll() is None:
            stack.signal("phones", "USR1", f"*{self._log}*")
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                stack.signal("phones", "KILL", f"*{self._log}*")

    def calls(self) -> list[Call]:
        """All that were begun, oldest first."""
        return read(stack.execute("phones", "cat", self._log).out)


def read(log: str) -> list[Call]:
    """Calls of SIPp's log of short messages, oldest first."""
    found: dict[str, Call] = {}
    for line in log.splitlines():
        _, _, stamp, way, call_id, cseq, first = line.split("\t")
        at, number, method = float(stamp), *cseq.removeprefix("CSeq:").split()
        if method == "INVITE" and way == "S" and number == "1":
            found.setdefault(call_id, Call(at))
        elif call_id not in found:
            continue  # of calls before this log: the other side says it once more
        elif method == "INVITE" and way == "R" and (status := int(first.split()[1])) >= 200:
            found[call_id].status = status
            if status == 200 and found[call_id].answered is None:
                found[call_id].answered = at
        elif method == "BYE" and way == "S" and found[call_id].hung_up is None:
            found[call_id].hung_up = at
        elif method == "BYE" and way == "R":
            found[call_id].bye_status = int(first.split()[1])
            if found[call_id].bye_status == 200:
                found[call_id].ended = at
    return sorted(found.values(), key=lambda call: call.began)


@dataclass(slots=True)
class Fault:
    """What happened when, and what became of calls; `lost` of those that were up, in set-up, and begun after."""

    what: str
    at: float
    until: float = 0.0
    tried: int = 0
    set_up: int = 0
    established: int = 0
    lost_up: int = 0
    lost_set_up: int = 0
    lost_new: int = 0
    longest_s: float = 0.0

    def judge(self, calls: list[Call]) -> None:
        """Counts the calls it can have touched."""
        for call in calls:
            if self.at <= call.began < self.until:
                self.tried += 1
                self.lost_new += call.lost
                self.longest_s = max(self.longest_s, call.set_up_s)
            elif call.began < self.at and (call.answered or self.at) >= self.at and not call.status >= 300:
                self.set_up += 1
                self.lost_set_up += call.lost
                self.longest_s = max(self.longest_s, call.set_up_s)
            elif call.answered and call.answered < self.at and (call.hung_up or self.until) > self.at:
                self.established += 1
                self.lost_up += call.lost

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        lost = (self.lost_up, self.lost_set_up, self.lost_new)
        numbers = (self.tried, self.set_up, self.established, *lost)
        return (self.what, *map(str, numbers), f"{self.longest_s:.2f}")


HEADER = (
    "fault",
    "tried",
    "in set-up",
    "established",
    "of these lost",
    "in set-up",
    "new",
    "longest set-up s",
)


class Faults:
    """Things that happen while loads run."""

    def __init__(self, like: Iterable[Fault] = ()) -> None:
        self.all = [Fault(one.what, one.at, one.until) for one in like]

    @contextmanager
    def one(self, what: str) -> Iterator[Fault]:
        """It happens at the begin of the block; calls begun until its end are its own."""
        fault = Fault(what, time.time())
        self.all.append(fault)
        try:
            yield fault
        finally:
            fault.until = time.time()

    def table(self, calls: list[Call]) -> str:
        """Judges all, and says so in lines that align."""
        for fault in self.all:
            fault.judge(calls)
        rows = [HEADER, *(fault.row() for fault in self.all)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if not column else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
