"""dialplane dns: what it prints without a name server, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(sample: str) -> Run:
    return lambda *arguments: CliRunner().invoke(main, ["--database", sample, "dns", *arguments])


def test_show_prints_names_as_dig_shows_them(run: Run, sample: str) -> None:
    with psycopg.connect(sample) as connection:
        connection.execute(
            "INSERT INTO control.node_state (node, kind, heard_at, revision) "
            "SELECT 'media2', 'media', clock_timestamp() + interval '1 h', max(id) FROM control.revisions"
        )
    done = run("show", "acme")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    voice = "_sip._tcp.voice.acme.dialplane.internal. 5 IN SRV 10 10 5060"
    assert lines[:3] == [
        ";; ANSWER SECTION:",
        f"{voice} media2.c1.nodes.dialplane.internal.",
        "_sip._tcp.voicemail.acme.dialplane.internal. 5 IN SRV 10 10 5060 media2.c1.nodes.dialplane.internal.",
    ]
    assert "; _sips._tcp.acme.phones.dialplane.internal. leads nowhere: no enabled node for it" in lines
    assert lines[lines.index(";; ADDITIONAL SECTION:") + 1 :] == [
        "media2.c1.nodes.dialplane.internal. 5 IN A 10.213.0.22",
        "edge1.edges.phones.dialplane.internal. 5 IN A 10.213.0.11",
        "edge2.edges.phones.dialplane.internal. 5 IN A 10.213.0.12",
        "; media1 of c1: its agent never reported; not answered",
    ]
    with psycopg.connect(sample) as connection:
        connection.execute("DELETE FROM control.node_state")
        connection.execute("SELECT control.look_at_nodes()")
    done = run("show", "acme")
    assert f"{voice} media1.c1.nodes.dialplane.internal." in done.stdout
    assert (
        "; media1 of c1: its agent never reported; answered all the same: no node of the cluster takes calls"
        in done.stdout
    )
    listed = json.loads(run("show", "acme", "--format", "json").stdout)
    assert len(listed) == 7 * 2 + 2 * 2
    assert listed[0].keys() == {"name", "ttl", "type", "data"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "nobody"), 2, "there is no account nobody"),
        (("check", "nobody", "--server", "127.0.0.1:1"), 2, "there is no account nobody"),
        (("check", "acme", "--all"), 2, "name an account, or give --all"),
        (("check", "--server", "127.0.0.1:x"), 2, "write host, host:port"),
        (("check", "--server", "ns.invalid"), 2, "write its address"),
        (("zone", "other"), 2, "forwarding"),
    ],
)
def test_what_cannot_be_is_said(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run(*arguments)
    assert words in done.output
    assert done.exit_code == code


def test_zone_prints_a_zone_file(run: Run) -> None:
    for which, zone in (("forwarding", "dialplane.internal."), ("device", "phones.dialplane.internal.")):
        done = run("zone", which)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(f"{zone} 5 IN SOA ns1.dialplane.internal. hostmaster.{zone} ")
