"""Migrations on a real server: in order, whole or not at all, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from controller.errors import DatabaseError
from controller.schema.migrate import MIGRATIONS, migrate, pending

pytestmark = pytest.mark.thorough

NAMES = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))
GOOD = "CREATE TABLE public.first (id integer);"
BAD = """
CREATE TABLE public.second (id integer);
CREATE FUNCTION public.third() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text := 'a; b';
BEGIN
    CASE WHEN true THEN RETURN said; ELSE RETURN ''; END CASE;
END
$$;
INSERT INTO public.second VALUES ('no number');
"""


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }


@pytest.fixture
def empty(new_database: Callable[[str | None], str]) -> str:
    return new_database(None)


def test_all_in_order_once(empty: str) -> None:
    assert pending(empty) == NAMES
    assert migrate(empty) == NAMES
    assert pending(empty) == []
    assert migrate(empty) == []


def test_half_a_migration_leaves_nothing(empty: str, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text(GOOD)
    (tmp_path / "0002_bad.sql").write_text(BAD)
    with pytest.raises(DatabaseError) as refused:
        migrate(empty, tmp_path)
    assert "0002_bad" in str(refused.value)
    assert "left nothing behind" in str(refused.value)
    assert "dialplane db migrate" in str(refused.value)
    assert tables(empty) == {"first"}
    assert pending(empty, tmp_path) == ["0002_bad"]

    (tmp_path / "0002_bad.sql").write_text(BAD.replace("'no number'", "1"))
    assert migrate(empty, tmp_path) == ["0002_bad"]
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT public.third()").fetchone() == ("a; b",)


def test_killed_between_statement_and_mark_leaves_nothing(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_good.sql").write_text(GOOD)

    def killed(self: object, migration: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("controller.schema.migrate._Backend.mark_one", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate(empty, tmp_path)
    assert tables(empty) == set()
    monkeypatch.undo()
    assert migrate(empty, tmp_path) == ["0001_good"]


def test_two_at_once_one_waits(empty: str, tmp_path: Path) -> None:
    (tmp_path / "0001_slow.sql").write_text("SELECT pg_sleep(0.5); CREATE TABLE public.first (id integer);")
    with ThreadPoolExecutor() as pool:
        applied = list(pool.map(lambda _: migrate(empty, tmp_path), range(2)))
    assert sorted(applied) == [[], ["0001_slow"]]


def test_lock_row_left_over_does_not_stop_it(empty: str, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text(GOOD)
    migrate(empty, tmp_path)
    with psycopg.connect(empty) as connection:
        connection.execute("INSERT INTO migration.yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE public.more (id integer);")
    assert migrate(empty, tmp_path) == ["0002_more"]


def test_server_away() -> None:
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1.*--database"):
        pending("postgresql://nobody:very-secret@127.0.0.1:1/none")


def test_no_such_database(postgresql: str) -> None:
    with pytest.raises(DatabaseError, match="does not exist") as refused:
        migrate(psycopg.conninfo.make_conninfo(postgresql, dbname="nowhere"))
    assert "createdb" in str(refused.value)


def test_a_database_that_cannot_hold_every_letter_is_refused(postgresql: str) -> None:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    url = psycopg.conninfo.make_conninfo(postgresql, dbname="ascii")
    with pytest.raises(DatabaseError, match=r"encoding is SQL_ASCII.*--encoding=UTF8"):
        migrate(url)
