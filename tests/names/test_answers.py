"""What a real PowerDNS answers from the rows: shapes of answers, changes, hostile questions."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import psycopg
import pytest

from tests.images import server_image
from tests.names.server import PORT, NameServer

ZONE, PHONES = "dialplane.internal.", "phones.dialplane.internal."
VOICE = f"_sip._tcp.voice.acme.{ZONE}"


def heard(connection: psycopg.Connection, *nodes: str, seconds_ago: float = -3600) -> None:
    """These media nodes were heard of, as far as the rows know; the controller looks, as it does every second."""
    for node in nodes:
        connection.execute(
            "INSERT INTO control.node_state (node, kind, revision, heard_at) "
            "VALUES (%s, 'media', 1000000, clock_timestamp() - make_interval(secs => %s)) "
            "ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at",
            (node, seconds_ago),
        )
    connection.execute("SELECT control.look_at_nodes()")


@pytest.fixture(autouse=True)
def everything_lives(edit: psycopg.Connection) -> None:
    """Before each test all nodes are enabled and heard of, and acme is at home."""
    edit.execute("UPDATE nodes SET state = 'enabled', weight = CASE name WHEN 'media1' THEN 20 ELSE 10 END")
    edit.execute(
        "UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c1') WHERE name = 'acme'"
    )
    heard(edit, *(name for (name,) in edit.execute("SELECT name FROM nodes WHERE kind = 'media'").fetchall()))


def until(server: NameServer, name: str, wanted: list[str], limit_s: float = 3) -> float:
    """Ask until that is the answer; seconds it took."""
    began = time.monotonic()
    while (found := server.answers(name)) != wanted:
        assert time.monotonic() - began < limit_s, found
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_forwarding_name_leads_to_the_cluster_and_then_to_its_overflow(ns1: NameServer) -> None:
    reply = ns1.ask(VOICE, "SRV")
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AA
    (rrset,) = reply.answer
    assert rrset.ttl == 5
    assert sorted(one.to_text() for one in rrset) == [
        "10 10 5060 media2.c1.nodes.dialplane.internal.",
        "10 20 5060 media1.c1.nodes.dialplane.internal.",
        "20 10 5080 media3.c2.nodes.dialplane.internal.",
    ]
    more = {one.name.to_text(): one[0].to_text() for one in reply.additional}
    assert more == {
        "media1.c1.nodes.dialplane.internal.": "10.0.0.21",
        "media2.c1.nodes.dialplane.internal.": "10.0.0.22",
        "media3.c2.nodes.dialplane.internal.": "2001:db8::23",
    }
    assert ns1.answers(f"_sip._tcp.conference.acme.{ZONE}") == [
        "10 10 5080 media3.c2.nodes.dialplane.internal."
    ]


def test_a_device_name_leads_to_the_edges_of_its_group_over_each_transport(ns1: NameServer) -> None:
    both = [
        "10 10 5060 edge1.edges.phones.dialplane.internal.",
        "10 10 5060 edge2.edges.phones.dialplane.internal.",
    ]
    assert ns1.answers(f"_sip._udp.acme.{PHONES}") == both
    assert ns1.answers(f"_sip._tcp.acme.{PHONES}") == both
    assert ns1.answers(f"_sips._tcp.acme.{PHONES}") == ["10 10 5061 edge1.edges.phones.dialplane.internal."]
    assert ns1.answers(f"_sip._udp.initech.{PHONES}") == ["10 10 5070 edge3.edges.phones.dialplane.internal."]
    assert len(ns1.answers(f"_sip._udp.globex.{PHONES}")) == 3
    assert ns1.answers(f"edge1.edges.{PHONES}", "A") == ["198.51.100.1"]
    assert ns1.answers(f"edge3.edges.{PHONES}", "AAAA") == ["2001:db8::3"]
    assert ns1.answers(f"edge3.edges.{PHONES}", "A") == ["NOERROR"]


def test_both_zones_have_soa_and_ns(ns1: NameServer, edit: psycopg.Connection, net: str) -> None:
    row = edit.execute("SELECT serial FROM control.name_serial").fetchone()
    assert row is not None
    for zone in (ZONE, PHONES):
        assert ns1.answers(zone, "SOA") == [
            f"ns1.dialplane.internal. hostmaster.{zone} {row[0]} 1 1 1209600 7"
        ]
        assert ns1.answers(zone, "NS") == ["ns1.dialplane.internal.", "ns2.dialplane.internal."]
    assert ns1.answers(f"ns2.{ZONE}", "A") == [f"{net}.2"]


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        (f"_sip._tcp.voice.nobody.{ZONE}", "SRV", "NXDOMAIN"),
        (f"_sip._tcp.fax.acme.{ZONE}", "SRV", "NXDOMAIN"),
        (f"x.{PHONES}", "A", "NXDOMAIN"),
        (VOICE, "A", "NOERROR"),
        (VOICE, "CNAME", "NOERROR"),
        (VOICE, "NAPTR", "NOERROR"),
        (f"voice.acme.{ZONE}", "A", "NOERROR"),
        (f"acme.{PHONES}", "NAPTR", "NOERROR"),
        (f"_sip._tcp.voice.nowhere.{ZONE}", "SRV", "NOERROR"),
        (f"media1.c1.nodes.{ZONE}", "AAAA", "NOERROR"),
    ],
)
def test_what_is_not_there_is_denied_with_the_negative_ttl(
    ns1: NameServer, name: str, kind: str, rcode: str
) -> None:
    reply = ns1.ask(name, kind)
    assert (dns.rcode.to_text(reply.rcode()), reply.answer) == (rcode, [])
    (soa,) = reply.authority
    assert soa.rdtype == dns.rdatatype.SOA
    # The smaller of the SOA's own time and its minimum is how long it is kept (RFC 2308).
    assert (soa.ttl, soa[0].minimum) == (5, 7)


def test_a_name_outside_is_refused(ns1: NameServer) -> None:
    assert dns.rcode.to_text(ns1.ask("example.com.", "A").rcode()) == "REFUSED"
    assert dns.rcode.to_text(ns1.ask("internal.", "SOA").rcode()) == "REFUSED"


def test_at_most_eight_targets_fit_one_datagram(ns1: NameServer) -> None:
    reply = ns1.ask(f"_sip._tcp.voice.globex.{ZONE}", "SRV")
    assert not reply.flags & dns.flags.TC
    (rrset,) = reply.answer
    assert sorted(one.priority for one in rrset) == [10] * 7 + [20]
    assert len(ns1.ask(f"_sip._tcp.voice.globex.{ZONE}", "SRV", tcp=True).answer[0]) == 8


def test_the_case_of_a_question_does_not_matter(ns1: NameServer) -> None:
    assert len(ns1.answers("_SIP._TCP.Voice.ACME.DialPlane.Internal.")) == 3


def test_a_moved_account_a_drained_node_a_weight_a_dead_node(
    ns1: NameServer, edit: psycopg.Connection
) -> None:
    one, two, three = (
        "10 20 5060 media1.c1.nodes.dialplane.internal.",
        "10 10 5060 media2.c1.nodes.dialplane.internal.",
        "20 10 5080 media3.c2.nodes.dialplane.internal.",
    )
    until(ns1, VOICE, sorted([one, two, three]))
    edit.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    assert until(ns1, VOICE, sorted([two, three])) < 1
    edit.execute("UPDATE nodes SET state = 'enabled', weight = 30 WHERE name = 'media1'")
    assert until(ns1, VOICE, sorted([one.replace("20", "30", 1), two, three])) < 1
    heard(edit, "media1", seconds_ago=2.5)
    time.sleep(2)
    edit.execute("SELECT control.look_at_nodes()")
    assert until(ns1, VOICE, sorted([two, three])) < 1
    heard(edit, "media2", "media3", seconds_ago=60)  # all silent: Python is away, not the nodes
    assert until(ns1, VOICE, sorted([one.replace("20", "30", 1), two, three])) < 1
    edit.execute(
        "UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c2') WHERE name = 'acme'"
    )
    assert until(ns1, VOICE, [three.replace("20", "10", 1)]) < 1


def test_a_new_account_has_its_names_and_one_that_went_has_none(
    ns1: NameServer, edit: psycopg.Connection
) -> None:
    name = f"_sip._tcp.voice.brandnew.{ZONE}"
    assert ns1.answers(name) == ["NXDOMAIN"]
    edit.execute(
        "INSERT INTO accounts (name, display_name, cluster_id, country) "
        "SELECT 'brandnew', 'New', id, 'DE' FROM clusters WHERE name = 'c2'"
    )
    assert until(ns1, name, ["10 10 5080 media3.c2.nodes.dialplane.internal."]) < 1.2
    edit.execute("DELETE FROM accounts WHERE name = 'brandnew'")
    assert until(ns1, name, ["NXDOMAIN"]) < 1.2


HOSTILE = [
    rb"_sip._tcp.voice.a'; DROP TABLE accounts; --",
    rb"_sip._tcp.voice.a\\",
    b"_sip._tcp.voice.acme\x00",
    b"_sip._tcp.vo\xffice.acme",
    b"\x01\x02\x03",
    b"$1",
    b"%",
    b"_",
    b"*",
    b"*.acme",
    b"_sip._tcp.voice.*",
    b"a" * 63,
    b"_sip._tcp.voice.%cme",
    b"_sip._tcp.voice.acme acme",
    b"{a,b}",
    b"nodes.nodes.nodes",
]


@pytest.mark.parametrize("prefix", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_do_no_harm(ns1: NameServer, prefix: bytes) -> None:
    labels = [*prefix.split(b"."), b"dialplane", b"internal", b""]
    reply = ns1.ask(dns.name.Name(labels).to_text(), "SRV")
    assert dns.rcode.to_text(reply.rcode()) in ("NXDOMAIN", "NOERROR", "SERVFAIL")
    assert reply.answer == []
    assert len(ns1.answers(VOICE)) == 3


def test_a_label_with_a_dot_in_it_is_another_name(ns1: NameServer) -> None:
    labels = [b"_sip", b"_tcp", b"voice.acme", b"dialplane", b"internal", b""]
    assert dns.rcode.to_text(ns1.ask(dns.name.Name(labels).to_text(), "SRV").rcode()) == "NXDOMAIN"


def test_the_longest_name(ns1: NameServer) -> None:
    labels = [b"a" * 63] * 3 + [b"b" * 42, b"dialplane", b"internal", b""]
    assert dns.rcode.to_text(ns1.ask(dns.name.Name(labels).to_text(), "SRV").rcode()) == "NXDOMAIN"


def test_garbage_does_no_harm(ns1: NameServer) -> None:
    chance = random.Random(5)
    whole = dns.message.make_query(VOICE, "SRV").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        for _ in range(500):
            broken = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            channel.sendto(bytes(broken[: chance.randint(0, len(broken))]), (ns1.address, PORT))
    with socket.create_connection((ns1.address, PORT), timeout=2) as connection:
        connection.sendall(b"\xff\xff" + b"GET / HTTP/1.0\r\n\r\n" * 50)
    assert len(ns1.answers(VOICE)) == 3


def test_nothing_is_changed_from_outside(ns1: NameServer) -> None:
    from dns.update import UpdateMessage

    update = UpdateMessage("dialplane.internal")
    update.add("evil", 5, "A", "10.6.6.6")
    reply = dns.query.udp(update, ns1.address, 3, PORT)
    assert dns.rcode.to_text(reply.rcode()) in ("REFUSED", "NOTIMP")
    assert ns1.answers(f"evil.{ZONE}", "A") == ["NXDOMAIN"]


def test_every_query_of_the_backend_is_ours(ns1: NameServer) -> None:
    """A new version of PowerDNS may bring new ones."""
    image = server_image("names")
    assert image is not None
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--entrypoint", "pdns_server", image, "--no-config",
         "--launch=gpgsql", "--config"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    known = dict(re.findall(r"^# (gpgsql-\S*(?:query|autoprim)\S*)=(.+)$", done.stdout, re.M))
    assert len(known) > 60
    ours = dict(re.findall(r"^(gpgsql-\S+)=(.+)$", (ns1.home / "pdns.conf").read_text(), re.M))
    assert set(known) - set(ours) == set()
    for name, query in known.items():
        count = len(set(re.findall(r"\$\d", query)))
        assert len(set(re.findall(r"\$\d", ours[name]))) == count, name


def test_what_would_write_is_refused_by_its_own_query(
    ns1: NameServer, rows: str, edit: psycopg.Connection
) -> None:
    """Each query of the configuration can be prepared by the server's role; those that write are refused."""
    from psycopg.conninfo import make_conninfo

    ours = re.findall(r"^gpgsql-(\S+)=(SELECT .+)$", (ns1.home / "pdns.conf").read_text(), re.M)
    refused = set()
    with psycopg.connect(make_conninfo(rows, user="names_login"), autocommit=True) as connection:
        for name, query in ours:
            count = len(set(re.findall(r"\$\d", query)))
            connection.execute(f"PREPARE q AS {query}".encode())
            given = ", ".join(["'1'"] * count)
            try:
                connection.execute(f"EXECUTE q{'(' + given + ')' if count else ''}".encode())
            except psycopg.errors.ReadOnlySqlTransaction:
                refused.add(name)
            connection.execute("DEALLOCATE q")
    assert {"insert-record-query", "update-serial-query", "delete-domain-query", "autoprimary-add"} <= refused
    assert not {name for name in refused if name.startswith(("get-", "list-", "info-", "any-", "basic-"))}


@pytest.fixture
def check(rows: str) -> Callable[..., tuple[int, str]]:
    """`dialplane dns check`: exit code and output."""
    from click.testing import CliRunner

    from controller.cli import main

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["--database", rows, "dns", "check", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_check_agrees_and_names_what_differs(
    ns1: NameServer, edit: psycopg.Connection, check: Callable[..., tuple[int, str]]
) -> None:
    assert check("acme", "--server", ns1.where) == (0, check("acme", "--server", ns1.where)[1])
    code, said = check("--all", "--server", ns1.where, "--format", "tsv")
    assert code == 0, said
    assert "in sync" in said
    nowhere = f"{ns1.address}:1"
    code, said = check("--server", nowhere, "--format", "json")
    assert code == 3
    assert "no answer" in said
