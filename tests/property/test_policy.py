"""Decisions on any account: they end, they are the same twice, nobody rings twice, and every reason is a sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.policy import groups, media
from controller.policy.conditions import Situation
from controller.policy.decide import Call, decide
from controller.policy.model import FORWARDINGS, PRESENCES, STRATEGIES, WEEKDAYS, Group
from controller.policy.program import ENDS, MAX_LINE_BYTES, lines
from controller.policy.schedule import state
from controller.policy.snapshot import Live, Override, Snapshot, Turn, snapshot

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
USERS = ["alice", "bob", "carol", "dave"]
DEVICES = [f"{user}{number}@acme.example" for user in USERS for number in (1, 2)]
NUMBERS = ["+491709999", "+33123456789"]
NAMES = ["one", "two"]  # of lists, schedules, policies, groups
STEPS = st.sampled_from(
    ["busy", "hangup", "voicemail", "voicemail:600", "extension:101", "group:one", "policy:two"]
)
PATTERNS = st.sampled_from(["+49*", "+491709999", "101", "anonymous"])
CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
# Hypothesis takes words that stand in the code, and this one is what a reason must not say.
TEXT = st.text(max_size=12).filter(lambda text: "None" not in text)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def owned(user: str) -> list[str]:
    return [device for device in DEVICES if device.startswith(user)]


WHO_AND_WHEN = {"list": st.sampled_from(NAMES), "schedule": st.sampled_from(NAMES), "open": st.booleans()}
MEMBERS = st.lists(
    st.builds(
        lambda who, rest: {**who, **rest},
        st.sampled_from(
            [{"user": user} for user in USERS]
            + [{"device": device} for device in DEVICES]
            + [{"number": number} for number in NUMBERS]
        ),
        some(weight=st.integers(0, 99), delay_s=st.integers(0, 40), enabled=st.booleans(), **WHO_AND_WHEN),
    ),
    max_size=8,
    unique_by=lambda member: next(iter(member.values())),
)  # fmt: skip
GROUPS = some(
    strategy=st.sampled_from(STRATEGIES),
    ring_s=st.integers(1, 200),
    step_s=st.integers(1, 60),
    skip_busy=st.booleans(),
    one_call=st.booleans(),
    confirm=st.booleans(),
    prefix=TEXT,
    on_busy=STEPS,
    on_no_answer=STEPS,
    on_nobody=STEPS,
    members=MEMBERS,
)
CONDITIONS = some(
    caller=PATTERNS,
    group=st.sampled_from(NAMES),
    called=PATTERNS,
    trunk=st.sampled_from(["carrier-a", "carrier-b"]),
    inside=st.booleans(),
    language=st.sampled_from(["de", "en"]),
    header=st.just(["X-Tier", "gold"]),
    flag=st.sampled_from(NAMES),
    **WHO_AND_WHEN,
) | st.builds(
    lambda user, rest: {"user": user, **rest},
    st.sampled_from(USERS),
    some(presence=st.sampled_from(PRESENCES), min_devices=st.integers(0, 2), max_devices=st.integers(0, 2)),
)
EFFECTS = st.builds(
    lambda act, rest: {"action": act[0], "target": act[1], **rest},
    st.sampled_from(
        [("ring", "alice"), ("ring", "bob1@acme.example"), ("ring", "zoe"), ("extension", "101"), ("group", "one"),
         ("menu", "one"), ("voicemail", "600"), ("announcement", "closed"), ("forward", "+491709999"),
         ("reject", "busy"), ("application", "survey"), ("next", "")]
    ),
    some(language=st.sampled_from(["de", "en"]), caller_name=TEXT, early=st.just("hello"), late=st.just("hello")),
)  # fmt: skip
RULES = st.lists(
    st.fixed_dictionaries(
        {"position": st.integers(1, 99), "if": CONDITIONS, "do": EFFECTS}, optional={"comment": TEXT}
    ),
    max_size=6,
)
TIMES = st.fixed_dictionaries(
    {
        "days": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True),
        "from": CLOCK,
        "to": CLOCK,
    },
    optional={"from_date": st.just("2026-11-10"), "to_date": st.just("2026-11-21")},
)
DAYS = st.fixed_dictionaries(
    {"day": st.dates(NOW.date() - timedelta(2), NOW.date() + timedelta(2)).map(str), "open": st.booleans()},
    optional={"yearly": st.booleans(), "name": TEXT},
).flatmap(lambda day: st.just(day) | st.builds(lambda a, b: {**day, "from": a, "to": b}, CLOCK, CLOCK))
SCHEDULES = st.fixed_dictionaries(
    {"zone": st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"])},
    optional={"times": st.lists(TIMES, max_size=3), "days": st.lists(DAYS, max_size=3)},
)
ACCOUNTS = st.builds(
    lambda users, lists, schedules, policies, held: {
        **{f"acme/user/{user}": {"devices": owned(user), **values} for user, values in users.items()},
        **{f"acme/list/{name}": values for name, values in lists.items()},
        **{f"acme/schedule/{name}": values for name, values in schedules.items()},
        **{f"acme/policy/{name}": values for name, values in policies.items()},
        **{f"acme/group/{name}": values for name, values in held.items()},
    },
    st.dictionaries(
        st.sampled_from(USERS),
        some(
            extension=st.sampled_from(["101", "102"]),
            mailbox=st.just("600"),
            on_busy=STEPS,
            on_no_answer=STEPS,
            on_unregistered=STEPS,
            forward=st.lists(
                st.builds(
                    lambda when, step, rest: {"when": when, "step": step, **rest},
                    st.sampled_from(FORWARDINGS), STEPS, some(**WHO_AND_WHEN),
                ),
                max_size=3,
            ),
        ),
    ),
    st.dictionaries(st.sampled_from(NAMES), some(patterns=st.lists(PATTERNS, max_size=3))),
    st.dictionaries(st.sampled_from(NAMES), SCHEDULES),
    st.dictionaries(st.sampled_from(NAMES), some(otherwise=STEPS, rules=RULES), min_size=1),
    st.dictionaries(st.sampled_from(NAMES), GROUPS, min_size=1),
)  # fmt: skip
LIVES = st.builds(
    Live,
    st.none() | st.dictionaries(st.sampled_from(DEVICES), st.integers(0, 2)),
    st.frozensets(st.sampled_from(USERS), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), st.builds(Override, st.booleans(), st.none() | st.just(NOW))),
    st.frozensets(st.tuples(st.sampled_from(NAMES), st.sampled_from(USERS)), max_size=2),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.builds(
            Turn,
            st.sampled_from(USERS),
            st.dictionaries(st.sampled_from(USERS), st.integers(0, 9)),
            st.dictionaries(st.sampled_from(USERS), st.integers(0, 9)),
            st.sampled_from(["2026-11-20", "2026-11-19"]),
        ),
    ),
    st.frozensets(st.sampled_from(NAMES)),
)
SNAPSHOTS = st.builds(
    lambda entries, live: snapshot("acme", {key: json.dumps(value) for key, value in entries.items()}, live),
    ACCOUNTS,
    LIVES,
)
CALLS = st.builds(
    lambda what, who, rest: Call("acme", kind=what[0], name=what[1], **who, **rest),
    st.sampled_from([("group", "one"), ("group", "two"), ("policy", "one"), ("policy", "two"), ("user", "alice")]),
    st.sampled_from(
        [
            {"caller": "+491709999", "trunk": "carrier-a"},
            {"caller": "anonymous", "trunk": "carrier-b"},
            {"caller": "101", "caller_user": "alice", "device": "alice1@acme.example"},
        ]
    ),
    st.fixed_dictionaries(
        {"call_id": TEXT},
        optional={"language": st.just("de"), "headers": st.just({"x-tier": "gold"}), "depth": st.integers(0, 9)},
    ),
)  # fmt: skip


@given(CALLS, SNAPSHOTS)
def test_a_decision_ends_is_the_same_twice_and_reads_as_sentences(call: Call, seen: Snapshot) -> None:
    decision = decide(call, seen, NOW)
    assert decision == decide(call, seen, NOW)
    known = {"group": seen.groups, "policy": seen.policies, "user": seen.users}[call.kind]
    assert bool(decision.program) == (call.name in known)
    assert [act.context in ENDS for act in decision.program[:-1]] == [False] * (len(decision.program) - 1)
    assert not decision.program or decision.program[-1].context in ENDS
    for line in lines(decision.program):
        assert len(line.encode()) <= MAX_LINE_BYTES
        assert re.fullmatch(r"dp-[a-z]+,s,1\(.*\)", line)
        assert media.application(f"Gosub({line})").name in line
    assert decision.reasons
    for step in decision.reasons:
        assert step.where in ("group", "policy", "user")
        assert step.what.strip()
        assert step.why.strip()
        assert "None" not in step.what + step.why
    if call.kind != "group":
        assert decision.turn is None
    if call.name not in known or (call.kind == "group" and decision.program[0].context == "dp-next"):
        assert call.name in decision.reasons[-1].why


def able(group: Group, ringing: groups.Ringing) -> set[str]:
    """Members of which no reason says that they do not ring."""
    end = " does not ring"
    silent = {step.what.removesuffix(end) for step in ringing.reasons if step.what.endswith(end)}
    return {member.key for member in group.members} - silent


@given(CALLS, SNAPSHOTS, st.sampled_from(NAMES))
def test_nobody_rings_twice_at_once_and_each_member_once_in_a_round(
    call: Call, seen: Snapshot, name: str
) -> None:
    group = seen.groups.get(name)
    if group is None:
        return
    ringing = groups.ring(group, Situation(call, seen, NOW))
    eligible = able(group, ringing)
    for stage in ringing.stages:
        addresses = [leg.address for leg in stage.legs]
        assert addresses
        assert len(addresses) == len(set(addresses))
        assert stage.seconds > 0
    assert sum(stage.seconds for stage in ringing.stages) == (group.ring_s if eligible else 0)
    members = [member for stage in ringing.stages for member in stage.members]
    for begin in range(0, len(members), max(len(eligible), 1)):
        part = members[begin : begin + len(eligible)]
        assert len(part) == len(set(part))
        assert set(part) <= eligible
        assert len(part) == len(eligible) or begin + len(part) == len(members)
    if group.strategy == "all":
        assert set(members) == eligible


@given(CALLS, SNAPSHOTS)
def test_round_robin_lets_everybody_begin_once(call: Call, seen: Snapshot) -> None:
    for group in seen.groups.values():
        now, one, begun = replace(group, strategy="round_robin"), seen, []
        ringing = groups.ring(now, Situation(call, one, NOW))
        eligible = able(now, ringing)
        for _ in eligible:
            assert ringing.turn is not None
            begun.append(ringing.turn.last)
            one = replace(one, live=replace(one.live, turns={group.name: ringing.turn}))
            ringing = groups.ring(now, Situation(call, one, NOW))
        assert sorted(begun) == sorted(eligible)


@given(SCHEDULES, st.integers(-5000, 5000))
def test_what_is_said_of_the_end_of_a_state_is_true(values: dict[str, Any], minutes: int) -> None:
    found = snapshot("acme", {"acme/schedule/office": json.dumps(values)}, Live()).schedules["office"]
    now = NOW + timedelta(minutes=minutes)
    before = state(found, None, now)
    said = re.match(r"\w+(?: since ..:..)? until (?:\w{3} (\d{4}-\d\d-\d\d) )?(\d\d:\d\d): ", before.why)
    if said is None:
        assert " for more than 8 days: " in before.why
        ends = now + timedelta(days=8)
    else:
        day = said[1] or now.astimezone(found.zone).date().isoformat()
        ends = datetime.fromisoformat(f"{day}T{said[2]}").replace(tzinfo=found.zone)
        assert state(found, None, ends).open != before.open
    for part in range(1, 20):
        assert state(found, None, now + (ends - now) * part / 20).open == before.open
