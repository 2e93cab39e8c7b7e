"""An account or two on servers of their own, as at an installation: edges and media nodes with their agents, a
controller, and SIPp's telephones beside them. All stand in one network of the lab, each with an address of its own, and
may be killed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from controller import pipeline
from controller.schema import synthetic
from controller.schema.database import connect
from tests.bench.lab import ROOT, Failed, Lab
from tests.bench.signalling import signs_in
from tests.bench.world import EDGE, MEDIA, World, add_nodes
from tests.live.load import Call, read
from tests.live.phones import render

DOMAIN, OTHER = "bench000000.example", "bench000001.example"
# A call that is not answered by then is over.
_LIMIT_S = 8


class Installation:
    """`users` users u1, u2, ... in each account, with device d<n> and extension 100+n each; `rows` are statements run
    before they are published, with `values` for their parameters, of which `telephones` is the telephones' address."""

    def __init__(
        self, lab: Lab, name: str, users: int, *, edges: Sequence[str] = (EDGE,), media: Sequence[str] = MEDIA[:1],
        rows: Sequence[str] = (), values: Mapping[str, Any] | None = None, controller: bool = True,
        accounts: int = 1,
    ) -> None:  # fmt: skip
        self.lab = lab
        self.world = world = World(lab, 0)
        world.database, world.devices = name, accounts * users
        world.edges, world.media = tuple(edges), tuple(media)
        world.network, world.net = lab.network()
        # Address of the telephones, and the folder they share with this machine.
        self.own, self.folder = f"{world.net}.31", lab.folder / name
        self.folder.mkdir()
        lab.postgres.create(name)
        with connect(lab.postgres.url(name, "postgres")) as connection:
            synthetic.fill(connection, accounts, users)
        add_nodes(world.connect("admin"), world.net, edges, media)
        with connect(lab.postgres.url(name, "admin")) as connection:
            for statement in rows:
                connection.execute(statement.encode(), {"telephones": self.own, **(values or {})})
        with connect(lab.postgres.url(name, "admin")) as connection:
            pipeline.publish(connection, pipeline.make_plan(connection), author="bench", reason=name)
        world.close()
        world.start(controller=controller)
        self.phones = lab.start(
            f"phones-{name}", "phones", "-v", f"{self.folder}:{self.folder}", "--ip", self.own, network=world.network
        )  # fmt: skip

    def remove(self) -> None:
        """Its containers; the network goes with the lab."""
        for name in (self.phones, *self.world.containers.values()):
            self.lab.remove(name)

    def at(self, edge: str) -> str:
        """Where an edge listens."""
        return f"{self.world.address(edge)}:5060"

    def register(self, users: Sequence[int], *, at: str = EDGE, port: int, domain: str = DOMAIN) -> None:
        """The devices of these users, all at one port, over UDP."""
        path = self._lines(f"register-{port}", [f"d{n};{domain};{signs_in(f'd{n}', domain)}" for n in users])
        scenario = (ROOT / "tests/bench/scenarios/register.xml").read_text()
        (self.folder / "register.xml").write_text(scenario)
        self.lab.execute(
            self.phones, "sipp", self.at(at), "-sf", f"{self.folder}/register.xml", "-inf", str(path),
            "-i", self.own, "-p", str(port), "-r", "50", "-m", str(len(users)), "-nostdin",
            "-timeout", "30", "-timeout_error",
        )  # fmt: skip

    def answer(self, port: int, *, rtp: int = 9, **keys: Any) -> Path:
        """Telephones at that port do what the scenario `answer` says; the log of their messages."""
        name = self.folder / f"answer-{port}"
        name.with_suffix(".xml").write_text(render("answer", user="called", domain=DOMAIN, **keys))
        self.lab.execute(
            self.phones, "sh", "-c",
            f"exec sipp -sf {name}.xml -i {self.own} -p {port} -key rtp {rtp} -nostdin -trace_shortmsg"
            f" -shortmessage_file {name}.log >/dev/null 2>&1 &",
        )  # fmt: skip
        return name.with_suffix(".log")

    def load(
        self, callers: Sequence[int], callees: Sequence[int | str], *, by: str = EDGE, rate: int, count: int,
        port: int = 5090, domain: str = DOMAIN, limit_s: float = _LIMIT_S, **keys: Any,
    ) -> Load:  # fmt: skip
        """Calls of these users in turn to those (or to what is dialled) in turn, `rate` a second. No message is waited
        for longer than `limit_s`; `keys` are those of the scenario `call`."""
        name = self.folder / f"load-{port}"
        scenario = render("call", user="[field0]", domain=domain, to="[field1]", **keys)
        # Nobody listens: what is counted are calls.
        scenario = scenario.replace("[rtp]", "9").replace("[authentication]", "[field2]")
        name.with_suffix(".xml").write_text(scenario)
        path = self._lines(
            name.name,
            [
                f"d{n};{_dialled(callees[place % len(callees)])};{signs_in(f'd{n}', domain)}"
                for place, n in enumerate(callers)
            ],
        )
        log = name.with_suffix(".log")
        process = subprocess.Popen(
            ["docker", "exec", self.phones, "sipp", self.at(by), "-sf", f"{name}.xml", "-inf", str(path),
             "-i", self.own, "-p", str(port), "-r", str(rate), "-l", "1000", "-m", str(count), "-nostdin",
             "-recv_timeout", f"{limit_s * 1000:.0f}", "-trace_shortmsg", "-shortmessage_file", str(log)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return Load(process, log, count, count / rate + 3 * limit_s)

    def kill(self, node: str) -> float:
        """Its container, as by kill -9 of all of it; when it was dead, in s since 1970."""
        name = self.world.containers[node]
        self.lab.command(["docker", "kill", name])
        return datetime.fromisoformat(
            self.lab.command(["docker", "inspect", "-f", "{{.State.FinishedAt}}", name]).strip()
        ).timestamp()

    def freeze(self, node: str) -> float:
        """Its container stands still; since when."""
        self.lab.command(["docker", "pause", self.world.containers[node]])
        return time.time()

    def _lines(self, name: str, lines: Sequence[str]) -> Path:
        path = self.folder / f"{name}.csv"
        path.write_text("\n".join(["SEQUENTIAL", *lines, ""]))
        return path


def _dialled(callee: int | str) -> str:
    return callee if isinstance(callee, str) else str(100 + callee)


class Load:
    """Calls under way; `log`: their messages."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, count: int, limit_s: float) -> None:
        self._process, self.log, self._count = process, log, count
        self._deadline = time.monotonic() + limit_s

    def wait(self) -> None:
        """Until the last one is over."""
        try:
            self._process.wait(max(1, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed("calls do not end") from None

    def calls(self) -> list[Call]:
        """All of them, oldest first, when the last one is over. Some may have failed."""
        self.wait()
        calls = read(self.log.read_text())
        if len(calls) != self._count:
            raise Failed(f"{len(calls)} calls were made, not {self._count}")
        return calls
