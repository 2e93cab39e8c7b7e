"""What people expect around calls: as it is rendered, and as it is explained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.compiler import dialplan, edge
from controller.desired.model import Account, Conference, Extension, Step
from controller.policy import Step as Told
from controller.policy.media import Leg, Walk
from controller.policy.replay import ELSEWHERE, SAME, Place, Recorded, replay
from tests.media.features import FEATURES
from tests.unit.samples import SYSTEM
from tests.unit.test_policy import Held

LINES = dialplan.account_dialplan(FEATURES, SYSTEM)
DESK, HASTY = FEATURES.parking_lots
PIN = FEATURES.conferences[1].pin_digest


def test_an_account_without_any_has_no_lines_of_them() -> None:
    bare = replace(FEATURES, extensions=(), conferences=(), parking_lots=())
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
        assert sum("straight=1" in one.value for one in entries) == straight


def test_a_parking_lot_and_each_of_its_slots() -> None:
    assert LINES["account-feat-1/700"] == "Gosub(dp-park,s,1(700,desk,701,2,600,30,hangup,l))"
    assert LINES["account-feat-1/702"] == "Gosub(dp-unpark,s,1(702,desk,702,1,600,30,hangup,l))"
    assert "account-feat-1/703" not in LINES


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
        (
            "702",
            "take the call that is parked at 702, at the account's home node",
            "a slot of parking lot desk; a call that is transferred there is parked there",
        ),
        ("*81", "announcement, 403", "fay may not page board"),
        (
            "*80",
            "page f2@feat.example, f3@feat.example, f4@feat.example",
            "extension *80 is page floor: they only hear; after beep; 600 s at most; who is on the telephone or does "
            "not want to be disturbed is passed over",
        ),
        ("*8101", "pick up a call that rings at 101", "this node first, then the others of the cluster"),
    ],
)
def test_each_is_explained_in_one_line(called: str, what: str, why: str) -> None:
    assert [(step.what, step.why) for step in explained(called)] == [(what, why)]


def explained(called: str, account: Account = FEATURES) -> list[Told]:
    lines = dialplan.account_dialplan(account, SYSTEM)
    walk = Walk(
        Leg("c1", "feat-1", called, "fay", "f1@feat.example", ""),
        Held({("media", "dialplan", key): line for key, line in lines.items()}),
    )
    walk.start()
    return walk.steps


def test_where_a_parked_call_goes_is_explained() -> None:
    steps = [(step.what, step.why, step.under) for step in explained("710")]
    assert steps[:2] == [
        (
            "park in hasty, the first free one of slots 711 to 711, at the account's home node",
            "extension 710; music for 5 s, or until somebody dials the slot",
            0,
        ),
        ("ring for 4 s where it was parked, then extension 104", "if nobody dials the slot", 0),
    ]
    assert steps[2] == ("ring f4@feat.example for 5 s", "extension 104 of feat-1 is user ida", 1)
    [_, then] = explained("710", replace(FEATURES, parking_lots=(DESK, replace(HASTY, return_s=0))))[:2]
    assert then.what == "then extension 104"


@pytest.mark.parametrize(
    ("went", "step", "verdict"),
    [
        ((), "104", SAME),  # somebody dialled the slot
        (("ida for 5 s",), "104", SAME),
        (("ida for 5 s",), "103", ELSEWHERE),
        ((), "103", SAME),
    ],
)
def test_a_parked_call_replayed_goes_on_if_it_did(went: tuple[str, ...], step: str, verdict: str) -> None:
    lots = (DESK, replace(HASTY, on_timeout=Step("extension", step)))
    lines = dialplan.account_dialplan(replace(FEATURES, parking_lots=lots), SYSTEM)
    call = Recorded(
        Leg("c1", "feat-1", "710", "fay", "f1@feat.example", ""),
        (Place("dp.home", "710"), *(Place("dp.ring", text) for text in went)),
    )
    held = Held({("media", "dialplan", key): line for key, line in lines.items()})
    assert replay(call, held).verdict == verdict


def test_a_page_has_devices_in_as_many_lines_as_they_need() -> None:
    lines = LINES["account-feat-1/*82"].split("\n")
    assert len(lines) > 2
    assert all(line.startswith("Gosub(dp-more,s,1(loudspeaker-on-the-wall-") for line in lines[:-1])
    assert lines[-1].startswith("Gosub(dp-page,s,1(hall,,beep,8,loudspeaker-on-the-wall-")
    assert sum(line.count("@") for line in lines) == 60


def test_lamps_are_of_users_with_an_extension_where_the_account_wants_them() -> None:
    for lamps in (False, True):
        entries = list(edge.account_entries(replace(FEATURES, lamps=lamps)))
        watched = {one.address.key: one.value for one in entries if one.address.table == "lamp"}
        counted = [one.value for one in entries if one.value.endswith(";lamp=1")]
        assert watched.get("101@feat.example") == ("feat-1/fay" if lamps else None)
        assert watched.get("702@feat.example") == ("feat-1/*702" if lamps else None)
        # Four users, three slots.
        assert (len(counted), len(watched)) == ((4, 7) if lamps else (0, 0))
