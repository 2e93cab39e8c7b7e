"""Columns whose values land unescaped in htables, SIP and dialplan take nothing that would end a value there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.property.test_hostile import PIECES

NAMES = [
    "accounts.name", "accounts.country", "accounts.language", "accounts.caller_id", "clusters.name", "domains.name",
    "users.name", "users.caller_id", "devices.name", "devices.ha1_md5", "devices.ha1_sha256", "nodes.name",
    "numbers.e164", "extensions.extension", "extensions.on_busy", "extensions.target", "trunks.name", "trunks.host",
    "trunks.auth_user", "trunks.auth_realm", "voicemail_boxes.mailbox", "voicemail_boxes.email", "blocks.subject",
    "blocks.what", "blocks.reason", "settings.value", "emergency_numbers.number", "routes.prefix",
]  # fmt: skip
# For people: what they may hold besides is escaped where it lands (tests/property/test_hostile.py).
LABELS = ["accounts.display_name", "users.display_name", "voicemail_boxes.display_name"]
NAME = re.compile(r"[A-Za-z0-9+*:._@-]*").fullmatch
LABEL = re.compile(r'[^\x00-\x1f\x7f-\x9f\u2028-\u202e;="\\$`{}<>|]*').fullmatch


@pytest.fixture(scope="module")
def connection(sample: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(sample, autocommit=True) as one:
        one.execute(
            "INSERT INTO blocks (scope, subject, what, reason) VALUES ('account', 'acme', '+88213', 'fraud')"
        )
        yield one


def takes(connection: psycopg.Connection, column: str, text: str) -> bool:
    """Whether some row may hold that in the column; nothing is kept."""
    table, name = column.split(".")
    change = sql.SQL(
        "UPDATE {0} SET {1} = %s WHERE ctid = (SELECT min(ctid) FROM {0} WHERE {1} IS NOT NULL)"
    ).format(sql.Identifier("public", table), sql.Identifier(name))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(change, (text,))
    except psycopg.DatabaseError:
        return False
    return True


def held(connection: psycopg.Connection, column: str) -> str:
    """What the row that `takes` changes holds there."""
    table, name = column.split(".")
    query = sql.SQL("SELECT {1}::text FROM {0} WHERE {1} IS NOT NULL ORDER BY ctid LIMIT 1")
    row = connection.execute(query.format(sql.Identifier("public", table), sql.Identifier(name))).fetchone()
    assert row, f"no row with {column} in the sample"
    return str(row[0])


@pytest.mark.parametrize("column", [*NAMES, *LABELS])
def test_each_column_takes_what_it_holds(connection: psycopg.Connection, column: str) -> None:
    assert takes(connection, column, held(connection, column))


def test_a_label_takes_an_apostrophe(connection: psycopg.Connection) -> None:
    assert all(takes(connection, column, "Pat O'Brien & (Co), ^1") for column in LABELS)


@given(
    column=st.sampled_from([*NAMES, *LABELS]), pieces=st.lists(PIECES, min_size=1, max_size=3), data=st.data()
)
@settings(max_examples=400, deadline=None)
@pytest.mark.thorough
def test_no_column_takes_what_would_end_its_value(
    connection: psycopg.Connection, column: str, pieces: list[str], data: st.DataObject
) -> None:
    text = held(connection, column)
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + "".join(pieces) + text[place:]
    if takes(connection, column, text):
        assert (LABEL if column in LABELS else NAME)(text), (column, text)
