"""What people expect around calls: as it is rendered, and as it is explained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.compiler import dialplan, edge
from controller.desired.model import Conference, Extension, Step
from controller.policy.media import Leg, Walk
from tests.media.features import FEATURES
from tests.unit.samples import SYSTEM
from tests.unit.test_policy import Held

LINES = dialplan.account_dialplan(FEATURES, SYSTEM)
PIN = FEATURES.conferences[1].pin_digest


def test_an_account_without_any_has_no_lines_of_them() -> None:
    bare = replace(FEATURES, extensions=(), conferences=())
    assert not any("dp-conference" in line for line in dialplan.account_dialplan(bare, SYSTEM).values())


@pytest.mark.parametrize(
    ("extension", "line"),
    [
        ("8000", "Gosub(dp-conference,s,1(8000,open-room,,,2,))"),
        ("8001", f"Gosub(dp-conference,s,1(8001,closed,{PIN},,,t))"),
        ("8002", f"Gosub(dp-conference,s,1(8002,led,,{FEATURES.conferences[2].moderator_digest},,w))"),
        ("8003", "Gosub(dp-conference,s,1(8003,taped,,,,r))"),
    ],
)
def test_lines(extension: str, line: str) -> None:
    assert LINES[f"account-feat-1/{extension}"] == line


def test_pickup_takes_its_code_alone_or_with_an_extension_behind() -> None:
    assert LINES["account-feat-1/*8"] == "Gosub(dp-pickup,s,1(*8,))"
    assert LINES["account-feat-1/_*8X!"] == "Gosub(dp-pickup,s,1(${EXTEN},${EXTEN:2}))"
    assert LINES["account-feat-1/:pickup:f1@feat.example"] == "Return(101)"


def test_who_can_pick_up_has_no_calls_straight_from_phone_to_phone() -> None:
    lobby = Extension("109", "user", "ida", None, 20, Step("busy"), Step("hangup"), Step("hangup"))
    for extensions, straight in (((lobby,), 1), ((lobby, *FEATURES.extensions), 0)):
        entries = edge.account_entries(replace(FEATURES, extensions=extensions, numbers=()))
        assert sum(one.address.table == "straight" for one in entries) == straight


def test_every_flag() -> None:
    room = Conference("open-room", 500, wait_for_moderator=True, announce="name", record=True)
    changed = dialplan.account_dialplan(
        replace(FEATURES, conferences=(room, *FEATURES.conferences[1:])), SYSTEM
    )
    assert changed["account-feat-1/8000"] == "Gosub(dp-conference,s,1(8000,open-room,,,500,wnr))"


@pytest.mark.parametrize(
    ("called", "what", "why"),
    [
        ("8000", "conference open-room, at the account's home node", "no PIN; 2 members at most"),
        ("8001", "conference closed, at the account's home node", "the PIN is asked for"),
        (
            "8002",
            "conference led, at the account's home node",
            "the PIN of moderators is asked for; members wait for a moderator",
        ),
        ("8003", "conference taped, at the account's home node", "no PIN; recorded, and said so"),
        (
            "*8",
            "pick up a call that rings somewhere in feat-1",
            "this node first, then the others of the cluster",
        ),
        ("*8101", "pick up a call that rings at 101", "this node first, then the others of the cluster"),
    ],
)
def test_each_is_explained_in_one_line(called: str, what: str, why: str) -> None:
    walk = Walk(
        Leg("c1", "feat-1", called, "fay", "f1@feat.example", ""),
        Held({("media", "dialplan", key): line for key, line in LINES.items()}),
    )
    walk.start()
    assert [(step.what, step.why) for step in walk.steps] == [(what, why)]
