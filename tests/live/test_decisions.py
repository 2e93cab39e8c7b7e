"""Calls that need a decision: groups by every strategy, policies, and what happens without the process that decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

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
    for phone in (DESK1, APP1, BOB, CAROL, LOBBY):
        leg = phones.register(phone)
        assert leg.ok, leg


def strategy(name: str) -> None:
    publish(f"UPDATE public.groups SET strategy = '{name}' WHERE name = 'hunt'")


def ring_order(
    phones: Phones, answers: Phone | None = None, calls: Callable[..., Leg] | None = None
) -> list[str]:
    """Who rang, in order, in a call of the group (by Alice) that all members refuse, or one takes."""
    call = calls or partial(phones.run, "call", DESK1, to=HUNT)
    with ExitStack() as rung:
        running = {
            phone: rung.enter_context(
                phones.answering(phone, answer=200 if phone is answers else 486, ring_ms=100)
            )[0]
            for phone in MEMBERS
        }
        caller = call(talk_ms=300, **({} if answers else {"expect": 486}))
        assert caller.ok, caller
        rang = {}
        for phone, one in running.items():
            one.over()
            if invites := one.received("INVITE"):
                rang[phone.user] = invites[0].at
    return sorted(rang, key=lambda user: rang[user])


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


def test_in_order(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    assert ring_order(phones) == ["bob", "carol", "lobby"]


def test_round_robin_goes_on_where_it_was(phones: Phones, hunt: None) -> None:
    strategy("round_robin")
    first = [ring_order(phones)[0] for _ in range(4)]
    assert len(set(first[:3])) == 3, first
    assert first[3] == first[0]


def test_who_answered_longest_ago_rings_first(phones: Phones, hunt: None) -> None:
    strategy("least_recent")
    before = ring_order(phones)
    taker = next(phone for phone in MEMBERS if phone.user == before[0])
    assert ring_order(phones, answers=taker)[0] == before[0]
    assert ring_order(phones) == [*before[1:], before[0]]


def test_who_answered_fewest_rings_first(phones: Phones, hunt: None) -> None:
    strategy("fewest_calls")
    before = ring_order(phones)
    taker = next(phone for phone in MEMBERS if phone.user == before[0])
    ring_order(phones, answers=taker)
    assert ring_order(phones)[-1] == before[0]


@pytest.mark.parametrize("name", ["random", "weighted"])
def test_by_chance_everybody_rings_once_and_not_always_in_one_order(
    phones: Phones, hunt: None, name: str
) -> None:
    strategy(name)
    orders = [ring_order(phones) for _ in range(6)]
    assert all(sorted(order) == ["bob", "carol", "lobby"] for order in orders), orders
    assert len({tuple(order) for order in orders}) > 1, orders


def test_somebody_who_left_does_not_ring(phones: Phones, hunt: None) -> None:
    # Time for two of them: nobody is rung a second time, when his telephone has refused and is gone.
    publish("UPDATE public.groups SET strategy = 'in_order', ring_time_s = 10 WHERE name = 'hunt'")
    stack.sql(
        "INSERT INTO public.group_away (account_id, member_id) SELECT m.account_id, m.id FROM public.group_members m "
        "JOIN public.users u ON u.id = m.user_id JOIN public.groups g ON g.id = m.group_id "
        "WHERE g.name = 'hunt' AND u.name = 'carol'"
    )
    try:
        stack.until(lambda: ring_order(phones) == ["bob", "lobby"], "carol does not ring", 30)
    finally:
        stack.sql("DELETE FROM public.group_away")
    stack.until(lambda: ring_order(phones) == ["bob", "carol"], "carol rings again", 30)
    publish("UPDATE public.groups SET ring_time_s = 15 WHERE name = 'hunt'")


def test_a_phone_joins_by_registering_and_leaves_by_itself(phones: Phones, hunt: None) -> None:
    publish(
        "UPDATE public.groups SET strategy = 'all' WHERE name = 'hunt';"
        "UPDATE public.group_members SET joins = true WHERE user_id = (SELECT u.id FROM public.users AS u "
        "JOIN public.accounts AS a ON a.id = u.account_id WHERE a.name = 'acme' AND u.name = 'lobby')"
    )
    try:
        for expires, there in ((0, False), (300, True), (0, False)):
            went_well(phones.register(LOBBY, expires=expires))
            stack.until(lambda there=there: ("lobby" in ring_order(phones)) == there, f"rings: {there}", 40)  # type: ignore[misc]
    finally:
        publish("UPDATE public.group_members SET joins = false WHERE joins")


def test_who_calls_and_when_choose_who_rings(phones: Phones, carrier_a: Phones, hunt: None) -> None:
    """Bob rings for Alice alone, Carol in office hours, the lobby outside them."""
    publish(
        "UPDATE public.groups SET strategy = 'all' WHERE name = 'hunt';"
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
                assert sorted(ring_order(phones, calls=calls)) == who, (hours, who)
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


def test_of_two_callers_one_rings_and_clients_hear_of_both(phones: Phones, hunt: None) -> None:
    publish(
        "UPDATE public.groups SET strategy = 'all', one_call = true, notices = 'clients' WHERE name = 'hunt'"
    )
    stack.sql("DELETE FROM control.group_notices")
    try:
        with (
            phones.answering(BOB, ring_ms=6000) as [bob],
            phones.answering(CAROL, LOBBY, ending="cancelled") as [carol, lobby],
            phones.start("call", DESK1, to=HUNT, talk_ms=1000) as first,
        ):
            bob.until("INVITE")
            turned_away = phones.run("call", APP1, to=HUNT, expect=486)
            went_well(turned_away, first.wait(), bob.wait(), carol.wait(), lobby.wait())
        told = (
            "SELECT string_agg(concat_ws(' ', outcome, member), ', ' ORDER BY id) FROM control.group_notices"
        )
        stack.until(lambda: stack.sql(told).strip() == "missed, answered bob", "both are told", 5)
    finally:
        publish("UPDATE public.groups SET one_call = false, notices = 'none' WHERE name = 'hunt'")


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
    stack.until(lambda: ring_order(phones) == ["bob", "carol", "lobby"], "decisions are made again", 20)


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
    stack.until(lambda: ring_order(phones) == ["bob", "carol", "lobby"], "decisions are made again", 20)


def test_decisions_need_no_database(phones: Phones, hunt: None) -> None:
    strategy("in_order")
    with stack.frozen("postgres", "*postgres*"):
        assert ring_order(phones) == ["bob", "carol", "lobby"]
