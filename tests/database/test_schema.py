"""The schema says what it is: every object has a comment, every constraint a sentence."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from controller.schema.explain import sentence
from controller.schema.pages import schema_page

UNCOMMENTED = """
    SELECT 'schema ' || nspname FROM pg_namespace
        WHERE nspname IN ('public', 'control', 'migration') AND obj_description(oid, 'pg_namespace') IS NULL
    UNION ALL
    SELECT 'table ' || c.oid::regclass FROM pg_class AS c
        WHERE relnamespace::regnamespace::text IN ('public', 'control') AND relkind IN ('r', 'v')
        AND obj_description(c.oid, 'pg_class') IS NULL
    UNION ALL
    SELECT 'column ' || c.oid::regclass || '.' || attname
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE relnamespace::regnamespace::text IN ('public', 'control') AND relkind = 'r'
        AND attnum > 0 AND NOT attisdropped AND col_description(c.oid, attnum) IS NULL
    UNION ALL
    SELECT 'domain ' || typname FROM pg_type
        WHERE typnamespace::regnamespace::text IN ('public', 'control') AND typtype = 'd'
        AND obj_description(oid, 'pg_type') IS NULL
    UNION ALL
    SELECT 'function ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('public', 'control') AND obj_description(oid, 'pg_proc') IS NULL
"""
CONSTRAINTS = """
    SELECT conname FROM pg_constraint
        WHERE connamespace::regnamespace::text IN ('public', 'control') AND contype NOT IN ('n', 't')
        AND obj_description(oid, 'pg_constraint') IS NULL
    UNION
    SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indisunique AND c.relnamespace::regnamespace::text IN ('public', 'control')
"""
UNPINNED = """
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace::regnamespace::text IN ('public', 'control')
        AND prosqlbody IS NULL AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
"""


@pytest.fixture(scope="module")
def connection(database: str) -> psycopg.Connection:
    return psycopg.connect(database, autocommit=True)


def names(connection: psycopg.Connection, statement: str) -> list[str]:
    return [name for (name,) in connection.execute(statement.encode())]


def test_every_object_has_a_comment(connection: psycopg.Connection) -> None:
    assert names(connection, UNCOMMENTED) == []


def test_every_constraint_has_a_sentence(connection: psycopg.Connection) -> None:
    found = names(connection, CONSTRAINTS)
    assert len(found) > 50
    assert [name for name in found if sentence(name) is None] == []


def test_every_function_pins_its_search_path(connection: psycopg.Connection) -> None:
    assert names(connection, UNPINNED) == []


def test_no_extension_is_needed(connection: psycopg.Connection) -> None:
    assert names(connection, "SELECT extname FROM pg_extension") == ["plpgsql"]


def test_page_names_every_table_and_type(connection: psycopg.Connection) -> None:
    page = schema_page(connection)
    for table in names(
        connection,
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'control')",
    ):
        assert f"## {table}" in page
    assert "| dialplane_agent | control.entries | select |" in page
    assert "| `sip_user` | text | User part" in page


@pytest.mark.parametrize("size", [0, 1, 3, 54, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_sha1_is_sha1(connection: psycopg.Connection, size: int) -> None:
    message = bytes(index * 7 % 256 for index in range(size))
    found = connection.execute("SELECT control.sha1(%s)", (message,)).fetchone()
    assert found == (hashlib.sha1(message, usedforsecurity=False).hexdigest(),)
