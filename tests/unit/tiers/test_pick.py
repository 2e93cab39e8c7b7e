"""Which node gets a call: each condition alone, what keeps it, and who takes over."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from controller.tiers.pick import (
    Choice,
    Cluster,
    Condition,
    Node,
    Report,
    Target,
    choose,
    condition,
    pick,
    targets,
)

NODE = Node("m1", call_cap=100, load_limit_pct=80)
TAKES = Condition(takes=True, lost=False, why="", share_tenths=10)
LOST = Condition(takes=False, lost=True, why="not heard of", share_tenths=10)
OUT = Condition(takes=False, lost=False, why="draining", share_tenths=10)
FULL = Condition(takes=False, lost=False, why="full: 100 of 100 calls", share_tenths=1)


@pytest.mark.parametrize(
    ("node", "report", "why", "lost"),
    [
        (NODE, Report(0.5, calls=10), "", False),
        (NODE._replace(state="draining"), Report(0.5), "draining", False),
        (NODE._replace(state="disabled"), Report(None), "disabled", False),
        (NODE, Report(None), "its agent never reported", True),
        (NODE, Report(3.0), "", False),
        (NODE, Report(3.1), "not heard of", True),
        (NODE, Report(0.5, up=False), "its server does not answer", True),
        (NODE, Report(0.5, revision=6), "behind: at revision 6, not 7", True),
        (NODE, Report(0.5, revision=7), "", False),
        (NODE, Report(0.5, revision=None), "", False),
        (NODE, Report(0.5, calls=100), "full: 100 of 100 calls", False),
        (NODE, Report(0.5, calls=99), "", False),
        (NODE, Report(0.5, load_pct=80), "busy: load over 80 %", False),
        (NODE, Report(0.5, load_pct=79), "", False),
        (NODE._replace(call_cap=None, load_limit_pct=None), Report(0.5, calls=9999, load_pct=100), "", False),
    ],
)
def test_each_condition_alone(node: Node, report: Report, why: str, lost: bool) -> None:
    found = condition(node, report, 7, None)
    assert (found.takes, found.lost, found.why) == (why == "", lost, why)


def through(*reports: Report) -> list[str]:
    """What is said after each of the reports in turn."""
    now, said = None, []
    for report in reports:
        now = condition(NODE, report, None, now)
        said.append(now.why.partition(":")[0])
    return said


def test_a_full_node_stays_full_until_a_tenth_is_free() -> None:
    calls = (99, 100, 99, 91, 90, 89, 99, 100)
    said = through(*(Report(0.1, calls=one) for one in calls))
    assert said == ["", "full", "full", "full", "full", "", "", "full"]


def test_a_busy_node_stays_busy_until_its_load_is_a_tenth_lower() -> None:
    said = through(*(Report(0.1, load_pct=one) for one in (79, 80, 73, 72, 71, 79, 80)))
    assert said == ["", "busy", "busy", "busy", "", "", "busy"]


def test_a_node_that_was_lost_meanwhile_is_full_anew() -> None:
    said = through(Report(0.1, calls=100), Report(5, calls=100), Report(0.1, calls=95))
    assert said == ["full", "not heard of", ""]


@pytest.mark.parametrize(
    ("calls", "load", "tenths"), [(0, 0, 10), (1, 0, 10), (10, 0, 9), (11, 0, 9), (95, 0, 1), (100, 0, 1), (300, 0, 1),
                                  (0, 40, 5), (20, 60, 3)],
)  # fmt: skip
def test_the_free_share_is_that_of_the_scarcer_rounded_up(calls: int, load: int, tenths: int) -> None:
    assert condition(NODE, Report(0.1, calls=calls, load_pct=load), None, None).share_tenths == tenths


def test_a_share_changes_by_two_tenths_or_not_at_all() -> None:
    now, shares = None, []
    for calls in (0, 15, 25, 35, 25, 41):
        now = condition(NODE, Report(0.1, calls=calls), None, now)
        shares.append(now.share_tenths)
    assert shares == [10, 10, 8, 8, 8, 6]


def test_nothing_new_is_the_same_condition() -> None:
    before = condition(NODE, Report(0.1, calls=40), None, None)
    assert condition(NODE, Report(0.1, calls=41), None, before) is before


def test_targets_are_those_that_take_calls_by_name_and_share() -> None:
    nodes = [
        (Node("m2", 10), TAKES),
        (Node("m1", 5), TAKES._replace(share_tenths=5)),
        (Node("m10", 1), TAKES._replace(share_tenths=1)),
        (Node("m3"), LOST),
        (Node("m4"), FULL),
    ]
    assert targets(nodes) == (Target("m1", 3), Target("m10", 1), Target("m2", 10))


def test_lost_ones_are_targets_when_all_enabled_ones_are_lost() -> None:
    assert targets([(Node("m1"), LOST), (Node("m2", state="draining"), OUT)]) == (Target("m1", 10),)
    assert targets([(Node("m1"), LOST), (Node("m2"), FULL)]) == (), "the overflow has room, or nobody"
    assert targets([(Node("m2"), FULL)]) == ()


def test_a_choice_follows_the_weights() -> None:
    draw = random.Random(1).randrange
    offered = targets([(Node("m1", 10), TAKES), (Node("m2", 20), TAKES), (Node("m3", 70), TAKES)])
    chosen = Counter(choose(offered, draw) for _ in range(20_000))
    assert chosen["m1"] == pytest.approx(2_000, rel=0.1)
    assert chosen["m3"] == pytest.approx(14_000, rel=0.03)


def test_a_device_that_talks_goes_where_it_talks_unless_that_node_failed() -> None:
    offered = (Target("m1", 100), Target("m2", 1))
    draw = random.Random(1).randrange
    assert {choose(offered, draw, talking={"m2"}) for _ in range(50)} == {"m2"}
    assert {choose(offered, draw, talking={"m2"}, passed={"m2"}) for _ in range(50)} == {"m1"}


C1 = Cluster("c1", ((Node("m1"), TAKES), (Node("m2"), TAKES)))
C2 = Cluster("c2", ((Node("m3"), TAKES),))


def no_draw(_: int) -> int:
    return 0


def said(choice: Choice) -> dict[str, str]:
    return {one.node: one.why for one in choice.others}


def test_the_last_drawn_of_its_cluster_and_why_no_other() -> None:
    choice = pick(C1, C2, no_draw)
    assert (choice.node, choice.cluster) == ("m2", "c1")
    assert choice.why == "c1 is its cluster; drawn with weight 10 of 20"
    assert said(choice) == {
        "m1": "not drawn: weight 10 of 20",
        "m3": "not needed: c2 is its overflow cluster",
    }


def test_a_full_cluster_overflows() -> None:
    full = Cluster("c1", ((Node("m1"), FULL), (Node("m2", state="draining"), FULL._replace(why="draining"))))
    choice = pick(full, C2, no_draw)
    assert (choice.node, choice.cluster) == ("m3", "c2")
    assert choice.why == "c2 is its overflow cluster; drawn with weight 10 of 10"
    assert said(choice) == {"m1": "full: 100 of 100 calls", "m2": "draining"}


def test_a_cluster_that_is_only_lost_is_tried_before_the_overflow() -> None:
    choice = pick(Cluster("c1", ((Node("m1"), LOST),)), C2, no_draw)
    assert choice.node == "m1"
    assert (
        choice.why == "c1 is its cluster; no node there takes calls, this one may only be lost: not heard of"
    )


def test_who_failed_a_moment_ago_comes_after_the_overflow() -> None:
    choice = pick(C1, C2, no_draw, down={"m1"}, tried={"m2"})
    assert choice.node == "m3"
    assert said(choice) == {"m1": "failed at this edge a moment ago", "m2": "had this call already"}
    choice = pick(C1, C2, no_draw, down={"m1", "m3"}, tried={"m2"})
    assert choice.node == "m1"
    assert choice.why == "c1 is its cluster; it failed a moment ago, but no other is left"


def test_nobody_left_is_a_refusal_with_retry_after() -> None:
    choice = pick(C1, None, no_draw, tried={"m1", "m2"})
    assert (choice.node, choice.cluster, choice.retry_after_s) == (None, None, 30)
    assert choice.why == "no media node is left in its cluster, which has no overflow"
    choice = pick(C1, C2, no_draw, tried={"m1", "m2", "m3"})
    assert choice.why == "no media node is left in its cluster and its overflow"
