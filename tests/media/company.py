"""The company the media tests call: users whose names say what their phones do."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from controller.desired.model import (
    Account,
    Device,
    EmergencyNumber,
    Extension,
    Node,
    Number,
    Route,
    Step,
    System,
    Trunk,
    User,
    VoicemailBox,
)

NASTY = 'Eve, "O\'Ne\\il" ${SHELL(id)} $[1+1] (x];&^'
PIN = hashlib.sha1(b"102@acme:4711").hexdigest()


def user(
    name: str, permission: str = "national", display: str | None = None, caller_id: str | None = None
) -> User:
    return User(name, display or name.title(), "de" if name == "eve" else None, caller_id, permission, True)


def device(name: str, owner: str, caller_id: str | None = None) -> Device:
    return Device(name, "acme.example", owner, "0" * 32, "0" * 64, None, caller_id, True)


def extension(number: str, owner: str, no_answer: Step, busy: Step, away: Step) -> Extension:
    return Extension(
        number, "user", owner, None, 3, on_busy=busy, on_no_answer=no_answer, on_unregistered=away
    )


def service(number: str, kind: str, target: str | None = None) -> Extension:
    return Extension(number, kind, None, target, 20, HANGUP, HANGUP, HANGUP)


def trunk(name: str, caller_id: str | None = None) -> Trunk:
    return Trunk(
        name, None, "198.51.100.7", 5060, "udp", None, None, None, False, None, "digits", caller_id, (), True
    )


VOICEMAIL, BUSY, HANGUP = Step("voicemail"), Step("busy"), Step("hangup")

ACME = Account(
    name="acme", display_name="Acme", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930555000", domains=("acme.example",),
    users=(
        user("alice", "international"), user("bob"), user("carol-ann", "internal"),
        user("eve", display=NASTY), user("loop"), user("many"),
    ),
    devices=(
        device("alice1", "alice"), device("alice2", "alice", "+4930555011"), device("bob1", "bob"),
        device("carol1", "carol-ann"), device("eve-1", "eve"), device("loop1", "loop"),
        *(device(f"one-of-the-many-devices-{number:02}", "many") for number in range(30)),
    ),
    extensions=(
        extension("101", "alice", VOICEMAIL, VOICEMAIL, VOICEMAIL),
        extension("102", "bob", Step("extension", "101"), BUSY, Step("number", "+4989123456")),
        extension("103", "carol-ann", HANGUP, Step("announce", "vm-isonphone"), HANGUP),
        extension("104", "eve", HANGUP, BUSY, HANGUP),
        extension("105", "loop", HANGUP, HANGUP, Step("extension", "105")),
        extension("106", "many", HANGUP, BUSY, HANGUP),
        service("*98", "voicemail_main"), service("*43", "echo"), service("*1", "announcement", "hello-world"),
        service("8101", "voicemail", "101"), service("8000", "number", "+4989777777"),
    ),
    numbers=(
        Number("+4930555010", "101"), Number("+4930555020", "102"), Number("+4930555043", "*43"),
        Number("+4930555080", "8000"),
    ),
    mailboxes=(
        VoicemailBox("101", "alice", "Alice", None, None, None),
        VoicemailBox("102", "bob", "Bob O'Brien", None, PIN, None),
    ),
)  # fmt: skip


# Own trunk, own route, no caller id of its own: the trunk's counts.
SMALL = Account(
    name="small", display_name="Small", cluster="c1", country="US", language="en", status="active", call_limit=None,
    caller_id=None, domains=("small.example",), users=(user("sam", "international"),),
    devices=(Device("sam1", "small.example", "sam", "0" * 32, "0" * 64, None, None, True),),
    extensions=(extension("201", "sam", HANGUP, BUSY, HANGUP),),
    trunks=(replace(trunk("own-pbx", "+12125550199"), account="small"),),
    routes=(Route("1", "own-pbx", 10, 1),),
)  # fmt: skip


def system(edge: str, port: int) -> System:
    """One edge at `edge`:`port`."""
    return System(
        zone="dialplane.internal",
        nodes=(Node("edge1", "edge", "g1", edge, port, 10), Node("media1", "media", "c1", "10.0.0.1", 5060, 10)),
        clusters=("c1",), countries=("DE", "US"),
        trunks=(trunk("first-1"), trunk("second"), trunk("third"), trunk("paris", "+33155500000")),
        routes=(
            Route("", "first-1", 10, 1), Route("", "second", 20, 1), Route("", "third", 30, 1),
            Route("33", "paris", 10, 1), Route("331", "second", 10, 3), Route("331", "third", 10, 1),
        ),
        emergency=(EmergencyNumber("DE", "112", ("first-1", "second")),),
    )  # fmt: skip
