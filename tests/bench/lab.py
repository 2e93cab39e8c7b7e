"""The place of one run: its images, its containers, its folder. All of it is removed at the end, also on Ctrl-C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.bench.postgres import Postgres
    from tests.bench.world import World

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("postgres", "controller", "edge", "media", "names", "phones")
# Containers are named <PREFIX>-<process id>-<what>.
PREFIX = os.environ.get("DIALPLANE_BENCH_PREFIX", "dialplane-bench")
# Set: images <value>-<target> are used as they are. Otherwise they are built from the working tree.
IMAGES = os.environ.get("DIALPLANE_BENCH_IMAGES")
_BUILD_ARGUMENTS = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")


def say(sentence: str) -> None:
    """Progress, with the time and the load average of the last minute."""
    print(
        f"{time.strftime('%H:%M:%S')} [load {os.getloadavg()[0]:.1f}] {sentence}", file=sys.stderr, flush=True
    )


class Failed(RuntimeError):
    """A benchmark could not be carried out: which command said what."""


class Lab:
    """`with Lab() as lab`: make containers, run commands in them."""

    def __init__(self, names: Collection[str] = ()) -> None:
        # Benchmarks of this run.
        self.names = names
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-"))
        self.folder.chmod(0o755)
        self._made: list[str] = []
        self._networks: list[str] = []
        self._built = False
        self._shared: dict[str, Any] = {}
        self._worlds: dict[int, World] = {}

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        say("removing everything that was made")
        for world in self._worlds.values():
            world.close()
        for name in reversed(self._made):
            subprocess.run(["docker", "rm", "-f", "-v", name], check=False, capture_output=True, timeout=120)
        for name in self._networks:
            subprocess.run(["docker", "network", "rm", name], check=False, capture_output=True, timeout=60)
        # Files of users of the containers.
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- shared between benchmarks -----------------------------------------------------------------

    @property
    def postgres(self) -> Postgres:
        """The one PostgreSQL, started when first asked for."""
        from tests.bench.postgres import Postgres

        return self.shared("postgres", Postgres)

    def world(self, accounts: int) -> World:
        """The database of so many accounts; benchmarks share it."""
        from tests.bench.world import World

        if accounts not in self._worlds:
            self._worlds[accounts] = World(self, accounts)
        return self._worlds[accounts]

    def shared(self, name: str, make: Callable[[Lab], T]) -> T:
        """What `make` makes, once in a run; a failure stays one."""
        if name not in self._shared:
            try:
                self._shared[name] = make(self)
            except Failed as error:
                self._shared[name] = error
        if isinstance(self._shared[name], Failed):
            raise self._shared[name]
        made: T = self._shared[name]
        return made

    def tidy(self, to_come: Collection[str]) -> None:
        """Removes what no benchmark to come uses: an installation has its machine, and its memory, for itself."""
        for name in [name for name, made in self._shared.items() if not _used(made, to_come)]:
            del self._shared[name]
        kept = {name for world in self._worlds.values() for name in world.containers.values()}
        kept |= {name for made in self._shared.values() for name in getattr(made, "containers", ())}
        for name in [name for name in reversed(self._made) if name not in kept]:
            self.remove(name)

    # --- containers -------------------------------------------------------------------------------

    def build(self) -> None:
        """Images of the working tree. Layers that did not change are kept from earlier builds."""
        if IMAGES or self._built:
            return
        arguments = [f"--build-arg={name}={os.environ.get(name, '')}" for name in _BUILD_ARGUMENTS]
        for target in TARGETS:
            say(f"image {target}")
            self.command(
                ["docker", "build", "-q", "-f", "controller/Dockerfile", "--target", target,
                 "-t", image(target), *arguments, "."], timeout_s=900,
            )  # fmt: skip
        self._built = True

    def start(
        self, what: str, target: str, *options: str, command: Sequence[str] = (), network: str = "none"
    ) -> str:
        """A container in the background; its name. `network` may be `container:<name>`."""
        name = f"{PREFIX}-{os.getpid()}-{what}"
        self._made.append(name)
        self.command(
            ["docker", "run", "-d", "--name", name, "--network", network, *options, image(target), *command]
        )
        return name

    def network(self) -> tuple[str, str]:
        """A network of this run's own, without a way out: its name, and the first three octets of its addresses."""
        name = f"{PREFIX}-{os.getpid()}-{len(self._networks)}"
        for number in range(250):
            net = f"10.215.{(os.getpid() + number) % 250}"
            try:
                self.command(["docker", "network", "create", "--internal", "--subnet", f"{net}.0/24", name])
            except Failed as error:
                if "overlap" not in str(error):
                    raise
            else:
                self._networks.append(name)
                return name, net
        raise Failed("no network is free in 10.215.0.0/16")

    def remove(self, name: str) -> None:
        """Stop a container at once and forget it."""
        self.command(["docker", "rm", "-f", "-v", name])
        self._made.remove(name)

    def execute(self, name: str, *command: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a command in a container; its standard output. Failed with what it said."""
        return self.command(["docker", "exec", *(["-i"] if stdin else []), name, *command], stdin, timeout_s)

    def running(self, name: str) -> bool:
        """Whether a container still runs."""
        return self.command(["docker", "inspect", "-f", "{{.State.Running}}", name]).strip() == "true"

    def logs(self, name: str, lines: int = 20) -> str:
        """The last lines a container wrote."""
        done = subprocess.run(
            ["docker", "logs", "--tail", str(lines), name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    def command(self, command: Sequence[str], stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run it from the root of the repository; its standard output. Failed with what it said."""
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=ROOT
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command)[:300]}: not done after {timeout_s:.0f} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(command)[:300]}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout


def _used(made: object, to_come: Collection[str]) -> bool:
    """Whether a benchmark to come shares it. Attribute `users`: which do; without it, all."""
    return not hasattr(made, "users") or not set(made.users).isdisjoint(to_come)


def image(target: str) -> str:
    """Name of the image of that target of controller/Dockerfile."""
    return f"{IMAGES or 'dialplane-bench'}-{target}"
