"""The stack, up and holding the sample company, with everything registered that rings.

The compose file is started when it is not up yet, and left running: `make down` removes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testcontainers.compose import DockerCompose

from tests.live import stack
from tests.live.company import NOT_FRAUD
from tests.live.phones import Phones


@pytest.fixture(scope="session", autouse=True)
def started() -> None:
    """The stack of compose.yaml, healthy."""
    DockerCompose(stack.ROOT, compose_file_name="compose.yaml", profiles=["calls"], wait=True).start()


@pytest.fixture(scope="session")
def company(started: None) -> None:
    """The sample company, published and live on every node."""
    stack.dialplane("import", stack.SAMPLE)
    stack.sql(NOT_FRAUD)
    applied = stack.dialplane("apply", "--yes", "--reason", "live tests", expect=None)
    assert applied.exit == 0, str(applied)
    verified = stack.dialplane("verify", expect=None)
    assert verified.exit == 0, str(verified)


@pytest.fixture(scope="session", autouse=True)
def began(company: None) -> str:
    """When the tests began, by the database's clock."""
    return stack.now()


_DEVICES = """
INSERT INTO devices (account_id, domain_id, user_id, name, ha1_md5, ha1_sha256)
    SELECT d.account_id, d.id, u.id, 'l' || n, md5(h), encode(sha256(h::bytea), 'hex')
    FROM domains d JOIN users u ON u.account_id = d.account_id AND u.name = 'one', generate_series(0, 39) n,
        concat('l', n, ':spread.example:load-phone-', n) h
    WHERE d.name = 'spread.example'
"""
_SECOND = ("media3", "media4")


@pytest.fixture(scope="session")
def second_cluster(company: None) -> Iterator[None]:
    """Cluster c2 of two media nodes, account `spread` on both clusters, live; taken away when all tests are over."""
    text = Path(__file__).with_name("two_clusters.yaml").read_text()
    assert stack.execute("ops", "sh", "-c", "cat > /tmp/two.yaml", stdin=text).exit == 0
    try:
        stack.dialplane("import", "/tmp/two.yaml")
        stack.sql(_DEVICES)
        stack.compose("up", "--detach", "--wait", *_SECOND)
        heard = "SELECT count(*) FROM control.node_state WHERE heard_at > clock_timestamp() - interval '2 s'"
        stack.until(lambda: stack.sql(heard) == "6", "all agents are heard of", 30)
        stack.dialplane("apply", "--yes", "--reason", "a second cluster")
        stack.until(lambda: stack.dialplane("verify", expect=None).exit == 0, "all is in sync", 40, 1)
        yield
    finally:
        stack.sql(
            "DELETE FROM accounts WHERE name = 'spread'; UPDATE clusters SET overflow_cluster_id = NULL; "
            "DELETE FROM nodes WHERE name IN ('media3', 'media4'); DELETE FROM clusters WHERE name = 'c2'"
        )
        stack.dialplane("apply", "--yes", "--allow-unsafe", "the second cluster goes", "--reason", "tests")
        stack.compose("rm", "--stop", "--force", "--volumes", *_SECOND)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of two clusters after those of one; the records of all others are looked at last."""
    last = ("test_two_clusters.py", "test_two_clusters_moves.py", "test_records.py")
    items.sort(key=lambda item: last.index(item.path.name) if item.path.name in last else -1)


@pytest.fixture
def phones(company: None) -> Phones:
    """Phones that know the edge."""
    return Phones(stack.container("phones"))


@pytest.fixture
def carrier_a(company: None) -> Phones:
    """The carrier at 10.213.0.31."""
    return Phones(stack.container("carrier-a"))


@pytest.fixture
def carrier_b(company: None) -> Phones:
    """The carrier at 10.213.0.32; `SIGNED` makes it want calls signed in."""
    return Phones(stack.container("carrier-b"))


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """No SIPp of one test is heard in the next: their containers run none at the end."""
    yield
    places, ends = ("phones", "carrier-a", "carrier-b"), time.monotonic() + 1
    with ThreadPoolExecutor(3) as pool:
        while found := [name for name, ids in zip(places, pool.map(_sipp, places), strict=True) if ids]:
            if time.monotonic() > ends:
                found = [name for name in found if _sipp(name, end=True)]
                assert not found, f"SIPp still ran in {found}"
            time.sleep(0.1)  # one that has just been told to stop


def _sipp(service: str, *, end: bool = False) -> str:
    """Process ids of the SIPps of a container; they are ended on demand."""
    look = "for one in $(grep -lsz ^sipp /proc/[0-9]*/cmdline); do one=${one#/proc/}; echo ${one%/*}; done"
    found = stack.execute(service, "sh", "-c", look).out.split()
    if found and end:
        stack.execute(service, "sh", "-c", f"kill -9 {' '.join(found)}")
    return " ".join(found)
