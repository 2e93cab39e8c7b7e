"""What happens when the server or the connection does not do its part."""

from __future__ import annotations

import asyncio
import time

import pytest

from controller.errors import NodeRefused, NodeUnreachable
from controller.wire.ami import Ami, Event, OutcomeUnknown
from tests.contract_ami.conftest import RealAsterisk, until
from tests.contract_ami.fake_ami import Action, FakeAmi

ORIGINATE = {"Channel": "Local/answer@calls", "Application": "Wait", "Data": "1", "Async": "true"}


async def connected(fake: FakeAmi, **options: float) -> Ami:
    client = Ami("127.0.0.1", fake.port, "dialplane", "contract", backoff_s=(0.02, 0.1), **options)  # type: ignore[arg-type]
    await client.connect()
    return client


async def drop_once(fake: FakeAmi) -> None:
    """The next action is read and not answered: the connection closes instead."""

    async def close(action: Action, writer: asyncio.StreamWriter) -> bool:
        fake.before = None
        return False

    fake.before = close


@pytest.mark.parametrize("name", ["Originate", "originate", "Redirect", "Hangup", "Bridge", "PJSIPNotify"])
async def test_what_must_not_happen_twice_is_never_sent_again(fake: FakeAmi, name: str) -> None:
    ami = await connected(fake)
    await drop_once(fake)
    with pytest.raises(OutcomeUnknown, match="connection was lost"):
        await ami.action(name, ORIGINATE)
    await until(lambda: ami.connected and ami.reconnects == 1)
    await ami.action("DBGet", {"Family": "a", "Key": "b"})
    assert [action["Action"][0] for action in fake.seen] == [name, "DBGet"]
    await ami.close()


async def test_the_caller_can_say_that_an_action_is_not_idempotent(fake: FakeAmi) -> None:
    ami = await connected(fake)
    await drop_once(fake)
    with pytest.raises(OutcomeUnknown):
        await ami.action("DBPut", {"Family": "a", "Key": "b", "Val": "c"}, idempotent=False)
    assert len(fake.seen) == 1
    await ami.close()


async def test_an_idempotent_action_is_sent_again(fake: FakeAmi) -> None:
    ami = await connected(fake)
    await drop_once(fake)
    assert (await ami.action("DBPut", {"Family": "a", "Key": "b", "Val": "c"})).ok
    assert len(fake.seen) == 2
    await ami.close()


async def test_many_actions_go_on_where_the_connection_broke(fake: FakeAmi) -> None:
    ami = await connected(fake)

    async def close_at_100(action: Action, writer: asyncio.StreamWriter) -> bool:
        if action["Key"][0] == "100":
            fake.before = None
            return False
        return True

    fake.before = close_at_100
    answers = await ami.actions(
        [("DBPut", {"Family": "a", "Key": f"{n}", "Val": f"{n}"}) for n in range(300)], window=32
    )
    assert all(answer.ok for answer in answers)
    assert len(answers) == 300
    assert len(fake.database) == 300
    assert len(fake.seen) <= 300 + 32
    await ami.close()


async def test_no_answer_ends_at_the_deadline(fake: FakeAmi) -> None:
    ami = await connected(fake)

    async def hang(action: Action, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(30)
        return False

    fake.before = hang
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match=r"DBGet .* no answer in 0\.2 s"):
        await ami.action("DBGet", timeout_s=0.2)
    with pytest.raises(OutcomeUnknown):
        await ami.action("Originate", ORIGINATE, timeout_s=0.2)
    assert time.monotonic() - started < 2
    await ami.close()


async def test_without_a_connection_nothing_is_sent(fake: FakeAmi) -> None:
    ami = await connected(fake)
    await fake.stop()
    await until(lambda: not ami.connected)
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match="nothing was sent") as raised:
        await ami.action("Originate", ORIGINATE)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert time.monotonic() - started < 0.5
    with pytest.raises(NodeUnreachable):
        await ami.action("DBGet", timeout_s=0.2)
    assert fake.seen == []
    await ami.close()


async def test_reconnect_resynchronises_before_events(fake: FakeAmi) -> None:
    order: list[str] = []
    ami = Ami("127.0.0.1", fake.port, "dialplane", "contract", backoff_s=(0.02, 0.1))

    async def resync() -> None:
        await ami.action("CoreShowChannels")
        order.append("resync")

    def note(event: Event) -> None:
        order.append(event["Event"])

    ami.on_connect(resync)
    ami.on("*", note)
    await ami.connect()
    await until(lambda: len(order) == 2)
    fake.cut()
    await until(lambda: len(order) == 4)
    fake.event(Event="Hangup", Uniqueid="1")
    await until(lambda: len(order) == 5)
    assert order == ["resync", "FullyBooted", "resync", "FullyBooted", "Hangup"]
    await ami.close()


async def test_a_silent_server_is_noticed_by_ping(fake: FakeAmi) -> None:
    ami = await connected(fake, ping_interval_s=0.05, ping_timeout_s=0.1)
    await asyncio.sleep(0.3)
    assert ami.reconnects == 0
    fake.answers_pings = False
    await until(lambda: fake.logins == 2)
    await ami.close()


async def test_a_server_that_is_still_starting_is_not_connected(fake: FakeAmi) -> None:
    fake.boots = False
    ami = Ami("127.0.0.1", fake.port, "dialplane", "contract", boot_timeout_s=0.2)
    with pytest.raises(NodeUnreachable, match="FullyBooted"):
        await ami.connect()
    await ami.close()


async def test_nobody_there() -> None:
    ami = Ami("127.0.0.1", 1, "dialplane", "contract")
    with pytest.raises(NodeUnreachable, match=r"dialplane@127\.0\.0\.1:1"):
        await ami.connect()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    ami = Ami("127.0.0.1", server.sockets[0].getsockname()[1], "d", "s", connect_timeout_s=0.2)
    with pytest.raises(NodeUnreachable, match=r"no answer in 0\.2 s"):
        await ami.connect()
    server.close()


async def test_another_server_is_refused() -> None:
    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(ssh, "127.0.0.1", 0)
    ami = Ami("127.0.0.1", server.sockets[0].getsockname()[1], "d", "s")
    with pytest.raises((NodeRefused, NodeUnreachable), match="not an AMI server"):
        await ami.connect()
    server.close()


async def test_more_events_than_callbacks_can_take_start_anew(fake: FakeAmi) -> None:
    ami = await connected(fake, max_events=50)

    async def slow(event: Event) -> None:
        await asyncio.sleep(0.5)

    ami.on("Flood", slow)
    for _ in range(200):
        fake.event(Event="Flood")
    await until(lambda: fake.logins == 2)
    await ami.close()


async def test_asterisk_restarted_under_us(asterisk: RealAsterisk) -> None:
    ami = Ami(asterisk.host, 5038, "dialplane", "contract", backoff_s=(0.05, 0.5))
    resyncs: list[int] = []
    ami.on_connect(lambda: resyncs.append(1))
    await ami.connect()
    await ami.action("DBPut", {"Family": "restart", "Key": "k", "Val": "v"})
    asterisk.cli("core restart now")
    await until(lambda: not ami.connected, 10)
    answer = await ami.action("DBGet", {"Family": "restart", "Key": "k"}, timeout_s=30)
    assert answer.events[0]["Val"] == "v"
    await until(lambda: len(resyncs) == 2)
    await ami.close()


async def test_a_user_without_system_events_is_told_so(asterisk: RealAsterisk) -> None:
    ami = Ami(asterisk.host, 5038, "poor", "contract", boot_timeout_s=0.5)
    with pytest.raises(NodeUnreachable, match="read = system"):
        await ami.connect()
