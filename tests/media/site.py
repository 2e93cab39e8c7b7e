"""Two media nodes behind a real edge, which know the same companies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.compiler import dialplan, dialplan_shared, edge
from controller.desired.model import Account, Device, Node, System
from tests.edge.conftest import ha1
from tests.edge.edge import Edge, seed
from tests.edge.edge import image as edge_image
from tests.media import company
from tests.media.node import MediaNode

SIP_PORT = 5060


@dataclass
class Site:
    """What runs."""

    edge: Edge
    nodes: dict[str, MediaNode]

    def lead(self, name: str) -> None:
        """Calls go to this node, but for what lives at the account's home."""
        targets = (
            f"{one}={node.address}:{SIP_PORT},{1000 if one == name else 0}"
            for one, node in self.nodes.items()
        )
        self.edge.put("target", "c1", " ".join(sorted(targets)))

    def told(self, event: str) -> set[str]:
        """Nodes whose events have this one: `dp.park 701 by f4@feat.example`."""
        return {
            name
            for name, node in self.nodes.items()
            if any(f"{one['eventtype']} " in f"{event} " and event.split(" ", 1)[1] in one["eventextra"]
                   for one in node.events() if one["eventtype"].startswith("dp."))
        }  # fmt: skip


@contextlib.contextmanager
def standing(image: str, home: Path, *companies: Account) -> Iterator[Site]:
    """Nodes from this image; the edge has its files in `home`. Phones sign in with the password of `ha1`."""
    if edge_image() is None:
        pytest.skip("no Docker image with Kamailio (dialplane-edge or DIALPLANE_EDGE_IMAGE)")
    first = MediaNode(image)
    nodes = {"media2": MediaNode(image, beside=first), "media1": first}
    gateway = first.gateway
    kamailio = Edge(home, gateway)
    accounts = [replace(one, devices=tuple(map(_signed, one.devices))) for one in companies]
    system = company.system(gateway, SIP_PORT)
    try:
        seed(kamailio.state, _tables(accounts, system, nodes))
        kamailio.start()
        lines = dialplan_shared.shared_dialplan(system)
        for account in accounts:
            lines |= dialplan.account_dialplan(account, system)
        for node in nodes.values():
            node.hold(lines, {}, dialplan_shared.media_files(system))
            node.start()
        yield Site(kamailio, nodes)
    finally:
        kamailio.stop()
        for node in nodes.values():
            node.remove()


def _signed(device: Device) -> Device:
    digest = ha1(device.name, device.domain)
    return replace(device, ha1_md5=digest["md5"], ha1_sha256=digest["sha256"])


def _tables(
    accounts: Iterable[Account], system: System, nodes: dict[str, MediaNode]
) -> dict[str, dict[str, str]]:
    known = replace(
        system,
        nodes=(
            *(one for one in system.nodes if one.kind == "edge"),
            *(Node(name, "media", "c1", node.address, SIP_PORT, 10) for name, node in nodes.items()),
        ),
    )
    entries = [entry for account in accounts for entry in edge.account_entries(account)]
    tables: dict[str, dict[str, str]] = {}
    for entry in (*entries, *edge.system_entries(known)):
        if entry.address.table != "registration":
            tables.setdefault(entry.address.table, {})[entry.address.key] = entry.value
    return tables
