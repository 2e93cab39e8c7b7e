"""Calls from and to carriers."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.live import stack
from tests.live.company import APP1, BOB, CAROL, CARRIER, DESK1, SIGNED
from tests.live.phones import Phones
from tests.live.talk import both_hear, record, records, went_well


def md5(*parts: str) -> str:
    """As a digest puts them together (RFC 7616)."""
    return hashlib.md5(":".join(parts).encode()).hexdigest()


@pytest.fixture(autouse=True)
def registered(phones: Phones) -> None:
    """Acme's phones are registered."""
    phones.registered(DESK1, APP1, BOB, CAROL)


def test_from_a_carrier_to_the_devices_of_a_number(phones: Phones, carrier_a: Phones) -> None:
    with phones.answering(BOB) as [callee]:
        caller = carrier_a.run(
            "call", CARRIER, to="+4930555012", host="10.213.0.11", challenge=0, talk_ms=1500
        )
        called = callee.wait()
    went_well(caller, called)
    both_hear((caller, CARRIER), (called, BOB))
    invite = next(message for message in called.received if message.method == "INVITE")
    assert not [line for line in invite.text.splitlines() if line.lower().startswith("x-dp-")]


def test_a_number_nobody_has(carrier_a: Phones) -> None:
    leg = carrier_a.run("call", CARRIER, to="+4930555999", host="10.213.0.11", challenge=0, expect=404)
    assert leg.ok, leg


def test_out_by_the_first_carrier(phones: Phones, carrier_a: Phones) -> None:
    since = stack.now()
    with carrier_a.answering(CARRIER) as [far]:
        bob = phones.run("call", BOB, to="0891234567", talk_ms=1500)
        called = far.wait()
    went_well(bob, called)
    both_hear((bob, BOB), (called, CARRIER))
    invite = next(message for message in called.received if message.method == "INVITE")
    assert invite.start.split()[1].startswith("sip:+49891234567@"), invite.start
    assert "+4930555010" in invite.headers("From")[0], "the company's number is shown"
    written = record(since)
    assert (written["direction"], written["trunk"]) == ("outbound", "carrier-a")


def test_a_carrier_that_refuses_is_followed_by_the_next(
    phones: Phones, carrier_a: Phones, carrier_b: Phones
) -> None:
    since = stack.now()
    with (
        carrier_a.answering(CARRIER, answer=503) as [first],
        carrier_b.answering(CARRIER, challenge=407, realm=SIGNED["realm"]) as [second],
    ):
        bob = phones.run("call", BOB, to="0891234567", talk_ms=1500, limit_s=20)
        refused, called = first.wait(), second.wait()
    went_well(bob, refused, called)
    both_hear((bob, BOB), (called, CARRIER))
    asked, invite = (message for message in called.received if message.method == "INVITE")
    assert asked.start.split()[1].startswith("sip:49891234567@"), "carrier-b writes numbers as digits"
    assert not asked.headers("Proxy-Authorization"), asked.text
    [digest] = invite.headers("Proxy-Authorization")
    given = dict(re.findall(r'(\w+)="?([^",]+)', digest))
    assert (given["username"], given["realm"]) == (SIGNED["login"], SIGNED["realm"])
    ha1 = md5(SIGNED["login"], SIGNED["realm"], SIGNED["secret"])
    assert given["response"] == md5(
        ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], md5("INVITE", given["uri"])
    )
    written = record(since)
    assert written["trunk"] == "carrier-b"


def test_a_carrier_that_is_silent_is_followed_by_the_next(phones: Phones, carrier_b: Phones) -> None:
    """Nobody listens at carrier-a at all."""
    with carrier_b.answering(CARRIER, challenge=401, **SIGNED) as [second]:
        bob = phones.run("call", BOB, to="0891234567", talk_ms=300, limit_s=25)
        called = second.wait()
    went_well(bob, called)
    asked, signed = (message for message in called.received if message.method == "INVITE")
    assert not asked.headers("Authorization"), asked.text
    [digest] = signed.headers("Authorization")
    assert f'username="{SIGNED["login"]}"' in digest
    assert f'realm="{SIGNED["realm"]}"' in digest


def test_a_carrier_that_does_not_know_the_password_is_followed_by_the_next(
    phones: Phones, carrier_a: Phones, carrier_b: Phones
) -> None:
    """Calls to the United Kingdom leave by carrier-b first. It is asked once more, not for ever."""
    since = stack.now()
    with (
        carrier_b.answering(CARRIER, challenge=401, **SIGNED | {"secret": "another"}) as [first],
        carrier_a.answering(CARRIER) as [second],
    ):
        desk = phones.run("call", DESK1, to="00442071234567", talk_ms=300, limit_s=20)
        refused, called = first.wait(), second.wait()
    went_well(desk, refused, called)
    assert [message.status for message in refused.messages if message.sent] == [401, 403], refused
    assert record(since)["trunk"] == "carrier-a"


def test_not_allowed_to_call_abroad(phones: Phones, carrier_b: Phones) -> None:
    leg = phones.run("call", CAROL, to="0891234567", expect=403, limit_s=20)
    assert leg.ok, leg


def test_emergency_over_every_limit(phones: Phones, carrier_a: Phones) -> None:
    """The account is full and the caller blocked; 112 goes out all the same."""
    stack.sql("UPDATE public.accounts SET call_limit = 1 WHERE name = 'acme'")
    try:
        stack.dialplane("apply", "--yes", "--reason", "a very small company")
        with (
            phones.answering(BOB) as [callee],
            phones.start("call", DESK1, to="102", talk_ms=4000) as first,
            carrier_a.answering(CARRIER) as [far],
        ):
            first.until(200)
            refused = phones.run("call", APP1, to="103", expect=486)
            emergency = phones.run("call", APP1, to="112", talk_ms=500)
            went_well(first.wait(), callee.wait(), refused, emergency, far.wait())
    finally:
        stack.sql("UPDATE public.accounts SET call_limit = 20 WHERE name = 'acme'")
        stack.dialplane("apply", "--yes", "--reason", "as before")


CIRCLE = """
INSERT INTO extensions (account_id, extension, kind, target)
    SELECT id, '180', 'number', CASE name WHEN 'acme' THEN '+442079460102' ELSE '+4930555018' END FROM accounts;
INSERT INTO numbers (account_id, e164, extension_id)
    SELECT a.id, CASE a.name WHEN 'acme' THEN '+4930555018' ELSE '+442079460102' END, e.id
    FROM accounts a JOIN extensions e ON e.account_id = a.id AND e.extension = '180'
"""


def test_two_accounts_that_forward_to_each_other_end_at_eight_steps(phones: Phones) -> None:
    """The caller is refused; each call of an account has its record."""
    since = stack.now()
    stack.sql(CIRCLE)
    try:
        stack.dialplane("apply", "--yes", "--reason", "a circle")
        leg = phones.run("call", BOB, to="180", expect=480, limit_s=20)
        went_well(leg)
        written = records(since, 9)
    finally:
        stack.sql("DELETE FROM numbers WHERE e164 IN ('+4930555018', '+442079460102')")
        stack.sql("DELETE FROM extensions WHERE extension = '180'")
        stack.dialplane("apply", "--yes", "--reason", "no circle")
    assert [row["account"] for row in written] == ["acme", "globex"] * 4 + ["acme"]
    for row in written:
        assert row["answered_at"] is None
        assert row["cause_text"]
