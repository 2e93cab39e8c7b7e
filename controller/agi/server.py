"""The resident AGI server: takes connections, bounds them, counts what goes wrong, and ends cleanly.

It listens on this machine alone: there is no authentication in AGI. Whatever goes wrong, the call goes on by the
fallback in its dialplan.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import Awaitable, Callable

from controller.errors import BadPolicy, DialplaneError, InputError, StateError, TemplateError
from controller.wire.agi import REQUEST_BYTES, Broken, Session

PORT = 4573
DEADLINE_S = 2.0
# Descriptors for everything that is no session: listener, state file, database, logs.
_OTHER_FILES = 64
_BACKLOG = 1024
# Failures of one kind are told at once, then in sums at this pace.
_TOLD_EVERY_S = 10.0

# Kinds of failure beside those of the wire; `full`, `slow` and `defect` are this file's own.
_KINDS: dict[type[DialplaneError], str] = {StateError: "state", BadPolicy: "policy", TemplateError: "policy"}

log = logging.getLogger(__name__)


class Failures:
    """Exchanges without a decision: counted by kind, and told without a flood."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: str | None = None
        self._told: dict[str, tuple[float, int]] = {}

    def error(self, error: DialplaneError) -> None:
        """One more, by the kind of its error."""
        kind = error.kind if isinstance(error, Broken) else _KINDS.get(type(error), "failed")
        self.note(kind, str(error))

    def note(self, kind: str, sentence: str) -> None:
        """One more."""
        self.counts[kind] += 1
        self.last = sentence
        now = asyncio.get_running_loop().time()
        at, count = self._told.get(kind, (now - _TOLD_EVERY_S, 0))
        if now - at >= _TOLD_EVERY_S:
            more = self.counts[kind] - count - 1
            log.warning("no decision: %s%s", sentence, f" (and {more} more of kind {kind})" if more else "")
            self._told[kind] = (now, self.counts[kind])


class Server:
    """One listener. `answer` does an exchange; what it raises ends it, is told and counted."""

    def __init__(
        self,
        answer: Callable[[Session], Awaitable[None]],
        *,
        failures: Failures,
        port: int = PORT,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.failures = failures
        self.port = port
        self._answer = answer
        self._deadline_s = deadline_s
        self._open: set[asyncio.Task[None]] = set()
        self._limit = 0
        self._listener: asyncio.Server | None = None

    @property
    def open(self) -> int:
        """Sessions that are open now."""
        return len(self._open)

    async def start(self) -> None:
        """Listen; port 0 takes a free one. InputError: the port is taken."""
        self._limit = raised_limit() - _OTHER_FILES
        try:
            self._listener = await asyncio.start_server(
                self._session, "127.0.0.1", self.port, limit=REQUEST_BYTES, backlog=_BACKLOG
            )
        except OSError as error:
            raise InputError(
                f"AGI server: 127.0.0.1:{self.port}: {error.strerror}; another one is running there, or choose"
                " DIALPLANE_AGI_PORT (and the same in the dialplan)"
            ) from None
        self.port = self._listener.sockets[0].getsockname()[1]
        log.info(
            "listening on 127.0.0.1:%d, %d sessions at most, %g s each",
            self.port,
            self._limit,
            self._deadline_s,
        )

    async def stop(self) -> None:
        """Take no new call; open exchanges end by themselves, within their deadline. Calls that are kept go on in their
        dialplan, which asks again."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._open:
            log.info("stopping: %d open sessions end first", len(self._open))
            _, kept = await asyncio.wait(self._open, timeout=self._deadline_s)
            for task in kept:
                task.cancel()
            if kept:
                await asyncio.wait(kept)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a session is a task of asyncio.start_server")
        self._open.add(task)
        try:
            if len(self._open) > self._limit:
                files = self._limit + _OTHER_FILES
                self.failures.note(
                    "full",
                    f"full: {self._limit} sessions are open, more do not fit into RLIMIT_NOFILE = {files};"
                    " raise LimitNOFILE= of dialplane-agi.service, or find out why they stay open",
                )
                return
            async with asyncio.timeout(self._deadline_s) as limit:
                await self._answer(Session(reader, writer, deadline_s=self._deadline_s, limit=limit))
        except TimeoutError:
            self.failures.note("slow", f"slow: the decision was not made within {self._deadline_s:g} s")
        except DialplaneError as error:
            self.failures.error(error)
        except Exception as error:  # the outermost door of a session: the call goes on by its fallback
            log.exception("no decision: this is a defect")
            self.failures.note("defect", f"{type(error).__name__}: {error}")
        finally:
            writer.close()
            self._open.discard(task)


def raised_limit() -> int:
    """Open files this process may have, as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20
