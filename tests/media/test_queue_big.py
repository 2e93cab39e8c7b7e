"""Many members: batches whose sizes come from who is online and idle, and telephones that cannot ring all at once."""

from __future__ import annotations

import itertools

import pytest

from controller.desired.model import QueueMember
from tests.media.floor import SLACK_S, Floor, between, leg_of
from tests.media.peer import Leg
from tests.media.resident import awaited
from tests.media.sip import Sip

CROWD = [f"a{number:03}" for number in range(200)]
# Not idle: 20 are registered no more, 10 never were, 10 are on the telephone.
GONE, NEVER, TALKING = CROWD[5:200:10], CROWD[3:200:20], CROWD[8:200:20]
IDLE = [one for one in CROWD if one not in (*GONE, *NEVER, *TALKING)]
FIRST_PERCENT, SECOND_PERCENT, WAIT_S = 25, 10, 4


def aors(names: list[str]) -> list[str]:
    return [f"{one}@wait.example" for one in names]


def crowded(floor: Floor) -> None:
    """200 members; the last one has not had a call for longest."""
    floor.crowd(
        *map(QueueMember, CROWD), strategy="batch", ring_time_s=30, batch_wait_s=WAIT_S,
        batch_first_percent=FIRST_PERCENT, batch_second_percent=SECOND_PERCENT,
    )  # fmt: skip
    floor.registered(aors(GONE), 0)
    floor.rows(
        "INSERT INTO control.queue_member_stats (account, queue, member, last_call_at)"
        " SELECT 'wait-1', 'one', name, clock_timestamp() - make_interval(mins => number::int)"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS m (name, number)",
        CROWD,
    )
    floor.rows(
        "INSERT INTO control.call_records (call_id, account, started_at, legs)"
        " SELECT 'call-' || aor, 'wait-1', clock_timestamp(), jsonb_build_array(jsonb_build_object('party', aor))"
        " FROM unnest(%s::text[]) AS t (aor)",
        aors(TALKING),
    )
    floor.edge.answers = dict.fromkeys(CROWD, "ring")


def sizes(free: int) -> tuple[int, int]:
    """Of the first and of the second batch, when so many members are free; rounded up."""
    return -(-free * FIRST_PERCENT // 100), -(-free * SECOND_PERCENT // 100)


def batches(floor: Floor, leg: Leg) -> tuple[list[Sip], list[Sip]]:
    """The INVITEs for a caller: before batch_wait_s was over, and after."""
    mine = [one for one in floor.edge.invites if one.get("x-dp-call") == f"call-{leg.call_id}"]
    second = mine[0].at + WAIT_S - 0.1
    return [one for one in mine if one.at < second], [one for one in mine if one.at >= second]


def never_two_at_once(floor: Floor) -> None:
    """No telephone was rung while it rang."""
    until: dict[str, float] = {}
    for invite in floor.edge.invites:
        assert invite.at >= until.get(invite.user, 0.0), f"{invite.user} rings already"
        cancels = [one for one in leg_of(floor.edge, invite).requests if one.method == "CANCEL"]
        until[invite.user] = cancels[0].at if cancels else float("inf")


def test_batches_of_200_members_for_three_callers_at_once(floor: Floor) -> None:
    crowded(floor)
    assert len(IDLE) == 160
    free = IDLE[::-1]
    legs = [floor.joins(f"+493012{number}") for number in (1, 2)]
    assert floor.rang() == []
    # All members come at once: one decision is for both who wait, another one for who comes then.
    floor.registered(aors([one for one in CROWD if one not in (*GONE, *NEVER)]))
    floor.rings(1)
    legs.append(floor.joins("+4930123"))
    wanted, left = [], len(free)
    for _ in legs:
        wanted.append(sizes(left))
        left -= sum(wanted[-1])
    assert wanted == [(40, 16), (26, 11), (17, 7)]
    floor.rings(sum(map(sum, wanted)), 40)
    served = [batches(floor, leg) for leg in legs]
    # On a busy machine an offer may not be taken in time: then its caller is the one who is decided for later.
    served.sort(key=lambda batch: min(free.index(one.user) for one in batch[0]))
    for (first, second), (some, more) in zip(served, wanted, strict=True):
        took, free = free[: some + more], free[some + more :]
        assert sorted(one.user for one in first) == sorted(took[:some]), "whose last call is longest ago"
        assert sorted(one.user for one in second) == sorted(took[some:])
        assert first[-1].at - first[0].at < WAIT_S - 1, "the first batch at once"
        assert between(second[0].at - first[0].at, WAIT_S, WAIT_S + 2 * SLACK_S)
    never_two_at_once(floor)
    # One takes the call, the others who rang for it are free, and ring for the next caller.
    floor.edge.answer(floor.edge.leg_to(served[0][0][0].user))
    for one in (*served[0][0][1:], *served[0][1]):
        floor.stopped(one)
    before = len(floor.edge.invites)
    fourth = floor.call("+4930129")
    awaited(lambda: len(floor.edge.invites) > before + 10, "nobody rings for the fourth")
    never_two_at_once(floor)
    for leg in (fourth, *legs):
        leg.bye()
    awaited(
        lambda: floor.outcomes() == ["answered", "abandoned", "abandoned", "abandoned"], "not all are gone"
    )


@pytest.mark.parametrize("limit", [1, 2])
def test_so_many_telephones_are_alerted_at_once_in_order_at_a_pace(floor: Floor, limit: int) -> None:
    """They ring for 0.4 s each, then refuse."""
    pace_s, rings_s = 1.0, 0.4
    names = CROWD[:4]
    floor.crowd(
        *(QueueMember(name, priority_alert=60 - number) for number, name in enumerate(names)),
        strategy="ring_all", ring_time_s=9, alert_limit=limit, alert_pace_ms=int(pace_s * 1000),
    )  # fmt: skip
    floor.edge.answers = dict.fromkeys(names, f"486~{rings_s}")
    leg = floor.call()
    rings = floor.rings(len(names))
    turns = [rings[first : first + limit] for first in range(0, len(names), limit)]
    order = names[::-1]
    for number, turn in enumerate(turns):
        assert sorted(one.user for one in turn) == sorted(order[number * limit : (number + 1) * limit])
    for before, after in itertools.pairwise(turns):
        assert between(after[0].at - before[0].at, pace_s, pace_s + 2 * SLACK_S), "at the pace"
    for one in rings:
        assert sum(0 <= one.at - other.at < rings_s for other in rings) <= limit, "not more at once"
    leg.bye()
