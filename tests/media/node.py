"""One media node in a container: fixed files of asterisk/, rendered local files, entries in its SQLite file."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from controller.compiler.media_local import Local, local_files
from tests import shells

ROOT = Path(__file__).parents[2]
BASE = ROOT / "asterisk"
SCHEMA = ROOT / "controller" / "agent" / "schema.sql"
SECRET = "for-tests-only"
START_LIMIT_S = 60.0
_NETS = itertools.count()


def docker(*arguments: str, limit_s: float = 60.0) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=limit_s
    )
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)[:200]}: {done.stdout}{done.stderr}")
    return done.stdout


def image() -> str | None:
    """An image with Asterisk: DIALPLANE_MEDIA_IMAGE, the stack's, or the experiments'; None: there is none."""
    wanted = (os.environ.get("DIALPLANE_MEDIA_IMAGE"), "dialplane-media")
    if shutil.which("docker") is None:
        return None
    for one in wanted:
        if (
            one
            and not subprocess.run(
                ["docker", "image", "inspect", one], capture_output=True, check=False
            ).returncode
        ):
            return one
    return None


class MediaNode:
    """`address` is where it listens for SIP; files it reads live in `folder` on this host.

    `beside`: the first of two nodes in one network, which is removed after the second.
    """

    def __init__(self, image: str, beside: MediaNode | None = None) -> None:
        self.name = f"c_media_{uuid.uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp(prefix="dialplane-media-"))
        self.folder.chmod(0o755)
        self.etc, self.state, self.spool = (self.folder / part for part in ("etc", "state", "spool"))
        for part in (self.etc, self.state, self.spool):
            part.mkdir(mode=0o777)
            part.chmod(0o777)
        shutil.copytree(BASE, self.etc, dirs_exist_ok=True)
        for below in ("dialplane-local", "dialplane.d"):
            (self.etc / below).mkdir()
        self.network: str = beside.network if beside else self.name
        net: str = beside.gateway.rpartition(".")[0] if beside else self._network()
        self.gateway: str = f"{net}.1"
        self.address: str = f"{net}.{22 if beside else 21}"
        for path, content in local_files(Local(self.address, SECRET)).items():
            (self.etc / "dialplane-local" / path).write_text(content)
        self.image = image

    def _network(self) -> str:
        """A network of its own: the first three octets of a /24 that nobody uses."""
        for _ in range(20):
            net = f"10.214.{(os.getpid() + next(_NETS)) % 250}"
            try:
                docker("network", "create", "--subnet", f"{net}.0/24", "--gateway", f"{net}.1", self.name)
            except RuntimeError as error:
                if "overlap" not in str(error):
                    raise
            else:
                return net
        raise RuntimeError("no free network in 10.214.0.0/16")

    def hold(self, dialplan: dict[str, str], mailboxes: dict[str, str], files: dict[str, str]) -> None:
        """Writes what the node holds, as its agent would."""
        path = self.state / "state.db"
        with sqlite3.connect(path) as database:
            database.executescript("PRAGMA journal_mode = WAL;" + SCHEMA.read_text())
            database.execute("DELETE FROM line")
            database.execute("DELETE FROM box")
            database.executemany(
                "INSERT INTO line VALUES (?, ?, ?, ?)",
                (
                    (*key.split("/", 1), number, f"{key.split('/', 1)[1]},{number},{line}")
                    for key, value in dialplan.items()
                    for number, line in enumerate(value.split("\n"), 1)
                ),
            )
            boxes = ((*key.split("@"), json.loads(value)) for key, value in mailboxes.items())
            database.executemany(
                "INSERT INTO box VALUES (?, ?, '', ?, ?, ?)",
                (
                    (box, account, it["fullname"], it["email"] or "", it["language"])
                    for box, account, it in boxes
                ),
            )
        database.close()
        for file in self.state.iterdir():
            file.chmod(0o666)
        for path_below, content in files.items():
            (self.etc / "dialplane.d" / path_below).write_text(content)

    def start(self) -> float:
        """Starts Asterisk as its own user; seconds until it said it was fully booted."""
        begin = time.monotonic()
        docker(
            "run", "-d", "--name", self.name, "--network", self.network, "--ip", self.address,
            "-v", f"{self.etc}:/etc/asterisk:ro", "-v", f"{self.state}:/var/lib/dialplane",
            "-v", f"{self.spool}:/var/spool/dialplane/calls", "--entrypoint", "sh", self.image,
            # As the units and the container of the stack start it.
            "-c", "umask 007 && exec asterisk -f -U asterisk -C /etc/asterisk/asterisk.conf",
        )  # fmt: skip
        while time.monotonic() < begin + START_LIMIT_S:
            if "fully booted" in self.cli("core waitfullybooted"):
                return time.monotonic() - begin
            time.sleep(0.1)
        raise RuntimeError(self.log())

    def cli(self, command: str) -> str:
        return shells.run(self.name, "asterisk", "-rx", command)[1]

    def sh(self, command: str) -> str:
        status, out, err = shells.run(self.name, "sh", "-c", command)
        if status:
            raise RuntimeError(f"{command[:200]}: {out}{err}")
        return out

    def log(self) -> str:
        done = subprocess.run(
            ["docker", "logs", self.name], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout + done.stderr

    def complaints(self) -> list[str]:
        """Warnings and errors since the start."""
        return [line for line in self.log().splitlines() if "WARNING" in line or "ERROR" in line]

    def events(self) -> list[dict[str, str]]:
        """Call events written so far."""
        path = self.spool / "media.jsonl"
        if not path.exists():
            return []
        try:
            text = path.read_text()
        except PermissionError:  # its owner is Asterisk's user
            text = self.sh("cat /var/spool/dialplane/calls/media.jsonl")
        return [json.loads(line) for line in text.splitlines()]

    def remove(self) -> None:
        own_network = (("network", "rm", self.name),) if self.network == self.name else ()
        for arguments in (("rm", "-f", self.name), *own_network):
            subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)
