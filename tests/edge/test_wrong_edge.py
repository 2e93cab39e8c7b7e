"""A phone that comes to an edge of another device group than its account's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.conftest import DOMAIN, company
from tests.edge.edge import Edge, seed
from tests.edge.phone import Endpoint

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge of device group g1."""
    node = Edge(tmp_path_factory.mktemp("edge"), f"{net}.1", device_group="g1", device_zone="phones.example")
    tables = company(net)
    tables["account"] |= {
        "small": tables["account"]["small"] + ";group=g2", "asleep": tables["account"]["asleep"] + ";group=g1"
    }  # fmt: skip
    seed(node.state, tables)
    node.start()
    yield node
    complaints = node.complaints()
    node.stop()
    assert complaints == []


def counted(edge: Edge) -> float:
    return sum(value for name, value in edge.metrics().items() if "dialplane_wrong_edge" in name)


@pytest.mark.parametrize(
    ("user", "domain", "wrong"),
    [("s1", "small.example", True), ("a1", "asleep.example", False), ("desk1", DOMAIN, False)],
)
def test_it_is_served_and_told_where_it_belongs(
    edge: Edge, net: str, user: str, domain: str, wrong: bool
) -> None:
    before = counted(edge)
    with Endpoint(user, domain, f"{net}.40", (edge.address, edge.port)) as phone:
        answer = phone.register()
    assert edge.rpc("ul.lookup", "location", f"{user}@{domain}")
    assert answer.all("X-DP-Edge") == (["small.phones.example"] if wrong else [])
    assert [one.split(" ", 2)[:2] for one in answer.all("Warning")] == ([["399", "edge1"]] if wrong else [])
    assert counted(edge) == before + wrong
