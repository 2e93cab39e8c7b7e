"""Load a company: every problem is reported at once, and nothing changes if there is one.

Rows are found by their natural names; loading the same again changes nothing. Rows that the file does not hold stay.
Passwords and PINs become digests here; neither they nor digests appear in a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import Connection, sql

from controller.errors import BadRows
from controller.schema.company import Company, Row, read_company
from controller.schema.decision_forms import LISTS
from controller.schema.digests import MADE_FROM, digests_of
from controller.schema.explain import explain
from controller.schema.forms import SHAPES
from controller.schema.judge import Judge, key_of
from controller.schema.references import EMERGENCY_NUMBER, KEYS, NUMBER_EXTENSION, REFERENCES, Reference

__all__ = ["Company", "Counts", "check", "load", "read_company"]


@dataclass(slots=True)
class Counts:
    """What a load did, in rows."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        return f"{self.added} rows added, {self.changed} changed, {self.unchanged} as they were"


def check(company: Company, connection: Connection[Any] | None = None) -> list[str]:
    """Every problem: `file:line: table key: what is wrong and what to do`. Changes nothing.

    Without a connection: shape, values, names given twice. With one: also what only the database knows (rows that
    are named but missing, names that are taken, rules over several rows).
    """
    if connection is None:
        return Judge(company).problems
    attempt = _Load(connection, company)
    with connection.transaction(force_rollback=True):
        attempt.run()
    return attempt.problems


def load(connection: Connection[Any], company: Company) -> Counts:
    """Load all rows, or none: BadRows lists every problem. Commit is the caller's."""
    attempt = _Load(connection, company)
    with connection.transaction():
        attempt.run()
        if attempt.problems:
            raise BadRows(attempt.problems)
    return attempt.counts


# Columns of extensions that say the kind by themselves.
_LEADING = ("policy", "group", "menu", "queue", "conference", "park", "page")
# Rows with steps: what they lead to may come later in the file, so they are judged at the end.
_STEPS = (
    *("groups", "queues", "menus", "menu_choices", "policies", "policy_rules", "forwardings"),
    "parking_lots",
)


_REQUIRED = """
    SELECT table_name::text, column_name::text FROM information_schema.columns
    WHERE table_schema = 'public' AND is_nullable = 'NO'"""


class _Load:
    """One attempt: goes through all rows whatever happens, so that every problem is found."""

    def __init__(self, connection: Connection[Any], company: Company) -> None:
        judge = Judge(company)
        self.connection = connection
        self.company = company
        self.problems = judge.problems
        self.bad = judge.bad
        self.failed = {(row.table, key_of(row)) for row in self._all_rows() if id(row) in judge.bad}
        self.counts = Counts()
        self.ids: dict[tuple[str, str], int] = {}
        self.made: set[int] = set()  # clusters
        self.required = set(connection.execute(_REQUIRED).fetchall())

    def _all_rows(self) -> Iterable[Row]:
        for table in SHAPES:
            yield from self.company.rows.get(table, ())

    def run(self) -> None:
        """Write every row that can be written, then the rules that need all of them."""
        self.connection.execute("SET CONSTRAINTS ALL DEFERRED")
        rules: list[tuple[Row, str, int]] = []
        for row in self._all_rows():
            if id(row) in self.bad:
                continue
            identity = self._write(row)
            if identity is not None and row.table == "extensions":
                rules.append((row, "SELECT control.check_extension(%s)", identity))
            elif identity is not None and row.table in _STEPS:
                rules.append((row, f"SELECT control.check_steps('{row.table}', %s)", identity))
            elif identity is not None and row.table in ("routes", "emergency_routes"):
                trunk = self.ids[("trunks", str(row.values["trunk"]))]
                rules.append((row, "SELECT control.check_trunk(%s)", trunk))
        for row in self.company.rows.get("clusters", ()):
            if "overflow" in row.values and ("clusters", key_of(row)) in self.ids:
                self._overflow(row)
        for row, statement, identity in rules:
            self._guarded(row, lambda s=statement, i=identity: self.connection.execute(s, (i,)))
        if not self.problems:
            try:
                with self.connection.transaction():
                    self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            except psycopg.errors.IntegrityError as error:
                self.problems.append(f"{self.company.source}: {explain(error)}")

    def _guarded(self, row: Row, act: Any) -> Any:
        """Do it in a savepoint; a refusal becomes a problem."""
        try:
            with self.connection.transaction():
                return act()
        except (psycopg.errors.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException) as error:
            self._fail(row, explain(error))
            return None

    def _fail(self, row: Row, text: str) -> None:
        self.failed.add((row.table, key_of(row)))
        problem = f"{row.where}: {row.table} {key_of(row)}: {text}"
        if problem not in self.problems:
            self.problems.append(problem)

    def _write(self, row: Row) -> int | None:
        columns = self._columns(row)
        if columns is None:
            return None
        found: int | None = self._guarded(row, lambda: self._upsert(row, columns))
        if found is not None:
            self.ids[row.table, key_of(row)] = found
        return found

    def _overflow(self, row: Row) -> None:
        """Clusters name each other: which one takes over is written when all are there."""
        overflow = None
        if row.values["overflow"] is not None:
            overflow = self._id(row, "overflow", REFERENCES["overflow"])
            if overflow is None:
                return
        identity = self.ids["clusters", key_of(row)]
        counts = replace(self.counts)
        columns = {"overflow_cluster_id": overflow}
        self._guarded(row, lambda: self._update(sql.Identifier("public", "clusters"), identity, columns))
        # The row was counted when its name was written.
        changed = self.counts.changed > counts.changed and identity not in self.made
        self.counts = replace(counts, changed=counts.changed + changed, unchanged=counts.unchanged - changed)

    def _columns(self, row: Row) -> dict[str, Any] | None:
        """Database columns of the row; None: it names a row that is missing (said) or has failed (said before)."""
        columns: dict[str, Any] = dict(digests_of(row))
        missing = False
        references = dict(REFERENCES)
        skipped = set(MADE_FROM)
        if row.table == "numbers":
            references["extension"] = NUMBER_EXTENSION
        if row.table == "clusters":
            skipped.add("overflow")
        if row.table == "emergency_routes":
            references["number"] = EMERGENCY_NUMBER
            skipped.add("country")
        for name, value in row.values.items():
            if name in skipped:
                continue
            if name not in references:
                listed = SHAPES[row.table].columns[name] in LISTS
                columns[name] = value.split() if value is not None and listed else value
            elif value is not None:
                identity = self._id(row, name, references[name])
                missing = missing or identity is None
                columns[references[name].column] = identity
            else:
                columns[references[name].column] = None
        for name in KEYS[row.table]:
            columns.setdefault(name, None)
        if row.table == "extensions" and columns.get("kind") is None:
            kinds = [kind for kind in _LEADING if row.values.get(kind)]
            columns["kind"] = kinds[0] if kinds else "user"
        return None if missing else columns

    def _id(self, row: Row, name: str, reference: Reference) -> int | None:
        named = {theirs: row.values.get(mine) for theirs, mine in reference.match.items()}
        target = SHAPES[reference.table].key
        key = (
            target.format_map(
                {column: named.get(column) or "*" for column in SHAPES[reference.table].columns}
            )
            if named
            else str(row.values[name])
        )
        if (reference.table, key) in self.failed:
            self.failed.add((row.table, key_of(row)))
            return None
        if (reference.table, key) not in self.ids:
            found = self.connection.execute(reference.statement.encode(), row.values).fetchone()
            if found is None:
                self._fail(
                    row,
                    f"{name}: {row.values[name]} is not in {reference.table}; add it there or correct the name",
                )
                return None
            self.ids[reference.table, key] = int(found[0])
        return self.ids[reference.table, key]

    def _upsert(self, row: Row, columns: dict[str, Any]) -> int:
        table = sql.Identifier("public", row.table)
        keys = KEYS[row.table]
        found = self.connection.execute(
            sql.SQL("SELECT id FROM {} WHERE {}").format(
                table,
                sql.SQL(" AND ").join(
                    sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier(key), sql.Placeholder(key))
                    if columns[key] is None
                    else sql.SQL("{} = {}").format(sql.Identifier(key), sql.Placeholder(key))
                    for key in keys
                ),
            ),
            columns,
        ).fetchone()
        if found is None:
            given = {name: value for name, value in columns.items() if value is not None}
            added = self.connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
                    table,
                    sql.SQL(", ").join(map(sql.Identifier, given)),
                    sql.SQL(", ").join(map(sql.Placeholder, given)),
                ),
                given,
            ).fetchone()
            self.counts.added += 1
            if added and row.table == "clusters":
                self.made.add(int(added[0]))
            return int(added[0]) if added else 0
        # Nothing given for a column that must have a value: it keeps the one it has.
        rest = {
            name: value
            for name, value in columns.items()
            if name not in keys and (value is not None or (row.table, name) not in self.required)
        }
        self._update(table, int(found[0]), rest)
        return int(found[0])

    def _update(self, table: sql.Identifier, identity: int, columns: dict[str, Any]) -> None:
        if columns:
            names = list(columns)
            changed = self.connection.execute(
                sql.SQL("UPDATE {} SET {} WHERE id = {} AND ({})").format(
                    table,
                    sql.SQL(", ").join(
                        sql.SQL("{} = {}").format(sql.Identifier(name), _new_value(name, columns[name]))
                        for name in names
                    ),
                    sql.Placeholder("row_id"),
                    sql.SQL(" OR ").join(
                        sql.SQL("{} IS DISTINCT FROM {}").format(
                            sql.Identifier(name), _new_value(name, columns[name])
                        )
                        for name in names
                    ),
                ),
                {**columns, "row_id": identity},
            ).rowcount
            if changed:
                self.counts.changed += 1
                return
        self.counts.unchanged += 1


def _new_value(name: str, value: Any) -> sql.Composable:
    return sql.SQL("NULL") if value is None else sql.Placeholder(name)
