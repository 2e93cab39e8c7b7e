"""Fraud: rows that are taken or refused, and what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import phonenumbers
import psycopg
import pytest

from controller.fraud import store
from controller.fraud.defaults import PERMISSIONS, RULES
from controller.fraud.metrics import METRICS
from controller.fraud.model import ACTIONS, CLASSES, MODES, SCOPES, Owner
from controller.fraud.proposed import wrong
from controller.schema.importer import load, read_company
from tests.database.test_refusals import refusal

NIGHT = datetime(2026, 5, 5, 1, tzinfo=UTC)
TUNIS = "+216201234"
ACME = "(SELECT id FROM accounts WHERE name = 'acme')"


def insert(connection: psycopg.Connection[Any], **values: Any) -> None:
    row = {"name": "x", "metric": "calls", "scope": "device", "window_s": 60, "critical": 5} | values
    columns = ", ".join(row)
    connection.execute(
        f"INSERT INTO fraud_rules ({columns}) VALUES ({', '.join(f'%({name})s' for name in row)})".encode(),
        row,
    )


def test_countries_are_those_of_the_number_plans(rows: psycopg.Connection[Any]) -> None:
    """An edge looks for a blocked country only in numbers that begin with the calling code that the table has."""
    codes = {
        region: phonenumbers.country_code_for_region(region) for region in phonenumbers.SUPPORTED_REGIONS
    }
    known = rows.execute("SELECT code, calling_code FROM countries").fetchall()
    assert {code: int(calling) for code, calling in known} == codes


def test_every_word_of_the_rules_is_taken_by_the_database(rows: psycopg.Connection[Any]) -> None:
    for metric, about in METRICS.items():
        insert(rows, name=metric.replace("_", "-"), metric=metric, scope=(about.scopes or ("account",))[0])
    for scope in SCOPES:
        insert(rows, name=f"s-{scope}", scope=scope)
    for mode in MODES:
        insert(rows, name=f"m-{mode}", mode=mode)
    insert(rows, name="all", actions=list(ACTIONS), destinations=["any", *CLASSES, "TN", "+88213"])
    for cls in CLASSES:
        rows.execute("INSERT INTO fraud_permissions (class, allowed) VALUES (%s, true)", (cls,))
    found = store.setup(rows)
    assert {"all", *(metric.replace("_", "-") for metric in METRICS)} <= {one.name for one in found.rules}
    assert len(found.permissions) == len(CLASSES)
    assert [problem for one in found.rules for problem in wrong(one)] == []


REFUSED = [
    ({"metric": "cals"}, "choose calls, answered"),
    ({"name": "permission-x"}, "take another name"),
    ({"scope": "phone"}, "choose device, user"),
    ({"metric": "failed_names"}, "set scope to source"),
    ({"destinations": ["Tunisia"]}, "name any, classes, countries"),
    ({"destinations": []}, "name any, classes, countries"),
    ({"metric": "new_agents", "destinations": ["TN"]}, "leave them {any}"),
    ({"window_s": 0}, "1 to 2678400"),
    ({"days": ["monday"]}, "mon, tue, wed"),
    ({"from_time": "20:00"}, "or neither"),
    ({"critical": None}, "give warning, critical or both"),
    ({"warning": 6}, "critical not below warning"),
    ({"critical": float("nan")}, "above 0"),
    ({"baseline": 0.5}, "1 to 100 times"),
    ({"actions": ["shout"]}, "notify, block_destination"),
    ({"mode": "on"}, "choose observe or enforce"),
]


@pytest.mark.parametrize(("values", "words"), REFUSED)
def test_a_rule_that_cannot_work_is_refused_in_words(
    rows: psycopg.Connection[Any], values: dict[str, Any], words: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused, rows.transaction():
        insert(rows, **values)
    assert words in (refused.value.diag.message_hint or "").lower()
    assert (refused.value.diag.message_primary or "").startswith(f"fraud_rules {values.get('name', 'x')}/*: ")


def test_names_and_owners(rows: psycopg.Connection[Any]) -> None:
    rows.execute(f"INSERT INTO users (account_id, name, display_name) VALUES ({ACME}, 'zoe', 'Zoe')".encode())
    account, user, other = rows.execute(
        f"SELECT {ACME}, max(id) FILTER (WHERE name = 'alice'), max(id) FILTER (WHERE name = 'zoe') FROM users".encode()
    ).fetchone()  # type: ignore[misc]
    insert(rows)
    insert(rows, account_id=account)
    insert(rows, account_id=account, user_id=user)
    insert(rows, account_id=account, user_id=other)
    with pytest.raises(psycopg.errors.UniqueViolation), rows.transaction():
        insert(rows)
    with pytest.raises(psycopg.errors.CheckViolation), rows.transaction():
        insert(rows, user_id=user)
    error = refusal(rows, "INSERT INTO fraud_allows (reason) VALUES ('all')")
    assert "name an account, a source or numbers" in (error.diag.message_hint or "")
    mine = [one.owner for one in store.setup(rows).rules if one.name == "x"]
    assert mine == [Owner(), Owner("acme"), Owner("acme", user="alice"), Owner("acme", user="zoe")]
    rows.execute("DELETE FROM users WHERE name = 'zoe'")
    assert len([one for one in store.setup(rows).rules if one.name == "x"]) == 3


def test_rows_are_logged_as_live_and_pending_nothing(rows: psycopg.Connection[Any]) -> None:
    before = rows.execute("SELECT count(*) FROM control.pending_changes").fetchone()
    insert(rows, name="own", account_id=rows.execute(f"SELECT {ACME}".encode()).fetchone()[0])  # type: ignore[index]
    rows.execute("INSERT INTO fraud_permissions (class, allowed) VALUES ('premium', true)")
    logged = rows.execute(
        "SELECT account, state, tbl, key FROM control.change_log ORDER BY id DESC LIMIT 2"
    ).fetchall()
    assert logged == [
        (None, "operational", "fraud_permissions", "*/premium"),
        ("acme", "operational", "fraud_rules", "own/acme"),
    ]
    assert rows.execute("SELECT count(*) FROM control.pending_changes").fetchone() == before


def test_a_company_file_holds_them(company: str, tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(
        """
fraud_permissions: [{class: satellite, allowed: false}]
fraud_allows: [{source: 198.51.100.9, what: "*", reason: our own monitor}]
fraud_rules:
  - {name: night, metric: minutes, scope: user, window_s: 3600, destinations: [international, TN], critical: 30,
     days: [mon, tue], from_time: "20:00", to_time: "06:00", actions: [notify, outbound_off], mode: enforce}
accounts:
  - name: acme
    display_name: Acme GmbH
    cluster: c1
    country: DE
    fraud_rules:
      - {name: night, user: alice, metric: minutes, scope: user, window_s: 3600, critical: 90, enabled: "false"}
      - {name: night, group: sales, metric: minutes, scope: user, window_s: 3600, critical: 60}
      - {name: night, device: desk1@acme.example, metric: minutes, scope: user, window_s: 3600, critical: 99.5}
    fraud_allows: [{user: bob, what: "+41", reason: Zurich}]
    fraud_permissions: [{user: bob, class: premium, allowed: true}]
"""
    )
    with psycopg.connect(company) as connection:
        first = load(connection, read_company(path))
        again = load(connection, read_company(path))
        assert (first.added, again.added, again.changed) == (8, 0, 0)
        found = store.setup(connection)
    night = {str(one.owner): (one.critical, one.enabled) for one in found.rules if one.name == "night"}
    assert night == {
        "everybody": (30, True),
        "user acme/alice": (90, False),
        "group acme/sales": (60, True),
        "device desk1@acme.example": (99.5, True),
    }
    rule = next(one for one in found.rules if one.name == "night" and not one.owner.rank)
    assert (rule.destinations, rule.days, rule.from_minute, rule.to_minute) == (
        ("international", "TN"), ("mon", "tue"), 1200, 360,
    )  # fmt: skip
    assert [(one.source, one.what) for one in found.allows] == [("198.51.100.9", "*"), ("", "+41")]
    assert {(one.cls, str(one.owner)) for one in found.permissions} >= {("premium", "user acme/bob")}


def test_a_row_for_everybody_replaces_the_rule_that_comes_with_it(rows: psycopg.Connection[Any]) -> None:
    assert store.setup(rows).rules == RULES
    assert store.setup(rows).permissions == PERMISSIONS
    insert(rows, name="cost", critical=1)
    found = [one for one in store.setup(rows).rules if one.name == "cost"]
    assert [(one.origin, one.critical) for one in found] == [("row", 1)]


def test_what_rules_want_to_know_of_an_account(rows: psycopg.Connection[Any]) -> None:
    profile = store.setup(rows).profiles["acme"]
    assert (profile.country, str(profile.zone)) == ("DE", "Europe/Berlin")
    assert profile.since == pytest.approx(datetime.now(UTC).timestamp(), abs=3600)
    rows.execute("DELETE FROM control.audit")
    assert store.setup(rows).profiles["acme"].since is None
