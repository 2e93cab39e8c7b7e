"""A name server that keeps answers, and `dialplane agent names` beside it, which takes them back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller.agreement import names
from controller.dns import purge
from controller.wire import dns as wire
from tests.names.server import PORT, NameServer
from tests.names.test_answers import VOICE, everything_lives, heard, until  # noqa: F401 - a fixture

ONE, TWO = ("10 20 5060 media1.c1", "10 10 5060 media2.c1")
THREE = "20 10 5080 media3.c2.nodes.dialplane.internal."


def targets(*shown: str) -> list[str]:
    return sorted([*(f"{one}.nodes.dialplane.internal." for one in shown), THREE])


@pytest.fixture(scope="module")
def server(rows: str, net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """The name server, keeping answers."""
    one = NameServer(
        tmp_path_factory.mktemp("ns3"), f"{net}.3", rows=make_conninfo(rows, user="names_login"),
        mounts=[Path(str(conninfo_to_dict(rows)["host"]))], more=["--purged"],
    )  # fmt: skip
    one.start()
    yield one
    print(one.log())
    one.remove()


@contextmanager
def listening(server: NameServer, rows: str) -> Iterator[None]:
    """`dialplane agent names`, with the rights of a name server."""
    over = threading.Event()
    thread = threading.Thread(
        target=purge.run,
        args=(make_conninfo(rows, user="names_login"), server.home / "pdns.controlsocket"),
        kwargs={"stop": over.is_set},
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_every_change_is_an_answer_within_a_second(
    server: NameServer, rows: str, edit: psycopg.Connection
) -> None:
    with listening(server, rows):
        until(server, VOICE, targets(ONE, TWO))
        edit.execute("UPDATE nodes SET weight = 5 WHERE name = 'media1'")
        assert until(server, VOICE, targets("10 5 5060 media1.c1", TWO)) < 1
        edit.execute("UPDATE nodes SET state = 'draining' WHERE name = 'media1'")
        assert until(server, VOICE, targets(TWO)) < 1
        edit.execute("UPDATE nodes SET state = 'enabled', weight = 20 WHERE name = 'media1'")
        heard(edit, "media1")
        assert until(server, VOICE, targets(ONE, TWO)) < 1
        # No row that anybody edits says that a node fell silent.
        heard(edit, "media2", seconds_ago=60)
        assert until(server, VOICE, targets(ONE)) < 1
        name = "_sip._tcp.voice.newcomer.dialplane.internal."
        assert server.answers(name) == ["NXDOMAIN"]
        edit.execute(
            "INSERT INTO accounts (name, display_name, country, cluster_id) "
            "SELECT 'newcomer', 'x', 'DE', id FROM clusters WHERE name = 'c2'"
        )
        assert until(server, name, ["10 10 5080 media3.c2.nodes.dialplane.internal."]) < 1
        edit.execute("DELETE FROM accounts WHERE name = 'newcomer'")
        assert until(server, name, ["NXDOMAIN"]) < 1


def test_what_changed_while_nobody_listened_is_taken_back_at_the_start(
    server: NameServer, rows: str, edit: psycopg.Connection
) -> None:
    with listening(server, rows):
        until(server, VOICE, targets(ONE, TWO))
    assert server.answers(VOICE) == targets(ONE, TWO)
    edit.execute("UPDATE nodes SET weight = 5 WHERE name = 'media1'")
    assert server.answers(VOICE) == targets(ONE, TWO), "it keeps nothing: then this test shows nothing"
    with listening(server, rows):
        assert until(server, VOICE, targets("10 5 5060 media1.c1", TWO)) < 1


def test_agreement_asks_every_server_and_says_which_does_not_agree(
    server: NameServer, rows: str, net: str, edit: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PORT", PORT)
    before = edit.execute("SELECT value FROM settings WHERE name = 'name_servers'").fetchone()
    assert before is not None
    both = f"ns1.dialplane.internal/{net}.3,ns2.dialplane.internal/{net}.9"
    edit.execute("UPDATE settings SET value = %s WHERE name = 'name_servers'", (both,))
    try:
        with listening(server, rows):
            until(server, "ns2.dialplane.internal.", ["NOERROR"])
            # The serial is an answer of its own, taken back a moment later.
            ends, said = time.monotonic() + 5, ["behind by"]
            while "behind by" in said[0] and time.monotonic() < ends:
                found, said = names.look(edit, None, (), limit_s=20)
            assert [(one.where, one.what) for one in found] == [(f"name server {net}.9", "answers")]
            assert said[0] == f"name server {net}.3: 4 accounts asked, 0 names differ"
        # Nobody tells it of a change.
        edit.execute("UPDATE nodes SET weight = 5 WHERE name = 'media1'")
        assert [one.what for one in names.look(edit, None, (), limit_s=20)[0]] == ["answers"], "a moment ago"
        monkeypatch.setattr(names, "_TRANSFER_S", -10)
        found, _ = names.look(edit, None, (), limit_s=20)
        assert (found[0].where, found[0].what) == (f"name server {net}.3", "serial")
    finally:
        edit.execute("UPDATE settings SET value = %s WHERE name = 'name_servers'", before)
