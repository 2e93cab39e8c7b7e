"""Recordings: rows to lines of the dialplan, events to rows, and files that go when they are old or asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller.calls import recorded, store
from controller.calls.facts import Fact
from controller.calls.recordings import NOT_THERE, Recordings
from controller.cli import main
from controller.compiler import compile_account
from controller.desired import read
from controller.schema.explain import explain
from controller.schema.importer import check, load, read_company
from tests.database.test_explain import publish
from tests.unit.calls.test_fold import media

Rows = psycopg.Connection[Any]
COMPANY = """
settings: {recordings_keep_days: "30"}
clusters: [c1]
device_groups: [edges]
nodes:
  - {name: edge1, kind: edge, device_group: edges, address: 10.0.0.1}
  - {name: media1, kind: media, cluster: c1, address: 10.0.0.2}
accounts:
  - name: acme
    display_name: Acme
    cluster: c1
    country: DE
    domains: [acme.example]
    record_announcement: acme/recorded
    users:
      - {name: alice, display_name: Alice, record: always, record_calls: [inbound, outbound]}
      - {name: bob, display_name: Bob, record: on_demand}
      - {name: carol, display_name: Carol}
    devices:
      - {name: desk1, domain: acme.example, user: alice, password: alice-desk-secret}
      - {name: desk2, domain: acme.example, user: bob, password: bobs-desk-secret}
      - {name: desk3, domain: acme.example, user: carol, password: carols-desk-secret}
    groups:
      - {name: sales, display_name: Sales, record: always, members: [alice, carol]}
    queues:
      - {name: support, display_name: Support, record: on_demand, members: [carol]}
    policies:
      - name: main
        otherwise: extension:101
        rules:
          - {action: next, caller: "+4930*", set_record: always}
    extensions:
      - {extension: "101", user: alice}
      - {extension: "102", user: bob}
      - {extension: "103", user: carol}
      - {extension: "600", group: sales}
      - {extension: "700", queue: support}
      - {extension: "800", policy: main}
"""


@pytest.fixture(scope="module")
def company(database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("company") / "company.yaml"
    path.write_text(COMPANY)
    with psycopg.connect(database) as connection:
        load(connection, read_company(path))
        publish(connection)
    return database


@pytest.fixture
def rows(company: str) -> Iterator[Rows]:
    with psycopg.connect(company) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
async def connection(company: str) -> AsyncIterator[store.Connection]:
    async with store.connect(company) as one:
        await one.execute("TRUNCATE control.recordings, control.call_events, control.call_records")
        yield one


# ------------------------------------------------------------------------------------------------------------- rows


def entries(rows: Rows) -> dict[tuple[str, str], str]:
    (account,) = read.accounts(rows, ["acme"])
    return {
        (one.address.table, one.address.key): one.value for one in compile_account(account, read.system(rows))
    }


def test_rows_reach_the_nodes(rows: Rows) -> None:
    found = entries(rows)
    lines = {key.removeprefix("account-acme/"): line for (_, key), line in found.items()}
    assert lines[":consent"] == "Return(acme/recorded)"
    assert lines[":record:alice"] == "Return(inbound&outbound)"
    assert ":record:bob" not in lines
    assert lines[":tape:desk2@acme.example"] == "Return(internal&inbound&outbound)"
    assert not [key for key in lines if key.startswith((":record:carol", ":tape:desk3", ":tape:desk1"))]
    assert "Gosub(dp-record,s,1(always,group sales))" in lines[":group:sales"].split("\n")
    assert lines[":queue:support"].split("\n")[0] == "Gosub(dp-queue,s,1(support,,on_demand))"
    assert '"record":["inbound","outbound"]' in found["policy", "acme/user/alice"]
    assert '"record"' not in found["policy", "acme/user/carol"]
    assert '"record":"always"' in found["policy", "acme/group/sales"]
    assert '"record":"on_demand"' in found["policy", "acme/queue/support"]
    assert '"record":"always"' in found["policy", "acme/policy/main"]
    taped = [key for (table, key), value in found.items() if table == "credential" and ";tape=1" in value]
    assert sorted(taped) == ["desk1@acme.example", "desk2@acme.example"]


def test_an_account_that_records_nothing_has_no_such_lines(rows: Rows) -> None:
    rows.execute("UPDATE users SET record = 'never'")
    rows.execute("UPDATE groups SET record = 'never'")
    rows.execute("UPDATE queues SET record = 'never'")
    rows.execute("UPDATE policy_rules SET set_record = NULL")
    found = entries(rows)
    assert not [key for _, key in found if any(one in key for one in (":consent", ":record", ":tape"))]
    assert not [value for value in found.values() if "record" in value or "tape=" in value]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE users SET record = 'sometimes'", "choose never, on_demand or always"),
        ("UPDATE users SET record_calls = '{}'", "at least one of internal, inbound and outbound"),
        ("UPDATE users SET record_calls = '{fax}'", "at least one of internal, inbound and outbound"),
        ("UPDATE groups SET record = 'yes'", "choose never, on_demand or always"),
        ("UPDATE queues SET record = 'yes'", "choose never, on_demand or always"),
        ("UPDATE policy_rules SET set_record = 'on_demand'", "choose always or never"),
        ("UPDATE accounts SET recordings_keep_days = 0", "keep recordings 1 to 3650 days"),
        ("UPDATE accounts SET record_announcement = '../etc/passwd'", "name of a sound"),
        (
            "UPDATE settings SET value = 'long' WHERE name = 'recordings_keep_days'",
            "1 to 3650 days, or forever",
        ),
        ("UPDATE settings SET value = '3651' WHERE name = 'recordings_keep_days'", "1 to 3650 days"),
    ],
)
def test_what_cannot_be_is_refused_with_words(rows: Rows, statement: str, words: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        rows.execute(statement.encode())
    assert words in explain(refused.value)


def test_a_company_file_says_the_same_before_it_is_loaded(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "company.yaml"
    path.write_text(
        COMPANY.replace(
            "record: always, record_calls: [inbound, outbound]", "record: yes, record_calls: [fax]"
        )
    )
    problems = "\n".join(check(read_company(path)))
    assert (
        "record: 'true' must be never or on_demand or always" in problems or "never or on_demand" in problems
    )
    assert "one or more of internal, inbound and outbound" in problems


# --------------------------------------------------------------------------------------------------- events to rows


def call(path: str, day: int, call_id: str = "call-1", why: str = "user alice") -> list[Fact]:
    """A call that was recorded, begun so many days after the first of all calls (tests/unit/calls)."""
    second = day * 86_400.0
    told = {"userfield": call_id, "accountcode": "acme", "linkedid": f"m.{call_id}"}
    return [
        media(second, "CHAN_START", day * 10, f"m.{call_id}", **told),
        media(second + 1, "dp.record", day * 10 + 1, f"m.{call_id}", eventextra=f"{path} {why}", **told),
        media(second + 9, "CHAN_END", day * 10 + 2, f"m.{call_id}", **told),
    ]


async def rows_of(connection: store.Connection) -> list[tuple[Any, ...]]:
    found = await connection.execute(
        "SELECT call_id, account, node, path, why, removed_because FROM control.recordings ORDER BY path"
    )
    return [tuple(one.values()) for one in await found.fetchall()]


async def test_an_event_makes_a_row_however_often_it_is_told(connection: store.Connection) -> None:
    facts = call("/spool/acme/one.wav", 0)
    for part in (facts, facts[1:], facts):
        await store.ship(connection, part)
    assert await rows_of(connection) == [
        ("call-1", "acme", "media1", "/spool/acme/one.wav", "user alice", None)
    ]


# ------------------------------------------------------------------------------------------------------------ files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "acme").mkdir()
    return tmp_path


async def record(connection: store.Connection, file: Path, age_days: float, account: str = "acme") -> Path:
    """A recording of the node media1, and its file."""
    await asyncio.to_thread(file.touch)
    await connection.execute(
        """INSERT INTO control.recordings (node, path, call_id, account, began_at, why)
        VALUES ('media1', %s, %s, %s, now() - make_interval(secs => %s), 'user alice')""",
        (str(file), f"call-{file.stem}", account, age_days * 86_400),
    )
    return file


async def reasons(connection: store.Connection) -> dict[str, str | None]:
    return {Path(path).stem: because for *_, path, _, because in await rows_of(connection)}


async def test_what_is_old_goes_and_its_row_says_so(
    connection: store.Connection, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """30 days by the setting, 10 by the account's own row; what is younger stays."""
    caplog.set_level(logging.INFO)
    young = await record(connection, folder / "acme" / "young.wav", 9.9)
    middle = await record(connection, folder / "acme" / "middle.wav", 10.1)
    old = await record(connection, folder / "acme" / "old.wav", 30.1)
    gone = await record(connection, folder / "acme" / "gone.wav", 31, "an-account-that-is-gone")
    gone.unlink()
    keeper = Recordings("media1", folder)
    assert await keeper.remove_due(connection, old=False) == 0
    assert await keeper.remove_due(connection, old=True) == 2
    assert (young.exists(), middle.exists(), old.exists()) == (True, True, False)
    assert f"media1: recording {old} removed: older than 30 days" in caplog.messages
    await connection.execute("UPDATE accounts SET recordings_keep_days = 10")
    assert await keeper.remove_due(connection, old=True) == 1
    await connection.execute("UPDATE accounts SET recordings_keep_days = NULL")
    assert (young.exists(), middle.exists()) == (True, False)
    assert await reasons(connection) == {
        "gone": NOT_THERE,
        "middle": "older than 10 days",
        "old": "older than 30 days",
        "young": None,
    }


async def test_without_a_setting_everything_is_kept(connection: store.Connection, folder: Path) -> None:
    await record(connection, folder / "acme" / "old.wav", 3000)
    async with connection.transaction(force_rollback=True):
        await connection.execute("DELETE FROM settings WHERE name = 'recordings_keep_days'")
        assert await Recordings("media1", folder).remove_due(connection, old=True) == 0


@pytest.mark.parametrize(
    "path", ["secret.txt", "acme/../secret.txt", "acme/deeper/secret.txt", "link/secret.txt"]
)
async def test_only_files_of_accounts_are_touched(
    connection: store.Connection, folder: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    elsewhere.mkdir()
    (folder / "link").symlink_to(elsewhere)
    (folder / "acme" / "deeper").mkdir()
    file = await record(connection, folder / path, 40)
    keeper = Recordings("media1", folder)
    for _ in range(2):
        assert await keeper.remove_due(connection, old=True) == 0
    assert file.exists()
    assert len([one for one in caplog.messages if "is not removed" in one]) == 1


async def test_other_nodes_files_are_theirs(connection: store.Connection, folder: Path) -> None:
    file = await record(connection, folder / "acme" / "old.wav", 40)
    assert await Recordings("media2", folder).remove_due(connection, old=True) == 0
    assert file.exists()


# --------------------------------------------------------------------------------------------------------- commands


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "call", "recordings", *arguments])


async def test_commands_list_show_and_delete(
    company: str, connection: store.Connection, folder: Path
) -> None:
    file = await record(connection, folder / "acme" / "one.wav", 1)
    await record(connection, folder / "acme" / "two.wav", 2)

    async def said(*arguments: str) -> Result:
        return await asyncio.to_thread(run, company, *arguments)

    listed = (await said("list", "--account", "acme")).stdout
    assert listed.index("call-one") < listed.index("call-two")
    shown = (await said("show", "call-one")).stdout
    assert f"{file} on media1" in shown
    assert "because of: user alice" in shown
    assert (await said("show", "call-three")).exit_code == 2
    assert (await said("delete", "call-")).exit_code == 2  # which of the two?
    assert (await said("delete", "call-o")).exit_code == 0
    assert "to be removed, asked for by" in (await said("show", "call-one")).stdout
    assert await Recordings("media1", folder).remove_due(connection, old=False) == 1
    assert not file.exists()
    assert "asked for by" in (await said("show", "call-one")).stdout
    assert "call-one" not in (await said("list")).stdout
    assert "call-one" in (await said("list", "--removed")).stdout
    assert await recorded.due(connection, "media1", old=True, but=[]) == []


@pytest.mark.parametrize(
    ("caller", "to", "told"),
    [
        (["--from", "desk3@acme.example"], "102", "recorded if *1 is pressed"),
        (["--from", "desk1@acme.example"], "103", None),
        (["--from", "desk3@acme.example"], "600", "recorded when answered: both hear acme/recorded first"),
        (["--from", "desk3@acme.example"], "700", "recorded if *1 is pressed"),
    ],
)
def test_explain_tells(company: str, caller: list[str], to: str, told: str | None) -> None:
    result = CliRunner().invoke(main, ["--database", company, "route", "explain", caller[1], to])
    assert result.exit_code == 0, result.output
    assert ("recorded" in result.stdout) == (told is not None)
    assert told is None or told in result.stdout
