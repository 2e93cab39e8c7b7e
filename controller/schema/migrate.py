"""Migrations: plain SQL files in `migrations/`, run in order by yoyo-migrations.

Each file is one transaction together with the mark that it was applied (yoyo by itself marks in a second one, so a
kill in between would leave a migration applied and unmarked). Two at once: an advisory lock makes one wait, and
goes away with its connection, unlike the row yoyo keeps for that purpose.
yoyo's own tables stand in schema `migration`, apart from the rows people edit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import read_migrations
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, MigrationList

from controller.errors import DatabaseError
from controller.schema.database import place, refusal
from controller.wire.postgresql import held

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = "dialplane.migrate"
_READERS = ("dialplane_admin", "dialplane_controller", "dialplane_agent", "dialplane_reader")


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend, without the look-ups of user and host name that fail in bare containers."""

    def get_log_data(self, migration: Migration | None = None, operation: str = "apply") -> dict[str, Any]:
        """The row of yoyo's log."""
        from datetime import UTC, datetime
        from uuid import uuid4

        return {
            "id": str(uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": self.connection.info.user,
            "hostname": self.connection.info.host,
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def _backend(url: str) -> _Backend:
    options = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    database = options.pop("dbname", "")
    arguments = options | {"schema": "migration", "application_name": "dialplane migrate"}
    return _Backend(DatabaseURI("postgresql+psycopg", None, None, None, None, database, arguments), "applied")


def _migrations(folder: Path) -> MigrationList:
    return read_migrations(str(folder))


def pending(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Names of the migrations not applied yet, in order. Writes nothing."""
    try:
        with psycopg.connect(url, **held(url)) as connection:
            table = connection.execute("SELECT to_regclass('migration.applied')").fetchone()
            applied: set[str] = set()
            if table and table[0]:
                rows = connection.execute("SELECT migration_id FROM migration.applied")
                applied = {name for (name,) in rows}
    except psycopg.Error as error:
        raise refusal(error, url) from error
    return [one.id for one in _migrations(folder) if one.id not in applied]


def migrate(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing, in order; the names of what was applied.

    A migration that fails leaves nothing of itself; those before it stay. DatabaseError says which one and what to do.
    """
    try:
        with psycopg.connect(url, autocommit=True, **held(url)) as guard:
            encoding = guard.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise DatabaseError(
                    f"PostgreSQL at {place(url)}: its encoding is {encoding}, and rows need UTF8. "
                    "Create the database with `createdb --encoding=UTF8 --template=template0`."
                )
            guard.execute("SELECT pg_advisory_lock(hashtext(%s))", (_LOCK,))
            guard.execute("CREATE SCHEMA IF NOT EXISTS migration")
            guard.execute("COMMENT ON SCHEMA migration IS 'Which migrations were applied, kept by yoyo.'")
            with _backend(url) as backend:
                backend.init_database()
                # A lock row can only be left over: ours is the only migration.
                backend.break_lock()
                applied = _apply(backend, _migrations(folder))
            # `db status` and `doctor` tell everybody who may read at all what is missing.
            for role in _READERS:
                if guard.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    guard.execute(f"GRANT USAGE ON SCHEMA migration TO {role}")
                    guard.execute(f"GRANT SELECT ON migration.applied TO {role}")
            return applied
    except psycopg.Error as error:
        raise refusal(error, url) from error


def _apply(backend: DatabaseBackend, migrations: MigrationList) -> list[str]:
    applied: list[str] = []
    for migration in backend.to_apply(migrations):
        try:
            with backend.transaction():
                backend.execute("SET LOCAL search_path TO public")
                migration.process_steps(backend, "apply")
                backend.execute("SET LOCAL search_path TO migration")
                backend.mark_one(migration)
        except psycopg.Error as error:
            done = f"{len(applied)} before it were applied and stay" if applied else "nothing was applied"
            raise DatabaseError(
                f"migration {migration.id} failed and left nothing behind ({done}): {str(error).strip()}\n"
                "Correct the cause and run `dialplane db migrate` again."
            ) from error
        applied.append(migration.id)
    return applied
