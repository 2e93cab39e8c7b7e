"""dialplane queue, plans and imports of queues."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from controller.cli import main
from controller.queues import looks
from controller.queues.store import Store
from controller.schema.importer import check, read_company
from tests.database.conftest import SAMPLE
from tests.database.queue_rows import (
    queues,  # noqa: F401 - fixture url
    run,
    visit,
)

Rows = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def live(new_database: Callable[..., str]) -> Callable[..., Any]:
    """A command on the sample company, published."""
    mine = new_database()

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["--database", mine, *arguments])

    assert call("import", str(SAMPLE)).exit_code == 0
    assert call("apply", "--yes", "--wait", "0").exit_code == 0
    with psycopg.connect(mine) as connection:
        setup = looks.published(connection, "acme")

    async def work(store: Store) -> None:
        talks = await store.join(setup, visit("t1", caller="+4930111"))
        await store.claim(setup, "support")
        ringing = await store.take(talks.id)
        assert ringing is not None
        await store.answered(talks.id, ringing.members[0])
        await store.join(setup, visit("t2", caller="+4930222"))

    run(mine, work)
    return call


def said(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_queue_list_and_show(live: Callable[..., Any]) -> None:
    (row,) = said(live("queue", "list", "--format", "json"))
    assert {name: row[name] for name in ("account", "queue", "strategy", "members", "waiting", "talking")} == {
        "account": "acme", "queue": "support", "strategy": "least_recent", "members": 3, "waiting": 1, "talking": 1,
    }  # fmt: skip
    (again,) = said(live("queue", "watch", "--times", "1", "--format", "json"))
    assert again["queue"] == "support"
    shown = said(live("queue", "show", "support", "--format", "json"))
    talks, waits = shown["callers"]
    assert (talks["state"], talks["position"], talks["member"]) == ("talking", None, "alice")
    assert (waits["position"], waits["caller"], waits["why"]) == (1, "+4930222", "last call longest ago: bob")
    assert {one["member"]: one["is"] for one in shown["members"]} == {
        "alice": "rings for a caller or talks to one",
        "bob": f"would ring for caller {waits['id']}",
        "carol": "is free",
    }
    text = live("queue", "show", "support@acme").stdout
    assert "queue support of acme: least_recent, weight 10" in text
    assert "1.   caller" in text
    assert "carol is free (0 calls today, penalty 1)" in text


def test_members_come_and_go_by_command(live: Callable[..., Any]) -> None:
    def is_(user: str) -> str:
        members = said(live("queue", "show", "support", "--format", "json"))["members"]
        return str(next(one["is"] for one in members if one["member"] == user))

    assert live("queue", "pause", "bob@acme", "--reason", "lunch").stdout == "bob of acme pauses in support\n"
    assert is_("bob") == "pauses (lunch)"
    assert live("queue", "remove", "bob", "--until", "2126-11-20T13:00:00").stdout == (
        "bob of acme is logged out of support until 2126-11-20T13:00:00+00:00\n"
    )
    assert is_("bob") == "is logged out"
    assert live("queue", "add", "bob").stdout == "bob of acme is logged in to support\n"
    assert is_("bob") == "pauses (lunch)", "one is not the other"
    assert live("queue", "unpause", "bob").stdout == "bob of acme pauses no more in support\n"
    assert is_("bob").startswith("would ring")
    happened = said(live("queue", "events", "support", "--format", "json"))
    assert [one["event"] for one in happened if one["member"] == "bob"] == [
        "paused", "logged_out", "logged_in", "unpaused",
    ]  # fmt: skip
    assert len(said(live("queue", "events", "support", "--last", "2", "--format", "json"))) == 2
    for arguments, words in (
        (("add", "lobby"), "member of no queue"),
        (("add", "nobody"), "there is no user nobody"),
        (("show", "nosuch"), "there is no queue nosuch"),
        (("pause", "bob", "--until", "2020-01-01"), "over already"),
        (("report", "support", "--from", "yesterday"), "not a day"),
    ):
        refused = live("queue", *arguments)
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_queue_report(live: Callable[..., Any]) -> None:
    (day,) = said(live("queue", "report", "support", "--format", "json"))
    assert (day["callers"], day["answered"], day["in_time_percent"]) == (1, 1, 100.0)
    assert said(live("queue", "report", "support", "--to", "2020-01-01", "--format", "json")) == []


def test_a_plan_says_what_changes_in_a_queue(live: Callable[..., Any], tmp_path: Path) -> None:
    more = tmp_path / "queue_members.csv"
    more.write_text("account,queue,user,penalty\nacme,support,lobby,2\n")
    assert live("import", str(tmp_path)).exit_code == 0
    plan = live("plan").stdout
    assert "queue support calls its members differently" in plan
    assert "lobby added" in plan


COMPANY = """
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    country: DE
    queues:
      - {name: night, display_name: Night, strategy: loudest, required_skills: [German]}
      - {name: day, display_name: Day, on_full: "queue:gone", members: [alice, {user: nobody, penalty: 900}, alice]}
    extensions:
      - {extension: "629", queue: gone}
"""


def test_an_import_names_every_problem(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "company.yaml"
    path.write_text(COMPANY)
    problems = "\n".join(check(read_company(path), rows))
    for words in (
        "queues acme/night: strategy: 'loudest' must be ring_all or batch",
        "queues acme/night: required_skills: 'German' must be skills as words",
        "queue_members acme/day/nobody: penalty: '900' must be a number from 0 to 100",
        "queue_members acme/day/alice: stands here twice",
        "queue day of account acme: on_full leads to queue gone, which does not exist",
        "extensions acme/629: queue: gone is not in queues",
    ):
        assert words in problems
