"""Whatever is there, whenever it stops: a node comes to hold what is meant."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.agent.media import Media
from controller.agent.server import Slice
from controller.agent.state import State, Wanted
from controller.agent.values import canonical, joined, lines
from controller.agent.verify import differences
from controller.errors import NodeUnreachable
from controller.wire.files import Directory
from tests.contract.fake_asterisk import FakeAsterisk

LINE = st.sampled_from(["NoOp(a)", "NoOp(b,c)", "Hangup()", "Dial(PJSIP/edge/sip:a@b,20)", "Answer"])
VALUE = st.builds(
    lambda hint, rows: "\n".join([*hint, *rows]),
    st.lists(st.sampled_from(["hint:Custom:x", "hint:Custom:y"]), max_size=1),
    st.lists(LINE, min_size=1, max_size=4),
)
STATE = st.dictionaries(st.sampled_from(["c/1", "c/2", "d/1"]), VALUE)
CHECKS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Node:
    """A node on the double, in a folder of its own."""

    def __init__(self, big: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.state = State(self.folder / "state.db")
        self.asterisk = FakeAsterisk(self.state)
        self.server = Media(self.asterisk, self.state, Directory(self.folder / "files"))
        self.server.big_node_contexts = 0 if big else 1_000

    def close(self) -> None:
        self.state.close()
        shutil.rmtree(self.folder)

    def want(self, meant: dict[str, str], held: dict[str, str], revision: int) -> None:
        changes = [
            Wanted("dialplan", key, meant.get(key))
            for key in sorted(meant.keys() | held.keys())
            if meant.get(key) != held.get(key)
        ]
        self.state.stage(changes, revision)

    async def finish(self) -> None:
        pending = self.state.pending(1000)
        assert await self.server.apply(pending) == {}
        self.state.clear(pending)

    async def repair(self) -> None:
        after: str | None = ""
        while after is not None:
            part, after = await self.server.slice("dialplan", after)
            await self.server.apply([one.repair for one in differences("dialplan", part)])

    def holds(self) -> dict[str, str | None]:
        found = {}
        for (context, extension), held in self.asterisk.dialplan.items():
            rows = [f"hint:{held['hint'][0]}"] if "hint" in held else []
            rows += [f"{held[str(n)][0]}({held[str(n)][1]})" for n in range(1, 10) if str(n) in held]
            found[f"{context}/{extension}"] = canonical("dialplan", "\n".join(rows))
        return found


def same(meant: dict[str, str]) -> dict[str, str | None]:
    return {key: canonical("dialplan", value) for key, value in meant.items()}


@given(STATE, STATE, st.booleans())
@CHECKS
def test_there_and_back_again(a: dict[str, str], b: dict[str, str], big: bool) -> None:
    async def run() -> None:
        node = Node(big)
        held: dict[str, str] = {}
        for revision, meant in enumerate((a, b, a, a), 1):
            node.want(meant, held, revision)
            await node.finish()
            held = meant
            assert node.holds() == same(meant)
            assert node.state.live() == revision
        seen = len(node.asterisk.seen)
        await node.repair()
        assert not [name for name, _ in node.asterisk.seen[seen:] if name.startswith("Dialplan")]
        node.close()

    asyncio.run(run())


@given(STATE, STATE, st.integers(0, 12), st.booleans())
@CHECKS
def test_stopped_anywhere_the_next_one_finishes(
    a: dict[str, str], b: dict[str, str], operations: int, big: bool
) -> None:
    async def run() -> None:
        node = Node(big)
        node.want(a, {}, 1)
        await node.finish()
        node.want(b, a, 2)
        node.asterisk.stop_after = operations
        try:
            await node.finish()
        except NodeUnreachable:
            assert node.state.live() == 1 or a == b
        node.asterisk.away, node.asterisk.stop_after = False, None
        await node.finish()
        assert node.holds() == same(b)
        assert node.state.live() == 2
        node.close()

    asyncio.run(run())


@given(STATE, STATE)
@CHECKS
def test_garbage_is_repaired(meant: dict[str, str], garbage: dict[str, str]) -> None:
    async def run() -> None:
        node = Node(big=False)
        node.want(meant, {}, 1)
        await node.finish()
        contexts = {key.split("/")[0] for key in meant}
        await node.server.apply(
            [
                Wanted("dialplan", key, value)
                for key, value in garbage.items()
                if key.split("/")[0] in contexts
            ]
        )
        await node.repair()
        assert node.holds() == same(meant)
        node.close()

    asyncio.run(run())


@given(VALUE)
def test_one_way_to_write_a_value(value: str) -> None:
    assert canonical("dialplan", joined(lines(value))) == canonical("dialplan", value)


@given(STATE, STATE)
def test_the_differences_are_all_that_differs(meant: dict[str, str], found: dict[str, str]) -> None:
    wrong = differences("dialplan", Slice(meant, dict(found)))
    repaired = {**found, **{one.key: one.expected for one in wrong}}
    assert {
        key: canonical("dialplan", value) for key, value in repaired.items() if value is not None
    } == same(meant)
