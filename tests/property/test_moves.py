"""Moves, whatever is stopped, killed, taken back, late or silent: no call reaches a node that does not hold its
account, and every account ends wholly at one cluster."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controller.moves import say
from controller.moves.decide import decide, turned
from controller.moves.model import Action, Batch, Facts, Move, Node, Verb
from tests.unit.moves.moving import GROUPS, at, batch, move

pytestmark = pytest.mark.thorough

ACCOUNTS = ("acme", "globex", "initech")
EDGES = ("edge1", "edge2")
RECORDS_LATE_S = 3


@dataclass(frozen=True)
class Published:
    """What a revision says of an account: clusters that hold it, where edges send it, and the cluster it is tied to."""

    held: frozenset[str]
    at: str
    was: str | None


@dataclass
class Call:
    account: str
    device: int
    node: str
    began: int


@dataclass
class World:
    """Servers that take revisions when they like, calls, and who walks the batch."""

    chance: random.Random
    batch: Batch
    clock: int = 0
    history: list[dict[str, Published]] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history.append({name: Published(frozenset({"c1"}), "c1", None) for name in ACCOUNTS})
        self.live = dict.fromkeys(GROUPS, 0)

    # What happens in the world.

    def take(self, node: str) -> None:
        """A server takes the next revision; what leaves a node has no call there."""
        if self.live[node] + 1 < len(self.history) and node not in self.silent:
            self.live[node] += 1
            for call in self.calls:
                assert self.holds(call.node, call.account), (call, self.batch)

    def settle(self) -> None:
        """Every server takes all there is; none is cut off any more."""
        self.silent.clear()
        for node in GROUPS:
            while self.live[node] + 1 < len(self.history):
                self.take(node)

    def silence(self) -> None:
        """A server is cut off from the database for a while: it goes on with what it has."""
        node = self.chance.choice(sorted(GROUPS))
        self.silent[node] = self.clock + self.chance.randint(2, 40)

    def call(self) -> None:
        """A call by any edge, as that edge knows: on the cluster it left, where its device talks or callers meet."""
        account, device = self.chance.choice(ACCOUNTS), self.chance.randint(1, 3)
        edge = self.chance.choice(EDGES)
        known = self.history[self.live[edge]][account]
        there = [
            one.node
            for one in self.calls
            if (one.account, one.device) == (account, device) and known.was in GROUPS[one.node]
        ]
        meets = known.was if known.was and self.chance.random() < 0.2 else known.at
        nodes = there or [
            node
            for node, groups in GROUPS.items()
            if meets in groups and (node not in self.silent or self.holds(node, account))
        ]
        node = self.chance.choice(nodes)
        assert self.holds(node, account), f"{edge} sent a call of {account} to {node}: {self.batch}"
        self.calls.append(Call(account, device, node, self.clock))

    def hang_up(self) -> None:
        if self.calls:
            self.calls.pop(self.chance.randrange(len(self.calls)))

    def tick(self) -> None:
        self.clock += 1
        self.silent = {node: until for node, until in self.silent.items() if until > self.clock}

    def holds(self, node: str, account: str) -> bool:
        return bool(set(GROUPS[node]) & self.history[self.live[node]][account].held)

    # Who walks.

    def facts(self) -> Facts:
        nodes = tuple(
            Node(
                name, "edge" if name in EDGES else "media", groups, self.live[name],
                "not heard of" if name in self.silent else "", 4.0 if name in self.silent else 0.0,
            )
            for name, groups in GROUPS.items()
        )  # fmt: skip
        seen: dict[str, int] = defaultdict(int)
        for one in self.batch.moves:
            other = one.other(back=self.batch.back)
            for call in self.calls:
                late = call.began > self.clock - RECORDS_LATE_S or call.node in self.silent
                if call.account == one.account and other in GROUPS[call.node] and not late:
                    seen[one.account] += 1
        return Facts(at(self.clock), nodes, 5.0, seen, {})

    def look(self, most: int = 100) -> None:
        """One look; killed after so many actions."""
        facts = self.facts()
        outcome = decide(self.batch, facts)
        for action in outcome.actions[:most]:
            self.act(action, facts)
        if len(outcome.actions) <= most:
            self.batch = replace(self.batch, state=outcome.state)

    def kill(self) -> None:
        self.look(self.chance.randint(0, 2))

    def act(self, action: Action, facts: Facts) -> None:
        moves = list(self.batch.moves)
        place = next(n for n, one in enumerate(moves) if one.account == action.account)
        after = say.applied(moves[place], action, facts.now, back=self.batch.back)
        if say.publishes(action.verb):
            self.history.append(
                self.history[-1]
                | {after.account: Published(after.held_by, after.at, other(after) if after.tied else None)}
            )
            after = replace(after, revision=len(self.history) - 1)
        moves[place] = after
        self.batch = replace(self.batch, moves=tuple(moves))

    def stop(self) -> None:
        if self.batch.state == "running":
            self.batch = replace(self.batch, state="stopped")

    def resume(self) -> None:
        if self.batch.state == "stopped":
            self.batch = replace(self.batch, state="running")

    def turn(self) -> None:
        if not self.batch.back:
            moves = tuple(replace(one, since=at(self.clock)) for one in turned(self.batch))
            self.batch = replace(self.batch, back=True, state="running", moves=moves)

    def check(self) -> None:
        """What the rows promise at any time."""
        for one in self.batch.moves:
            assert one.at in one.held_by
            assert not one.tied or other(one) in one.held_by


def other(one: Move) -> str:
    return one.source if one.at_target else one.target


# How likely each is in a second; the seed chooses.
HAPPENS = {
    "call": (0.1, 0.5, 1), "hang_up": (0.1, 0.4, 1), "look": (0.3, 1), "silence": (0, 0.02), "kill": (0, 0.3),
    "stop": (0, 0.03), "resume": (0.1, 0.5), "turn": (0, 0.03),
}  # fmt: skip


@given(st.integers(0, 2**63), st.integers(0, 2), st.integers(1, 3))
# A seed has no smaller one.
@settings(max_examples=150, deadline=None, phases=[Phase.generate])
def test_every_account_ends_wholly_at_one_cluster_and_no_call_is_lost(
    seed: int, canary: int, at_once: int
) -> None:
    moves = [replace(move(account=name), canary=place < canary) for place, name in enumerate(ACCOUNTS)]
    chance = random.Random(seed)
    world = World(chance, batch(*moves, canary=canary, watch_s=5, at_once=at_once))
    likely = {what: chance.choice(often) for what, often in HAPPENS.items()}
    # Servers that are at once, slow, and very slow.
    speed = {node: chance.choice((0.04, 0.3, 1)) for node in GROUPS}
    for _ in range(150):
        world.tick()
        for node in sorted(GROUPS):
            if chance.random() < speed[node]:
                world.take(node)
        for what, often in likely.items():
            if chance.random() < often:
                getattr(world, what)()
        world.check()
    # Then all goes well.
    world.resume()
    for _ in range(400):
        if world.batch.state != "running":
            break
        world.silent.clear()
        world.hang_up()
        world.settle()
        world.tick()
        world.look()
    assert world.batch.state == ("rolled_back" if world.batch.back else "done")
    world.settle()
    where = "c1" if world.batch.back else "c2"
    assert world.history[-1] == {name: Published(frozenset({where}), where, None) for name in ACCOUNTS}


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None, phases=[Phase.generate])
def test_a_look_twice_is_a_look_once(seed: int) -> None:
    """Two controllers that see the same rows decide the same."""
    world = World(random.Random(seed), batch(*(move(account=name) for name in ACCOUNTS)))
    for _ in range(60):
        world.settle()
        world.tick()
        facts = world.facts()
        assert decide(world.batch, facts) == decide(world.batch, facts)
        world.look()
        assert not any(action.verb == Verb.ADD for action in decide(world.batch, facts).actions)
