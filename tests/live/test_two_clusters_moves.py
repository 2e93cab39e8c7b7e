"""An account moves to another cluster and back, with calls up and one starting every 200 ms: none is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.live import stack
from tests.live.load import Load
from tests.live.phones import EDGE, Phone, Phones, render

SECRET = "mover-phone-secret"
LONG = Phone("long", "mover.example", SECRET, port=5120, voice=41)
# Who is in a call goes on at the old cluster: these are not in two at a time.
CALLERS = [Phone(f"m{n}", "mover.example", SECRET, port=6201) for n in range(40)]
CALLEE = Phone("callee", "mover.example", SECRET, port=6202, voice=42)
RATE, RING_MS, TALK_MS = 5, 800, 2500
# *43 is the echo test; who calls 201 gets a phone that rings for a while, by a media node.
SETUP = f"""
INSERT INTO accounts (name, display_name, cluster_id, country)
    SELECT 'mover', 'Mover', id, 'DE' FROM clusters WHERE name = 'c1';
INSERT INTO domains (account_id, name) SELECT id, 'mover.example' FROM accounts WHERE name = 'mover';
INSERT INTO users (account_id, name, display_name)
    SELECT id, unnest('{{caller,callee,long}}'::text[]), 'A user' FROM accounts WHERE name = 'mover';
INSERT INTO devices (account_id, domain_id, user_id, name, ha1_md5, ha1_sha256)
    SELECT u.account_id, d.id, u.id, u.name, md5(h), encode(sha256(h::bytea), 'hex')
    FROM users u JOIN domains d ON d.account_id = u.account_id, concat(u.name, ':mover.example:{SECRET}') h
    WHERE d.name = 'mover.example';
INSERT INTO devices (account_id, domain_id, user_id, name, ha1_md5, ha1_sha256)
    SELECT u.account_id, d.id, u.id, 'm' || n, md5(h), encode(sha256(h::bytea), 'hex')
    FROM users u JOIN domains d ON d.account_id = u.account_id AND u.name = 'caller', generate_series(0, 39) n,
        concat('m', n, ':mover.example:{SECRET}') h
    WHERE d.name = 'mover.example';
INSERT INTO extensions (account_id, extension, kind) SELECT id, '*43', 'echo' FROM accounts WHERE name = 'mover';
INSERT INTO extensions (account_id, extension, kind, user_id, on_no_answer)
    SELECT account_id, '201', 'user', id, 'announce' FROM users WHERE name = 'callee' AND account_id =
        (SELECT id FROM accounts WHERE name = 'mover');
"""


@pytest.fixture
def mover(second_cluster: None) -> Iterator[None]:
    """The account, live on c1; taken away again, wherever it is by then."""
    stack.sql(SETUP)
    try:
        stack.dialplane("apply", "--yes", "--reason", "an account that moves")
        yield
    finally:
        stack.sql("DELETE FROM accounts WHERE name = 'mover'")
        stack.dialplane("apply", "--yes", "--allow-unsafe", "it goes home", "--reason", "tests")


def sipp(scenario: str, port: int, *arguments: str, limit_s: float, **keys: Any) -> stack.Done:
    """Many calls of one scenario from one port; ends when they are over."""
    name = f"{scenario}-{port}"
    text = render(scenario, domain="mover.example", **keys)
    assert stack.execute("phones", "sh", "-c", f"cat > /tmp/{name}.xml", stdin=text).exit == 0
    command = (
        f"cd /tmp && sipp -sf {name}.xml -p {port} -key rtp {port + 100} -nostdin -au {keys['user']} -ap {SECRET} "
        f"-timeout {limit_s:.0f}s -trace_err -error_file {name}.err {' '.join(arguments)} {EDGE}:5060 >/dev/null; "
        f"status=$?; head -c 3000 {name}.err 2>/dev/null; exit $status"
    )
    return stack.execute("phones", "sh", "-c", command, limit_s=limit_s + 15)


def registrations() -> list[dict[str, Any]]:
    return stack.documents(
        "SELECT edge, aor, contacts FROM control.registrations WHERE aor LIKE '%@mover.example' ORDER BY 1, 2"
    )


def held() -> dict[str, int]:
    """Entries of the account on media nodes, by cluster."""
    found = stack.documents(
        "SELECT scope, count(*) FROM control.entries WHERE kind = 'media' AND account = 'mover' GROUP BY 1"
    )
    return {one["scope"]: one["count"] for one in found}


def on_edges() -> set[str]:
    """What both edges run for the account: the cluster."""
    told = [stack.dialplane("rpc", edge, "htable.get", "account", "mover").out for edge in ("edge1", "edge2")]
    return {name for name in ("c1", "c2") for one in told if f"cluster={name};" in one}


def counted(since: str, until: str, turned_at: str) -> dict[str, int]:
    """Calls of the account between two moments, and where they were when edges were told."""
    (found,) = stack.documents(f"""
        SELECT count(*) AS tried,
               count(*) FILTER (WHERE started_at <= '{turned_at}' AND answered_at > '{turned_at}') AS "in set-up",
               count(*) FILTER (WHERE answered_at <= '{turned_at}' AND ended_at > '{turned_at}') AS established,
               count(*) FILTER (WHERE answered_at IS NULL OR cause_text = 'lost' OR cause <> 16) AS lost
          FROM control.call_records
         WHERE account = 'mover' AND started_at BETWEEN '{since}' AND '{until}' AND complete""")
    return found


def turned_at(move: int, back: bool) -> str:
    """When edges were told of the other cluster."""
    newest = "DESC" if back else "ASC"
    return stack.sql(
        f"SELECT created_at FROM control.revisions WHERE reason LIKE 'move {move}: mover, point: %' "
        f"ORDER BY id {newest} LIMIT 1"
    )


def test_a_move_there_and_back_under_calls_loses_none(mover: None, phones: Phones) -> None:
    phones.registered(CALLEE, LONG)
    stack.until(lambda: len(registrations()) == 2, "the edges told of both phones")
    before = registrations()
    began = stack.now()
    seconds = 150
    with ThreadPoolExecutor(1) as pool:
        callee = pool.submit(
            sipp,
            "answer",
            CALLEE.port,
            "-m",
            str(RATE * seconds),
            limit_s=seconds + 60,
            user="callee",
            ring_ms=RING_MS,
        )
        load = Load(CALLERS, to="201", target=EDGE, rate=RATE, talk_ms=TALK_MS)
        talk = phones.start("call", LONG, to="*43", talk_ms=20_000, limit_s=60)
        talk.until(200)
        time.sleep(4)
        there = stack.dialplane(
            "account", "move", "mover", "--to", "c2", "--yes", "--reason", "live", limit_s=120
        )
        assert there.out.rstrip().endswith("is done: all accounts moved"), there
        move, middle = int(stack.sql("SELECT max(id) FROM control.moves")), stack.now()
        leg = talk.wait()
        assert leg.ok, leg
        assert leg.heard["other"] > 700, leg  # the announcement of the echo test
        assert set(held()) == on_edges() == {"c2"}
        back = stack.dialplane("account", "moves", "rollback", str(move), "--yes", limit_s=120)
        assert back.out.rstrip().endswith("all accounts are back where they were"), back
        end = stack.now()
        assert set(held()) == on_edges() == {"c1"}
        load.stop()
        assert not [call for call in load.calls() if call.lost]
        stack.signal("phones", "USR1", "sipp*answer-6202*")
        callee.result()
    stack.until(
        lambda: (
            not stack.documents("SELECT 1 FROM control.call_records WHERE account = 'mover' AND NOT complete")
        ),
        "every record is complete",
        limit_s=30,
    )
    table = {
        "there": counted(began, middle, turned_at(move, back=False)),
        "back": counted(middle, end, turned_at(move, back=True)),
    }
    print("\nmove    tried  in set-up  established  lost")
    for name, row in table.items():
        print(f"{name:<6}  {row['tried']:5}  {row['in set-up']:9}  {row['established']:11}  {row['lost']:4}")
    for row in table.values():
        assert row["tried"] > 20 * RATE
        assert row["in set-up"] > 0
        assert row["established"] > 0
        assert row["lost"] == 0
    assert registrations() == before
