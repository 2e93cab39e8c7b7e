"""What the agent needs of Asterisk, on our double and on the real one."""

from __future__ import annotations

import asyncio

import pytest

from controller.agent.media import Media
from controller.agent.state import Wanted
from controller.agent.values import canonical, lines
from controller.agent.verify import Difference, differences
from controller.errors import NodeUnreachable
from tests.contract.conftest import Place
from tests.contract.fake_asterisk import FakeAsterisk

THREE = "hint:Custom:alice\nNoOp(x,y)\nWait(1)\nHangup()"
ONE = "Hangup(17)"
KEY = "account-acme/101"


async def meant(media: Place, table: str, key: str, value: str | None, revision: int = 1) -> str | None:
    """Stage and apply one value; what is read back."""
    wanted = [Wanted(table, key, value)]
    media.state.stage(wanted, revision)
    assert await media.server.apply(wanted) == {}
    return (await media.server.read(table, [key]))[key]


@pytest.mark.parametrize("big", [False, True])
async def test_an_extension_becomes_what_is_meant(
    media: Place, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if big:
        monkeypatch.setattr(media.server, "big_node_contexts", 0)
    for value in (THREE, THREE, ONE, THREE, "NoOp(changed)\nHangup()", None, None, THREE):
        found = await meant(media, "dialplan", KEY, value)
        assert canonical("dialplan", found) == canonical("dialplan", value)


async def test_patterns_and_variables(media: Place) -> None:
    for key, value in (
        ("routes/_+49X.", "Set(A=${EXTEN:1})\nGosub(out,s,1(${A},1))"),
        ("routes/*97", "Wait(1)"),
    ):
        assert canonical("dialplan", await meant(media, "dialplan", key, value)) == canonical(
            "dialplan", value
        )
        assert await meant(media, "dialplan", key, None) is None


async def test_many_lines_come_by_one_reload(media: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media.server, "reload_lines", 100)
    wanted = [Wanted("dialplan", f"account-a{n % 7}/{n}", THREE) for n in range(200)]
    media.state.stage(wanted, 1)
    assert await media.server.apply(wanted) == {}
    found = await media.server.read("dialplan", [one.key for one in wanted])
    assert {canonical("dialplan", value) for value in found.values()} == {canonical("dialplan", THREE)}


async def test_a_line_asterisk_cannot_take_does_not_keep_others_back(media: Place) -> None:
    wanted = [
        Wanted("dialplan", "account-a/1", f"NoOp({'x' * 2000})"),
        Wanted("dialplan", "account-a/2", ONE),
    ]
    assert list(await media.server.apply(wanted)) == [("dialplan", "account-a/1")]
    assert (await media.server.read("dialplan", ["account-a/2"]))["account-a/2"] == ONE


async def look(media: Place) -> list[Difference]:
    """One comparison and its repairs, as the agent does it; what differed."""
    found: list[Difference] = []
    for table in media.server.tables:
        after: str | None = ""
        while after is not None:
            part, after = await media.server.slice(table, after)
            wrong = differences(table, part)
            assert await media.server.apply([one.repair for one in wrong]) == {}
            found += wrong
    return found


async def hold(media: Place, values: dict[tuple[str, str], str]) -> None:
    """Stage and apply."""
    wanted = [Wanted(*place, value) for place, value in values.items()]
    media.state.stage(wanted, 1)
    assert await media.server.apply(wanted) == {}


@pytest.mark.parametrize("big", [False, True])
async def test_what_was_done_by_hand_is_found_and_repaired(
    media: Place, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if big:
        monkeypatch.setattr(media.server, "big_node_contexts", 0)
        monkeypatch.setattr(media.server.listing, "group", 1)  # type: ignore[attr-defined]
    await hold(
        media,
        {("dialplan", KEY): ONE, ("dialplan", "account-b/1"): ONE, ("dialplan", "country-DE/_0X."): ONE,
         ("dialplan", "country-DE/115"): ONE, ("flag", "dnd/acme/alice"): "1"},
    )  # fmt: skip
    assert await look(media) == []
    for command in (
        "dialplan add extension 666,1,Hangup(17) into account-acme",
        "dialplan add extension 101,1,NoOp(17) into account-acme replace",
        "dialplan add extension 011,1,NoOp(x) into country-DE",
        "dialplan add extension 1,1,NoOp(x) into account-nobody",
        "dialplan add extension 1,1,NoOp(x) into account-",
        "dialplan add extension 1,1,NoOp(x) into inbound-nobody",
        "dialplan add extension s,1,NoOp(x) into trunks",
        "dialplan add extension s,1,NoOp(x) into site-own",
        "dialplan add extension s,1,NoOp(x) into account-theirs",
        "database put dnd acme/eve 1",
        "database put site acme/eve 1",
    ):
        media.by_hand(command)
    (media.files.parent / "site.conf").write_text("; theirs\n [account-theirs](+)\nexten => s,1,NoOp(x)\n")
    assert {(one.table, one.key): (one.expected, one.found) for one in await look(media)} == {
        ("dialplan", "account-acme/666"): (None, "Hangup(17)"),
        ("dialplan", KEY): (ONE, "NoOp(17)"),
        ("dialplan", "country-DE/011"): (None, "NoOp(x)"),
        ("dialplan", "account-nobody/1"): (None, "NoOp(x)"),
        ("dialplan", "account-/1"): (None, "NoOp(x)"),
        ("dialplan", "inbound-nobody/1"): (None, "NoOp(x)"),
        ("dialplan", "trunks/s"): (None, "NoOp(x)"),
        ("flag", "dnd/acme/eve"): (None, "1"),
    }
    assert await look(media) == []
    assert media.server.coverage() is None
    monkeypatch.setattr(media.server, "big_node_contexts", 1_000)
    there = await media.server.read("dialplan", ["site-own/s", "account-theirs/s", KEY])
    assert there == {"site-own/s": "NoOp(x)", "account-theirs/s": "NoOp(x)", KEY: ONE}
    assert await media.server.read("flag", ["site/acme/eve"]) == {"site/acme/eve": "1"}


async def test_a_comparison_without_time_lists_a_part_and_the_next_goes_on(
    media: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = media.server.listing  # type: ignore[attr-defined]
    monkeypatch.setattr(media.server, "big_node_contexts", 0)
    monkeypatch.setattr(listing, "budget_s", 0)
    await hold(media, {("dialplan", f"account-a{n:03}/1"): ONE for n in range(30)})
    media.by_hand("dialplan add extension 666,1,NoOp(x) into account-a029")
    media.by_hand("dialplan add extension 1,1,NoOp(x) into routes-nobody")
    media.by_hand("dialplan remove extension 1@account-a028")
    first = await look(media)
    # What is missing is seen by every comparison, what is too much by the one whose turn it is.
    assert [one.key for one in first] == ["account-a028/1"]
    coverage = media.server.coverage()
    assert coverage is not None
    assert (coverage.listed, coverage.total) == (8, 30)
    assert coverage.more >= 3
    found = []
    for _ in range(coverage.more + 1):
        found += await look(media)
    assert {one.key for one in found} == {"account-a029/666", "routes-nobody/1"}


async def test_flags(media: Place) -> None:
    for value in ("1", "two words", None, None):
        assert await meant(media, "flag", "dnd/acme/alice", value) == value


async def test_a_mailbox_is_the_row_voicemail_finds(media: Place) -> None:
    value = '{"fullname": "Alice", "email": "a@acme.example", "pin": "abc", "language": "de"}'
    assert await meant(media, "mailbox", "101@acme", value) == value
    assert media.state.box("101", "acme") == ("101", "acme", "abc", "Alice", "a@acme.example", "de")
    assert await meant(media, "mailbox", "101@acme", None) is None


async def test_files_stay_in_their_directory(media: Place) -> None:
    assert await meant(media, "file", "acl-x.conf", "[a]\n") == "[a]\n"
    assert (media.files / "acl-x.conf").read_text() == "[a]\n"
    for path in ("../acl.conf", "/etc/acl.conf", "a/../acl.conf", "nonsense.conf", ".acl.conf"):
        failures = await media.server.apply([Wanted("file", path, "x")])
        assert list(failures) == [("file", path)]
    assert await meant(media, "file", "acl-x.conf", None) is None


async def test_a_restart_comes_back_with_the_state_file(media: Place) -> None:
    media.state.stage([Wanted("dialplan", KEY, THREE)], 1)
    before = await media.server.running()
    await asyncio.sleep(1)  # Asterisk tells its start in seconds
    await asyncio.to_thread(media.restart)
    assert await media.server.running() != before
    found = await media.server.read("dialplan", [KEY])
    assert canonical("dialplan", found[KEY]) == canonical("dialplan", THREE)


@pytest.mark.parametrize("media", ["fake"], indirect=True)
async def test_a_server_that_boots_is_away_and_nobody_waits_for_it(
    media: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the double boots for as long as a test likes. Its `connect` returns when it is booted, as `Ami.connect`."""
    assert isinstance(media.fake, FakeAsterisk)
    assert isinstance(media.server, Media)
    media.fake.booted.clear()
    monkeypatch.setattr(media.server.link, "connect_s", 0.01)
    for said in await asyncio.gather(
        *(media.server.running() for _ in range(3)),
        media.server.read("flag", ["a/b"]),
        return_exceptions=True,
    ):
        assert isinstance(said, NodeUnreachable)
        assert "starting" in str(said)
    media.fake.booted.set()
    monkeypatch.setattr(media.server.link, "connect_s", 10)
    assert await media.server.running() == await media.server.running()
    assert media.fake.connects == 1


@pytest.mark.parametrize("media", ["fake"], indirect=True)
async def test_a_call_in_between_never_finds_nothing(media: Place) -> None:
    """Only the double keeps a history; the real one answers the same in this suite."""
    assert isinstance(media.fake, FakeAsterisk)
    await meant(media, "dialplan", KEY, THREE)
    for value in (ONE, THREE, "NoOp(a)\nNoOp(b)\nNoOp(c)\nNoOp(d)\nNoOp(e)", "NoOp(e)\nHangup()"):
        media.fake.history.clear()
        await meant(media, "dialplan", KEY, value)
        new = {line.priority: (line.app, line.data) for line in lines(value) if line.priority != "hint"}
        assert media.fake.history
        for dialplan in media.fake.history:
            there = dialplan["account-acme", "101"]
            assert "1" in there
            if there["1"] == new["1"]:
                assert new.items() <= there.items()
