"""Edges of one device group, for tests that need more than one."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.edge.conftest import DOMAIN, company
from tests.edge.edge import Edge, seed

AOR = f"lobby@{DOMAIN}"
KNOWN_S = 0.1


def group(net: str, folder: Any, size: int = 2, *, shm_mb: int = 128) -> list[Edge]:
    """So many edges that know each other, at `.1`, `.2` and so on, not started."""
    edges = []
    certificate, key = folder.mktemp("tls") / "crt.pem", folder.mktemp("tls") / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=edge", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    numbers = range(1, size + 1)
    for one in numbers:
        home = folder.mktemp(f"edge{one}")
        for file in (certificate, key):
            shutil.copy(file, home)
        edge = Edge(
            home, f"{net}.{one}", shm_mb=shm_mb, node=f"edge{one}",
            peers={f"edge{other}": f"{net}.{other}:5060" for other in numbers if other != one},
            tls=True, tls_certificate=str(home / "crt.pem"), tls_private_key=str(home / "key.pem"),
            listen=[
                {"transport": way, "address": f"{net}.{one}", "port": port, "advertise": None}
                for way, port in (("udp", 5060), ("tcp", 5060), ("tls", 5061))
            ],
        )  # fmt: skip
        seed(edge.state, company(net))
        edges.append(edge)
    return edges


def contacts(edge: Edge, aor: str = AOR) -> list[str]:
    """Addresses of its contacts at that edge."""
    try:
        found = edge.rpc("ul.lookup", "location", aor)["Contacts"]
    except LookupError:
        return []
    return [one["Contact"]["Address"] for one in found]


def eventually(test: Callable[[], Any], longest_s: float) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not test():
        assert time.monotonic() < began + longest_s
        time.sleep(0.005)
    return time.monotonic() - began


def active(edge: Edge) -> int:
    """How many edges it counts as there, itself included."""
    return [one["status"] for one in edge.rpc("dmq.list_nodes")].count("active")


def together(edges: Sequence[Edge]) -> None:
    """Each knows that the others are there."""
    eventually(lambda: all(active(edge) == len(edges) for edge in edges), 10)
