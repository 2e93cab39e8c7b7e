"""The running compose stack, as the tests and the demonstration use it: through its own containers."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests import shells

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROJECT = "dialplane"
SAMPLE = "/sample/acme.yaml"  # inside `ops`


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command."""

    command: str
    exit: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"$ {self.command}\n(exit {self.exit})\n{self.out}{self.err}"


def container(service: str) -> str:
    """Name of the one container of a service."""
    return f"{PROJECT}-{service}-1"


def execute(
    service: str, *command: str, stdin: str | None = None, limit_s: float = 60, user: str = ""
) -> Done:
    """Runs a command inside a container. subprocess.TimeoutExpired when it takes longer than `limit_s`."""
    done = shells.run(container(service), *command, stdin=stdin or "", limit_s=limit_s, user=user)
    return Done(" ".join(command), *done)


# Containers have no pkill. All are found before the first is signalled.
_SIGNAL = """
found=
for one in /proc/[0-9]*; do
    [ ${one#/proc/} = $$ ] && continue
    case $(tr '\\0' ' ' <$one/cmdline) in $2) found="$found ${one#/proc/}";; esac
done 2>/dev/null
[ "$found" ] && kill -$1 $found
"""


def signal(service: str, name: str, command: str) -> None:
    """Sends a signal to the processes of a container whose command fits the shell pattern; AssertionError: none."""
    done = execute(service, "sh", "-c", _SIGNAL, "sh", name, command, user="root")
    assert done.exit == 0, f"no process {command!r} in {service}: {done}"


@contextmanager
def frozen(service: str, command: str) -> Iterator[None]:
    """Those processes stand still (SIGSTOP) inside the block, and go on after it."""
    signal(service, "STOP", command)
    try:
        yield
    finally:
        signal(service, "CONT", command)


def dialplane(*arguments: str, expect: int | None = 0, limit_s: float = 60) -> Done:
    """The command line at the operator's seat; AssertionError when it does not end with `expect` (None: anything)."""
    done = execute("ops", "dialplane", *arguments, user="dialplane", limit_s=limit_s)
    assert expect is None or done.exit == expect, str(done)
    return done


def sql(statement: str) -> str:
    """Rows of a statement as the admin role, tab-separated lines; AssertionError on an SQL error."""
    script = 'exec psql -X -q -A -t -F "\t" -v ON_ERROR_STOP=1 "$DIALPLANE_DATABASE"'
    done = execute("ops", "sh", "-c", script, stdin=statement, user="dialplane")
    assert done.exit == 0, str(done)
    return done.out.rstrip("\n")


def documents(statement: str) -> list[dict[str, Any]]:
    """Rows of a SELECT as dictionaries."""
    return list(json.loads(sql(f"SELECT coalesce(json_agg(one), '[]') FROM ({statement}) one")))


def until(look: Callable[[], T], what: str, limit_s: float = 10, pause_s: float = 0.2) -> T:
    """What `look` returns as soon as it is true; AssertionError naming `what` when it never is."""
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(pause_s)
    return found


def compose(*arguments: str, limit_s: float = 120) -> Done:
    """`docker compose` on the stack; AssertionError when it fails."""
    done = subprocess.run(
        ["docker", "compose", "--profile", "calls", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    result = Done(f"docker compose {' '.join(arguments)}", done.returncode, done.stdout, done.stderr)
    assert result.exit == 0, str(result)
    return result


def healthy(service: str) -> bool:
    """Whether Docker calls the service's container healthy."""
    form = "{{.State.Running}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
    done = subprocess.run(
        ["docker", "inspect", "--format", form, container(service)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() in ("true healthy", "true")


def newest_call(since: str, account: str | None = None) -> dict[str, Any] | None:
    """The newest complete call record that started after `since` (a timestamp of `now`)."""
    who = f" AND account = '{account}'" if account else ""
    found = documents(
        f"SELECT * FROM control.call_records WHERE started_at >= '{since}' AND complete{who} "
        "ORDER BY started_at DESC LIMIT 1"
    )
    return found[0] if found else None


def now() -> str:
    """The database's clock."""
    return sql("SELECT clock_timestamp()")


@contextmanager
def site(content: str, *nodes: str) -> Iterator[None]:
    """These media nodes have that file of the site's own; `@node@` in it is their name."""
    path = "/etc/asterisk/dialplane-local/site.conf"

    def run(command: str, content: str = "") -> None:
        shell = ("sh", "-c", f"{command} && asterisk -rx 'dialplan reload'")
        for node in nodes:
            done = execute(node, *shell, stdin=content.replace("@node@", node), user="root")
            assert done.exit == 0, done

    run(f"cat >{path}", content)
    try:
        yield
    finally:
        run(f"rm {path}")
