"""The operator's commands on live calls, and `route explain` against what calls really do."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, CARRIER, DAVE, DESK1, ERIN, EVERYONE, LOBBY
from tests.live.phones import Phone, Phones, Running
from tests.live.talk import both_hear, hear_each_other, record, records, went_well


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """All phones are registered."""
    phones.registered(*EVERYONE)


def live() -> list[dict[str, Any]]:
    return list(json.loads(stack.dialplane("call", "list", "--format", "json").out))


def test_a_call_is_listed_as_one_and_hung_up(phones: Phones) -> None:
    since = stack.now()
    with phones.answering(BOB) as [callee]:
        desk = phones.start("call", DESK1, to="102", ending="wait")
        desk.until(200)
        [one] = [call for call in live() if call["caller"] == "desk1@acme.example"]
        assert (one["account"], one["called"], one["state"]) == ("acme", "102", "up")
        assert re.fullmatch(r"edge1 media[12]", one["nodes"])
        ended = stack.dialplane("call", "hangup", one["call"][:8])
        assert "done" in ended.out
        went_well(desk.wait(), callee.wait())
    assert one["call"] not in {call["call"] for call in live()}
    written = record(since)
    assert written["call_id"] == one["call"]
    told = stack.dialplane("call", "trace", one["call"]).out
    assert "edge1" in told
    assert "desk1@acme.example -> 102" in told


def test_a_straight_call_is_listed_and_hung_up(phones: Phones) -> None:
    with phones.answering(LOBBY) as [lobby]:
        bob = phones.start("call", BOB, to="103", ending="wait")
        bob.until(200)
        [one] = [call for call in live() if call["caller"] == "bob@acme.example"]
        assert one["nodes"] == "edge1"
        stack.dialplane("call", "hangup", one["call"])
        went_well(bob.wait(), lobby.wait())


def test_an_operator_transfers_a_call(phones: Phones) -> None:
    """The caller talks to Carol afterwards."""
    with (
        phones.answering(BOB) as [callee],
        phones.answering(CAROL, ending="bye", talk_ms=2500) as [carol],
    ):
        desk = phones.start("call", DESK1, to="102", ending="wait")
        desk.until(200)
        [one] = live()
        stack.dialplane("call", "transfer", one["call"], "104")
        leg, there, first = desk.wait(), carol.wait(), callee.wait()
    went_well(leg, there, first)
    both_hear((leg, DESK1), (there, CAROL))


def test_an_operator_places_a_call(phones: Phones) -> None:
    since = stack.now()
    with (
        phones.answering(BOB, ring_ms=500) as [bob],
        phones.answering(LOBBY, ending="bye", talk_ms=2000) as [lobby],
    ):
        said = stack.dialplane("call", "originate", "bob@acme", "103").out
        one, other = bob.wait(), lobby.wait()
    went_well(one, other)
    both_hear((one, BOB), (other, LOBBY))
    call = said.split()[1].rstrip(":")
    assert record(since)["call_id"] == call


def test_a_call_placed_for_a_user_rings_all_devices(phones: Phones) -> None:
    """The first to answer is the caller, the others stop; one call, one record. A device by its name rings alone."""
    since = stack.now()
    with (
        phones.answering(DESK1, ending="cancelled") as [desk],
        phones.answering(APP1, ring_ms=1000) as [app],
        phones.answering(LOBBY, ending="bye", talk_ms=3000) as [lobby],
    ):
        said = stack.dialplane("call", "originate", "alice@acme", "103").out
        call = said.split()[1].rstrip(":")
        [one] = live()
        assert (one["call"], one["account"], one["state"]) == (call, "acme", "up")
        taken, other, stopped = app.wait(), lobby.wait(), desk.wait()
    went_well(taken, other, stopped)
    both_hear((taken, APP1), (other, LOBBY))
    written = record(since)
    assert (written["call_id"], written["caller"], written["called"]) == (call, "app1@acme.example", "103")
    since = stack.now()
    with (
        phones.answering(DESK1) as [desk],
        phones.answering(APP1) as [app],
        phones.answering(LOBBY, ending="bye", talk_ms=500) as [lobby],
    ):
        stack.dialplane("call", "originate", "desk1@acme.example", "103")
        went_well(desk.wait(), lobby.wait())
        app.over()
        assert not app.received("INVITE")
    assert record(since)["caller"] == "desk1@acme.example"


@pytest.mark.parametrize("asks_first", [False, True], ids=["blind", "attended"])
def test_a_call_that_was_placed_is_transferred_from_the_telephone(phones: Phones, asks_first: bool) -> None:
    """Click to call: Alice talks to Bob, then Bob to Carol. One record; another one of the question before."""
    since = stack.now()
    with (
        phones.answering(DESK1, refers=True) as [desk],
        phones.answering(BOB, CAROL) as [bob, carol],
    ):
        stack.dialplane("call", "originate", "desk1@acme.example", "102")
        bob.until("ACK")
        hear_each_other(((desk, DESK1), (bob, BOB)))
        if asks_first:
            with phones.start("call", replace(DESK1, port=5131), to="104", ending="wait") as question:
                question.until(200)
                desk.refer("104@acme.example", replaces=question)
                went_well(question.wait(), desk.wait())
        else:
            desk.refer("104@acme.example")
            carol.until("ACK")
            went_well(desk.wait())
        hear_each_other(((bob, BOB), (carol, CAROL)))
        went_well(carol.hang_up().wait(), bob.wait())
    placed, *others = records(since, 1 + asks_first)
    assert (placed["caller"], placed["called"], placed["cause"]) == ("desk1@acme.example", "102", 16)
    assert [one["called"] for one in others] == ["104"] * asks_first


# Who calls what; by a trunk: its name instead of a phone.
CASES: tuple[tuple[Phone | str, str], ...] = (
    (DESK1, "102"), (BOB, "103"), (BOB, "104"), (DESK1, "bob"), (BOB, "0891234567"), (DESK1, "00442071234567"),
    (BOB, "00442071234567"), (CAROL, "0891234567"), (BOB, "177"), (BOB, "112"), (DAVE, "999"), (BOB, "*101"),
    (DAVE, "202"), (DESK1, "+4930555012"), (DESK1, "00442079460101"), (ERIN, "nobody"),
    ("carrier-a", "+4930555012"), ("carrier-a", "+4930555999"), ("carrier-b", "+442079460101"),
)  # fmt: skip


class Telephones:
    """Everybody's, carriers too (name -> their container): on, but for that of who calls, in one call after another."""

    def __init__(self, phones: Phones, carriers: dict[str, Phones]) -> None:
        self.phones, self.carriers = phones, carriers
        self._on: dict[str, Running] = {}

    def __enter__(self) -> Self:
        # From the ports at which they will listen, for longer than all calls take.
        self.phones.forget()
        self.phones.registered(*EVERYONE)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._on.values():
            one.stop()

    def on(self, caller: Phone | str) -> dict[str, Running]:
        """Name -> what happens there. Who took a call is put on again."""
        own = caller if isinstance(caller, str) else f"{caller.user}@{caller.domain}"
        if own in self._on:
            self._on[own].stop()
            self._on.pop(own).wait()
        self._on = {name: one for name, one in self._on.items() if not one.over()}
        off = {name: phone for phone in EVERYONE if (name := f"{phone.user}@{phone.domain}") not in self._on}
        off.pop(own, None)
        self._on |= zip(off, self.phones.together("answer", *off.values(), limit_s=280), strict=True)
        for name in {*self.carriers} - {*self._on, own}:
            self._on[name] = self.carriers[name].start("answer", CARRIER, limit_s=280)
        return self._on


def meant(steps: list[dict[str, str]]) -> tuple[str, str]:
    """What `route explain` says comes of the call: ("refused", status), ("rings", device), ("out", trunk), ..."""
    for step in steps:
        for pattern, what in (
            (r"refuse (\d+) .*", "refused"),
            (r"announcement, (\d+)", "refused"),
            (r"straight to (\S+)", "rings"),
            (r"ring ([^ ,]+).* for .*", "rings"),
            (r"dial \S+ by (\S+?)(?:[ ,(].*)?", "out"),
            (r"emergency call by (\S+?)(?:[ ,(].*)?", "out"),
            (r"voicemail (\S+)", "voicemail"),
        ):
            if found := re.fullmatch(pattern, step["what"]):
                return what, found[1]
    raise AssertionError(f"no outcome in {steps}")


def explained(caller: Phone | str, dialled: str) -> list[dict[str, str]]:
    words = (
        ("+4915112345678", dialled, "--trunk", caller)
        if isinstance(caller, str)
        else (f"{caller.user}@{caller.domain}", dialled)
    )
    return list(json.loads(stack.dialplane("route", "explain", *words, "--format", "json").out)["steps"])


def compare(telephones: Telephones, caller: Phone | str, dialled: str, steps: list[dict[str, str]]) -> None:
    """Places the call, and compares what `explain` said with who rang, with the answer, and with the record."""
    print(caller, "->", dialled)
    what, who = meant(steps)
    since = stack.now()
    expect = int(who) if what == "refused" else 200
    legs = telephones.on(caller)
    if isinstance(caller, str):
        number = dialled.removeprefix("+") if caller == "carrier-b" else dialled
        leg = telephones.carriers[caller].run(
            "call", CARRIER, to=number, host="10.213.0.11", challenge=0, expect=expect, talk_ms=300
        )
    else:
        leg = telephones.phones.run("call", caller, to=dialled, expect=expect, talk_ms=300)
    time.sleep(0.1)
    for one in legs.values():
        one.over()
    rang = {name for name, one in legs.items() if one.received("INVITE")}
    assert leg.ok, (what, who, leg)
    # A call to a number of another account is that account's call too: a record for each.
    across = "belongs to account" in str(steps) and isinstance(caller, Phone)
    if what == "voicemail":
        # The media node's half may come after the edge's.
        stack.until(lambda: "dp.voicemail" in str(records(since, 1)[0]["decisions"]), "the record says so")
    written, *others = records(since, 2 if across else 1)
    decided = [step for row in (written, *others) for step in row["decisions"]]  # type: ignore[attr-defined]
    story = " ".join(f"{one['step']} {one['text']}" for one in decided)
    if what in ("rings", "out"):
        assert who in rang, (what, who, rang, story)
        # The edge's half, which knows the trunk, may come a moment after the media node's.
        if what == "out":
            stack.until(lambda: records(since, 1)[0]["trunk"] == who, f"the record says {who}")
        elif written["media_node"]:
            stack.until(
                lambda: "dp.ring" in str([row["decisions"] for row in records(since, 2 if across else 1)]),
                "the record says who rang",
            )
    else:
        assert rang == set(), (what, who, rang)
        assert (what == "voicemail") == ("dp.voicemail" in story), story
        assert what != "refused" or written["answered_at"] is None


def test_explain_says_what_calls_do(phones: Phones, carrier_a: Phones, carrier_b: Phones) -> None:
    carriers = {"carrier-a": carrier_a, "carrier-b": carrier_b}
    with ThreadPoolExecutor(1) as pool, Telephones(phones, carriers) as telephones:
        for case, steps in zip(CASES, pool.map(explained, *zip(*CASES, strict=True)), strict=True):
            compare(telephones, *case, steps)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            "UPDATE accounts SET status = 'suspended' WHERE name = 'globex'",
            "UPDATE accounts SET status = 'active' WHERE name = 'globex'",
        ),
        (
            "INSERT INTO blocks (scope, subject, reason) VALUES ('account', 'globex', 'fraud')",
            "DELETE FROM blocks WHERE subject = 'globex'",
        ),
    ],
    ids=["suspended", "blocked"],
)
def test_explain_knows_who_may_not_call(
    phones: Phones, carrier_a: Phones, carrier_b: Phones, change: str, back: str
) -> None:
    stack.sql(change)
    try:
        stack.dialplane("apply", "--yes", "--reason", "not now")
        time.sleep(0.5)
        with Telephones(phones, {"carrier-a": carrier_a, "carrier-b": carrier_b}) as telephones:
            for caller, dialled in ((DAVE, "202"), (DAVE, "999"), ("carrier-b", "+442079460101")):
                compare(telephones, caller, dialled, explained(caller, dialled))
    finally:
        stack.sql(back)
        stack.dialplane("apply", "--yes", "--reason", "as before")
