"""The schema page is current, and the SQL of the guide runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg

from controller.schema.pages import schema_page

COMPANY = """
    INSERT INTO accounts (name, display_name, cluster_id, country)
    SELECT 'acme', 'Acme GmbH', id, 'DE' FROM clusters;
    INSERT INTO users (account_id, name, display_name)
    SELECT id, unnest('{alice,bob,carol}'::text[]), 'A user' FROM accounts;
    INSERT INTO extensions (account_id, extension, kind, user_id)
    SELECT account_id, CASE name WHEN 'alice' THEN '101' ELSE '102' END, 'user', id FROM users WHERE name <> 'carol';
    INSERT INTO voicemail_boxes (account_id, mailbox, display_name) SELECT id, '600', 'Sales' FROM accounts;
    INSERT INTO caller_lists (account_id, name) SELECT id, 'vip' FROM accounts"""
DOCS = Path(__file__).parents[2] / "controller" / "docs"


def test_the_schema_page_is_made_from_the_database(database: str) -> None:
    with psycopg.connect(database) as connection:
        page = schema_page(connection)
    assert (DOCS / "schema.md").read_text() == page, "run: dialplane db docs > controller/docs/schema.md"


def test_the_sql_of_the_guide_runs_in_its_order_on_an_empty_database(
    new_database: Callable[..., str],
) -> None:
    text = (DOCS / "guide.md").read_text() + (DOCS / "features.md").read_text()
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.M | re.S)
    assert blocks
    with psycopg.connect(new_database()) as connection:
        for number, block in enumerate(blocks):
            connection.execute(block.encode())
            if number == 0:  # the rows of the servers; then comes the first company
                connection.execute(COMPANY)
        held = connection.execute(
            "SELECT tbl, key, split_part(value, ';until=', 1) FROM control.entries ORDER BY tbl, key"
        ).fetchall()
    # What is live at commit is published by the rows' own triggers.
    assert held == [
        ("allow", "account:acme:+22133", "allowed=1"),
        ("block", "account:acme", "0/+88/;lengths=06"),
        ("block", "account:acme:+88213", "fraud"),
        ("dnd", "acme/alice", "1"),
        # for each cluster that serves acme
        ("flag", "dnd/acme/alice", "1"),
        ("flag", "dnd/acme/alice", "1"),
        ("target", "c1", "media1=198.51.100.21:5060,5"),
    ]
