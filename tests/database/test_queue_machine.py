"""The store of queues against a real PostgreSQL, whatever happens in whatever order: what the rows say then."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.queues.model import OUTCOMES, Place, Queue, Setup
from controller.queues.store import Store
from controller.queues.waiting import Visit
from tests.database.queue_rows import queues  # noqa: F401 - fixture url

_T = TypeVar("_T")
USERS = ("alice", "bob", "carol")
# `vip` weighs more and shares a member; `few` has room for two telephones, and alice has two.
SETUP = Setup(
    "acme",
    {
        "vip": Queue("vip", "in_order", weight=50, retry_s=0, wrap_up_s=30, join_empty=True, members=(Place("bob"),)),
        "few": Queue(
            "few", "ring_all", retry_s=0, join_empty=True, max_waiting=6, alert_limit=2, alert_pace_ms=10,
            members=(Place("alice"), Place("bob", skills={"german": 2}), Place("carol", 1)),
        ),
        "one": Queue(
            "one", "least_recent", retry_s=0, join_empty=False, weight=5,
            members=(Place("alice", skills={"german": 1}), Place("carol")),
        ),
    },
    {"alice": ("desk1@acme.example", "app1@acme.example"), "bob": ("b@acme.example",), "carol": ("c@acme.example",)},
)  # fmt: skip
DEVICES = [device for devices in SETUP.devices.values() for device in devices]
WHAT = (
    "comes", "comes", "asks_again", "rings_and", "rings_and", "talk_ends", "leaves", "session_is_silent",
    "session_is_silent", "heartbeat", "sweep", "member_says", "devices_register", "everybody_decides", "decides",
    "decides",
)  # fmt: skip
_CLEAN = "; ".join(
    f"DELETE FROM {table}"
    for table in (
        "control.queue_callers", "control.queue_events", "control.queue_member_stats", "member_states",
    )
)  # fmt: skip
_KNOWN = (
    "INSERT INTO control.node_state (node, kind, agent_started, heard_at) VALUES"
    " ('edge1', 'edge', now() - interval '1 min', now() + interval '1 h') ON CONFLICT DO NOTHING;"
    " INSERT INTO control.registrars VALUES ('edge1', now())"
)
_SAYS = """
INSERT INTO member_states (account_id, user_id, logged_in, paused)
SELECT u.account_id, u.id, %(in)s, %(paused)s
  FROM users AS u JOIN accounts AS a ON a.id = u.account_id WHERE a.name = 'acme' AND u.name = %(user)s
ON CONFLICT (user_id) DO UPDATE SET (logged_in, paused) = (excluded.logged_in, excluded.paused)"""
_IDLE = """
SELECT u.name FROM unnest(%(users)s::text[]) AS u (name)
 WHERE NOT EXISTS (SELECT FROM control.queue_offers AS o WHERE o.member = u.name)
   AND NOT EXISTS (SELECT FROM control.member_states AS s WHERE s.account = 'acme' AND s.member = u.name
                      AND (NOT s.logged_in OR s.paused))
   AND NOT EXISTS (SELECT FROM control.queue_member_stats AS w
                    WHERE w.member = u.name AND greatest(w.wrap_until, w.rest_until) > clock_timestamp())
   AND EXISTS (SELECT FROM control.registrations AS r
                WHERE r.contacts > 0 AND r.aor = ANY (string_to_array(%(devices)s::json ->> u.name, ' ')))"""
_ENDS = """
SELECT c.id, c.state, c.outcome, c.successor, count(e.id)
  FROM control.queue_callers AS c LEFT JOIN control.queue_events AS e
       ON e.caller_id = c.id AND e.event = ANY (%s) AND NOT (e.event = 'lost' AND EXISTS (
          SELECT FROM control.queue_events AS b WHERE b.caller_id = c.id AND b.event = 'rejoined' AND b.id > e.id))
 GROUP BY c.id"""


class Rows(RuleBasedStateMachine):
    """Calls, members and the clock, by three processes; each row of control.queue_callers is a session of one."""

    def __init__(self, url: str, runner: asyncio.Runner, stores: list[Store]) -> None:
        super().__init__()
        self.runner = runner
        self.stores = stores
        self.rows = psycopg.connect(url, autocommit=True)
        self.rows.execute(_CLEAN.encode())
        self.registered(*DEVICES)
        self.came = self.steps = 0

    def teardown(self) -> None:
        self.rows.close()

    def does(self, *work: Coroutine[Any, Any, _T]) -> list[_T]:
        """All at once."""

        async def go() -> list[_T]:
            return await asyncio.gather(*work)

        return self.runner.run(go())

    def registered(self, *aors: str) -> None:
        self.rows.execute("DELETE FROM control.registrations")
        for aor in aors:
            self.rows.execute(
                "INSERT INTO control.registrations (aor, edge, contacts, since) VALUES (%s, 'edge1', 1, now())", (aor,)
            )  # fmt: skip

    def one(self, number: int, *states: str) -> tuple[int, str, str] | None:
        """A caller in one of these states: id, queue, ticket."""
        found = self.rows.execute(
            "SELECT id, queue, ticket FROM control.queue_callers WHERE state = ANY (%s) ORDER BY id", (list(states),)
        ).fetchall()  # fmt: skip
        return found[number % len(found)] if found else None

    def rings(self, caller: int) -> list[str]:
        """Who rings for it."""
        found = self.rows.execute(
            "SELECT member FROM control.queue_offers WHERE caller_id = %s ORDER BY member", (caller,)
        )
        return [member for (member,) in found]

    # ------------------------------------------------------------------------------------------------ what happens

    @initialize(names=st.lists(st.sampled_from(sorted(SETUP.queues)), min_size=3, max_size=5))
    def some_wait(self, names: list[str]) -> None:
        for number, queue in enumerate(names):
            self.comes(sorted(SETUP.queues).index(queue) + 6, number % 3)

    # One rule for all: of many rules an example uses some only.
    @rule(what=st.sampled_from(WHAT), number=st.integers(0, 99), process=st.integers(0, 2))
    def happens(self, what: str, number: int, process: int) -> None:
        getattr(self, what)(number, process)

    def comes(self, number: int, process: int) -> None:
        self.came += 1
        queue, caller = sorted(SETUP.queues)[number % 3], ("", "+49301", "+49302")[number // 3 % 3]
        ticket, skills = f"t{self.came}", ("german",) if number % 5 == 1 else ()
        visit = Visit(ticket, "acme", queue, ticket, f"media{process}", "", caller, "", number % 2, skills)
        self.does(self.stores[process].join(SETUP, visit))

    def asks_again(self, number: int, process: int) -> None:
        if found := self.one(number, "waiting", "ringing", "talking", "gone"):
            visit = Visit(found[2], "acme", found[1], found[2], f"media{process}")
            self.does(self.stores[process].join(SETUP, visit))

    def rings_and(self, number: int, process: int) -> None:
        """Somebody answers, nobody does, one says no, or the caller gives up."""
        if (found := self.one(number, "ringing")) is None:
            return
        caller, queue, store = found[0], SETUP.queues[found[1]], self.stores[process]
        self.does(store.take(caller))
        rings = self.rings(caller)
        if number % 4 == 0 and rings:
            assert self.does(store.answered(caller, rings[number % len(rings)])) == [True]
        elif number % 4 == 1 and rings:
            assert self.does(store.refused(caller, rings[0])) == [True]
        elif number % 4 == 2:
            self.does(store.missed(caller, queue, rings[:1]))
        else:
            self.does(store.leave(caller, "abandoned"))

    def talk_ends(self, number: int, process: int) -> None:
        if found := self.one(number, "talking"):
            assert self.does(self.stores[process].ended(found[0], SETUP.queues[found[1]])) == [True]
        self.rows.execute(
            "UPDATE control.queue_member_stats SET wrap_until = NULL, rest_until = NULL WHERE %s",
            (number % 2 == 0,),
        )

    def leaves(self, number: int, process: int) -> None:
        if found := self.one(number, "waiting", "talking", "gone"):
            self.does(self.stores[process].leave(found[0], ("abandoned", "timeout", "left")[number % 3]))

    def session_is_silent(self, number: int, process: int) -> None:
        if found := self.one(number, "waiting", "ringing", "talking"):
            self.rows.execute(
                "UPDATE control.queue_callers SET seen_at = seen_at - make_interval(secs => %s) WHERE id = %s",
                ((5, 7, 16)[number % 3], found[0]),
            )

    def heartbeat(self, number: int, process: int) -> None:
        """Of every second session."""
        found = self.rows.execute(
            "SELECT id, state FROM control.queue_callers WHERE id %% 2 = %s", (number % 2,)
        )
        states: dict[int, str] = dict(found.fetchall())
        (there,) = self.does(self.stores[process].heartbeat(states))
        assert there == {caller for caller, state in states.items() if state != "gone"}

    def sweep(self, number: int, process: int) -> None:
        self.does(self.stores[process].sweep())

    def member_says(self, number: int, process: int) -> None:
        values = {"in": number % 7 > 0, "paused": number % 5 == 0, "user": USERS[number % 3]}
        self.rows.execute(_SAYS, values)

    def devices_register(self, number: int, process: int) -> None:
        self.registered(*(aor for at, aor in enumerate(DEVICES) if at != number % 8))

    def everybody_decides(self, number: int, process: int) -> None:
        """Three processes at once, and they look for what is lost."""
        self.does(*(
            work for store in self.stores
            for work in (*(store.claim(SETUP, name) for name in SETUP.queues), store.sweep())
        ))  # fmt: skip
        self.decides(number, process)

    def decides(self, number: int, process: int) -> None:
        """Then nobody waits whom somebody could serve."""
        self.rows.execute(
            "UPDATE control.queue_member_stats SET last_offer_at = last_offer_at - interval '1 s'"
        )
        for name in ("vip", "few", "one"):
            self.does(self.stores[process].claim(SETUP, name))
        devices = (
            "{" + ",".join(f'"{user}": "{" ".join(aors)}"' for user, aors in SETUP.devices.items()) + "}"
        )
        found = self.rows.execute(_IDLE, {"users": list(USERS), "devices": devices})
        idle = {user for (user,) in found}
        for queue, skills in self.rows.execute(
            "SELECT queue, skills FROM control.queue_callers WHERE state = 'waiting'"
            " AND (retry_at IS NULL OR retry_at <= clock_timestamp())"
            " AND seen_at > clock_timestamp() - interval '14 s'"
        ).fetchall():  # fmt: skip
            able = {one.user for one in SETUP.queues[queue].members if one.skills or not skills} & idle
            if queue == "few" and able:
                # There is no room for both telephones of alice.
                assert self.alerted() > 0
            else:
                assert not able, f"a caller of {queue} waits while {able} could take the call"

    # ---------------------------------------------------------------------------------------------- what is true

    def alerted(self) -> int:
        row = self.rows.execute(
            "SELECT coalesce(sum(cardinality(o.legs)), 0) FROM control.queue_offers AS o"
            " JOIN control.queue_callers AS c ON c.id = o.caller_id WHERE o.queue = 'few' AND c.state = 'ringing'"
        ).fetchone()  # fmt: skip
        assert row is not None
        return int(row[0])

    @invariant()
    def a_member_is_in_one_place(self) -> None:
        """The primary key says that no member has two offers; each is for a caller whom it can be for."""
        for state, member, talks in self.rows.execute(
            "SELECT c.state, o.member, c.member FROM control.queue_offers AS o"
            " LEFT JOIN control.queue_callers AS c ON c.id = o.caller_id AND c.queue = o.queue"
        ).fetchall():
            assert state in ("ringing", "talking")
            assert state == "ringing" or member == talks, "one who talks alone is reserved"
        free = self.rows.execute(
            "SELECT count(*) FROM control.queue_callers AS c WHERE c.state = 'talking' AND NOT EXISTS ("
            "SELECT FROM control.queue_offers AS o WHERE o.caller_id = c.id AND o.member = c.member)"
        ).fetchone()
        assert free == (0,), "somebody talks and is not reserved"
        assert self.alerted() <= 2, "more telephones ring than may"

    @invariant()
    def places_are_a_line(self) -> None:
        """Of one queue after each step."""
        self.steps += 1
        name = sorted(SETUP.queues)[self.steps % 3]
        (told,) = self.does(self.stores[0].told(SETUP, name))
        assert sorted(one.position for one in told.values()) == list(range(1, len(told) + 1))
        row = self.rows.execute(
            "SELECT count(*) FROM control.queue_callers WHERE queue = %s"
            " AND state IN ('waiting', 'callback', 'ringing')",
            (name,),
        ).fetchone()
        assert row == (len(told),)

    @invariant()
    def everybody_ends_once(self) -> None:
        for caller, state, outcome, successor, ends in self.rows.execute(_ENDS, (list(OUTCOMES),)).fetchall():
            goes_on = state not in ("gone", "talking") or (outcome == "lost" and successor is not None)
            assert ends == (0 if goes_on else 1), f"caller {caller} ({state}, {outcome}) has {ends} outcomes"


@contextmanager
def processes(url: str) -> Iterator[tuple[asyncio.Runner, list[Store]]]:
    with asyncio.Runner() as runner:
        # Who said no rests until the machine says that time went by.
        stores = [runner.run(Store.connect(url, timeout_s=20, rest_s=3600)) for _ in range(3)]
        try:
            yield runner, stores
        finally:
            for store in stores:
                runner.run(store.close())


@pytest.mark.thorough
def test_the_rows_hold_whatever_happens(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_KNOWN.encode())
    # A few seconds: each step is some twenty statements. No shrinking, where each attempt costs as much as an example;
    # what failed is printed whole.
    few = settings(
        max_examples=12, stateful_step_count=30, deadline=None, database=None, print_blob=False,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with processes(url) as (runner, stores):

        class Ours(Rows):
            def __init__(self) -> None:
                super().__init__(url, runner, stores)

        run_state_machine_as_test(Ours, settings=few)
