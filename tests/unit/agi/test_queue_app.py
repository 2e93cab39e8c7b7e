"""What is told of the telephones that ring for a caller of a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.agi.entries import Entries
from controller.agi.queue_app import QueueApp
from controller.queues.desk import Desk, Waiter
from controller.queues.model import Place, Queue, Setup
from controller.wire.agi import Broken, Request

SETUP = Setup(
    "acme",
    {"support": Queue("support", members=(Place("alice"), Place("bob")))},
    {"alice": ("desk1@acme.example", "app1@acme.example"), "bob": ("bob@acme.example",)},
)


class Told:
    """The server around the scripts; `said`: what the store was told."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []
        self.waiter = Waiter(7, "acme", "support", turn=3)
        self.waiter.rings = {"alice": set(SETUP.devices["alice"]), "bob": set(SETUP.devices["bob"])}

        async def account(name: str) -> Any:
            return SimpleNamespace(queues=SETUP)

        desk = SimpleNamespace(here={7: self.waiter}.get, ask=self.ask)
        self.app = QueueApp(cast(Entries, SimpleNamespace(account=account)), cast(Desk, desk))

    async def ask(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def refused(caller: int, member: str) -> bool:
            self.said.append((caller, member))
            return True

        return await work(SimpleNamespace(refused=refused))

    def refuses(self, leg: str, turn: str = "3", caller: str = "7") -> None:
        async def finish(commands: Any) -> None:
            assert commands == [("SET", "VARIABLE", "DP_NOTED", "1")]

        request = Request({}, ("support", "acme", caller, leg, turn))
        asyncio.run(self.app.scripts["queue-refused"](cast(Any, SimpleNamespace(finish=finish)), request))  # type: ignore[arg-type]


def test_a_member_said_no_when_the_last_of_its_telephones_did() -> None:
    told = Told()
    told.refuses("desk1@acme.example")
    assert (told.said, told.waiter.refused) == ([], {"alice"})
    told.refuses("app1@acme.example")
    assert told.said == [(7, "alice")]
    assert not told.waiter.settled.is_set(), "bob rings"
    told.refuses("bob@acme.example")
    assert told.said == [(7, "alice"), (7, "bob")]
    assert told.waiter.settled.is_set()


@pytest.mark.parametrize(("turn", "caller"), [("2", "7"), ("", "7"), ("3", "8"), ("3", "x")])
def test_what_is_told_of_another_turn_or_caller_changes_nothing(turn: str, caller: str) -> None:
    told = Told()
    told.refuses("bob@acme.example", turn, caller)
    assert (told.said, told.waiter.refused) == ([], set())


def test_a_device_of_nobody_is_garbage() -> None:
    with pytest.raises(Broken, match="no device of account acme"):
        Told().refuses("eve@acme.example")
