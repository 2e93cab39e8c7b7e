"""What a person sees on a terminal: the question, progress, colours or none, and texts of servers as they are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.types.json import Jsonb

from controller.calls import store as calls
from controller.cli import main
from tests.database.agents import Agents, report
from tests.database.terminal import Terminal

pytestmark = pytest.mark.thorough

# Text that a console with markup would swallow, stumble over, and turn into a picture.
SAID = "[Errno 28] No space left on device; [/x] :key: [red]"
RING = "UPDATE extensions SET ring_time_s = 30 WHERE extension = '101'"
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7]|38;)")


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    made = new_database(published_sample)
    with psycopg.connect(made) as connection:
        connection.execute(RING)
    return made


def newest(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT max(id) FROM control.revisions").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03"], ids=["no", "return", "Ctrl-C"])
def test_apply_asks_on_a_terminal_and_no_is_the_default(url: str, answer: str) -> None:
    before = newest(url)
    with Terminal(url, "apply") as seen:
        seen.until("apply? [y/N]:")
        assert "20 -> 30" in seen.text
        if answer == "\x03":
            assert seen.interrupted() == 1
        else:
            seen.type(answer)
            assert seen.end() == 1
    assert "Aborted!" in seen.text
    assert newest(url) == before


@pytest.mark.parametrize("no_color", [False, True])
def test_yes_publishes_and_every_node_has_a_line_that_lives(url: str, no_color: bool) -> None:
    with Agents(url, "edge1", "edge2", "media1", "media2"), Terminal(
        url, "apply", **({"NO_COLOR": "1"} if no_color else {})
    ) as seen:  # fmt: skip
        seen.until("apply? [y/N]:")
        seen.type("y\n")
        assert seen.end() == 0
    number = newest(url)
    assert f"published as revision {number}" in seen.text
    for node in ("edge1", "edge2", "media1", "media2"):
        assert re.search(rf"  {node} +ok +live and verified at revision {number}", seen.text)
    assert f"revision {number} is live and verified on 4 nodes" in seen.text
    assert bool(COLOUR.search(seen.raw)) is not no_color


def test_what_a_server_says_is_shown_as_it_is_while_an_apply_waits(url: str) -> None:
    with Agents(url, "edge1", "edge2", "media1", pending=1, media2=SAID), Terminal(
        url, "apply", "--yes", "--wait", "2"
    ) as seen:  # fmt: skip
        assert seen.end() == 5
    assert re.search(r"media2 +\.\. +failed: " + re.escape(SAID), seen.text)
    assert f"media2: failed: {SAID}" in seen.text.partition("error: ")[2]
    assert "a defect" not in seen.text


@pytest.mark.parametrize("command", [("node", "list"), ("node", "show", "media2"), ("doctor",)])
def test_listings_show_it_too(url: str, command: tuple[str, ...]) -> None:
    report(url, {"edge1": None, "edge2": None, "media1": None, "media2": SAID}, pending=1)
    with Terminal(url, *command, COLUMNS="250") as seen:
        assert seen.end() in (0, 1)
    assert f"failed: {SAID}" in seen.text
    assert f"failed: {SAID}" in CliRunner().invoke(main, ["--database", url, *command]).stdout


def test_an_error_is_printed_as_it_is(url: str) -> None:
    with Terminal(url, "node", "drain", "[/x] :key: \x1b]0;title\x07\x9b2J") as seen:
        assert seen.end() == 2
    assert r"error: there is no node [/x] :key: \x1b]0;title\x07\x9b2J (dialplane node list)" in seen.text
    assert "\x07" not in seen.raw


def test_what_a_caller_dialled_moves_no_cursor(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO control.call_events (call_id, node, at, event, detail, file_id, position) "
            "VALUES ('c-1', 'edge1', now(), 'start', %s, 'f', 1)",
            (Jsonb({"called": "101\x1b[2J", "id": "x", "leg": "in"}),),
        )
    with Terminal(url, "call", "trace", "c-1") as seen:
        assert seen.end() == 0
    assert r"101\x1b[2J" in seen.text
    assert "\x1b[2J" not in seen.raw


@contextmanager
def answering(url: str, node: str, says: list[dict[str, object]]) -> Iterator[None]:
    """An agent that answers what calls there are: each answer once, the last for ever."""
    ended = False

    async def serve() -> None:
        async with calls.connect(url) as connection:
            while not ended:
                command = await calls.take(connection, node)
                if command is not None:
                    await calls.finish(connection, command.id, says.pop(0) if len(says) > 1 else says[0])
                await asyncio.sleep(0.01)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield
    finally:
        ended = True
        thread.join()


def test_watch_shows_calls_as_they_come_and_go_until_it_is_interrupted(url: str) -> None:
    leg = {
        "leg": "in",
        "account": "acme",
        "device": "desk1@acme.example",
        "called": "[/x]",
        "state": "ringing",
    }
    up: dict[str, object] = {"calls": {"c-1": [leg | {"state": "up"}]}}
    with (
        answering(url, "edge1", [{"calls": {}}, {"calls": {"c-1": [leg]}}, up, {"calls": {}}]),
        answering(url, "edge2", [{"calls": {}}]),
        answering(url, "media1", [{"calls": {}}]),
        answering(url, "media2", [{"error": SAID}]),
        Terminal(url, "call", "watch", "--every", "0.3", COLUMNS="200") as seen,
    ):
        for state in ("ringing", "up"):
            seen.until(f"[/x]    {state}")
        assert "desk1@acme.example" in seen.text
        seen.until(f"media2: calls on media2: {SAID}")
        assert seen.interrupted() == 0
    assert "Traceback" not in seen.text


def test_draining_and_resuming_are_said_and_live_at_commit(url: str) -> None:
    def target() -> str:
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT value FROM control.entries WHERE tbl = 'target'").fetchone()
        assert found is not None
        return str(found[0])

    def run(*arguments: str) -> tuple[int, str]:
        told = CliRunner().invoke(main, ["--database", url, "node", *arguments])
        return told.exit_code, told.output.strip()

    before = target()
    assert "media1=" in before
    assert run("drain", "media1") == (0, f"media1 is draining (was enabled), revision {newest(url)}")
    assert "media1=" not in target()
    assert run("drain", "media1") == (0, "media1 was draining already: nothing to do")
    assert "draining" in run("show", "media1")[1]
    assert run("resume", "media1") == (0, f"media1 is enabled (was draining), revision {newest(url)}")
    assert target() == before
    assert run("drain", "media9")[0] == 2
    unknown = run("show", "media9")
    assert unknown == (
        2,
        "error: there is no node media9; there are: edge1, edge2, media1, media2 (table nodes)",
    )
