"""A media node with two edges: what it begins itself goes by one that is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from controller.compiler import dialplan, dialplan_shared
from controller.desired.model import Node
from tests.media import company
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import until
from tests.media.test_placed import ALICE, place


@pytest.fixture(scope="module")
def pair(asterisk_image: str) -> Iterator[tuple[MediaNode, Edge, int]]:
    """A node whose first edge by name does not listen: the node, the second edge, the first one's port."""
    node = MediaNode(asterisk_image)
    try:
        edge = Edge(node.gateway)
        with socket.create_server((node.gateway, 0)) as free:
            port: int = free.getsockname()[1]
        system = company.system(node.gateway, edge.port)
        dead = Node("edge0", "edge", "g1", node.gateway, port, 10)
        system = replace(system, nodes=(dead, *system.nodes))
        node.hold(
            {**dialplan_shared.shared_dialplan(system), **dialplan.account_dialplan(company.ACME, system)},
            dialplan.mailboxes(company.ACME),
            dialplan_shared.media_files(system),
        )
        node.start()
        edge.asterisk = (node.address, 5060)
        yield node, edge, port
    finally:
        node.remove()


def seen(node: MediaNode, endpoint: str) -> str:
    """Its state, as the dialplan asks for it."""
    shown = node.cli(f"pjsip show endpoint {endpoint}")
    return next(line.split()[2] for line in shown.splitlines() if line.strip().startswith("Endpoint:  edge"))


def test_a_call_that_the_node_places_goes_by_an_edge_that_answers(pair: tuple[MediaNode, Edge, int]) -> None:
    node, edge, port = pair
    until(lambda: (seen(node, "edge"), seen(node, "edge-edge1")) == ("Unavailable", "Not"))
    edge.answers = {"alice1": "answer", "bob1": "answer"}
    place(node, ALICE[:1], "102")
    edge.leg_to("bob1").hear(25)
    edge.leg_to("alice1").bye()
    # The first is there again, and is asked first.
    first = Edge(node.gateway, port)
    first.asterisk = edge.asterisk
    first.answers = {"alice1": "486"}
    until(lambda: seen(node, "edge") == "Not")
    place(node, ALICE[:1], "102")
    first.leg_to("alice1")
