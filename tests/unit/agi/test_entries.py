"""The state file as an AGI server reads it: beside its writer, in every bad shape, and healthy again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agent.state import State
from controller.agi.entries import Entries
from controller.errors import BadPolicy, StateError
from tests.unit.agi.place import SALES, filled, stage


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = filled(tmp_path / "state.db")
    yield made
    made.close()


@pytest.fixture
def entries(state: State) -> Iterator[Entries]:
    made = Entries(state.path)
    yield made
    made.close()


async def test_an_account_is_read_with_its_flags_and_nobody_elses(state: State, entries: Entries) -> None:
    stage(state, 2, "flag", dnd__acme__bob="1", dnd__acme2__carol="1", override__acme__office="closed",
          away__acme__sales__carol="1", other__acme__x="1")  # fmt: skip
    stage(state, 3, "policy", **{"group__sales2": SALES})
    held = await entries.account("acme")
    assert set(held.snapshot.groups) == {"sales", "sales2"}
    assert held.snapshot.live.dnd == {"bob"}
    assert held.snapshot.live.away == {("sales", "carol")}
    assert held.snapshot.live.overrides["office"].open is False
    assert not (await entries.account("acm")).snapshot.users
    assert not (await entries.account("other")).snapshot.groups


async def test_a_change_is_seen_by_the_next_call_and_nothing_is_parsed_twice(
    state: State, entries: Entries
) -> None:
    first = await entries.account("acme")
    assert await entries.account("acme") is first
    stage(state, 2, "mailbox", **{"101@acme": '{"fullname": "", "email": "", "pin": "1", "language": "en"}'})
    assert await entries.account("acme") is first, "a change of something else"
    stage(state, 3, group__sales={**SALES, "ring_s": 99})
    second = await entries.account("acme")
    assert second.snapshot.groups["sales"].ring_s == 99
    stage(state, 4, "flag", dnd__acme__bob="1")
    assert (await entries.account("acme")).snapshot.live.dnd == {"bob"}
    stage(state, 5, group__sales=None)
    assert not (await entries.account("acme")).snapshot.groups


async def test_who_asks_when_it_is_loaded_and_not_yet_kept_has_it_too(state: State, entries: Entries) -> None:
    """The task is done, what it calls back has not run yet: such a moment is rare, and was a lost decision."""
    held = await entries.account("acme")
    task = asyncio.ensure_future(asyncio.sleep(0, entries._kept.pop("acme")))
    await task
    entries._loading["acme"] = task
    assert await entries.account("acme") is held


async def test_rules_that_count_devices_name_whose(state: State, entries: Entries) -> None:
    assert (await entries.account("acme")).watched == ()
    stage(state, 2, policy__main={"rules": [
        {"position": 1, "if": {"user": "alice", "presence": "registered"}, "do": {"action": "ring", "target": "alice"}},
        {"position": 2, "if": {"user": "bob", "presence": "disturb_not"}, "do": {"action": "reject"}},
        {"position": 3, "if": {"user": "carol", "max_devices": 0}, "do": {"action": "reject"}},
    ]})  # fmt: skip
    assert (await entries.account("acme")).watched == (
        "app1@acme.example",
        "carol@acme.example",
        "desk1@acme.example",
    )


async def test_a_writer_in_the_middle_of_its_work_keeps_nobody_waiting(
    state: State, entries: Entries
) -> None:
    writer = sqlite3.connect(state.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM entry")
    assert "sales" in (await entries.account("acme")).snapshot.groups
    writer.execute("COMMIT")
    writer.close()
    assert not (await entries.account("acme")).snapshot.groups


async def test_a_missing_file_is_said_and_found_when_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    entries = Entries(path)
    for _ in range(2):
        with pytest.raises(StateError, match="No such file"):
            await entries.account("acme")
    state = filled(path)
    assert "sales" in (await entries.account("acme")).snapshot.groups
    state.close()
    entries.close()


async def test_a_file_that_was_made_anew_is_read_anew(state: State, entries: Entries) -> None:
    await entries.account("acme")
    state.close()
    for path in state.path.parent.glob("state.db*"):
        path.unlink()
    filled(state.path, **{"group/support": SALES}).close()
    assert set((await entries.account("acme")).snapshot.groups) == {"sales", "support"}


async def test_garbage_is_said_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all" * 1000)
    entries = Entries(path)
    with pytest.raises(StateError, match="not a database"):
        await entries.account("acme")
    path.unlink()
    filled(path).close()
    assert "sales" in (await entries.account("acme")).snapshot.groups
    entries.close()


async def test_a_locked_file_is_said_and_read_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    filled(path).close()
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("PRAGMA journal_mode = DELETE")
    locker.execute("BEGIN EXCLUSIVE")
    entries = Entries(path)
    with pytest.raises(StateError, match="locked"):
        await entries.account("acme")
    locker.execute("COMMIT")
    locker.close()
    assert "sales" in (await entries.account("acme")).snapshot.groups
    entries.close()


async def test_an_entry_that_cannot_be_read_is_named_until_it_can(state: State, entries: Entries) -> None:
    stage(state, 2, group__sales="{")
    for _ in range(2):
        with pytest.raises(BadPolicy, match="acme/group/sales"):
            await entries.account("acme")
    stage(state, 3, group__sales=SALES)
    assert "sales" in (await entries.account("acme")).snapshot.groups
