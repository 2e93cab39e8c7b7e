"""Two clusters, agents that report, and what moves leave behind: for tests of moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import conninfo_to_dict

from controller.cli import main
from controller.cli import moves as commands
from controller.moves import model, store
from tests.database.agents import Agents

Run = Callable[..., Result]
# A second cluster, and answers of name servers that are forgotten soon.
C2 = """
INSERT INTO clusters (name) VALUES ('c2');
INSERT INTO nodes (name, kind, cluster_id, address)
SELECT 'media' || n, 'media', (SELECT id FROM clusters WHERE name = 'c2'), ('10.213.0.2' || n)::inet
  FROM generate_series(3, 4) n;
INSERT INTO settings (name, value) VALUES ('dns_ttl_s', '1'), ('dns_refresh_s', '1');
UPDATE clusters SET voicemail_store = 'all';
INSERT INTO user_states (account_id, user_id, dnd)
SELECT u.account_id, u.id, true FROM users u JOIN accounts a ON a.id = u.account_id
 WHERE a.name = 'acme' AND u.name = 'alice';
"""
NODES = ("edge1", "edge2", "media1", "media2", "media3", "media4")
CALL = """
INSERT INTO control.call_records (call_id, account, started_at, media_node, legs)
VALUES ('up', 'acme', now() - interval '1 min', 'media1', '[{"node": "media1", "ended_at": null}]')"""
OVER = "UPDATE control.call_records SET complete = true, ended_at = now(), legs = '[]'"


@pytest.fixture(scope="module")
def two_clusters(published_sample: str, new_database: Callable[..., str]) -> str:
    """Name of a database with both clusters, to make others from."""
    url = new_database(published_sample)
    sql(url, C2)
    assert CliRunner().invoke(main, ["--database", url, "apply", "--yes", "--wait", "0"]).exit_code == 0
    return str(conninfo_to_dict(url)["dbname"])


@pytest.fixture(name="url")
def a_url(two_clusters: str, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(commands, "POLL_S", 0.02)
    monkeypatch.setattr(model, "QUIET_S", 0.3)
    facts = store.facts
    monkeypatch.setattr(store, "facts", lambda *of: replace(facts(*of), names_s=0.2))
    return new_database(two_clusters)


@pytest.fixture(name="run")
def a_run(url: str) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--database", url, "account", *words], input=stdin)

    return call


@pytest.fixture(name="agents")
def a_agents(url: str) -> Iterator[None]:
    with Agents(url, *NODES):
        yield


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def held(url: str, account: str = "acme") -> dict[str, int]:
    """Entries of an account on media nodes, by cluster."""
    return dict(
        sql(
            url,
            f"SELECT scope, count(*) FROM control.entries WHERE kind = 'media' AND account = '{account}' GROUP BY 1",
        )
    )


def edge(url: str, account: str = "acme") -> str:
    """What edges are told of it."""
    return str(
        sql(url, f"SELECT value FROM control.entries WHERE tbl = 'account' AND key = '{account}'")[0][0]
    )


def row(url: str, account: str = "acme") -> str:
    found = sql(
        url,
        f"SELECT c.name FROM accounts a JOIN clusters c ON c.id = a.cluster_id WHERE a.name = '{account}'",
    )
    return str(found[0][0])


def steps(url: str) -> dict[str, str]:
    return dict(
        sql(url, "SELECT a.name, m.step FROM control.account_moves m JOIN accounts a ON a.id = m.account_id")
    )


def until(condition: Callable[[], Any], limit_s: float = 15) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + limit_s
        time.sleep(0.02)


def wholly(url: str, cluster: str, account: str = "acme") -> bool:
    """Rows, edges, nodes and names say that cluster, and nothing else."""
    names = {
        content.split()[-1].split(".")[1]
        for (content,) in sql(
            url, f"SELECT content FROM dns.lookup('_sip._tcp.voice.{account}.dialplane.internal')"
        )
    }
    told = edge(url, account)
    return (row(url, account), set(held(url, account)), names) == (cluster, {cluster}, {cluster}) and (
        told.startswith(f"cluster={cluster};") and "was=" not in told
    )
