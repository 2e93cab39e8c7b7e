"""Files of a node: whole or not at all, and only below one directory."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from controller.errors import UnsafeValue

# Names a configuration file needs; no leading dot, so neither `..` nor a hidden file.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}")


class Directory:
    """One directory whose files are ours. Paths are relative to it; UnsafeValue for one that would leave it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, relative: str) -> Path:
        """Where that file stands. No symbolic link may lead out."""
        parts = relative.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise UnsafeValue(f"file {relative!r}: not a plain path below {self.root}")
        path = self.root.joinpath(*parts)
        for parent in (*path.relative_to(self.root).parents, path.relative_to(self.root)):
            if (self.root / parent).is_symlink() and self.root / parent != self.root:
                raise UnsafeValue(f"file {relative!r}: {self.root / parent} is a symbolic link")
        return path

    def read(self, relative: str) -> str | None:
        """Content, None if there is no such file. Bytes that are no UTF-8 are shown escaped."""
        try:
            return self.path(relative).read_bytes().decode(errors="backslashreplace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, relative: str, content: str) -> None:
        """Replace the file: written beside, flushed to disk, renamed. A reader sees the old or the new one."""
        path = self.path(relative)
        try:
            data = content.encode()
        except UnicodeEncodeError:
            raise UnsafeValue(f"file {relative!r}: the content is not valid text") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o640)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        _flush_directory(path.parent)

    def remove(self, relative: str) -> None:
        """Remove the file, if it is there."""
        path = self.path(relative)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            _flush_directory(path.parent)

    def names(self) -> list[str]:
        """Every file below, relative, without those being written (their names begin with a dot)."""
        if not self.root.is_dir():
            return []
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )


def _flush_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fingerprints(places: Iterable[Path], without: Iterable[Path] = ()) -> dict[str, str]:
    """Path to SHA-256 (hex) of every file at or below `places`, but those below `without`.

    A file that cannot be read has the fingerprint `unreadable`.
    """
    apart = tuple(without)
    found: dict[str, str] = {}
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_dir() or any(path.is_relative_to(other) for other in apart):
                continue
            try:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                continue
            except OSError:
                found[str(path)] = "unreadable"
    return found
