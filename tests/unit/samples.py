"""Snapshots that tests share: one small account, made to measure by `replace`."""

from __future__ import annotations

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

MD5, SHA256 = "0" * 32, "0" * 64
VOICEMAIL, BUSY, HANGUP = Step("voicemail"), Step("busy"), Step("hangup")


def device(name: str, user: str | None, **changes: object) -> Device:
    values: dict[str, object] = {
        "name": name, "domain": "acme.example", "user": user, "ha1_md5": MD5, "ha1_sha256": SHA256,
        "call_limit": None, "caller_id": None, "enabled": True,
    }  # fmt: skip
    return Device(**(values | changes))  # type: ignore[arg-type]


ALICE = User("alice", "Alice", None, "+4930555010", "international", True)
LOBBY = User("lobby", "Lobby", None, None, "internal", True)

ACME = Account(
    name="acme",
    display_name="Acme",
    cluster="c1",
    country="DE",
    language="de",
    status="active",
    call_limit=20,
    caller_id="+4930555000",
    domains=("acme.example",),
    users=(ALICE, LOBBY),
    devices=(device("desk1", "alice", call_limit=2), device("app1", "alice"), device("lobby", "lobby")),
    extensions=(
        Extension("101", "user", "alice", None, 25, VOICEMAIL, VOICEMAIL, VOICEMAIL),
        Extension("103", "user", "lobby", None, 25, BUSY, HANGUP, HANGUP),
        Extension("*98", "voicemail_main", None, None, 25, BUSY, HANGUP, HANGUP),
    ),
    numbers=(Number("+4930555010", "101"),),
    mailboxes=(VoicemailBox("101", "alice", "Alice", "alice@acme.example", None, None),),
)

CARRIER = Trunk(
    "carrier-a",
    None,
    "198.51.100.7",
    5060,
    "udp",
    None,
    None,
    None,
    False,
    None,
    "digits",
    None,
    ("198.51.100.7",),
    True,
)

SYSTEM = System(
    zone="dialplane.internal",
    nodes=(
        Node("edge1", "edge", "g1", "10.213.0.11", 5060, 10),
        Node("media1", "media", "c1", "10.213.0.21", 5060, 10),
    ),
    clusters=("c1",),
    countries=("DE",),
    trunks=(CARRIER,),
    routes=(Route("", "carrier-a", 100, 10),),
    emergency=(EmergencyNumber("DE", "112", ("carrier-a",)),),
)
