"""A secondary that transfers the zones: it follows the rows, and goes on while name server and database are away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.query
import dns.rcode
import dns.zone
import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller.cli import main
from tests.names.server import PORT, NameServer

ZONE, PHONES = "dialplane.internal.", "phones.dialplane.internal."
VOICE = f"_sip._tcp.voice.acme.{ZONE}"
HOME = [
    "10 10 5060 media2.c1.nodes.dialplane.internal.",
    "10 20 5060 media1.c1.nodes.dialplane.internal.",
    "20 30 5080 media3.c2.nodes.dialplane.internal.",
]


def until(what: Callable[[], object], wanted: object, limit_s: float = 10) -> float:
    began = time.monotonic()
    while (found := what()) != wanted:
        assert time.monotonic() - began < limit_s, found
        time.sleep(0.05)
    return time.monotonic() - began


def run(rows: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", rows, "dns", *arguments])


def test_it_follows_the_rows(ns1: NameServer, ns2: NameServer, edit: psycopg.Connection) -> None:
    until(lambda: ns2.answers(VOICE), HOME)
    until(
        lambda: ns2.answers(f"_sips._tcp.acme.{PHONES}"),
        ["10 10 5061 edge1.edges.phones.dialplane.internal."],
    )
    edit.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
    took = until(lambda: ns2.answers(VOICE), [HOME[0], HOME[2]])
    edit.execute("UPDATE nodes SET state = 'enabled' WHERE name = 'media1'")
    until(lambda: ns2.answers(VOICE), HOME)
    print(f"a drained node is gone from the secondary after {took:.1f} s (dns_refresh_s 1)")
    assert took < 6


def test_check_compares_both_and_their_serials(
    ns1: NameServer, ns2: NameServer, rows: str, edit: psycopg.Connection
) -> None:
    until(lambda: ns2.answers(VOICE), HOME)
    both = ("--server", ns1.where, "--server", ns2.where)
    until(lambda: ns2.answers(ZONE, "SOA"), ns1.answers(ZONE, "SOA"))
    done = run(rows, "check", "--all", *both)
    assert done.exit_code == 0, done.output
    assert done.output.count("in sync") == 2
    # Now it looks for changes every 600 s only.
    edit.execute("UPDATE settings SET value = '600' WHERE name = 'dns_refresh_s'")
    until(lambda: ns2.answers(ZONE, "SOA")[0].split()[3], "600")
    edit.execute("UPDATE nodes SET weight = 25 WHERE name = 'media1'")
    done = run(rows, "check", "acme", *both, "--format", "tsv")
    assert done.exit_code == 3
    assert "behind by" in done.stderr
    header, *lines = done.stdout.splitlines()
    assert header == "server\tname\ttype\tthe rows say\tthe server says"
    assert len(lines) == 6  # every service of acme but the one that another cluster serves
    for line in lines:
        server, _, _, wanted, got = line.split("\t")
        assert server == ns2.where
        assert "10 25 5060 media1.c1.nodes.dialplane.internal." in wanted
        assert "10 20 5060 media1.c1.nodes.dialplane.internal." in got
    edit.execute("UPDATE nodes SET weight = 20 WHERE name = 'media1'")
    edit.execute("UPDATE settings SET value = '1' WHERE name = 'dns_refresh_s'")
    ns2.restart()
    until(lambda: ns2.answers(VOICE), HOME)


def test_it_answers_while_database_and_primary_are_away_even_after_a_restart(
    ns1: NameServer, ns2: NameServer, rows: str
) -> None:
    until(lambda: ns2.answers(VOICE), HOME)
    with psycopg.connect(make_conninfo(rows, dbname="postgres"), autocommit=True) as owner:
        name = conninfo_to_dict(rows)["dbname"]
        owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            reply = ns1.ask(VOICE, "SRV")
            assert dns.rcode.to_text(reply.rcode()) == "SERVFAIL"
            assert ns2.answers(VOICE) == HOME
            ns2.restart()
            assert ns2.answers(VOICE) == HOME
            assert ns2.answers(f"_sip._udp.acme.{PHONES}")[0].startswith("10 ")
        finally:
            owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    # The database is back: so is the first.
    until(lambda: ns1.answers(VOICE), HOME)
    ns1.remove()
    try:
        assert ns2.answers(VOICE) == HOME
    finally:
        ns1.start()


def test_silence_of_agents_is_no_matter_of_transfers(
    ns1: NameServer, ns2: NameServer, edit: psycopg.Connection
) -> None:
    """What is transferred holds for long: only rows count there. Primary and secondary are both right."""
    edit.execute(
        "INSERT INTO control.node_state (node, kind, revision, heard_at) "
        "VALUES ('media2', 'media', 1000000, clock_timestamp() + interval '1 h')"
    )
    try:
        until(lambda: ns1.answers(VOICE), [HOME[0], HOME[2]])
        time.sleep(2.5)
        assert ns2.answers(VOICE) == HOME
    finally:
        edit.execute("DELETE FROM control.node_state")


def test_who_is_not_named_transfers_nothing(rows: str, net: str, tmp_path: Path) -> None:
    server = NameServer(
        tmp_path, f"{net}.3", rows=make_conninfo(rows, user="names_login"),
        secondaries=["192.0.2.1"], mounts=[Path(str(conninfo_to_dict(rows)["host"]))],
    )  # fmt: skip
    server.start()
    try:
        with pytest.raises(dns.exception.DNSException):
            dns.zone.from_xfr(dns.query.xfr(server.address, "dialplane.internal", port=PORT, timeout=3))
    finally:
        server.remove()


@pytest.mark.parametrize(("which", "origin"), [("forwarding", ZONE), ("device", PHONES)])
def test_the_zone_file_is_the_zone_that_is_transferred(
    ns1: NameServer, rows: str, which: str, origin: str
) -> None:
    done = run(rows, "zone", which)
    assert done.exit_code == 0, done.output
    written = dns.zone.from_text(done.output, origin, relativize=False)
    moved = dns.zone.from_xfr(
        dns.query.xfr(ns1.address, origin, port=PORT, timeout=5, relativize=False), relativize=False
    )
    assert written == moved
    assert len(written.nodes) > 10
