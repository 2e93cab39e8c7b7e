"""A database of many accounts with its servers: the edge that holds every device, the media nodes of one cluster.

Above PER_CLUSTER accounts, accounts spread evenly over clusters, as the design says: no media node holds every account.
The media nodes that run are those of the first cluster.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from controller.schema import synthetic
from tests.bench import DEVICES
from tests.bench.lab import Failed, Lab, say
from tests.bench.processes import Watch, container_id

PER_CLUSTER = 10_000
EDGE, MEDIA = "edge1", ("media1", "media2")
LOOPBACK = "127.0.0"
# Last octets.
_ADDRESS = {"edge1": 11, "edge2": 12, "edge3": 13, "media1": 21, "media2": 22, "media3": 23}

# Runs in the controller's image: the same code and Python as `dialplane apply`.
_COMPILE = """
import json, sys, time
from controller import pipeline
from controller.schema.database import connect
if __name__ == "__main__":
    with connect(sys.argv[1]) as connection:
        began = time.monotonic()
        plan = pipeline.make_plan(connection, everything=True)
        made = time.monotonic()
        print(json.dumps({"plan_s": made - began, "changes": plan.summary.total()}), flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        pipeline.publish(connection, plan, author="bench", reason="everything")
        connection.commit()
        print(json.dumps({"publish_s": time.monotonic() - began}), flush=True)
"""


class World:
    """`accounts` with DEVICES devices each. Every step is made once, when first asked for."""

    def __init__(self, lab: Lab, accounts: int) -> None:
        self.lab = lab
        self.accounts = accounts
        self.devices = accounts * DEVICES
        self.clusters = -(-accounts // PER_CLUSTER)
        self.database = f"bench{accounts}"
        # First three octets of the nodes' addresses, and the network they are in; "none": each is alone.
        self.net, self.network = LOOPBACK, "none"
        self.edges: tuple[str, ...] = (EDGE,)
        self.media: tuple[str, ...] = MEDIA
        self.containers: dict[str, str] = {}
        self.compiled: dict[str, float] = {}
        self._connections: list[psycopg.Connection[Any]] = []

    def close(self) -> None:
        """Close the connections; the lab removes the containers."""
        for connection in self._connections:
            connection.close()

    def connect(self, role: str) -> psycopg.Connection[Any]:
        """A connection in autocommit mode, closed with the world."""
        connection = psycopg.connect(self.lab.postgres.url(self.database, role), autocommit=True)
        self._connections.append(connection)
        return connection

    # --- steps ------------------------------------------------------------------------------------

    def compile(self) -> dict[str, float]:
        """Fill the rows, plan and publish everything: plan_s, cpu_s, publish_s, changes, rss_mb (peak), processes."""
        if self.compiled:
            return self.compiled
        self._fill()
        say(f"{self.devices:,} devices: compiling and publishing everything")
        postgres = self.lab.postgres
        name = self.lab.start(
            f"compile-{self.database}",
            "controller",
            "-i",
            *postgres.mount,
            "--entrypoint",
            "sleep",
            command=["900"],
        )
        with Watch(container_id(self.lab, name)) as seen, subprocess.Popen(
            ["docker", "exec", "-i", name, "/opt/dialplane/bin/python", "-c", _COMPILE,
             postgres.inside(self.database, "admin")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            planned = process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
            published, _ = process.communicate(timeout=400)
        if process.returncode:
            raise Failed(f"{self.devices:,} devices could not be compiled: what it said stands above")
        self.lab.remove(name)
        for line in (planned, published):
            self.compiled |= json.loads(line)
        self.compiled |= {"rss_mb": seen.rss_mb, "processes": seen.processes, "cpu_s": seen.cpu_s}
        say(f"{self.devices:,} devices: {self.compiled}")
        return self.compiled

    def run(self) -> None:
        """Compile everything, start all; return when all is live and verified."""
        if self.containers:
            return
        self.compile()
        self.start()

    def start(self, *, controller: bool = True) -> None:
        """Start the servers with their agents, and the controller; return when what is published is verified."""
        everybody = (*self.edges, *self.media, *(["controller"] if controller else []))
        say(f"{self.database}: starting {', '.join(everybody)}")
        for node in (*self.edges, *self.media):
            self.containers[node] = self.node(node)
        if controller:
            self.containers["controller"] = self.lab.start(
                f"controller-{self.database}", "controller", *self.lab.postgres.mount,
                "-e", f"DIALPLANE_DATABASE={self.lab.postgres.inside(self.database, 'controller')}",
                command=["dialplane", "controller", "run", "--auto"],
            )  # fmt: skip
        self.wait_verified(self.newest(), limit_s=600)
        # What a mass import leaves behind is done now, not in the middle of what is measured.
        with psycopg.connect(self.lab.postgres.url(self.database, "postgres"), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def stand_still(self) -> None:
        """Its servers, agents and controller take no more processor time."""
        self.lab.command(["docker", "pause", *self.containers.values()])

    def address(self, node: str) -> str:
        """The address of a node."""
        return f"{self.net}.{_ADDRESS[node]}"

    def node(self, node: str) -> str:
        """Start a node's container: server and agent. Edges in one network know each other."""
        options: tuple[str, ...] = ()
        if self.network != "none":
            options = ("--ip", self.address(node))
            peers = {one: f"{self.address(one)}:5060" for one in self.edges if one != node}
            if node in self.edges and peers:
                options += ("-e", f"PEERS={json.dumps(peers)}")
        return self.lab.start(
            f"{node}-{self.database}", "edge" if node in self.edges else "media", *self.lab.postgres.mount,
            *node_environment(node, self.address(node), self.devices), *options,
            "-e", f"DIALPLANE_DATABASE={self.lab.postgres.inside(self.database, 'agent')}", network=self.network,
        )  # fmt: skip

    def newest(self) -> int:
        """Number of the newest revision."""
        with psycopg.connect(self.lab.postgres.url(self.database, "admin")) as connection:
            row = connection.execute("SELECT coalesce(max(id), 0) FROM control.revisions").fetchone()
        return int(row[0]) if row else 0

    def wait_verified(self, revision: int, limit_s: float, nodes: tuple[str, ...] = ()) -> float:
        """Until these nodes, or all, report everything compared at that revision; seconds waited."""
        began, nodes = time.monotonic(), nodes or (*self.edges, *self.media)
        statement = """
            SELECT count(*) FROM control.node_state
             WHERE node = ANY (%s) AND revision >= %s AND verified_revision >= %s AND pending = 0
               AND last_error IS NULL"""
        with psycopg.connect(self.lab.postgres.url(self.database, "admin"), autocommit=True) as connection:
            connection.execute("LISTEN dialplane_node")
            while True:
                row = connection.execute(statement, (list(nodes), revision, revision)).fetchone()
                waited = time.monotonic() - began
                if row and row[0] == len(nodes):
                    return waited
                if waited > limit_s or not all(self.lab.running(name) for name in self.containers.values()):
                    raise Failed(
                        f"{', '.join(nodes)}: not verified after {waited:.0f} s: {self._why(connection, nodes)}"
                    )
                for _ in connection.notifies(timeout=1.0, stop_after=1):
                    pass

    def _why(self, connection: psycopg.Connection[Any], nodes: tuple[str, ...]) -> str:
        rows = connection.execute(
            "SELECT node, revision, verified_revision, pending, last_error FROM control.node_state"
        ).fetchall()
        logs = [self.lab.logs(self.containers[node]) for node in nodes if node in self.containers]
        return "\n".join([str(rows), *logs])

    def _fill(self) -> None:
        say(f"{self.devices:,} devices: filling the rows")
        postgres = self.lab.postgres
        postgres.create(self.database)
        with psycopg.connect(postgres.url(self.database, "postgres")) as connection:
            # No triggers: the log of changes and the audit of a mass import are not what is measured here.
            connection.execute("SET session_replication_role = replica")
            synthetic.fill(connection, self.accounts, DEVICES)
            for number in range(1, self.clusters):
                connection.execute(
                    "INSERT INTO public.clusters (name) VALUES (%s)", (f"{synthetic.CLUSTER}{number}",)
                )
            connection.execute(
                """
                UPDATE public.accounts a SET cluster_id = c.id
                  FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM public.clusters) c
                 WHERE a.id %% %s = c.place AND c.place > 0""",
                (self.clusters,),
            )
        add_nodes(
            psycopg.connect(postgres.url(self.database, "admin"), autocommit=True),
            self.net,
            self.edges,
            self.media,
        )
        with psycopg.connect(postgres.url(self.database, "postgres"), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def add_nodes(
    connection: psycopg.Connection[Any],
    net: str = LOOPBACK,
    edges: Sequence[str] = (EDGE,),
    media: Sequence[str] = MEDIA,
) -> None:
    """Rows of the edges and of the media nodes, and what they belong to."""
    with connection:
        connection.execute("INSERT INTO public.device_groups (name) VALUES ('phones')")
        connection.execute(
            "INSERT INTO public.clusters (name) VALUES (%s) ON CONFLICT DO NOTHING", (synthetic.CLUSTER,)
        )
        for name in edges:
            connection.execute(
                """
                INSERT INTO public.nodes (name, kind, device_group_id, address)
                SELECT %s, 'edge', id, %s FROM public.device_groups""",
                (name, f"{net}.{_ADDRESS[name]}"),
            )
        for name in media:
            connection.execute(
                """
                INSERT INTO public.nodes (name, kind, cluster_id, address)
                SELECT %s, 'media', id, %s FROM public.clusters WHERE name = %s""",
                (name, f"{net}.{_ADDRESS[name]}", synthetic.CLUSTER),
            )


def node_environment(node: str, address: str, devices: int) -> tuple[str, ...]:
    """Options of `docker run` for a node; an edge's memory goes with the devices it holds."""
    options = {"DIALPLANE_NODE": node, "ADDRESS": address, "DIALPLANE_AMI_USER": "agent"}
    if node.startswith("edge"):
        # About 1.1 kB of shared memory per device for its three entries; loading reads a table into private memory.
        options["KAMAILIO_SHM_MB"] = str(256 + devices // 600)
        options["KAMAILIO_PKG_MB"] = str(64 + devices // 500)
    return (
        *(part for name, value in options.items() for part in ("-e", f"{name}={value}")),
        "--hostname",
        node,
    )
