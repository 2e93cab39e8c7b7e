"""The schema as a Markdown page, read from the database itself, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from controller.schema.explain import sentence

_TABLES = """
    SELECT n.nspname, c.relname, c.oid, obj_description(c.oid, 'pg_class')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'control', 'dns') AND c.relkind IN ('r', 'v')
    ORDER BY n.nspname DESC, c.relname"""
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
        a.attidentity <> '', col_description(a.attrelid, a.attnum)
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum"""
# What a check does when its rule does not hold is no news there.
_CONSTRAINTS = r"""
    SELECT conname, obj_description(oid, 'pg_constraint'), regexp_replace(
        pg_get_constraintdef(oid), '^CHECK \(\(\((.*) IS NOT FALSE\) OR control\.refuse\(.*$', 'CHECK (\1)')
    FROM pg_constraint WHERE conrelid = %s AND contype IN ('c', 'u', 'f', 'x')
    ORDER BY array_position('{u,x,f,c}'::text[], contype::text), conname"""
_DOMAINS = """
    SELECT t.typname, format_type(t.typbasetype, t.typtypmod), obj_description(t.oid, 'pg_type')
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE n.nspname = 'public' AND t.typtype = 'd' ORDER BY t.typname"""
_FUNCTIONS = """
    SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_arguments(p.oid) || ')',
        pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('public', 'control', 'dns') AND p.prorettype <> 'trigger'::regtype
    ORDER BY n.nspname DESC, p.proname, 1"""
_GRANTS = """
    SELECT grantee, table_schema || '.' || table_name,
        string_agg(lower(privilege_type), ', ' ORDER BY privilege_type)
    FROM information_schema.role_table_grants
    WHERE grantee LIKE 'dialplane\\_%%' AND table_schema IN ('public', 'control', 'dns')
    GROUP BY 1, 2 ORDER BY 1, 2"""


def schema_page(connection: Connection[Any]) -> str:
    """Tables, columns, rules, types, functions and grants as Markdown."""
    return "\n".join(_page(connection)) + "\n"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")


def _page(connection: Connection[Any]) -> Iterator[str]:
    yield "# Schema"
    yield ""
    yield "`public` holds the rows that people edit, `control` what dialplane writes, `dns` what name servers read."
    for schema, table, oid, comment in connection.execute(_TABLES).fetchall():
        yield from ("", f"## {schema}.{table}", "", comment or "", "")
        yield "| column | type | null | default | meaning |"
        yield "|---|---|---|---|---|"
        for name, kind, required, default, identity, meaning in connection.execute(_COLUMNS, (oid,)):
            shown = "numbered" if identity else f"`{_cell(default)}`" if default else ""
            null = "no" if required else "yes"
            yield f"| `{name}` | {_cell(kind)} | {null} | {shown} | {_cell(meaning)} |"
        rules = connection.execute(_CONSTRAINTS, (oid,)).fetchall()
        if rules:
            yield from ("", "| rule | definition | in words |", "|---|---|---|")
            for name, remedy, definition in rules:
                yield f"| `{name}` | `{_cell(definition)}` | {_cell(remedy or sentence(name))} |"
    yield from ("", "## Types", "", "| type | is | meaning |", "|---|---|---|")
    for name, base, comment in connection.execute(_DOMAINS):
        yield f"| `{name}` | {base} | {_cell(comment)} |"
    yield from ("", "## Functions", "", "| function | gives | meaning |", "|---|---|---|")
    for signature, result, comment in connection.execute(_FUNCTIONS):
        yield f"| `{_cell(signature)}` | {_cell(result)} | {_cell(comment)} |"
    yield from ("", "## Grants", "", "| role | table | may |", "|---|---|---|")
    for role, table, rights in connection.execute(_GRANTS):
        yield f"| {role} | {table} | {rights} |"
