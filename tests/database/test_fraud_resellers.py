"""Accounts of a reseller: rules over all of them, what is said of them, and what then meets each of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from controller.cli import main
from controller.fraud import feed, store
from controller.fraud.defaults import RATES
from controller.fraud.enforce import act
from controller.fraud.live import Live
from controller.fraud.model import CRITICAL, ENFORCE, Owner, Rule, Verdict
from controller.fraud.serve import Service
from controller.schema.importer import load, read_company
from tests.database.fraud_nodes import DESK, Nodes
from tests.database.test_fraud import NIGHT, record
from tests.database.test_fraud_rows import ACME, insert
from tests.database.test_fraud_serve import say, until
from tests.database.test_refusals import refusal

ACCOUNT = """
    INSERT INTO accounts (name, display_name, cluster_id, country, reseller)
    SELECT %s, 'x', cluster_id, 'DE', %s FROM accounts WHERE name = 'acme'"""
NORTH = (("acme", "north"), ("beta", "north"), ("gamma", "south"), ("delta", None))


def resell(connection: psycopg.Connection[Any]) -> None:
    """acme and beta are customers of north, gamma is one of south, delta of nobody."""
    connection.execute("UPDATE accounts SET reseller = 'north' WHERE name = 'acme'")
    for one in NORTH[1:]:
        connection.execute(ACCOUNT.encode(), one)


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    """The sample company, published, with accounts of resellers."""
    address = new_database(published_sample)
    with psycopg.connect(address) as connection:
        resell(connection)
    return address


@pytest.fixture
def login(url: str) -> Iterator[str]:
    """The database as a login role that is nothing but the engine of fraud."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE ROLE reselling LOGIN IN ROLE dialplane_fraud")
    yield make_conninfo(url, user="reselling")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE reselling")


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "fraud", *arguments])


def blocked(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT scope, subject, what, most FROM blocks ORDER BY 2, 3").fetchall()


# --- rows -----------------------------------------------------------------------------------------------------------


def test_rows_of_a_reseller(rows: psycopg.Connection[Any]) -> None:
    resell(rows)
    insert(rows, scope="reseller", reseller="north")
    # A name that no account has yet.
    insert(rows, reseller="later")
    rows.execute("INSERT INTO fraud_permissions (reseller, class, allowed) VALUES ('north', 'premium', true)")
    found = store.setup(rows)
    mine = [(one.owner, one.scope) for one in found.rules if one.name == "x"]
    assert mine == [(Owner(reseller="north"), "reseller"), (Owner(reseller="later"), "device")]
    assert ("premium", Owner(reseller="north")) in [(one.cls, one.owner) for one in found.permissions]
    assert {name: found.profiles[name].reseller for name, _ in NORTH} == {
        name: reseller or "" for name, reseller in NORTH
    }
    logged = rows.execute(
        "SELECT account, state, key FROM control.change_log WHERE tbl LIKE 'fraud%' ORDER BY id"
    ).fetchall()
    assert logged == [
        (None, "operational", "x/reseller:north"),
        (None, "operational", "x/reseller:later"),
        (None, "operational", "reseller:north/premium"),
    ]


def test_an_account_that_changes_hands_leaves_nothing_to_apply(rows: psycopg.Connection[Any]) -> None:
    newest = "SELECT tbl, key, state FROM control.change_log ORDER BY id DESC LIMIT 1"
    rows.execute("UPDATE accounts SET reseller = 'south' WHERE name = 'acme'")
    assert rows.execute(newest.encode()).fetchone() == ("accounts", "acme", "operational")
    rows.execute("UPDATE accounts SET reseller = 'north', display_name = 'Acme' WHERE name = 'acme'")
    assert rows.execute(newest.encode()).fetchone() == ("accounts", "acme", "configuration")


RULE = "INSERT INTO fraud_rules (name, metric, scope, window_s, critical, {}) VALUES ('x', 'calls', 'user', 60, 5, {})"


@pytest.mark.parametrize(
    ("statement", "name", "hint"),
    [
        ("UPDATE accounts SET reseller = 'The North' WHERE name = 'acme'", "accounts acme: ", "inner hyphens"),
        (RULE.format("reseller", "'The North'"), "fraud_rules x/reseller:The North: ", "inner hyphens"),
        (RULE.format("reseller, account_id", f"'north', {ACME}"), "fraud_rules x/", "or reseller alone"),
        (
            "INSERT INTO fraud_permissions (reseller, account_id, class, allowed) "
            f"VALUES ('north', {ACME}, 'premium', true)",
            "fraud_permissions ", "reseller stands alone",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(rows: psycopg.Connection[Any], statement: str, name: str, hint: str) -> None:
    error = refusal(rows, statement)
    assert (error.diag.message_primary or "").startswith(name)
    assert hint in (error.diag.message_hint or "")


def test_a_reseller_has_one_rule_of_a_name(rows: psycopg.Connection[Any]) -> None:
    insert(rows, reseller="north")
    insert(rows, reseller="south")
    insert(rows)
    with pytest.raises(psycopg.errors.UniqueViolation, match="fraud_rules_name_key"):
        insert(rows, reseller="north")


def test_a_company_file_holds_them(rows: psycopg.Connection[Any], tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(
        """
fraud_rules:
  - {name: night, reseller: north, metric: calls, scope: reseller, window_s: 60, critical: 90}
  - {name: night, reseller: south, metric: calls, scope: reseller, window_s: 60, critical: 30}
fraud_permissions: [{reseller: north, class: satellite, allowed: true}]
accounts:
  - {name: acme, display_name: Acme GmbH, cluster: c1, country: DE, reseller: north}
"""
    )
    first = load(rows, read_company(path))
    again = load(rows, read_company(path))
    assert (first.added, again.added, again.changed) == (3, 0, 0)
    found = store.setup(rows)
    assert found.profiles["acme"].reseller == "north"
    night = {str(one.owner): one.critical for one in found.rules if one.name == "night"}
    assert night == {"reseller north": 90, "reseller south": 30}


def test_records_say_whose_customer_an_account_is(rows: psycopg.Connection[Any]) -> None:
    resell(rows)
    record(rows, "a", NIGHT)
    found = store.events(rows, store.setup(rows).profiles, RATES, None, NIGHT, NIGHT + timedelta(days=1))
    assert {one.reseller for one in found} == {"north"}


def test_so_does_what_was_long_before(rows: psycopg.Connection[Any]) -> None:
    resell(rows)
    now = time.time()
    record(rows, "a", datetime.now(UTC) - timedelta(days=20))
    say(rows, "registered", f"device:{DESK}", now - 20 * 86_400, source="192.0.2.1", agent="known")
    setup = store.setup(rows)
    hears = Live(store.people(rows), setup.profiles, RATES)
    found = list(feed.before(rows, setup, hears, RATES, now))
    assert {(one.kind, one.id.startswith(feed.SEEN), one.reseller) for one in found} == {
        ("start", True, "north"), ("register", True, "north"),
    }  # fmt: skip


# --- what follows ---------------------------------------------------------------------------------------------------


def verdict(*actions: str, subject: str = "north", account: str = "beta", **more: Any) -> Verdict:
    rule = Rule("abroad", "calls", "reseller", 60, critical=5, actions=actions, mode=ENFORCE, **more)
    now = time.time()
    return Verdict(rule, "reseller", subject, CRITICAL, 6, 5, now, now + 3600, 1.0, ("+88213555",), account)


ACTIONS = [
    ("block_destination", {"destinations": ("TN", "+88213")}, [("+88213", None), ("TN", None)]),
    ("outbound_off", {}, [("outside", None)]),
    ("cap_calls", {}, [("*", 5)]),
    ("suspend", {}, [("*", None)]),
]


@pytest.mark.parametrize(("action", "more", "whats"), ACTIONS)
def test_each_account_of_it_is_blocked_and_no_other(
    url: str, login: str, action: str, more: dict[str, Any], whats: list[tuple[str, int | None]]
) -> None:
    with psycopg.connect(login, autocommit=True) as working:
        number = act(working, verdict(action, **more))
    with psycopg.connect(url) as owner:
        assert blocked(owner) == [("account", name, *one) for name in ("acme", "beta") for one in whats]
        assert owner.execute("SELECT state FROM control.fraud_actions").fetchall() == [("done",)]
        published = owner.execute(
            "SELECT DISTINCT split_part(key, ':', 2) FROM control.entries WHERE tbl = 'block' ORDER BY 1"
        ).fetchall()
        assert published == [("acme",), ("beta",)]
        # An account that was in it is told what stops it, whoever was seen last.
        listed = json.loads(run(url, "incidents", "--account", "acme", "--format", "json").stdout)
        assert [one["incident"] for one in listed] == [number]
        owner.execute("UPDATE fraud_incidents SET state = 'released'")
        assert blocked(owner) == []


def test_an_account_that_is_allowed_everything_is_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"INSERT INTO fraud_allows (account_id, reason) VALUES ({ACME}, 'ours')".encode())
        act(owner, verdict("outbound_off", "rotate", account="acme"))
        assert blocked(owner) == [("account", "beta", "outside", None)]
        states = owner.execute("SELECT action, state FROM control.fraud_actions ORDER BY id").fetchall()
    # beta has no devices, and those of acme keep their passwords.
    assert states == [("outbound_off", "done"), ("unregister", "failed"), ("rotate", "failed")]


def test_calls_and_contacts_of_its_accounts_end(url: str) -> None:
    with Nodes(url) as nodes:
        nodes.add("call-1")
        nodes.contacts = {DESK: 1}
        done = run(
            url, "block", "reseller:north", "--action", "outbound_off", "--action", "end_calls", "--action",
            "rotate",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert (nodes.up(), nodes.contacts) == (set(), {})
    with psycopg.connect(url) as owner:
        rotated = owner.execute(
            "SELECT r ->> 'device' FROM control.fraud_actions, jsonb_array_elements(receipt) AS r "
            "WHERE action = 'rotate'"
        ).fetchall()
        (devices,) = owner.execute(
            f"SELECT count(*) FROM devices WHERE account_id = {ACME}".encode()
        ).fetchall()
    assert (DESK,) in rotated
    assert len(rotated) == devices[0]


def test_a_person_blocks_a_reseller_and_lifts_it(url: str) -> None:
    done = run(url, "block", "reseller:north", "--to", "TN", "--for", "2h")
    assert done.exit_code == 0, done.output
    assert "incident 1: reseller north, critical, enforce: open" in done.stdout
    with psycopg.connect(url, autocommit=True) as owner:
        assert blocked(owner) == [("account", "acme", "TN", None), ("account", "beta", "TN", None)]
        lifted = run(url, "unblock", "reseller:north")
        assert lifted.stdout == "incident 1 released: its blocks are lifted\n"
        assert blocked(owner) == []
    unknown = run(url, "block", "reseller:nobody")
    assert unknown.exit_code == 2
    assert "there is no reseller nobody" in unknown.stderr


def test_one_that_has_no_accounts_any_more_says_so(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        act(owner, verdict("suspend", "outbound_off", subject="gone", account=""))
        found = owner.execute("SELECT state, receipt -> 0 ->> 'text' FROM control.fraud_actions").fetchall()
    assert [state for state, _ in found] == ["failed", "failed"]
    assert all(why for _, why in found)


# --- commands, and while it happens ---------------------------------------------------------------------------------


def test_explain_and_rules_know_the_accounts_reseller(url: str) -> None:
    with psycopg.connect(url) as owner:
        for reseller in ("north", "south"):
            insert(owner, name="cost", metric="cost", scope="account", window_s=86_400, reseller=reseller)
        owner.execute(
            "INSERT INTO fraud_permissions (reseller, class, allowed) VALUES ('north', 'satellite', true)"
        )
    said = json.loads(run(url, "explain", "acme", "--to", "+88213123456", "--format", "json").stdout)
    assert said["reseller"] == "north"
    assert said["may_be_called"] == "yes, by the row for reseller north (row)"
    cost = next(one for one in said["rules"] if one["rule"] == "cost")
    assert cost["why"] == "for reseller north (row), before that for everybody (default); it observes"
    assert "reseller       north" in run(url, "explain", "beta").stdout
    assert "reseller" not in run(url, "explain", "delta").stdout
    listed = json.loads(run(url, "rules", "--account", "acme", "--format", "json").stdout)
    assert {one["for"] for one in listed if one["rule"] == "cost"} == {"everybody", "reseller north"}


def call(rows: psycopg.Connection[Any], name: str, account: str, number: int) -> None:
    """A call of that account to Tunis is answered, and over."""
    now, device, called = time.time(), f"phone@{account}.example", f"+2162{number}12{number:04}"
    whose = {"account": account, "caller": "anna"}
    own = whose | {"id": f"{name}:1", "leg": "in", "device": device, "trunk": "", "called": called}
    out = whose | {"id": f"{name}:2", "leg": "out", "device": "", "trunk": "carrier-a", "called": called}
    say(rows, "start", name, now, **own)
    say(rows, "start", name, now, **out, payer=device)
    say(rows, "answered", name, now, **out)
    for leg in (out, own):
        say(rows, "end", name, now, **leg, status=200)


@pytest.mark.thorough
def test_what_happens_at_its_accounts_is_one_verdict_that_meets_all_of_them(url: str, login: str) -> None:
    over = threading.Event()
    thread = threading.Thread(target=Service(login, stop=over.is_set).run)
    with psycopg.connect(url, autocommit=True) as rows:
        insert(rows, name="all", metric="answered", scope="reseller", window_s=600, reseller="north", mode="enforce",
               critical=6, destinations=["TN"], actions=["notify", "block_destination"])  # fmt: skip
        thread.start()
        try:
            until(lambda: rows.execute("SELECT 1 FROM control.fraud_usual").fetchone())
            for number in range(6):
                call(rows, f"x{number}", ("acme", "beta", "gamma", "delta", "gamma", "delta")[number], number)
            # Another account becomes a customer of it: no restart.
            rows.execute("UPDATE accounts SET reseller = 'north' WHERE name = 'delta'")
            time.sleep(2)
            for number in range(3):
                call(rows, f"y{number}", "delta", number)
            time.sleep(1)
            assert blocked(rows) == [], "five are not six"
            call(rows, "z", "acme", 9)
            until(lambda: blocked(rows))
        finally:
            over.set()
            thread.join(timeout=10)
        assert blocked(rows) == [("account", name, "TN", None) for name in ("acme", "beta", "delta")]
        incident = rows.execute(
            "SELECT owner, scope, subject, account, value FROM fraud_incidents WHERE rule = 'all'"
        ).fetchall()
    assert incident == [("reseller north", "reseller", "north", "acme", 6.0)]
