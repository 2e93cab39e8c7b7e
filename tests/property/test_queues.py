"""Queues, whatever happens in whatever order: nobody rings twice, nobody waits in vain, everybody ends once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.queues.engine import Decision, Offer, Rival, line, offer, unavailable
from controller.queues.model import OUTCOMES, STRATEGIES, Caller, Member, Place, Queue
from controller.queues.waiting import joins, leaves, positions

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
USERS = [f"user{number}" for number in range(6)]
SKILLS = st.dictionaries(st.sampled_from(["german", "billing"]), st.integers(1, 3), max_size=2)
PLACES = st.lists(
    st.builds(
        Place,
        user=st.sampled_from(USERS),
        penalty=st.integers(0, 2),
        weight=st.integers(1, 100),
        skills=SKILLS,
        priority_alert=st.integers(0, 3),
    ),
    unique_by=lambda place: place.user,
    max_size=6,
).map(tuple)
QUEUES = st.builds(
    Queue,
    name=st.just("support"),
    strategy=st.sampled_from(STRATEGIES),
    ring_time_s=st.integers(9, 30),
    retry_s=st.integers(0, 5),
    wrap_up_s=st.integers(0, 10),
    weight=st.just(10),
    max_waiting=st.none() | st.integers(1, 5),
    max_wait_s=st.none() | st.integers(1, 60),
    join_empty=st.booleans(),
    leave_empty=st.booleans(),
    batch_first_percent=st.integers(1, 100),
    batch_first_min=st.integers(1, 4),
    batch_second_percent=st.integers(0, 100),
    alert_limit=st.none() | st.integers(1, 3),
    alert_pace_ms=st.sampled_from([10, 500, 10_000]),
    required_skills=SKILLS,
    members=PLACES,
)
# Half of them could ring: else hardly two ever do.
MEMBERS = st.builds(Member, devices=st.sampled_from([("a",), ("a", "b")])) | st.builds(
    Member,
    devices=st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple),
    registered=st.booleans(),
    logged_in=st.booleans(),
    paused=st.booleans(),
    busy=st.booleans(),
    disturb_not=st.booleans(),
    last_call_at=st.none() | st.integers(0, 99).map(lambda s: START - timedelta(seconds=s)),
    calls_today=st.integers(0, 3),
)


def able(queue: Queue, place: Place, caller: Caller) -> bool:
    wanted = [*queue.required_skills.items(), *caller.skills.items()]
    return all(place.skills.get(name, 0) >= level for name, level in wanted)


def most_at_once(queue: Queue, offers: Iterable[Offer]) -> int:
    """Telephones of these offers that ring at the same time, if all begin now."""
    times = [
        (leg.delay_s, leg.delay_s + (leg.for_s or queue.ring_time_s - leg.delay_s))
        for one in offers
        for leg in one.legs
    ]
    return max((sum(1 for began, ended in times if began <= at < ended) for at, _ in times), default=0)


def hold(
    queue: Queue,
    callers: list[Caller],
    members: dict[str, Member],
    now: datetime,
    made: Decision,
    alerted: int = 0,
) -> None:
    """What is true of every decision."""
    limit = queue.alert_limit or 10**6
    assert alerted + most_at_once(queue, made.offers) <= max(limit, alerted), "more ring than may"
    left = limit - alerted - sum(len(one.legs) for one in made.offers)
    rung = [user for one in made.offers for user in one.members]
    assert len(rung) == len(set(rung)), "a member rings twice"
    places = {place.user: place for place in queue.members}
    by_id = {caller.id: caller for caller in callers}
    assert set(rung) | set(made.idle_not) <= set(places)
    for one in made.offers:
        assert one.legs
        assert one.why
        for leg in one.legs:
            assert 0 <= leg.delay_s < queue.ring_time_s
            assert leg.device in members[leg.member].devices
        assert one.legs[0].delay_s == 0, "somebody rings at once"
        for user in one.members:
            assert not unavailable(members[user], now)
            assert able(queue, places[user], by_id[one.caller])
    # Each caller who waits has an offer or a reason, in the order of the line.
    assert sorted([one.caller for one in made.offers] + list(made.waits)) == sorted(by_id)
    order = [caller.id for caller in line(callers)]
    assert [one.caller for one in made.offers] == [one for one in order if one not in made.waits]
    for caller in callers:
        ready = caller.retry_at is None or caller.retry_at <= now
        if caller.id in made.waits and ready:
            idle = [
                place.user
                for place in queue.members
                if place.user not in rung and place.user not in made.idle_not and able(queue, place, caller)
            ]
            # There would have been no room for all telephones of somebody.
            full = bool(idle) and left < min(limit, max(len(members[user].devices) for user in members))
            assert full or not idle, f"{caller.id} waits while {idle} could take the call"


@given(
    QUEUES,
    st.lists(
        st.builds(
            Caller,
            id=st.integers(1, 99),
            joined_at=st.integers(0, 30).map(lambda s: START - timedelta(seconds=s)),
            priority=st.integers(0, 2),
            skills=SKILLS,
            retry_at=st.none() | st.integers(-2, 2).map(lambda s: START + timedelta(seconds=s)),
            tried=st.frozensets(st.sampled_from(USERS)),
            callback=st.booleans(),
        ),
        max_size=8,
        unique_by=lambda caller: caller.id,
    ),
    st.fixed_dictionaries(dict.fromkeys(USERS, MEMBERS)),
    QUEUES,
    st.integers(0, 4),
)
def test_a_decision_about_anything(
    queue: Queue, callers: list[Caller], members: dict[str, Member], other: Queue, alerted: int
) -> None:
    made = offer(queue, callers, members, START, "seed", alerted=alerted)
    hold(queue, callers, members, START, made, alerted)
    back = dict(reversed(members.items()))
    assert made == offer(queue, list(reversed(callers)), back, START, "seed", alerted=alerted)
    places = positions(callers)
    assert sorted(places.values()) == list(range(1, len(callers) + 1))
    # A heavier queue with the same members: together they ring nobody twice.
    heavy = replace(other, name="vip", weight=20)
    second = offer(queue, callers, members, START, "seed", [Rival(heavy, callers, members)])
    hold(queue, callers, members, START, second)
    first = offer(heavy, callers, members, START, "seed")
    both = [user for made in (first, second) for one in made.offers for user in one.members]
    assert len(both) == len(set(both))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(STRATEGIES),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([(1, 1, 1), (1, 2, 3)]),
    st.data(),
)
def test_whose_turn_it_is_rings_in_the_end_however_many_come(
    strategy: str, limit: int, needed: int, others: tuple[int, ...], data: st.DataObject
) -> None:
    """One who needs a certain member, while others who need somebody else come before, and again and again after."""
    telephones = dict(zip(USERS, (needed, *others), strict=False))
    places = (Place(user, skills={"german" if user == USERS[0] else "billing": 1}) for user in telephones)
    queue = Queue("support", strategy, alert_limit=limit, members=tuple(places))
    members = {user: Member(tuple("abc"[:count])) for user, count in telephones.items()}
    rings: list[Offer] = []
    callers: list[Caller] = []
    for number in range(40):
        at = START + timedelta(seconds=number)
        # More come than end: whatever is free is wanted.
        callers += [
            Caller(100 + number, at, skills={"billing": 1}),
            Caller(200 + number, at, skills={"billing": 1}),
        ]
        callers += [Caller(1, at, skills={"german": 1})] if number == _FIRST else []
        alerted = sum(len(one.legs) for one in rings)
        made = offer(queue, callers, members, START, str(number), alerted=alerted)
        hold(queue, callers, members, START, made, alerted)
        rings += made.offers
        assert most_at_once(queue, rings) <= limit
        assert rings, "nobody rings, and somebody waits"
        callers = [caller for caller in callers if caller.id in made.waits]
        if number >= _FIRST and all(caller.id != 1 for caller in callers):
            return
        for one in made.offers:
            members |= {user: replace(members[user], reserved=True) for user in one.members}
        over = rings.pop(data.draw(st.integers(0, len(rings) - 1)))
        members |= {user: replace(members[user], reserved=False) for user in over.members}
    raise AssertionError("it waits for ever")


_FIRST = 4


class AQueue(RuleBasedStateMachine):
    """What `store.py` does with rows, done with values."""

    @initialize(queue=QUEUES, members=st.fixed_dictionaries(dict.fromkeys(USERS, MEMBERS)))
    def begin(self, queue: Queue, members: dict[str, Member]) -> None:
        self.now = START
        self.queue = queue
        self.members = {place.user: members[place.user] for place in queue.members}
        self.waits: dict[int, Caller] = {}
        self.rings: dict[int, tuple[Caller, tuple[str, ...]]] = {}
        self.talks: dict[int, str] = {}
        self.ended: dict[int, str] = {}
        self.came = 0
        self.began: list[tuple[datetime, Offer]] = []

    def alerted(self) -> int:
        """Telephones that ring, or began to just now: what the rows say (statements.ALERTED)."""
        pace = timedelta(milliseconds=self.queue.alert_pace_ms)
        rings = {user for _, users in self.rings.values() for user in users}
        just = {user for at, one in self.began if at > self.now - pace for user in one.members}
        return sum(len(self.members[user].devices) for user in rings | just)

    def free(self, users: tuple[str, ...], **changes: object) -> None:
        for user in users:
            self.members[user] = replace(self.members[user], reserved=False, **changes)  # type: ignore[arg-type]

    def end(self, caller: int, outcome: str) -> None:
        assert caller not in self.ended
        assert outcome in OUTCOMES
        self.ended[caller] = outcome

    @rule(priority=st.integers(0, 2), skills=SKILLS)
    def comes(self, priority: int, skills: dict[str, int]) -> None:
        self.came += 1
        way = joins(self.queue, len(self.waits) + len(self.rings), self.members)
        if way:
            self.end(self.came, way.outcome)
        else:
            self.waits[self.came] = Caller(self.came, self.now, priority, skills)

    @rule()
    def decides(self) -> None:
        callers = list(self.waits.values())
        alerted = self.alerted()
        made = offer(self.queue, callers, self.members, self.now, str(self.came), alerted=alerted)
        hold(self.queue, callers, self.members, self.now, made, alerted)
        for one in made.offers:
            self.rings[one.caller] = (self.waits.pop(one.caller), one.members)
            self.began.append((self.now, one))
            for user in one.members:
                assert not self.members[user].reserved
                self.members[user] = replace(self.members[user], reserved=True, last_offer_at=self.now)

    @precondition(lambda self: self.rings)
    @rule(data=st.data())
    def answers(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.rings)))
        _, users = self.rings.pop(caller)
        taker = data.draw(st.sampled_from(users))
        self.free(tuple(user for user in users if user != taker))
        self.talks[caller] = taker

    @precondition(lambda self: self.rings)
    @rule(data=st.data())
    def nobody_answers(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.rings)))
        caller, users = self.rings.pop(id_)
        self.free(users)
        tried = caller.tried | set(users) if not caller.tried & set(users) else frozenset(users)
        retry_at = self.now + timedelta(seconds=self.queue.retry_s)
        self.waits[id_] = replace(caller, tried=frozenset(tried), retry_at=retry_at)

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def hangs_up(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.talks)))
        wrap_until = self.now + timedelta(seconds=self.queue.wrap_up_s)
        self.free((self.talks.pop(caller),), wrap_until=wrap_until, last_call_at=self.now)
        self.end(caller, "answered")

    @precondition(lambda self: self.waits or self.rings)
    @rule(data=st.data(), outcome=st.sampled_from(["abandoned", "left", "lost"]))
    def gives_up(self, data: st.DataObject, outcome: str) -> None:
        caller = data.draw(st.sampled_from(sorted([*self.waits, *self.rings])))
        if caller in self.rings:
            self.free(self.rings.pop(caller)[1])
        else:
            del self.waits[caller]
        self.end(caller, outcome)

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for id_, caller in list(self.waits.items()):
            way = leaves(self.queue, caller, self.members, self.now)
            if way:
                del self.waits[id_]
                self.end(id_, way.outcome)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), state=MEMBERS)
    def a_member_changes(self, data: st.DataObject, state: Member) -> None:
        user = data.draw(st.sampled_from(sorted(self.members)))
        was = self.members[user]
        self.members[user] = replace(
            state, reserved=was.reserved, wrap_until=was.wrap_until, devices=was.devices
        )

    @invariant()
    def everybody_is_in_one_place(self) -> None:
        if not hasattr(self, "queue"):
            return
        places = [*self.waits, *self.rings, *self.talks, *self.ended]
        assert sorted(places) == list(range(1, self.came + 1))
        taken = [user for _, users in self.rings.values() for user in users] + list(self.talks.values())
        assert len(taken) == len(set(taken))
        assert set(taken) == {user for user, member in self.members.items() if member.reserved}
        if limit := self.queue.alert_limit:
            ringing = [one for _, one in self.began if one.caller in self.rings]
            latest = {one.caller: one for one in ringing}.values()
            assert most_at_once(self.queue, latest) <= limit, "more ring than may, over all callers"
            pace = timedelta(milliseconds=self.queue.alert_pace_ms)
            for at, _ in self.began:
                together = [one for began, one in self.began if at <= began < at + pace]
                first = {(leg.member, leg.device) for one in together for leg in one.legs if not leg.delay_s}
                assert len(first) <= limit, "more began than may at that pace"


TestAQueue = AQueue.TestCase
TestAQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
