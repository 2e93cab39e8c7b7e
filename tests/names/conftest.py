"""A company, its rows in a database of its own, and two name servers: one on the rows, one that transfers from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller.schema.importer import load, read_company
from tests.database.conftest import new_database, postgresql  # noqa: F401 - fixtures
from tests.images import server_image
from tests.names.server import PORT, NameServer

# media3 is alone in the overflow; big has more nodes than a name has targets.
COMPANY = """
settings:
  zone: dialplane.internal
  name_servers: {servers}
  dns_ttl_s: 5
  dns_negative_ttl_s: 7
  dns_refresh_s: 1
clusters:
  - {{name: c1, overflow: c2}}
  - c2
  - {{name: big, overflow: c2}}
  - empty
device_groups: [g1, g2]
nodes:
  - {{name: edge1, kind: edge, device_group: g1, address: 10.0.0.1, public_address: 198.51.100.1, tls_port: 5061}}
  - {{name: edge2, kind: edge, device_group: g1, address: 10.0.0.2, weight: 5}}
  - {{name: edge3, kind: edge, device_group: g2, address: "2001:db8::3", sip_port: 5070}}
  - {{name: media1, kind: media, cluster: c1, address: 10.0.0.21, weight: 20}}
  - {{name: media2, kind: media, cluster: c1, address: 10.0.0.22, weight: 10}}
  - {{name: media3, kind: media, cluster: c2, address: "2001:db8::23", sip_port: 5080, weight: 30}}
{big}
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    device_group: g1
    country: DE
    services: [{{service: conference, cluster: c2}}]
  - {{name: globex, display_name: Globex, cluster: big, country: DE}}
  - {{name: initech, display_name: Initech, cluster: big, country: DE, device_group: g2}}
  - {{name: nowhere, display_name: Nowhere, cluster: empty, country: DE}}
"""
BIG = [f"  - {{name: b{n:02}, kind: media, cluster: big, address: 10.0.1.{n}}}" for n in range(1, 13)]


@pytest.fixture(scope="session", autouse=True)
def names_image() -> str:
    """Without an image there is nothing to test, and the reason is printed."""
    found = server_image("names")
    if found is None:
        pytest.skip(
            "no Docker image with PowerDNS (dialplane-names or DIALPLANE_NAMES_IMAGE; make stack builds it)"
        )
    return found


@pytest.fixture(scope="session")
def net() -> str:
    """Three octets of loopback for this process."""
    return f"127.{60 + os.getpid() % 150}.53"


@pytest.fixture(scope="module")
def rows(new_database: Callable[..., str], net: str, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811
    """URL of a database with the company, whose media nodes are heard of."""
    url = new_database()
    path = tmp_path_factory.mktemp("company") / "company.yaml"
    servers = f"ns1.dialplane.internal/{net}.1,ns2.dialplane.internal/{net}.2"
    path.write_text(COMPANY.format(servers=servers, big="\n".join(BIG)))
    with psycopg.connect(url, autocommit=True) as connection:
        load(connection, read_company(path))
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'names_login'").fetchone():
            connection.execute("CREATE ROLE names_login LOGIN IN ROLE dialplane_dns")
    return url


@pytest.fixture(scope="module")
def ns1(rows: str, net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """The name server on the rows, as a member of dialplane_dns."""
    server = NameServer(
        tmp_path_factory.mktemp("ns1"), f"{net}.1", rows=make_conninfo(rows, user="names_login"),
        secondaries=[f"{net}.2", "127.0.0.0/8"], mounts=[Path(str(conninfo_to_dict(rows)["host"]))],
    )  # fmt: skip
    server.start()
    yield server
    print(server.log())
    server.remove()


@pytest.fixture(scope="module")
def ns2(ns1: NameServer, net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """The name server that transfers the zones."""
    server = NameServer(
        tmp_path_factory.mktemp("ns2"),
        f"{net}.2",
        primary=f"{net}.1:{PORT}",
        more=["--zone", "dialplane.internal"],
    )
    server.start()
    yield server
    print(server.log())
    server.remove()


@pytest.fixture
def edit(rows: str) -> Iterator[psycopg.Connection]:
    """A connection that commits each statement."""
    with psycopg.connect(rows, autocommit=True) as connection:
        yield connection
