"""What every node would hold, as files to read: `dialplane try`, and a look before an apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import Connection

from controller.plan.reasons import redact


def write_files(connection: Connection[Any], folder: Path) -> list[Path]:
    """Write the published entries below `folder`, one file per table of a node (per context for the dialplan).

    Secrets are left out: the files are for eyes. Returns what was written.
    """
    lines: dict[Path, list[str]] = {}
    rows = connection.execute(
        'SELECT kind, scope, tbl, key, value FROM control.entries ORDER BY kind, scope, tbl, key COLLATE "C"'
    )
    for kind, scope, table, key, value in rows:
        where = folder / kind / ("all" if scope == "*" else scope)
        if table == "dialplan":
            context, _, extension = key.partition("/")
            dialplan = lines.setdefault(where / "dialplan" / f"{context}.conf", [f"[{context}]"])
            dialplan += [
                f"exten => {extension},{number},{line}" for number, line in enumerate(value.split("\n"), 1)
            ]
        elif table == "file":
            lines[where / key] = value.rstrip("\n").split("\n")
        else:
            lines.setdefault(where / f"{table}.txt", []).append(f"{key}  {redact(table, value)}")
    for path, content in lines.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(content) + "\n")
    return sorted(lines)
