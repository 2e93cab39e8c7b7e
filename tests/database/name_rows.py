"""Rows for tests of names: six clusters, 34 nodes of all states, 40 accounts with exceptions; others for each seed."""

from __future__ import annotations

import random

import psycopg

from controller.dns import names

SERVERS = "ns1.dialplane.internal/10.0.0.51,ns2.example.net"


def fill(connection: psycopg.Connection, chance: random.Random) -> None:
    def number(low: int, high: int) -> int:
        return chance.randint(low, high)

    run = connection.execute
    run("INSERT INTO clusters (name) SELECT 'c' || n FROM generate_series(1, 6) n")
    run("UPDATE clusters SET overflow_cluster_id = CASE WHEN id < 6 AND id <> 3 THEN id + 1 END")
    run("INSERT INTO device_groups (name) VALUES ('g1'), ('g2')")
    run("INSERT INTO settings (name, value) VALUES ('name_servers', %s)", (SERVERS,))
    for n in range(24):
        run(
            "INSERT INTO nodes (name, kind, cluster_id, address, weight, state, sip_port) "
            "VALUES (%s, 'media', %s, %s, %s, %s, %s)",
            (f"m{n}", number(1, 2) if n < 18 else number(3, 5), f"2001:db8::{n}" if n % 5 == 0 else f"10.0.2.{n}",
             chance.choice((5, 10, 10, 20)), chance.choice(("enabled",) * 4 + ("draining", "disabled")), 5060 + n % 3),
        )  # fmt: skip
        if n % 4:
            run(
                "INSERT INTO control.node_state (node, kind, heard_at) "
                "VALUES (%s, 'media', clock_timestamp() - make_interval(secs => %s))",
                (f"m{n}", chance.choice((-3600, -3600, 3600))),
            )
    for n in range(10):
        run(
            "INSERT INTO nodes (name, kind, device_group_id, address, public_address, weight, state, tls_port) "
            "VALUES (%s, 'edge', %s, %s, %s, %s, %s, %s)",
            (f"e{n}", number(1, 2), f"10.0.1.{n}", chance.choice((None, f"198.51.100.{n}", f"2001:db8:1::{n}")),
             chance.choice((5, 10)), "disabled" if n == 3 else "enabled", chance.choice((None, 5061))),
        )  # fmt: skip
    for n in range(40):
        run(
            "INSERT INTO accounts (name, display_name, country, cluster_id, device_group_id) "
            "VALUES (%s, 'x', 'DE', %s, %s)",
            (f"a{n}", number(1, 6), chance.choice((None, 1, 2))),
        )
        if n % 3 == 0:
            own = number(1, 3)
            run(
                "INSERT INTO account_services (account_id, service, cluster_id, overflow_cluster_id) "
                "SELECT id, %s, %s, %s FROM accounts WHERE name = %s",
                (chance.choice(names.SERVICES), own, chance.choice((None, own + 1)), f"a{n}"),
            )
