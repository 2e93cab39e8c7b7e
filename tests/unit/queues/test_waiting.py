"""Who may wait and stay, what callers are told; queues from entries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.compiler.policy import account_entries
from controller.desired import model as rows
from controller.errors import BadPolicy
from controller.queues.model import Caller, Member, Place, Queue, setup
from controller.queues.waiting import Told, Way, joins, leaves, positions, told
from tests.unit.samples import ACME

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
QUEUE = Queue("support", members=(Place("alice"), Place("bob")), on_full="busy", on_empty="voicemail:600")
ALICE, BOB = Member(("a@acme.example",)), Member(("b@acme.example",))


@pytest.mark.parametrize(
    ("queue", "waiting", "members", "way"),
    [
        (QUEUE, 99, {"alice": ALICE}, None),
        (replace(QUEUE, max_waiting=3), 2, {"alice": ALICE}, None),
        (
            replace(QUEUE, max_waiting=3), 3, {"alice": ALICE},
            Way("full", "busy", "3 callers wait already, 3 may"),
        ),
        (QUEUE, 0, {}, Way("empty", "voicemail:600", "no member is on duty")),
        (QUEUE, 0, {"alice": replace(ALICE, paused=True), "bob": replace(BOB, logged_in=False)},
            Way("empty", "voicemail:600", "no member is on duty")),
        (QUEUE, 0, {"alice": replace(ALICE, registered=False)}, Way("empty", "voicemail:600", "no member is on duty")),
        # Busy, wrapping up, or ringing: on duty all the same.
        (QUEUE, 0, {"alice": replace(ALICE, busy=True, reserved=True)}, None),
        (replace(QUEUE, join_empty=True), 0, {}, None),
    ],
)  # fmt: skip
def test_who_may_join(queue: Queue, waiting: int, members: dict[str, Member], way: Way | None) -> None:
    assert joins(queue, waiting, members) == way


@pytest.mark.parametrize(
    ("queue", "waited_s", "members", "outcome"),
    [
        (QUEUE, 9999, {}, None),
        (replace(QUEUE, max_wait_s=60), 59, {"alice": ALICE}, None),
        (replace(QUEUE, max_wait_s=60), 60, {"alice": ALICE}, "timeout"),
        (replace(QUEUE, leave_empty=True), 1, {"alice": ALICE}, None),
        (replace(QUEUE, leave_empty=True), 1, {"alice": replace(ALICE, paused=True)}, "empty"),
    ],
)
def test_who_has_to_leave(
    queue: Queue, waited_s: float, members: dict[str, Member], outcome: str | None
) -> None:
    caller = Caller(1, NOW - timedelta(seconds=waited_s))
    way = leaves(queue, caller, members, NOW)
    assert (way.outcome if way else None) == outcome
    assert leaves(queue, replace(caller, callback=True), members, NOW) is None


def test_the_expected_wait_goes_by_the_wrap_up_of_each_member() -> None:
    queue = replace(QUEUE, wrap_up_s=10, members=(Place("alice", wrap_up_s=30), Place("bob")))
    assert (queue.wraps_up_s("alice"), queue.wraps_up_s("bob")) == (30, 10)
    callers = [Caller(number, NOW + timedelta(seconds=number)) for number in (1, 2)]
    assert told(queue, callers, {"alice": ALICE, "bob": BOB}, 20.0)[2] == Told(2, 40)


def test_who_called_again_instead_of_being_called_back_has_its_time_anew() -> None:
    queue = replace(QUEUE, max_wait_s=60)
    caller = Caller(1, NOW - timedelta(seconds=900), called_at=NOW - timedelta(seconds=59))
    assert leaves(queue, caller, {"alice": ALICE}, NOW) is None
    way = leaves(queue, caller, {"alice": ALICE}, NOW + timedelta(seconds=1))
    assert way is not None
    assert way.outcome == "timeout"


def test_positions_and_what_is_told() -> None:
    callers = [
        Caller(3, NOW),
        Caller(1, NOW - timedelta(seconds=5)),
        Caller(2, NOW - timedelta(seconds=5)),
        Caller(4, NOW, priority=1),
    ]
    assert positions(callers) == {4: 1, 1: 2, 2: 3, 3: 4}
    both = {"alice": ALICE, "bob": BOB}
    assert told(QUEUE, callers, both, 50.0)[1] == Told(2, 50)
    assert told(replace(QUEUE, wrap_up_s=10), callers, {"alice": ALICE}, 50.0)[3] == Told(4, 240)
    assert told(QUEUE, callers, {}, 50.0)[3] == Told(4, None)
    assert told(QUEUE, callers, both, None)[3] == Told(4, None)


HANGUP = rows.Step("hangup")
PLAIN = rows.Queue(
    "support", "Support", "ring_all", 20, 5, 0, 10, None, None, False, False, False, None, None, 60, None, 20, 25, 1,
    25, 8, None, 500, False, 60, None, rows.Step("busy"), HANGUP, HANGUP,
)  # fmt: skip
FULL = replace(
    PLAIN, name="vip", strategy="batch", ring_time_s=30, retry_s=0, wrap_up_s=15, weight=50, max_waiting=3,
    max_wait_s=90,
    join_empty=True, leave_empty=True, announce_position=True, announce_every_s=30, periodic_sound="acme/offer",
    periodic_every_s=90, greeting="acme/hello", service_level_s=10, batch_first_percent=50, batch_first_min=2,
    batch_second_percent=0, batch_wait_s=9, alert_limit=5, alert_pace_ms=250, callback=True, rejoin_s=0, music="soft",
    callback_permission="international", callback_tries=5, callback_pause_s=60,
    on_full=rows.Step("extension", "101"), on_timeout=rows.Step("busy"), on_empty=rows.Step("voicemail", "600"),
    required_skills=("german:2", "billing"),
    members=(rows.QueueMember("alice", 0, 10, ("german:3",)), rows.QueueMember("lobby", 5, 20, (), 0)),
)  # fmt: skip


def test_entries_say_what_the_rows_say() -> None:
    account = replace(ACME, queues=(PLAIN, FULL))
    entries = {one.address.key: one.value for one in account_entries(account)}
    assert entries["acme/queue/support"] == "{}"
    found = setup("acme", entries)
    assert found.queues["support"] == Queue("support")
    vip = found.queues["vip"]
    skipped = {"name", "display_name", "members", "required_skills", "supervisor_group"}
    for name in set(rows.Queue.__dataclass_fields__) - skipped:
        assert str(getattr(vip, name)) == str(getattr(FULL, name)), name
    assert vip.required_skills == {"german": 2, "billing": 1}
    assert vip.members == (Place("alice", 0, 10, {"german": 3}), Place("lobby", 5, 20, {}, 0))
    assert found.devices == {
        "alice": ("desk1@acme.example", "app1@acme.example"),
        "lobby": ("lobby@acme.example",),
    }


def test_an_entry_that_cannot_be_read_is_named() -> None:
    for broken in ("{", "[]", '{"strategy":"loudest"}', '{"members":[{"name":"x"}]}'):
        with pytest.raises(BadPolicy, match="acme/queue/support"):
            setup("acme", {"acme/queue/support": broken})
    assert setup("acme", {"other/queue/x": "{", "acme/group/x": "{"}).queues == {}
