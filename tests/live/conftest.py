"""The stack, up and holding the sample company, with everything registered that rings.

The compose file is started when it is not up yet, and left running: `make down` removes it.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    """The carrier at 10.213.0.32, which wants calls signed in."""
    return Phones(stack.container("carrier-b"))


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """No SIPp of one test is heard in the next: their containers run none at the end."""
    yield
    for service in ("phones", "carrier-a", "carrier-b"):
        left = stack.execute(service, "sh", "-c", "grep -lsz ^sipp /proc/[0-9]*/cmdline || true").out.strip()
        assert not left, f"SIPp still runs in {service}: {left}"
