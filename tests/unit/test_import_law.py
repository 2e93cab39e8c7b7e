"""The import law: a line of code knows what it may touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "controller"
PURE = ("compiler", "plan", "policy", "tiers")
# What no pure room imports: sockets, files of processes, SQL, clocks, randomness.
IMPURE = {
    "socket",
    "asyncio",
    "subprocess",
    "psycopg",
    "sqlite3",
    "time",
    "random",
    "panoramisk",
    "asterisk",
    "os",
}
PSYCOPG_ROOMS = ("desired", "revision", "schema")
# Pure files of a room that has a store.
PURE_FILES = (
    {f"queues/{name}.py" for name in ("engine", "waiting", "model", "statements", "callback")}
    | {
        "dns/names.py",
        "dns/compare.py",
        "agreement/compare.py",
        "agreement/digests.py",
        "moves/model.py",
        "moves/decide.py",
        "moves/say.py",
    }
    | {"provisioning/secret.py"}
    | {f"messages/{name}.py" for name in ("model", "decide", "settle", "cpim", "text")}
    | {
        f"fraud/{name}.py"
        for name in (
            *("__init__", "model", "windows", "metrics", "plans", "holding", "engine", "trial"),
            *(
                "destinations",
                "defaults",
                "baseline",
                "explain",
                "proposed",
                "report",
                "live",
                "ranges",
                "actions",
            ),
        )
    }
)
# Pure but for a generator of randomness that is given its seed.
SEEDED = ("fraud/corpus/",)
# A call waits for it: of the rooms, only what decides and what speaks AGI.
AGI_ROOMS = {f"controller.{room}" for room in ("agi", "policy", "queues", "wire", "errors")}
# Files outside those rooms that may speak SQL to PostgreSQL.
PSYCOPG_FILES = {
    "pipeline.py",
    "replay.py",
    "render.py",
    "cli/doctor.py",
    "reconciler.py",
    "mover.py",
    "cli/common.py",
    "cli/change.py",
    "wire/postgresql.py",
    "queues/rows.py",
    "messages/engine.py",
    "fraud/feed.py",
    "fraud/serve.py",
    "fraud/enforce.py",
    "fraud/nodes.py",
}


def _imports(path: Path) -> set[str]:
    """Top-level module names, and `controller.room`, that a file imports at run time, anywhere in it."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            found.add(name.partition(".")[0])
            found.add(".".join(name.split(".")[:2]))
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    relative = path.relative_to(ROOT)
    room = relative.parts[0]
    imports = _imports(path)
    seeded = str(relative).startswith(SEEDED)
    if room in PURE or str(relative) in PURE_FILES or seeded:
        assert not imports & (IMPURE - {"random"} if seeded else IMPURE)
        assert not {
            name
            for name in imports
            if name in {f"controller.{other}" for other in ("wire", "agent", "revision")}
        }
    if room == "agi":
        assert {name for name in imports if name.startswith("controller.")} <= AGI_ROOMS
    if "dns" in imports:  # dnspython
        assert room == "wire"
    if imports & {"panoramisk", "asterisk", "aiosmpplib"}:
        assert room == "wire"
    if "psycopg" in imports and room not in PSYCOPG_ROOMS:
        assert path.name == "store.py" or str(relative) in PSYCOPG_FILES


def test_the_law_sees_imports_inside_functions(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("def f():\n    from socket import socket\n    return socket\n")
    assert "socket" in _imports(sample)
