"""`dialplane try`: everything but servers, by anybody, on any machine, within seconds; and completion in shells."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.cli import main

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
MAIN = "from controller.cli import main; main()"
LIMIT_S = 30


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where anybody may write. Short: a Unix socket's path holds 103 bytes on some systems."""
    path = Path("/tmp") / f"dp-try-{os.getpid()}"
    path.mkdir(0o700)
    if user := python()[1]:
        shutil.chown(path, user)
    yield path
    shutil.rmtree(path)


def for_others(program: Path) -> bool:
    """Whether a user without rights may run it."""
    found = program.resolve()
    return all(one.stat().st_mode & stat.S_IXOTH for one in (found, *found.parents))


def python() -> tuple[list[str], str | None]:
    """A Python with what this one has, and the user to run it as: never root, if there is a way."""
    if os.geteuid() != 0 or not for_others(ROOT):
        return [sys.executable], None
    if for_others(Path(sys.executable)):
        return [sys.executable], "nobody"
    other = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    return ([str(other)], "nobody") if other.exists() else ([sys.executable], None)


def run(
    folder: Path, code: str, *arguments: str, as_anybody: bool = True
) -> subprocess.CompletedProcess[str]:
    """In an empty environment: no PATH on which anything could be found, no database named."""
    program, user = python() if as_anybody else ([sys.executable], None)
    environment = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PATH": "/nonexistent" if user or os.geteuid() else os.environ["PATH"],  # root needs useradd
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(one for one in sys.path if "site-packages" in one)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [*program, "-c", code, *arguments], cwd=folder, env=environment,
        user=user, group=pwd.getpwnam(user).pw_gid if user else None, extra_groups=[] if user else None,
        capture_output=True, text=True, timeout=2 * LIMIT_S, check=False,
    )  # fmt: skip


def test_a_place_for_its_socket_that_others_can_write_is_said_with_the_remedy(folder: Path) -> None:
    folder.chmod(0o777)
    done = run(folder, MAIN, "plan")
    assert done.returncode == 1
    assert "writable by another user; set XDG_RUNTIME_DIR" in done.stderr
    assert "a defect" not in done.stderr


def whole(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """The plan, the files, one call explained."""
    assert done.returncode == 0, done.stderr
    assert re.search(r"^plan [0-9a-f]{6} +on revision \d+ +4 nodes$", done.stdout, re.M)
    assert "+ account acme " in done.stdout
    assert re.search(r"^\d+ add, 0 change, 0 remove; .*; safe$", done.stdout, re.M)
    assert re.search(r"ring bob@acme\.example for 15 s +extension 102 of acme is user bob", done.stdout)
    assert re.search(r"then voicemail 102 +if no answer", done.stdout)
    here = folder / "dialplane-try"
    told = [one.strip() for one in done.stdout.splitlines() if one.startswith("  dialplane-try/")]
    assert sorted(told) == sorted(str(one.relative_to(folder)) for one in here.rglob("*") if one.is_file())
    assert "exten => 102,1," in (here / "media/c1/dialplan/account-acme.conf").read_text()
    assert "md5=***" in (here / "edge/all/credential.txt").read_text()
    # Its database is thrown away, and no process of it is left.
    assert [one.name for one in folder.iterdir() if "dialplane-try-" in one.name] == []


def test_try_shows_all_of_it_to_anybody(folder: Path) -> None:
    began = time.monotonic()
    done = run(folder, MAIN, "try")
    took_s = time.monotonic() - began
    whole(folder, done)
    assert took_s < LIMIT_S
    assert re.search(r"^\[ *\d+\.\d s\] done; ", done.stderr, re.M)


@pytest.mark.skipif(sys.platform != "linux", reason="another machine is the real thing")
def test_try_needs_nothing_that_only_linux_has(folder: Path) -> None:
    whole(
        folder,
        run(folder, f"from tests.database import other_machine; other_machine.become(); {MAIN}", "try"),
    )


@pytest.mark.skipif(sys.platform != "linux", reason="another machine is the real thing")
@pytest.mark.parametrize(
    "code",
    [
        "import os; os.sched_getaffinity(0)",
        "import select; select.epoll()",
        "import socket; socket.AF_NETLINK",
        "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(chr(0) + 'x')",
        "import socket; socket.create_connection(('192.0.2.1', 1), 0.1)",
        "from pathlib import Path; Path('/proc/self/stat').read_text()",
        "import os; os.listdir('/proc')",
        "import subprocess; subprocess.run(['docker', 'ps'])",
        "import sys; assert sys.platform == 'linux'",
        "import platform; assert platform.system() == 'Linux'",
    ],
)
def test_the_other_machine_has_it_not(folder: Path, code: str) -> None:
    """What is asked of it here would work on this one, or fail for another reason."""
    ours = f"exec(compile({code!r}, {str(ROOT / 'controller' / 'x.py')!r}, 'exec'))"
    done = run(folder, f"from tests.database import other_machine; other_machine.become(); {ours}")
    assert done.returncode == 1
    assert re.search(
        r"AttributeError|on this machine|no network|AssertionError", done.stderr.splitlines()[-1]
    ), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_options_and_choices(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complete(words: str, last: str) -> list[str]:
        """What the shell's script is told when it asks."""
        position = last if shell == "fish" else str(len(words.split()) - (not words.endswith(" ")))
        asked = {"_DIALPLANE_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": position}
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            main(prog_name="dialplane")
        lines = capsys.readouterr().out.splitlines()
        # zsh: three lines for each; the others: type,value and in fish a help behind a tab.
        return lines[1::3] if shell == "zsh" else [one.split(",", 1)[1].partition("\t")[0] for one in lines]

    assert complete("dialplane no", "no") == ["node"]
    assert complete("dialplane node dr", "dr") == ["drain"]
    assert complete("dialplane node list --for", "--for") == ["--format"]
    assert complete("dialplane node list --format ", "") == ["text", "json", "tsv"]
    assert complete("dialplane completion z", "z") == ["zsh"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_that_way(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "completion", shell],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert f"_DIALPLANE_COMPLETE={shell}_complete" in done.stdout
    if program := shutil.which(shell):
        read = subprocess.run([program, "-n"], input=done.stdout, text=True, capture_output=True, check=False)
        assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_with_the_script_completes(tmp_path: Path) -> None:
    command = tmp_path / "dialplane"
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c \'from controller.cli import main; main(prog_name="dialplane")\' "$@"\n'
    )
    command.chmod(0o755)
    script = """eval "$(dialplane completion bash)"; COMP_WORDS=(dialplane node dr); COMP_CWORD=2
        _dialplane_completion dialplane; echo "${COMPREPLY[@]}"; complete -p dialplane"""
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == "drain"
    assert "-F _dialplane_completion dialplane" in done.stdout
