"""From a request to variables: headers asked only when looked at, memory, registrations, reasons that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.agent.state import State
from controller.agi.decide_app import call_of, variables
from controller.agi.live import Live
from controller.errors import DatabaseError
from controller.policy import Step
from controller.policy.decide import Decision
from controller.policy.model import Call, Turn
from controller.policy.notices import Notice
from controller.wire.agi import Broken
from controller.wire.agi_caller import Answer, ask
from tests.unit.agi.place import SALES, Away, filled, serving, stage


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = filled(tmp_path / "state.db")
    yield made
    made.close()


def arguments(kind: str, name: str, number: int = 1) -> tuple[str, ...]:
    return (kind, name, "acme", f"call-{number}", "+49301234567", "", "", "carrier-a", "600", "de", "2")


async def asked(state: State, *given: str, shared: Any = None, evaluate: Any = lambda _: "") -> Answer:
    async with serving(state.path, shared) as (server, _, _):
        return await ask("127.0.0.1", server.port, "decide", given, evaluate=evaluate, timeout_s=30)


def test_the_arguments_of_the_contract() -> None:
    given = ("group", "sales", "acme", "id", "+49", "alice", "d@x", "t", "600", "de", "3")
    assert call_of(given) == Call(
        "acme", "id", "group", "sales", "+49", "alice", "d@x", "t", "600", "de", {}, 3
    )
    assert call_of(given[:4]) == Call("acme", "id", "group", "sales")
    assert call_of((*given, "101")).extension == "101"
    assert call_of((*given[:10], "many")).depth == 0
    with pytest.raises(Broken, match="3 arguments"):
        call_of(given[:3])


async def test_what_is_unknown_is_no_decision_with_a_sentence(state: State) -> None:
    for kind, name, account in (
        ("group", "nobody", "acme"),
        ("moon", "sales", "acme"),
        ("group", "sales", "other"),
    ):
        given = (kind, name, account, "call-1")
        answer = await asked(state, *given)
        assert answer.variables == {
            "DP_WHY_1": f"no decision: account {account} has no {kind} {name}",
            "DP_WHY": f"no decision: account {account} has no {kind} {name}",
            "DP_WHYS": "1",
            "DP_STEPS": "0",
        }


async def test_headers_are_asked_only_where_rules_look_at_them(state: State) -> None:
    stage(state, 2, policy__main={"otherwise": "hangup", "rules": [
        {"position": 1, "if": {"header": ["X-Campaign", 'say "hi"']}, "do": {"action": "group", "target": "sales"}},
    ]})  # fmt: skip
    answer = await asked(state, *arguments("policy", "main"), evaluate=lambda _: 'Say "Hi"')
    assert answer.asked == ("${PJSIP_HEADER(read,x-campaign)}",)
    assert answer.variables["DP_STEP_1"] == "dp-next,s,1(group:sales,20)"
    answer = await asked(state, *arguments("policy", "main"))
    assert answer.variables["DP_STEP_1"] == "dp-next,s,1(hangup,20)"
    assert (await asked(state, *arguments("group", "sales"))).asked == ()


class Shared(Away):
    """A database that holds turns and registrations; `first` calls come in between others' reads and writes."""

    def __init__(self) -> None:
        self.turns: dict[tuple[str, str], dict[str, Any]] = {}
        self.contacts: dict[str, int] = {}
        self.asked: list[str] = []
        self.first: list[dict[str, Any]] = []
        self.away = False

    def _there(self) -> None:
        if self.away:
            raise DatabaseError("away")

    async def turn(self, account: str, group: str) -> dict[str, Any]:
        self._there()
        return self.turns.get((account, group), {})

    async def keep_turn(
        self, account: str, group: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bool:
        self._there()
        if self.first:
            self.turns[account, group] = self.first.pop()
        if self.turns.get((account, group), {}) != before:
            return False
        self.turns[account, group] = after
        return True

    async def registered(self, aors: Sequence[str]) -> dict[str, int]:
        self._there()
        self.asked += aors
        return {aor: self.contacts.get(aor, 0) for aor in aors}


def rings(answer: Answer) -> str:
    return answer.variables["DP_STEP_1"].partition("(")[2].partition("@")[0]


async def test_turns_go_round_with_and_without_the_database(state: State) -> None:
    stage(state, 2, group__sales={**SALES, "strategy": "round_robin"})
    shared = Shared()
    async with serving(state.path, shared) as (server, _, _):

        async def ringing() -> str:
            return rings(
                await ask("127.0.0.1", server.port, "decide", arguments("group", "sales"), timeout_s=30)
            )

        assert [await ringing() for _ in range(3)] == ["bob", "carol", "bob"]
        assert shared.turns == {("acme", "sales"): {"last": "bob"}}
        shared.away = True
        assert [await ringing() for _ in range(3)] == ["carol", "bob", "carol"]
        shared.away = False
        shared.first = [{"last": "bob"}, {"last": "carol"}, {"last": "bob"}]
        assert await ringing() == "carol", "others were first, the last of them rang bob"


async def test_who_answered_counts(state: State) -> None:
    stage(state, 2, group__sales={**SALES, "strategy": "fewest_calls"})
    shared = Shared()
    async with serving(state.path, shared) as (server, _, failures):

        async def said(script: str, *given: str) -> Answer:
            return await ask("127.0.0.1", server.port, script, given, timeout_s=30)

        assert rings(await said("decide", *arguments("group", "sales"))) == "bob"
        await said("answered", "group", "sales", "acme", "call-1", "bob@acme.example")
        assert shared.turns["acme", "sales"]["calls"] == {"bob": 1}
        assert rings(await said("decide", *arguments("group", "sales"))) == "carol"
        for given in (
            ("group", "none", "acme", "call-1", "x@y"),
            ("group", "sales", "acme", "call-1", "x@y"),
            (),
        ):
            await said("answered", *given)
        assert shared.turns["acme", "sales"]["calls"] == {"bob": 1}
        assert failures.counts == {}


class Groups(Shared):
    """And calls of groups, and notices."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, str] = {}
        self.told: list[tuple[str, str, Notice]] = []

    async def claim(self, account: str, group: str, call_id: str, seconds: int) -> bool:
        self._there()
        return self.calls.setdefault(group, call_id) == call_id

    async def release(self, account: str, group: str, call_id: str) -> None:
        self._there()
        if self.calls.get(group) == call_id:
            del self.calls[group]

    async def tell(self, account: str, group: str, call_id: str, notice: Notice) -> None:
        self._there()
        self.told.append((group, call_id, notice))


@pytest.mark.parametrize("away", [False, True], ids=["database", "away"])
async def test_a_group_that_takes_one_call_takes_the_next_when_it_rings_no_more(
    state: State, *, away: bool
) -> None:
    stage(state, 2, group__sales={**SALES, "one_call": True})
    shared = Groups()
    shared.away = away
    async with serving(state.path, shared) as (server, _, failures):

        async def step(number: int) -> str:
            given = arguments("group", "sales", number)
            answer = await ask("127.0.0.1", server.port, "decide", given, timeout_s=30)
            return answer.variables["DP_STEP_1"].partition(",")[0]

        async def told(script: str, number: int, leg: str = "") -> None:
            given = ("group", "sales", "acme", f"call-{number}", leg, "+49301234567", "")
            await ask("127.0.0.1", server.port, script, given, timeout_s=30)

        assert [await step(1), await step(2), await step(1)] == ["dp-legs", "dp-next", "dp-legs"]
        await told("missed", 2)
        assert await step(3) == "dp-next", "the one that was turned away was not the one that rings"
        await told("answered", 1, "bob@acme.example")
        assert [await step(3), await step(4)] == ["dp-legs", "dp-next"]
        await told("missed", 3)
        assert await step(4) == "dp-legs"
        assert failures.counts == {}


async def test_a_lease_that_nobody_gave_back_ends() -> None:
    live = Live(Away())
    assert await live.claim("acme", "sales", "one", 0)
    assert await live.claim("acme", "sales", "two", 60)
    assert not await live.claim("acme", "sales", "three", 60)
    assert await live.claim("acme", "back", "three", 60)


@pytest.mark.parametrize(
    ("notices", "rows", "phones"),
    [("none", 0, None), ("clients", 1, None), ("phones", 1, "carol@acme.example")],
)
async def test_who_is_told_of_a_call(state: State, notices: str, rows: int, phones: str | None) -> None:
    stage(state, 2, group__sales={**SALES, "notices": notices})
    shared = Groups()
    async with serving(state.path, shared) as (server, _, _):
        given = ("group", "sales", "acme", "call-1", "bob@acme.example", "+4930", "")
        answer = await ask("127.0.0.1", server.port, "answered", given, timeout_s=30)
    assert len(shared.told) == rows
    assert answer.variables.get("DP_PHONES_1") == phones
    assert answer.variables.get("DP_PHONES") == ("1" if phones else None)
    assert answer.variables.get("DP_TEXT") == ("sales: +4930 answered by bob" if phones else None)


async def test_who_is_told_of_a_call_in_the_groups_name(state: State) -> None:
    stage(state, 2, group__sales={**SALES, "one_call": True, "notices": "phones"})
    shared = Groups()
    shared.calls["sales"] = "call-1"
    async with serving(state.path, shared) as (server, _, _):
        given = ("group", "sales", "acme", "call-1", "+4940123456", "", "carol", "carol@acme.example")
        answer = await ask("127.0.0.1", server.port, "called", given, timeout_s=30)
        await ask("127.0.0.1", server.port, "unanswered", (*given[:6], "stranger", ""), timeout_s=30)
    assert [one[2][:5] for one in shared.told] == [("called", "carol", "", "", "+4940123456")]
    assert answer.variables["DP_TEXT"] == "sales: carol called +4940123456"
    assert answer.variables["DP_PHONES_1"] == "bob@acme.example"
    assert shared.calls == {"sales": "call-1"}, "a call to the group rings on"


async def test_phones_are_told_while_the_database_is_away(state: State) -> None:
    many = {"members": [{"user": "bob"}, *({"device": f"d{n}@acme.example"} for n in range(45))]}
    stage(state, 2, group__sales={**many, "notices": "phones"})
    async with serving(state.path) as (server, _, _):
        given = ("group", "sales", "acme", "call-1", "", "", "bob")
        answer = await ask("127.0.0.1", server.port, "missed", given, timeout_s=30)
    assert answer.variables["DP_PHONES"] == "3"
    found = [one for n in (1, 2, 3) for one in answer.variables[f"DP_PHONES_{n}"].split("&")]
    assert found == [f"d{n}@acme.example" for n in range(45)]


async def test_registrations_are_read_only_where_rules_count_devices(state: State) -> None:
    shared = Shared()
    await asked(state, *arguments("group", "sales"), shared=shared)
    assert shared.asked == []
    stage(state, 2, policy__main={"otherwise": "busy", "rules": [
        {"position": 1, "if": {"user": "alice", "presence": "registered"}, "do": {"action": "ring", "target": "alice"}},
    ]})  # fmt: skip
    answer = await asked(state, *arguments("policy", "main"), shared=shared)
    assert shared.asked == ["app1@acme.example", "desk1@acme.example"]
    assert answer.variables["DP_STEP_1"] == "dp-next,s,1(busy,20)"
    shared.contacts["desk1@acme.example"] = 1
    answer = await asked(state, *arguments("policy", "main"), shared=shared)
    assert answer.variables["DP_STEP_1"].startswith("dp-legs,s,1(app1@acme.example&desk1@acme.example,")


async def test_registrations_last_known_serve_while_the_database_is_away() -> None:
    shared = Shared()
    live = Live(shared)
    assert await live.registered(()) is None
    shared.contacts = {"a@x": 2}
    assert await live.registered(("a@x", "b@x")) == {"a@x": 2, "b@x": 0}
    shared.away = True
    assert await live.registered(("a@x",)) == {"a@x": 2}
    assert await live.registered(("a@x", "c@x")) is None, "of c@x nothing was ever known"


@pytest.mark.parametrize("memory", [{"answered": 7}, {"calls": {"bob": "x"}}, {"last": ["bob"]}, {"else": 1}])
async def test_a_memory_that_cannot_be_read_begins_anew(memory: dict[str, Any]) -> None:
    shared = Shared()
    shared.turns["acme", "sales"] = memory
    seen: list[Turn] = []

    def decide(turn: Turn) -> tuple[None, Turn]:
        seen.append(turn)
        return None, Turn("bob")

    await Live(shared).turned("acme", "sales", decide)
    assert shared.turns["acme", "sales"] == {"last": "bob"}
    assert seen[0].answered == {}


def test_reasons_fit_the_call_record() -> None:
    many = tuple(Step("policy", f'rule {n} "\\x\n" does not hold', "a" * 500) for n in range(100))
    said = {
        name: value for _, _, name, value in variables(Decision((), (*many, Step("policy", "then", "end"))))
    }
    assert said["DP_WHYS"] == "40"
    assert said["DP_WHY_39"] == "and 62 more"
    assert said["DP_WHY_40"] == said["DP_WHY"] == "then: end"
    assert all(len(value) <= 240 and "\\" not in value and "\n" not in value for value in said.values())
