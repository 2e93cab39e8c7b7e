"""Failures in words."""

from __future__ import annotations

from controller.agent.server import Failures

_SHOWN = 3


def texts(failures: Failures) -> str | None:
    """The first few, for people; None: no failure."""
    shown = [f"{table} {key}: {why}" for (table, key), why in list(failures.items())[:_SHOWN]]
    more = len(failures) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "") or None


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
