"""Two clusters of two media nodes, two edges, two name servers: which node gets a call, and what each loss costs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.live import stack
from tests.live.company import CAROL, CARRIER, DESK1
from tests.live.load import Faults, Load
from tests.live.phones import EDGE, Phone, Phones
from tests.live.talk import record, went_well
from tests.live.test_change import rpc
from tests.live.test_frozen import AGENT, ASTERISK, KAMAILIO, POSTGRESQL
from tests.live.test_two_edges import OTHER

ONE = Phone("one", "spread.example", "one-phone-secret", port=5131, voice=41)
TWO = Phone("two", "spread.example", "two-phone-secret", port=5132, voice=42)
# Calls of one device that talks go to one node: it takes many to be everywhere.
MANY = [Phone(f"l{n}", "spread.example", f"load-phone-{n}", port=6200 + n // 20) for n in range(40)]
FIRST, SECOND = {"media1", "media2"}, {"media3", "media4"}
ECHO = "*43"
pytestmark = pytest.mark.usefixtures("second_cluster")


def targets(cluster: str) -> set[str]:
    """Names of its nodes that take calls, as edge1 has them."""
    return set(re.findall(r"(\w+)=10\.", rpc("htable.get", "target", cluster).out))


def node_of_a_call(phones: Phones, to: str = ECHO) -> str:
    """The media node that a short call of ONE got."""
    since = stack.now()
    went_well(phones.run("call", ONE, to=to, talk_ms=100))
    return str(record(since)["media_node"])


# --- names ----------------------------------------------------------------------------------------------------


def dig(service: str, server: str = "10.213.0.51") -> list[tuple[int, str]]:
    """(priority, node) of the forwarding name's targets, as that name server answers."""
    name = f"_sip._tcp.{service}.spread.dialplane.internal"
    answer = stack.execute("ns1", "dig", "+short", "+time=2", f"@{server}", name, "SRV").out
    return sorted((int(line.split()[0]), line.split()[3].split(".")[0]) for line in answer.splitlines())


APART = ("voicemail", "conference", "queue", "messaging", "app")
# A script of the site on every node: who is called answers, who is written to says where it is.
_HERE = """
[site-here]
exten => s,1,Answer()
 same => n,Wait(2)
exten => text,1,Set(MESSAGE(body)=${MESSAGE(body)} by @node@)
 same => n,MessageSend(pjsip:${DP_EDGE}/sip:${DP_DEVICE},sip:${DP_DIALLED}@${DP_ZONE})
"""


def first_targets(service: str) -> set[str]:
    """The nodes that the forwarding name leads to first; both name servers say so."""
    asked = dig(service)
    stack.until(lambda: dig(service, "10.213.0.52") == asked, "the second name server says the same", 20)
    first = {node for priority, node in asked if priority == 10}
    assert first == (SECOND if service in APART else FIRST)
    return first


@pytest.mark.parametrize(
    ("service", "dialled"),
    [
        ("voice", ECHO), ("voicemail", "*102"), ("conference", "800"), ("queue", "600"), ("pstn", "0891234567"),
        ("app", "900"),
    ],
)  # fmt: skip
def test_dig_and_the_call_agree(phones: Phones, carrier_a: Phones, service: str, dialled: str) -> None:
    first = first_targets(service)
    with carrier_a.answering(CARRIER), stack.site(_HERE, *FIRST, *SECOND):
        assert node_of_a_call(phones, dialled) in first
    explained = stack.dialplane("route", "explain", "one@spread.example", dialled).out
    assert f"{service} of account spread" in explained, explained


def test_dig_and_the_message_agree(phones: Phones) -> None:
    """A script gets it on a node that serves the account's messages, and answers."""
    first = first_targets("messaging")
    since = stack.now()
    phones.registered(ONE)
    with stack.site(_HERE, *FIRST, *SECOND), phones.start("texted", ONE) as one:
        asks = replace(ONE, port=5133)
        went_well(phones.run("text", asks, to="900", text="where are you", expect=202))
        answer = one.until("MESSAGE", limit_s=10).text
    assert re.search(r"where are you by (media\d)$", answer), answer
    assert answer[-6:] in first
    told = f"SELECT DISTINCT lead, state FROM control.messages WHERE at >= '{since}'"
    stack.until(lambda: stack.sql(told) == "application:here\tdelivered", "the record says so")


def test_a_node_says_that_its_script_takes_no_messages(phones: Phones) -> None:
    phones.registered(ONE)
    with stack.site("[site-here]\nexten => s,1,Answer()\n", *FIRST, *SECOND):
        went_well(phones.run("text", ONE, to="900", text="lost", expect=202))

        def warned() -> bool:
            log = (
                "grep",
                "-c",
                "site-here has no extension text: it is lost",
                "/var/log/asterisk/messages.log",
            )
            return any(stack.execute(node, *log).exit == 0 for node in SECOND)

        stack.until(warned, "the node says so in its log")


# --- the call tier --------------------------------------------------------------------------------------------


@contextmanager
def row(change: str, back: str) -> Iterator[None]:
    stack.sql(f"UPDATE nodes SET {change} WHERE name = 'media1'")
    try:
        yield
    finally:
        stack.sql(f"UPDATE nodes SET {back} WHERE name = 'media1'")


@contextmanager
def with_a_call(phones: Phones) -> Iterator[None]:
    """media1 has a call, and may have no other."""
    with row("weight = 100", "weight = 10"), phones.start("call", TWO, to=ECHO, talk_ms=20000) as talk:
        talk.until(200)
        calls = "SELECT calls FROM control.node_state WHERE node = 'media1'"
        stack.until(lambda: stack.sql(calls) not in ("", "0"), "the call is reported", 5)
        with row("call_cap = 1", "call_cap = NULL"):
            yield


@contextmanager
def at_work(_: Phones) -> Iterator[None]:
    """Its processors have other things to do than calls."""
    burn = "for n in 1 2; do timeout 40 sh -c 'while :; do :; done' burn >/dev/null 2>&1 & done"
    with row("load_limit_pct = 70", "load_limit_pct = NULL"):
        assert stack.execute("media1", "sh", "-c", burn).exit == 0
        try:
            yield
        finally:
            stack.signal("media1", "KILL", "*do :; done burn*")


@contextmanager
def behind(_: Phones) -> Iterator[None]:
    """It is heard of, and cannot write the file that a new edge changes."""
    folder = "/etc/asterisk/dialplane.d"
    mode = stack.execute("media1", "stat", "-c", "%a", folder).out.strip()
    assert stack.execute("media1", "chmod", "a-w", folder).exit == 0
    stack.sql(
        "WITH g AS (INSERT INTO device_groups (name) VALUES ('g9') RETURNING id) "
        "INSERT INTO nodes (name, kind, device_group_id, address) SELECT 'edge9', 'edge', id, '10.213.0.19' FROM g"
    )
    try:
        partly = stack.dialplane("apply", "--yes", "--reason", "an edge more", "--wait", "2", expect=5)
        assert "media1: failed: " in partly.err, partly
        yield
    finally:
        stack.execute("media1", "chmod", mode, folder)
        stack.sql("DELETE FROM nodes WHERE name = 'edge9'; DELETE FROM device_groups WHERE name = 'g9'")
        stack.dialplane("apply", "--yes", "--reason", "an edge less", "--allow-unsafe", "tests", expect=None)


CONDITIONS: dict[str, tuple[Callable[[Phones], AbstractContextManager[object]], str]] = {
    "draining": (lambda _: row("state = 'draining'", "state = 'enabled'"), "draining"),
    "disabled": (lambda _: row("state = 'disabled'", "state = 'enabled'"), "disabled"),
    "agent silent": (lambda _: stack.frozen("media1", AGENT), "not heard of"),
    "server silent": (lambda _: stack.frozen("media1", ASTERISK), "its server does not answer"),
    "behind": (behind, "behind: at revision"),
    "full": (with_a_call, "full: 1 of 1 calls"),
    "busy": (at_work, "busy: load over 70 %"),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_node_that_is(phones: Phones, condition: str) -> None:
    """It gets no call, `explain` says why, and it comes back by itself."""
    make, why = CONDITIONS[condition]
    with make(phones):
        stack.until(lambda: targets("c1") == {"media2"}, f"media1 is {condition}", 15)
        assert [node_of_a_call(phones) for _ in range(3)] == ["media2"] * 3
        told = stack.dialplane("route", "explain", "one@spread.example", ECHO).out
        assert re.search(rf"media1\b.*{why}", told), told
    stack.until(lambda: targets("c1") == FIRST, "media1 takes calls again", 20)


@pytest.fixture
def alone() -> Iterator[None]:
    """Nobody takes over for c1, and each of its nodes has room for twenty calls."""
    stack.sql(
        "UPDATE clusters SET overflow_cluster_id = NULL; UPDATE nodes SET call_cap = 20 WHERE name ~ 'media[12]'"
    )
    stack.dialplane("apply", "--yes", "--reason", "nobody takes over")
    yield
    stack.sql(
        "UPDATE nodes SET call_cap = NULL; "
        "UPDATE clusters SET overflow_cluster_id = o.id FROM clusters AS o WHERE clusters.name = 'c1' AND o.name = 'c2'"
    )
    stack.dialplane("apply", "--yes", "--reason", "c2 takes over")


def test_when_all_is_nearly_full_who_has_most_is_refused(alone: None, phones: Phones) -> None:
    """At nine tenths of the room; another account has its calls, and who was refused is not when calls are over."""
    shed = "SELECT string_agg(key, ' ' ORDER BY key) FROM control.entries WHERE tbl = 'shed'"
    many: dict[str, Any] = {"to": ECHO, "target": EDGE, "talk_ms": 20_000}
    phones.registered(DESK1)
    with phones.start("call", DESK1, to=ECHO, talk_ms=60_000, limit_s=80) as talk:
        talk.until(200)
        with Load(MANY[:20], rate=15, most=33, **many), Load(MANY[20:], rate=1, **many) as more:
            stack.until(lambda: "c1/spread" in stack.sql(shed), "account spread is above its share", 20)
            time.sleep(3)
            went_well(phones.run("call", CAROL, to=ECHO, talk_ms=100))
            told = stack.dialplane("route", "explain", "one@spread.example", ECHO).out
            assert "overload" in told, told
        calls = more.calls()
        refused = [call for call in calls if call.status == 503]
        print(f"{len(calls) - len(refused)} more answered, {len(refused)} refused")
        assert len(refused) >= 2
        assert not [call for call in calls[:2] if call.lost and call.status == 503], "there was room"
        went_well(talk.hang_up().wait())


def test_a_cluster_without_nodes_overflows_and_calls_return(phones: Phones) -> None:
    """Who talks goes on talking; what is drained is not made alive by anything that it says."""
    with phones.start("call", TWO, to=ECHO, talk_ms=60000, limit_s=80) as talk:
        talk.until(200)
        for node in FIRST:
            stack.dialplane("node", "drain", node)
        try:
            stack.until(lambda: not targets("c1"), "nobody of c1 takes calls")
            assert {node_of_a_call(phones) for _ in range(4)} <= SECOND
            told = stack.dialplane("route", "explain", "one@spread.example", ECHO).out
            assert "c2" in told, told
            time.sleep(4)  # every agent has reported more than once
            assert not targets("c1")
        finally:
            for node in FIRST:
                stack.dialplane("node", "resume", node)
        stack.until(lambda: targets("c1") == FIRST, "c1 takes calls again")
        assert node_of_a_call(phones) in FIRST
        talk.until_heard(None, 100)
        went_well(talk.hang_up().wait())


# --- losses ---------------------------------------------------------------------------------------------------


@contextmanager
def kill(service: str) -> Iterator[None]:
    stack.compose("kill", service)
    yield


@contextmanager
def killed_process(service: str, command: str) -> Iterator[None]:
    """What supervises it starts it again."""
    stack.signal(service, "KILL", command)
    yield


def up_again(service: str) -> None:
    stack.compose("up", "--detach", service)
    if service.startswith("media"):
        stack.until(lambda: service in targets("c1"), f"{service} takes calls again", 30)
    else:
        stack.until(lambda: stack.healthy(service), f"{service} is back", 30)


# What, how, what has to be started again.
LOSSES: tuple[tuple[str, Callable[[], AbstractContextManager[None]], str], ...] = (
    ("media1 killed", lambda: kill("media1"), "media1"),
    ("agent of media1 killed", lambda: killed_process("media1", AGENT), ""),
    ("agent of edge1 frozen", lambda: stack.frozen("edge1", AGENT), ""),
    ("name server killed", lambda: kill("ns1"), "ns1"),
    ("name server frozen", lambda: stack.frozen("ns2", "*pdns_server*"), ""),
    ("database frozen", lambda: stack.frozen("postgres", POSTGRESQL), ""),
    ("database killed", lambda: kill("postgres"), "postgres"),
    ("controller killed", lambda: kill("controller"), "controller"),
    ("media2 frozen", lambda: stack.frozen("media2", ASTERISK), ""),
    ("edge2 frozen", lambda: stack.frozen("edge2", KAMAILIO), ""),
    ("edge2 killed", lambda: kill("edge2"), "edge2"),
)
LASTS_S = 2.5


def test_what_each_loss_costs() -> None:
    """kill -9 and SIGSTOP of everything there is, with calls up, in set-up and beginning by both edges all the time."""
    faults = Faults()
    with (
        Load(MANY[:20], to=ECHO, target=EDGE, rate=5, talk_ms=1500) as by_first,
        Load(MANY[20:], to=ECHO, target=OTHER.partition(":")[0], rate=5, talk_ms=1500) as by_second,
    ):
        time.sleep(3)
        for what, happens, start in LOSSES:
            with faults.one(what) as fault:
                with happens():
                    fault.at = time.time()
                    time.sleep(LASTS_S)
                if start:
                    up_again(start)
                time.sleep(1.6)  # longer than a call
    loads = {"by edge1": by_first.calls(), "by edge2": by_second.calls()}
    died = []
    for name, calls in loads.items():
        print(f"\n{name}: {len(calls)} calls, {sum(call.lost for call in calls)} lost")
        table = Faults(faults.all)
        print(table.table(calls))
        for call in calls:
            if call.lost:
                print(call)
        for fault in table.all:
            if fault.what.startswith("edge2") and name == "by edge2":
                # Who uses a dead edge uses the other one: SIPp does not. Calls that are up outlive its restart.
                assert fault.lost_up == 0, fault
                continue
            assert fault.tried > 10, fault
            assert fault.lost_set_up == fault.lost_new == 0, fault
            assert fault.longest_s < (4 if fault.what.startswith("media") else 1.5), fault
            if fault.what != "media1 killed":
                assert fault.lost_up == 0, fault
        died.append(table.all[0])
    # By both edges together: of seven calls all may be on one node.
    lost, up = sum(one.lost_up for one in died), sum(one.established for one in died)
    assert 0 < lost < up, "a dead node takes its own calls and no other"
