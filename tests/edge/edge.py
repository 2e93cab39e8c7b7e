"""A real Kamailio for the tests: rendered configuration, seeded tables, its own directory, its own addresses.

It runs in a container with the host's network and listens on a loopback address of its own, so that each
test phone, media node and carrier can have a source address of its own in 127.0.0.0/8.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import phonenumbers

from controller.agent.state import State
from controller.install import edge_files

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates" / "kamailio"
IMAGES = ("dialplane-edge",)


def image() -> str | None:
    """The image to run Kamailio from: `DIALPLANE_EDGE_IMAGE`, or the first that is there. None: no Docker."""
    if named := os.environ.get("DIALPLANE_EDGE_IMAGE"):
        return named
    if shutil.which("docker") is None:
        return None
    for name in IMAGES:
        done = subprocess.run(
            ["docker", "image", "inspect", name], capture_output=True, check=False, timeout=30
        )
        if done.returncode == 0:
            return name
    return None


def render(target: Path, **variables: Any) -> Path:
    """Writes a node's configuration into `target`: the fixed files and the rendered ones."""
    target.mkdir(parents=True, exist_ok=True)
    for fixed in (ROOT / "kamailio").glob("*.cfg"):
        shutil.copy(fixed, target / fixed.name)
    for name, content in edge_files(variables).items():
        (target / name).write_text(content)
    return target / "kamailio.cfg"


def seed(path: Path, entries: dict[str, dict[str, str]]) -> None:
    """The agent's file with `entries` (table -> key -> value)."""
    State(path).close()
    base = sqlite3.connect(path)
    base.execute("DELETE FROM entry")
    base.executemany(
        "INSERT INTO entry (tbl, key, value, revision) VALUES (?, ?, ?, 1)",
        ((table, key, value) for table, rows in entries.items() for key, value in rows.items()),
    )
    base.commit()
    base.close()


class Edge:
    """One Kamailio. `address` and `port` are where it listens for UDP and TCP; state lives in `home`."""

    def __init__(
        self, home: Path, address: str, port: int = 5060, shm_mb: int = 128, **variables: Any
    ) -> None:
        self.home, self.address, self.port, self.shm_mb = home, address, port, shm_mb
        self.name = f"B-edge-{os.getpid()}-{address.replace('.', '-')}"
        self.metrics_port = 20000 + os.getpid() % 5000 * 4 + int(address.rsplit(".", 1)[1]) % 4
        (home / "spool").mkdir(parents=True, exist_ok=True)
        self.state, self.location = home / "state.db", home / "location.db"
        self.messages = home / "messages.db"
        self.variables = {
            "listen": [
                {"transport": "udp", "address": address, "port": port, "advertise": None},
                {"transport": "tcp", "address": address, "port": port, "advertise": None},
            ],
            "advertised": f"{address}:{port}",
            "metrics_port": self.metrics_port,
            "udp_children": 2,
            "tcp_children": 2,
            "state_db": str(self.state),
            "location_db": str(self.location),
            "messages_db": str(home / "messages.db"),
            "spool": str(home / "spool"),
            "rpc_socket": str(home / "rpc.sock"),
            "agent_group": "root",
            "tls_config": str(home / "cfg" / "tls.cfg"),
            "log_stderror": True,
            "worker_log": -1,
            **variables,
        }

    def start(self) -> None:
        """Starts it and returns when the last of its processes answers. RuntimeError with its log when it does not."""
        config = render(self.home / "cfg", **self.variables)
        for path, script in ((self.location, "location.sql"), (self.messages, "messages.sql")):
            base = sqlite3.connect(path)
            base.executescript((ROOT / "kamailio" / script).read_text())
            base.close()
        chosen = image()
        if chosen is None:
            raise RuntimeError("no image with Kamailio: build dialplane-edge, or set DIALPLANE_EDGE_IMAGE")
        (self.home / "rpc.sock").unlink(missing_ok=True)
        subprocess.run(
            ["docker", "run", "-d", "--name", self.name, "--network", "host", "--entrypoint", "kamailio",
             "-v", f"{self.home}:{self.home}", chosen,
             "-DD", "-E", "-f", str(config), "-m", str(self.shm_mb), "-M", "16", "-x", "tlsf", "-X", "tlsf",
             "-Y", str(self.home)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                self.rpc("core.uptime")
                # RPC answers while others are still made, those for TCP last.
                self.metrics()
            except (OSError, TimeoutError):
                time.sleep(0.1)
                if not self._running():
                    break
            else:
                return
        log = self.log()
        self.stop(kill=True)
        raise RuntimeError(f"Kamailio did not come up:\n{log}")

    def stop(self, *, kill: bool = False) -> None:
        """Stops it, by SIGTERM (tables are written back) or SIGKILL."""
        how = ["kill"] if kill else ["stop", "--time", "40"]
        subprocess.run(["docker", *how, self.name], check=False, capture_output=True, timeout=60)
        (self.home / "last.log").write_text(self.log())
        subprocess.run(["docker", "rm", "-f", self.name], check=False, capture_output=True, timeout=60)

    def execute(self, *command: str) -> None:
        """A command inside its container."""
        subprocess.run(["docker", "exec", self.name, *command], check=True, capture_output=True, timeout=30)

    def _running(self) -> bool:
        done = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Running}}", self.name],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        return done.stdout.strip() == "true"

    def log(self) -> str:
        """What it wrote to standard error."""
        done = subprocess.run(
            ["docker", "logs", self.name], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout + done.stderr

    def complaints(self) -> list[str]:
        """Lines of its log that are more than information, since the start.

        Not those about a node of ours, or a phone that signed in, that cannot be reached, nor about an RPC of ours
        that no longer waited while it started.
        """
        ours = re.compile(
            "connect [0-9.:]+ failed|tcp_send|tcp_main|t_send_branch|precreated request failed"
            "|failed to send the response"
        )
        found = re.compile("WARNING|ERROR|CRITICAL|ALERT|BUG")
        return [line for line in self.log().splitlines() if found.search(line) and not ours.search(line)]

    def rpc(self, method: str, *params: str | int) -> Any:
        """One JSON-RPC request over the Unix datagram socket, as the agent makes it."""
        mine = self.home / f"client-{os.getpid()}.sock"
        mine.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(mine))
            sock.settimeout(3)
            sock.connect(str(self.home / "rpc.sock"))
            sock.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode())
            answer = json.loads(sock.recv(1 << 20))
        mine.unlink(missing_ok=True)
        if "error" in answer:
            raise LookupError(f"{method} {params}: {answer['error']}")
        return answer["result"]

    def put(self, table: str, key: str, value: str) -> None:
        """One item of an htable."""
        self.rpc("htable.sets", table, key, value)

    def block(self, key: str, value: str = "fraud") -> None:
        """A block, `scope:subject:what`, as the database publishes it: its own entry, and that of its subject."""
        subject, what = key.rsplit(":", 1)
        kinds = "" if what in ("*", "outside") or what.startswith("+") else f"{what}/"
        code = phonenumbers.country_code_for_region(what)
        prefix = what if what.startswith("+") else f"+{code}" if code else ""
        begins = sorted({f"{prefix}{digit}"[:3] + "/" for digit in range(10)}) if prefix else []
        ordinary = 3 if what in ("national", "international") else 1
        more = {"*": 8, "outside": 4}.get(what, 0 if prefix else ordinary)
        lengths = f";lengths={len(what):02}" if what.startswith("+") else ""
        self.put("block", key, value)
        self.put("block", subject, f"{more}/{''.join(begins)}{kinds}{lengths}")

    def unblock(self, key: str) -> None:
        """That block no more, nor any other of its subject."""
        self.drop("block", key)
        self.drop("block", key.rsplit(":", 1)[0])

    def drop(self, table: str, key: str) -> None:
        """One item less."""
        self.rpc("htable.delete", table, key)

    def metrics(self) -> dict[str, float]:
        """The Prometheus page: `name{labels}` -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as page:
            text = page.read().decode()
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.replace(" {", "{").rsplit("}", 1) if "}" in line else line.split(" ", 1)
                found[name + ("}" if "{" in name else "")] = float(value.split()[0])
        return found

    def refused(self, reason: str) -> float:
        """Counter `dialplane_refused` of that reason."""
        for name, value in self.metrics().items():
            if "dialplane_refused" in name and f'"{reason}"' in name:
                return value
        return 0.0

    def events(self, call: str | None = None) -> list[dict[str, Any]]:
        """The call events written until now, of one call or all, in order."""
        time.sleep(0.1)
        lines = [
            json.loads(line)
            for path in sorted((self.home / "spool").glob("edge_*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return [one for one in lines if "call" in one and call in (None, one["call"])]

    def registrations(self, aor: str) -> list[tuple[str, str]]:
        """(event, reason) of what was written of the contacts of that address of record, in order."""
        time.sleep(0.1)
        lines = [
            json.loads(line)
            for path in sorted((self.home / "spool").glob("edge_*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return [(one["event"], one["reason"]) for one in lines if one.get("aor") == aor]
