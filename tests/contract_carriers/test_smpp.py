"""What is said to a message centre over SMPP, and by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("aiosmpplib", reason="the extra smpp is not installed")

from controller.errors import InputError
from controller.wire import smpp
from controller.wire.smpp import Answer, Link
from tests.smsc import BAD_ADDRESS, THROTTLED, Centre

SENDER, TO = "+4930555010", "+33123456789"


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    async with Centre().running() as one:
        yield one


async def nobody(sender: str, to: str, text: str) -> None:
    raise AssertionError(f"nothing is expected: {sender} {to} {text}")


@asynccontextmanager
async def linked(
    centre: Centre, received: smpp.Received = nobody, password: str = "secret"
) -> AsyncIterator[Link]:
    link = Link("127.0.0.1", centre.port, "acme", password, received)
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(test: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not test():  # noqa: ASYNC110 - the other side has no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "coding"), [("Hello", 0), ("Привет, мир", 8), ("long " * 100, 0), ("длинный " * 60, 8)]
)
async def test_a_text_is_taken(centre: Centre, text: str, coding: int) -> None:
    async with linked(centre) as link:
        await until(lambda: link.bound)
        assert await link.submit("1", SENDER, TO, text) == Answer(True, "ESME_ROK", False)
    (one,) = centre.taken
    assert (one.sender, one.to, one.text, one.coding) == (SENDER[1:], TO[1:], text, coding)


async def test_many_at_once(centre: Centre) -> None:
    async with linked(centre) as link:
        await until(lambda: link.bound)
        answers = await asyncio.gather(*(link.submit(f"{one}", SENDER, TO, f"{one}") for one in range(40)))
    assert all(one.ok for one in answers)
    assert sorted(int(one.text) for one in centre.taken) == list(range(40))


async def test_answers_are_told_apart(centre: Centre) -> None:
    centre.answers = [THROTTLED, BAD_ADDRESS]
    async with linked(centre) as link:
        await until(lambda: link.bound)
        assert await link.submit("1", SENDER, TO, "x") == Answer(False, "ESME_RTHROTTLED", True)
        assert await link.submit("2", SENDER, TO, "x") == Answer(False, "ESME_RINVDSTADR", False)


async def test_silence(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp, "ANSWER_S", 0.3)
    centre.answers = [None]
    async with linked(centre) as link:
        await until(lambda: link.bound)
        assert await link.submit("1", SENDER, TO, "x") == Answer(False, "no answer", True)


async def test_not_connected_and_again(centre: Centre) -> None:
    async with linked(centre) as link:
        assert await link.submit("1", SENDER, TO, "x") == Answer(False, "not connected", True)
        await until(lambda: link.bound)
        centre.hang_up()
        await until(lambda: centre.binds == 2 and link.bound)
        assert (await link.submit("2", SENDER, TO, "y")).ok


async def test_a_wrong_password(centre: Centre) -> None:
    async with linked(centre, password="other") as link:
        await asyncio.sleep(0.5)
        assert not link.bound
    assert centre.binds == 0


async def test_what_comes_is_acknowledged_when_it_is_kept(centre: Centre) -> None:
    kept: list[tuple[str, str, str]] = []
    fails = [True]

    async def received(sender: str, to: str, text: str) -> None:
        if fails.pop() if fails else False:
            raise OSError("away")
        kept.append((sender, to, text))

    async with linked(centre, received) as link:
        await until(lambda: link.bound)
        centre.bring("33123456789", "4930555010", "Привет")
        await until(lambda: centre.binds == 2 and link.bound)
        assert (centre.acknowledged, kept) == ([], [])
        centre.bring("33123456789", "4930555010", "Привет")
        await until(lambda: bool(centre.acknowledged))
    assert centre.acknowledged == [0]
    assert kept == [("+33123456789", "+4930555010", "Привет")]


def test_what_the_library_cannot_use() -> None:
    with pytest.raises(InputError, match="password"):
        Link("127.0.0.1", 2775, "acme", "longer than eight", nobody)
