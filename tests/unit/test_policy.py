from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from controller.entries import Entry
from controller.policy import Call, edge, explain, media, nodes
from controller.policy.follow import Follower
from controller.policy.snapshot import Snapshot, live, snapshot
from controller.tiers.pick import Condition, Node


class Held:
    """Entries in a dictionary, as the nodes hold them."""

    def __init__(self, values: dict[tuple[str, str, str], str]) -> None:
        self.values = values

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Held:
        return cls({(one.address.kind, one.address.table, one.address.key): one.value for one in entries})

    def edge(self, table: str, key: str) -> str | None:
        return self.values.get(("edge", table, key))

    def media(self, cluster: str) -> tuple[tuple[Node, Condition], ...]:
        taking = nodes.of_target(self.edge("target", cluster))
        full = Condition(False, False, "full: 20 of 20 calls", 1)
        return (*taking, (Node("media2", call_cap=20), full)) if cluster == "c1" else taking

    def mailbox(self, cluster: str, key: str) -> str | None:
        return self.values.get(("media", "mailbox", key))

    def dialplan(self, cluster: str, context: str) -> dict[str, str]:
        return {
            key.partition("/")[2]: value
            for (kind, table, key), value in self.values.items()
            if kind == "media" and table == "dialplan" and key.partition("/")[0] == context
        }

    @property
    def now(self) -> datetime:
        return datetime(2026, 5, 4, 10, tzinfo=UTC)

    def snapshot(self, cluster: str, account: str) -> Snapshot:
        decisions = {key: value for (_, table, key), value in self.values.items() if table == "policy"}
        flags = {key: value for (_, table, key), value in self.values.items() if table == "flag"}
        return snapshot(account, decisions, live(account, flags))


def held(**changes: str | None) -> Held:
    edge_values: dict[tuple[str, str], str] = {
        ("account", "acme"): "cluster=c1;status=active;country=DE",
        ("credential", "desk1@acme.example"): "account=acme;user=alice;md5=x;sha256=y",
        ("credential", "lobby@acme.example"): "account=acme;user=lobby;md5=x;sha256=y",
        ("credential", "spy@globex.example"): "account=globex;md5=x;sha256=y",
        ("lead", "acme/103"): "user=lobby;device=lobby@acme.example;straight=1",
        ("number", "+4930555010"): "acme",
        ("trunk", "carrier-a"): "host=198.51.100.7",
        ("emergency", "DE:112"): "1",
        ("target", "c1"): "media1=10.213.0.21:5060,10",
    }
    dialplan = {
        "account-acme/:account": "Return(DE,en,+4930555000)",
        "account-acme/:user:alice": "Return(national,+4930555010,101,101,Alice)",
        "account-acme/101": "Gosub(dp-user,s,1(alice,national,20,desk1@acme.example,voicemail:101,busy,extension:*43))",
        "account-acme/*43": "Gosub(dp-echo,s,1())",
        "inbound-acme/+4930555010": "Goto(account-acme,101,1)",
        "country-DE/_00[1-9]X!": "Gosub(dp-e164,s,1(+${EXTEN:2}))",
        "country-DE/_0[1-9]X!": "Gosub(dp-e164,s,1(+49${EXTEN:1}))",
        "country-DE/_+[1-9]X!": "Gosub(dp-e164,s,1(${EXTEN}))",
        "class-DE/_+49X!": "Return(national)",
        "emergency-DE/112": "Gosub(dp-emergency,s,1(112,carrier-a*1|carrier-b*1))",
        "routes/_49!": "Return(carrier-a*3&carrier-b*1|carrier-c*1)",
    }
    values = {("edge", *key): value for key, value in edge_values.items()}
    values |= {("media", "dialplan", key): value for key, value in dialplan.items()}
    for name, value in changes.items():
        table, _, key = name.partition("__")
        if value is None:
            del values["edge", table, key]
        else:
            values["edge", table, key] = value
    return Held(values)


def told(
    called: str, entries: Held, *, device: str = "desk1@acme.example", trunk: str | None = None
) -> list[str]:
    return [step.what for step in explain.explain(explain.call_from(device, called, trunk=trunk), entries)]


def test_an_extension_rings_and_each_next_step_is_told_with_its_condition() -> None:
    steps = explain.explain(explain.call_from("desk1@acme.example", "101"), held())
    assert [(step.where, step.what, step.why) for step in steps[2:]] == [
        ("media", "ring desk1@acme.example for 20 s", "extension 101 of acme is user alice"),
        ("media", "then voicemail 101", "if no answer"),
        ("media", "then busy", "if busy"),
        ("media", "then extension *43", "if no device registered"),
        ("media", "echo test", "extension *43"),
    ]


def test_a_straight_call_needs_no_media_node() -> None:
    assert told("103", held())[-1] == "straight to lobby@acme.example"
    assert told("lobby", held())[-1] == "straight to lobby@acme.example"
    assert edge.decide(Call("spy", device="desk1@acme.example"), held()).action == "media"


def test_an_emergency_number_passes_suspension_and_blocks() -> None:
    entries = held(account__acme="cluster=c1;status=suspended;country=DE")
    entries.values["edge", "block", "account:acme:*"] = "fraud"
    assert told("112", entries)[-1] == "emergency call by carrier-a, then carrier-b"
    assert told("101", entries)[-1] == "refuse 403 Account Suspended"


def test_the_longest_block_gives_the_reason() -> None:
    entries = held()
    entries.values["edge", "block", "account:acme:+882"] = "satellite"
    entries.values["edge", "block", "account:acme:*"] = "fraud"
    steps = explain.explain(explain.call_from("desk1@acme.example", "+88213"), entries)
    assert steps[-1].why == "block account:acme:+882: satellite"


@pytest.mark.parametrize(
    ("block", "dialled", "held_by"),
    [
        ("account:acme:outside", "030123456", "account:acme:outside"),
        ("device:desk1@acme.example:premium", "+49900123456", "device:desk1@acme.example:premium"),
        ("user:acme/alice:TN", "+21620123456", "user:acme/alice:TN"),
        ("user:acme/alice:high_risk", "+21620123456", "user:acme/alice:high_risk"),
        ("account:acme:international", "+4420712345", "account:acme:international"),
        ("account:acme:international", "030123456", None),
        ("account:acme:outside", "101", None),
        ("account:acme:unallocated", "+999123", "account:acme:unallocated"),
    ],
)
def test_what_a_block_says_beyond_prefixes(block: str, dialled: str, held_by: str | None) -> None:
    entries = held()
    entries.values["edge", "block", block] = "fraud;incident=7;until=4102444800"
    said = explain.explain(explain.call_from("desk1@acme.example", dialled), entries)[-1]
    if held_by is None:
        assert "block" not in said.why
    else:
        assert said.why.endswith(f"block {held_by}: fraud (incident 7)")
    for allow in (f"user:acme/alice:{dialled[:4]}", "account:acme:*"):
        # What somebody allows passes a rule's block; numbers are compared as they are written there.
        if dialled.startswith("+") or allow.endswith("*"):
            entries.values["edge", "allow", allow] = "allowed=1"
            said = explain.explain(explain.call_from("desk1@acme.example", dialled), entries)[-1]
            assert "block" not in said.why
            del entries.values["edge", "allow", allow]
    entries.values["edge", "block", block] = "fraud;incident=7;until=1"
    said = explain.explain(explain.call_from("desk1@acme.example", dialled), entries)[-1]
    assert "block" not in said.why


def test_a_national_number_is_normalised_classed_and_routed() -> None:
    assert told("030123456", held())[2:] == [
        "number +4930123456",
        "dial +4930123456 by carrier-a (75 %) or carrier-b (25 %), then carrier-c",
    ]


def test_a_permission_that_does_not_reach_is_refused_and_an_unrouted_number_too() -> None:
    assert told("0044201234567", held())[-1] == "announcement, 403"
    assert told("xyz", held())[-1] == "announcement, 404"


def test_a_call_by_a_trunk_reaches_numbers_only() -> None:
    assert told("+4930555010", held(), trunk="carrier-a")[1:4] == [
        "to cluster c1",
        "to extension 101",
        "ring desk1@acme.example for 20 s",
    ]
    assert told("+4930555999", held(), trunk="carrier-a") == ["refuse 404 Not Found"]


def test_no_enabled_node_is_said() -> None:
    entries = held()
    del entries.values["edge", "target", "c1"]
    assert told("101", entries)[-1] == "refuse 503 Service Unavailable"


def test_a_loop_of_next_steps_ends() -> None:
    entries = held()
    loop = "Gosub(dp-user,s,1(alice,national,20,a@b,extension:101,extension:101,extension:101))"
    entries.values["media", "dialplan", "account-acme/101"] = loop
    walk = Follower(media.Leg("c1", "acme", "101", "alice", "desk1@acme.example", ""), entries)
    walk.start()
    assert len(walk.steps) < 20


PLACED = "cluster=c1;ext=4;status=active;country=DE;queue=c3/c2;pstn=c2"


@pytest.mark.parametrize(
    ("dialled", "place"),
    [
        ("101", ("voice", "c1", "c2")), ("600", ("queue", "c3", "c2")), ("0301234567", ("pstn", "c2", "")),
        ("+49301234567", ("pstn", "c2", "")), ("*8101", ("voice", "c1", "c2")), ("alice", ("voice", "c1", "c2")),
    ],
)  # fmt: skip
def test_where_a_call_is_served(dialled: str, place: tuple[str, str, str]) -> None:
    entries = held(**{"account__acme": PLACED, "overflow__c1": "c2", "service__acme/600": "queue"})
    assert edge.assigned(entries, "acme", dialled, by_device=True) == place
    number = ("voice", "c1", "c2") if place[0] == "pstn" else place
    assert edge.assigned(entries, "acme", dialled, by_device=False) == number


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"target__c1": "media1=10.213.0.21:5060,10"}, ["to cluster c1"]),
        ({"target__c1": None, "target__c2": "media3=10.213.0.23:5060,10"}, ["not to cluster c1", "to cluster c2"]),
        ({"target__c1": None}, ["not to cluster c1", "not to cluster c2", "refuse 503 Service Unavailable"]),
    ],
)  # fmt: skip
def test_who_gets_no_calls_is_said_with_the_reason(targets: dict[str, str | None], said: list[str]) -> None:
    entries = held(account__acme=PLACED, overflow__c1="c2", **targets)
    found = edge.decide(Call("102", device="desk1@acme.example"), entries).steps[-len(said) :]
    assert [step.what for step in found] == said
    assert "media2 gets no calls: full: 20 of 20 calls" in found[0].why


def test_candidates_are_named_in_the_order_of_the_tier_with_their_share() -> None:
    targets = "media1=10.213.0.21:5060,10 media3=10.213.0.23:5060,30"
    entries = held(target__c1=targets, target__c2="media4=10.213.0.24:5060,10", overflow__c1="c2")
    step = edge.decide(Call("102", device="desk1@acme.example"), entries).steps[-1]
    assert step.what == "to cluster c1"
    assert "media1 (10 of 40), media3 (30 of 40); media2 gets no calls: full" in step.why
    assert step.why.endswith("then cluster c2 takes over: media4 (10 of 10)")


SHED = f"until={int(datetime(2026, 5, 4, 10, 1, tzinfo=UTC).timestamp())};level=12.5"
PAST = f"until={int(datetime(2026, 5, 4, 9, 59, tzinfo=UTC).timestamp())};level=12.5"


@pytest.mark.parametrize(
    ("dialled", "shed", "said"),
    [
        ("102", {"shed__c1/acme": SHED}, "refuse 503 Overloaded"),
        ("102", {"shed__c1/acme": PAST}, "to cluster c1"),
        ("102", {"shed__c1": SHED}, "to cluster c1"),
        ("112", {"shed__c1/acme": SHED}, "to cluster c1"),
        ("103", {"shed__c1/acme": SHED}, "straight to lobby@acme.example"),
        ("102", {"shed__c1/acme": SHED, "overflow__c1": "c2"}, "to cluster c1"),
        ("102", {"shed__c1/acme": SHED, "overflow__c1": "c2", "shed__c2": SHED}, "refuse 503 Overloaded"),
    ],
)  # fmt: skip
def test_a_refusal_for_overload_is_explained(dialled: str, shed: dict[str, str], said: str) -> None:
    verdict = edge.decide(Call(dialled, device="desk1@acme.example"), held(**shed))
    assert verdict.steps[-1].what == said
    if "refuse" in said:
        assert "more calls there than its fair share of 12.5" in verdict.steps[-1].why
        assert verdict.target == "503 Overloaded"
