"""Names from the rows: SQL answers what Python says, at any size; serial, live conditions, hostile names, rights."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controller.dns import names, store
from controller.schema.importer import load, read_company
from tests.database.name_rows import fill

pytestmark = pytest.mark.thorough

# Other conditions than today's: a third of the nodes is full, the others have shares of all sizes.
CONDITIONS = """
    CREATE OR REPLACE VIEW control.takes_calls AS
    SELECT n.name AS node, n.id % 3 > 0 AS takes, CASE WHEN n.id % 3 = 0 THEN 'full' END AS why,
        (n.id % 20 * 0.05)::numeric AS share
    FROM public.nodes AS n WHERE n.kind = 'media'"""


@pytest.fixture(scope="module")
def filled(new_database: Callable[..., str]) -> str:
    """A database with six clusters, 34 nodes of all states, 40 accounts with exceptions; tests only read it."""
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, random.Random(4))
    return url


@pytest.fixture
def still(filled: str) -> Iterator[psycopg.Connection]:
    """A connection to it."""
    with psycopg.connect(filled) as connection:
        yield connection


@pytest.fixture
def url(filled: str, new_database: Callable[..., str]) -> str:
    """A copy of it, to change."""
    return new_database(str(conninfo_to_dict(filled)["dbname"]))


@pytest.fixture
def company(url: str) -> Iterator[psycopg.Connection]:
    """A connection to the copy."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def lookup(connection: psycopg.Connection, name: str) -> list[tuple[str, str]]:
    """(type, data) of the records of a name, sorted; `("", "")`: the name exists, nothing stands there."""
    found = connection.execute(
        "SELECT coalesce(type, ''), concat_ws(' ', prio, content) FROM dns.lookup(%s)", (name.rstrip("."),)
    )
    return sorted(found.fetchall())


def shown(records: tuple[names.Record, ...]) -> list[tuple[str, str]]:
    return sorted((one.type, one.data.removesuffix(".")) for one in records) or [("", "")]


@pytest.mark.parametrize("seed", range(6))
def test_sql_answers_what_python_says(new_database: Callable[..., str], seed: int) -> None:
    with psycopg.connect(new_database(), autocommit=True) as connection:
        fill(connection, random.Random(seed))
        if seed % 2:
            connection.execute(CONDITIONS.encode())
        settings, known = store.settings(connection), store.nodes(connection)
        listed: dict[str, list[tuple[str, str]]] = {}
        for name, kind, data in connection.execute(
            "SELECT name, type, concat_ws(' ', prio, content) FROM dns.records"
        ):
            listed.setdefault(name, []).append((kind, data))
        places = list(store.places(connection))
        assert [one.account for one in places] == sorted(f"a{n}" for n in range(40))
        for place in places:
            for name, records in names.of_account(place, known, settings):
                assert lookup(connection, name) == shown(records), name
            for name, records in names.of_account(place, known, settings, live=False):
                assert sorted(listed.get(name.rstrip("."), [("", "")])) == shown(records), name
        for record in names.addresses(known, settings):
            assert lookup(connection, record.name) == [(record.type, record.data)]
            assert listed[record.name.rstrip(".")] == [(record.type, record.data)]


def test_every_listed_record_is_answered_alike(company: psycopg.Connection) -> None:
    company.execute("DELETE FROM control.node_state")  # nobody is heard of: all enabled nodes are answered
    company.execute("SELECT control.look_at_nodes()")
    wrong = company.execute(
        """
        SELECT r.name FROM dns.records r
         WHERE r.auth = 1 AND NOT EXISTS (
             SELECT FROM dns.lookup(r.name) l
              WHERE (l.type, l.content, l.ttl, l.domain_id) = (r.type, r.content, r.ttl, r.domain_id)
                AND l.prio IS NOT DISTINCT FROM r.prio)"""
    ).fetchall()
    assert wrong == []
    row = company.execute(
        "SELECT count(*), count(DISTINCT (name, type, prio, content)) FROM dns.records"
    ).fetchone()
    assert row is not None
    # The inner zone's name servers stand in both zones.
    assert row[0] - row[1] == 2


@pytest.mark.parametrize(
    ("name", "exists"),
    [
        ("voice.a1.dialplane.internal", True),
        ("_tcp.voice.a1.dialplane.internal", True),
        ("a1.dialplane.internal", True),
        ("nodes.dialplane.internal", True),
        ("c1.nodes.dialplane.internal", True),
        ("a1.phones.dialplane.internal", True),
        ("_udp.a1.phones.dialplane.internal", True),
        ("edges.phones.dialplane.internal", True),
        ("c6.nodes.dialplane.internal", False),
        ("fax.a1.dialplane.internal", False),
        ("_sip._tcp.fax.a1.dialplane.internal", False),
        ("_sip._udp.voice.a1.dialplane.internal", False),
        ("x._sip._tcp.voice.a1.dialplane.internal", False),
        ("_sip._tcp.voice.a99.dialplane.internal", False),
        ("_sips._udp.a1.phones.dialplane.internal", False),
        ("m1.c6.nodes.dialplane.internal", False),
        ("e1.nodes.dialplane.internal", False),
        ("m1.edges.phones.dialplane.internal", False),
        ("dialplane.example", False),
        ("xdialplane.internal", False),
        ("internal", False),
    ],
)
def test_a_name_exists_where_something_stands_there_or_below(
    still: psycopg.Connection, name: str, exists: bool
) -> None:
    assert lookup(still, name) == ([("", "")] if exists else [])


HOSTILE = [
    "'; DROP TABLE accounts; --.dialplane.internal",
    "_sip._tcp.voice.a1'.dialplane.internal",
    r"_sip._tcp.voice.a\1.dialplane.internal",
    r"_sip._tcp.voice\.a1.dialplane.internal",
    "_sip._tcp.voice.a%.dialplane.internal",
    "_sip._tcp.voice._.dialplane.internal",
    "..dialplane.internal",
    ".dialplane.internal",
    "_sip._tcp.voice..dialplane.internal",
    "a" * 63 + ".dialplane.internal",
    "a." * 117 + "dialplane.internal",
    "a" * 100_000,
    "_sip._tcp.voice.ä1.dialplane.internal",
    "_sip._tcp.voice.a1.dialplane.internal\n",
    "",
    "nodes.nodes.nodes.dialplane.internal",
    "{}.dialplane.internal",
    "_sip._tcp.{a1,voice}.a1.dialplane.internal",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_no_name(still: psycopg.Connection, name: str) -> None:
    found = still.execute("SELECT * FROM dns.lookup(%s)", (name,)).fetchall()
    assert found == []


def test_names_that_accounts_might_have_collide_with_none_of_ours(company: psycopg.Connection) -> None:
    for account in ("nodes", "edges", "ns1", "voice", "c1", "m1", "sip", "dialplane"):
        company.execute(
            "INSERT INTO accounts (name, display_name, cluster_id, country) VALUES (%s, 'x', 1, 'DE')",
            (account,),
        )
        for name in (
            f"_sip._tcp.voice.{account}.dialplane.internal",
            f"_sip._udp.{account}.phones.dialplane.internal",
        ):
            assert {kind for kind, _ in lookup(company, name)} == {"SRV"}, name
    assert lookup(company, "ns1.dialplane.internal") == [("A", "10.0.0.51")]
    row = company.execute(
        "SELECT count(*) FROM (SELECT name FROM dns.records WHERE auth = 1 GROUP BY name "
        "HAVING count(DISTINCT type) > 1) x"
    ).fetchone()
    assert row == (2,)  # both apexes, SOA and NS


# --- size -------------------------------------------------------------------------------------------


def test_a_name_is_found_by_indexes_whatever_the_number_of_accounts(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO accounts (name, display_name, cluster_id, country) "
            "SELECT 'many' || n, 'x', 1 + n % 6, 'DE' FROM generate_series(1, 100000) n"
        )
        connection.execute(
            "INSERT INTO account_services (account_id, service, cluster_id) "
            "SELECT id, 'voice', 2 FROM accounts WHERE id % 4 = 0 AND cluster_id <> 2 ON CONFLICT DO NOTHING"
        )
        connection.execute("VACUUM ANALYZE")
        plan = "\n".join(
            line
            for (line,) in connection.execute(
                "EXPLAIN SELECT * FROM control.assignments WHERE account = 'many77777' AND service = 'voice'"
            )
        )
        assert "accounts_name_key" in plan
        assert "account_services_key" in plan
        assert "Seq Scan on accounts" not in plan

        read = (
            "SELECT relname, seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
            "WHERE relname = ANY (%s)"
        )
        touched = ["accounts", "account_services"]
        names_asked = [
            "_sip._tcp.voice.many77777.dialplane.internal",
            "_sip._udp.many77777.phones.dialplane.internal",
            "many77777.dialplane.internal",
            "_sip._tcp.voice.none.dialplane.internal",
        ]
        for name in names_asked:
            connection.execute("SELECT pg_stat_force_next_flush()")  # what was read before does not count
            with connection.transaction():
                connection.execute("SELECT * FROM dns.lookup(%s)", (name,)).fetchall()
                for table, scans, rows in connection.execute(read, (touched,)).fetchall():
                    assert (scans, rows <= 8) == (0, True), (name, table, scans, rows)
        began = time.perf_counter()
        for n in range(1000):
            connection.execute(
                "SELECT * FROM dns.lookup(%s)", (f"_sip._tcp.voice.many{n}.dialplane.internal",)
            )
        took_ms = time.perf_counter() - began
        print(f"dns.lookup at 100,000 accounts: {took_ms:.2f} ms a name")
        assert took_ms < 20


# --- live conditions --------------------------------------------------------------------------------


def test_a_node_takes_calls_when_it_is_enabled_and_heard_of(company: psycopg.Connection) -> None:
    company.execute("DELETE FROM control.node_state")
    company.execute("UPDATE nodes SET state = 'enabled'")
    company.execute("UPDATE nodes SET state = 'draining' WHERE name = 'm1'")
    company.execute("UPDATE nodes SET state = 'disabled' WHERE name = 'm2'")
    for node, seconds in (("m1", 0), ("m3", 0), ("m4", 0.2), ("m5", 3.5), ("m6", 7200)):
        company.execute(
            "INSERT INTO control.node_state (node, kind, heard_at) "
            "VALUES (%s, 'media', clock_timestamp() - make_interval(secs => %s))",
            (node, seconds),
        )
    found: dict[str, str | None] = dict(
        company.execute(
            "SELECT node, why FROM control.takes_calls WHERE node < 'm7' AND takes = (why IS NULL)"
        ).fetchall()
    )
    assert {name: found[name] for name in ("m1", "m2", "m3", "m4", "m5", "m6", "m10")} == {
        "m1": "draining",
        "m2": "disabled",
        "m3": None,
        "m4": None,
        "m5": "not heard of",
        "m6": "not heard of",
        "m10": "its agent never reported",
    }
    assert not [name for name in found if name.startswith("e")]


# --- rights -----------------------------------------------------------------------------------------


@pytest.fixture
def reader(company: psycopg.Connection, url: str) -> Iterator[psycopg.Connection]:
    if not company.execute("SELECT 1 FROM pg_roles WHERE rolname = 'names_reader'").fetchone():
        company.execute("CREATE ROLE names_reader LOGIN IN ROLE dialplane_dns")
    with psycopg.connect(make_conninfo(url, user="names_reader"), autocommit=True) as connection:
        yield connection


def test_a_name_server_reads_names_and_nothing_else(
    company: psycopg.Connection, reader: psycopg.Connection
) -> None:
    assert lookup(reader, "_sip._tcp.voice.a1.dialplane.internal")
    assert reader.execute("SELECT count(*) FROM dns.zones").fetchone() == (2,)
    assert reader.execute("SELECT count(*) > 300 FROM dns.records").fetchone() == (True,)
    tables = company.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('public', 'control', 'migration') AND c.relkind IN ('r', 'v', 'm', 'S')"
    ).fetchall()
    assert len(tables) > 50
    for (table,) in tables:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT * FROM {table}".encode())
    functions = company.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname IN ('public', 'control') "
        "AND has_function_privilege('names_reader', p.oid, 'EXECUTE') "
        "AND (has_schema_privilege('names_reader', n.oid, 'USAGE'))"
    ).fetchall()
    assert functions == []
    for statement in ("INSERT INTO dns.zones VALUES (3, 'x', 'x')", "CREATE TABLE dns.mine (id integer)",
                      "CREATE TABLE public.mine (id integer)", "SELECT dns.read_only()"):  # fmt: skip
        with pytest.raises(psycopg.Error):
            reader.execute(statement.encode())


def test_a_shadow_in_a_temporary_schema_changes_no_answer(reader: psycopg.Connection) -> None:
    before = lookup(reader, "_sip._tcp.voice.a1.dialplane.internal")
    reader.execute("CREATE TEMP TABLE accounts (name text, id bigint, cluster_id bigint)")
    reader.execute("CREATE TEMP TABLE md5 (x text)")
    reader.execute("SET search_path = pg_temp, public")
    assert lookup(reader, "_sip._tcp.voice.a1.dialplane.internal") == before


def test_the_zone_file_lists_what_the_rows_say(company: psycopg.Connection, tmp_path: Path) -> None:
    for which, first in (("forwarding", "dialplane.internal."), ("device", "phones.dialplane.internal.")):
        lines = [str(one) for one in store.zone(company, which)]
        assert lines[0].startswith(f"{first} 5 IN SOA ns1.dialplane.internal. hostmaster.{first} ")
        assert f"{first} 5 IN NS ns2.example.net." in lines
        row = company.execute(
            "SELECT count(*) FROM dns.records WHERE domain_id = %s", (store.ZONES[which],)
        ).fetchone()
        assert row == (len(lines),)
    assert "ns1.dialplane.internal. 5 IN A 10.0.0.51" in [
        str(one) for one in store.zone(company, "forwarding")
    ]


def test_the_sample_company_has_names(new_database: Callable[..., str]) -> None:
    from tests.database.conftest import SAMPLE

    with psycopg.connect(new_database()) as connection:
        load(connection, read_company(SAMPLE))
        assert [kind for kind, _ in lookup(connection, "_sip._tcp.voice.acme.dialplane.internal")] == [
            "SRV",
            "SRV",
        ]
