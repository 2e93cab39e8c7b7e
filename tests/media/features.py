"""The company with what people expect around calls: conferences, parking, paging. Its phones are called f1 to f4."""

from __future__ import annotations

import hashlib

from controller.desired.model import (
    Account,
    Conference,
    Device,
    Extension,
    Group,
    GroupMember,
    Number,
    Page,
    ParkingLot,
    Step,
    User,
)

BUSY, HANGUP = Step("busy"), Step("hangup")
NUMBER = "+4930777010"


def _to(number: str, kind: str, target: str | None = None) -> Extension:
    return Extension(number, kind, None, target, 20, HANGUP, HANGUP, HANGUP)


def _person(name: str) -> User:
    return User(name, name.title(), None, None, "national", True)


def _pin(room: str, pin: str) -> str:
    return hashlib.sha1(f"{room}@feat-1:{pin}".encode()).hexdigest()


def _group(group: str, *members: GroupMember) -> Group:
    steps = (BUSY, HANGUP, HANGUP)
    return Group(group, group, "all", 20, 10, False, False, False, None, None, *steps, members=members)


SPEAKERS = tuple(f"loudspeaker-on-the-wall-{number:02}" for number in range(60))
PEOPLE = {"fay": "f1", "gus": "f2", "hal": "f3", "ida": "f4"}
FEATURES = Account(
    name="feat-1", display_name="Features", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930777000", domains=("feat.example",), lamps=True,
    users=tuple(map(_person, PEOPLE)),
    devices=(
        *(
            Device(phone, "feat.example", owner, "0" * 32, "0" * 64, None, None, True)
            for owner, phone in PEOPLE.items()
        ),
        *(Device(one, "feat.example", None, "0" * 32, "0" * 64, None, None, True) for one in SPEAKERS),
    ),
    extensions=(
        *(
            Extension(str(number), "user", owner, None, 5, BUSY, HANGUP, HANGUP)
            for number, owner in enumerate(PEOPLE, 101)
        ),
        _to("8000", "conference", "open-room"), _to("8001", "conference", "closed"), _to("8002", "conference", "led"),
        _to("8003", "conference", "taped"),
        _to("*8", "pickup"),
        _to("*80", "page", "floor"), _to("*81", "page", "board"), _to("*82", "page", "hall"),
        _to("700", "park", "desk"), _to("710", "park", "hasty"),
    ),
    numbers=(Number(NUMBER, "8000"),),
    groups=(
        _group("floor", *map(GroupMember, PEOPLE), GroupMember(number="+4930888000")),
        _group("chiefs", GroupMember("ida")),
        _group("speakers", *(GroupMember(device=f"{one}@feat.example") for one in SPEAKERS)),
    ),
    pages=(
        Page("floor", "floor", max_s=600),
        Page("board", "floor", "chiefs", talk_back=True, tone="none"),
        Page("hall", "speakers", max_s=8),
    ),
    parking_lots=(
        ParkingLot("desk", "701", 2, 600, 30, HANGUP),
        ParkingLot("hasty", "711", 1, 5, 4, Step("extension", "104")),
    ),
    conferences=(
        Conference("open-room", max_members=2, announce="none"),
        Conference("closed", pin_digest=_pin("closed", "1234"), announce="tone"),
        Conference("led", wait_for_moderator=True, announce="none", moderator_digest=_pin("led", "9876")),
        Conference("taped", record=True, announce="none"),
    ),
)  # fmt: skip


def phone(owner: str) -> dict[str, str]:
    """Headers of a call from the phone of a user."""
    return {"account": "feat-1", "Caller": owner, "Device": f"{PEOPLE[owner]}@feat.example"}
