"""FastAGI against callers that no sound Asterisk is, over real sockets, and its quoting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import UnsafeValue
from controller.wire.agi import COMMAND_BYTES, REQUEST_BYTES, Broken, Reply, Request, Session, encode
from controller.wire.agi_caller import request, words

REQUEST = request("decide", ["group", "sales"])
Handler = Callable[[Session], Awaitable[object]]
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(
    handler: Handler, deadline_s: float = 5
) -> AsyncIterator[tuple[Ends, asyncio.Future[object]]]:
    """A caller's two streams, and what came of the handler."""
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outcome.set_result(await handler(Session(reader, writer, deadline_s=deadline_s)))
        except (Broken, UnsafeValue) as error:
            outcome.set_result(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=REQUEST_BYTES)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with asyncio.timeout(30):
            yield (reader, writer), outcome
    finally:
        writer.close()
        server.close()


async def read(session: Session) -> Request:
    return await session.request()


async def outcome_of(sent: bytes, *, close: bool, deadline_s: float = 5, handler: Handler = read) -> object:
    async with serving(handler, deadline_s) as ((_, writer), outcome):
        writer.write(sent)
        if close:
            writer.close()
        return await outcome


def kind(outcome: object) -> str:
    assert isinstance(outcome, Broken), outcome
    return outcome.kind


async def test_a_request_gives_variables_and_arguments_in_order() -> None:
    block = b"agi_network: yes\nagi_network_script: decide\nagi_callerid: +4930\nagi_accountcode: \n"
    arguments = b"".join(f"agi_arg_{n}: value {n}\n".encode() for n in range(1, 12))
    got = await outcome_of(block + arguments + b"\n", close=False)
    assert isinstance(got, Request)
    assert got.script == "decide"
    assert got.variables["callerid"] == "+4930"
    assert got.variables["accountcode"] == ""
    assert got.arguments == tuple(f"value {n}" for n in range(1, 12))


@pytest.mark.parametrize(
    ("sent", "close", "expected"),
    [
        (b"", True, "silent"),
        (b"agi_network: yes\nagi_requ", True, "closed"),
        (b"agi_network: yes\n", False, "slow"),
        (b"agi_x: " + b"a" * 100_000, False, "long"),
        (b"agi_x: a\n" * 5_000, False, "long"),
        (b"".join(b"agi_%d: a\n" % n for n in range(300)) + b"\n", False, "long"),
        (b"GET / HTTP/1.1\nHost: x\n\n", False, "garbage"),
        (b"\x00\xff\xfe\n\n", False, "garbage"),
        (b"agi_arg_1: a\nagi_arg_1: b\n\n", False, "garbage"),
    ],
    ids=[
        *(
            "connect and close",
            "half a header",
            "slow header",
            "endless line",
            "endless header",
            "many lines",
        ),
        *("HTTP", "binary", "a value with a line feed"),
    ],
)
async def test_a_caller_that_is_no_asterisk_ends_with_its_name(
    sent: bytes, close: bool, expected: str
) -> None:
    assert kind(await outcome_of(sent, close=close, deadline_s=0.3 if expected == "slow" else 20)) == expected


async def test_a_header_that_trickles_is_cut_off_at_the_deadline_of_the_whole() -> None:
    async with serving(read, 0.5) as ((_, writer), outcome):
        for number in range(10_000):
            writer.write(b"agi_%d: x\n" % number if number < 150 else b"")
            if outcome.done():
                break
            await asyncio.sleep(0.02)
        assert kind(await outcome) == "slow"


async def ask(session: Session) -> Reply:
    await session.request()
    return await session.command("GET", "VARIABLE", "A")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"200 result=1 (a (b) c)\n", Reply("1", "a (b) c")),
        (b"200 result=0\n", Reply("0", "")),
        (b"200 result=-1\n", Reply("-1", "")),
        (b"200 result=1 ()\n", Reply("1", "")),
        (b"200 result=0 endpos=8000\n", Reply("0", "endpos=8000")),
    ],
)
async def test_replies_are_read(reply: bytes, expected: Reply) -> None:
    assert await outcome_of(REQUEST + reply, close=False, handler=ask) == expected


@pytest.mark.parametrize(
    ("reply", "expected", "said"),
    [
        (b"510 Invalid or unknown command\n", "refused", "510 Invalid"),
        (b"511 Command Not Permitted on a dead channel or intercept routine\n", "refused", "511"),
        (b"520-Invalid command syntax.  Proper usage follows:\n Usage: X\n more\n520 End of proper usage.\n", "refused",
         "Usage: X"),
        (b"520 Invalid command syntax.  Proper usage not available.\n", "refused", "not available"),
        (b"520-Invalid\n" + b"again\n" * 200, "long", "usage"),
        (b"HANGUP\n", "hangup", "hung up"),
        (b"200 result=1 (two\nlines)\n", "garbage", "more than one line"),
        (b"hello\n", "garbage", "hello"),
        (b"200 result=1 (" + b"a" * 100_000, "long", "bytes"),
    ],
)  # fmt: skip
async def test_what_is_no_reply_ends_the_exchange(reply: bytes, expected: str, said: str) -> None:
    outcome = await outcome_of(REQUEST + reply, close=False, handler=ask)
    assert kind(outcome) == expected
    assert said in str(outcome)


async def finish(session: Session) -> None:
    await session.request()
    await session.finish([("SET", "VARIABLE", f"A{n}", f'say "{n}"') for n in range(50)])


@pytest.mark.parametrize("handler", [ask, finish], ids=["ask", "finish"])
async def test_a_caller_that_goes_away_in_the_middle_is_told(handler: Handler) -> None:
    assert kind(await outcome_of(REQUEST, close=True, handler=handler)) == "closed"


async def test_commands_are_sent_at_once_and_the_end_after_them() -> None:
    async with serving(finish) as ((reader, writer), outcome):
        writer.write(REQUEST)
        sent = (await reader.read()).decode().splitlines()  # the end of what is sent comes before any reply
        assert [words(line) for line in sent] == [
            ["SET", "VARIABLE", f"A{n}", f'say "{n}"'] for n in range(50)
        ]
        assert not outcome.done()
        writer.write(b"200 result=1\n" * 50 + b"HANGUP\n")
        assert await outcome is None


async def test_a_hangup_in_the_middle_of_replies_is_one() -> None:
    assert (
        kind(await outcome_of(REQUEST + b"200 result=1\n" * 20 + b"HANGUP\n", close=False, handler=finish))
        == "hangup"
    )


# ---------------------------------------------------------------------------------------------------------- quoting

ANY = st.text(st.characters(blacklist_characters="\0\r\n", blacklist_categories=["Cs"]), max_size=60)


@given(st.lists(ANY, min_size=1, max_size=6))
def test_every_argument_arrives_as_it_is(arguments: list[str]) -> None:
    assert words(encode(arguments).decode().removesuffix("\n")) == arguments


@pytest.mark.parametrize("where", range(4))
@pytest.mark.parametrize("value", ['a" "b', "a\\", '\\"', "", " ", "a\tb", "${X}", "ä→", "'", "#", ";"])
def test_special_characters_are_carried_in_every_place(where: int, value: str) -> None:
    arguments = ["SET", "VARIABLE", "A", "b"]
    arguments[where] = value
    line = encode(arguments)
    assert line.count(b"\n") == 1
    assert words(line.decode().removesuffix("\n")) == arguments


@pytest.mark.parametrize("where", range(4))
@pytest.mark.parametrize("value", ["a\nHANGUP", "a\rb", "a\0b"])
def test_what_would_become_a_second_command_is_refused_in_every_place(where: int, value: str) -> None:
    arguments = ["SET", "VARIABLE", "A", "b"]
    arguments[where] = value
    with pytest.raises(UnsafeValue):
        encode(arguments)


def test_a_line_is_as_long_as_asterisk_reads_one() -> None:
    room = COMMAND_BYTES - len(b"SET VARIABLE A ")
    assert len(encode(["SET", "VARIABLE", "A", "b" * room])) == COMMAND_BYTES + 1
    with pytest.raises(UnsafeValue):
        encode(["SET", "VARIABLE", "A", "b" * (room + 1)])
    with pytest.raises(UnsafeValue):
        encode(["a"] * 128)
    with pytest.raises(UnsafeValue):
        encode([])


async def test_nothing_is_sent_when_one_command_of_several_cannot_be() -> None:
    async def handler(session: Session) -> None:
        await session.request()
        await session.finish([("SET", "VARIABLE", "A", "1"), ("SET", "VARIABLE", "B", "1\n2")])

    async with serving(handler) as ((reader, writer), outcome):
        writer.write(REQUEST)
        assert isinstance(await outcome, UnsafeValue)
        assert await reader.read() == b""
