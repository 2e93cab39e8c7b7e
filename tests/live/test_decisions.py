"""Calls that need a decision: groups by every strategy, policies, and what happens without the process that decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, CARRIER, DESK1, LOBBY
from tests.live.phones import Leg, Phone, Phones
from tests.live.talk import both_hear, record, went_well

HUNT = "699"
MEMBERS = (BOB, CAROL, LOBBY)
VIP = replace(CARRIER, user="+4930777123")
POLICY = "+4930555013"
AGI = "*dialplane agi serve*"

_MAKE = f"""
WITH a AS (SELECT id FROM public.accounts WHERE name = 'acme'),
g AS (INSERT INTO public.groups (account_id, name, display_name, strategy, ring_time_s, step_time_s, on_busy)
      SELECT id, 'hunt', 'Hunt', 'all', 15, 5, 'busy' FROM a RETURNING id, account_id),
m AS (INSERT INTO public.group_members (account_id, group_id, user_id, position)
      SELECT g.account_id, g.id, u.id, position
        FROM g, public.users u JOIN (VALUES ('bob', 1), ('carol', 2), ('lobby', 3)) AS one (name, position) USING (name)
       WHERE u.account_id = g.account_id RETURNING id)
INSERT INTO public.extensions (account_id, extension, kind, group_id) SELECT account_id, '{HUNT}', 'group', id FROM g;
"""
_REMOVE = f"""
DELETE FROM public.extensions WHERE extension = '{HUNT}';
DELETE FROM public.groups WHERE name = 'hunt';
"""


def publish(statement: str) -> None:
    """Rows, and live on every node."""
    stack.sql(statement)
    stack.dialplane("apply", "--yes", "--reason", "live tests of decisions")


@pytest.fixture(scope="module")
def hunt(company: None) -> Iterator[None]:
    """A group of three people with one telephone each, at 699: time enough to ring each once."""
    publish(_REMOVE + _MAKE)
    yield
    publish(_REMOVE)


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """All phones of acme are registered."""
    phones.registered(DESK1, APP1, BOB, CAROL, LOBBY)


def strategy(name: str) -> None:
    """In turn each member has a second."""
    ring_s, step_s = (15, 5) if name == "all" else (3, 1)
    times = f"ring_time_s = {ring_s}, step_time_s = {step_s}"
    publish(f"UPDATE public.groups SET strategy = '{name}', {times} WHERE name = 'hunt'")


class Rang(NamedTuple):
    """A member's telephone, so many seconds after the caller's INVITE."""

    user: str
    after_s: float


def ring_order(
    phones: Phones,
    answers: Phone | None = None,
    calls: Callable[..., Leg] | None = None,
    *,
    silent: bool = False,
) -> list[Rang]:
    """Who rang, in order, in a call of the group (by Alice) that all members refuse or let ring, or one takes."""
    call = calls or partial(phones.run, "call", DESK1, to=HUNT)
    others = [phone for phone in MEMBERS if phone is not answers]
    refusal = {"ending": "cancelled"} if silent else {"answer": 486}
    expect = 200 if answers else 480 if silent else 486
    with (
        phones.answering(*others, ring_ms=100, **refusal) as refusing,
        phones.answering(*filter(None, [answers]), ring_ms=100) as taking,
    ):
        caller = call(talk_ms=300, expect=expect)
        assert caller.ok, caller
        began_s = caller.invite().time_s
        rang = []
        for phone, one in zip([*others, *filter(None, [answers])], [*refusing, *taking], strict=True):
            one.over()
            if invites := one.received("INVITE"):
                rang.append(Rang(phone.user, round(invites[0].time_s - began_s, 3)))
    return sorted(rang, key=lambda one: one.after_s)


def names(rang: list[Rang]) -> list[str]:
    return [one.user for one in rang]


def in_turn(rang: list[Rang], *, silent: bool = False) -> list[str]:
    """The names, if one rang after another: when that one's second was over, or (refused after 100 ms) at once."""
    print("rang", [tuple(one) for one in rang])
    least_s, most_s = (0.95, 1.8) if silent else (0.1, 0.8)
    gaps_s = [later.after_s - one.after_s for one, later in pairwise(rang)]
    assert all(least_s <= gap_s <= most_s for gap_s in gaps_s), rang
    assert rang[0].after_s < most_s, rang
    return names(rang)


def test_all_at_once_and_who_is_late_is_told_why(phones: Phones, hunt: None) -> None:
    strategy("all")
    since = stack.now()
    with (
        phones.answering(BOB, ring_ms=800) as [bob],
        phones.answering(CAROL, LOBBY, ending="cancelled") as [carol, lobby],
    ):
        desk = phones.run("call", DESK1, to=HUNT, talk_ms=1500)
        taken, others = bob.wait(), [carol.wait(), lobby.wait()]
    went_well(desk, taken, *others)
    both_hear((desk, DESK1), (taken, BOB))
    for leg in others:
        cancel = next(message for message in leg.received if message.method == "CANCEL")
        assert any("200" in reason for reason in cancel.headers("Reason")), cancel.text
    written = record(since)
    assert written["account"] == "acme"
    assert "group hunt" in str(written["decisions"]), written


def test_all_ring_within_300_ms_but_who_begins_later(phones: Phones, hunt: None) -> None:
    strategy("all")
    rang = ring_order(phones)
    print("rang", [tuple(one) for one in rang])
    assert len(rang) == 3
    assert rang[-1].after_s < 0.3
    delay = (
        "UPDATE public.group_members AS m SET delay_s = {} FROM public.users AS u, public.groups AS g"
        " WHERE u.id = m.user_id AND g.id = m.group_id AND g.name = 'hunt' AND u.name <> 'carol'"
    )
    publish(delay.format("CASE u.name WHEN 'bob' THEN 2 ELSE 1 END"))
    try:
        rang = ring_order(phones)
    finally:
        publish(delay.format("0"))
    print("rang", [tuple(one) for one in rang])
    assert names(rang) == ["carol", "lobby", "bob"]
    for place_s, one in enumerate(rang):
        assert place_s <= one.after_s < place_s + 0.5, rang


def test_in_order(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    assert in_turn(ring_order(phones, silent=True), silent=True) == ["bob", "carol", "lobby"]
    assert in_turn(ring_order(phones)) == ["bob", "carol", "lobby"]


def test_round_robin_goes_on_where_it_was(phones: Phones, hunt: None) -> None:
    strategy("round_robin")
    orders = [in_turn(ring_order(phones)) for _ in range(4)]
    turn = orders[0] * 2
    assert orders == [turn[:3], turn[1:4], turn[2:5], turn[:3]]
    circle = ["bob", "carol", "lobby"] * 2
    assert orders[0] in (circle[:3], circle[1:4], circle[2:5])


def test_who_answered_longest_ago_and_who_answered_fewest(phones: Phones, hunt: None) -> None:
    """Bob took two calls, then Carol and the lobby one each: he is the one who answered longest ago, and the most."""
    strategy("fewest_calls")
    stack.sql("DELETE FROM control.group_turns WHERE group_name = 'hunt'")
    orders = [in_turn(ring_order(phones, answers=taker)) for taker in (BOB, BOB, CAROL, LOBBY)]
    assert orders == [["bob"], ["carol", "lobby", "bob"], ["carol"], ["lobby"]]
    assert in_turn(ring_order(phones)) == ["carol", "lobby", "bob"]
    strategy("least_recent")
    assert in_turn(ring_order(phones, silent=True), silent=True) == ["bob", "carol", "lobby"]


def test_at_random_everybody_rings_once_and_not_always_in_one_order(phones: Phones, hunt: None) -> None:
    strategy("random")
    orders = [in_turn(ring_order(phones)) for _ in range(6)]
    assert all(sorted(order) == ["bob", "carol", "lobby"] for order in orders), orders
    assert len({tuple(order) for order in orders}) > 1, orders


def test_who_weighs_a_thousand_times_as_much_rings_first(phones: Phones, hunt: None) -> None:
    """One of six calls may begin elsewhere: by weight one run in 10,000 fails; by chance one in sixty would pass."""
    weigh = (
        "UPDATE public.group_members AS m SET weight = {} FROM public.users AS u, public.groups AS g"
        " WHERE u.id = m.user_id AND g.id = m.group_id AND g.name = 'hunt'"
    )
    stack.sql(weigh.format("CASE u.name WHEN 'lobby' THEN 1000 ELSE 1 END"))
    try:
        strategy("weighted")
        orders = [in_turn(ring_order(phones)) for _ in range(6)]
    finally:
        publish(weigh.format("10"))
    assert all(sorted(order) == ["bob", "carol", "lobby"] for order in orders), orders
    assert [order[0] for order in orders].count("lobby") >= 5, orders


def test_somebody_who_left_does_not_ring(phones: Phones, hunt: None) -> None:
    # Time for two of them: nobody is rung a second time, when his telephone has refused and is gone.
    strategy("in_order")
    publish("UPDATE public.groups SET ring_time_s = 2 WHERE name = 'hunt'")
    stack.sql(
        "INSERT INTO public.group_away (account_id, member_id) SELECT m.account_id, m.id FROM public.group_members m "
        "JOIN public.users u ON u.id = m.user_id JOIN public.groups g ON g.id = m.group_id "
        "WHERE g.name = 'hunt' AND u.name = 'carol'"
    )
    try:
        stack.until(lambda: names(ring_order(phones)) == ["bob", "lobby"], "carol does not ring", 30)
    finally:
        stack.sql("DELETE FROM public.group_away")
    stack.until(lambda: names(ring_order(phones)) == ["bob", "carol"], "carol rings again", 30)


def test_a_phone_joins_by_registering_and_leaves_by_itself(phones: Phones, hunt: None) -> None:
    publish(
        "UPDATE public.groups SET strategy = 'all', ring_time_s = 15 WHERE name = 'hunt';"
        "UPDATE public.group_members SET joins = true WHERE user_id = (SELECT u.id FROM public.users AS u "
        "JOIN public.accounts AS a ON a.id = u.account_id WHERE a.name = 'acme' AND u.name = 'lobby')"
    )
    try:
        for expires, there in ((0, False), (300, True), (0, False)):
            went_well(phones.register(LOBBY, expires=expires))
            rings = partial(lambda there: ("lobby" in names(ring_order(phones))) == there, there)
            stack.until(rings, f"rings: {there}", 40)
    finally:
        publish("UPDATE public.group_members SET joins = false WHERE joins")


def test_who_calls_and_when_choose_who_rings(phones: Phones, carrier_a: Phones, hunt: None) -> None:
    """Bob rings for Alice alone, Carol in office hours, the lobby outside them."""
    publish(
        "UPDATE public.groups SET strategy = 'all', ring_time_s = 15 WHERE name = 'hunt';"
        "WITH a AS (SELECT id FROM public.accounts WHERE name = 'acme'),"
        "l AS (INSERT INTO public.caller_lists (account_id, name) SELECT id, 'alice' FROM a RETURNING id, account_id),"
        "e AS (INSERT INTO public.caller_list_entries (account_id, list_id, pattern)"
        " SELECT account_id, id, '101' FROM l)"
        "UPDATE public.group_members AS m SET caller_list_id = CASE u.name WHEN 'bob' THEN l.id END,"
        " schedule_id = CASE WHEN u.name <> 'bob' THEN s.id END, schedule_open = u.name <> 'lobby'"
        " FROM l, public.users AS u, public.schedules AS s, public.groups AS g"
        " WHERE g.id = m.group_id AND g.name = 'hunt' AND u.id = m.user_id AND s.name = 'office'"
        "   AND s.account_id = l.account_id;"
        "UPDATE public.numbers SET extension_id = (SELECT e.id FROM public.extensions AS e WHERE e.extension ="
        f" '{HUNT}') WHERE e164 = '+4930555012'"
    )
    alice = partial(phones.run, "call", DESK1, to=HUNT)
    outside = partial(carrier_a.run, "call", CARRIER, to="+4930555012", host="10.213.0.11", challenge=0)
    try:
        for hours, wanted in (
            ("open", (["bob", "carol"], ["carol"])),
            ("closed", (["bob", "lobby"], ["lobby"])),
        ):
            stack.dialplane("schedule", "override", "office@acme", hours, "--reason", "test")
            for calls, who in zip((alice, outside), wanted, strict=True):
                assert sorted(names(ring_order(phones, calls=calls))) == who, (hours, who)
    finally:
        stack.dialplane("schedule", "clear", "office@acme")
        publish(
            "UPDATE public.numbers SET extension_id = (SELECT e.id FROM public.extensions AS e"
            " JOIN public.accounts AS a ON a.id = e.account_id WHERE e.extension = '102' AND a.name = 'acme')"
            " WHERE e164 = '+4930555012';"
            "UPDATE public.group_members SET caller_list_id = NULL, schedule_id = NULL, schedule_open = true"
            " WHERE group_id = (SELECT id FROM public.groups WHERE name = 'hunt');"
            "DELETE FROM public.caller_lists WHERE name = 'alice'"
        )


def test_of_two_callers_one_rings_and_clients_hear_of_both_within_a_second(
    phones: Phones, hunt: None
) -> None:
    strategy("all")
    publish("UPDATE public.groups SET one_call = true, notices = 'clients' WHERE name = 'hunt'")
    stack.sql("DELETE FROM control.group_notices")
    told = "SELECT outcome, member, extract(epoch FROM at) AS at_s FROM control.group_notices ORDER BY id"
    try:
        with (
            phones.answering(BOB, ring_ms=3500) as [bob],
            phones.answering(CAROL, LOBBY, ending="cancelled") as [carol, lobby],
            phones.start("call", DESK1, to=HUNT, talk_ms=1000) as first,
        ):
            bob.until("INVITE")
            turned_away = phones.run("call", APP1, to=HUNT, expect=486)
            legs = [turned_away, bob.wait(), first.wait(), carol.wait(), lobby.wait()]
            went_well(*legs)
        notices = stack.until(lambda: len(found := stack.documents(told)) > 1 and found, "both are told", 1)
    finally:
        publish("UPDATE public.groups SET one_call = false, notices = 'none' WHERE name = 'hunt'")
    assert notices
    assert [(one["outcome"], one["member"]) for one in notices] == [("missed", None), ("answered", "bob")]
    happened_s = [
        next(one.time_s for one in leg.messages if one.status == status)
        for leg, status in ((legs[0], 486), (legs[1], 200))
    ]
    late_s = [one["at_s"] - then_s for one, then_s in zip(notices, happened_s, strict=True)]
    print(f"told {late_s} s after it happened")
    assert all(-0.5 < one < 1 for one in late_s), late_s


def test_a_policy_tells_callers_apart(phones: Phones, carrier_a: Phones) -> None:
    """A caller of the list reaches the group, whatever the time is; the others' way depends on office hours."""
    with phones.answering(BOB) as [bob]:
        caller = carrier_a.run("call", VIP, to=POLICY, host="10.213.0.11", challenge=0, talk_ms=1000)
        taken = bob.wait()
    went_well(caller, taken)
    both_hear((caller, CARRIER), (taken, BOB), frames=20)


def test_without_the_deciding_process_all_members_ring(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    for node in ("media1", "media2"):
        stack.execute(node, "supervisorctl", "-c", "/run/supervisord.conf", "stop", "agi")
    try:
        with (
            phones.answering(LOBBY, ring_ms=500) as [lobby],
            phones.answering(BOB, CAROL, ending="cancelled") as [bob, carol],
        ):
            desk = phones.run("call", DESK1, to=HUNT, talk_ms=1000)
            went_well(desk, lobby.wait(), bob.wait(), carol.wait())
    finally:
        for node in ("media1", "media2"):
            stack.execute(node, "supervisorctl", "-c", "/run/supervisord.conf", "start", "agi")
    stack.until(
        lambda: names(ring_order(phones)) == ["bob", "carol", "lobby"], "decisions are made again", 20
    )


def test_a_deciding_process_that_stands_still_costs_seconds_not_the_call(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    with (
        stack.frozen("media1", AGI),
        stack.frozen("media2", AGI),
        phones.answering(LOBBY, ring_ms=500) as [lobby],
        phones.answering(BOB, CAROL, ending="cancelled") as [bob, carol],
    ):
        desk = phones.run("call", DESK1, to=HUNT, talk_ms=1000)
        went_well(desk, lobby.wait(), bob.wait(), carol.wait())
    stack.until(
        lambda: names(ring_order(phones)) == ["bob", "carol", "lobby"], "decisions are made again", 20
    )


def test_decisions_need_no_database(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    with stack.frozen("postgres", "*postgres*"):
        assert names(ring_order(phones)) == ["bob", "carol", "lobby"]


DOOR = "697"
_DOOR = f"""
WITH a AS (SELECT id FROM public.accounts WHERE name = 'acme'),
p AS (INSERT INTO public.policies (account_id, name) SELECT id, 'door' FROM a RETURNING id, account_id),
r AS (INSERT INTO public.policy_rules (account_id, policy_id, position, action, target)
      SELECT account_id, id, 1, 'application', 'door' FROM p)
INSERT INTO public.extensions (account_id, extension, kind, policy_id) SELECT account_id, '{DOOR}', 'policy', id FROM p;
"""
_NO_DOOR = f"""
DELETE FROM public.extensions WHERE extension = '{DOOR}';
DELETE FROM public.policies WHERE name = 'door';
"""
_SITE = """
[site-door]
exten => s,1,Set(DP_STEPS=)
 same => n,AGI(dialplane-decide,group,hunt,${DP_ACCOUNT},${DP_CALL},${CALLERID(num)},${DP_CALLER},${DP_DEVICE})
 same => n,CELGenUserEvent(dp.site,${AGISTATUS} with ${DP_STEPS} steps)
 same => n,Gosub(dp-run,s,1(${DP_STEPS}))
"""


def test_a_decision_by_a_process_of_the_call(phones: Phones, hunt: None) -> None:
    """asterisk/agi-bin/dialplane-decide (pyst2), started by Asterisk for one call, from an application of the site."""
    strategy("in_order")
    publish(_NO_DOOR + _DOOR)
    since = stack.now()
    try:
        with stack.site(_SITE, "media1", "media2"):
            rang = ring_order(phones, answers=CAROL, calls=partial(phones.run, "call", DESK1, to=DOOR))
    finally:
        publish(_NO_DOOR)
    print("rang", [tuple(one) for one in rang])
    assert names(rang) == ["bob", "carol"]
    decisions = record(since)["decisions"]
    [said] = [one["text"] for one in decisions if one["step"] == "dp.site"]  # type: ignore[attr-defined]
    assert re.fullmatch(r"SUCCESS with [1-9]\d* steps", said), decisions
