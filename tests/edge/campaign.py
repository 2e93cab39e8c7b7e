"""An installation in which fraud is tried: rows, a real edge with its agent, `dialplane fraud serve`, the process that
has nodes do their part, and steps of those who try.

Each campaign has an account of its own, `<name>.example`, with the phones u1 to u3 (`share` and `nat` have more), so
that none disturbs another. Everything that can be is as shipped; what a test shrinks stands in its rows of rules.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from controller import pipeline
from controller.fraud import defaults
from controller.fraud.model import Rule
from controller.schema.importer import load, read_company
from tests.database.fraud_nodes import Nodes
from tests.edge.edge import Edge, seed
from tests.edge.exchange import Exchange
from tests.edge.message import Message, challenge_of, credentials
from tests.edge.messaging import final, said
from tests.edge.phone import Endpoint, Leg
from tests.edge.test_fraud_enforced import Agent, following, live, wait

ACCOUNTS = (
    "probe", "slow", "forward", "forward2", "forward3", "bait", "scan", "crack", "sms", "share", "centre", "bridge",
    "holiday", "letters", "nat", "watch", "lifted", "ends", "other",
)  # fmt: skip
PASSWORD = "secret-of-theirs"
PHONES = {"centre": 12, "nat": 41}
#: To where fraud pays (Tunisia), one block of numbers, and an honest number at home.
PAYS, HONEST = "+2162012{:04}", "+493012345678"
REFUSED, SILENCE = (403, 603), 0
#: From the last call that passed to the one that is refused, at most.
_MOST_S = 12.0


def company(net: str) -> str:
    """The rows, as a file of YAML."""
    lines = [
        "settings: {zone: dialplane.internal}", "clusters: [c1]", "device_groups: [g1]", "nodes:",
        f"  - {{name: edge1, kind: edge, device_group: g1, address: {net}.1}}",
        f"  - {{name: media1, kind: media, cluster: c1, address: {net}.21, sip_port: 5060, weight: 10}}",
        "trunks:", f"  - {{name: carrier-a, host: {net}.31, number_format: e164, addresses: [{net}.31]}}",
        "routes:", '  - {prefix: "", trunk: carrier-a, priority: 10}',
        "emergency_numbers:", '  - {country: DE, number: "112", trunks: [carrier-a]}', "accounts:",
    ]  # fmt: skip
    for place, name in enumerate(ACCOUNTS):
        users = [f"u{one}" for one in range(1, PHONES.get(name, 3) + 1)]
        lines += [
            f"  - name: {name}", f"    display_name: {name}", "    cluster: c1", "    country: DE",
            "    outside_messages: true",
            f'    caller_id: "{own(name)}"', f"    domains: [{name}.example]", "    users:",
            *(f"      - {{name: {one}, display_name: {one}, permission: international}}" for one in users),
            "    devices:",
            *(f"      - {{name: {one}, domain: {name}.example, user: {one}, password: {PASSWORD}}}" for one in users),
            "    extensions:", '      - {extension: "101", user: u1}',
            '      - {extension: "200", kind: number, target: "+442071234567"}', "    numbers:",
            f'      - {{e164: "{own(name)}", extension: "101"}}',
        ]  # fmt: skip
        assert place < 100
    return "\n".join(lines) + "\n"


def own(account: str) -> str:
    """The account's number."""
    return f"+49305550{ACCOUNTS.index(account):02}"


_RULE = """
    INSERT INTO fraud_rules (name, account_id, metric, scope, destinations, window_s, at_least, warning, critical,
                             actions, release_s, mode, enabled)
    VALUES (%s, (SELECT id FROM accounts WHERE name = %s), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""


@dataclass
class World:
    """What tests have in hand."""

    edge: Edge
    net: str
    url: str
    exchange: Exchange

    def phone(self, account: str, host: int, user: str = "u1", **more: Any) -> Endpoint:
        """A phone of the account; the test closes it."""
        address = self.edge.address, self.edge.port
        more = {"password": PASSWORD} | more
        return Endpoint(user, f"{account}.example", f"{self.net}.{host}", address, **more)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def incidents(self, account: str, level: str = "critical") -> set[str]:
        """Rules that made incidents of the account."""
        found = self.rows(
            "SELECT rule FROM fraud_incidents WHERE account = %s AND level = %s", account, level
        )
        return {rule for (rule,) in found}

    def blocked(self, account: str) -> list[tuple[Any, ...]]:
        """Its blocks, and those of its users and devices."""
        return self.rows(
            "SELECT scope, subject, what FROM blocks"
            " WHERE subject = %s OR starts_with(subject, %s) OR right(subject, length(%s)) = %s",
            account, f"{account}/", f"@{account}.example", f"@{account}.example",
        )  # fmt: skip


def rule(connection: psycopg.Connection[Any], name: str, account: str, **changes: Any) -> None:
    """A row for one account: the rule as shipped but for what changes."""
    made: Rule = replace(next(one for one in defaults.RULES if one.name == name), **changes)
    connection.execute(
        _RULE.encode(),
        (made.name, account, made.metric, made.scope, list(made.destinations), made.window_s, made.at_least,
         made.warning, made.critical, list(made.actions), made.release_s, made.mode, made.enabled),
    )  # fmt: skip


@contextmanager
def world(
    net: str, home: Path, url: str, rules: Callable[[psycopg.Connection[Any]], None]
) -> Iterator[World]:
    """All of it, running, with rows of rules from the beginning."""
    file = home / "company.yaml"
    file.write_text(company(net))
    with psycopg.connect(url) as connection:
        load(connection, read_company(file))
        rules(connection)
        plan = pipeline.make_plan(connection)
        pipeline.publish(connection, plan, author="test", reason="test", unsafe_reason="a test")
    edge = Edge(home, f"{net}.1", worker_log=-2)
    seed(edge.state, {})
    edge.start()
    exchange, agent = Exchange(edge, net), Agent(url, edge)
    engine = subprocess.Popen(
        [sys.executable, "-c", "from controller.cli import main; main()", "fraud", "serve"],
        env=os.environ | {"DIALPLANE_DATABASE": url}, stderr=(home / "fraud.log").open("w"),
    )  # fmt: skip
    try:
        wait(lambda: "works" in (home / "fraud.log").read_text(), 20)
        wait(lambda: live(url), 20)
        media = Nodes(url)
        media.silent = {"edge1"}
        # The media node's agent says that it has no call: the edge ends them.
        with following(url), media:
            yield World(edge, net, url, exchange)
    finally:
        engine.kill()
        engine.wait()
        agent.kill()
        exchange.close()
        edge.stop()


# -- steps ---------------------------------------------------------------------------------------------


def say(phone: Endpoint, agent: str) -> Endpoint:
    """From now on it says that it is this."""
    plain, line = phone.raw, f"Max-Forwards: 70\r\nUser-Agent: {agent}\r\n".encode()
    phone.raw = lambda data: plain(data.replace(b"Max-Forwards: 70\r\n", line))  # type: ignore[method-assign]
    return phone


def call(phone: Endpoint, number: str) -> tuple[int, Leg | None]:
    """What becomes of a call; the leg of one that is up."""
    invite = phone.invite(f"sip:{number}@{phone.domain}")
    answer = phone.final(invite)
    return answer.status, phone.established(invite, answer) if answer.status == 200 else None


def hang_up(phone: Endpoint, leg: Leg) -> None:
    """It does, if the call is still up."""
    sent = phone.within(leg, "BYE")
    phone.expect(lambda m: not m.is_request and m["Call-ID"] == leg.call_id and m["CSeq"] == sent["CSeq"])


def talk(phone: Endpoint, number: str, seconds: float = 0.1) -> int:
    """A call that is hung up after so long."""
    status, leg = call(phone, number)
    if leg is not None:
        time.sleep(seconds)
        hang_up(phone, leg)
    return status


def give_up(phone: Endpoint, number: str, seconds: float) -> int:
    """Rings and cancels; 487, or what it got instead."""
    invite = phone.invite(f"sip:{number}@{phone.domain}")
    time.sleep(seconds)
    phone.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=int(invite["CSeq"].split()[0]),
        from_=invite["From"], to=invite["To"], via=invite["Via"], contact=False,
    )  # fmt: skip
    return phone.final(invite).status


def write(phone: Endpoint, number: str, text: str = "1234") -> int:
    """What becomes of a message."""
    sent: Message = said(phone, f"sip:{number}@{phone.domain}", text)
    return final(phone, sent).status


def sign_in(phone: Endpoint, user: str, password: str = PASSWORD, longest_s: float = 0.5) -> int:
    """The last answer to a registration as that user; SILENCE: there is none."""
    uri, to = f"sip:{phone.domain}", f"<sip:{user}@{phone.domain}>"
    first = phone.send("REGISTER", uri, to=to, from_=f"{to};tag=s")
    try:
        challenge = challenge_of(phone.expect(lambda m: m["Call-ID"] == first["Call-ID"], longest_s), "MD5")
        proof = credentials(challenge, "REGISTER", uri, user, password)
        phone.send(
            "REGISTER", uri, call_id=first["Call-ID"], cseq=2, to=to, from_=f"{to};tag=s",
            headers=(("Expires", "300"), ("Authorization", proof)),
        )  # fmt: skip
        return phone.expect(
            lambda m: m["CSeq"] == "2 REGISTER" and m["Call-ID"] == first["Call-ID"], longest_s
        ).status
    except TimeoutError:
        return SILENCE


def refused_after(
    attempt: Callable[[int], int], pace_s: float, most: int, refused: tuple[int, ...] = REFUSED
) -> int:
    """Tries with so much time between them until one is refused; how many were not."""
    began = time.monotonic()
    for number in range(most + 1):
        if attempt(number) in refused:
            return number
        time.sleep(pace_s)
        assert time.monotonic() - began < _MOST_S, "nobody stopped it"
    raise AssertionError(f"{most + 1} passed")


def ended(phone: Endpoint, calls: int, longest_s: float = 3.0) -> None:
    """So many calls of the phone are hung up by the edge."""
    for _ in range(calls):
        phone.answer(phone.expect("BYE", longest_s), 200)
