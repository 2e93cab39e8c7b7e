"""Thousands of phones come up at once, as after a power cut."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.live import stack
from tests.live.phones import EDGE, render

CROWD = 2000
SETUP = f"""
INSERT INTO accounts (name, display_name, cluster_id, country)
    SELECT 'crowd', 'Crowd', id, 'DE' FROM clusters WHERE name = 'c1';
INSERT INTO domains (account_id, name) SELECT id, 'crowd.example' FROM accounts WHERE name = 'crowd';
INSERT INTO devices (account_id, domain_id, name, ha1_md5, ha1_sha256)
    SELECT d.account_id, d.id, 'p' || n, md5(h), encode(sha256(h::bytea), 'hex')
    FROM domains d, generate_series(1, {CROWD}) n, concat('p', n, ':crowd.example:secret-', n) h
    WHERE d.name = 'crowd.example';
"""


@pytest.fixture
def crowd(company: None) -> Iterator[None]:
    """An account with that many devices, live; taken away again."""
    stack.sql(SETUP)
    try:
        stack.dialplane("apply", "--yes", "--reason", "a crowd")
        yield
    finally:
        stack.sql("DELETE FROM accounts WHERE name = 'crowd'")
        stack.dialplane("apply", "--yes", "--allow-unsafe", "the crowd goes home", "--reason", "tests")


def test_thousands_of_phones_register_at_once(crowd: None) -> None:
    """All succeed; they come from one address, a second's rate above what a stranger may do."""
    lines = "\n".join(
        f"p{n};crowd.example;[authentication username=p{n} password=secret-{n}]" for n in range(1, CROWD + 1)
    )
    for name, content in (("crowd.xml", render("crowd")), ("crowd.csv", f"SEQUENTIAL\n{lines}\n")):
        assert stack.execute("phones", "sh", "-c", f"cat > /tmp/{name}", stdin=content).exit == 0
    began = time.monotonic()
    done = stack.execute(
        "phones", "sh", "-c",
        f"cd /tmp && sipp -sf crowd.xml -inf crowd.csv -m {CROWD} -r 400 -l {CROWD} -p 6100 -nostdin -timeout 60s "
        f"-trace_err -error_file crowd.err {EDGE}:5060 >/dev/null; status=$?; head -c 2000 crowd.err 2>/dev/null; "
        "exit $status",
        limit_s=90,
    )  # fmt: skip
    print(f"{CROWD} registrations in {time.monotonic() - began:.1f} s")
    assert done.exit == 0, str(done)
    held = stack.dialplane("rpc", "edge1", "stats.fetch", "usrloc:registered_users").out
    assert int("".join(filter(str.isdigit, held)) or 0) >= CROWD, held
