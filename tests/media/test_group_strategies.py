"""Which members of a group ring, in which order, and when: every strategy, as the server decides, on real legs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from controller.agi import store
from controller.desired.model import Account, GroupMember
from tests.database.conftest import new_database, postgresql  # noqa: F401 - fixtures
from tests.media.decided import DECIDED, OWN
from tests.media.floor import AT_ONCE_S, SLACK_S, apart, between, leg_of
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.resident import awaited
from tests.media.served import serving
from tests.media.sip import Sip

GROUP = "sales-1"
# Beyond what the column allows: that a member of less weight is drawn first never happens in the life of this test.
HEAVY = 10**9
# Members, whose phones are p1, p3 and p4. With this memory every strategy has an order of its own.
P1, BEN, CARL = "p1@decided.example", "ben", "carl"
MEMBERS = (
    GroupMember(device=P1), GroupMember(user=BEN, weight=HEAVY), GroupMember(user=CARL, weight=HEAVY**2),
)  # fmt: skip
ONE_BY_ONE = {
    "in_order": ["p1", "p3", "p4"],
    "round_robin": ["p4", "p1", "p3"],
    "least_recent": ["p3", "p4", "p1"],
    "fewest_calls": ["p1", "p4", "p3"],
    "weighted": ["p4", "p3", "p1"],
}


@dataclass
class Hall:
    """The group as a test wants it, and its memory."""

    edge: Edge
    hold: Callable[[Account], None]
    database: psycopg.Connection

    def group(self, *members: GroupMember, **changes: object) -> None:
        """The group from now on; everybody's phone rings."""
        groups = tuple(
            replace(one, members=members, **changes) if one.name == GROUP else one  # type: ignore[arg-type]
            for one in DECIDED.groups
        )
        self.hold(replace(DECIDED, groups=groups))
        self.edge.answers = {f"p{number}": "ring" for number in range(1, 5)}

    def remember(self) -> None:
        """Ben began the last round; how long ago and how often who answered."""
        now = datetime.now(UTC)
        memory = {
            "last": BEN,
            "answered": {
                name: int((now - timedelta(minutes=minutes)).timestamp())
                for name, minutes in ((P1, 1), (BEN, 60), (CARL, 10))
            },
            "calls": {P1: 1, BEN: 5, CARL: 3},
            # The company's zone is UTC.
            "day": now.date().isoformat(),
        }
        self.database.execute(
            "INSERT INTO control.group_turns (account, group_name, memory) VALUES ('dec-1', %s, %s)",
            (GROUP, json.dumps(memory)),
        )

    def answered(self) -> dict[str, int]:
        """Members who answered, and how often today."""
        rows = self.database.execute("SELECT memory -> 'calls' FROM control.group_turns").fetchall()
        return {name: count for (calls,) in rows for name, count in (calls or {}).items()}

    def call(self) -> Leg:
        """From outside."""
        return self.edge.call(OWN, "dec-1", "+4940123456", Trunk="second")

    def rings(self, count: int) -> list[Sip]:
        """The first so many INVITEs of phones."""
        awaited(lambda: len(self.edge.invites) >= count, f"not {count} phones rang")
        return self.edge.invites[:count]

    def over(self, leg: Leg) -> None:
        """The caller gives up."""
        self.edge.cancel(leg)
        leg.wait("487")


@pytest.fixture(scope="module")
def served(
    media: MediaNode,
    the_edge: Edge,
    new_database: Callable[[], str],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Callable[[Account], None], psycopg.Connection]]:
    url = new_database()
    with pytest.MonkeyPatch.context() as patience, psycopg.connect(url, autocommit=True) as connection:
        patience.setattr(store, "DEADLINE_S", 1.5)  # a busy machine is no reason to fail
        with serving(media, DECIDED, url, tmp_path_factory.mktemp("served")) as hold:
            yield hold, connection


@pytest.fixture
def hall(edge: Edge, served: tuple[Callable[[Account], None], psycopg.Connection]) -> Hall:
    hold, database = served
    database.execute("TRUNCATE control.group_turns")
    return Hall(edge, hold, database)


@pytest.mark.parametrize(
    ("strategy", "step_s"),
    [("in_order", 2), *((strategy, 1) for strategy in ONE_BY_ONE if strategy != "in_order")],
)
def test_one_member_after_another(hall: Hall, strategy: str, step_s: int) -> None:
    """Nobody refuses: each just rings for step_time_s."""
    hall.group(*MEMBERS, strategy=strategy, step_time_s=step_s, ring_time_s=20)
    hall.remember()
    leg = hall.call()
    rings = hall.rings(3)
    assert [one.user for one in rings] == ONE_BY_ONE[strategy]
    for before, after in itertools.pairwise(rings):
        stopped = leg_of(hall.edge, before).wait("CANCEL").at
        assert between(stopped - before.at, step_s, step_s + SLACK_S)
        assert between(after.at - stopped, 0, AT_ONCE_S), "the next one when it stopped"
    hall.over(leg)


@pytest.mark.parametrize(("strategy", "calls"), [("random", 16), ("weighted", 8)])
def test_who_rings_first_is_drawn(hall: Hall, strategy: str, calls: int) -> None:
    hall.group(*MEMBERS, strategy=strategy, ring_time_s=20, step_time_s=10)
    hall.remember()
    for number in range(calls):
        leg = hall.call()
        hall.rings(number + 1)
        hall.over(leg)
    first = [one.user for one in hall.edge.invites]
    assert len(first) == calls
    if strategy == "weighted":
        assert set(first) == {"p4"}
    else:
        # Once in a million runs all draws are the same, or those of a round.
        assert len(set(first)) > 1
        assert not all(first[place] == first[place % 3] for place in range(calls))


def test_a_round_goes_on_with_each_call(hall: Hall) -> None:
    hall.group(*MEMBERS, strategy="round_robin", ring_time_s=20, step_time_s=10)
    for number in range(4):
        leg = hall.call()
        hall.rings(number + 1)
        hall.over(leg)
    assert [one.user for one in hall.edge.invites] == ["p1", "p3", "p4", "p1"]


@pytest.mark.parametrize("strategy", ["fewest_calls", "least_recent"])
def test_who_answered_comes_later(hall: Hall, strategy: str) -> None:
    hall.group(*MEMBERS, strategy=strategy, ring_time_s=20, step_time_s=10)
    hall.edge.answers = dict.fromkeys(("p1", "p3", "p4"), "answer")
    for number in (1, 2, 3):
        leg = hall.call()
        leg.wait("200")
        awaited(lambda answers=number: len(hall.answered()) == answers, "the answer is not remembered")  # type: ignore[misc]
        leg.bye()
    assert [one.user for one in hall.edge.invites] == ["p1", "p3", "p4"]


def test_all_ring_at_once(hall: Hall) -> None:
    hall.group(*(GroupMember(user=one) for one in ("ann", "ben", "carl")), strategy="all", ring_time_s=1)
    leg = hall.call()
    rings = hall.rings(4)
    assert sorted(one.user for one in rings) == ["p1", "p2", "p3", "p4"]
    assert rings[-1].at - rings[0].at < AT_ONCE_S
    for one in rings:
        stopped = leg_of(hall.edge, one).wait("CANCEL").at
        assert between(stopped - rings[0].at, 1, 1 + SLACK_S), "for ring_time_s"
    hall.over(leg)


def test_delayed_members_join_after_their_delay(hall: Hall) -> None:
    members = (
        GroupMember(user="carl", delay_s=2), GroupMember(user="ben", delay_s=1), GroupMember(user="ann"),
    )  # fmt: skip
    hall.group(*members, strategy="all", ring_time_s=20)
    leg = hall.call()
    rings = hall.rings(4)
    assert sorted(one.user for one in rings[:2]) == ["p1", "p2"]
    assert [one.user for one in rings[2:]] == ["p3", "p4"]
    assert apart(rings)[0] < AT_ONCE_S
    for one, delay_s in zip(rings[2:], (1, 2), strict=True):
        assert between(one.at - rings[0].at, delay_s, delay_s + 0.5)
    for one in rings:
        told = leg_of(hall.edge, one).requests
        assert not told, "who rang before rings on"
    hall.over(leg)
    for one in rings:
        leg_of(hall.edge, one).wait("CANCEL")
