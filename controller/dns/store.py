"""Rows for names: places of accounts, nodes with what holds of them now, zones as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from controller.dns import names
from controller.errors import InputError

ZONES = {"forwarding": 1, "device": 2}
_BATCH = 1_000


class LeftOut(NamedTuple):
    """A media node that gets no new calls, and why."""

    node: str
    cluster: str
    why: str


def settings(connection: Connection[Any]) -> names.Settings:
    """What holds for all names."""
    row = connection.execute(
        "SELECT zone, device_zone, name_servers, ttl_s FROM control.name_settings"
    ).fetchone()
    assert row is not None  # noqa: S101  the view has one row
    zone, device_zone, servers, ttl_s = row
    hosts = (one.partition("/") for one in servers.split(","))
    return names.Settings(
        zone, device_zone, tuple((host, address or None) for host, _, address in hosts), ttl_s
    )


def serial(connection: Connection[Any]) -> int:
    """Serial of both zones, as DNS has it (32 bits)."""
    row = connection.execute("SELECT serial & 4294967295 FROM control.name_serial").fetchone()
    return int(row[0]) if row else 0


def name_servers(connection: Connection[Any]) -> list[str]:
    """Name servers that rows name, by address where one is given; none if no row does."""
    row = connection.execute("SELECT value FROM public.settings WHERE name = 'name_servers'").fetchone()
    parts = (one.partition("/") for one in (row[0].split(",") if row else ()))
    return [address or host for host, _, address in parts]


def changed_within(connection: Connection[Any], beyond_s: float) -> bool:
    """Whether rows that names depend on changed so short a time ago that a secondary need not know, and `beyond_s`."""
    row = connection.execute(
        """SELECT s.changed_at > clock_timestamp() - make_interval(secs => z.refresh_s + %s)
             FROM control.name_serial s CROSS JOIN control.name_settings z""",
        (beyond_s,),
    ).fetchone()
    return bool(row and row[0])


def nodes(connection: Connection[Any]) -> names.Nodes:
    """Enabled nodes, media nodes with whether they take calls now."""
    media = connection.execute(
        """
        SELECT n.name, c.name, host(n.address), n.sip_port, n.weight, t.why, t.share
          FROM public.nodes n
          JOIN public.clusters c ON c.id = n.cluster_id
          JOIN control.takes_calls t ON t.node = n.name
         WHERE n.state = 'enabled' ORDER BY n.name"""
    )
    edges = connection.execute(
        """
        SELECT n.name, g.name, host(coalesce(n.public_address, n.address)), n.sip_port, n.tls_port, n.weight
          FROM public.nodes n
          JOIN public.device_groups g ON g.id = n.device_group_id
         WHERE n.state = 'enabled' ORDER BY n.name"""
    )
    return names.nodes(
        (names.MediaNode(*row) for row in media.fetchall()),
        [names.EdgeNode(*row) for row in edges.fetchall()],
    )


def left_out(connection: Connection[Any], clusters: set[str]) -> list[LeftOut]:
    """Media nodes of these clusters that get no new calls, by name."""
    found = connection.execute(
        """
        SELECT n.name, c.name, t.why
          FROM control.takes_calls t
          JOIN public.nodes n ON n.name = t.node
          JOIN public.clusters c ON c.id = n.cluster_id
         WHERE NOT t.takes AND c.name = ANY (%s) ORDER BY n.name""",
        (list(clusters),),
    )
    return [LeftOut(*row) for row in found]


def place(connection: Connection[Any], account: str) -> names.Place:
    """Where an account is served. InputError: there is none of that name."""
    for found in _places(connection, [account]):
        return found
    raise InputError(f"there is no account {account} (table accounts)")


def places(connection: Connection[Any]) -> Iterator[names.Place]:
    """All accounts, by name; memory stays that of a batch."""
    last = ""
    while True:
        batch = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM public.accounts WHERE name > %s ORDER BY name LIMIT %s", (last, _BATCH)
            )
        ]
        if not batch:
            return
        yield from _places(connection, batch)
        last = batch[-1]


def places_of(connection: Connection[Any], accounts: Sequence[str]) -> Iterator[names.Place]:
    """Of these accounts, those that there are; memory stays that of a batch."""
    for start in range(0, len(accounts), _BATCH):
        found = connection.execute(
            "SELECT name FROM public.accounts WHERE name = ANY (%s) ORDER BY name",
            (list(accounts[start : start + _BATCH]),),
        )
        yield from _places(connection, [name for (name,) in found])


def sample(connection: Connection[Any], count: int) -> list[str]:
    """So many accounts by chance, others each time; at a million accounts without sorting them."""
    row = connection.execute(
        "SELECT reltuples FROM pg_class WHERE oid = 'public.accounts'::regclass"
    ).fetchone()
    share = min(100.0, 200.0 * count / max(row[0] if row else 0, count, 1.0))
    method = "" if share >= 100 else f"TABLESAMPLE BERNOULLI ({share:.6f})"  # noqa: PLR2004 - percent
    found = connection.execute(
        f"SELECT name FROM public.accounts {method} ORDER BY random() LIMIT %s", (count,)
    )
    return [name for (name,) in found]


def _places(connection: Connection[Any], accounts: list[str]) -> Iterator[names.Place]:
    services: dict[str, dict[str, tuple[str, str | None]]] = {name: {} for name in accounts}
    for account, service, cluster, overflow in connection.execute(
        "SELECT account, service, cluster, overflow FROM control.assignments WHERE account = ANY (%s)",
        (accounts,),
    ):
        services[account][service] = (cluster, overflow)
    groups = connection.execute(
        """
        SELECT a.name, g.name FROM public.accounts a LEFT JOIN public.device_groups g ON g.id = a.device_group_id
         WHERE a.name = ANY (%s) ORDER BY a.name""",
        (accounts,),
    )
    for account, group in groups.fetchall():
        yield names.Place(account, group, services[account])


def zone(connection: Connection[Any], which: str) -> Iterator[names.Record]:
    """Every record of a zone (a key of ZONES), SOA first, one picture; memory stays that of a batch."""
    with connection.transaction(), connection.cursor(name="zone") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            """
            SELECT z.name, s.ttl_s, 'SOA', NULL, z.soa
              FROM dns.zones z CROSS JOIN control.name_settings s WHERE z.id = %s
             UNION ALL
            SELECT name, ttl, type, prio, content FROM dns.records WHERE domain_id = %s AND type <> 'SOA'""",
            (ZONES[which], ZONES[which]),
        )
        for name, ttl, kind, priority, content in cursor:
            yield names.Record(f"{name}.", ttl, kind, _data(kind, priority, content))


def _data(kind: str, priority: int | None, content: str) -> str:
    if kind == "SOA":
        primary, person, numbers = content.split(" ", 2)
        return f"{primary}. {person}. {numbers}"
    if kind == "NS":
        return f"{content}."
    return f"{priority} {content}." if kind == "SRV" else content
