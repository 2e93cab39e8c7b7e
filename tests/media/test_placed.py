"""Calls that dialplane places itself."""

from __future__ import annotations

import re
import uuid

import pytest

from controller.calls.commands import REASONS, placed
from controller.calls.facts import parse
from controller.calls.fold import fold
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import until
from tests.media.test_start import ami

ALICE = ["alice1@acme.example", "alice2@acme.example"]


def asked(call: str, devices: list[str], to: str, ring_s: int = 20, first: str | None = None) -> str:
    """The action."""
    arguments = {"devices": devices, "to": to, "account": "acme", "user": "alice", "first": first}
    fields = placed(call, ring_s, arguments)
    lines = [
        f"{name}: {value}"
        for name, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return "\r\n".join(["Action: Originate", *lines])


def place(media: MediaNode, devices: list[str], to: str, first: str | None = None) -> str:
    """Id of the call."""
    call = str(uuid.uuid4())
    assert "Originate successfully queued" in ami(media, asked(call, devices, to, first=first))
    return call


def gone(media: MediaNode) -> None:
    until(lambda: "0 active channels" in media.cli("core show channels count"))


def test_all_devices_ring_and_who_answers_calls(media: MediaNode, edge: Edge) -> None:
    edge.answers = {"alice1": "ring", "alice2": "answer", "bob1": "answer"}
    call = place(media, ALICE, "102")
    caller, called = edge.leg_to("alice2"), edge.leg_to("bob1")
    cancel = edge.leg_to("alice1").wait("CANCEL")
    assert "cause=26" in cancel.get("reason") or "completed elsewhere" in cancel.get("reason").lower()
    assert {one.get("x-dp-call") for one in edge.invites} == {call}
    assert {one.get("x-dp-account") for one in edge.invites} == {"acme"}
    assert [one.user for one in edge.invites].count("alice2") == 1
    assert called.invite is not None
    assert '"Alice" <sip:101@' in called.invite.get("from")
    assert caller.invite is not None
    assert "sip:102@" in caller.invite.get("from")
    caller.hear(25)
    called.hear(25)
    # Two legs talk; the channel that rang is over.
    until(lambda: "2 active channels" in media.cli("core show channels count"))
    assert "Local/" not in media.cli("core show channels concise")
    caller.bye()
    called.wait("BYE")
    gone(media)
    lines = (media.spool / "media.jsonl").read_bytes().splitlines()
    facts = [parse(line, "media1", "1", position) for position, line in enumerate(lines)]
    linked = {fact.detail["linkedid"] for fact in facts if fact.call_id == call}
    record = fold(call, [fact for fact in facts if fact.detail["linkedid"] in linked])
    assert record is not None
    assert record.complete
    assert record.called == "102"
    assert record.answered_at is not None
    assert record.talk_ms is not None
    assert record.talk_ms > 100
    assert record.cause == 16


def test_the_preferred_device_rings_alone_at_first(media: MediaNode, edge: Edge) -> None:
    edge.answers = {"alice1": "ring", "alice2": "answer", "bob1": "answer"}
    place(media, ALICE, "102", first=ALICE[0])
    alone = edge.leg_to("alice1")
    assert [one.user for one in edge.invites] == ["alice1"]
    edge.answer(alone)
    alone.hear(25)
    edge.leg_to("bob1").hear(25)
    assert [one.user for one in edge.invites] == ["alice1", "bob1"]
    alone.bye()
    gone(media)


@pytest.mark.parametrize("does", ["ring", "404", "486"])
def test_then_all_of_them_ring(media: MediaNode, edge: Edge, does: str) -> None:
    edge.answers = {"alice1": does, "alice2": "answer", "bob1": "answer"}
    place(media, ALICE, "102", first=ALICE[0])
    edge.leg_to("alice2").hear(25)
    edge.leg_to("bob1").hear(25)
    users = [one.user for one in edge.invites]
    assert users[0] == "alice1"
    assert sorted(users[1:]) == ["alice1", "alice2", "bob1"]
    edge.leg_to("bob1").bye()
    gone(media)


def test_who_declines_on_the_preferred_device_does_not_want_the_call(media: MediaNode, edge: Edge) -> None:
    edge.answers = {"alice1": "603", "alice2": "answer"}
    place(media, ALICE, "102", first=ALICE[0])
    edge.leg_to("alice1")
    gone(media)
    assert [one.user for one in edge.invites] == ["alice1"]


@pytest.mark.parametrize(
    ("answers", "ring_s", "reason"),
    [
        ({"alice1": "486", "alice2": "486"}, 20, "busy"),
        ({"alice1": "404", "alice2": "404"}, 20, "not registered"),
        ({"alice1": "ring", "alice2": "ring"}, 1, "no answer"),
        ({"alice1": "ring", "alice2": "486"}, 1, "no answer"),
    ],
    ids=["busy", "not there", "no answer", "one busy"],
)
def test_nobody_takes_it(
    media: MediaNode, edge: Edge, answers: dict[str, str], ring_s: int, reason: str
) -> None:
    edge.answers = answers
    said = ami(media, asked("placed-2", ALICE, "102", ring_s), events="call", stay_s=5)
    outcome = said.partition("Event: OriginateResponse")[2]
    assert "Response: Failure" in outcome
    assert REASONS[re.findall(r"Reason: (\d+)", outcome)[0]].startswith(reason)
    assert {one.user for one in edge.invites} == {"alice1", "alice2"}
    gone(media)


def test_more_devices_than_a_line_holds(media: MediaNode, edge: Edge) -> None:
    edge.answers = {"one-of-the-many-devices-29": "answer", "bob1": "answer"}
    place(media, [f"one-of-the-many-devices-{number:02}@acme.example" for number in range(30)], "102")
    caller = edge.leg_to("one-of-the-many-devices-29")
    edge.leg_to("bob1")
    assert len({one.user for one in edge.invites}) == 31
    caller.bye()
    gone(media)
