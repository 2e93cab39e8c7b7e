"""Who gets a message."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from controller.messages.decide import route
from controller.messages.model import Delivery, Message, Routed
from controller.policy.snapshot import Live, Snapshot, live, snapshot
from controller.tiers.pick import Condition, Node
from tests.unit.policy.acme import ENTRIES, NOW

ALICE, APP, BOB, CAROL = (f"{one}@acme.example" for one in ("desk1", "app1", "bob", "carol"))
IDENTITY = "+4930555020"
OTHERS = ("c2", "inbound-other")
ALL = {"members": [{"user": "alice"}, {"user": "bob"}, {"user": "carol"}]}
EDGE = {
    "account/acme": "cluster=c1;status=active",
    "account/asleep": "cluster=c1;status=suspended",
    "account/other": "cluster=c2;status=active",
    "lead/acme/101": f"user=alice;device={APP}+{ALICE}",
    "lead/acme/104": "user=dave",
    "lead/acme/600": "group=sales",
    "lead/other/201": "user=zoe;device=zoe@other.example",
    "number/+33123456789": "other",
    "number/+33123456780": "other",
    "number/+33999": "asleep",
    f"credential/{BOB}": "account=acme;user=bob",
    "credential/zoe@other.example": "account=other;user=zoe",
}


class Entries:
    """What nodes hold, with one group `sales`."""

    def __init__(
        self,
        group: dict[str, Any] | None = None,
        now: Live | None = None,
        lines: dict[str, str] | None = None,
        edge: Mapping[str, str] | None = None,
    ) -> None:
        self._edge = {**EDGE, **(edge or {})}
        self._group, self._live, self._lines = group, now, lines or {}

    @property
    def now(self) -> datetime:
        return NOW

    def edge(self, table: str, key: str) -> str | None:
        return self._edge.get(f"{table}/{key}")

    def snapshot(self, cluster: str, account: str) -> Snapshot:
        held = ENTRIES | ({"group/sales": self._group} if self._group is not None else {})
        entries = {f"acme/{key}": json.dumps(value) for key, value in held.items()}
        return snapshot(account, entries, self._live or Live())

    def media(self, cluster: str) -> Sequence[tuple[Node, Condition]]:
        return ()

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        if context.startswith("inbound-"):
            return {"+33123456789": "Goto(account-other,201,1)"} if (cluster, context) == OTHERS else {}
        assert (cluster, context) == ("c1", "account-acme")
        return self._lines

    def mailbox(self, cluster: str, key: str) -> str | None:
        return None


def routed(called: str, entries: Entries | None = None, **message: Any) -> Routed:
    values = {"sender": CAROL, "sender_user": "carol"} | message
    one = Message(uuid.UUID(int=7), values.pop("account", "acme"), called=called, **values)
    return route(one, entries or Entries())


def addresses(found: Routed) -> list[tuple[str, int]]:
    return [(one.address, one.place) for one in found.deliveries]


def test_all_devices_of_a_user() -> None:
    assert routed("101") == Routed("user:alice", (Delivery("device", APP), Delivery("device", ALICE)))


def test_the_device_that_an_edge_meant() -> None:
    assert routed("101", target=ALICE) == Routed(f"device:{ALICE}", (Delivery("device", ALICE),))


def test_a_device_by_its_address_of_the_own_account_only() -> None:
    assert addresses(routed(BOB)) == [(BOB, 0)]
    assert routed("zoe@other.example").deliveries == ()


def test_the_number_of_another_account() -> None:
    assert addresses(routed("+33123456789")) == [("zoe@other.example", 0)]


@pytest.mark.parametrize(
    ("called", "changes", "why"),
    [
        ("104", {}, "user dave has no enabled device"),
        ("999", {}, "999 leads to nobody who takes messages"),
        ("+33123456780", {}, "+33123456780 leads to nobody who takes messages"),
        ("+33999", {}, "account asleep is not active"),
        ("101", {"account": "asleep"}, "account asleep is not active"),
        ("101", {"account": "gone"}, "account gone is not active"),
        ("600", {}, "there is no group sales"),
    ],
)
def test_why_nobody_gets_it(called: str, changes: dict[str, Any], why: str) -> None:
    found = routed(called, **changes)
    assert (found.deliveries, found.reason) == ((), why)


def test_a_block_of_the_account_that_has_the_number() -> None:
    blocked = Entries(edge={"block/account:other:+33": "fraud"})
    assert routed("+33123456789", blocked).reason == "block account:other:+33: fraud"


# --- groups ---------------------------------------------------------------------------------------------------------


def test_all_members_but_who_sends_it() -> None:
    found = routed("600", Entries(ALL))
    assert (found.lead, found.taking) == ("group:sales", "all")
    assert found.deliveries == (
        Delivery("device", APP, "alice"), Delivery("device", ALICE, "alice"), Delivery("device", BOB, "bob"),
    )  # fmt: skip


def test_one_after_the_other_in_the_order_of_a_call() -> None:
    found = routed("600", Entries(ALL | {"strategy": "in_order"}), sender="+4930", sender_user="")
    assert found.taking == "one"
    assert addresses(found) == [(APP, 0), (ALICE, 0), (BOB, 1), (CAROL, 2)]


def test_who_would_have_no_time_to_ring_gets_it_all_the_same() -> None:
    found = routed(
        "600", Entries(ALL | {"strategy": "in_order", "ring_s": 15}), sender="+4930", sender_user=""
    )
    assert addresses(found) == [(APP, 0), (ALICE, 0), (BOB, 1), (CAROL, 2)]


def test_delays_are_for_telephones() -> None:
    late = {"members": [{"user": "alice", "delay_s": 300}, {"user": "bob"}]}
    assert addresses(routed("600", Entries(late))) == [(APP, 0), (ALICE, 0), (BOB, 0)]


def test_all_whatever_the_strategy() -> None:
    found = routed("600", Entries(ALL | {"strategy": "in_order", "messages": "all"}))
    assert (found.taking, addresses(found)) == ("all", [(APP, 0), (ALICE, 0), (BOB, 0)])


@pytest.mark.parametrize(
    ("registered", "get"),
    [
        ({APP: 0, ALICE: 1, BOB: 0}, [APP, ALICE]),
        ({APP: 0, ALICE: 0, BOB: 2}, [BOB]),
        ({APP: 0, ALICE: 0, BOB: 0}, [APP, ALICE, BOB]),
        (None, [APP, ALICE, BOB]),
    ],
)
def test_who_is_there(registered: dict[str, int] | None, get: list[str]) -> None:
    entries = Entries(ALL | {"messages": "present"}, live("acme", {}, registered))
    assert [address for address, _ in addresses(routed("600", entries))] == get


def test_members_are_kept_out_as_from_calls() -> None:
    entries = Entries(ALL, live("acme", {"dnd/acme/alice": "1", "away/acme/sales/bob": "1"}))
    assert routed("600", entries).reason == "nobody in group sales is left to get it"
    vip = {"members": [{"user": "alice", "list": "vip"}, {"user": "bob"}]}
    assert addresses(routed("600", Entries(vip), sender="+4940", sender_user="")) == [(BOB, 0)]
    assert len(addresses(routed("600", Entries(vip), sender="+493012", sender_user=""))) == 3


def test_a_group_that_takes_none() -> None:
    assert routed("600", Entries(ALL | {"messages": "none"})).reason == "group sales takes no messages"


def test_a_member_outside() -> None:
    members: dict[str, Any] = {"members": [{"number": "+49301234567"}, {"device": BOB}]}
    found = routed("600", Entries(members | {"identity": IDENTITY}))
    assert [(one.kind, one.address, one.shown) for one in found.deliveries] == [
        ("number", "+49301234567", IDENTITY),
        ("device", BOB, ""),
    ]
    assert addresses(routed("600", Entries(members))) == [(BOB, 0)]


# --- in a group's name ----------------------------------------------------------------------------------------------

SALES = {
    "identity": IDENTITY,
    "members": [
        {"user": "alice"},
        {"user": "bob"},
        {"user": "carol", "outgoing": True},
        {"number": "+4917012345"},
    ],
}
SHOWS = {":user:carol": f"Return(national,{IDENTITY},103,,Carol)", ":account": "Return(DE,de,+4930555010)"}


def test_what_leaves_the_account_carries_the_number_that_calls_show() -> None:
    found = routed("+33123456789", Entries(lines={":account": "Return(DE,de,+4930555010)"}))
    assert (found.shown, len(found.deliveries)) == ("+4930555010", 1)
    own = {":device:carol@acme.example": "Return(+4930555033)", **SHOWS}
    assert routed("+33123456789", Entries(lines=own)).shown == "+4930555033"
    assert routed("101", Entries(lines=SHOWS)).shown == ""


def test_a_member_writes_in_the_groups_name_and_the_others_get_a_copy() -> None:
    found = routed("+33123456789", Entries(SALES, lines=SHOWS))
    assert found.shown == IDENTITY
    assert found.deliveries == (
        Delivery("device", "zoe@other.example", shown=IDENTITY),
        Delivery("device", APP, "alice", purpose="copy"),
        Delivery("device", ALICE, "alice", purpose="copy"),
        Delivery("device", BOB, "bob", purpose="copy"),
    )


def test_who_is_away_or_not_to_be_disturbed_gets_no_copy() -> None:
    now = live("acme", {"dnd/acme/alice": "1", "away/acme/sales/bob": "1"})
    assert addresses(routed("+33123456789", Entries(SALES, now, SHOWS))) == [("zoe@other.example", 0)]


def test_a_number_of_the_members_own_is_not_the_groups() -> None:
    own = {":device:carol@acme.example": "Return(+4930555033)", **SHOWS}
    assert addresses(routed("+33123456789", Entries(SALES, lines=own))) == [("zoe@other.example", 0)]
    plain = SALES | {"members": [{"user": "carol"}, {"user": "bob"}]}
    assert addresses(routed("+33123456789", Entries(plain, lines=SHOWS))) == [("zoe@other.example", 0)]


# --- outside --------------------------------------------------------------------------------------------------------

OUT = {"account/acme": "cluster=c1;status=active;country=DE;text=1"}


@pytest.mark.parametrize("called", ["+43123456789", "0043123456789"])
def test_a_number_outside(called: str) -> None:
    found = routed(called, Entries(lines=SHOWS, edge=OUT))
    assert found == Routed(
        "number:+43123456789", (Delivery("number", "+43123456789", shown=IDENTITY),), shown=IDENTITY
    )


def test_the_number_of_another_account_as_it_is_dialled() -> None:
    assert addresses(routed("0033123456789", Entries(edge=OUT))) == [("zoe@other.example", 0)]


@pytest.mark.parametrize(
    ("called", "edge", "why"),
    [
        ("+43123456789", {}, "its sender has no number that could be shown"),
        ("+43123456789", {"block/account:acme:+43": "fraud"}, "block account:acme:+43: fraud"),
        ("+43123456789", {f"block/device:{CAROL}:*": "fraud"}, f"block device:{CAROL}:*: fraud"),
        ("+43123456789", {"account/acme": "cluster=c1;status=active;country=DE"}, "leads to nobody"),
        ("112", {}, "112 leads to nobody"),
    ],
)
def test_why_it_does_not_leave(called: str, edge: dict[str, str], why: str) -> None:
    found = routed(called, Entries(edge=OUT | edge))
    assert why in found.reason
    assert found.deliveries == ()
