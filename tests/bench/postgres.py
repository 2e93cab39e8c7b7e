"""The PostgreSQL of a run: the stack's image and settings, reached by a Unix socket in the run's folder."""

from __future__ import annotations

import time

import psycopg

from controller.schema.migrate import migrate
from tests.bench.lab import Failed, Lab, say

_DATA = "/var/lib/postgresql/data"
# Login roles as the stack has them. No passwords: the socket lies in a folder of this run's own.
_ROLES = {
    "admin": "dialplane_admin, dialplane_controller",
    "controller": "dialplane_controller",
    "agent": "dialplane_agent",
    "dns": "dialplane_dns",
    "fraud": "dialplane_fraud",
}
_TRUST = (
    "pg_isready -q -h 127.0.0.1 -d dialplane && "
    f"sed -i 's/^local .*peer/local all all trust/' {_DATA}/pg_hba.conf && kill -HUP 1"
)


class Postgres:
    """One server; each world has a database of its own."""

    def __init__(self, lab: Lab) -> None:
        self._sockets = lab.folder / "postgresql"
        secrets = lab.folder / "secrets"
        for folder in (self._sockets, secrets):
            folder.mkdir()
        for role in ("owner", *_ROLES):
            (secrets / role).write_text("bench")
        say("PostgreSQL")
        self.name = lab.start(
            "postgres", "postgres", "--shm-size", "256m", "-v", f"{self._sockets}:/run/postgresql",
            "-v", f"{secrets}:/run/secrets:ro", "-v", _DATA,
        )  # fmt: skip
        # Options of `docker run` for those who use it. The images' entry points want a secret to be there.
        self.mount = ("-v", f"{self._sockets}:/run/postgresql", "-v", f"{secrets}:/run/secrets:ro")
        deadline = time.monotonic() + 60
        while True:
            try:
                lab.execute(self.name, "bash", "-c", _TRUST)
                psycopg.connect(self.url("postgres", "postgres"), connect_timeout=5).close()
                break
            except (Failed, psycopg.OperationalError):
                if time.monotonic() > deadline:
                    raise Failed(f"PostgreSQL does not start: {lab.logs(self.name)}") from None
                time.sleep(0.3)

    @property
    def containers(self) -> tuple[str, ...]:
        """Those that are there for it."""
        return (self.name,)

    def url(self, database: str, role: str) -> str:
        """For processes of this machine."""
        return f"postgresql:///{database}?host={self._sockets}&user={role}"

    def inside(self, database: str, role: str) -> str:
        """For processes in containers."""
        return f"postgresql:///{database}?host=/run/postgresql&user={role}"

    def create(self, database: str) -> None:
        """An empty, migrated database with the login roles."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database} OWNER owner".encode())
        migrate(self.url(database, "owner"))
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            for role, groups in _ROLES.items():
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    connection.execute(f"CREATE ROLE {role} LOGIN".encode())
                connection.execute(f"GRANT {groups} TO {role}".encode())
