"""Rows, what is published and what nodes tell, compared for every account; what is repaired, kept and said."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from controller import pipeline
from controller.agreement import compare, digests, look, names, store
from controller.cli import main
from controller.cli.doctor import examine
from tests.database.agents import Agents

Run = Callable[..., Result]
NODES = {"edge1": "edge", "edge2": "edge", "media1": "media", "media2": "media"}


@pytest.fixture
def url(published_sample: str, new_database: Callable[..., str]) -> str:
    return new_database(published_sample)


@pytest.fixture
def rows(url: str) -> Iterator[psycopg.Connection]:
    """The published company; every node told of digests that are right."""
    with psycopg.connect(url, autocommit=True) as connection:
        for node in NODES:
            tells(connection, node)
        yield connection


def held(connection: psycopg.Connection, node: str) -> dict[str, dict[str, str]]:
    """What the node should hold, by table."""
    found: dict[str, dict[str, str]] = {table: {} for table in digests.TABLES[NODES[node]]}
    scopes = ["*", "c1"] if NODES[node] == "media" else ["*"]
    for table, key, value in connection.execute(
        "SELECT tbl, key, value FROM control.entries WHERE kind = %s AND scope = ANY (%s)",
        (NODES[node], scopes),
    ):
        if digests.counts(NODES[node], table, key):
            found[table][key] = value
    return found


def tells(connection: psycopg.Connection, node: str, **edits: dict[str, str | None]) -> None:
    """What an agent writes after a comparison; `edits`: by table, what its server holds otherwise."""
    connection.execute(
        "INSERT INTO control.node_state (node, kind, revision, heard_at) "
        "SELECT %s, %s, max(id), clock_timestamp() + interval '1 h' FROM control.revisions ON CONFLICT DO NOTHING",
        (node, NODES[node]),
    )
    for table, entries in held(connection, node).items():
        edited = {
            key: value for key, value in {**entries, **edits.get(table, {})}.items() if value is not None
        }
        told = digests.of(edited.items())
        connection.execute(
            "INSERT INTO control.node_digests SELECT %s, %s, max(id), control.node_group(%s), %s, %s, now() "
            "FROM control.revisions "
            "ON CONFLICT (node, tbl) DO UPDATE SET revision = excluded.revision, buckets = excluded.buckets",
            (node, table, node, told.entries, list(told.buckets)),
        )


def test_sql_and_python_sum_alike(rows: psycopg.Connection) -> None:
    for one in store.told(rows):
        assert one.expected == digests.of(held(rows, one.node)[one.table].items()), one
        assert one.expected.entries or one.table in ("overflow", "service"), one


def test_what_agrees_is_no_finding(rows: psycopg.Connection) -> None:
    assert look.database(rows, repair=True) == ([], [])


def test_rows_ahead_of_what_is_published(rows: psycopg.Connection) -> None:
    rows.execute("INSERT INTO clusters (name) VALUES ('c9')")
    rows.execute(
        "INSERT INTO nodes (name, kind, cluster_id, address) SELECT 'm9', 'media', id, '10.9.0.9' FROM clusters "
        "WHERE name = 'c9'"
    )
    rows.execute(
        "UPDATE accounts SET cluster_id = (SELECT id FROM clusters WHERE name = 'c9'), device_group_id = "
        "(SELECT min(id) FROM device_groups) WHERE name = 'acme'"
    )
    rows.execute(
        "INSERT INTO account_services (account_id, service, cluster_id, overflow_cluster_id) "
        "SELECT a.id, 'queue', c.id, d.id FROM accounts a, clusters c, clusters d "
        "WHERE (a.name, c.name, d.name) = ('acme', 'c1', 'c9')"
    )
    found = compare.placed(store.placed(rows))
    group = rows.execute("SELECT name FROM device_groups ORDER BY id LIMIT 1").fetchone()
    assert group is not None
    said = {(one.account, one.what): (one.expected, one.found, one.done) for one in found}
    assert said == {
        ("acme", "place"): (f"cluster=c9;group={group[0]};queue=c1/c9", "cluster=c1", compare.APPLY),
        ("acme", "held by cluster c9"): ("yes", None, compare.APPLY),
    }
    with psycopg.connect(rows.info.dsn) as other:
        plan = pipeline.make_plan(other)
        pipeline.publish(other, plan, author="test", reason="test", unsafe_reason="a test")
    assert store.placed(rows) == []


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE control.entries SET value = 'cluster=c2' WHERE (tbl, key) = ('account', 'acme')", ("acme", "place")),
        ("DELETE FROM control.entries WHERE tbl = 'account' AND key = 'acme'", ("acme", "place")),
        (
            "DELETE FROM control.entries WHERE tbl = 'dialplan' AND key = 'account-acme/:account'",
            ("acme", "held by cluster c1"),
        ),
        (
            "INSERT INTO control.entries VALUES ('edge', '*', 'overflow', 'c1', 'c7', NULL, 1)",
            (None, "overflow of cluster c1"),
        ),
        (
            "UPDATE control.entries SET value = 'other' WHERE tbl = 'edge_node' AND value = 'edge1'",
            (None, "edge at 10.213.0.11"),
        ),
    ],
)  # fmt: skip
def test_what_no_change_of_rows_explains(
    rows: psycopg.Connection, statement: str, what: tuple[str, str]
) -> None:
    rows.execute(statement.encode())
    [one] = compare.placed(store.placed(rows))
    assert (one.account, one.what) == what
    assert one.done == compare.APPLY_ALL


def test_targets_are_published_again(rows: psycopg.Connection) -> None:
    rows.execute("UPDATE control.entries SET value = 'media1=10.213.0.21:5060,99' WHERE tbl = 'target'")
    [one] = store.targets(rows)
    assert (one.what, one.found, one.done) == ("target c1", "media1=10.213.0.21:5060,99", compare.AGAIN)
    value = rows.execute("SELECT value FROM control.entries WHERE tbl = 'target'").fetchone()
    assert value == (one.expected,)
    assert store.targets(rows) == []


def test_a_node_that_holds_something_else_is_suspected_and_says_which_keys(
    rows: psycopg.Connection, url: str
) -> None:
    tells(rows, "edge2", account={"acme": "cluster=c7;status=active"})
    tells(rows, "media1", dialplan={"account-acme/:account": None})
    seen = look.database(rows, repair=True)
    assert seen.findings == []
    assert [(one.node, one.table, one.buckets) for one in seen.suspicions] == [
        ("edge2", "account", (digests.bucket("acme"),)),
        ("media1", "dialplan", (digests.bucket("account-acme/:account"),)),
    ]

    def agent() -> None:
        """Answers one question for edge2; media1 is told of by its buckets alone."""
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(100):
                done = connection.execute(
                    "UPDATE control.node_commands SET taken_at = now(), done_at = now(), result = CASE node "
                    """WHEN 'edge2' THEN '{"entries": {"acme": "cluster=c7;status=active"}}' """
                    """ELSE '{"error": "no", "outcome": "refused"}' END::jsonb WHERE done_at IS NULL"""
                )
                if done.rowcount == len(seen.suspicions):
                    return
                time.sleep(0.05)

    thread = threading.Thread(target=agent)
    thread.start()
    findings = look.keys(rows, url, seen.suspicions)
    thread.join()
    assert [(one.account, one.where, one.found) for one in findings] == [
        ("acme", "edge2", "cluster=c7;status=active"),
        (None, "media1", "other entries in 1 of 256 buckets"),
    ]
    asked = "SELECT node FROM control.node_commands WHERE verb = 'reload' ORDER BY node"
    assert rows.execute(asked).fetchall() == [("edge2",), ("media1",)]
    assert store.reload(rows, ["edge2"]) == [], "not twice in a quarter of an hour"


def test_what_was_published_after_a_comparison_says_nothing(rows: psycopg.Connection) -> None:
    rows.execute("UPDATE nodes SET weight = 7 WHERE name = 'media1'")
    assert look.database(rows, repair=True) == ([], [])
    tells(rows, "edge1", target={"c1": "media1=10.213.0.21:5060,10"})
    assert [one.node for one in look.database(rows, repair=True).suspicions] == ["edge1"]


def test_a_node_that_takes_over_for_another_cluster_since_says_nothing(rows: psycopg.Connection) -> None:
    rows.execute("INSERT INTO clusters (name) VALUES ('c9')")
    rows.execute(
        "UPDATE clusters SET overflow_cluster_id = (SELECT id FROM clusters WHERE name = 'c1') WHERE name = 'c9'"
    )
    tells(rows, "media1", dialplan={"account-acme/:account": None})
    rows.execute("UPDATE control.node_digests SET of_group = 'c1' WHERE node = 'media1'")
    assert look.database(rows, repair=True).suspicions == []


def test_a_cluster_without_a_node_that_takes_calls_is_one_finding(rows: psycopg.Connection) -> None:
    rows.execute("UPDATE nodes SET state = 'draining' WHERE kind = 'media'")
    [one] = store.empty_clusters(rows)
    assert one.what == "cluster c1, of 2 accounts"
    assert one.found == "media1: draining; media2: draining"


@pytest.mark.thorough
def test_a_name_server_that_is_down_is_one_finding(rows: psycopg.Connection) -> None:
    assert names.look(rows, None, (), limit_s=5) == ([], []), "no row names one"
    rows.execute(
        "INSERT INTO settings (name, value) VALUES ('name_servers', 'ns1.dialplane.internal/127.0.0.9')"
    )
    found, said = names.look(rows, None, {"acme"}, limit_s=5)
    [one] = found
    assert (one.where, one.account) == ("name server 127.0.0.9", None)
    assert said == [f"name server 127.0.0.9: {one.found}"]


def test_the_controllers_look_is_kept_and_doctor_says_it(rows: psycopg.Connection, url: str) -> None:
    tells(rows, "edge2", account={"acme": "cluster=c7"})
    with psycopg.connect(url) as connection:
        look.periodic(connection)
    kept = "SELECT account, what, place, since FROM control.disagreements"
    [(account, what, place, since)] = rows.execute(kept).fetchall()
    assert (account, what, place) == (None, "table account", "edge2")
    [found] = [one for one in examine(url) if one.about == "agreement"]
    assert "1 disagree; table account at edge2" in found.found
    assert found.remedy == "", "one look may see what is on its way"
    rows.execute("UPDATE control.disagreements SET since = since - interval '30 s'")
    since -= timedelta(seconds=30)
    with psycopg.connect(url) as connection:
        look.periodic(connection)
    assert rows.execute(kept).fetchall() == [(account, what, place, since)]
    [found] = [one for one in examine(url) if one.about == "agreement"]
    assert found.remedy
    tells(rows, "edge2")
    with psycopg.connect(url) as connection:
        look.periodic(connection)
    assert rows.execute(kept).fetchall() == []
    [found] = [one for one in examine(url) if one.about == "agreement"]
    assert found.remedy == ""


def verified(url: str, *arguments: str) -> Result:
    """`verify` while agents answer."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE control.node_state SET heard_at = clock_timestamp()")
    with Agents(url, *NODES), _verifying(url):
        return CliRunner().invoke(main, ["--database", url, "verify", *arguments])


class _verifying:  # noqa: N801 - a context
    """Agents that have compared everything just now."""

    def __init__(self, url: str) -> None:
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(0.05):
                connection.execute("UPDATE control.node_state SET verified_at = clock_timestamp()")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()


def test_verify_says_what_disagrees_and_ends_with_3(rows: psycopg.Connection, url: str) -> None:
    done = verified(url)
    assert done.exit_code == 0, done.output
    rows.execute("UPDATE control.entries SET value = 'cluster=c2' WHERE tbl = 'account' AND key = 'acme'")
    for node in NODES:
        tells(rows, node)
    done = verified(url, "--format", "json")
    assert done.exit_code == 3, done.output
    listed = json.loads(done.stdout)
    assert [one["node"] for one in listed] == ["edge1", "edge2", "media1", "media2", None]
    assert (listed[4]["account"], listed[4]["what"], listed[4]["found"]) == ("acme", "place", "cluster=c2")
    assert "dialplane apply --all" in listed[4]["done"]
    assert "dialplane apply --all" in verified(url).stdout
    assert verified(url, "--names", "many").exit_code == 2


def test_a_reader_may_look_and_repairs_nothing(rows: psycopg.Connection) -> None:
    rows.execute("SET ROLE dialplane_reader")
    assert not store.may_repair(rows)
    assert look.database(rows, repair=False) == ([], [])
    rows.execute("SET ROLE dialplane_controller")
    assert store.may_repair(rows)
    assert look.periodic(rows) == []
