"""A verdict and what becomes of it on a real edge with its agent: blocks, calls, contacts, secrets; and restarts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from controller.calls import store as calls
from controller.fraud import nodes
from controller.fraud.enforce import act
from controller.provisioning import http, store
from controller.wire.jsonrpc import JsonRpc
from tests.database.conftest import loaded_sample, published_sample  # noqa: F401 - fixtures
from tests.database.test_fraud_enforced import TAKEN, states, verdict
from tests.edge.conftest import DOMAIN, Make, company, running
from tests.edge.edge import Edge
from tests.edge.messaging import publish
from tests.edge.phone import Endpoint, Leg
from tests.edge.steps import answered, hang_up
from tests.edge.test_blocks import goes_out, took_ms

pytestmark = pytest.mark.live
DESK = f"desk1@{DOMAIN}"
#: From the verdict to the block on the edge, and to the end of calls; the machine may be busy.
BLOCKED_S, ENDED_S = 1.0, 3.0
_AGENT = """
import asyncio, sys
from pathlib import Path
from controller.agent import run
from controller.agent.settings import Settings
from controller.entries import Kind
home = Path(sys.argv[2])
asyncio.run(run(Settings("edge1", Kind.EDGE, sys.argv[1], home, rpc_socket=home / "rpc.sock", spool=home / "spool",
                         location=home / "location.db", messages=home / "messages.db")))
"""


@pytest.fixture(scope="module")
def edge(net: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge that may complain: it is killed now and then."""
    yield from running(net, tmp_path_factory, flood_limit=300)


@pytest.fixture
def url(new_database: Callable[..., str], loaded_sample: str, net: str) -> str:  # noqa: F811
    """The sample company's rows, and what the edge of this module holds as published; edge1 alone is there."""
    made = new_database(loaded_sample)
    with psycopg.connect(made) as connection:
        connection.execute("UPDATE nodes SET state = 'disabled' WHERE name <> 'edge1'")
    publish(made, company(net))
    return made


class Agent:
    """The edge's agent, as a process."""

    def __init__(self, url: str, edge: Edge) -> None:
        self._arguments = [sys.executable, "-c", _AGENT, url, str(edge.home)]
        self._log = (edge.home / "agent.log").open("ab")
        self.process = subprocess.Popen(self._arguments, stderr=self._log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = subprocess.Popen(self._arguments, stderr=self._log)


@pytest.fixture
def agent(url: str, edge: Edge) -> Iterator[Agent]:
    """It has brought the edge to what is published."""
    one = Agent(url, edge)
    try:
        wait(lambda: live(url), 20)
        yield one
    finally:
        one.kill()


def wait(test: Callable[[], Any], longest_s: float) -> float:
    """Until it holds; how long that took."""
    began = time.monotonic()
    while not test():
        assert time.monotonic() - began < longest_s, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - began


def live(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT revision = (SELECT max(id) FROM control.revisions) AND pending = 0 FROM control.node_state"
            " WHERE node = 'edge1' AND heard_at > clock_timestamp() - interval '3 s'"
        ).fetchone()
    return bool(row and row[0])


def held(edge: Edge, key: str) -> str | None:
    try:
        return str(edge.rpc("htable.get", "block", key)["item"]["value"])
    except LookupError:
        return None


def resume(url: str) -> None:
    async def run() -> None:
        async with calls.connect(url) as connection:
            await nodes.resume(connection)

    asyncio.run(run())


@contextmanager
def following(url: str) -> Iterator[None]:
    """What `dialplane fraud serve` has beside it: a process that does what is pending."""
    script = "import asyncio, sys; from controller.fraud import nodes; asyncio.run(nodes.follow(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", script, url])
    time.sleep(1)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def provisioning(url: str, **more: Path) -> Iterator[str]:
    """Where phones fetch; its address."""
    door = http.server(("127.0.0.1", 0), store.fetcher(url), store.teller(url), **more)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{door.server_port}"
    finally:
        door.shutdown()
        door.server_close()


def fetch(address: str, token: str, device: str = DESK) -> dict[str, Any]:
    request = urllib.request.Request(f"{address}/{device}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


def outside(phone: Endpoint, media: Endpoint, carrier: Endpoint, call: str) -> tuple[Leg, Leg]:
    """A call of the phone to a carrier, by a media node, answered."""
    invite = phone.invite(f"sip:+88213555@{DOMAIN}")
    incoming = media.expect("INVITE")
    headers = (
        ("X-DP-Call", incoming["X-DP-Call"]), ("X-DP-Account", "acme"), ("X-DP-Trunk", "carrier-a"),
        ("X-DP-Device", DESK),
    )  # fmt: skip
    second = media.invite("sip:+88213555@trunk.dialplane.internal", sign=False, headers=headers)
    carrier.answer(carrier.expect("INVITE"), 200, "OK")
    media.established(second, media.final(second))
    carrier.expect("ACK")
    return answered(phone, invite, media, incoming), carrier.callee(second)


def test_a_compromise_from_the_verdict_to_the_phone_calling_again(
    url: str, edge: Edge, agent: Agent, make: Make, media: Endpoint
) -> None:
    phone, lobby, carrier = make("desk1", 70), make("lobby", 71), make("carrier", 31)
    with psycopg.connect(url, autocommit=True) as connection, provisioning(url) as address, following(url):
        token = store.new_token(connection, DESK)
        phone.register()
        lobby.register()
        inside = lobby.invite(f"sip:102@{DOMAIN}")
        kept = answered(lobby, inside, media, media.expect("INVITE"))
        outside(phone, media, carrier, "c-1")
        began = time.monotonic()
        act(connection, verdict(*TAKEN))
        blocked_s = wait(lambda: held(edge, f"device:{DESK}:outside"), BLOCKED_S)
        for one in (phone, carrier, media, media):
            one.answer(one.expect("BYE", ENDED_S), 200)
        ended_s = time.monotonic() - began
        # The phone is asked to fetch, at the address it registered with.
        asked = phone.expect("NOTIFY", ENDED_S)
        assert asked["Event"] == "check-sync"
        phone.answer(asked, 200)
        wait(lambda: set(states(connection).values()) == {"done"}, 10)
        with pytest.raises(LookupError):
            edge.rpc("ul.lookup", "location", DESK)
        phone.register(status=401)
        # Who had nothing to do with it talks on, and is registered.
        assert edge.rpc("ul.lookup", "location", f"lobby@{DOMAIN}")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(address, "x" * 43)
        said = fetch(address, token)
        phone.password = said["password"]
        phone.register()
        outside(phone, media, carrier, "c-2")
        back_s = time.monotonic() - began
        print(
            f"blocked after {blocked_s * 1000:.0f} ms, calls ended {ended_s * 1000:.0f} ms, back {back_s:.1f} s"
        )
        row = connection.execute("SELECT state, ended_by FROM fraud_incidents").fetchone()
        assert row == ("closed", "provisioning")
        receipt = connection.execute(
            "SELECT receipt FROM control.fraud_actions WHERE action = 'end_calls'"
        ).fetchone()
        assert receipt is not None
        assert len([one for one in receipt[0] if one["ok"] and one["node"] == "edge1"]) == 2
        hang_up(lobby, kept, media)


@contextmanager
def away(url: str, postgresql: str) -> Iterator[None]:
    """PostgreSQL is not there for this database."""
    name = str(conninfo_to_dict(url)["dbname"])
    with psycopg.connect(postgresql, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            owner.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_blocks_outlive_everything_and_end_in_time(
    url: str, postgresql: str, edge: Edge, agent: Agent, make: Make, media: Endpoint
) -> None:
    key = f"device:{DESK}:outside"
    with psycopg.connect(url, autocommit=True) as connection:
        incident = act(connection, verdict("outbound_off"))
    wait(lambda: held(edge, key), 5)
    wait(lambda: live(url), 5)
    with away(url, postgresql):
        agent.kill()
        edge.stop(kill=True)
        edge.start()
        assert held(edge, key) is not None
        assert goes_out(media, make, "+88213555") == 603
        agent.start()
        edge.stop()
        edge.start()
        time.sleep(2)
        assert held(edge, key) is not None
        assert goes_out(media, make, "+88213555") == 603
    wait(lambda: live(url), 20)
    assert held(edge, key) is not None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE fraud_incidents SET state = 'released' WHERE id = %s", (incident,))
    wait(lambda: held(edge, key) is None, 5)
    assert held(edge, f"device:{DESK}") is None
    assert goes_out(media, make, "+88213555") == 486


def test_of_several_blocks_of_one_subject_each_holds(
    url: str, edge: Edge, agent: Agent, make: Make, media: Endpoint
) -> None:
    """Prefixes of several lengths, a class and a country, as rows have them."""
    refused = ("+88213555", "+2455551234", "+1234567890", "+49900123456", "+21620123456")
    passes = ("+88216555", "+4420712345", "+493012345")
    assert {goes_out(media, make, number) for number in refused + passes} == {486}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO blocks (scope, subject, what, reason) SELECT 'account', 'acme', what, 'test'"
            " FROM unnest(ARRAY['+88213', '+245', '+1', 'premium', 'TN']) AS what"
        )
        wait(lambda: live(url), 5)
        begins = "".join(f"+1{digit}/" for digit in range(10)) + "+21/+24/+88/"
        assert held(edge, "account:acme") == f"1/{begins}TN/premium/;lengths=06/04/02"
        assert {number: goes_out(media, make, number) for number in refused} == dict.fromkeys(refused, 603)
        assert {number: goes_out(media, make, number) for number in passes} == dict.fromkeys(passes, 486)
        connection.execute(
            "INSERT INTO blocks (scope, subject, what, reason) VALUES ('account', 'acme', '*', 'test')"
        )
        wait(lambda: live(url), 5)
        assert {goes_out(media, make, number) for number in passes} == {603}
        connection.execute("DELETE FROM blocks WHERE reason = 'test'")
        wait(lambda: live(url), 5)
    assert held(edge, "account:acme") is None


def test_phones_behind_connections_are_asked_too(url: str, edge: Edge, agent: Agent, make: Make) -> None:
    phone = make("desk1", 72, transport="tcp")
    phone.register()
    with psycopg.connect(url, autocommit=True) as connection:
        act(connection, verdict("unregister"))
        resume(url)
        assert states(connection) == {"unregister": "done"}
    assert phone.expect("NOTIFY")["Event"] == "check-sync"
    with pytest.raises(LookupError):
        edge.rpc("ul.lookup", "location", DESK)


BLOCKS = 100_000
#: Times what a refused call takes without them, and milliseconds of what the machine does meanwhile.
_TIMES, _MS = 1.25, 0.3


def test_a_hundred_thousand_blocks_cost_nothing_visible(edge: Edge, make: Make) -> None:
    phone = make("desk1", 73)
    edge.block(f"device:{DESK}:outside")
    took_ms(phone, 20)
    before = took_ms(phone, 60)
    rpc = JsonRpc(edge.home / "rpc.sock")
    # Each is of a subject of its own, which has an entry as well.
    for page in range(0, BLOCKS, 1000):
        names = [f"account:a{one}" for one in range(page, page + 1000)]
        rpc.calls(("htable.sets", ("block", name, "0/+88/;lengths=06")) for name in names)
        rpc.calls(("htable.sets", ("block", f"{name}:+88213", "fraud;incident=1")) for name in names)
    rpc.close()
    after = took_ms(phone, 60)
    print(f"a refused call: {before:.2f} ms, with {BLOCKS} blocks {after:.2f} ms")
    edge.rpc("htable.flush", "block")
    assert after < before * _TIMES + _MS
