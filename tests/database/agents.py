"""What agents would report, for tests that have no servers."""

from __future__ import annotations

import threading
from types import TracebackType

import psycopg

KINDS = {f"edge{n}": "edge" for n in (1, 2)} | {f"media{n}": "media" for n in (1, 2, 3, 4)}
_SAYS = """
    INSERT INTO control.node_state (node, kind, revision, heard_at, last_error, pending)
    SELECT %(node)s, %(kind)s, coalesce(max(id), 0), clock_timestamp(), %(error)s, %(pending)s FROM control.revisions
    ON CONFLICT (node) DO UPDATE SET
        revision = CASE WHEN %(pending)s > 0 THEN node_state.revision ELSE excluded.revision END,
        heard_at = excluded.heard_at, last_error = excluded.last_error, pending = excluded.pending"""


class Agents:
    """`with Agents(url, "media1", edge1="no answer"):` those nodes report the newest revision, 20 times a second; one
    that is named with an error reports that beside it. `pending`: operations these have not done.
    """

    def __init__(self, url: str, *nodes: str, pending: int = 0, **failing: str) -> None:
        self._url = url
        self._pending = pending
        self._says: dict[str, str | None] = dict.fromkeys(nodes) | failing
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Agents:
        report(self._url, self._says, self._pending)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.05):
            report(self._url, self._says, self._pending)


def report(url: str, says: dict[str, str | None], pending: int = 0) -> None:
    """One report of each, and one more: that a node takes calls again is a revision."""
    with psycopg.connect(url, autocommit=True) as connection:
        for node, error in [*says.items(), *says.items()]:
            connection.execute(
                _SAYS, {"node": node, "kind": KINDS[node], "error": error, "pending": pending if error else 0}
            )


def silent(url: str, node: str, for_s: float) -> None:
    """The node reported the newest revision, so long ago, and nothing since."""
    report(url, {node: None})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE control.node_state SET heard_at = clock_timestamp() - make_interval(secs => %s) WHERE node = %s",
            (for_s, node),
        )
