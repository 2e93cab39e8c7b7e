"""What can be said of the rows of a company without a database: columns, values, names given twice. Changes nothing."""

from __future__ import annotations

from controller.schema.company import Company, Row
from controller.schema.digests import MADE_FROM
from controller.schema.forms import SECRET, SHAPES, wanted


def key_of(row: Row) -> str:
    """Natural name of the row, for messages and to find it again."""
    shape = SHAPES[row.table]
    values = {name: row.values.get(name) for name in shape.columns}
    return shape.key.format_map(
        {name: shape.absent if value is None else value for name, value in values.items()}
    )


class Judge:
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
        for secret, digests in MADE_FROM.items():
            if secret in given and given & set(digests) & set(shape.columns):
                self._problem(row, row.place(secret), f"{secret}: give it or its digest, not both")
        if row.table == "trunks" and "password" in given and not {"auth_user", "auth_realm"} <= given:
            self._problem(row, row.place("password"), "password needs auth_user and auth_realm beside it")
