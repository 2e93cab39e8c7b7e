"""What is rendered for calls that need a decision: the question, and what works without an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.compiler import dialplan, dialplan_text
from controller.desired.model import (
    Account,
    CallerList,
    Extension,
    Forwarding,
    Group,
    GroupMember,
    Menu,
    MenuChoice,
    Policy,
    Step,
)
from tests.unit.samples import ACME, BUSY, HANGUP, SYSTEM, device

GROUP = Group(
    "sales", "Sales", "all", 30, 10, False, False, False, None, None, BUSY, HANGUP, Step("extension", "103")
)
MENU = Menu("main", "hello", 5, 3, None, HANGUP, BUSY, False)


def lines(account: Account, extension: str) -> list[str]:
    return dialplan.account_dialplan(account, SYSTEM)[f"account-acme/{extension}"].split("\n")


def forwarded(*forwardings: Forwarding) -> list[str]:
    return lines(replace(ACME, forwardings=forwardings), "103")


def test_an_account_without_decisions_is_as_it_was() -> None:
    assert not [
        key
        for key, value in dialplan.account_dialplan(ACME, SYSTEM).items()
        if "dp-decide" in value or ":owner:" in key
    ]


def test_a_user_with_forwardings_is_decided_first() -> None:
    assert forwarded(Forwarding("lobby", "busy", Step("extension", "101"), "vip")) == [
        "Gosub(dp-decide,s,1(user,lobby,103))",
        "Gosub(dp-user,s,1(lobby,internal,25,lobby@acme.example,hangup,busy,hangup))",
    ]


def test_plain_forwardings_hold_without_a_decision_the_first_of_each_kind() -> None:
    found = forwarded(
        Forwarding("lobby", "busy", Step("busy"), "vip"),
        Forwarding("lobby", "busy", Step("extension", "101")),
        Forwarding("lobby", "busy", Step("voicemail")),
        Forwarding("lobby", "no_answer", Step("voicemail")),
        Forwarding("lobby", "unregistered", Step("number", "+4930123456"), schedule="night"),
    )
    assert (
        found[1]
        == "Gosub(dp-user,s,1(lobby,internal,25,lobby@acme.example,voicemail:103,extension:101,hangup))"
    )


def test_a_user_always_forwarded_goes_there_without_a_decision() -> None:
    assert forwarded(Forwarding("lobby", "always", Step("group", "sales"))) == [
        "Gosub(dp-decide,s,1(user,lobby,103))",
        "Gosub(dp-next,s,1(group:sales,20))",
    ]


@pytest.mark.parametrize("kind", ["group", "policy", "menu"])
def test_an_extension_leads_to_what_is_decided(kind: str) -> None:
    account = replace(
        ACME, extensions=(Extension("600", kind, None, "front-desk", 20, BUSY, HANGUP, HANGUP),)
    )
    assert lines(account, "600") == [f"Goto(account-acme,:{kind}:front:desk,1)"]


def test_a_policy_goes_on_with_its_last_step() -> None:
    assert lines(replace(ACME, policies=(Policy("main", Step("menu", "day")),)), ":policy:main") == [
        "Gosub(dp-decide,s,1(policy,main))",
        "Gosub(dp-next,s,1(menu:day,20))",
    ]


def group(*members: GroupMember, **changes: object) -> list[str]:
    one = replace(GROUP, members=members, **changes)  # type: ignore[arg-type]
    return lines(replace(ACME, groups=(one,)), ":group:sales")[1:]


def test_a_group_rings_who_rings_for_everybody_at_any_time() -> None:
    members = (
        GroupMember(user="alice", delay_s=5),
        GroupMember(device="lobby@acme.example", caller_list="vip"),
        GroupMember(number="+491701234567"),
        GroupMember(device="desk1@acme.example"),
        GroupMember(device="gone@acme.example"),
    )
    assert group(*members, skip_busy=True, confirm=True, caller_name_prefix="a, b") == [
        "Gosub(dp-caller,s,1(,a\\, b))",
        "Gosub(dp-legs,s,1(desk1@acme.example&app1@acme.example~5&+491701234567,30,sdc))",
        "Gosub(dp-otherwise,s,1(hangup,busy,extension:103))",
    ]
    # one after the other becomes all at once
    assert "~" not in group(*members, strategy="in_order")[0]


def test_a_group_in_which_nobody_rings_for_everybody_rings_all() -> None:
    assert "lobby@acme.example" in group(GroupMember(device="lobby@acme.example", schedule="night"))[0]


def test_a_group_without_anybody_goes_on() -> None:
    assert group(GroupMember(user="nobody")) == ["Gosub(dp-next,s,1(extension:103,20))"]


def test_many_members_take_several_lines() -> None:
    account = replace(
        ACME,
        devices=tuple(device(f"a-device-with-a-long-name-{number:03}", "alice") for number in range(100)),
        groups=(replace(GROUP, members=(GroupMember(user="alice"),)),),
    )
    found = lines(account, ":group:sales")
    assert sum(line.startswith("Gosub(dp-more,") for line in found) > 3
    assert all(len(line.encode()) <= dialplan_text.MAX_LINE_BYTES for line in found)
    assert sum(line.count("@") for line in found) == 100


def menu(**changes: object) -> dict[str, str]:
    one = replace(MENU, **changes)  # type: ignore[arg-type]
    entries = dialplan.account_dialplan(replace(ACME, menus=(one,)), SYSTEM)
    return {
        key.partition("/")[2]: value for key, value in entries.items() if ":menu:" in key or ":key:" in key
    }


def test_a_menu_with_its_keys() -> None:
    choices = (
        MenuChoice("1", Step("extension", "101")),
        MenuChoice("12", Step("group", "sales")),
        MenuChoice("*", BUSY),
    )
    assert menu(choices=choices, invalid_sound="beep") == {
        ":menu:main": "Gosub(dp-menu,s,1(main,hello,5,3,beep,2,,hangup,busy))",
        ":key:main:1": "Return(extension:101,more)",
        ":key:main:12": "Return(group:sales)",
        ":key:main:*": "Return(busy)",
    }


def test_where_extensions_may_be_dialled_their_first_key_waits_for_more() -> None:
    found = menu(
        direct_dial=True, choices=(MenuChoice("1", BUSY), MenuChoice("9", BUSY), MenuChoice("*", BUSY))
    )
    assert found[":menu:main"] == "Gosub(dp-menu,s,1(main,hello,5,3,pbx-invalid,3,1,hangup,busy))"
    # *98 listens to voicemail: that is no extension for callers
    assert [found[f":key:main:{key}"] for key in "19*"] == [
        "Return(busy,more)",
        "Return(busy)",
        "Return(busy)",
    ]


def test_keys_of_menus_with_similar_names_stay_apart() -> None:
    menus = (replace(MENU, name="a", choices=(MenuChoice("1", BUSY),)), replace(MENU, name="a-1"))
    keys = {key.partition("/")[2] for key in dialplan.account_dialplan(replace(ACME, menus=menus), SYSTEM)}
    assert {":menu:a", ":menu:a:1", ":key:a:1"} <= keys


def test_who_owns_a_device_that_a_group_rings() -> None:
    account = replace(ACME, lists=(CallerList("vip", ()),), policies=(Policy("main", HANGUP),))
    assert lines(account, ":owner:desk1@acme.example") == ["Return(international,alice)"]


def test_whose_number_a_member_shows_the_first_group_by_name_that_tells_its_members() -> None:
    members = (GroupMember(user="alice", outgoing=True),)
    told = replace(GROUP, identity="+4930555010", notices="clients", members=members)
    groups = (
        replace(told, name="b"), replace(told, name="a", notices="none"), replace(told, name="c"),
        replace(told, name="d", identity="+4930555020", members=(GroupMember(user="alice"),)),
    )  # fmt: skip
    found = dialplan.account_dialplan(replace(ACME, groups=groups), SYSTEM)
    assert {key: value for key, value in found.items() if ":identity:" in key} == {
        "account-acme/:identity:+4930555010": "Return(b)"
    }


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({}, None), ({"strategy": "fewest_calls"}, "Return(1,)"), ({"one_call": True}, "Return(1,)"),
        ({"notices": "clients"}, "Return(1,)"), ({"identity": "+4930555010"}, "Return(,+4930555010)"),
    ],
)  # fmt: skip
def test_what_the_dialplan_knows_of_a_group(changes: dict[str, object], about: str | None) -> None:
    account = replace(ACME, groups=(replace(GROUP, **changes),))  # type: ignore[arg-type]
    found = dialplan.account_dialplan(account, SYSTEM)
    assert found.get("account-acme/:about:sales") == about
