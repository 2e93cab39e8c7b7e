"""Fraud in the stack: seen and stopped while it happens, answered as one, and over when somebody says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.live import stack
from tests.live.company import BOB, CARRIER, DESK1, NOT_FRAUD, PHONES
from tests.live.phones import Leg, Phones
from tests.live.talk import went_well
from tests.live.test_frozen import POSTGRESQL
from tests.live.test_two_edges import OTHER

FAR = "0897654321"
# What a rule has said it says again when that is over, or to another rule's name.
NAME = f"live-{int(time.time())}"
_RULE = """
INSERT INTO fraud_rules (name, account_id, metric, scope, window_s, destinations, critical, actions, mode)
SELECT '{name}', id, 'calls', 'device', 60, '{{+4989765}}', 2, '{actions}', '{mode}' FROM accounts WHERE name = 'acme'
"""
_OVER = """
DELETE FROM fraud_rules WHERE name ~ '^live-';
UPDATE fraud_incidents SET state = 'released' WHERE state = 'open';
SELECT set_device_password('desk1@acme.example', 'alice-desk-secret');
"""


@pytest.fixture(autouse=True)
def as_before(phones: Phones) -> Iterator[None]:
    """No rule, no incident, and Alice's telephone signs in with its own password."""
    stack.sql(f"DELETE FROM fraud_allows WHERE source = '{PHONES}'")
    phones.registered(DESK1, BOB)
    yield
    stack.sql(_OVER + NOT_FRAUD)
    stack.dialplane("apply", "--yes", "--reason", "fraud is over", expect=None)
    Phones.forget()
    went_well(phones.register(DESK1))


def rule(actions: str, mode: str = "enforce") -> None:
    """Two calls to Munich within a minute are too many for a telephone of acme."""
    stack.sql(_RULE.format(name=NAME + mode, actions=actions, mode=mode))
    time.sleep(1.5)


def incidents(mode: str = "enforce") -> list[dict[str, object]]:
    return stack.documents(
        f"SELECT id, rule, level, mode, state, subject FROM fraud_incidents WHERE rule = '{NAME}{mode}' ORDER BY id"
    )


def calls(phones: Phones, **keys: object) -> Leg:
    return phones.run("call", DESK1, to=FAR, talk_ms=200, limit_s=20, **keys)


@contextmanager
def provisioning() -> Iterator[None]:
    """`dialplane provision serve` at the operator's seat, for phones on its loopback address."""
    start = "dialplane provision serve >/tmp/provision.log 2>&1 & echo $! >/tmp/provision.pid"
    assert stack.execute("ops", "sh", "-c", start, user="dialplane").exit == 0
    try:
        yield
    finally:
        stack.execute("ops", "sh", "-c", "kill $(cat /tmp/provision.pid)", user="dialplane")


_FETCH = """
import json, sys, urllib.request
asked = urllib.request.Request("http://127.0.0.1:4581/desk1@acme.example",
                               headers={"Authorization": "Bearer " + sys.stdin.read().strip()})
print(json.load(urllib.request.urlopen(asked, timeout=5))["password"])
"""


def fetch(token: str) -> str:
    """The password, as a telephone fetches it."""
    done = stack.execute("ops", "/opt/dialplane/bin/python", "-c", _FETCH, stdin=token, user="dialplane")
    return done.out.strip() if done.exit == 0 else ""


def test_a_device_that_was_taken_over(phones: Phones, carrier_a: Phones) -> None:
    """From the first bad call to the rightful phone calling again."""
    token = stack.dialplane("provision", "token", "desk1@acme.example").out.strip()
    rule("{notify,outbound_off,end_calls,unregister,rotate}")
    with provisioning(), carrier_a.answering(CARRIER, arguments=("-m", "2")):
        began = time.monotonic()
        first = phones.start("call", DESK1, to=FAR, ending="wait", limit_s=20)
        first.until(200)
        second = phones.start("call", replace(DESK1, port=5111), to=FAR, expect=603, limit_s=20)
        went_well(first.wait(), second.wait())
        down = time.monotonic() - began
        # What the thief has is good for nothing.
        thief = phones.run("register", replace(DESK1, port=5112), expect=401)
        went_well(thief)
        password = stack.until(lambda: fetch(token), "the phone fetches its password", 10)
        assert password != DESK1.password
        rightful = replace(DESK1, password=password)
        stack.until(lambda: phones.register(rightful).ok, "it signs in", 5)
        with phones.answering(BOB) as [callee]:
            went_well(phones.run("call", rightful, to="102", talk_ms=200), callee.wait())
        again = time.monotonic() - began
    print(
        f"both calls were down {down:.1f} s after the first began, the rightful phone called {again:.1f} s after it"
    )
    [one] = [one for one in incidents() if one["level"] == "critical"]
    stack.until(
        lambda: incidents()[-1]["state"] == "closed", "its blocks are lifted as the phone is back", 10
    )
    told = json.loads(stack.dialplane("fraud", "incidents", str(one["id"]), "--format", "json").out)
    done = {action["action"]: action["state"] for action in told["actions"]}
    assert done.keys() >= {"end_calls", "rotate", "unregister"}
    assert done["end_calls"] == done["rotate"] == "done", told
    assert password not in json.dumps(told)


def test_a_rule_that_observes_only_says_so(phones: Phones, carrier_a: Phones) -> None:
    rule("{notify,outbound_off,end_calls}", "observe")
    with carrier_a.answering(CARRIER, arguments=("-m", "3")):
        for _ in range(3):
            went_well(calls(phones))
    found = stack.until(lambda: incidents("observe"), "it is an incident", 5)
    assert {(one["mode"], one["state"]) for one in found} == {("observe", "open")}
    ours = f"SELECT count(*) FROM blocks JOIN fraud_incidents i ON i.id = incident_id WHERE rule ^@ '{NAME}'"
    assert stack.sql(ours) == "0"


def test_blocks_outlive_everything_and_end_when_somebody_says_so(phones: Phones, carrier_a: Phones) -> None:
    """Both edges are killed, and PostgreSQL stands still when they come back; 112 passes all the while."""
    stack.dialplane("fraud", "block", "device:desk1@acme.example", "--to", "+4989765", "--for", "1h")
    went_well(calls(phones, expect=403), calls(phones, expect=403, target=OTHER))
    with stack.frozen("postgres", POSTGRESQL):
        for edge in ("edge1", "edge2"):
            stack.signal(edge, "KILL", "kamailio *")

        def refused(**keys: object) -> bool:
            return calls(phones, expect=403, **keys).ok

        stack.until(refused, "edge1 is back, and refuses", 20, 0.5)
        stack.until(lambda: refused(target=OTHER), "edge2 is back, and refuses", 20, 0.5)
    stack.compose("restart", "edge1", "edge2", "controller", "fraud", "postgres")
    stack.until(lambda: all(map(stack.healthy, ("edge1", "edge2", "postgres", "fraud"))), "all is back", 40)
    Phones.forget()
    phones.registered(DESK1)
    went_well(calls(phones, expect=403))
    stack.dialplane("fraud", "unblock", "device:desk1@acme.example")
    with carrier_a.answering(CARRIER):
        stack.until(lambda: calls(phones).ok, "it calls again", 5)
