"""What is decided per call, without a decision: nothing listens, says nothing in time, or says nonsense."""

from __future__ import annotations

import time

import pytest

from tests.media.decided import Agi
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import decisions, until
from tests.media.test_decide import P4, call, rung


def test_nothing_listens_and_the_group_rings(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"p1": "ring", "p2": "ring", "p3": "answer"}
    leg = call(edge, "600", Caller="carl", Device=P4)
    leg.wait("200")
    assert rung(edge) == ["p1", "p2", "p3"]
    assert edge.invites[0].get("from").startswith('"Sales & more Carl"')
    until(lambda: any("dp.fallback" in one and "cannot be reached" in one for one in decisions(media, leg)))
    leg.bye()


@pytest.mark.parametrize(
    ("dialled", "answers", "rings"),
    [
        ("600", {"p1": "404", "p2": "404", "p3": "404"}, ["p1", "p2", "p3"]),
        ("600", {"p1": "ring", "p4": "answer"}, ["p1", "p2", "p3", "p4"]),
        ("601", {"p1": "answer"}, ["p1", "p2"]),
        ("610", {"p1": "answer"}, ["p1", "p2"]),
        ("104", {"p1": "answer"}, ["p1", "p2"]),
        ("103", {"p4": "answer"}, ["p4"]),
    ],
    ids=["group away", "group silent", "empty group", "policy", "always forwarded", "user"],
)
def test_fallbacks(edge: Edge, dialled: str, answers: dict[str, str], rings: list[str]) -> None:
    edge.answers = answers
    leg = call(edge, dialled)
    final = leg.wait("final")
    assert rung(edge) == rings
    assert (final.code == 200) == ("answer" in answers.values())
    if final.code == 200:
        leg.bye()


def test_without_a_decision_plain_forwardings_hold(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"p4": "486"}
    leg = call(edge, "103")
    leg.wait("200")
    until(lambda: any("voicemail:101" in one for one in decisions(media, leg)))
    leg.bye()


def test_a_server_that_says_nothing_is_waited_for_3_s_of_ringing(
    edge: Edge, agi: Agi, media: MediaNode
) -> None:
    agi.says("", silent=True)
    edge.answers = {"p3": "answer"}
    leg = call(edge, "600")
    leg.wait("180")
    assert edge.invites == []
    leg.wait("200", 20)
    until(lambda: any("did not answer in 3 s" in one for one in decisions(media, leg)))
    leg.hear(20)
    time.sleep(3.5)  # the deadline was the question's, not the call's
    leg.hear(20)
    leg.bye()


def test_a_caller_who_gives_up_while_it_is_asked(edge: Edge, agi: Agi, media: MediaNode) -> None:
    agi.says("", silent=True)
    leg = call(edge, "600")
    leg.wait("180")
    edge.cancel(leg)
    leg.wait("487")
    until(lambda: "0 active channels" in media.cli("core show channels"))
    assert edge.invites == []


@pytest.mark.parametrize(
    "text",
    [
        "", "\x00\xff garbage\n\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "SET VARIABLE DP_STEPS x\n",
        'SET VARIABLE DP_STEP_1 "dp-reject,s,1(busy)"\n', "SET VARIABLE DP_STEPS 3\n", "SET VARIABLE DP_STEPS 0\n",
        'SET VARIABLE DP_STEP_1 "dp-reject,s,1(busy)"\nSET VARIABLE DP_STEPS 2\n',
        'SET VARIABLE DP_STEP_1 "default,s,1"\nSET VARIABLE DP_STEPS 1\n', 'SET VARIABLE DP_STEP_1 "dp-rej',
        "x" * 20000,
    ],
    ids=["closes", "bytes", "http", "no number", "no count", "no steps", "nothing decided", "a step less",
         "a stranger", "torn", "long"],
)  # fmt: skip
def test_an_answer_that_is_none_falls_back(edge: Edge, agi: Agi, media: MediaNode, text: str) -> None:
    agi.says(text)
    edge.answers = {"p3": "answer"}
    leg = call(edge, "600")
    leg.wait("200", 20)
    until(lambda: any("dp.fallback" in one for one in decisions(media, leg)))
    leg.bye()
