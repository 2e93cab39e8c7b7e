"""Load a company: every problem is reported at once, and nothing changes if there is one.

Rows are found by their natural names; loading the same again changes nothing. Rows that the file does not hold stay.
Passwords and PINs become digests here; neither they nor digests appear in a message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from controller.errors import BadRows
from controller.schema.company import Company, Row, read_company
from controller.schema.decision_forms import LISTS
from controller.schema.explain import explain
from controller.schema.forms import SECRET, SHAPES, wanted

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
        return _Judge(company).problems
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


def key_of(row: Row) -> str:
    """Natural name of the row, for messages and to find it again."""
    shape = SHAPES[row.table]
    values = {name: row.values.get(name) for name in shape.columns}
    return shape.key.format_map(
        {name: shape.absent if value is None else value for name, value in values.items()}
    )


class _Judge:
    """What can be said of the rows without a database. `bad` holds the rows with a problem, by identity."""

    def __init__(self, company: Company) -> None:
        self.problems = list(company.problems)
        self.bad: set[int] = set()
        for table in SHAPES:
            seen: dict[str, str] = {}
            for row in company.rows.get(table, ()):
                self._row(row)
                key = key_of(row)
                if key in seen:
                    self._problem(row, row.where, f"stands here twice (also {seen[key]}); keep one")
                seen.setdefault(key, row.where)

    def _problem(self, row: Row, where: str, text: str) -> None:
        self.bad.add(id(row))
        self.problems.append(f"{where}: {row.table} {key_of(row)}: {text}")

    def _row(self, row: Row) -> None:
        shape = SHAPES[row.table]
        for name, value in row.values.items():
            if name not in shape.columns:
                names = ", ".join(shape.columns)
                self._problem(row, row.place(name), f"{name}: no such column; there are {names}")
            elif value is not None and (words := wanted(shape.columns[name], value)):
                shown = "it" if name in SECRET else repr(value)
                self._problem(row, row.place(name), f"{name}: {shown} must be {words}")
        for name in shape.needed:
            if row.values.get(name) is None:
                self._problem(row, row.where, f"{name} is missing: it needs a value")
        given = {name for name, value in row.values.items() if value is not None}
        for secret, digests in _MADE_FROM.items():
            if secret in given and given & set(digests) & set(shape.columns):
                self._problem(row, row.place(secret), f"{secret}: give it or its digest, not both")
        if row.table == "trunks" and "password" in given and not {"auth_user", "auth_realm"} <= given:
            self._problem(row, row.place("password"), "password needs auth_user and auth_realm beside it")


_MADE_FROM = {"password": ("ha1_md5", "ha1_sha256", "auth_ha1_md5"), "pin": ("pin_digest",)}


def _digests(row: Row) -> dict[str, str]:
    """Digest columns of the password or PIN of a row."""
    values = row.values
    if values.get("pin") is not None:
        secret = f"{values.get('mailbox') or values['conference']}@{values['account']}:{values['pin']}"
        return {"pin_digest": hashlib.sha1(secret.encode(), usedforsecurity=False).hexdigest()}
    if values.get("password") is None:
        return {}
    if row.table == "trunks":
        secret = f"{values['auth_user']}:{values['auth_realm']}:{values['password']}"
        return {"auth_ha1_md5": hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest()}
    secret = f"{values['name']}:{values['domain']}:{values['password']}"
    return {
        "ha1_md5": hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest(),
        "ha1_sha256": hashlib.sha256(secret.encode()).hexdigest(),
    }


@dataclass(frozen=True, slots=True)
class _Reference:
    """A name in a file that stands for the id of a row: in which table, under which of its columns."""

    column: str
    table: str
    match: dict[
        str, str
    ]  # column of the other table in files -> column of this row; none: the value is its key
    statement: str


_IN_ACCOUNT = (
    "SELECT r.id FROM public.{table} AS r JOIN public.accounts AS a ON a.id = r.account_id "
    "WHERE a.name = %(account)s AND r.{name} = %({value})s"
)


def _by_name(column: str, table: str, value: str) -> _Reference:
    return _Reference(
        column, table, {"name": value}, f"SELECT id FROM public.{table} WHERE name = %({value})s"
    )


def _in_account(column: str, table: str, name: str, value: str) -> _Reference:
    return _Reference(
        column,
        table,
        {"account": "account", name: value},
        _IN_ACCOUNT.format(table=table, name=name, value=value),
    )


_REFERENCES = {
    "account": _by_name("account_id", "accounts", "account"),
    "cluster": _by_name("cluster_id", "clusters", "cluster"),
    "device_group": _by_name("device_group_id", "device_groups", "device_group"),
    "trunk": _by_name("trunk_id", "trunks", "trunk"),
    "user": _in_account("user_id", "users", "name", "user"),
    "domain": _in_account("domain_id", "domains", "name", "domain"),
    "device": _Reference(
        "device_id",
        "devices",
        {},
        "SELECT d.id FROM public.devices AS d JOIN public.accounts AS a ON a.id = d.account_id "
        "JOIN public.domains AS o ON o.id = d.domain_id "
        "WHERE a.name = %(account)s AND d.name || '@' || o.name = %(device)s",
    ),
    "list": _in_account("list_id", "caller_lists", "name", "list"),
    "caller_list": _in_account("caller_list_id", "caller_lists", "name", "caller_list"),
    "caller_group": _in_account("caller_group_id", "groups", "name", "caller_group"),
    "schedule": _in_account("schedule_id", "schedules", "name", "schedule"),
    "group": _in_account("group_id", "groups", "name", "group"),
    "menu": _in_account("menu_id", "menus", "name", "menu"),
    "policy": _in_account("policy_id", "policies", "name", "policy"),
    "queue": _in_account("queue_id", "queues", "name", "queue"),
    "conference": _in_account("conference_id", "conferences", "name", "conference"),
    "page": _in_account("page_id", "pages", "name", "page"),
    "park": _in_account("parking_lot_id", "parking_lots", "name", "park"),
}
_NUMBER_EXTENSION = _in_account("extension_id", "extensions", "extension", "extension")
_EMERGENCY_NUMBER = _Reference(
    "emergency_number_id",
    "emergency_numbers",
    {"country": "country", "number": "number"},
    "SELECT id FROM public.emergency_numbers WHERE country = %(country)s AND number = %(number)s",
)
# Columns of the database that find the row again; the owner is among them, so that no row changes hands by a load.
_KEYS = {
    "settings": ("name",),
    "clusters": ("name",),
    "device_groups": ("name",),
    "nodes": ("name",),
    "accounts": ("name",),
    "trunks": ("account_id", "name"),
    "trunk_addresses": ("trunk_id", "address"),
    "domains": ("account_id", "name"),
    "users": ("account_id", "name"),
    "devices": ("account_id", "domain_id", "name"),
    "voicemail_boxes": ("account_id", "mailbox"),
    "extensions": ("account_id", "extension"),
    "numbers": ("account_id", "e164"),
    "routes": ("account_id", "prefix", "trunk_id"),
    "emergency_numbers": ("country", "number"),
    "emergency_routes": ("emergency_number_id", "trunk_id"),
    "caller_lists": ("account_id", "name"),
    "caller_list_entries": ("account_id", "list_id", "pattern"),
    "schedules": ("account_id", "name"),
    "schedule_times": (
        "account_id",
        "schedule_id",
        "days",
        "from_time",
        "to_time",
        "from_date",
        "to_date",
    ),
    "schedule_days": ("account_id", "schedule_id", "day", "from_time"),
    "groups": ("account_id", "name"),
    "group_members": ("account_id", "group_id", "user_id", "device_id", "number"),
    "menus": ("account_id", "name"),
    "menu_choices": ("account_id", "menu_id", "digits"),
    "policies": ("account_id", "name"),
    "policy_rules": ("account_id", "policy_id", "position"),
    "forwardings": ("account_id", "user_id", "position"),
    "queues": ("account_id", "name"),
    "queue_members": ("account_id", "queue_id", "user_id"),
    "conferences": ("account_id", "name"),
    "conference_pins": ("account_id", "conference_id", "moderator"),
    "parking_lots": ("account_id", "name"),
    "pages": ("account_id", "name"),
}
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
        judge = _Judge(company)
        self.connection = connection
        self.company = company
        self.problems = judge.problems
        self.bad = judge.bad
        self.failed = {(row.table, key_of(row)) for row in self._all_rows() if id(row) in judge.bad}
        self.counts = Counts()
        self.ids: dict[tuple[str, str], int] = {}
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

    def _columns(self, row: Row) -> dict[str, Any] | None:
        """Database columns of the row; None: it names a row that is missing (said) or has failed (said before)."""
        columns: dict[str, Any] = dict(_digests(row))
        missing = False
        references = dict(_REFERENCES)
        skipped = set(_MADE_FROM)
        if row.table == "numbers":
            references["extension"] = _NUMBER_EXTENSION
        if row.table == "emergency_routes":
            references["number"] = _EMERGENCY_NUMBER
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
        for name in _KEYS[row.table]:
            columns.setdefault(name, None)
        if row.table == "extensions" and columns.get("kind") is None:
            kinds = [kind for kind in _LEADING if row.values.get(kind)]
            columns["kind"] = kinds[0] if kinds else "user"
        return None if missing else columns

    def _id(self, row: Row, name: str, reference: _Reference) -> int | None:
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
        keys = _KEYS[row.table]
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
