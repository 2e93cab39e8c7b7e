"""The machine an agent runs on."""

from __future__ import annotations

import psutil

# Of what was known before, at each look: about three looks decide.
_KEPT = 0.6


class Load:
    """How busy the processors are, smoothed over the last looks, for one who looks about once a second."""

    def __init__(self) -> None:
        psutil.cpu_percent()
        self._pct: float | None = None

    def look(self) -> int:
        """Percent of all processors since the look before, with those before it in mind."""
        now = psutil.cpu_percent()
        self._pct = now if self._pct is None else _KEPT * self._pct + (1 - _KEPT) * now
        return round(self._pct)
