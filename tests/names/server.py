"""A real PowerDNS for the tests, as `dialplane agent install names` sets it up: on the rows, or on transferred zones.

It runs in a container with the host's network and listens on a loopback address of its own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
from click.testing import CliRunner

from controller.cli import main
from tests.images import server_image

PORT = 5300


class NameServer:
    """`rows`: libpq URL it reads; or `primary`: `address:port` whose zones it keeps. State lies in `home`."""

    def __init__(
        self,
        home: Path,
        address: str,
        *,
        rows: str | None = None,
        primary: str | None = None,
        secondaries: Sequence[str] = (),
        mounts: Sequence[Path] = (),
        more: Sequence[str] = (),
    ) -> None:
        self.home, self.address, self.mounts = home, address, (home, *mounts)
        self.name = f"names-{os.getpid()}-{address.replace('.', '-')}"
        (home / "zones").mkdir(parents=True, exist_ok=True)
        source = ["--primary", primary] if primary else ["--database", str(rows)]
        done = CliRunner().invoke(
            main,
            ["agent", "install", "names", "--address", address, "--port", str(PORT), *source,
             *(part for one in secondaries for part in ("--secondary", one)),
             "--configuration", str(home), "--zones", str(home / "zones"), "--socket-dir", str(home), *more],
        )  # fmt: skip
        assert done.exit_code == 0, done.output

    @property
    def where(self) -> str:
        """As `--server` takes it."""
        return f"{self.address}:{PORT}"

    def start(self, limit_s: float = 15) -> None:
        """Start it, and return when it answers. RuntimeError with its log when it does not."""
        image = server_image("names")
        if image is None:
            raise RuntimeError("no image with PowerDNS: build dialplane-names, or set DIALPLANE_NAMES_IMAGE")
        mounts = (part for one in self.mounts for part in ("-v", f"{one}:{one}"))
        subprocess.run(
            ["docker", "run", "-d", "--name", self.name, "--network", "host", "--entrypoint", "pdns_server", *mounts,
             image, f"--config-dir={self.home}"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                self.ask("dialplane.internal.", "SOA", timeout_s=0.3)
            except (OSError, dns.exception.DNSException):
                time.sleep(0.05)
            else:
                return
        log = self.log()
        self.remove()
        raise RuntimeError(f"PowerDNS did not come up:\n{log}")

    def ask(self, name: str, kind: str, *, timeout_s: float = 3, tcp: bool = False) -> dns.message.Message:
        """One question."""
        question = dns.message.make_query(name, kind, use_edns=0, payload=1232, flags=0)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(question, self.address, timeout_s, PORT)

    def answers(self, name: str, kind: str = "SRV") -> list[str]:
        """The data of an answer, sorted; the rcode if it has none."""
        reply = self.ask(name, kind)
        found = sorted(one.to_text() for rrset in reply.answer for one in rrset)
        return found or [dns.rcode.to_text(reply.rcode())]

    def log(self) -> str:
        """What it wrote."""
        done = subprocess.run(
            ["docker", "logs", self.name], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout + done.stderr

    def restart(self) -> None:
        """Kill and start again."""
        self.remove()
        self.start()

    def remove(self) -> None:
        """Kill it."""
        subprocess.run(["docker", "rm", "-f", self.name], check=False, capture_output=True, timeout=60)
