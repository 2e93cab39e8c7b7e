"""A terminal for a command: what a person sees, types, and interrupts."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import TracebackType

# A shell gives what it starts in the background an ignored Ctrl-C, and so to the tests, and so to the command.
_COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from controller.cli import main
main()"""
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`with Terminal(url, "apply") as seen:` runs the command on a pseudo-terminal of 110 columns."""

    def __init__(self, url: str, *arguments: str, **environment: str) -> None:
        self._url, self._arguments, self._environment = url, arguments, environment
        self.raw = ""

    def __enter__(self) -> Terminal:
        self._ours, theirs = os.openpty()
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *self._arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=environment | {"DIALPLANE_DATABASE": self._url, "TERM": "xterm-256color", "COLUMNS": "110"}
            | self._environment,
        )  # fmt: skip
        os.close(theirs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was written until now, without colours and movements."""
        return _SEQUENCE.sub("", self.raw).replace("\r", "")

    def until(self, words: str, limit_s: float = 20) -> None:
        """Read until this was written."""
        ends = time.monotonic() + limit_s
        while words not in self.text:
            assert self._read(ends - time.monotonic()), f"{words!r} is not in:\n{self.text}"

    def type(self, text: str) -> None:
        """What a person types; `\\x03` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def interrupted(self) -> int:
        """Ctrl-C, as often as a person presses it: readline may be about to wait, and not hear the first. Exit code."""
        for _ in range(20):
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return self.end(limit_s=1)
        raise AssertionError(f"it does not end:\n{self.text}")

    def end(self, limit_s: float = 20) -> int:
        """Read until the command ends; its exit code."""
        ends = time.monotonic() + limit_s
        while self._read(ends - time.monotonic()):
            pass
        return self.process.wait(max(0.1, ends - time.monotonic()))

    def _read(self, limit_s: float) -> bool:
        """One piece of output; False: there is no more, or none in time."""
        if not select.select([self._ours], [], [], max(0.0, limit_s))[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the last writer is gone
            return False
        self.raw += piece.decode(errors="replace")
        return bool(piece)
