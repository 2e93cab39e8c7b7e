"""What an agent tells of the tables that say where accounts are served, and what it is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest

from controller.agent.server import Running as Running_
from controller.agreement import digests, store
from controller.errors import InputError
from tests.contract.conftest import eventually
from tests.contract.test_agent import (  # noqa: F401 - fixtures
    Running,
    cluster,
    control,
    edge_agent,
    media_agent,
)

HELD = "account-acme/:account"


def suspected(running: Running) -> list[tuple[str, str]]:
    """Tables of the node that do not hold what is published."""
    with psycopg.connect(running.control.url) as connection:
        return [
            (one.node, one.table)
            for one in store.told(connection)
            if one.node == running.node
            and (one.found is None or digests.differing(one.expected, one.found, one.passed))
        ]


async def test_an_edge_tells_what_it_holds(edge_agent: Running) -> None:  # noqa: F811
    accounts: list[tuple[str, str, str | None]] = [
        ("account", f"a{number}", f"cluster=c{number % 3}") for number in range(700)
    ]
    last = edge_agent.control.publish("edge", [*accounts, ("overflow", "c1", "c2"), ("number", "+49", "a1")])
    edge_agent.start()
    await edge_agent.live(last)
    await edge_agent.verified()
    assert suspected(edge_agent) == []
    # Published and read back since: nothing to compare yet, and nothing wrong.
    await edge_agent.live(
        edge_agent.control.publish("edge", [("account", "a5", "cluster=c9"), ("account", "a6", None)])
    )
    assert suspected(edge_agent) == []
    await edge_agent.verified()
    assert suspected(edge_agent) == []


async def test_a_media_node_tells_which_accounts_it_holds(media_agent: Running) -> None:  # noqa: F811
    held: list[tuple[str, str, str | None]] = [
        ("dialplan", HELD, "Return(DE,en,)"),
        ("dialplan", "account-acme/101", "NoOp()"),
    ]
    media_agent.start()
    await media_agent.live(media_agent.control.publish("media", held, scope="c1"))
    await media_agent.verified()
    assert suspected(media_agent) == []
    with psycopg.connect(media_agent.control.url) as connection:
        told = connection.execute("SELECT tbl, entries FROM control.node_digests").fetchall()
    assert told == [("dialplan", 1)]


async def test_a_state_file_that_lost_an_entry_is_found_and_loaded_anew(edge_agent: Running) -> None:  # noqa: F811
    place, agent = edge_agent.place, edge_agent
    last = agent.control.publish(
        "edge", [("account", "acme", "cluster=c1"), ("account", "other", "cluster=c2")]
    )
    agent.start()
    await agent.live(last)
    # No revision says so, so the agent takes it for what is meant.
    place.state._db.execute("UPDATE entry SET value = 'cluster=c7' WHERE key = 'acme'")
    place.by_hand("htable.sets account acme cluster=c7")
    assert (await agent.verified())["drift"] == 0
    assert suspected(agent) == [("edge1", "account")]
    asked = {"table": "account", "buckets": [digests.bucket("acme")], "keys": ["acme", "stranger"]}
    said = await agent.agent.questions.held(asked)
    assert said == {"entries": {"acme": "cluster=c7", "stranger": None}}
    await agent.agent.questions.reload({})
    await eventually(lambda: suspected(agent) == [])
    assert await place.server.read("account", ["acme"]) == {"acme": "cluster=c1"}


async def test_other_tables_are_nobodys_business(edge_agent: Running) -> None:  # noqa: F811
    edge_agent.start()
    with pytest.raises(InputError, match="credential"):
        await edge_agent.agent.questions.held({"table": "credential", "buckets": [1], "keys": []})


async def test_calls_of_accounts_are_told_while_the_cluster_is_nearly_full(media_agent: Running) -> None:  # noqa: F811
    connection = media_agent.control.connection

    def told() -> list[tuple[object, ...]]:
        return connection.execute("SELECT node, accounts FROM control.node_calls").fetchall()

    media_agent.start()
    await media_agent.live(media_agent.control.publish("media", [("flag", "dnd/acme/a", "1")], scope="c1"))
    media_agent.agent.accounts = lambda: {"acme": 3, "other": 1}
    media_agent.agent._news.set()
    await eventually(lambda: media_agent.control.state("media1")["calls"] is not None)
    assert told() == [], "no cap"
    # A limit that any load reaches.
    connection.execute("UPDATE nodes SET call_cap = 4 WHERE name = 'media1'")
    server = media_agent.place.server
    server.running = _four_calls(server.running)  # type: ignore[method-assign]
    await eventually(lambda: told() == [("media1", {"acme": 3, "other": 1})])
    row = connection.execute("SELECT count(*) FROM control.entries WHERE tbl = 'shed'").fetchone()
    assert row is not None
    assert row[0] >= 1
    connection.execute("UPDATE nodes SET call_cap = NULL WHERE name = 'media1'")
    await eventually(lambda: told() == [])


def _four_calls(
    running: Callable[[], Coroutine[Any, Any, Running_]],
) -> Callable[[], Coroutine[Any, Any, Running_]]:
    async def four() -> Running_:
        return (await running())._replace(calls=4)

    return four
