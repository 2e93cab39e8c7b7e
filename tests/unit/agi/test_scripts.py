"""The scripts that Asterisk starts for a call, driven over pipes as it drives them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from controller.wire.agi_caller import request, words
from tests.unit.agi.place import SALES, filled, stage

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "asterisk" / "agi-bin"
DECIDE = ("group", "sales", "acme", "call-1", "+49301234567", "", "", "carrier-a", "600", "de", "0")


class Done(NamedTuple):
    variables: dict[str, str]
    code: int
    errors: str


def run(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    evaluate: Callable[[str], str] = lambda _: "",
    replies: int = 1000,
) -> Done:
    """One call. After `replies` replies the caller is gone: standard input ends."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTS / script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    variables: dict[str, str] = {}
    with process:
        process.stdin.write(request(script, arguments).decode())
        process.stdin.flush()
        for number, line in enumerate(process.stdout):
            said = words(line.rstrip("\n"))
            if number >= replies:
                process.stdin.close()
                break
            match said:
                case ["SET", "VARIABLE", name, value]:
                    variables[name] = value
                    process.stdin.write("200 result=1\n")
                case ["GET", "FULL", "VARIABLE", expression]:
                    process.stdin.write(f"200 result=1 ({evaluate(expression)})\n")
                case _:
                    pytest.fail(f"no command: {line!r}")
            process.stdin.flush()
        process.stdout.close()
        errors = process.stderr.read()
        code = process.wait(timeout=60)
    return Done(variables, code, errors)


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with a state file and no database."""
    filled(tmp_path / "state.db").close()
    return {
        "DIALPLANE_STATE": str(tmp_path),
        "DIALPLANE_DATABASE": "host=127.0.0.1 port=1",
        "DIALPLANE_KIND": "media",
    }


def test_a_decision_is_that_of_the_server(place: dict[str, str]) -> None:
    done = run("dialplane-decide", DECIDE, place)
    assert (done.code, done.errors) == (0, "")
    assert done.variables["DP_STEP_1"] == "dp-legs,s,1(bob@acme.example,15,)"
    assert done.variables["DP_STEPS"] == "3"
    assert list(done.variables)[-1] == "DP_STEPS"


def test_headers_are_asked_and_values_arrive_whole(place: dict[str, str], tmp_path: Path) -> None:
    state = filled(tmp_path / "state.db")
    stage(state, 2, policy__main={"otherwise": "busy", "rules": [
        {"position": 1, "comment": 'the "big" one', "if": {"header": ["X-Campaign", "a (b) c"]},
         "do": {"action": "group", "target": "sales"}},
    ]})  # fmt: skip
    state.close()
    done = run("dialplane-decide", ("policy", "main", *DECIDE[2:]), place, evaluate=lambda _: "A (b) C")
    assert done.variables["DP_STEP_1"] == "dp-next,s,1(group:sales,20)"
    assert 'rule 1 (the "big" one)' in done.variables["DP_WHY_1"]


def test_turns_without_a_database_begin_anew(place: dict[str, str], tmp_path: Path) -> None:
    state = filled(tmp_path / "state.db")
    stage(state, 2, group__sales={**SALES, "strategy": "round_robin"})
    state.close()
    assert run("dialplane-decide", DECIDE, place).variables["DP_STEPS"] == "3"


def test_no_state_file_is_no_decision_and_is_said(place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "state.db").unlink()
    done = run("dialplane-decide", DECIDE, place)
    assert done.variables["DP_STEPS"] == "0"
    assert "state.db" in done.variables["DP_WHY"]
    assert done.code == 1
    assert done.errors.startswith("dialplane-decide: state file ")


@pytest.mark.parametrize("replies", [0, 1, 4])
def test_a_caller_that_hangs_up_ends_it(place: dict[str, str], replies: int) -> None:
    done = run("dialplane-decide", DECIDE, place, replies=replies)
    assert len(done.variables) == replies
    assert done.code == 1
    assert "Traceback" not in done.errors
    assert len(done.errors.splitlines()) == 1


def test_too_few_arguments_are_said(place: dict[str, str]) -> None:
    done = run("dialplane-decide", ("group",), place)
    assert "at least kind, name, account, call_id are needed" in done.errors


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text('+4930123456,"Miller ""Bob"" \\ Söhne",group:support\nodd\n', encoding="utf-8")
    return path


def test_the_example_finds_a_caller(customers: Path) -> None:
    done = run("example-site.py", (str(customers), "+4930123456"))
    assert done == ({"SITE_NAME": 'Miller "Bob" \\ Söhne', "SITE_STEP": "group:support"}, 0, "")


def test_the_example_knows_nobody_else_and_says_what_it_cannot_read(customers: Path) -> None:
    assert run("example-site.py", (str(customers), "+491")) == ({"SITE_NAME": "", "SITE_STEP": ""}, 0, "")
    done = run("example-site.py", ("/no/such/file", "+491"))
    assert (done.variables, done.code) == ({}, 1)
    assert "/no/such/file" in done.errors
    assert run("example-site.py", (str(customers), "+4930123456"), replies=1).code == 0


FEATURES = (ROOT / "controller" / "docs" / "features.md").read_text()


def test_the_example_is_tried_by_a_pipe_as_the_documents_say(tmp_path: Path) -> None:
    """The page of features, and the script's own text: their commands, in a shell."""
    python, text = "/opt/dialplane/bin/python", (SCRIPTS / "example-site.py").read_text()
    for name in ("example-site.py", "my-site.py"):
        (tmp_path / name).write_text(text.replace(python, sys.executable, 1))
        (tmp_path / name).chmod(0o755)
    [block] = re.findall(r"^```console\n(\$ echo .*?)^```", FEATURES, re.DOTALL | re.MULTILINE)
    made, told, *printed = block.replace("\\\n", " ").replace(python, sys.executable).splitlines()
    [own] = re.findall(r"^    (printf .*)$", text, re.MULTILINE)
    for command in (told.removeprefix("$ "), own):
        done = subprocess.run(
            ["bash", "-c", f"{made.removeprefix('$ ')}; {command}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.stdout.splitlines(), done.stderr, done.returncode) == (printed, "", 0)


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir() if path.is_file()))
def test_a_script_can_be_started(script: str) -> None:
    assert os.access(SCRIPTS / script, os.X_OK)
    assert (SCRIPTS / script).read_text().startswith("#!/opt/dialplane/bin/python\n")
