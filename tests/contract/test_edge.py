"""What the agent needs of Kamailio, on our double and on the real one."""

from __future__ import annotations

import asyncio

import pytest

from controller.agent.state import Wanted
from controller.agent.values import canonical
from controller.errors import NodeUnreachable
from tests.contract.conftest import Place

VALUES = [
    ("account", "acme", "cluster=c1;status=active;country=DE;limit=20"),
    ("emergency", "DE:112", "1"),
    ("number", "+4930555010", "acme"),
    ("lead", "acme/103", "user=lobby;device=lobby@acme.example;straight=1"),
    ("block", "source:203.0.113.9:*", "scanner"),
    ("domain", "112", "007"),
    ("domain", "ünicode", 'quote"back\\slash\ttab'),
    ("target", "c1", "media1=10.213.0.21:5060,10 media2=10.213.0.22:5060,10"),
]
REGISTRATION = (
    "user=u1;realm=carrier.example;ha1=0123456789abcdef0123456789abcdef;"
    "host=127.0.0.9;port=5070;transport=udp;expires=300"
)


@pytest.mark.parametrize(("table", "key", "value"), VALUES)
async def test_what_is_set_is_read_back_and_can_be_removed(
    edge: Place, table: str, key: str, value: str
) -> None:
    server = edge.server
    assert await server.read(table, [key]) == {key: None}
    for _ in range(2):
        assert await server.apply([Wanted(table, key, value)]) == {}
        assert await server.read(table, [key, "other"]) == {key: value, "other": None}
    for _ in range(2):
        assert await server.apply([Wanted(table, key, None)]) == {}
        assert await server.read(table, [key]) == {key: None}


async def test_many_at_once(edge: Place) -> None:
    wanted = [Wanted("credential", f"d{n}@a.example", f"account=a;md5={n}") for n in range(3000)]
    assert await edge.server.apply(wanted) == {}
    found = await edge.server.read("credential", [one.key for one in wanted])
    assert found == {one.key: one.value for one in wanted}


async def test_one_bad_value_does_not_keep_the_others_back(edge: Place) -> None:
    values = {"1": "a", "2": "x" * 70_000, "3": "c\0d", "4": "d"}
    wanted = [Wanted("number", key, value) for key, value in values.items()]
    failures = await edge.server.apply(wanted)
    assert set(failures) == {("number", "2"), ("number", "3")}
    assert await edge.server.read("number", ["1", "2", "3", "4"]) == {
        "1": "a",
        "2": None,
        "3": None,
        "4": "d",
    }


async def test_a_missing_table_is_refused_by_name(edge: Place) -> None:
    assert list(await edge.server.apply([Wanted("nonsense", "k", "v")])) == [("nonsense", "k")]


async def test_registrations(edge: Place) -> None:
    changed = REGISTRATION.replace("5070", "5080")
    for value in (REGISTRATION, REGISTRATION, changed):
        assert await edge.server.apply([Wanted("registration", "trunk1", value)]) == {}
        found = await edge.server.read("registration", ["trunk1", "none"])
        assert found["none"] is None
        assert canonical("registration", found["trunk1"]) == canonical("registration", value)
    part, after = await edge.server.slice("registration", "")
    assert after is None
    assert list(part.found) == ["trunk1"]
    assert await edge.server.apply([Wanted("registration", "trunk1", None)]) == {}
    assert await edge.server.read("registration", ["trunk1"]) == {"trunk1": None}


async def test_slices_show_small_tables_whole_and_count_big_ones(edge: Place) -> None:
    edge.state.stage([Wanted("account", "a", "1")], 1)
    await edge.server.apply([Wanted("account", "a", "2"), Wanted("account", "stranger", "x")])
    part, after = await edge.server.slice("account", "")
    assert (part.meant, part.found, after) == ({"a": "1"}, {"a": "2", "stranger": "x"}, None)
    assert await edge.server.surplus("account") == 1
    many = [Wanted("number", f"{n}", "a") for n in range(400)]
    edge.state.stage(many, 2)
    await edge.server.apply([*many, Wanted("number", "stranger", "a")])
    part, after = await edge.server.slice("number", "")
    assert len(part.found) == 400
    assert await edge.server.surplus("number") == 1


async def test_a_restart_shows_and_the_state_file_comes_back(edge: Place) -> None:
    edge.state.stage([Wanted("account", "acme", "kept"), Wanted("registration", "t", REGISTRATION)], 1)
    before = await edge.server.running()
    assert await edge.server.running() == before
    await asyncio.to_thread(edge.restart)
    assert await edge.server.running() != before
    if edge.fake is None:
        assert await edge.server.read("account", ["acme"]) == {"acme": "kept"}
        async with asyncio.timeout(5):  # a child of Kamailio loads them, while another answers already
            while (found := (await edge.server.read("registration", ["t"]))["t"]) is None:  # noqa: ASYNC110 - asked of the server
                await asyncio.sleep(0.02)
        assert canonical("registration", found) == canonical("registration", REGISTRATION)


@pytest.mark.parametrize("edge", ["real"], indirect=True)
async def test_reload_drops_what_nobody_meant(edge: Place) -> None:
    """Not on the double: it reads no SQLite."""
    edge.state.stage([Wanted("account", "acme", "kept")], 1)
    await edge.server.apply([Wanted("account", "stranger", "x")])
    assert await edge.server.refill("account") is None
    assert await edge.server.read("account", ["acme", "stranger"]) == {"acme": "kept", "stranger": None}


async def test_nobody_there_is_said_so(edge: Place) -> None:
    from controller.agent.edge import Edge
    from controller.wire.jsonrpc import JsonRpc

    server = Edge(JsonRpc(edge.files / "none.sock"), edge.state)
    with pytest.raises(NodeUnreachable, match="Is Kamailio running"):
        await server.running()
