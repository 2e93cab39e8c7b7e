"""Rows to snapshots: the only reader of what people edit.

Accounts are read in batches, one statement per table and batch, so one account and all of them go the same way and
memory stays that of a batch. The caller's transaction decides that all statements see one picture.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from controller.desired import decisions, features
from controller.desired.model import (
    Account,
    Device,
    EmergencyNumber,
    Extension,
    Node,
    Number,
    Route,
    System,
    Trunk,
    User,
    VoicemailBox,
)
from controller.entries import Cursor

Row = tuple[Any, ...]


class Touched(NamedTuple):
    """What to look at again: accounts by name, whether the shared rows, and the cursor a publish then moves to.

    `held` names accounts (`""`: the shared rows) whose rows are ahead of what is published since a rollback.
    """

    accounts: list[str]
    system: bool
    cursor: Cursor
    held: tuple[str, ...]


def touched(connection: Connection[Any], *, everything: bool, with_held: bool) -> Touched:
    """Accounts whose rows changed since the last configuration revision, with the names they had and have.

    Without `with_held`, accounts that a rollback holds back are left alone.
    """
    row = connection.execute(
        "SELECT coalesce(max(id), 0), pg_current_snapshot()::text FROM control.change_log"
    ).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    cursor = Cursor(*row)
    held = tuple(name for (name,) in connection.execute("SELECT account FROM control.held ORDER BY account"))
    skipped = set() if with_held else set(held)
    if everything:
        names = connection.execute(
            """
            SELECT name FROM public.accounts
             UNION SELECT account FROM control.entries WHERE account IS NOT NULL ORDER BY 1"""
        )
        changed = {"", *(name for (name,) in names)}
    else:
        rows = connection.execute("SELECT DISTINCT coalesce(account, '') FROM control.pending_changes")
        changed = {*(name for (name,) in rows), *held}
    changed -= skipped
    return Touched(sorted(changed - {""}), "" in changed, cursor, held if with_held else ())


def accounts(connection: Connection[Any], names: Sequence[str]) -> Iterator[Account]:
    """The accounts of these names, by name; a name without a row (deleted, renamed) is left out."""
    heads = connection.execute(
        """
        SELECT a.id, a.name, a.display_name, c.name, a.country, a.language, a.status, a.call_limit, a.caller_id,
               coalesce(a.time_zone, k.time_zone), a.flags, a.lamps, a.record_announcement, g.name,
               a.overload_announcement, a.outside_messages
          FROM public.accounts a
          JOIN public.clusters c ON c.id = a.cluster_id
          JOIN public.countries k ON k.code = a.country
          LEFT JOIN public.device_groups g ON g.id = a.device_group_id
         WHERE a.name = ANY (%s) ORDER BY a.name""",
        (list(names),),
    ).fetchall()
    ids = [head[0] for head in heads]
    domains = _by_account(connection, _DOMAINS, ids)
    users = _by_account(connection, _USERS, ids)
    devices = _by_account(connection, _DEVICES, ids)
    extensions = _by_account(connection, _EXTENSIONS, ids)
    numbers = _by_account(connection, _NUMBERS, ids)
    mailboxes = _by_account(connection, _MAILBOXES, ids)
    trunks = _by_account(connection, _TRUNKS.format(where="t.account_id = ANY (%s)"), ids)
    routes = _by_account(connection, _ROUTES.format(where="r.account_id = ANY (%s)"), ids)
    decided = decisions.read(connection, ids)
    around = features.read(connection, ids)
    for identity, *head in heads:
        *own, flags, lamps, consent, device_group, sorry, outside = head
        name, display_name, cluster, country, language, status, call_limit, caller_id, zone = own
        yield Account(
            name,
            display_name,
            cluster,
            country,
            language,
            status,
            call_limit,
            caller_id,
            domains=tuple(name for (name,) in domains[identity]),
            users=tuple(_user(row) for row in users[identity]),
            devices=tuple(Device(*row) for row in devices[identity]),
            extensions=tuple(_extension(row) for row in extensions[identity]),
            numbers=tuple(Number(*row) for row in numbers[identity]),
            mailboxes=tuple(VoicemailBox(*row) for row in mailboxes[identity]),
            trunks=tuple(_trunk(row) for row in trunks[identity]),
            routes=tuple(Route(*row) for row in routes[identity]),
            time_zone=zone,
            flags=tuple(flags),
            lamps=lamps,
            record_announcement=consent,
            device_group=device_group,
            overload_announcement=sorry,
            outside_messages=outside,
            **decided.get(identity, {}),
            **around.get(identity, {}),
        )


def system(connection: Connection[Any]) -> System:
    """What all accounts share."""
    settings = dict(connection.execute("SELECT name, value FROM public.settings").fetchall())
    emergency: dict[tuple[str, str], list[str]] = {}
    for country, number, trunk in connection.execute(
        """
        SELECT n.country, n.number, t.name
          FROM public.emergency_numbers n
          LEFT JOIN public.emergency_routes r ON r.emergency_number_id = n.id
          LEFT JOIN public.trunks t ON t.id = r.trunk_id AND t.enabled
         ORDER BY n.country, n.number, r.priority, t.name"""
    ):
        trunks = emergency.setdefault((country, number), [])
        if trunk is not None:
            trunks.append(trunk)
    return System(
        zone=settings.get("zone", "dialplane.internal"),
        nodes=tuple(
            Node(*row)
            for row in connection.execute(
                """
                SELECT n.name, n.kind, coalesce(c.name, g.name), host(n.address), n.sip_port, n.weight,
                       host(n.public_address), n.tls_port
                  FROM public.nodes n
                  LEFT JOIN public.clusters c ON c.id = n.cluster_id
                  LEFT JOIN public.device_groups g ON g.id = n.device_group_id
                 ORDER BY n.name"""
            )
        ),
        clusters=_names(connection, "SELECT name FROM public.clusters ORDER BY name"),
        overflows=tuple(
            connection.execute(
                """
                SELECT c.name, o.name FROM public.clusters c
                  JOIN public.clusters o ON o.id = c.overflow_cluster_id ORDER BY c.name"""
            ).fetchall()
        ),
        countries=_names(connection, _COUNTRIES),
        trunks=tuple(
            _trunk(row[1:])
            for row in connection.execute(_TRUNKS.format(where="t.account_id IS NULL")).fetchall()
        ),
        routes=tuple(
            Route(*row[1:])
            for row in connection.execute(_ROUTES.format(where="r.account_id IS NULL")).fetchall()
        ),
        emergency=tuple(EmergencyNumber(*key, tuple(trunks)) for key, trunks in emergency.items()),
        settings=settings,
    )


_DOMAINS = "SELECT account_id, name FROM public.domains WHERE account_id = ANY (%s) ORDER BY account_id, name"
_USERS = """
    SELECT account_id, name, display_name, language, caller_id, permission, enabled, record, record_calls
      FROM public.users WHERE account_id = ANY (%s) ORDER BY account_id, name"""
_DEVICES = """
    SELECT d.account_id, d.name, o.name, u.name, d.ha1_md5, d.ha1_sha256, d.call_limit, d.caller_id, d.enabled
      FROM public.devices d
      JOIN public.domains o ON o.id = d.domain_id
      LEFT JOIN public.users u ON u.id = d.user_id
     WHERE d.account_id = ANY (%s) ORDER BY d.account_id, o.name, d.name"""
_EXTENSIONS = """
    SELECT e.account_id, e.extension, e.kind, u.name,
           CASE e.kind
               WHEN 'policy' THEN (SELECT p.name FROM public.policies p WHERE p.id = e.policy_id)
               WHEN 'membership' THEN (SELECT g.name FROM public.groups g WHERE g.id = e.group_id)
               WHEN 'group' THEN (SELECT g.name FROM public.groups g WHERE g.id = e.group_id)
               WHEN 'menu' THEN (SELECT m.name FROM public.menus m WHERE m.id = e.menu_id)
               WHEN 'supervise' THEN (SELECT q.name FROM public.queues q WHERE q.id = e.queue_id)
               WHEN 'queue' THEN (SELECT q.name FROM public.queues q WHERE q.id = e.queue_id)
               WHEN 'conference' THEN (SELECT c.name FROM public.conferences c WHERE c.id = e.conference_id)
               WHEN 'page' THEN (SELECT p.name FROM public.pages p WHERE p.id = e.page_id)
               WHEN 'park' THEN (SELECT l.name FROM public.parking_lots l WHERE l.id = e.parking_lot_id)
               ELSE e.target
           END, e.ring_time_s, e.on_busy, e.on_no_answer, e.on_unregistered, e.texts
      FROM public.extensions e LEFT JOIN public.users u ON u.id = e.user_id
     WHERE e.account_id = ANY (%s) ORDER BY e.account_id, e.extension"""
_NUMBERS = """
    SELECT n.account_id, n.e164, e.extension
      FROM public.numbers n JOIN public.extensions e ON e.id = n.extension_id
     WHERE n.account_id = ANY (%s) ORDER BY n.account_id, n.e164"""
_MAILBOXES = """
    SELECT b.account_id, b.mailbox, u.name, b.display_name, b.email, b.pin_digest, b.language
      FROM public.voicemail_boxes b LEFT JOIN public.users u ON u.id = b.user_id
     WHERE b.account_id = ANY (%s) ORDER BY b.account_id, b.mailbox"""
# From each country to the next by index: DISTINCT would read every account.
_COUNTRIES = """
    WITH RECURSIVE c AS (
        (SELECT country FROM public.accounts ORDER BY country LIMIT 1)
        UNION ALL
        SELECT (SELECT a.country FROM public.accounts a WHERE a.country > c.country ORDER BY a.country LIMIT 1)
          FROM c WHERE c.country IS NOT NULL)
    SELECT country FROM c WHERE country IS NOT NULL"""

_TRUNKS = """
    SELECT t.account_id, t.name, a.name, t.host, t.port, t.transport, t.auth_user, t.auth_realm, t.auth_ha1_md5,
           t.register, t.call_limit, t.number_format, t.caller_id,
           coalesce((SELECT array_agg(text(n.address) ORDER BY n.address)
                       FROM public.trunk_addresses n WHERE n.trunk_id = t.id), '{{}}'), t.enabled
      FROM public.trunks t LEFT JOIN public.accounts a ON a.id = t.account_id
     WHERE {where} ORDER BY t.account_id, t.name"""
_ROUTES = """
    SELECT r.account_id, r.prefix, t.name, r.priority, r.weight
      FROM public.routes r JOIN public.trunks t ON t.id = r.trunk_id
     WHERE {where} AND t.enabled ORDER BY r.account_id, r.prefix, r.priority, t.name"""


def _by_account(connection: Connection[Any], statement: str, ids: list[int]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    if ids:
        for row in connection.execute(statement, (ids,), binary=True):
            found[row[0]].append(row[1:])
    return found


def _names(connection: Connection[Any], statement: str) -> tuple[str, ...]:
    return tuple(name for (name,) in connection.execute(statement))


def _user(row: Row) -> User:
    *values, calls = row
    values.append(tuple(calls))
    return User(*values)


def _extension(row: Row) -> Extension:
    extension, kind, user, target, ring_time_s, busy, no_answer, unregistered, texts = row
    return Extension(
        extension, kind, user, target, ring_time_s,
        decisions.step(busy), decisions.step(no_answer), decisions.step(unregistered), texts,
    )  # fmt: skip


def _trunk(row: Row) -> Trunk:
    hosts = tuple(address for network in row[-2] for address in _hosts(network))
    values = [*row[:-2], hosts, row[-1]]
    return Trunk(*values)


def _hosts(network: str) -> Iterator[str]:
    """Every address of a small network: an edge looks a source address up, it does not match networks."""
    for address in ipaddress.ip_network(network):
        yield str(address)
