"""The company whose calls are decided: groups, policies, menus, forwardings. Its phones are called p1 to p4."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from controller.desired.model import (
    Account,
    CallerList,
    Device,
    Extension,
    Forwarding,
    Group,
    GroupMember,
    Menu,
    MenuChoice,
    Number,
    Policy,
    Step,
    User,
    VoicemailBox,
)
from tests.media.node import MediaNode

BUSY, HANGUP = Step("busy"), Step("hangup")
MOBILE, OWN = "+491701234567", "+4930666010"
# The identity of a group, and the number that leads back to it.
SHARED = "+4930666020"


def _user(name: str, permission: str = "national") -> User:
    return User(name, name.title(), None, None, permission, True)


def _device(name: str, owner: str) -> Device:
    return Device(name, "decided.example", owner, "0" * 32, "0" * 64, None, None, True)


def _group(name: str, *members: GroupMember, **changes: object) -> Group:
    values: dict[str, object] = {
        "strategy": "all", "ring_time_s": 4, "step_time_s": 2, "skip_busy": False, "one_call": False, "confirm": False,
        "caller_name_prefix": None, "identity": None, "on_busy": BUSY, "on_no_answer": HANGUP, "on_nobody": HANGUP,
    }  # fmt: skip
    return Group(name, name.title(), **(values | changes), members=members)  # type: ignore[arg-type]


def _to(number: str, kind: str, target: str) -> Extension:
    return Extension(number, kind, None, target, 20, HANGUP, HANGUP, HANGUP)


ALL = tuple(GroupMember(user=one) for one in ("ann", "ben"))

DECIDED = Account(
    name="dec-1", display_name="Decided", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930666000", domains=("decided.example",),
    users=(_user("ann", "international"), _user("ben"), _user("carl"), _user("dora")),
    devices=(_device("p1", "ann"), _device("p2", "ann"), _device("p3", "ben"), _device("p4", "carl")),
    extensions=(
        Extension("101", "user", "ann", None, 3, BUSY, HANGUP, HANGUP),
        Extension("103", "user", "carl", None, 3, BUSY, HANGUP, HANGUP),
        Extension("104", "user", "dora", None, 3, BUSY, HANGUP, HANGUP),
        _to("600", "group", "sales-1"), _to("601", "group", "empty"), _to("602", "group", "mobile"),
        _to("620", "group", "hunt-1"), _to("*31", "membership", "hunt-1"), _to("610", "policy", "main"),
        _to("700", "menu", "main-1"), _to("701", "menu", "sub"),
        _to("702", "menu", "round"), _to("703", "menu", "broken"),
        Extension("*43", "echo", None, None, 20, HANGUP, HANGUP, HANGUP),
    ),
    numbers=(Number(OWN, "600"), Number(SHARED, "620")),
    mailboxes=(VoicemailBox("101", "ann", "Ann", None, None, None),),
    lists=(CallerList("vip", ("+4940*",)),),
    forwardings=(
        Forwarding("carl", "busy", Step("extension", "101"), caller_list="vip"),
        Forwarding("carl", "busy", Step("voicemail", "101")),
        Forwarding("dora", "always", Step("extension", "101")),
    ),
    policies=(Policy("main", Step("extension", "101")),),
    groups=(
        _group(
            "sales-1", *ALL, strategy="fewest_calls", caller_name_prefix="Sales & more",
            on_no_answer=Step("extension", "103"),
        ),
        _group("empty", on_nobody=Step("extension", "101")),
        _group(
            "hunt-1", GroupMember(user="ann"), GroupMember(user="ben", outgoing=True), GroupMember(number=MOBILE),
            identity=SHARED, notices="phones", on_nobody=Step("extension", "103"),
        ),
        _group("mobile", GroupMember(number=MOBILE), confirm=True, on_no_answer=BUSY, ring_time_s=30),
    ),
    menus=(
        Menu(
            "main-1", "demo-congrats", 2, 2, None, Step("extension", "103"), Step("extension", "101"), True,
            (
                MenuChoice("1", Step("extension", "101")), MenuChoice("2", Step("menu", "sub")),
                MenuChoice("22", Step("group", "empty")), MenuChoice("#", Step("extension", "103")),
            ),
        ),
        Menu("sub", "vm-goodbye", 2, 1, "beep", HANGUP, BUSY, False, (MenuChoice("9", Step("menu", "main-1")),)),
        Menu("broken", "not-there", 5, 1, None, HANGUP, BUSY, False, (MenuChoice("9", Step("menu", "main-1")),)),
        Menu("round", "beep", 1, 1, None, Step("menu", "round"), HANGUP, False),
    ),
)  # fmt: skip

_SERVER = """
import json, os, socket, sys, threading, time
folder = "/var/spool/dialplane/calls/"
listener = socket.create_server(("127.0.0.1", 4573))
open(folder + "agi.pid", "w").write(str(os.getpid()))
def serve(client):
    with client:
        stream, lines = client.makefile("rwb"), []
        while (line := stream.readline().decode().strip()):
            lines.append(line)
        with open(folder + "agi.asked", "a") as asked:
            asked.write(json.dumps(dict(one.split(": ", 1) for one in lines if ": " in one)) + "\\n")
        answer = json.load(open(folder + "agi.answer"))
        if answer.get("silent"):
            time.sleep(60)
        stream.write(answer.get("text", "").encode())
        stream.flush()
        client.shutdown(socket.SHUT_WR)
        stream.read()
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"""


_TOLD = ("answered", "missed", "called", "unanswered")


class Agi:
    """Something that listens where the AGI server does, in the network of the node, and says what it is told."""

    def __init__(self, media: MediaNode) -> None:
        self._media = media
        self._folder: Path = media.spool
        self.says("")

    def start(self) -> None:
        pid = self._folder / "agi.pid"
        pid.unlink(missing_ok=True)
        (self._folder / "agi.py").write_text(_SERVER)
        subprocess.run(
            ["docker", "exec", "-d", self._media.name, "python3", "/var/spool/dialplane/calls/agi.py"],
            check=True,
            timeout=60,
        )
        end = time.monotonic() + 30
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < end, "the AGI server of the test does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        self._media.sh(f"kill -9 {(self._folder / 'agi.pid').read_text()}")
        (self._folder / "agi.asked").unlink(missing_ok=True)

    def decides(self, *steps: str, why: Iterable[str] = ()) -> None:
        """Answers with this program."""
        reasons = list(why)
        variables = {
            **{f"DP_STEP_{place}": step for place, step in enumerate(steps, 1)},
            **{f"DP_WHY_{place}": reason for place, reason in enumerate(reasons, 1)},
            "DP_WHYS": str(len(reasons)),
            "DP_STEPS": str(len(steps)),
        }
        self.says("".join(f'SET VARIABLE {name} "{value}"\n' for name, value in variables.items()))

    def says(self, text: str, *, silent: bool = False) -> None:
        """Answers with this text, or only listens."""
        (self._folder / "agi.answer").write_text(json.dumps({"text": text, "silent": silent}))

    def asked(self) -> list[list[str]]:
        """The arguments of each question."""
        return [
            [one.get(f"agi_arg_{place}", "") for place in range(1, 12)]
            for one in self._heard()
            if one["agi_network_script"] not in _TOLD
        ]

    def told(self) -> list[tuple[str, list[str]]]:
        """What the server heard of calls to groups: script, and what follows kind, group and account."""
        return [
            (one["agi_network_script"], [one.get(f"agi_arg_{place}", "") for place in range(4, 9)])
            for one in self._heard()
            if one["agi_network_script"] in _TOLD
        ]

    def _heard(self) -> list[dict[str, str]]:
        path = self._folder / "agi.asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
