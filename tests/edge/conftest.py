"""One Kamailio for a test module, with a small company in its tables, and endpoints that know it."""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.database.conftest import database, new_database, postgresql  # noqa: F401 - fixtures
from tests.edge.edge import Edge, image, seed
from tests.edge.phone import Endpoint

DOMAIN = "acme.example"


def ha1(user: str, realm: str, password: str = "secret") -> dict[str, str]:
    """Both HA1 values."""
    text = f"{user}:{realm}:{password}".encode()
    return {"md5": hashlib.md5(text).hexdigest(), "sha256": hashlib.sha256(text).hexdigest()}


def credential(device: str, account: str = "acme", domain: str = DOMAIN, **more: str) -> str:
    """Value of table credential."""
    pairs = {"account": account, "user": device.rstrip("0123456789"), **ha1(device, domain), **more}
    return ";".join(f"{key}={value}" for key, value in pairs.items())


def company(net: str) -> dict[str, dict[str, str]]:
    """Tables of an edge at `net`.1; media nodes at .21 and .22, carriers at .31 to .33, phones elsewhere."""
    devices = ("desk1", "desk2", "lobby", "mobile", "limited")
    return {
        "account": {
            "acme": "cluster=c1;status=active;country=DE",
            "small": "cluster=c1;status=active;country=DE;limit=1",
            "asleep": "cluster=c1;status=suspended;country=DE",
            "lonely": "cluster=none;status=active;country=DE",
        },
        "domain": {DOMAIN: "acme", "small.example": "small", "asleep.example": "asleep"},
        "credential": {
            **{f"{one}@{DOMAIN}": credential(one) for one in devices},
            f"limited@{DOMAIN}": credential("limited", limit="1"),
            **{f"{one}@small.example": credential(one, "small", "small.example") for one in ("s1", "s2")},
            "a1@asleep.example": credential("a1", "asleep", "asleep.example"),
            "l1@lonely.example": credential("l1", "lonely", "lonely.example"),
        },
        "lead": {"acme/103": f"user=lobby;device=lobby@{DOMAIN};straight=1"},
        "number": {"+4930555010": "acme", "+4930555099": "small", "+4930555098": "asleep"},
        "trunk": {
            "carrier-a": f"host={net}.31;port=5060;transport=udp;format=digits",
            "carrier-n": f"host={net}.32;port=5060;transport=udp;format=national;code=49;np=0",
            "carrier-s": (
                f"host={net}.33;port=5060;transport=udp;format=e164;user=acct7;realm=carrier.example;"
                f"ha1={ha1('acct7', 'carrier.example', 'pw')['md5']};limit=1"
            ),
        },
        "trunk_address": {f"{net}.31": "carrier-a", f"{net}.32": "carrier-n", f"{net}.33": "carrier-s"},
        "media_node": {f"{net}.21": "media1", f"{net}.22": "media2"},
        "edge_node": {f"{net}.{one}": f"edge{one}" for one in (1, 2, 3)},
        "emergency": {"DE:112": "1"},
        "target": {"c1": f"media1={net}.21:5060,10"},
        "block": {},
        "dnd": {},
    }


@pytest.fixture(scope="session", autouse=True)
def kamailio_image() -> str:
    """Without an image there is nothing to test, and the reason is printed."""
    found = image()
    if found is None:
        pytest.skip(
            "no Docker image with Kamailio (dialplane-edge or DIALPLANE_EDGE_IMAGE; make stack builds it)"
        )
    return found


@pytest.fixture(scope="module")
def net(request: pytest.FixtureRequest) -> str:
    """Three octets of loopback for this module and process."""
    return f"127.{60 + os.getpid() % 150}.{1 + zlib.crc32(request.node.name.encode()) % 200}"


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The edge, running."""
    yield from running(net, tmp_path_factory)


def running(net: str, tmp_path_factory: pytest.TempPathFactory, **variables: int) -> Iterator[Edge]:
    """An edge from start to stop; its log must be empty of complaints then."""
    home: Path = tmp_path_factory.mktemp("edge")
    node = Edge(home, f"{net}.1", **variables)
    seed(node.state, company(net))
    node.start()
    yield node
    complaints = node.complaints()
    node.stop()
    # Whoever provoked it: what strangers do is counted, and a log line is a defect of ours. (The first garbage of a
    # worker is logged: it learns to be quiet from its first request.)
    assert variables or complaints == []


Make = Callable[..., Endpoint]


@pytest.fixture
def make(edge: Edge, net: str) -> Iterator[Make]:
    """Makes endpoints at `.host` of the net; all are closed at the end of the test."""
    made: list[Endpoint] = []

    def one(user: str, host: int, domain: str = DOMAIN, **more: object) -> Endpoint:
        endpoint = Endpoint(user, domain, f"{net}.{host}", (edge.address, edge.port), **more)  # type: ignore[arg-type]
        made.append(endpoint)
        return endpoint

    yield one
    for endpoint in made:
        endpoint.close()
    # The next test's node has the same address: the edge must not write to the connection of this one's.
    deadline = time.monotonic() + 2
    while edge.rpc("core.tcp_info")["opened_connections"] and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture
def clean(edge: Edge, net: str) -> None:
    """One target, nothing down, nothing blocked, before each test."""
    edge.rpc("htable.flush", "down")
    edge.rpc("htable.flush", "block")
    edge.rpc("htable.flush", "dnd")
    edge.put("target", "c1", f"media1={net}.21:5060,10")


@pytest.fixture
def media(make: Make) -> Endpoint:
    """Media node media1."""
    return make("media1", 21, transport="tcp")
