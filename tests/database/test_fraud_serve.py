"""`dialplane fraud serve` in processes of its own: verdicts while it happens, once, whoever is killed in between."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from controller.cli.doctor import examine
from controller.errors import NodeError
from controller.fraud import feed, store
from controller.fraud.defaults import RATES
from controller.fraud.live import Live
from controller.fraud.model import Verdict
from controller.fraud.serve import Service
from tests.database.test_fraud import record
from tests.database.test_fraud_rows import insert

pytestmark = pytest.mark.thorough

DESK = "desk1@acme.example"
Start = Callable[[], subprocess.Popen[str]]
_ROW = """
    INSERT INTO control.call_events (call_id, node, at, event, detail, file_id, position)
    VALUES (%s, %s, to_timestamp(%s), %s, %s, %s, 0)"""


@pytest.fixture(scope="module")
def login(postgresql: str) -> Iterator[str]:
    """A login role that is nothing but the engine of fraud."""
    with psycopg.connect(postgresql, autocommit=True) as owner:
        owner.execute("CREATE ROLE fraud_login LOGIN IN ROLE dialplane_fraud")
    yield "fraud_login"
    with psycopg.connect(postgresql, autocommit=True) as owner:
        owner.execute("DROP ROLE fraud_login")


@pytest.fixture
def rows(company: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(company, autocommit=True) as connection:
        yield connection


@pytest.fixture
def serve(company: str, login: str) -> Iterator[Start]:
    """Starts one more process, as its unit does; all are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        url = make_conninfo(company, user=login)
        one = subprocess.Popen(
            [sys.executable, "-c", "from controller.cli import main; main()", "fraud", "serve"],
            env=os.environ | {"DIALPLANE_DATABASE": url}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def heard(process: subprocess.Popen[str], words: str) -> str:
    """The next line of its log that has them."""
    assert process.stderr is not None
    late = threading.Timer(30, process.kill)
    late.start()
    for line in process.stderr:
        if words in line:
            late.cancel()
            return line
    raise AssertionError(f"it ended and never said {words!r}")


def say(rows: psycopg.Connection[Any], event: str, call: str, at: float, **detail: Any) -> None:
    """A line of an edge, as its agent stores it."""
    values = (call, "edge1", at, event, Jsonb(detail), uuid.uuid4().hex)
    rows.execute(_ROW, values)


def begin(
    rows: psycopg.Connection[Any],
    call: str,
    at: float,
    number: int = 0,
    answered_at: float | None = None,
    called: str = "",
) -> None:
    """A telephone's call to Tunis is answered."""
    own = {"id": f"{call}:1", "leg": "in", "account": "acme", "caller": "alice", "device": DESK, "trunk": ""}
    out = {
        "id": f"{call}:2",
        "leg": "out",
        "account": "acme",
        "caller": "alice",
        "device": "",
        "trunk": "carrier-a",
    }
    # Another block of numbers each time.
    called = called or f"+2162{number % 10}12{number:04}"
    say(rows, "start", call, at, **own, called=f"00{called[1:]}", source="198.51.100.9", agent="phone/1")
    say(rows, "start", call, at, **out, called=called, payer=DESK)
    say(rows, "answered", call, answered_at or at, **out, called=called)


def over(rows: psycopg.Connection[Any], call: str, at: float) -> None:
    for leg, trunk in (("in", ""), ("out", "carrier-a")):
        line = {
            "id": f"{call}:{1 if leg == 'in' else 2}",
            "leg": leg,
            "account": "acme",
            "trunk": trunk,
            "called": "x",
        }
        say(rows, "end", call, at, **line, status=200)


def calls(rows: psycopg.Connection[Any], first: int, number: int, at: float | None = None) -> None:
    """So many answered calls of a second each."""
    for one in range(first, first + number):
        began = time.time() - 1 if at is None else at + one
        begin(rows, f"c{one}", began, one)
        over(rows, f"c{one}", began + 1)


def verdicts(rows: psycopg.Connection[Any], rule: str = "costly-calls") -> list[tuple[str, float]]:
    return rows.execute(
        "SELECT level, value FROM control.fraud_verdicts WHERE rule = %s ORDER BY id", (rule,)
    ).fetchall()


def until(condition: Callable[[], Any], limit_s: float = 15) -> float:
    """Wait until it holds; how long that took, in s."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + limit_s
        time.sleep(0.01)
    return time.monotonic() - began


WARNED, CRITICAL = ("warning", 5.0), ("critical", 8.0)


def test_a_campaign_is_a_row_as_soon_as_it_is_one(rows: psycopg.Connection[Any], serve: Start) -> None:
    heard(serve(), "works")
    calls(rows, 0, 4)
    time.sleep(1.2)
    assert verdicts(rows) == []
    calls(rows, 4, 4)
    assert until(lambda: len(verdicts(rows)) == 2) < 1
    assert verdicts(rows) == [WARNED, CRITICAL]
    row = rows.execute(
        """SELECT owner, scope, subject, account, mode, actions, threshold, until - at = interval '1 day', evidence[1:2]
             FROM control.fraud_verdicts WHERE rule = 'costly-calls' AND level = 'critical'"""
    ).fetchone()
    assert row == (
        "everybody", "account", "acme", "acme", "enforce", ["notify", "block_destination", "end_calls"], 8.0, True,
        ["+21627120007", "c7"],
    )  # fmt: skip


def test_killed_in_the_middle_it_goes_on_where_it_was(rows: psycopg.Connection[Any], serve: Start) -> None:
    first = serve()
    heard(first, "works")
    calls(rows, 0, 5)
    until(lambda: verdicts(rows) == [WARNED])
    first.kill()
    first.wait()
    heard(serve(), "works")
    calls(rows, 5, 2)
    time.sleep(1.5)
    # Seven are no eight, and none of them counts twice; the warning is not said again.
    assert verdicts(rows) == [WARNED]
    calls(rows, 7, 1)
    until(lambda: verdicts(rows) == [WARNED, CRITICAL])


def test_what_happened_while_nobody_looked_is_found_within_5_s(
    rows: psycopg.Connection[Any], serve: Start
) -> None:
    first = serve()
    heard(first, "works")
    calls(rows, 0, 5)
    until(lambda: verdicts(rows) == [WARNED])
    first.kill()
    first.wait()
    calls(rows, 5, 3)
    serve()
    assert until(lambda: verdicts(rows) == [WARNED, CRITICAL]) < 5


def test_a_verdict_in_force_is_not_said_again_and_ends_once(
    rows: psycopg.Connection[Any], serve: Start
) -> None:
    insert(rows, name="short", metric="calls", scope="account", window_s=600, critical=3, release_s=4)
    for _ in range(3):
        process = serve()
        heard(process, "works")
        if not verdicts(rows, "short"):
            calls(rows, 0, 3)
            until(lambda: verdicts(rows, "short"))
        process.kill()
        process.wait()
    assert verdicts(rows, "short") == [("critical", 3.0)]
    # It ends while nobody looks: the next one says so.
    time.sleep(4)
    for _ in range(2):
        process = serve()
        until(lambda: len(verdicts(rows, "short")) == 2)
        process.kill()
        process.wait()
    assert [level for level, _ in verdicts(rows, "short")] == ["critical", "released"]


def test_of_two_one_works_and_the_other_takes_over(rows: psycopg.Connection[Any], serve: Start) -> None:
    first = serve()
    heard(first, "works")
    second = serve()
    heard(second, "standing by")
    calls(rows, 0, 5)
    until(lambda: verdicts(rows) == [WARNED])
    calls(rows, 5, 2)
    first.kill()
    first.wait()
    calls(rows, 7, 1)
    assert until(lambda: len(verdicts(rows)) == 2) < 5
    assert verdicts(rows) == [WARNED, CRITICAL]


def test_a_row_whose_transaction_ends_late_is_not_passed_over(
    company: str, rows: psycopg.Connection[Any], serve: Start
) -> None:
    heard(serve(), "works")
    with psycopg.connect(company) as late:
        calls(late, 0, 4)
        calls(rows, 4, 4)
        time.sleep(1.5)
        assert verdicts(rows) == []
        late.commit()
    until(lambda: verdicts(rows) == [WARNED, CRITICAL])


def test_rules_and_allows_hold_as_soon_as_they_change(rows: psycopg.Connection[Any], serve: Start) -> None:
    process = serve()
    heard(process, "works")
    calls(rows, 0, 4)
    insert(rows, name="strict", metric="calls", scope="device", window_s=600, critical=4)
    # What was there before counts, too.
    assert until(lambda: verdicts(rows, "strict") == [("critical", 4.0)]) < 5
    rows.execute(
        "INSERT INTO fraud_allows (account_id, what, reason) "
        "SELECT id, '+216', 'branch' FROM accounts WHERE name = 'acme'"
    )
    time.sleep(2)
    calls(rows, 10, 10)
    time.sleep(1.5)
    assert verdicts(rows) == []


def test_a_new_rule_does_not_act_upon_what_was_over_before_it(
    rows: psycopg.Connection[Any], serve: Start
) -> None:
    """Its window sees what is going on, not the last hour."""
    process = serve()
    heard(process, "works")
    calls(rows, 0, 4, time.time() - 600)
    insert(rows, name="strict", metric="calls", scope="device", window_s=60, critical=4)
    heard(process, "counted anew")
    heard(process, "works")
    time.sleep(1)
    assert verdicts(rows, "strict") == []
    calls(rows, 10, 4)
    assert until(lambda: verdicts(rows, "strict") == [("critical", 4.0)]) < 5


def test_a_new_group_is_known_as_soon_as_it_is_one(rows: psycopg.Connection[Any], serve: Start) -> None:
    heard(serve(), "works")
    insert(rows, name="team", metric="calls", scope="group", window_s=60, critical=2)
    rows.execute(
        "INSERT INTO groups (account_id, name, display_name) SELECT id, 'late', 'x' FROM accounts WHERE name = 'acme'"
    )
    rows.execute(
        """INSERT INTO group_members (account_id, group_id, user_id) SELECT g.account_id, g.id, u.id
             FROM groups AS g JOIN users AS u ON u.account_id = g.account_id
            WHERE g.name = 'late' AND u.name = 'alice'"""
    )
    time.sleep(2)
    calls(rows, 0, 2)
    until(lambda: verdicts(rows, "team"))
    found = rows.execute("SELECT subject FROM control.fraud_verdicts WHERE rule = 'team'").fetchall()
    assert ("acme/late",) in found


def test_sign_ins_and_the_addresses_that_a_device_had(rows: psycopg.Connection[Any], serve: Start) -> None:
    now = time.time()
    for number in range(6):
        # Long known: no rule about new ones counts them.
        say(
            rows,
            "registered",
            f"device:{DESK}",
            now - 200_000 - number,
            source=f"192.0.2.{number}",
            agent=f"known/{number}",
        )
    first = serve()
    heard(first, "works")
    for number in range(8):
        say(
            rows,
            "refused_sign_in",
            "source:203.0.113.9",
            now,
            aor=f"a{number}@x.example",
            source="203.0.113.9",
            count=1,
        )
    until(lambda: verdicts(rows, "names-from-one-address") == [("warning", 4.0), ("critical", 8.0)])
    say(rows, "refused_sign_in", "source:203.0.113.8", now, aor="", source="203.0.113.8", count=250)
    until(lambda: verdicts(rows, "tries-from-one-address") == [("warning", 100.0), ("critical", 200.0)])
    for number in range(6):
        say(rows, "registered", f"device:{DESK}", now, source=f"192.0.2.{number}", agent=f"known/{number}")
    first.kill()
    first.wait()
    heard(serve(), "works")
    time.sleep(1.2)
    assert verdicts(rows, "many-phones") == []
    for number in range(4):
        say(rows, "registered", f"device:{DESK}", time.time(), source="192.0.2.0", agent=f"new/{number}")
    until(lambda: verdicts(rows, "many-phones") == [("warning", 2.0), ("critical", 4.0)])


def test_long_windows_are_those_of_records(rows: psycopg.Connection[Any], serve: Start) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=5)
    for number in range(7):
        at = earlier + timedelta(minutes=number)
        record(
            rows, f"r{number}", at, talk_s=1200, steps=(("dp.route", f"+2162{number}123456 by carrier-a*10"),)
        )
    heard(serve(), "works")
    time.sleep(1.2)
    # 140 minutes, of which nothing new is to be said: that is hours ago.
    assert verdicts(rows, "costly-minutes") == []
    now = time.time()
    begin(rows, "long", now - 900)
    over(rows, "long", now)
    until(lambda: [level for level, _ in verdicts(rows, "costly-minutes")] == ["critical"])
    assert verdicts(rows, "costly-minutes")[0][1] == pytest.approx(155, abs=0.1)


@pytest.mark.parametrize("known", [True, False])
def test_countries_that_were_called_weeks_ago_are_not_new(
    rows: psycopg.Connection[Any], serve: Start, known: bool
) -> None:
    numbers = ("+21620123456", "+221338212345", "+22320212345", "+2203661234", "+25377831001", "+26930123456")
    for number, called in enumerate(numbers[: 6 if known else 1]):
        at = datetime.now(UTC) - timedelta(days=10, minutes=number)
        record(rows, f"r{number}", at, talk_s=60, steps=(("dp.route", f"{called} by carrier-a*10"),))
    heard(serve(), "works")
    for number, called in enumerate(numbers):
        begin(rows, f"c{number}", time.time(), called=called)
        over(rows, f"c{number}", time.time())
    until(lambda: verdicts(rows) == [WARNED])
    time.sleep(0.2)
    assert [level for level, _ in verdicts(rows, "costly-new")] == ([] if known else ["warning"])


def test_a_call_is_told_by_its_record_or_by_its_lines_never_by_both(rows: psycopg.Connection[Any]) -> None:
    now = time.time()
    for number in range(3):
        # It began before the lines that are read, and was answered and over since: record and lines say the same.
        began = now - feed.FACTS_S - 60 + number
        begin(rows, f"c{number}", began, number, answered_at=began + 120)
        over(rows, f"c{number}", now - 1800)
        record(rows, f"c{number}", datetime.fromtimestamp(began, UTC), talk_s=2400)
    begin(rows, "up", now - 2 * feed.FACTS_S, 9)
    rows.execute(
        "INSERT INTO control.call_records (call_id, account, started_at) VALUES ('up', 'acme', to_timestamp(%s))",
        (now - 2 * feed.FACTS_S,),
    )
    setup, hears = store.setup(rows), Live(store.people(rows), store.setup(rows).profiles, RATES)
    with rows.transaction():
        told = list(feed.before(rows, setup, hears, RATES, now))
    assert sorted((one.call, one.kind) for one in told) == sorted(
        [(f"c{number}", kind) for number in range(3) for kind in ("start", "answer", "end")]
        + [("up", "start"), ("up", "answer")]
    )
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert len(hears) == 1


def test_what_cannot_follow_yet_is_tried_again_and_its_row_waits(
    company: str, rows: psycopg.Connection[Any]
) -> None:
    tried: list[Verdict] = []
    over_ = threading.Event()

    def act(connection: psycopg.Connection[Any], verdict: Verdict) -> None:
        if verdict.rule.name != "costly-calls":
            return
        connection.execute(
            "INSERT INTO settings (name, value) VALUES (%s, %s)", (f"t_{len(tried)}", verdict.level)
        )
        tried.append(verdict)
        if len(tried) < 3:
            raise NodeError("not yet")

    thread = threading.Thread(target=Service(company, act, over_.is_set).run)
    thread.start()
    try:
        until(lambda: rows.execute("SELECT 1 FROM control.fraud_usual").fetchone())
        calls(rows, 0, 5)
        until(lambda: tried)
        assert verdicts(rows) == []
        until(lambda: verdicts(rows) == [WARNED])
        assert [one.level for one in tried] == ["warning"] * 3
        # What was done with those that failed is undone.
        assert rows.execute("SELECT name FROM settings WHERE name LIKE 't_%'").fetchall() == [("t_2",)]
    finally:
        over_.set()
        thread.join(timeout=10)


def test_what_accounts_usually_do_raises_their_limits(rows: psycopg.Connection[Any], serve: Start) -> None:
    """Eight calls in ten minutes on each of a fortnight's days: today they are nothing new."""
    for day in range(1, 15):
        at = datetime.now(UTC) - timedelta(days=day)
        for number in range(8):
            steps = (("dp.route", f"+2162{number}12{day:02}{number:02} by carrier-a*10"),)
            record(rows, f"u{day}-{number}", at + timedelta(seconds=number), talk_s=1, steps=steps)
    heard(serve(), "works")
    found = rows.execute(
        "SELECT value FROM control.fraud_usual WHERE account = 'acme' AND rule = 'costly-calls'"
    ).fetchall()
    assert found == [(8.0,)]
    calls(rows, 0, 8)
    time.sleep(1.5)
    assert verdicts(rows) == []
    calls(rows, 8, 8)
    until(lambda: ("critical", 16.0) in verdicts(rows))


def test_doctor_says_whether_somebody_follows(
    company: str, rows: psycopg.Connection[Any], serve: Start
) -> None:
    def fraud() -> list[tuple[str, str]]:
        return [(one.found, one.remedy) for one in examine(company) if one.about == "fraud"]

    assert fraud() == []
    process = serve()
    heard(process, "works")
    calls(rows, 0, 8)
    until(lambda: CRITICAL in verdicts(rows))
    ((state, remedy),) = fraud()
    assert "critical verdicts in force" in state
    assert not state.startswith("is followed; 0")
    assert remedy == ""
    process.kill()
    process.wait()
    until(lambda: fraud()[0][1])
    assert "dialplane-fraud" in fraud()[0][1]


def test_verdicts_are_forgotten_when_their_time_is_over(rows: psycopg.Connection[Any]) -> None:
    for age in (1, 399, 401, 500):
        rows.execute(
            """INSERT INTO control.fraud_verdicts (rule, owner, scope, subject, level, mode, actions, value, threshold,
                                                   at, until)
               VALUES ('x', 'everybody', 'account', 'acme', 'critical', 'observe', '{notify}', 1, 1,
                       now() - make_interval(days => %(age)s + 1), now() - make_interval(days => %(age)s))""",
            {"age": age},
        )
    assert rows.execute("SELECT control.forget_verdicts(100)").fetchone() == (2,)
    rows.execute("INSERT INTO settings (name, value) VALUES ('fraud_verdicts_keep_days', 'forever')")
    assert rows.execute("SELECT control.forget_verdicts(100)").fetchone() == (0,)


def test_incidents_are_forgotten_when_they_are_over_for_long(
    rows: psycopg.Connection[Any], company: str, login: str
) -> None:
    for age, state in ((2, "released"), (399, "closed"), (401, "released"), (500, "closed"), (9000, "open")):
        rows.execute(
            """WITH i AS (
                   INSERT INTO fraud_incidents (rule, level, scope, subject, account, mode, value, threshold, at, until,
                                                state, ended_at, ended_by)
                   VALUES ('x', 'critical', 'account', 'acme', 'acme', 'enforce', 1, 1,
                           now() - make_interval(days => %(age)s + 1), now() - interval '600 days', %(state)s,
                           CASE WHEN %(state)s <> 'open' THEN now() - make_interval(days => %(age)s) END,
                           CASE WHEN %(state)s <> 'open' THEN 'time' END) RETURNING id)
               INSERT INTO control.fraud_actions (incident_id, action, state) SELECT id, 'notify', 'done' FROM i""",
            {"age": age, "state": state},
        )
    rows.execute(
        """INSERT INTO blocks (scope, subject, what, reason, incident_id)
           SELECT 'account', 'acme', '+88213', 'fraud', id FROM fraud_incidents WHERE state = 'open'"""
    )
    rows.execute("INSERT INTO settings (name, value) VALUES ('fraud_incidents_keep_days', 'forever')")
    ages = "SELECT coalesce(now()::date - ended_at::date, 0) FROM fraud_incidents ORDER BY 1"

    def left() -> list[int]:
        return [age for (age,) in rows.execute(ages)]

    # By the role of who follows, and a batch at a time.
    with psycopg.connect(make_conninfo(company, user=login), autocommit=True) as engine:
        feed.forget(engine)
        assert left() == [0, 2, 399, 401, 500]
        rows.execute("DELETE FROM settings WHERE name = 'fraud_incidents_keep_days'")
        feed.forget(engine, most=1)
        assert left() == [0, 2, 399, 401]
        feed.forget(engine)
        assert left() == [0, 2, 399]
        rows.execute("INSERT INTO settings (name, value) VALUES ('fraud_incidents_keep_days', '1')")
        feed.forget(engine)
    assert rows.execute("SELECT state FROM fraud_incidents").fetchall() == [("open",)]
    assert rows.execute("SELECT count(*) FROM control.fraud_actions").fetchone() == (1,)
    assert rows.execute("SELECT count(*) FROM blocks WHERE incident_id IS NOT NULL").fetchone() == (1,)
