"""Users: forwardings, do not disturb, then the devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.policy.snapshot import Live, Snapshot
from tests.unit.policy.acme import ENTRIES, EVENING, call, decided, inside, seen

ALICE = call("user", "alice")
RING = "dp-legs,s,1(app1@acme.example&desk1@acme.example,20,)"


def alice(*forward: dict[str, Any], live: Live | None = None) -> Snapshot:
    return seen(live, user__alice={**ENTRIES["user/alice"], "forward": list(forward)})


def test_the_devices_ring_and_the_steps_follow() -> None:
    program, reasons = decided(ALICE, alice())
    assert program == [RING, "dp-otherwise,s,1(voicemail:101,busy,voicemail:101)"]
    assert reasons == [
        ("ring app1@acme.example, desk1@acme.example for 20 s", "devices of alice"),
        ("then voicemail 101", "if no answer"),
        ("then busy", "if busy"),
        ("then voicemail 101", "if no device registered"),
    ]


def test_each_extension_of_a_user_has_its_own_time_and_steps() -> None:
    other = {"extension": "199", "ring_s": 5, "on_no_answer": "extension:102"}
    snapshot = seen(user__alice={**ENTRIES["user/alice"], "lines": [other]})
    assert decided(ALICE, snapshot) == decided(replace(ALICE, extension="101"), snapshot)
    assert decided(replace(ALICE, extension="199"), snapshot)[0] == [
        "dp-legs,s,1(app1@acme.example&desk1@acme.example,5,)",
        "dp-otherwise,s,1(extension:102,busy,hangup)",
    ]


def test_the_first_forwarding_of_all_calls_that_holds_wins() -> None:
    snapshot = alice(
        {"when": "always", "list": "hidden", "step": "hangup"},
        {"when": "always", "schedule": "office", "open": False, "step": "voicemail"},
        {"when": "always", "step": "extension:102"},
    )
    program, reasons = decided(ALICE, snapshot)
    assert program == ["dp-next,s,1(extension:102,20)"]
    assert [what for what, _ in reasons] == [
        "do not forward alice to hangup",
        "do not forward alice to voicemail 101",
        "forward alice to extension 102",
    ]
    assert reasons[0][1] == "caller +49301234567 is not on list hidden"
    assert reasons[2][1] == "it is for any caller, at any time"
    assert decided(ALICE, snapshot, EVENING)[0] == ["dp-next,s,1(voicemail:101,20)"]
    assert decided(replace(ALICE, caller=""), snapshot)[0] == ["dp-next,s,1(hangup,20)"]


def test_forwardings_come_before_the_steps_of_the_extension() -> None:
    program, reasons = decided(
        ALICE,
        alice(
            {"when": "unregistered", "step": "number:+491709999"},
            {"when": "busy", "list": "hidden", "step": "hangup"},
            {"when": "no_answer", "list": "vip", "step": "group:sales"},
        ),
    )
    assert program == [RING, "dp-otherwise,s,1(group:sales,busy,number:+491709999)"]
    why = "caller +49301234567 is on list vip (+4930*)"
    assert ("forward alice to group sales when nobody answers", why) in reasons
    why = "caller +49301234567 is not on list hidden"
    assert ("do not forward alice to hangup when busy", why) in reasons


def test_do_not_disturb_is_busy_after_what_is_always_forwarded() -> None:
    dnd = Live(dnd=frozenset({"alice"}))
    program, reasons = decided(ALICE, alice(live=dnd))
    assert program == ["dp-next,s,1(busy,17)"]
    assert reasons == [("then busy", "alice does not want to be disturbed")]
    assert decided(ALICE, alice({"when": "busy", "step": "voicemail"}, live=dnd))[0] == [
        "dp-next,s,1(voicemail:101,17)"
    ]
    assert decided(ALICE, alice({"when": "always", "step": "extension:102"}, live=dnd))[0] == [
        "dp-next,s,1(extension:102,20)"
    ]
    assert decided(call("user", "bob"), alice(live=dnd))[0][0].startswith("dp-legs")


def test_a_forwarding_to_oneself_does_not_loop() -> None:
    snapshot = alice({"when": "always", "step": "extension:101"}, {"when": "busy", "step": "extension:101"})
    program, reasons = decided(ALICE, snapshot)
    assert program == [RING, "dp-otherwise,s,1(voicemail:101,busy,voicemail:101)"]
    assert ("do not forward alice to extension 101", "it leads back to alice") in reasons


def test_who_is_forwarded_to_reaches_who_forwards() -> None:
    snapshot = alice({"when": "always", "step": "extension:103"})
    program, reasons = decided(inside("user", "alice"), snapshot)
    assert program[0] == RING
    assert reasons[0][1] == "it leads back to carol, who calls"
    assert decided(ALICE, snapshot)[0] == ["dp-next,s,1(extension:103,20)"]


def test_after_too_many_next_steps_the_phones_ring() -> None:
    snapshot = alice({"when": "always", "step": "extension:102"})
    program, reasons = decided(replace(ALICE, depth=8), snapshot)
    assert program[0] == RING
    assert reasons[0][1] == "the call has followed 8 next steps, more are refused"
    assert decided(replace(ALICE, depth=7), snapshot)[0] == ["dp-next,s,1(extension:102,20)"]


def test_a_user_without_a_device_is_unregistered() -> None:
    program, reasons = decided(call("user", "dave"), seen())
    assert program == ["dp-next,s,1(extension:102,20)"]
    assert reasons == [("then extension 102", "dave has no enabled device")]


def test_nobody_of_that_name_is_no_decision() -> None:
    program, reasons = decided(call("user", "zoe"), seen())
    assert program == []
    assert reasons == [("no decision", "account acme has no user zoe")]
