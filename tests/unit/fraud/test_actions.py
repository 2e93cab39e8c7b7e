"""What a verdict of a reseller brings about, and which calls that ends."""

from __future__ import annotations

from typing import Any

import pytest

from controller.fraud.actions import DONE, FAILED, PENDING, Block, Planned, World, is_meant, plan
from controller.fraud.model import CRITICAL, Verdict
from tests.unit.fraud.calls import BERLIN, DESK, GENEVA, NOON, rule

SWISS, GERMAN = ("account", "alpen"), ("account", "acme")
WORLD = World({"acme": "DE", "alpen": "CH"}, (GERMAN, SWISS), (DESK, "a@alpen.example"))


def planned(
    *actions: str, world: World = WORLD, destinations: tuple[str, ...] = ("any",)
) -> dict[str, Planned]:
    held = rule("concurrent", 7, scope="reseller", actions=actions, destinations=destinations)
    said = Verdict(held, "reseller", "north", CRITICAL, 9, 7, NOON, NOON + 60, account="acme")
    return {one.action: one for one in plan(said, world)}


@pytest.mark.parametrize(
    ("action", "blocks"),
    [
        ("outbound_off", {Block(*GERMAN, "outside"), Block(*SWISS, "outside")}),
        ("block_destination", {Block(*GERMAN, "outside"), Block(*SWISS, "outside")}),
        ("cap_calls", {Block(*GERMAN, "*", 7), Block(*SWISS, "*", 7)}),
        ("suspend", {Block(*GERMAN, "*"), Block(*SWISS, "*")}),
    ],
)
def test_each_account_of_a_reseller_is_blocked(action: str, blocks: set[Block]) -> None:
    one = planned(action)[action]
    assert (one.state, set(one.blocks)) == (DONE, blocks)


def test_a_mobile_number_is_one_of_the_accounts_own_country() -> None:
    blocks = planned("block_destination", destinations=("mobile",))["block_destination"].blocks
    begins = {
        one.subject: {block.what[:3] for block in blocks if block.subject == one.subject} for one in blocks
    }
    assert begins == {"acme": {"+49"}, "alpen": {"+41"}}


def test_all_devices_are_what_is_unregistered_and_gets_other_passwords() -> None:
    found = planned("rotate")
    assert {name: one.state for name, one in found.items()} == {"unregister": PENDING, "rotate": DONE}
    assert found["rotate"].target == found["unregister"].target == {"devices": [DESK, "a@alpen.example"]}


@pytest.mark.parametrize(
    "action", ["outbound_off", "block_destination", "cap_calls", "suspend", "block_source"]
)
def test_what_cannot_be_done_says_why(action: str) -> None:
    world = World({}) if action != "block_source" else WORLD
    one = planned(action, world=world)[action]
    assert (one.state, one.blocks) == (FAILED, ())
    assert one.why


def legs(account: str, number: str) -> list[dict[str, Any]]:
    return [
        {"leg": "in", "account": account, "device": "x", "called": number},
        {"leg": "out", "account": account, "trunk": "carrier-a", "called": number},
    ]


def test_calls_of_its_accounts_end_as_their_own_country_sees_them() -> None:
    target = planned("block_destination", "end_calls", destinations=("national",))["end_calls"].target
    meant = {
        (account, number): is_meant("c", legs(account, number), target, {"112"})
        for account in ("acme", "alpen", "other")
        for number in (BERLIN, GENEVA)
    }
    assert {one for one, is_one in meant.items() if is_one} == {("acme", BERLIN), ("alpen", GENEVA)}
    everything = planned("suspend", "end_calls")["end_calls"].target
    assert is_meant("c", legs("alpen", BERLIN), everything, set())
    assert not is_meant("c", legs("other", BERLIN), everything, set())
    assert not is_meant("c", legs("alpen", "112"), everything, {"112"})
