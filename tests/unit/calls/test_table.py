"""The call table survives lost, repeated and shuffled events and forgets what is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.calls.table import CallTable, Event


def channel(name: str, unique: str, **more: str) -> Event:
    return {
        "Event": name, "Channel": f"PJSIP/edge-{unique}", "Uniqueid": unique, "Linkedid": "1.1",
        "ChannelStateDesc": "Up", "CallerIDNum": "101", "Exten": "102",
    } | more  # fmt: skip


CALL = [
    channel("Newchannel", "1.1", ChannelStateDesc="Ring"),
    channel("VarSet", "1.1", Variable="__DP_CALL", Value="abc"),
    channel("VarSet", "1.1", Variable="DP_CALL", Value="abc"),
    channel("Newchannel", "1.2"),
    channel("DialBegin", "1.1", DestUniqueid="1.2", DestChannel="PJSIP/edge-1.2", DestLinkedid="1.1"),
    channel("DialEnd", "1.1", DestUniqueid="1.2"),
    channel("BridgeEnter", "1.1", BridgeUniqueid="b"),
    channel("BridgeEnter", "1.2", BridgeUniqueid="b"),
    channel("BridgeLeave", "1.2", BridgeUniqueid="b"),
    channel("Hangup", "1.2"),
    channel("Hangup", "1.1"),
]


def test_two_legs_are_one_call() -> None:
    table = CallTable()
    for event in CALL[:8]:
        table.apply(event)
    calls = table.calls()
    assert list(calls) == ["abc"]
    assert [leg.id for leg in calls["abc"]] == ["1.1", "1.2"]
    assert {leg.bridge for leg in calls["abc"]} == {"b"}


@given(st.lists(st.sampled_from(CALL), max_size=60))
def test_what_was_hung_up_never_comes_back(events: list[Event]) -> None:
    table = CallTable()
    over: set[str] = set()
    for event in events:
        table.apply(event)
        if event["Event"] == "Hangup":
            over.add(event["Uniqueid"])
        assert not over & set(table.channels)


@given(st.lists(st.sampled_from(CALL)), st.permutations(CALL))
def test_nothing_leaks(before: list[Event], whole: list[Event]) -> None:
    table = CallTable()
    for event in [*before, *whole]:
        table.apply(event)
    assert table.channels == {}
    assert table.calls() == {}


@given(st.lists(st.sampled_from(CALL[:9])))
def test_a_resync_is_the_truth(events: list[Event]) -> None:
    table = CallTable()
    for event in events:
        table.apply(event)
    table.resync([channel("Status", "7.1", Variable="DP_CALL=new\nDP_ACCOUNT=acme", BridgeID="")])
    assert list(table.calls()) == ["new"]
    table.resync([])
    assert table.channels == {}


def test_hang_ups_are_not_remembered_for_ever() -> None:
    table = CallTable()
    for number in range(20_100):
        table.apply(channel("Hangup", f"{number}.1"))
    assert len(table._gone) == 20_000
