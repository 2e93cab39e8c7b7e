"""Fraud: recorded calls as events, run through the rules; and the commands that say so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.types.json import Jsonb

from controller.cli import main
from controller.fraud import store
from controller.fraud.defaults import RATES, RULES
from controller.fraud.metrics import GAVE_UP
from controller.fraud.model import ANSWER, END, START
from tests.database.test_fraud_rows import ACME, insert

NIGHT = datetime(2026, 5, 5, 1, tzinfo=UTC)
TUNIS = "+216201234"


def record(
    connection: psycopg.Connection[Any],
    call: str,
    at: datetime,
    *,
    talk_s: float | None = 600,
    called: str = f"00{TUNIS[1:]}56",
    caller: str = "desk1@acme.example",
    direction: str = "outbound",
    steps: tuple[tuple[str, str], ...] = (("dp.route", f"{TUNIS}56 by carrier-a*10|carrier-b*10"),),
    ended_by: str = "callee",
) -> None:
    answered = None if talk_s is None else at + timedelta(seconds=5)
    ended = at + timedelta(seconds=5 + (talk_s or 0))
    decisions = [{"at": at.isoformat(), "node": "media1", "step": step, "text": text} for step, text in steps]
    connection.execute(
        """INSERT INTO control.call_records (call_id, account, direction, caller, called, started_at, answered_at,
               ended_at, duration_ms, talk_ms, ended_by, decisions, complete)
           VALUES (%s, 'acme', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true)""",
        (
            call, direction, caller, called, at, answered, ended, 5000 + (talk_s or 0) * 1000,
            None if talk_s is None else talk_s * 1000, ended_by, Jsonb(decisions),
        ),
    )  # fmt: skip


def told(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    profiles = store.setup(connection).profiles
    found = store.events(
        connection, profiles, RATES, None, NIGHT - timedelta(days=1), NIGHT + timedelta(days=1)
    )
    return [(one.id, one.kind, one.user, one.device, one.called, one.cls) for one in found]


DESK = ("alice", "desk1@acme.example")


def test_a_record_is_three_events_in_order_of_time(rows: psycopg.Connection[Any]) -> None:
    record(rows, "a", NIGHT, talk_s=60)
    record(rows, "b", NIGHT + timedelta(seconds=30), talk_s=None, ended_by="caller")
    number = (f"{TUNIS}56", "high_risk")
    assert told(rows) == [
        ("a/s", START, *DESK, *number),
        ("a/a", ANSWER, *DESK, *number),
        ("b/s", START, *DESK, *number),
        ("b/e", END, *DESK, *number),
        ("a/e", END, *DESK, *number),
    ]


def test_a_call_that_was_given_up_is_known_as_such(rows: psycopg.Connection[Any]) -> None:
    record(rows, "b", NIGHT, talk_s=None, ended_by="caller")
    found = list(
        store.events(rows, store.setup(rows).profiles, RATES, "acme", NIGHT, NIGHT + timedelta(days=1))
    )
    assert [(one.kind, one.status, one.duration_s, one.groups) for one in found] == [
        (START, 0, 0.0, ("sales",)), (END, GAVE_UP, 5.0, ("sales",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "events"),
    [
        # Forwarded: nobody's device; of an inbound call that stayed inside there is nothing to tell.
        ({"direction": "inbound", "caller": "+49301111111", "called": "+4930555010"},
         [("a/s", START, "", "", f"{TUNIS}56", "high_risk")]),
        # Sent on by a user, by an extension, transferred by a device.
        ({"direction": "inbound", "caller": "+49301111111", "called": "+4930555010",
          "steps": (("dp.forward", f"{TUNIS}56 of alice"), ("dp.route", f"{TUNIS}56 by carrier-a*10"))},
         [("a/s", START, "alice", "", f"{TUNIS}56", "high_risk")]),
        ({"direction": "inbound", "caller": "+49301111111", "called": "+4930555010",
          "steps": (("dp.forward", f"{TUNIS}56 of the account"), ("dp.route", f"{TUNIS}56 by carrier-a*10"),
                    ("dp.forward", f"{TUNIS}57 of 200"), ("dp.route", f"{TUNIS}57 by carrier-a*10"))},
         [("a/s", START, "", "", f"{TUNIS}56", "high_risk"), ("a/1/s", START, "200", "", f"{TUNIS}57", "high_risk")]),
        ({"direction": "inbound", "caller": "+49301111111", "called": "+4930555010",
          "steps": (("dp.transfer", f"00{TUNIS[1:]}56 permission international by desk1@acme.example"),
                    ("dp.route", f"{TUNIS}56 by carrier-a*10"))},
         [("a/s", START, *DESK, f"{TUNIS}56", "high_risk")]),
        ({"caller": "lobby@acme.example", "called": "101",
          "steps": (("dp.forward", f"{TUNIS}56 of alice"), ("dp.route", f"{TUNIS}56 by carrier-a*10"))},
         [("a/s", START, "lobby", "lobby@acme.example", f"{TUNIS}56", "high_risk")]),
        ({"direction": "inbound", "caller": "+49301111111", "called": "+4930555010", "steps": ()}, []),
        ({"direction": "internal", "called": "102", "steps": ()}, [("a/s", START, *DESK, "102", "internal")]),
        ({"steps": (("edge.refused", "blocked: 403"),)}, []),
        ({"direction": "internal", "called": "<script>", "steps": ()}, []),
    ],
)  # fmt: skip
def test_what_a_record_tells(
    rows: psycopg.Connection[Any], options: dict[str, Any], events: list[tuple[Any, ...]]
) -> None:
    record(rows, "a", NIGHT, **options)
    assert [one for one in told(rows) if one[1] == START] == events


def test_an_emergency_is_known_as_such(rows: psycopg.Connection[Any]) -> None:
    record(
        rows, "a", NIGHT, direction="outbound", called="112", steps=(("dp.emergency", "112 by carrier-a*1"),)
    )
    found = store.events(rows, store.setup(rows).profiles, RATES, None, NIGHT, NIGHT + timedelta(days=1))
    assert {one.emergency for one in found} == {True}


@pytest.fixture
def pumped(company: str) -> str:
    """A night of calls to Tunis, four at a time, after a month of two short ones a day."""
    with psycopg.connect(company) as connection:
        connection.execute("DELETE FROM control.audit")
        for number in range(40):
            record(connection, f"p{number}", NIGHT + timedelta(seconds=150 * number))
        for day in range(1, 25):
            for number in range(2):
                record(
                    connection,
                    f"d{day}-{number}",
                    NIGHT - timedelta(days=day, seconds=-3600 * number),
                    talk_s=30,
                )
    return company


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "fraud", *arguments])


SINCE = ("--since", "2026-05-05", "--until", "2026-05-06")


def test_a_replay_says_what_would_have_been_blocked_and_changes_nothing(pumped: str) -> None:
    before = state(pumped)
    done = run(pumped, "replay", *SINCE, "--format", "json")
    assert done.exit_code == 3, done.output
    effects = json.loads(done.stdout)
    assert sum(one["calls"] for one in effects) >= 30
    assert sum(one["minutes"] for one in effects) > 300
    assert sum(one["money"] for one in effects) == pytest.approx(
        sum(one["minutes"] for one in effects) * RATES["high_risk"], rel=0.01
    )
    assert "Nothing is enforced" in done.stderr
    assert "40 records" in done.stderr
    assert state(pumped) == before
    text = run(pumped, "replay", *SINCE)
    assert "of 1 accounts" in text.stdout


def state(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM blocks), (SELECT count(*) FROM control.entries), "
            "(SELECT count(*) FROM control.change_log), (SELECT count(*) FROM control.call_records)"
        ).fetchall()


def test_a_quiet_day_ends_with_0(pumped: str) -> None:
    done = run(pumped, "replay", "--since", "2026-05-01", "--until", "2026-05-02")
    assert done.exit_code == 0, done.output
    assert "2 records: 0 verdicts" in done.stdout


def test_a_replay_of_proposed_rules(pumped: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: one, metric: calls, scope: account, window_s: 60, critical: 1, destinations: TN, "
                    "actions: [block_destination]}]\nrates: {high_risk: 2}\n")  # fmt: skip
    done = run(pumped, "replay", *SINCE, "--rules", str(path), "--only", "--format", "json")
    (effect,) = json.loads(done.stdout)
    assert (effect["rule"], effect["calls"], effect["minutes"], effect["money"]) == ("one", 39, 390, 780)
    path.write_text("rules: [{name: one, metric: calls, scope: account, window_s: 60}]")
    refused = run(pumped, "replay", "--rules", str(path))
    assert refused.exit_code == 2
    assert "rules 1: give a warning" in refused.output


def test_an_allow_list_and_a_rule_that_is_off_keep_a_replay_quiet(pumped: str) -> None:
    with psycopg.connect(pumped) as connection:
        connection.execute(
            f"INSERT INTO fraud_allows (account_id, what, reason) VALUES ({ACME}, '+216', 'branch')".encode()
        )
    assert run(pumped, "replay", *SINCE).exit_code == 0


def test_explain_says_which_rule_holds_and_why(company: str) -> None:
    with psycopg.connect(company) as connection:
        account, alice = connection.execute(
            f"SELECT {ACME}, (SELECT id FROM users WHERE name = 'alice')".encode()
        ).fetchone() or (0, 0)
        own = {"name": "cost", "metric": "cost", "scope": "account", "window_s": 86_400, "critical": 500}
        insert(connection, account_id=account, **own)
        insert(connection, name="own", account_id=account, user_id=alice)
    done = run(
        company,
        "explain",
        "acme",
        "--device",
        "desk1@acme.example",
        "--to",
        "+88213123456",
        "--format",
        "json",
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["user"], said["class"], said["groups"]) == ("alice", "satellite", ["sales"])
    assert said["may_be_called"] == "no, by the row for everybody (default)"
    held = {one["rule"]: one for one in said["rules"]}
    assert held["cost"]["holds"] == "cost in 1 day of one account: critical at 500"
    assert held["cost"]["why"] == "for account acme (row), before that for everybody (default); it observes"
    assert held["own"]["why"] == "for user acme/alice (row); it observes"
    assert "critical at 500" in run(company, "explain", "acme").stdout
    for wrong_one in (
        ("nobody",),
        ("acme", "--user", "nobody"),
        ("acme", "--device", "x@y"),
        ("acme", "--to", "030"),
    ):
        assert run(company, "explain", *wrong_one).exit_code == 2


def test_rules_are_listed_with_where_they_come_from(company: str) -> None:
    with psycopg.connect(company) as connection:
        insert(connection, name="cost", comment="ours")
    listed = json.loads(run(company, "rules", "--format", "json").stdout)
    assert {one["from"] for one in listed} == {"default", "row"}
    assert [one["what it is for"] for one in listed if one["rule"] == "cost"] == ["ours"]
    assert len(listed) == len(RULES)


def test_a_replay_of_a_corpus_needs_no_database() -> None:
    done = CliRunner().invoke(
        main,
        ["fraud", "replay", "--corpus", "--seed", "5", "--days", "1", "--accounts", "24", "--format", "json"],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["stopped_pct"] >= 75
    assert found["most_calls_lost"] <= 10
    assert len(found["kinds"]) == 8
    assert "Nothing is enforced" in done.stderr
