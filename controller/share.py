"""Where the files that travel with the package are: templates and the servers' fixed base files."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def share_dir(name: str) -> Path:
    """Folder `templates`, `asterisk` or `kamailio`: the installed copy, else the one of the source tree."""
    installed = _HERE / "share" / name
    return installed if installed.is_dir() else _HERE.parent / name


def templates_dir() -> Path:
    """Folder of the templates."""
    return share_dir("templates")


def fixed_files(server: str) -> list[Path]:
    """The fixed configuration files of `kamailio` or `asterisk`, as the package has them."""
    return [path for path in sorted(share_dir(server).iterdir()) if path.suffix in (".cfg", ".conf", ".sql")]
