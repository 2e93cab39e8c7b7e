"""Turns, registrations and the sign of life of AGI servers, on a real PostgreSQL that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from controller.agi import store as room
from controller.agi.live import Live
from controller.agi.store import Report, Store
from controller.cli.doctor import Finding, examine
from controller.errors import DatabaseError
from controller.policy.model import Turn
from controller.policy.notices import Notice
from controller.schema.importer import load, read_company
from tests.database.conftest import SAMPLE


@asynccontextmanager
async def connected(conninfo: str, node: str = "media1") -> AsyncIterator[Store]:
    store = Store(conninfo, node)
    running = asyncio.create_task(store.run())
    try:
        await until(store)
        yield store
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(store: Store) -> None:
    async with asyncio.timeout(60):
        while not store.connected:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to fail; where the deadline is the point, it is set again."""
    monkeypatch.setattr(room, "DEADLINE_S", 20.0)
    monkeypatch.setattr(room, "_LOOK_S", 0.05)


@pytest.fixture
def agent(database: str) -> str:
    """Signs in as a member of the role an agent has."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN CREATE ROLE agi_test LOGIN IN ROLE dialplane_agent;"
            " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        connection.execute("DELETE FROM control.group_turns; DELETE FROM control.group_calls")
    return make_conninfo(database, user="agi_test")


async def test_a_memory_is_kept_by_whoever_comes_first(agent: str) -> None:
    async with connected(agent) as one, connected(agent, "media2") as two:
        assert await one.turn("acme", "sales") == {}
        assert await one.keep_turn("acme", "sales", {}, {"last": "bob"})
        assert not await two.keep_turn("acme", "sales", {}, {"last": "carol"})
        assert await two.turn("acme", "sales") == {"last": "bob"}
        assert await two.keep_turn("acme", "sales", {"last": "bob"}, {"last": "carol", "calls": {"bob": 1}})
        assert await one.turn("acme", "sales") == {"last": "carol", "calls": {"bob": 1}}
        assert await one.turn("acme", "other") == {}


async def test_two_nodes_never_give_the_same_turn(agent: str) -> None:
    members = ["a", "b", "c", "d", "e"]

    def next_one(turn: Turn) -> tuple[str, Turn]:
        after = members[(members.index(turn.last) + 1) % len(members)] if turn.last else members[0]
        return after, Turn(after)

    async with connected(agent) as one, connected(agent, "media2") as two:
        lives = [Live(one), Live(two)]
        given: list[str] = []

        async def calls(live: Live) -> None:
            for _ in range(50):
                given.append(await live.turned("acme", "round", next_one))

        await asyncio.gather(*(calls(live) for live in lives))
    assert {one: given.count(one) for one in members} == dict.fromkeys(members, 20)


async def test_one_of_two_calls_that_come_at_once_rings(agent: str) -> None:
    async with connected(agent) as one, connected(agent, "media2") as two:
        for number in range(20):
            said = await asyncio.gather(
                one.claim("acme", "sales", f"a{number}", 60), two.claim("acme", "sales", f"b{number}", 60)
            )
            assert sorted(said) == [False, True]
            first = f"{'ab'[said.index(True)]}{number}"
            assert await two.claim("acme", "sales", first, 60), "the same call once more"
            assert await two.claim("acme", "back", first, 60)
            await one.release("acme", "sales", "somebody else")
            assert not await one.claim("acme", "sales", "next", 60)
            await one.release("acme", "sales", first)
            await one.release("acme", "back", first)


async def test_a_call_whose_node_died_holds_the_group_for_a_while_only(agent: str) -> None:
    async with connected(agent) as store:
        assert await store.claim("acme", "sales", "one", 0)
        assert await store.claim("acme", "sales", "two", 60)
        assert not await store.claim("acme", "sales", "three", 60)


async def test_a_notice_is_a_row_and_is_told_to_clients(agent: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("LISTEN dialplane_notice")
        connection.execute(
            "INSERT INTO control.group_notices (account, group_name, call_id, at, outcome)"
            " VALUES ('acme', 'sales', 'old', now() - interval '31 days', 'missed')"
        )
        async with connected(agent) as store:
            await store.tell(
                "acme", "sales", "id", Notice("answered", "bob", "+4930", "", "", "text", ("x@y",))
            )
            await store.tell("acme", "sales", "id", Notice("missed", "", "", "carol", "", "text", ()))
            await store.tell("acme", "sales", "id", Notice("called", "bob", "", "", "+4940", "text", ()))
        rows = connection.execute(
            "SELECT id, call_id, outcome, member, caller, caller_user, called FROM control.group_notices ORDER BY id"
        ).fetchall()
        assert [row[1:] for row in rows] == [
            ("id", "answered", "bob", "+4930", None, None),
            ("id", "missed", None, None, "carol", None),
            ("id", "called", "bob", None, None, "+4940"),
        ]
        told = [note.payload for note in connection.notifies(timeout=10, stop_after=4)]
        assert told[-3:] == [f"acme/sales/{row[0]}" for row in rows]


async def test_a_member_leaves_and_joins_at_commit(agent: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        load(connection, read_company(SAMPLE))

        def flags() -> list[str]:
            rows = connection.execute("SELECT key FROM control.entries WHERE tbl = 'flag' AND key ^@ 'away/'")
            return [key for (key,) in rows]

        async with connected(agent) as store:
            assert await store.membership("acme", "sales", "bob", "bob@acme.example") == "left"
            assert flags() == ["away/acme/sales/bob"]
            assert await store.membership("acme", "sales", "bob", "") == "joined"
            assert flags() == []
            assert await store.membership("acme", "sales", "carol", "carol@acme.example") == "stranger"


async def test_somebody_who_publishes_does_not_stop_decisions(
    agent: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MEMBERSHIP_S", 0.5)
    with psycopg.connect(database) as publisher:
        load(publisher, read_company(SAMPLE))
        publisher.commit()
        publisher.execute("SELECT pg_advisory_xact_lock(hashtext('dialplane.publish'))")
        async with connected(agent) as store:
            waiting = asyncio.create_task(store.membership("acme", "sales", "bob", ""))
            assert await store.turn("acme", "none") == {}
            with pytest.raises(DatabaseError):
                await waiting
        publisher.rollback()
        assert publisher.execute("SELECT count(*) FROM group_away").fetchone() == (0,)


async def test_contacts_of_all_edges_count_where_they_are_known(agent: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO control.registrations (aor, edge, contacts, since) VALUES ('a@x', 'edge1', 2, now()),"
            " ('a@x', 'edge2', 1, now()), ('b@x', 'edge1', 0, now()), ('b@x', 'edge2', 1, now())"
        )
        connection.execute(
            "INSERT INTO control.node_state (node, kind, agent_started, heard_at)"
            " SELECT edge, 'edge', now(), now() + interval '1 hour' FROM (VALUES ('edge1'), ('edge2')) AS v (edge)"
        )
        connection.execute(
            "INSERT INTO control.registrars (edge, compared_at) VALUES ('edge1', now()), ('edge2', now())"
        )
        async with connected(agent) as store:
            assert await store.registered(["a@x", "b@x", "c@x"]) == {"a@x": 3, "b@x": 1, "c@x": 0}
            connection.execute("UPDATE control.registrars SET compared_at = NULL WHERE edge = 'edge2'")
            assert await store.registered(["a@x", "b@x", "c@x"]) == {"a@x": 2, "c@x": 0}


async def test_a_server_says_that_it_lives(agent: str, database: str) -> None:
    started = datetime(2026, 11, 20, 9, tzinfo=UTC)
    async with connected(agent) as store:
        await store.report(Report("media1", started, 1, {}, None))
        await store.report(Report("media1", started, 7, {"slow": 2}, "no such file"))
    with psycopg.connect(database) as connection:
        said = connection.execute(
            "SELECT node, started_at, decisions, failures, error FROM control.agi_state"
        )
        assert said.fetchall() == [("media1", started, 7, {"slow": 2}, "no such file")]


async def test_a_database_that_is_away_costs_a_call_nothing() -> None:
    store = Store("host=127.0.0.1 port=1", "media1")
    running = asyncio.create_task(store.run())
    for ask in (store.turn("acme", "sales"), store.registered(["a@x"])):
        with pytest.raises(DatabaseError, match="not connected"):
            await ask
    assert await Live(store).turned("acme", "sales", lambda turn: (turn, Turn("bob"))) == Turn()
    running.cancel()


async def test_a_connection_that_was_cut_is_made_again(agent: str, database: str) -> None:
    async with connected(agent) as store:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dialplane agi media1'"
            )
        with pytest.raises(DatabaseError):
            await store.turn("acme", "sales")
        assert not store.connected
        await until(store)
        assert await store.turn("acme", "sales") == {}


async def test_a_database_that_does_not_answer_is_left(
    agent: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(agent) as store:
        await store.keep_turn("acme", "sales", {}, {"last": "bob"})
        with psycopg.connect(database) as connection:
            connection.execute("LOCK TABLE control.group_turns")
            monkeypatch.setattr(room, "DEADLINE_S", 0.2)
            with pytest.raises(DatabaseError, match=r"no answer in 0\.2 s"):
                await store.turn("acme", "sales")
            assert not store.connected, "the next call does not wait"
            connection.rollback()
        monkeypatch.setattr(room, "DEADLINE_S", 20.0)
        await until(store)
        assert await store.turn("acme", "sales") == {"last": "bob"}


def found(database: str) -> list[Finding]:
    return [one for one in examine(database) if one.about.startswith("decisions on ")]


def test_doctor_tells_of_a_server_that_does_not_answer(new_database: Callable[[], str]) -> None:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO clusters (name) VALUES ('c1'), ('c2')")
        connection.execute(
            "INSERT INTO nodes (name, kind, cluster_id, address) SELECT 'media' || id, 'media', id,"
            " ('198.51.100.' || id)::inet FROM clusters"
        )
        assert found(url) == [], "no account decides"
        connection.execute(
            "INSERT INTO control.entries (kind, scope, tbl, key, value, account, revision)"
            " SELECT 'media', 'c1', 'policy', 'acme/group/sales', '{}', 'acme', coalesce(max(id), 0)"
            " FROM control.revisions"
        )
        (one,) = found(url)
        assert (one.about, one.found) == ("decisions on media1", "no AGI server heard of for 20 s")
        assert "systemctl status dialplane-agi" in one.remedy
        connection.execute(
            "INSERT INTO control.agi_state (node, started_at, decisions, failures)"
            """ VALUES ('media1', now(), 7, '{"slow": 2}')"""
        )
        assert found(url) == [Finding("decisions on media1", "7 made, not made: 2 slow")]
        connection.execute("UPDATE control.agi_state SET error = 'state file: no such file'")
        assert found(url)[0].found == "the AGI server cannot decide: state file: no such file"
        connection.execute("UPDATE control.agi_state SET error = NULL, heard_at = now() - interval '21 s'")
        assert found(url)[0].found == "no AGI server heard of for 20 s"
