"""Recorded calls against changed rows: what would have gone elsewhere, from where to where, and why.

Records are written as calls/fold.py writes them, with the events of asterisk/extensions.conf.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.types.json import Jsonb

from controller import replay
from controller.cli import main

pytestmark = pytest.mark.thorough

# A Tuesday, in office hours of the sample's schedule and at night.
DAY = datetime(2026, 5, 5, 8, tzinfo=UTC)
NIGHT = datetime(2026, 5, 5, 21, tzinfo=UTC)
SALES = "app1@acme.example&desk1@acme.example&bob@acme.example&+4930888600~10"
BEGIN_INSIDE = ("dp.begin", "dialled {called} user carol trunk  from 104")
BEGIN_OUTSIDE = ("dp.begin", "dialled +4930555013 user  trunk carrier-a from +49301234567")
TO_SUPPORT = [BEGIN_INSIDE, ("dp.queue", "support")]
TO_SALES = [BEGIN_INSIDE, ("dp.ring", f"{SALES} for 30 s")]
SILENT, ANSWERED = ("dp.rang", "NOANSWER cause 19"), ("dp.rang", "ANSWER cause 16")
Events = list[tuple[str, str]]


@pytest.fixture
def company(new_database: Callable[[str], str], published_sample: str) -> str:
    return new_database(published_sample)


def record(
    connection: psycopg.Connection[Any],
    events: Events,
    *,
    called: str = "600",
    caller: str = "carol@acme.example",
    at: datetime = DAY,
    call_id: str = "call-1",
    legs: tuple[str, ...] = ("in", "channel"),
) -> None:
    decisions = [
        {"at": at.isoformat(), "node": "media1", "step": step, "text": text.format(called=called)}
        for step, text in events
    ]
    connection.execute(
        """INSERT INTO control.call_records (call_id, account, direction, caller, called, started_at, decisions, legs,
                                             complete) VALUES (%s, 'acme', 'internal', %s, %s, %s, %s, %s, true)""",
        (call_id, caller, called, at, Jsonb(decisions), Jsonb([{"leg": leg} for leg in legs])),
    )


def replayed(connection: psycopg.Connection[Any]) -> list[tuple[str, str, str]]:
    connection.commit()
    since, until = DAY - timedelta(days=1), DAY + timedelta(days=2)
    found = replay.run(connection, account=None, since=since, until=until)
    return [(one.verdict.verdict, one.verdict.was, one.verdict.would) for one in found]


@pytest.mark.parametrize(
    ("events", "options"),
    [
        (TO_SALES, {}),
        ([*TO_SALES, ANSWERED], {}),
        ([*TO_SALES, SILENT, ("dp.next", "voicemail:600"), ("dp.voicemail", "600@acme")], {}),
        ([("dp.begin", "dialled 102 user alice trunk  from 101"), ("dp.ring", "bob for 15 s"),
          ("dp.rang", "bob BUSY cause 17"), ("dp.next", "busy")], {"called": "102", "caller": "desk1@acme.example"}),
        ([("dp.begin", "dialled *43 user carol trunk  from 104")], {"called": "*43"}),
        ([BEGIN_OUTSIDE, ("dp.menu", "welcome"), ("dp.menu", "welcome: 1"), ("dp.next", "group:sales"),
          ("dp.ring", f"{SALES} for 30 s"), ("dp.forward", "+4930888600"),
          ("dp.route", "+4930888600 by carrier-a*1|carrier-b*1"), ("edge.refused", "unregistered: 404"), ANSWERED],
         {"caller": "+49301234567", "called": "+4930555013"}),
        ([BEGIN_OUTSIDE, ("dp.menu", "welcome"), ("dp.menu", "welcome: nothing was pressed")],
         {"caller": "+49301234567", "called": "+4930555013"}),
        ([BEGIN_OUTSIDE, ("dp.menu", "welcome"), ("dp.menu", "welcome: extension 102"), ("dp.next", "extension:102"),
          ("dp.ring", "bob for 15 s")], {"caller": "+49301234567", "called": "+4930555013"}),
        ([BEGIN_OUTSIDE, ("dp.voicemail", "600@acme")],
         {"caller": "+49301234567", "called": "+4930555013", "at": NIGHT}),
        ([("dp.begin", "dialled 0891234567 user bob trunk  from 102"),
          ("dp.route", "+49891234567 by carrier-a*10|carrier-b*10"), ("dp.trunk", "carrier-a +49891234567 ANSWER")],
         {"called": "0891234567", "caller": "bob@acme.example"}),
        ([("dp.begin", "dialled 0033123456789 user bob trunk  from 102"),
          ("dp.refused", "+33123456789 is international: permission national")],
         {"called": "0033123456789", "caller": "bob@acme.example"}),
        ([("dp.begin", "dialled 112 user carol trunk  from 104"), ("dp.emergency", "112 by carrier-a*1|carrier-b*1")],
         {"called": "112"}),
        ([], {"called": "103", "legs": ("straight",)}),
        # Whom a queue rang is not compared, where it led on is.
        (TO_SUPPORT, {"called": "620"}),
        ([*TO_SUPPORT, ("dp.ring", "lobby@acme.example for 20 s"), ANSWERED], {"called": "620"}),
        ([*TO_SUPPORT, ("dp.ring", "bob@acme.example for 20 s"), SILENT, ("dp.queue", "support left: voicemail:600"),
          ("dp.next", "voicemail:600"), ("dp.voicemail", "600@acme")], {"called": "620"}),
    ],
)  # fmt: skip
def test_what_is_unchanged_is_the_same(company: str, events: Events, options: dict[str, Any]) -> None:
    with psycopg.connect(company) as connection:
        record(connection, events, **options)
        assert replayed(connection) == [("same", "", "")]


CHANGES: list[tuple[str, Events, dict[str, Any], str, str]] = [
    ("DELETE FROM group_members WHERE number IS NOT NULL", TO_SALES, {},
     ("ring app1@acme.example, desk1@acme.example, bob@acme.example, +4930888600 after 10 for 30 s"),
     "ring app1@acme.example&desk1@acme.example&bob@acme.example for 30 s"),
    ("UPDATE groups SET on_no_answer = 'extension:102'",
     [*TO_SALES, SILENT, ("dp.next", "voicemail:600"), ("dp.voicemail", "600@acme")], {},
     "voicemail 600@acme", "ring bob for 15 s"),
    ("UPDATE policies SET otherwise = 'group:sales'", [BEGIN_OUTSIDE, ("dp.menu", "welcome")],
     {"caller": "+49301234567", "called": "+4930555013"}, "menu welcome", f"ring {SALES} for 30 s"),
    ("UPDATE menu_choices SET step = 'extension:103' WHERE digits = '1'",
     [BEGIN_OUTSIDE, ("dp.menu", "welcome"), ("dp.menu", "welcome: 1"), ("dp.ring", f"{SALES} for 30 s")],
     {"caller": "+49301234567", "called": "+4930555013"}, f"ring {SALES} for 30 s", "ring lobby for 25 s"),
    ("DELETE FROM menu_choices WHERE digits = '1'",
     [BEGIN_OUTSIDE, ("dp.menu", "welcome"), ("dp.menu", "welcome: 1"), ("dp.ring", f"{SALES} for 30 s")],
     {"caller": "+49301234567", "called": "+4930555013"}, f"ring {SALES} for 30 s", "1 is no choice now"),
    ("UPDATE extensions SET kind = 'echo', group_id = NULL WHERE kind = 'group'", TO_SALES, {},
     f"ring {SALES} for 30 s", "echo test"),
    ("INSERT INTO forwardings (account_id, user_id, step) SELECT account_id, id, 'voicemail:102' FROM users "
     "WHERE name = 'lobby'", [], {"called": "103", "legs": ("straight",)}, "straight to 103", "voicemail 102@acme"),
    ("UPDATE queues SET on_full = 'busy', on_timeout = 'extension:102', on_empty = 'busy' WHERE name = 'support'",
     [*TO_SUPPORT, ("dp.queue", "support left: voicemail:600"), ("dp.next", "voicemail:600"),
      ("dp.voicemail", "600@acme")], {"called": "620"}, "voicemail 600@acme",
     "wait in queue support: least recent, 20 s each"),
    ("UPDATE users SET permission = 'international' WHERE name = 'bob'",
     [("dp.begin", "dialled 0033123456789 user bob trunk  from 102"),
      ("dp.refused", "+33123456789 is international: permission national")],
     {"called": "0033123456789", "caller": "bob@acme.example"},
     "refuse: +33123456789 is international: permission national", "dial +33123456789 by carrier-a, then carrier-b"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "events", "options", "was", "would"), CHANGES)
def test_what_a_change_of_rows_sends_elsewhere(
    company: str, change: str, events: Events, options: dict[str, Any], was: str, would: str
) -> None:
    with psycopg.connect(company) as connection:
        record(connection, events, **options)
        assert replayed(connection) == [("same", "", "")]
        connection.execute(change)
        ((verdict, went, goes),) = replayed(connection)
        spoken = Spoken(would)
        assert (verdict, went, goes) == ("elsewhere", Spoken(was), spoken)


class Spoken(str):
    """As a place is printed: legs of a ring with commas."""

    __slots__ = ()

    def __new__(cls, text: str) -> Spoken:
        return super().__new__(cls, text.replace("~", " after ").replace("&", ", "))


def test_each_call_has_the_schedule_and_the_overrides_of_its_time(company: str) -> None:
    """The schedule was closed by hand while the second call came: it is that, not what holds now, that counts."""
    outside: dict[str, Any] = {"caller": "+49301234567", "called": "+4930555013"}
    now = datetime.now(UTC)
    with psycopg.connect(company) as connection:
        override = """INSERT INTO schedule_overrides (account_id, schedule_id, open)
                      SELECT account_id, id, {} FROM schedules"""
        for number, (is_, events) in enumerate(
            [("true", [("dp.menu", "welcome")]), ("false", [("dp.voicemail", "600@acme")])]
        ):
            connection.execute("DELETE FROM schedule_overrides")
            connection.execute(override.format(is_))
            connection.commit()
            at = connection.execute("SELECT clock_timestamp()").fetchone()[0]  # type: ignore[index]
            connection.commit()
            record(connection, [BEGIN_OUTSIDE, *events], at=at, call_id=f"call-{number}", **outside)
            connection.commit()
        connection.execute("DELETE FROM schedule_overrides")
        connection.commit()
        found = replay.run(connection, account="acme", since=now, until=now + timedelta(hours=1))
        assert [one.verdict.verdict for one in found] == ["same", "same"]


@pytest.mark.parametrize("strategy", ["in_order", "round_robin", "least_recent", "fewest_calls"])
def test_whose_turn_it_was_is_no_difference(company: str, strategy: str) -> None:
    bob, alice = ("dp.ring", "bob@acme.example for 15 s"), (
        "dp.ring", "app1@acme.example&desk1@acme.example for 15 s")  # fmt: skip
    with psycopg.connect(company) as connection:
        connection.execute("UPDATE groups SET strategy = %s", (strategy,))
        connection.execute("DELETE FROM group_members WHERE number IS NOT NULL")
        record(connection, [BEGIN_INSIDE, bob, SILENT, alice, ANSWERED])
        expected = "elsewhere" if strategy == "in_order" else "same"
        assert [one[0] for one in replayed(connection)] == [expected]
        connection.execute(
            "DELETE FROM group_members m USING users u WHERE u.id = m.user_id AND u.name = 'bob'"
        )
        assert [one[0] for one in replayed(connection)] == ["elsewhere"]


@pytest.mark.parametrize(
    ("condition", "values", "why"),
    [
        ("header_name, header_value", "'X-Customer', 'gold'", "asks for header X-Customer: not recorded"),
        ("user_id, min_devices", "(SELECT id FROM users WHERE name = 'bob'), 1", "asks who was registered"),
        (
            "user_id, presence",
            "(SELECT id FROM users WHERE name = 'bob'), 'registered'",
            "asks who was registered",
        ),
    ],
)
def test_what_was_not_recorded_is_not_known(company: str, condition: str, values: str, why: str) -> None:
    outside: dict[str, Any] = {"caller": "+49301234567", "called": "+4930555013"}
    with psycopg.connect(company) as connection:
        record(connection, [BEGIN_OUTSIDE, ("dp.menu", "welcome")], **outside)
        connection.execute(
            f"""INSERT INTO policy_rules (account_id, policy_id, position, caller, {condition}, action, target)
                SELECT account_id, id, 5, '+4989*', {values}, 'reject', 'busy' FROM policies""".encode()
        )
        # The rule asks for another caller first, so the rest of it does not matter.
        assert [one[0] for one in replayed(connection)] == ["same"]
        connection.execute("UPDATE policy_rules SET caller = NULL WHERE position = 5")
        connection.commit()
        (one,) = replay.run(
            connection, account=None, since=DAY - timedelta(days=1), until=DAY + timedelta(days=1)
        )
        assert one.verdict.verdict == "unknown"
        assert why in one.verdict.why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE groups SET one_call = true", "takes one call at a time"),
        ("UPDATE group_members SET joins = true WHERE user_id IS NOT NULL", "join by registering"),
    ],
)
def test_who_rings_in_a_group_that_asks_for_the_moment_is_not_known(
    company: str, change: str, why: str
) -> None:
    with psycopg.connect(company) as connection:
        record(connection, [*TO_SALES, ANSWERED])
        assert [one[0] for one in replayed(connection)] == ["same"]
        connection.execute(change.encode())
        connection.commit()
        (one,) = replay.run(
            connection, account=None, since=DAY - timedelta(days=1), until=DAY + timedelta(days=1)
        )
        assert one.verdict.verdict == "unknown"
        assert why in one.verdict.why


def test_a_call_that_no_server_decided_is_not_known(company: str) -> None:
    with psycopg.connect(company) as connection:
        record(
            connection,
            [BEGIN_INSIDE, ("dp.fallback", "group sales: the server cannot be reached"), *TO_SALES[1:]],
        )
        record(connection, [("edge.refused", "blocked: 403")], call_id="call-2", legs=("in",))
        assert [one[0] for one in replayed(connection)] == ["unknown"]


def test_the_command_lists_what_differs_sums_up_and_says_so_by_its_code(company: str) -> None:
    ask = ["--database", company, "policy", "replay", "--since", "2026-05-05", "--until", "2026-05-06"]
    with psycopg.connect(company) as connection:
        for number in range(3):
            record(
                connection,
                [*TO_SALES, ANSWERED],
                call_id=f"call-{number}",
                at=DAY + timedelta(minutes=number),
            )
        connection.commit()
        unchanged = CliRunner().invoke(main, ask)
        assert (unchanged.exit_code, unchanged.stdout) == (
            0,
            "3 calls: 3 as before, 0 elsewhere, 0 not known\n",
        )
        connection.execute("UPDATE extensions SET kind = 'echo', group_id = NULL WHERE kind = 'group'")
        connection.commit()
    changed = CliRunner().invoke(main, [*ask, "--limit", "2"])
    assert changed.exit_code == 3
    assert "3 calls: 0 as before, 3 elsewhere, 0 not known" in changed.stdout
    assert "1 more are not listed (--limit)" in changed.stdout
    assert changed.stdout.count("echo test: extension 600") == 2
    as_json = CliRunner().invoke(main, [*ask, "--account", "acme", "--format", "json"])
    assert [one["would go to"] for one in json.loads(as_json.stdout)] == ["echo test"] * 3
    assert CliRunner().invoke(main, [*ask, "--account", "globex"]).exit_code == 0
    assert CliRunner().invoke(main, [*ask[:-1], "2026-05-01"]).exit_code == 2
