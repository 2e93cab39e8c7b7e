"""What both servers do alike: it keeps the fake honest."""

from __future__ import annotations

import pytest

from controller.errors import NodeRefused, UnsafeValue
from controller.wire.ami import Ami, Event
from tests.contract_ami.conftest import until


async def test_login_failure_names_host_and_user(place: tuple[str, int]) -> None:
    client = Ami(*place, "dialplane", "wrong")
    with pytest.raises(NodeRefused, match=rf"{place[0]}:{place[1]} as 'dialplane'.*Authentication failed"):
        await client.connect()
    assert not client.connected
    await client.close()


async def test_a_value_arrives_as_it_was_given(ami: Ami) -> None:
    for value in ("plain", "ä: ö; \"q\" 'x' \\n ${A} =,|", "x" * 900, "trailing  "):
        (await ami.action("DBPut", {"Family": "contract", "Key": "k", "Val": value})).check("DBPut")
        answer = await ami.action("DBGet", {"Family": "contract", "Key": "k"})
        assert answer.ok
        assert [event["Val"] for event in answer.events] == [value]


async def test_an_error_is_an_answer(ami: Ami) -> None:
    answer = await ami.action("DBGet", {"Family": "contract", "Key": "none"})
    assert not answer.ok
    assert answer.message == "Database entry not found"


async def test_an_unknown_action_is_raised(ami: Ami) -> None:
    with pytest.raises(NodeRefused, match=r"NoSuchThing.*Invalid/unknown command"):
        await ami.action("NoSuchThing")


async def test_an_empty_list_is_complete(ami: Ami) -> None:
    answer = await ami.action("CoreShowChannels")
    assert answer.ok
    assert answer.events == []


async def test_command_output_comes_in_lines(ami: Ami) -> None:
    answer = await ami.action("Command", {"Command": "core show uptime"})
    assert [line.split(":")[0] for line in answer.output] == ["System uptime", "Last reload"]


async def test_many_actions_keep_their_order(ami: Ami) -> None:
    writes = [("DBPut", {"Family": "many", "Key": f"{n}", "Val": f"v{n}"}) for n in range(1000)]
    assert all(answer.ok for answer in await ami.actions(writes, window=64))
    reads = [("DBGet", {"Family": "many", "Key": f"{n}"}) for n in range(1000)]
    assert [answer.events[0]["Val"] for answer in await ami.actions(reads)] == [f"v{n}" for n in range(1000)]


async def test_nothing_is_sent_if_one_of_many_is_unsafe(ami: Ami) -> None:
    await ami.action("DBPut", {"Family": "unsafe", "Key": "first", "Val": "old"})
    with pytest.raises(UnsafeValue):
        await ami.actions(
            [
                ("DBPut", {"Family": "unsafe", "Key": "first", "Val": "new"}),
                ("DBPut", {"Family": "unsafe", "Key": "second", "Val": "x\r\nAction: Logoff"}),
            ]
        )
    answer = await ami.action("DBGet", {"Family": "unsafe", "Key": "first"})
    assert answer.events[0]["Val"] == "old"


async def test_originate_is_not_sent_in_bulk(ami: Ami) -> None:
    with pytest.raises(ValueError, match="must not be sent twice"):
        await ami.actions([("Originate", {})])


async def test_events_reach_callbacks_in_order_even_slow_ones(ami: Ami) -> None:
    got: list[str] = []

    async def note(event: Event) -> None:
        await ami.action("DBGet", {"Family": "contract", "Key": "none"})
        got.append(event["Number"])

    ami.on("userevent", note)
    for number in range(20):
        await ami.action("UserEvent", {"UserEvent": "Contract", "Number": f"{number}"})
    await until(lambda: len(got) == 20)
    assert got == [f"{number}" for number in range(20)]


async def test_a_failing_callback_does_not_end_the_stream(ami: Ami, caplog: pytest.LogCaptureFixture) -> None:
    got: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError(event["Event"])

    ami.on("UserEvent", fail)
    ami.on("*", got.append)
    await ami.action("UserEvent", {"UserEvent": "Contract", "Number": "1"})
    await until(lambda: any(event.get("Number") == "1" for event in got))
    assert "callback for UserEvent failed" in caplog.text
