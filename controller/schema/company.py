"""A company as people write it: a YAML file with everything, or a folder of CSV files, one per table.

Reading keeps every value as it is written (`country: NO` stays NO, `number: 0123` keeps its zero) and remembers
file and line of each. What the values mean is judged in `importer.py`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from controller.errors import InputError

_SIZE_LIMIT = 64 * 1024 * 1024
_DEPTH_LIMIT = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, its values as written (None: empty), and `file:line` of the row and of each value."""

    table: str
    where: str
    values: dict[str, str | None]
    places: dict[str, str] = field(default_factory=dict)

    def place(self, column: str) -> str:
        """`file:line` of a value."""
        return self.places.get(column, self.where)


@dataclass(slots=True)
class Company:
    """All rows of a file or folder, by table, and what was wrong with its shape."""

    source: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """One more row."""
        self.rows.setdefault(row.table, []).append(row)


# Tables written inside an account in YAML, and lists inside a row: table, list -> table, column, inherited columns.
_IN_ACCOUNT = (
    "domains",
    "users",
    "devices",
    "extensions",
    "numbers",
    "voicemail_boxes",
    "trunks",
    "routes",
    *("caller_lists", "schedules", "groups", "queues", "menus", "policies", "conferences"),
    *("parking_lots", "pages", "fraud_rules", "fraud_allows", "fraud_permissions"),
)
_AT_TOP = (
    "settings",
    "clusters",
    "device_groups",
    "nodes",
    "trunks",
    "routes",
    "emergency_numbers",
    "accounts",
    *("fraud_rules", "fraud_allows", "fraud_permissions"),
)
_BARE = ("clusters", "device_groups", "domains")
_LISTS = {
    ("trunks", "addresses"): ("trunk_addresses", "address", {"trunk": "name"}),
    ("emergency_numbers", "trunks"): (
        "emergency_routes",
        "trunk",
        {"country": "country", "number": "number"},
    ),
    ("caller_lists", "entries"): ("caller_list_entries", "pattern", {"account": "account", "list": "name"}),
    ("schedules", "times"): ("schedule_times", "", {"account": "account", "schedule": "name"}),
    ("schedules", "days"): ("schedule_days", "day", {"account": "account", "schedule": "name"}),
    ("groups", "members"): ("group_members", "user", {"account": "account", "group": "name"}),
    ("queues", "members"): ("queue_members", "user", {"account": "account", "queue": "name"}),
    ("menus", "choices"): ("menu_choices", "", {"account": "account", "menu": "name"}),
    ("policies", "rules"): ("policy_rules", "", {"account": "account", "policy": "name"}),
    ("conferences", "pins"): ("conference_pins", "", {"account": "account", "conference": "name"}),
    ("accounts", "services"): ("account_services", "", {"account": "name"}),
    ("users", "forwardings"): ("forwardings", "", {"account": "account", "user": "name"}),
}
# Lists whose order is that of the rows: the column that says so.
_PLACED = {
    "emergency_routes": "priority",
    "group_members": "position",
    "queue_members": "position",
    "policy_rules": "position",
    "forwardings": "position",
}
# Several words in one column: a list or a text.
_WORDS = (
    ("accounts", "flags"),
    ("schedule_times", "days"),
    ("queues", "required_skills"),
    ("users", "record_calls"),
    ("queue_members", "skills"),
    *(("fraud_rules", column) for column in ("destinations", "days", "actions")),
)
CSV_TABLES = tuple(dict.fromkeys((*_AT_TOP, *_IN_ACCOUNT, *(table for table, _, _ in _LISTS.values()))))


def read_company(path: Path) -> Company:
    """The rows of a YAML file, or of a folder of `<table>.csv` files.

    InputError when it cannot be read at all; what is wrong with its shape stands in `problems`.
    """
    return _read_folder(path) if path.is_dir() else _read_yaml(path)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise InputError(f"{path}: larger than {_SIZE_LIMIT >> 20} MB; split it")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


class _Loader(yaml.SafeLoader):
    """Composes nodes only. No aliases: a few lines of them can stand for a billion rows."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases and deep nesting before they cost anything."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        if self.depth > _DEPTH_LIMIT:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _read_yaml(path: Path) -> Company:
    try:
        root = yaml.compose(_text(path), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    reader = _Reader(path, Company(str(path)))
    if root is None:
        reader.company.problems.append(f"{path}: empty; write tables such as accounts and trunks")
    else:
        reader.top(root)
    return reader.company


class _Reader:
    """Walks a composed YAML document into rows."""

    def __init__(self, path: Path, company: Company) -> None:
        self.path = path
        self.company = company

    def where(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

    def problem(self, node: yaml.Node, text: str) -> None:
        self.company.problems.append(f"{self.where(node)}: {text}")

    def top(self, root: yaml.Node) -> None:
        for name, node in self.pairs(root, "the file"):
            if name not in _AT_TOP:
                self.problem(node, f"{name}: no such table; there are {', '.join(_AT_TOP)}")
            elif name == "settings" and isinstance(node, yaml.MappingNode):
                for setting, value in self.pairs(node, name):
                    text = self.scalar(value, f"settings {setting}")
                    where = self.where(value)
                    self.company.add(Row(name, where, {"name": setting, "value": text}))
            else:
                self.table(name, node, {})

    def pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{what}: expected `name: value` lines")
            return
        seen: set[str] = set()
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self.problem(name, f"{what}: a name is expected before the colon")
            elif name.value in seen:
                self.problem(name, f"{what}: {name.value} is written twice; keep one")
            else:
                seen.add(name.value)
                yield name.value, value

    def scalar(self, node: yaml.Node, what: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, f"{what}: one value is expected, not a list or lines")
            return None
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)

    def table(self, table: str, node: yaml.Node, inherited: dict[str, str | None]) -> None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, f"{table}: expected a list, one `- ` per row")
            return
        for item in node.value:
            if table in _BARE and isinstance(item, yaml.ScalarNode):
                self.company.add(Row(table, self.where(item), {**inherited, "name": str(item.value)}))
            else:
                self.row(table, item, inherited)

    def row(self, table: str, node: yaml.Node, inherited: dict[str, str | None]) -> None:
        values = dict(inherited)
        places: dict[str, str] = {}
        below: list[tuple[str, yaml.Node]] = []
        for name, value in self.pairs(node, table):
            if (table == "accounts" and name in _IN_ACCOUNT) or (table, name) in _LISTS:
                below.append((name, value))
            elif name in inherited:
                self.problem(value, f"{table}: {name} is given by the {name} it stands in; leave it out")
            elif (table, name) in _WORDS and isinstance(value, yaml.SequenceNode):
                values[name] = " ".join(self.scalar(one, f"{table} {name}") or "" for one in value.value)
                places[name] = self.where(value)
            else:
                values[name] = self.scalar(value, f"{table} {name}")
                places[name] = self.where(value)
        self.company.add(Row(table, self.where(node), values, places))
        for name, value in below:
            if table == "accounts" and name in _IN_ACCOUNT:
                self.table(name, value, {"account": values.get("name")})
            else:
                self.list(table, name, value, values)

    def list(self, table: str, name: str, node: yaml.Node, values: dict[str, str | None]) -> None:
        target, column, carried = _LISTS[table, name]
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, f"{table} {name}: expected a list")
            return
        for place, item in enumerate(node.value):
            row = {mine: values.get(theirs) for mine, theirs in carried.items()}
            if not column or isinstance(item, yaml.MappingNode):
                self.row(target, item, row)
            else:
                row[column] = self.scalar(item, f"{table} {name}")
                self.company.add(Row(target, self.where(item), row))
            if target in _PLACED:
                added = self.company.rows[target][-1]
                added.values.setdefault(_PLACED[target], str((place + 1) * 10))


def _read_folder(folder: Path) -> Company:
    company = Company(str(folder))
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise InputError(
            f"{folder}: no .csv file in it; there is one per table: accounts.csv, users.csv, ..."
        )
    for path in files:
        if path.stem not in CSV_TABLES:
            company.problems.append(f"{path}: no such table; there are {', '.join(CSV_TABLES)}")
            continue
        _read_csv(path, company)
    return company


def _read_csv(path: Path, company: Company) -> None:
    lines = csv.reader(_text(path).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if len(set(header)) != len(header):
            company.problems.append(f"{path}:1: a column is named twice; keep one")
            return
        for values in lines:
            where = f"{path}:{lines.line_num}"
            if not any(values):
                continue
            if len(values) != len(header):
                company.problems.append(
                    f"{where}: {len(values)} values for {len(header)} columns; quote values that hold a comma"
                )
                continue
            # An empty cell means "not given"; the empty prefix of a route is its own value.
            row = {
                name: value if value or name == "prefix" else None
                for name, value in zip(header, values, strict=True)
            }
            company.add(Row(path.stem, where, row))
    except csv.Error as error:
        company.problems.append(f"{path}:{lines.line_num}: not CSV: {error}")
