"""Callers wait in queues, members ring, and neither the server nor the database is needed to go on."""

from __future__ import annotations

import signal
import time
import uuid

import pytest

from controller.calls.commands import called_back
from tests.media.heard import hears
from tests.media.node import MediaNode
from tests.media.peer import Edge, Leg
from tests.media.queues import NUMBER
from tests.media.resident import Resident, awaited
from tests.media.test_calls import decisions, until
from tests.media.test_features_conference import told
from tests.media.test_start import ami


def call(edge: Edge, dialled: str, number: str = "+4930123", trunk: str = "carrier") -> Leg:
    """From outside."""
    return edge.call(dialled, "wait-1", number, Trunk=trunk)


def inside(edge: Edge, dialled: str) -> Leg:
    return edge.call(dialled, "wait-1", Caller="pam", Device="w4@wait.example")


def rung(edge: Edge) -> list[str]:
    return [one.user for one in edge.invites]


def outcomes(served: Resident) -> list[str]:
    rows = served.rows("SELECT outcome FROM control.queue_callers WHERE outcome IS NOT NULL ORDER BY id")
    return [row[0] for row in rows]


def states(served: Resident) -> list[str]:
    return [row[0] for row in served.rows("SELECT state FROM control.queue_callers ORDER BY id")]


def happened(served: Resident) -> list[str]:
    query = "SELECT event, coalesce(member, '') FROM control.queue_events ORDER BY id"
    return [" ".join(row).strip() for row in served.rows(query)]


def test_a_caller_hears_music_and_the_member_who_is_free_takes_the_call(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "ring", "w2": "answer"}
    leg = call(edge, NUMBER)
    leg.wait("200")
    leg.hear(50)
    assert leg.audio.loud, "music while nobody has taken the call"
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    member = edge.leg_to("w2")
    member.hear(25)
    assert rung(edge) == ["w1", "w2"]
    leg.bye()
    member.wait("BYE")
    awaited(lambda: outcomes(served) == ["answered"], "it has no outcome")
    awaited(lambda: happened(served)[-1] == "ended ned", "the end was not told")
    assert happened(served) == [
        "joined", "offered mia", "ignored mia", "offered ned", "answered ned", "ended ned",
    ]  # fmt: skip
    assert served.rows("SELECT count(*) FROM control.queue_offers") == [(0,)]


def test_two_callers_never_ring_the_same_member(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "answer", "w2": "answer"}
    legs, wanted = [], ["talking", "talking", "waiting"]
    for come in (1, 2, 3):
        legs.append(call(edge, NUMBER, f"+493012{come}"))
        awaited(lambda so_far=wanted[:come]: states(served) == so_far, f"they are not {wanted[:come]}")  # type: ignore[misc]
    assert sorted(rung(edge)) == ["w1", "w2"]
    legs[0].bye()
    awaited(lambda: states(served) == ["gone", "talking", "talking"], "the third is not served")
    for leg in legs[1:]:
        leg.bye()
    awaited(lambda: outcomes(served) == ["answered"] * 3, "not every call has its outcome")


def test_who_gives_up_leaves(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "ring", "w2": "ring"}
    ringing = call(edge, NUMBER)
    until(lambda: rung(edge) == ["w1"])
    second = call(edge, NUMBER, "+4930124")
    awaited(lambda: len(states(served)) == 2, "the second does not wait")
    ringing.bye()
    edge.leg_to("w1").wait("CANCEL")
    second.bye()
    awaited(lambda: outcomes(served) == ["abandoned", "abandoned"], "they did not leave")
    assert served.rows("SELECT count(*) FROM control.queue_offers") == [(0,)]


def test_longest_wait_and_fullness_lead_on(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "ring", "w4": "answer"}
    first = inside(edge, "702")
    awaited(lambda: states(served) == ["ringing"], "it does not ring")
    second = inside(edge, "702")
    second.wait("BYE")
    awaited(lambda: outcomes(served) == ["full"], "there is room for two")
    edge.leg_to("w4").hear(10)
    first.bye()
    awaited(lambda: outcomes(served) == ["timeout", "full"], "it waited too long")


@pytest.mark.parametrize("answer", ["486", "603"])
def test_who_says_no_is_free_while_others_ring(edge: Edge, served: Resident, answer: str) -> None:
    edge.answers = {"w1": "ring", "w2": answer, "w3": "ring"}
    leg = inside(edge, "707")
    awaited(lambda: "refused ned" in happened(served), "nobody says no")
    assert states(served) == ["ringing"]
    rings = served.rows("SELECT member FROM control.queue_offers ORDER BY member")
    assert rings == [("mia",), ("oda",)]
    leg.bye()
    awaited(lambda: outcomes(served) == ["abandoned"], "it did not leave")


def test_all_who_say_no_at_once_are_known(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "486", "w2": "603", "w3": "486 On The Telephone"}
    leg = inside(edge, "701")
    awaited(lambda: states(served) == ["waiting"] and len(happened(served)) > 6, "it does not wait")
    assert sorted(happened(served)[4:7]) == ["ignored oda", "refused mia", "refused ned"]
    leg.bye()
    awaited(lambda: outcomes(served) == ["abandoned"], "it did not leave")


def test_who_says_no_to_a_leg_that_begins_later_is_known(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "ring", "w2": "603", "w3": "ring", "w4": "ring"}
    leg = inside(edge, "705")
    awaited(lambda: "refused ned" in happened(served), "nobody says no")
    leg.bye()
    awaited(lambda: outcomes(served) == ["abandoned"], "it did not leave")


def test_with_room_for_one_telephone_those_of_a_member_ring_one_after_the_other(
    edge: Edge, served: Resident
) -> None:
    edge.answers = {"w5": "ring", "w6": "answer"}
    leg = inside(edge, "706")
    until(lambda: rung(edge) == ["w5"])
    rows = served.rows("SELECT legs FROM control.queue_offers")
    assert rows == [(["w5@wait.example~0~2", "w6@wait.example~2~2"],)]
    time.sleep(1)
    assert rung(edge) == ["w5"]
    until(lambda: rung(edge) == ["w5", "w6"])
    edge.leg_to("w5").wait("CANCEL")
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    edge.leg_to("w6").hear(10)
    leg.bye()
    awaited(lambda: happened(served)[-1] == "ended quin", "the end was not told")


@pytest.mark.parametrize("state", ["waiting", "ringing"])
def test_the_server_is_killed_and_the_place_is_kept(
    edge: Edge, served: Resident, media: MediaNode, state: str
) -> None:
    edge.answers = {"w1": "486", "w2": "486"} if state == "waiting" else {"w1": "ring", "w2": "ring"}
    first = call(edge, NUMBER)
    awaited(lambda: states(served) == [state], "the first does not wait")
    second = call(edge, NUMBER, "+4930124")
    awaited(lambda: states(served) == [state] * 2, "the second does not wait")
    served.stop(signal.SIGKILL)
    first.hear(25)
    served.start()
    edge.answers = {"w1": "answer", "w2": "answer"}
    awaited(lambda: states(served) == ["talking", "talking"], "they are not served")
    rows = served.rows(
        "SELECT caller, count(*) FROM control.queue_callers GROUP BY caller ORDER BY min(joined_at)"
    )
    assert rows == [("+4930123", 1), ("+4930124", 1)]
    assert "rejoined" not in happened(served), "nobody was lost"
    for leg in (first, second):
        leg.bye()
    awaited(lambda: outcomes(served) == ["answered"] * 2, "not every call has its outcome")
    assert not [one for one in decisions(media, first) if one.startswith("dp.fallback")]


def test_without_the_server_the_queue_rings_by_itself(edge: Edge, served: Resident, media: MediaNode) -> None:
    served.stop(signal.SIGKILL)
    edge.answers = {"w1": "ring", "w2": "ring"}
    leg = call(edge, NUMBER)
    until(lambda: sorted(rung(edge)) == ["w1", "w2"], 30)
    leg.hear(25)
    edge.answers = {"w1": "ring", "w2": "answer"}
    until(lambda: any(one.audio.received > 10 for one in edge.legs.values() if one is not leg), 30)
    leg.bye()
    assert [one for one in decisions(media, leg) if one.startswith("dp.fallback")]


def test_a_frozen_server_costs_seconds(edge: Edge, served: Resident, media: MediaNode) -> None:
    edge.answers = {"w1": "486", "w2": "486"}
    leg = call(edge, NUMBER)
    awaited(lambda: states(served) == ["waiting"], "it does not wait")
    served.stop(signal.SIGSTOP)
    edge.answers = {"w1": "answer", "w2": "ring"}
    until(lambda: any(one.audio.received > 10 for one in edge.legs.values() if one is not leg), 60)
    leg.bye()
    served.stop(signal.SIGCONT)
    assert [one for one in decisions(media, leg) if "did not answer in time" in one]


def test_a_talk_outlives_the_server(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "answer", "w2": "486"}
    leg = call(edge, NUMBER)
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    served.stop(signal.SIGTERM)
    member = edge.leg_to("w1")
    member.hear(50)
    served.start()
    member.bye()
    leg.wait("BYE")
    awaited(lambda: outcomes(served) == ["answered"], "the end is not known")
    awaited(lambda: happened(served)[-1] == "ended mia", "the end was not told")


def test_who_presses_1_hangs_up_keeps_the_place_and_is_called_back(
    edge: Edge, served: Resident, media: MediaNode
) -> None:
    edge.answers = {"w1": "486"}
    leg = call(edge, "+4930888011", "+49301777")
    awaited(lambda: states(served) == ["waiting"], "it does not wait")
    leg.hear(100)
    leg.audio.digits.put("1")
    leg.wait("BYE")
    edge.answers = {"w1": "answer", "trunk:first-1": "answer"}
    query = "SELECT arguments FROM control.node_commands WHERE verb = 'call_back' ORDER BY id DESC LIMIT 1"
    ((asked,),) = awaited(lambda: served.rows(query), "nobody calls back")
    assert (asked["account"], asked["queue"], asked["number"]) == ("wait-1", "told", "+49301777")
    # As the agent does.
    fields = called_back(str(uuid.uuid4()), asked)
    lines = (
        f"{name}: {one}"
        for name, many in fields.items()
        for one in ([many] if isinstance(many, str) else many)
    )
    assert "successfully queued" in ami(media, "\r\n".join(["Action: Originate", *lines]))
    until(lambda: any(one.user == "+49301777" for one in edge.invites), 30)
    member, caller = edge.last_leg_to("w1"), edge.last_leg_to("+49301777")
    assert member.invite is not None
    assert "+49301777" in member.invite.get("from"), "the member sees who will be called"
    member.hear(25)
    caller.hear(25)
    assert states(served) == ["talking"]
    member.bye()
    caller.wait("BYE")
    awaited(lambda: outcomes(served) == ["answered"], "it has no outcome")


def test_a_supervisor_listens_and_speaks(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "answer"}
    caller = call(edge, NUMBER)
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    member = edge.leg_to("w1")
    member.hear(25)
    for one in (caller, member):
        one.audio.mute = True
    stranger = edge.call("709", "wait-1", Caller="ned", Device="w2@wait.example")
    assert stranger.wait("final").code == 403
    supervisor = inside(edge, "709")
    supervisor.wait("200")

    assert not hears(member.audio, 2), "the supervisor only listens"
    supervisor.audio.digits.put("5")
    assert hears(member.audio)
    assert not hears(caller.audio, 2), "whispered to the member alone"
    supervisor.audio.digits.put("6")
    assert hears(member.audio)
    assert hears(caller.audio)
    caller.audio.mute = False
    assert hears(supervisor.audio)
    caller.bye()
    supervisor.wait("BYE", 60)


@pytest.mark.parametrize("by", ["member", "caller"])
def test_what_is_transferred_out_of_a_queue_is_no_call_of_it(
    edge: Edge, served: Resident, media: MediaNode, by: str
) -> None:
    """Neither the answer nor the end of who has the call then is told to the queue; the end of the member is."""
    edge.answers = {"w1": "answer", "w3": "answer"}
    caller = inside(edge, "700")
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    member = edge.leg_to("w1")
    member.hear(25)
    away, stays = (member, caller) if by == "member" else (caller, member)
    away.send("REFER", "Refer-To: <sip:103@wait.example>", "Referred-By: <sip:x@wait.example>")
    other = edge.leg_to("w3")
    other.hear(25)
    awaited(lambda: happened(served)[-1] == "ended mia", "the end was not told")
    other.bye()
    stays.wait("BYE")
    time.sleep(0.5)
    assert [one for one in told(media, caller) if one.startswith("dp.answered")] == [
        "dp.answered w1@wait.example"
    ]
    assert happened(served) == ["joined", "offered mia", "answered mia", "ended mia"]
    assert outcomes(served) == ["answered"]
    assert served.rows("SELECT count(*) FROM control.queue_offers") == [(0,)]


def test_a_member_transfers_a_caller_and_is_free(edge: Edge, served: Resident) -> None:
    edge.answers = {"w1": "answer", "w4": "answer"}
    caller = call(edge, NUMBER)
    awaited(lambda: states(served) == ["talking"], "nobody talks")
    member = edge.leg_to("w1")
    member.hear(25)
    member.send("REFER", "Refer-To: <sip:104@wait.example>", "Referred-By: <sip:mia@wait.example>")
    other = edge.leg_to("w4")
    other.hear(25)
    awaited(lambda: outcomes(served) == ["answered"], "the member still talks, it seems")
    assert served.rows("SELECT count(*) FROM control.queue_offers") == [(0,)]
    caller.hear(25)
    caller.bye()
    other.wait("BYE")
    assert outcomes(served) == ["answered"]
