"""Shells that stay open inside containers: `docker exec` takes longer to begin than most commands take to run."""

from __future__ import annotations

import os
import re
import selectors
import shlex
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from contextlib import suppress

KILLED = 137  # what `docker exec` says when its container goes


class Shell:
    """`sh` in a container, one command after another. Not for two threads at once."""

    def __init__(self, container: str, user: str) -> None:
        who = ["--user", user] if user else []
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", *who, container, "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def open(self) -> bool:
        """Whether it can take a command: its container is the one it was begun in."""
        return self._process.poll() is None

    def close(self) -> None:
        """Nothing more is read of what it runs."""
        self._process.kill()
        self._process.communicate()

    def run(self, command: str, stdin: str, limit_s: float) -> tuple[int, str, str]:
        """Exit status, what it wrote to stdout and stderr. subprocess.TimeoutExpired; the shell is of no use then."""
        mark = uuid.uuid4().hex
        given = f"<<'{mark}'\n{stdin}\n{mark}" if stdin else "</dev/null"
        script = f"{command} {given}\nprintf '\\n{mark} %d\\n' $?\nprintf '\\n{mark} 0\\n' >&2\n"
        ended = re.compile(rb"\n" + mark.encode() + rb" (\d+)\n")
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        with suppress(BrokenPipeError):  # its end is read below
            self._process.stdin.write(script.encode())
        heard = {self._process.stdout: b"", self._process.stderr: b""}
        deadline = time.monotonic() + limit_s
        with selectors.DefaultSelector() as listening:
            for stream in heard:
                listening.register(stream, selectors.EVENT_READ, stream)
            while listening.get_map():
                ready = listening.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(command, limit_s, *heard.values())
                for key, _ in ready:
                    more = os.read(key.fd, 1 << 16)
                    heard[key.data] += more
                    if not more or ended.search(heard[key.data], len(heard[key.data]) - len(mark) - 16):
                        listening.unregister(key.fileobj)
        parts = [ended.split(text) for text in heard.values()]
        out, err = (part[0].decode(errors="replace") for part in parts)
        return int(parts[0][1]) if len(parts[0]) > 1 else KILLED, out, err


_idle: dict[tuple[str, str], list[Shell]] = defaultdict(list)
_lock = threading.Lock()


def run(
    container: str, *command: str, stdin: str = "", limit_s: float = 60, user: str = ""
) -> tuple[int, str, str]:
    """Runs a command in a container by a shell that is free there, or a new one; see Shell.run."""
    shell = None
    with _lock:
        while shell is None and (idle := _idle[container, user]):
            shell = one if (one := idle.pop()).open() else None
    shell = shell or Shell(container, user)
    try:
        done = shell.run(shlex.join(command), stdin, limit_s)
    except (subprocess.TimeoutExpired, OSError):
        shell.close()
        raise
    if shell.open():
        with _lock:
            _idle[container, user].append(shell)
    return done
