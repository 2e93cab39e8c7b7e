"""Recordings of a media node: what somebody asked to remove, and what was kept long enough, goes.

The files are Asterisk's, below `<folder>/<account>/`; the agent, of the same group, may remove them and reads none.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from controller.calls import recorded
from controller.calls.store import Connection

log = logging.getLogger(__name__)

LOOK_S = 10.0
AGE_S = 3600.0
NOT_THERE = "it was not there any more"


class Recordings:
    """`folder`: where Asterisk of this node keeps recordings."""

    def __init__(self, node: str, folder: Path) -> None:
        self._node, self._folder = node, folder
        self._left: list[str] = []

    async def follow(self, connection: Connection) -> None:
        """Until the connection breaks: what is asked for soon, what is old once in an hour."""
        aged_at = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            old = not aged_at or now >= aged_at + AGE_S
            # What is left over is taken up at once.
            if not await self.remove_due(connection, old=old) and old:
                aged_at = now
            await asyncio.sleep(LOOK_S)

    async def remove_due(self, connection: Connection, *, old: bool) -> int:
        """Remove what is due, at most a batch; how many files. `old`: what was kept long enough too."""
        count = 0
        for path, because in await recorded.due(connection, self._node, old=old, but=self._left):
            try:
                found = await asyncio.to_thread(self._remove, Path(path))
            except OSError as error:
                # Not again before the agent restarts: nothing changes by itself.
                self._left.append(path)
                why = error.strerror or str(error)
                log.warning("%s: recording %s is not removed (%s): %s", self._node, path, because, why)
                continue
            why = because if found else NOT_THERE
            await recorded.removed(connection, self._node, path, why)
            log.info("%s: recording %s removed: %s", self._node, path, why)
            count += 1
        return count

    def _remove(self, file: Path) -> bool:
        """False: it was not there. OSError: it cannot be removed, or is no file that the agent may touch."""
        if file.parent.parent != self._folder or ".." in file.parts or file.parent.is_symlink():
            raise OSError(f"not a file of an account below {self._folder}")
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        return True
