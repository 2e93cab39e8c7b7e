"""The stack, up and holding the sample company, with everything registered that rings.

The compose file is started when it is not up yet, and left running: `make down` removes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from testcontainers.compose import DockerCompose

from tests.live import stack
from tests.live.phones import Phones


@pytest.fixture(scope="session", autouse=True)
def started() -> None:
    """The stack of compose.yaml, healthy."""
    DockerCompose(stack.ROOT, compose_file_name="compose.yaml", profiles=["calls"], wait=True).start()


@pytest.fixture(scope="session")
def company(started: None) -> None:
    """The sample company, published and live on every node."""
    stack.dialplane("import", stack.SAMPLE)
    applied = stack.dialplane("apply", "--yes", "--reason", "live tests", expect=None)
    assert applied.exit == 0, str(applied)
    verified = stack.dialplane("verify", expect=None)
    assert verified.exit == 0, str(verified)


@pytest.fixture(scope="session", autouse=True)
def began(company: None) -> str:
    """When the tests began, by the database's clock."""
    return stack.now()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The records of all other tests are looked at last."""
    items.sort(key=lambda item: item.path.name == "test_records.py")


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
