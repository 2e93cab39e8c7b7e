"""Rows that say where an account is served: refused when they make no sense, loaded from a file, read as a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from controller.desired import read
from controller.desired.model import Service
from controller.errors import BadRows
from controller.schema.importer import load, read_company

pytestmark = pytest.mark.thorough

COMPANY = """
clusters:
  - {name: c1, overflow: c2}
  - {name: c2, overflow: c1}
  - c3
device_groups: [g1, g2]
nodes:
  - {name: edge1, kind: edge, device_group: g1, address: 10.0.0.1, public_address: 198.51.100.1, tls_port: 5061}
  - {name: media1, kind: media, cluster: c1, address: 10.0.0.21}
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    device_group: g2
    country: DE
    services:
      - {service: conference, cluster: c3, overflow: c2}
      - {service: app, cluster: c2}
  - {name: globex, display_name: Globex, cluster: c3, country: DE}
"""


@pytest.fixture
def company(new_database: Callable[..., str], tmp_path: Path) -> psycopg.Connection:
    connection = psycopg.connect(new_database())
    path = tmp_path / "company.yaml"
    path.write_text(COMPANY)
    assert str(load(connection, read_company(path))).startswith("11 rows added, 0 changed, 0 ")
    assert str(load(connection, read_company(path))).startswith("0 rows added, 0 changed, 11 ")
    path.write_text(COMPANY.replace("c2, overflow: c1}", "c2, overflow: c3}"))
    assert str(load(connection, read_company(path))).startswith("0 rows added, 1 changed, 10 ")
    path.write_text(COMPANY)
    load(connection, read_company(path))
    connection.commit()
    return connection


def test_a_company_says_where_it_is_served(company: psycopg.Connection) -> None:
    acme, globex = read.accounts(company, ["acme", "globex"])
    assert (acme.device_group, globex.device_group) == ("g2", None)
    assert acme.services == (Service("app", "c2"), Service("conference", "c3", "c2"))
    nodes = {node.name: node for node in read.system(company).nodes}
    assert (nodes["edge1"].public_address, nodes["edge1"].tls_port) == ("198.51.100.1", 5061)
    assert nodes["media1"].tls_port is None


def test_without_a_row_the_cluster_of_the_account_and_its_overflow_hold(company: psycopg.Connection) -> None:
    found = company.execute(
        "SELECT account, service, cluster, overflow FROM control.assignments ORDER BY account, service"
    ).fetchall()
    services = ("app", "conference", "messaging", "pstn", "queue", "voice", "voicemail")
    assert found == [
        *(("acme", one, *{"app": ("c2", None), "conference": ("c3", "c2")}.get(one, ("c1", "c2")))
          for one in services),
        *(("globex", one, "c3", None) for one in services),
    ]  # fmt: skip


def test_an_overflow_that_is_not_there_is_named_with_its_line(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "company.yaml"
    path.write_text("clusters:\n  - {name: c1, overflow: c9}\n")
    with psycopg.connect(new_database()) as connection, pytest.raises(BadRows) as refused:
        load(connection, read_company(path))
    assert str(refused.value).endswith(
        ":2: clusters c1: overflow: c9 is not in clusters; add it there or correct the name"
    )


REFUSED = [
    ("UPDATE clusters SET overflow_cluster_id = id WHERE name = 'c3'", "Name another cluster, or none"),
    ("UPDATE nodes SET tls_port = 5061 WHERE name = 'media1'", "Phones talk to edges only"),
    ("UPDATE nodes SET tls_port = 5060 WHERE name = 'edge1'", "Take a port other than sip_port"),
    ("UPDATE nodes SET public_address = '198.51.100.0/24' WHERE name = 'edge1'", "one IP address"),
    ("UPDATE account_services SET service = 'fax'", "Choose voice, voicemail, conference"),
    ("UPDATE account_services SET overflow_cluster_id = cluster_id", "than the one that serves it"),
    ("INSERT INTO settings (name, value) VALUES ('dns_ttl_s', '0')", "Write seconds, 1 to 86400"),
    ("INSERT INTO settings (name, value) VALUES ('dns_ttl_s', '5s')", "Write seconds, 1 to 86400"),
    ("INSERT INTO settings (name, value) VALUES ('dns_refresh_s', '99999')", "Write seconds, 1 to 86400"),
    ("INSERT INTO settings (name, value) VALUES ('name_servers', 'ns1')", "Join host names with commas"),
    (
        "INSERT INTO settings (name, value) VALUES ('name_servers', 'a.example,')",
        "Join host names with commas",
    ),
    (
        "INSERT INTO settings (name, value) VALUES ('name_servers', 'a.example/x')",
        "Join host names with commas",
    ),
    (
        "INSERT INTO settings (name, value) VALUES ('name_servers', 'a.example/10.0.0.1/2')",
        "Join host names with commas",
    ),
    ("INSERT INTO settings (name, value) VALUES ('device_zone', 'phones')", "Write the zone as a DNS name"),
    (
        "INSERT INTO settings (name, value) VALUES ('device_zone', 'dialplane.internal')",
        "a zone of their own",
    ),
    ("INSERT INTO settings (name, value) VALUES ('device_zone', 'acme.dialplane.internal')", "another name"),
    ("UPDATE accounts SET name = 'phones' WHERE name = 'acme'", "another name"),
]


@pytest.mark.parametrize(("statement", "hint"), REFUSED, ids=[one[0] for one in REFUSED])
def test_a_row_that_makes_no_sense_is_refused(company: psycopg.Connection, statement: str, hint: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        company.execute(statement.encode())
    assert hint in (refused.value.diag.message_hint or "")


def test_changes_are_logged_for_their_account(company: psycopg.Connection) -> None:
    company.execute("DELETE FROM control.change_log")
    company.execute("UPDATE account_services SET overflow_cluster_id = NULL WHERE service = 'conference'")
    company.execute("DELETE FROM account_services WHERE service = 'app'")
    found = company.execute(
        "SELECT account, state, tbl, key, verb FROM control.change_log ORDER BY id"
    ).fetchall()
    assert found == [
        ("acme", "configuration", "account_services", "acme/conference", "update"),
        ("acme", "configuration", "account_services", "acme/app", "delete"),
    ]
