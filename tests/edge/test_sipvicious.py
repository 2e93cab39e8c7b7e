"""SIPVicious enumerates, cracks and invites; a good phone behind the same address works all the while."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.edge.conftest import DOMAIN, Make, running
from tests.edge.edge import ROOT, Edge
from tests.edge.message import challenge_of, credentials

pytestmark = pytest.mark.live
KNOWN_AGENT, MASKED_AGENT = "friendly-scanner", "SomePhone 1.0"
# Names that are devices of the company stand among others; so does the password, `secret`.
NAMES = ("100", "admin", "desk1", "lobby", "mobile", "reception", *map(str, range(200, 260)))
PASSWORDS = (*(f"guess{n}" for n in range(60)), "secret", "letmein")


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The edge with the log level and the flood limit that it has in service."""
    yield from running(net, tmp_path_factory, worker_log=-2)


def attack(edge: Edge, folder: Path, host: int, tool: str, agent: str, *arguments: str) -> str:
    """What the tool says, once it has given up."""
    source = edge.address.rsplit(".", 1)[0] + f".{host}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge.vicious", tool, agent, source, "-x", source, "-P", "5090",
         *arguments, *([] if tool == "svmap" else ["--maximumtime=3", "--domain", DOMAIN]), edge.address],
        cwd=ROOT, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def while_a_phone_works(make: Make, edge: Edge, host: int, *command: str, folder: Path) -> str:
    """The tool attacks from an address at which a phone is at home, which registers and calls meanwhile."""
    phone = make("desk1", host, port=0)
    phone.register()
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(attack, edge, folder, host, *command)
        turns = 0
        while not said.done() or turns < 3:
            phone.register()
            invite = phone.invite(f"sip:mobile@{DOMAIN}")
            assert phone.final(invite).status == 480, "mobile is not registered, and the caller is told"
            turns += 1
            time.sleep(0.2)
    phone.register(expires=0)
    return said.result()


def words(folder: Path, *lines: str) -> str:
    path = folder / "words.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("agent", [KNOWN_AGENT, MASKED_AGENT])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_it_learns_no_name(make: Make, edge: Edge, tmp_path: Path, method: str, agent: str) -> None:
    host = 50 + 2 * ["REGISTER", "INVITE", "OPTIONS"].index(method) + (agent == MASKED_AGENT)
    said = while_a_phone_works(
        make,
        edge,
        host,
        "svwar",
        agent,
        "--force",
        "-m",
        method,
        "-d",
        words(tmp_path, *NAMES),
        folder=tmp_path,
    )
    print(said)
    found = [line for line in said.splitlines() if line.startswith("|") and "xtension" not in line]
    # Either nobody, or everybody alike: a name that is a device's is told from no other.
    told = {name: any(f" {name} " in line for line in found) for name in ("desk1", "lobby", "admin", "200")}
    assert len(set(told.values())) == 1, said


def test_it_does_crack_what_it_guesses_at_once(make: Make, edge: Edge, tmp_path: Path) -> None:
    """Else the next test would say nothing."""
    said = while_a_phone_works(
        make, edge, 59, "svcrack", MASKED_AGENT, "-u", "lobby", "-d", words(tmp_path, *PASSWORDS[::-1]),
        folder=tmp_path,
    )  # fmt: skip
    assert "secret" in said, said


@pytest.mark.parametrize("agent", [KNOWN_AGENT, MASKED_AGENT])
def test_it_cracks_no_password(make: Make, edge: Edge, tmp_path: Path, agent: str) -> None:
    host = 60 + (agent == MASKED_AGENT)
    before = edge.refused("scanner"), edge.refused("flood")
    said = while_a_phone_works(
        make, edge, host, "svcrack", agent, "-u", "lobby", "-d", words(tmp_path, *PASSWORDS), folder=tmp_path
    )
    print(said)
    assert "secret" not in said, said
    after = edge.refused("scanner"), edge.refused("flood")
    stopped = [now - then for then, now in zip(before, after, strict=True)]
    assert stopped[agent == MASKED_AGENT] > 0, stopped


def test_a_scan_finds_an_edge_that_says_nothing_of_itself(make: Make, edge: Edge, tmp_path: Path) -> None:
    said = while_a_phone_works(make, edge, 62, "svmap", MASKED_AGENT, folder=tmp_path)
    print(said)
    assert "amailio" not in said
    assert edge.address not in while_a_phone_works(make, edge, 63, "svmap", KNOWN_AGENT, folder=tmp_path)


def test_who_knows_one_password_guesses_no_other_by_its_port(make: Make, edge: Edge) -> None:
    """Nor by the name of a device that is at home elsewhere."""
    victim, inside = make("lobby", 64), make("desk2", 65, port=0)
    victim.register()
    inside.register()
    registrar = f"sip:{DOMAIN}"

    def guess(number: int) -> bool:
        """Whether it was heard."""
        cseq = 100 + 2 * number
        inside.send("REGISTER", registrar, from_=f"<{victim.uri}>;tag=g", to=f"<{victim.uri}>", cseq=cseq)
        try:
            challenge = challenge_of(inside.expect(401, 0.3), "MD5")
            proof = credentials(challenge, "REGISTER", registrar, "lobby", f"guess{number}")
            inside.send(
                "REGISTER", registrar, from_=f"<{victim.uri}>;tag=g", to=f"<{victim.uri}>", cseq=cseq + 1,
                headers=(("Authorization", proof),),
            )  # fmt: skip
            inside.expect(401, 0.3)
        except TimeoutError:
            return False
        return True

    heard = sum(guess(number) for number in range(45))
    assert 25 <= heard <= 35, heard
    victim.register(expires=0)
