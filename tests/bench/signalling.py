"""Our edge and the bare script side by side on loopback addresses, and SIPp on the same processors.

One network namespace without a way out holds both servers and SIPp; only one server has calls at a time. Figures are
ratios: runs alternate, and the median of the pairs counts.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from controller.agent.state import State
from controller.install import edge_files
from controller.schema import synthetic
from tests.bench.lab import ROOT, Failed, Lab, say
from tests.bench.processes import container_id, cpu_s

EDGE, BARE = "127.0.0.11", "127.0.0.12"
# Two edges that know each other.
PAIR = ("127.0.0.13", "127.0.0.14")
# The bare script with the edge's memory manager.
BARE_TLSF = "127.0.0.19"
MEDIA, PHONE = "127.0.0.21", "127.0.0.31"
DEVICES = 1_000
ACCOUNT, DOMAIN = "bench000000", "bench000000.example"
# Calls or registrations under way at once: enough to keep both processors busy, too few for queues to overflow.
AT_ONCE = 40
_MEMORY = ("-m", "768")
PRIVATE_MB = 16
_APART = 2
# As kamailio/entrypoint.sh starts an edge; the bare script has what Kamailio has by itself.
_TLSF = ("-x", "tlsf", "-X", "tlsf")


class Run(NamedTuple):
    """Finished calls or registrations per second, and the server's processor time for each in microseconds.
    `finished`: how many were by when (Unix time), each tenth of a second."""

    per_s: float
    cpu_us: float
    retransmissions: int
    finished: tuple[tuple[float, int], ...]


class Signalling:
    """Both servers, running, with DEVICES credentials each."""

    users = ("invite_per_second", "register_per_second", "names_on_the_edge", "blocks_on_the_edge")

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = lab.folder / "sip"
        self.folder.mkdir(parents=True)
        mount = ("-v", f"{self.folder}:{self.folder}")
        shutil.copytree(ROOT / "tests/bench/scenarios", self.folder / "scenarios")
        self._configure()
        say("signalling: our edge, the bare script, SIPp")
        self.sipp = lab.start("sipp", "phones", *mount)
        self.servers: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._runs = itertools.count(1)
        self.start({EDGE: "edge/kamailio.cfg", BARE: "bare.cfg", BARE_TLSF: "bare_tlsf.cfg"})

    def start(self, configurations: dict[str, str], private_mb: int = PRIVATE_MB) -> None:
        """Servers by their addresses, each with the file it starts with; returns when they register phones. A table is
        read into private memory when it is loaded."""
        for name, config in configurations.items():
            self.servers[name] = self.lab.start(
                f"kamailio-{name.rsplit('.', 1)[1]}", "edge", "-v", f"{self.folder}:{self.folder}",
                "--entrypoint", "kamailio",
                command=["-DD", "-E", "-f", f"{self.folder}/{config}", "-Y", str(self.folder), *_MEMORY,
                         "-M", str(private_mb),
                         *(() if name == BARE else _TLSF)],
                network=f"container:{self.sipp}",
            )  # fmt: skip
            self._ids[name] = container_id(self.lab, self.servers[name])
        for server in configurations:
            self._ready(server)

    @property
    def containers(self) -> tuple[str, ...]:
        """Those that are there for it."""
        return (self.sipp, *self.servers.values())

    def pair(self) -> str:
        """The first of two edges that know each other; started at the first call."""
        if PAIR[0] not in self.servers:
            for place, (own, other) in enumerate((PAIR, PAIR[::-1])):
                self.edge(f"edge{place + 2}", own, 9102 + place, peers={f"edge{3 - place}": f"{other}:5060"})
            self.start(dict(zip(PAIR, ("edge2/kamailio.cfg", "edge3/kamailio.cfg"), strict=True)))
        return PAIR[0]

    def edge(self, name: str, address: str, metrics_port: int, *, peers: dict[str, str] | None = None,
             state: str = "state.db") -> None:  # fmt: skip
        """The files of an edge, in the folder of its name. It loads its entries from the file `state`."""
        listen = [
            {"transport": kind, "address": address, "port": 5060, "advertise": None}
            for kind in ("udp", "tcp")
        ]
        (self.folder / f"{name}-spool").mkdir()
        files = edge_files(
            {
                "node": name, "peers": peers, "metrics_port": metrics_port,
                "listen": listen, "advertised": f"{address}:5060", "log_stderror": True,
                "state_db": f"{self.folder}/{state}", "location_db": f"{self.folder}/{name}.db",
                "spool": f"{self.folder}/{name}-spool", "rpc_socket": f"{self.folder}/{name}.sock",
                "agent_group": "root", "tls_config": f"{self.folder}/{name}/tls.cfg",
            }
        )  # fmt: skip
        shutil.copytree(ROOT / "kamailio", self.folder / name)
        for file, text in files.items():
            (self.folder / name / file).write_text(text)
        self._contacts(name)

    def _contacts(self, name: str) -> None:
        """An empty file of contacts."""
        with sqlite3.connect(self.folder / f"{name}.db") as connection:
            connection.executescript((ROOT / "kamailio/location.sql").read_text())
        connection.close()

    def _configure(self) -> None:
        self.edge("edge", EDGE, 9101)
        for name, address in (("bare", BARE), ("bare_tlsf", BARE_TLSF)):
            self._contacts(name)
            bare = (ROOT / "tests/bench/bare.cfg").read_text()
            for mark, value in (
                ("__FOLDER__", str(self.folder)),
                ("__NAME__", name),
                ("__ADDRESS__", address),
            ):
                bare = bare.replace(mark, value)
            (self.folder / f"{name}.cfg").write_text(bare)
        state = State(self.folder / "state.db")
        state.load(entries(), 1)
        state.close()
        with (self.folder / "devices.csv").open("w") as stream:
            stream.write("SEQUENTIAL\n")
            for n in range(1, DEVICES + 1):
                stream.write(f"d{n};{DOMAIN};{signs_in(f'd{n}', DOMAIN)}\n")

    def _ready(self, server: str) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                self.run(server, "register", PHONE, count=5, at_once=1, port=5080)
            except Failed as error:
                if time.monotonic() > deadline or not self.lab.running(self.servers[server]):
                    raise Failed(f"{server}: {error}\n{self.lab.logs(self.servers[server])}") from None
                time.sleep(0.5)
            else:
                return

    def answer(self, address: str, transport: str) -> None:
        """A SIPp that answers every call there, until the lab is removed."""
        self.lab.execute(
            self.sipp, "sh", "-c",
            f"exec sipp -sn uas -t {transport} -i {address} -p 5060 -nostdin >/dev/null 2>&1 &",
        )  # fmt: skip
        time.sleep(1)

    @contextmanager
    def apart(self, servers: Iterable[str]) -> Iterator[None]:
        """These servers on one processor, SIPp on the others: they limit, and SIPp takes nothing from them."""
        own = sorted(os.sched_getaffinity(0))
        if len(own) < _APART:
            raise Failed(f"one processor is too few to measure it: {_APART} are needed")
        first, others = str(own[0]), ",".join(map(str, own[1:]))
        containers = [self.servers[server] for server in servers]
        self.lab.command(["docker", "update", "--cpuset-cpus", first, *containers])
        self.lab.command(["docker", "update", "--cpuset-cpus", others, self.sipp])
        try:
            yield
        finally:
            self.lab.command(
                ["docker", "update", "--cpuset-cpus", f"{first},{others}", self.sipp, *containers]
            )

    def dial(self, lines: str, calls: Iterable[tuple[str, str, str]]) -> None:
        """Calls (device, domain, what it dials) for the scenario `from_device_to` with these `lines`."""
        scenarios = self.folder / "scenarios"
        scenario = (scenarios / "from_device.xml").read_text().replace("sip:200@", "sip:[field3]@")
        (scenarios / "from_device_to.xml").write_text(scenario)
        with (self.folder / f"{lines}.csv").open("w") as stream:
            stream.write("SEQUENTIAL\n")
            for device, domain, dialled in calls:
                stream.write(f"{device};{domain};{signs_in(device, domain)};{dialled}\n")

    def run(self, server: str, scenario: str, source: str, *, count: int, at_once: int = AT_ONCE, transport: str = "u1",
            port: int = 5060, lines: str = "devices") -> Run:  # fmt: skip
        """So many calls or registrations, of devices in `<lines>.csv`. Failed when one of them fails."""
        where = f"{self.folder}/run-{next(self._runs)}.csv"
        before = cpu_s(self._ids[server])
        self.lab.execute(
            self.sipp, "sipp", f"{server}:5060", "-sf", f"{self.folder}/scenarios/{scenario}.xml",
            "-inf", f"{self.folder}/{lines}.csv", "-t", transport, "-i", source, "-p", str(port),
            "-r", "20000", "-l", str(at_once), "-m", str(count), "-nostdin", "-timeout", "60", "-timeout_error",
            # Over TCP nobody repeats a 200: when SIPp gets no processor for a moment, none must be lost here.
            "-buff_size", "1000000",
            "-trace_stat", "-stf", where, "-fd", "100ms", "-cid_str", f"%u-{time.time_ns()}@%s",
        )  # fmt: skip
        used = cpu_s(self._ids[server]) - before
        with Path(where).open() as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        # Date, time and seconds since 1970, separated by tabs.
        began = float(rows[-1]["StartTime"].split()[-1])
        finished = [(float(row["CurrentTime"].split()[-1]), int(row["SuccessfulCall(C)"])) for row in rows]
        ended, done = finished[-1]
        if done != count:
            raise Failed(f"{scenario} through {server}: {done} of {count} succeeded")
        again = int(rows[-1]["Retransmissions(C)"])
        return Run(done / (ended - began), used / done * 1_000_000, again, ((began, 0), *finished))


def entries() -> Iterator[tuple[str, str, str]]:
    """What an edge holds of one account: no limit is set, nothing is blocked."""
    yield "account", ACCOUNT, "cluster=bench;status=active;country=DE"
    yield "domain", DOMAIN, ACCOUNT
    yield "media_node", MEDIA, "media1"
    for place, address in enumerate(PAIR):
        yield "edge_node", address, f"edge{place + 2}"
    yield "target", "bench", f"media1={MEDIA}:5060,10"
    yield "emergency", "DE:112", "1"
    for n in range(1, DEVICES + 1):
        yield "credential", f"d{n}@{DOMAIN}", credential(ACCOUNT, n, DOMAIN)
        yield "lead", f"{ACCOUNT}/{100 + n}", f"user=u{n};device=d{n}@{DOMAIN};straight=1"


def credential(account: str, n: int, domain: str) -> str:
    """What an edge holds of device d<n> at a domain."""
    secret = f"d{n}:{domain}:{synthetic.password(f'd{n}@{domain}')}".encode()
    md5, sha256 = hashlib.md5(secret).hexdigest(), hashlib.sha256(secret).hexdigest()
    return f"account={account};user=u{n};md5={md5};sha256={sha256}"


def signs_in(device: str, domain: str) -> str:
    """SIPp's word for the answer of a device to a challenge."""
    return f"[authentication username={device} password={synthetic.password(f'{device}@{domain}')}]"


def signalling(lab: Lab) -> Signalling:
    """The one of this run; benchmarks share it."""
    return lab.shared("signalling", Signalling)
