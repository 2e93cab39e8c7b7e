"""Commands about groups, schedules and users: what is published is shown, what is set is live at commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.cli import main
from tests.database.test_explain import publish

MONDAY = "2031-05-05T10:00:00+02:00"


@pytest.fixture
def company(published_sample: str, new_database: Callable[..., str]) -> Iterator[Company]:
    with psycopg.connect(new_database(published_sample)) as connection:
        yield Company(connection)


class Company:
    """The sample company and its command line."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.url = f"{connection.info.dsn}"

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["--database", self.url, *words])

    def ask(self, *words: str) -> Any:
        result = self.run(*words, "--format", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def change(self, statement: str) -> None:
        self.connection.execute(statement.encode())
        publish(self.connection)

    def report(self, *nodes: str) -> None:
        """The agents of these nodes say that they hold everything to come."""
        for node in nodes:
            self.connection.execute(
                """INSERT INTO control.node_state (node, kind, revision, verified_revision, heard_at)
                   SELECT name, kind, 1000, 1000, clock_timestamp() + interval '1 hour' FROM nodes WHERE name = %s""",
                (node,),
            )
        self.connection.commit()

    def flags(self) -> dict[str, str]:
        self.connection.commit()
        rows = self.connection.execute("SELECT key, value FROM control.entries WHERE tbl IN ('flag', 'dnd')")
        return dict(rows.fetchall())


def members(company: Company) -> dict[str, tuple[bool, str]]:
    shown = company.ask("group", "show", "sales@acme")["members"]
    return {one["member"]: (one["rings"], one["why"]) for one in shown}


def test_groups_are_listed_with_all_that_leads_to_them(company: Company) -> None:
    company.change(
        """INSERT INTO numbers (e164, account_id, extension_id)
           SELECT '+4930555600', account_id, id FROM extensions WHERE kind = 'group'"""
    )
    (one,) = company.ask("group", "list", "--account", "acme")
    assert one == {
        "account": "acme",
        "group": "sales",
        "strategy": "all",
        "members": "alice bob +4930888600",
        "led to by": "600 +4930555600 menu:welcome policy:main user:carol",
    }
    assert company.ask("group", "list", "--account", "globex") == []


def test_a_member_is_shown_with_why_it_would_ring_or_not(company: Company) -> None:
    assert members(company) == {
        "alice": (True, "for any caller, at any time"),
        "bob": (True, "for any caller, at any time"),
        "+4930888600": (True, "after 10 s"),
    }
    company.change("UPDATE devices SET enabled = false WHERE name = 'bob'")
    company.change(
        """UPDATE group_members SET caller_list_id = (SELECT id FROM caller_lists WHERE name = 'vip')
            WHERE number IS NOT NULL"""
    )
    company.report("media1", "media2", "edge1", "edge2")
    assert company.run("user", "do-not-disturb", "alice@acme", "on").exit_code == 0
    assert members(company) == {
        "alice": (False, "alice does not want to be disturbed"),
        "bob": (False, "user bob has no enabled device"),
        "+4930888600": (True, "for callers of list vip only, after 10 s"),
    }


def test_ring_order_gives_stages_with_times_and_reasons(company: Company) -> None:
    company.change("UPDATE groups SET strategy = 'in_order', ring_time_s = 40, step_time_s = 15")
    order = company.ask("group", "ring-order", "sales", "--from", "104")
    assert [(one["stage"], one["from_s"], one["to_s"], one["member"], one["rings"]) for one in order] == [
        (1, 0, 15, "alice", "app1@acme.example"),
        (1, 0, 15, "alice", "desk1@acme.example"),
        (2, 15, 30, "bob", "bob@acme.example"),
        (3, 30, 40, "+4930888600", "+4930888600"),
    ]
    told = company.run("group", "ring-order", "sales", "--from", "bob@acme.example").stdout
    assert "bob does not ring" in told
    assert "bob is who calls" in told
    assert "then voicemail 600" in told
    again = company.ask("group", "ring-order", "sales", "--from", "102")
    assert [(one["from_s"], one["member"]) for one in again[1:4]] == [
        (0, "alice"),
        (15, "+4930888600"),
        (30, "alice"),
    ]


def test_ring_order_asks_lists_and_schedules_of_the_time(company: Company) -> None:
    company.change(
        """UPDATE group_members m SET caller_list_id = l.id FROM caller_lists l, users u
            WHERE u.id = m.user_id AND u.name = 'alice'"""
    )
    company.change(
        """UPDATE group_members m SET schedule_id = s.id FROM schedules s, users u
            WHERE u.id = m.user_id AND u.name = 'bob'"""
    )

    def rings(caller: str, at: str) -> set[str]:
        asked = company.ask("group", "ring-order", "sales", "--from", caller, "--at", at)
        return {one["member"] for one in asked}

    assert rings("+4930777123", MONDAY) == {"alice", "bob", "+4930888600"}
    assert rings("4930777123", MONDAY) == {"alice", "bob", "+4930888600"}
    assert rings("+49301", "2031-05-05T20:00:00+02:00") == {"+4930888600"}


def test_a_random_order_is_that_of_the_call(company: Company) -> None:
    company.change("UPDATE groups SET strategy = 'random', ring_time_s = 45, step_time_s = 15")
    orders = {
        tuple(
            one["member"]
            for one in company.ask("group", "ring-order", "sales", "--call-id", f"call-{number}")
        )
        for number in range(12)
    }
    assert len(orders) > 1
    again = company.ask("group", "ring-order", "sales", "--call-id", "call-3")
    assert again == company.ask("group", "ring-order", "sales", "--call-id", "call-3")


def test_a_member_leaves_and_joins_at_commit_and_the_nodes_that_know_it_are_named(company: Company) -> None:
    company.report("media1", "media2")
    left = company.run("group", "leave", "sales@acme", "bob")
    assert left.exit_code == 0, left.output
    assert left.stdout.startswith("bob is away from group sales of acme: live on media1, media2 (revision ")
    assert company.flags() == {"away/acme/sales/bob": "1"}
    assert members(company)["bob"] == (False, "it is away from group sales")
    assert company.run("group", "join", "sales@acme", "bob").exit_code == 0
    assert company.flags() == {}
    again = company.run("group", "join", "sales@acme", "bob")
    assert (again.exit_code, again.stdout) == (0, "bob was not away from group sales of acme\n")


def test_a_node_that_does_not_have_it_yet_is_named(company: Company) -> None:
    company.report("media1")
    left = company.run("group", "leave", "sales", "+4930888600", "--wait", "0.2", "--until", "2031-01-01")
    assert left.exit_code == 5
    assert "live on media1 (revision" in left.stdout
    assert "media2: its agent never reported" in left.stderr
    assert company.flags() == {"away/acme/sales/+4930888600": "1"}
    assert company.run("group", "join", "sales", "+4930888600", "--wait", "0").exit_code == 0


def test_a_schedule_is_shown_overridden_and_cleared(company: Company) -> None:
    company.report("media1", "media2")
    (one,) = company.ask("schedule", "list", "--account", "acme")
    assert (one["schedule"], one["zone"]) == ("office", "Europe/Berlin")
    shown = company.ask("schedule", "show", "office@acme", "--at", MONDAY)
    assert (shown["is"], shown["override"]) == ("open", None)
    assert "mon tue wed thu 09:00 to 17:30" in shown["times"]
    assert "every 12-25 closed (Christmas Day)" in shown["days"]
    done = company.run(
        "schedule", "override", "office", "closed", "--until", "2031-05-05T09:00:00Z", "--reason", "move"
    )
    assert done.exit_code == 0, done.output
    assert company.flags() == {"override/acme/office": "closed;2031-05-05T09:00:00Z"}
    shown = company.ask("schedule", "show", "office", "--at", MONDAY)
    assert (shown["is"], shown["override"]["reason"]) == ("closed", "move")
    assert company.ask("schedule", "show", "office", "--at", "2031-05-05T09:00:00Z")["is"] == "open"
    assert "closed by hand until" in company.run("schedule", "show", "office", "--at", MONDAY).stdout
    assert company.run("schedule", "clear", "office").exit_code == 0
    assert company.flags() == {}
    assert (
        company.run("schedule", "clear", "office").stdout == "schedule office of acme was not set by hand\n"
    )


def test_do_not_disturb_is_known_to_edges_too(company: Company) -> None:
    company.report("media1", "media2")
    waiting = company.run("user", "do-not-disturb", "lobby", "on", "--wait", "0.2")
    assert waiting.exit_code == 5
    assert "edge1: its agent never reported" in waiting.stderr
    assert set(company.flags()) == {"dnd/acme/lobby", "acme/lobby"}
    company.report("edge1", "edge2")
    assert (
        "live on edge1, edge2, media1, media2" in company.run("user", "do-not-disturb", "lobby", "off").stdout
    )
    assert company.flags() == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["group", "show", "nobody"], "there is no group nobody"),
        (["group", "show", "sales@globex"], "there is no group sales in account globex"),
        (["group", "leave", "sales", "carol"], "has no member carol; it has: +4930888600, alice, bob"),
        (["group", "leave", "sales", "bob", "--until", "2020-01-01"], "that is over already"),
        (["group", "leave", "sales", "bob", "--until", "soon"], "--until soon: not a time"),
        (
            ["group", "ring-order", "sales", "--from", "spy@globex.example"],
            "no user of account acme has that device",
        ),
        (["group", "ring-order", "sales", "--at", "2020-01-01"], "is not published then"),
        (["user", "do-not-disturb", "alice", "off", "--until", "2031-01-01"], "off has no end"),
    ],
)
def test_what_cannot_be_done_is_said(company: Company, words: list[str], said: str) -> None:
    result = company.run(*words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.output


def test_a_name_that_two_accounts_have_needs_its_account(company: Company) -> None:
    company.change(
        """INSERT INTO groups (account_id, name, display_name)
           SELECT id, 'sales', 'Sales' FROM accounts WHERE name = 'globex'"""
    )
    result = company.run("group", "show", "sales")
    assert result.exit_code == 2
    assert "say which: sales@acme, sales@globex" in result.stderr
