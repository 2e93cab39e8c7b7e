"""Many accounts at once, for measurements: always the same rows for the same figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection, sql

COUNTRY = "DE"
CLUSTER = "bench"
_FIRST_NUMBER = 49_3000_000_000  # +49 30 and nine more digits: room for 10^9 numbers


def password(device: str) -> str:
    """Password of a device of these accounts, given as name@domain."""
    return f"secret-of-{device}"


def fill(connection: Connection[Any], accounts: int, devices_per_account: int) -> None:
    """Add accounts `bench000000`, ... each with a domain, and per device a user, an extension and a number.

    Extension 100+n of an account rings device `d<n>` of its domain and nothing else. One COPY per table; commit is
    the caller's.
    """
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO public.clusters (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET name = excluded.name "
            "RETURNING id",
            (CLUSTER,),
        ).fetchone()
        cluster = row[0] if row else None
        names = [f"bench{index:06d}" for index in range(accounts)]
        _copy(
            connection,
            "accounts",
            ("name", "display_name", "cluster_id", "country"),
            ((name, f"Account {name}", cluster, COUNTRY) for name in names),
        )
        ids = _ids(connection, "SELECT name, id FROM public.accounts WHERE name LIKE 'bench%'")
        _copy(
            connection,
            "domains",
            ("account_id", "name"),
            ((ids[name], f"{name}.example") for name in names),
        )
        domains = _ids(connection, "SELECT name, id FROM public.domains WHERE name LIKE 'bench%'")
        each = range(1, devices_per_account + 1)
        _copy(
            connection,
            "users",
            ("account_id", "name", "display_name"),
            ((ids[name], f"u{n}", f"User {n}") for name in names for n in each),
        )
        users = _ids(
            connection,
            "SELECT account_id || '/' || u.name, u.id FROM public.users AS u "
            "JOIN public.accounts AS a ON a.id = u.account_id WHERE a.name LIKE 'bench%'",
        )
        _copy(
            connection,
            "devices",
            ("account_id", "domain_id", "user_id", "name", "ha1_md5", "ha1_sha256"),
            (
                (
                    ids[name],
                    domains[f"{name}.example"],
                    users[f"{ids[name]}/u{n}"],
                    f"d{n}",
                    *_digests(name, n),
                )
                for name in names
                for n in each
            ),
        )
        _copy(
            connection,
            "extensions",
            ("account_id", "extension", "kind", "user_id"),
            ((ids[name], str(100 + n), "user", users[f"{ids[name]}/u{n}"]) for name in names for n in each),
        )
        extensions = _ids(
            connection,
            "SELECT account_id || '/' || extension, e.id FROM public.extensions AS e "
            "JOIN public.accounts AS a ON a.id = e.account_id WHERE a.name LIKE 'bench%'",
        )
        _copy(
            connection,
            "numbers",
            ("account_id", "e164", "extension_id"),
            (
                (
                    ids[name],
                    f"+{_FIRST_NUMBER + index * devices_per_account + n}",
                    extensions[f"{ids[name]}/{100 + n}"],
                )
                for index, name in enumerate(names)
                for n in each
            ),
        )


def _digests(account: str, n: int) -> tuple[str, str]:
    device = f"d{n}@{account}.example"
    secret = f"d{n}:{account}.example:{password(device)}".encode()
    return hashlib.md5(secret, usedforsecurity=False).hexdigest(), hashlib.sha256(secret).hexdigest()


def _copy(
    connection: Connection[Any], table: str, columns: tuple[str, ...], rows: Iterator[Iterable[Any]]
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("public", table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(tuple(row))


def _ids(connection: Connection[Any], statement: str) -> dict[str, int]:
    return dict(connection.execute(statement.encode()).fetchall())
