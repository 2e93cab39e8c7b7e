"""Paging: whose telephones answer by themselves, who hears whom, and who may page."""

from __future__ import annotations

import pytest

from tests.media.features import SPEAKERS, phone
from tests.media.node import MediaNode
from tests.media.peer import Edge
from tests.media.test_calls import until
from tests.media.test_features_conference import loud, still, told

GUS, IDA = phone("gus"), phone("ida")
ALL = dict.fromkeys(("f1", "f2", "f3", "f4"), "answer")


def test_they_hear_who_pages_and_are_not_heard(edge: Edge, media: MediaNode) -> None:
    edge.answers = ALL
    leg = edge.call("*80", **IDA)
    leg.wait("200")
    heard = [edge.leg_to(one) for one in ("f1", "f2", "f3")]
    for one in heard:
        assert one.invite
        assert "answer-after=0" in one.invite.get("call-info")
        assert one.invite.get("answer-mode") == "Auto"
        assert one.invite.get("x-dp-skip-busy") == "2"
        assert one.invite.get("x-dp-call") == f"call-{leg.call_id}"
        loud(one, 60)  # longer than the tone
    assert still(leg)
    assert {one.user for one in edge.invites} == {"f1", "f2", "f3"}, "who pages is left out, numbers too"
    assert "dp.page floor" in told(media, leg)
    leg.bye()
    for one in heard:
        one.wait("BYE")


def test_who_may_answers_is_heard_by_all(edge: Edge, media: MediaNode) -> None:
    edge.answers = ALL
    leg = edge.call("*81", **IDA)
    leg.wait("200")
    heard = [edge.leg_to(one) for one in ("f1", "f2", "f3")]
    for one in (*heard, leg):
        loud(one, 60)
    heard[0].bye()
    loud(leg)
    leg.bye()
    heard[1].wait("BYE")


def test_who_does_not_take_it_is_passed_over(edge: Edge, media: MediaNode) -> None:
    edge.answers = {"f1": "486", "f3": "answer"}
    leg = edge.call("*80", **IDA)
    leg.wait("200")
    loud(edge.leg_to("f3"), 60)
    leg.bye()
    edge.leg_to("f3").wait("BYE")


@pytest.mark.parametrize(
    ("called", "who"),
    [("*81", GUS), ("*80", {"account": "feat-1", "Trunk": "", "Home": "1"})],
    ids=["not of the group", "from outside"],
)
def test_not_everybody_pages(edge: Edge, media: MediaNode, called: str, who: dict[str, str]) -> None:
    edge.answers = ALL
    leg = edge.call(called, **who)
    assert leg.wait("final", 30).code == 403
    assert not edge.invites


def test_more_devices_than_a_line_holds_and_the_longest_time(edge: Edge, media: MediaNode) -> None:
    edge.answers = {SPEAKERS[0]: "answer", SPEAKERS[-1]: "answer"}
    leg = edge.call("*82", **IDA)
    leg.wait("200")
    first, last = edge.leg_to(SPEAKERS[0]), edge.leg_to(SPEAKERS[-1])
    for one in (first, last):
        loud(one, 20)
    assert sorted(one.user for one in edge.invites) == list(SPEAKERS)
    for one in (leg, first, last):
        one.wait("BYE", 30)
    until(lambda: "0 active channels" in media.cli("core show channels count"), 20)
