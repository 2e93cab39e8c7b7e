"""Where addresses are, from a file in MaxMind's format (https://maxmind.github.io/MaxMind-DB/): GeoLite2 City, DB-IP
City, or one of your own.

    places = Places(Path("/var/lib/GeoIP/GeoLite2-City.mmdb"))
    places("198.51.100.9")  # (latitude, longitude) in degrees, or None
"""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

from controller.errors import InputError

log = logging.getLogger("dialplane.fraud")

_LOOK_S = 60.0
_KEPT = 50_000


class Places:
    """The file. One that replaces it is read a minute later; one that cannot be read changes nothing."""

    def __init__(self, path: Path) -> None:
        """InputError: no such file, not of that format, or the library is missing."""
        try:
            import maxminddb
        except ImportError:
            raise InputError("--places needs a package: pip install 'dialplane[places]'") from None
        self._path, self._open, self._bad = path, maxminddb.open_database, maxminddb.InvalidDatabaseError
        self._mode = maxminddb.MODE_MEMORY
        self._read: tuple[int, int] | None = None
        self._reader: Any = None
        # A start reads many lines of the same addresses.
        self._find = functools.lru_cache(_KEPT)(self._found)
        self._failing = ""
        self._look_at = 0.0
        self._look()
        if self._reader is None:
            raise InputError(f"--places {path}: {self._failing}")

    def __call__(self, address: str) -> tuple[float, float] | None:
        """(latitude, longitude); None: nobody knows."""
        if time.monotonic() >= self._look_at:
            self._look()
        return self._find(address)

    def _found(self, address: str) -> tuple[float, float] | None:
        try:
            said = self._reader.get(address)
        except (ValueError, TypeError, self._bad):
            return None  # no address, or one of IPv6 where the file has none
        where: Any = said.get("location") if isinstance(said, dict) else None
        try:
            return float(where["latitude"]), float(where["longitude"])
        except (TypeError, KeyError, ValueError):
            return None

    def _look(self) -> None:
        self._look_at = time.monotonic() + _LOOK_S
        try:
            found = self._path.stat()
            if self._read == (found.st_mtime_ns, found.st_ino):
                return
            # Into memory: what is mapped would go away, and this process too, when somebody writes over the file.
            self._reader = self._open(str(self._path), self._mode)
            self._find.cache_clear()
        except (OSError, ValueError, self._bad) as error:
            if self._failing != str(error):
                self._failing = str(error)
                log.warning("%s: %s: what was read before still holds", self._path, error)
            return
        self._read, self._failing = (found.st_mtime_ns, found.st_ino), ""
        log.info("places of addresses from %s", self._path)
