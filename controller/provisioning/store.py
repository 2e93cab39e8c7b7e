"""Tokens of devices, and what a phone that fetches gets: the only psycopg file of the room."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row

from controller.errors import DatabaseError, InputError
from controller.provisioning import secret
from controller.schema.database import connect

# So long a phone waits at most until edges let it in.
LIVE_S = 2.0
_LOOK_S = 0.02
_DEVICE = """
    SELECT d.id FROM public.devices AS d JOIN public.domains AS o ON o.id = d.domain_id
     WHERE d.name = %s AND o.name = %s"""
_MAKE = """
    INSERT INTO control.device_provisioning (device_id, token_digest) VALUES (%s, %s)
    ON CONFLICT (device_id) DO UPDATE SET token_digest = excluded.token_digest,
        generation = device_provisioning.generation + 1, made_at = clock_timestamp(), made_by = control.actor()"""
_ROW = """
    SELECT d.id, d.ha1_md5, d.ha1_sha256, p.token_digest, p.generation, p.fetched, a.name AS account,
        coalesce((SELECT s.value FROM public.settings AS s WHERE s.name = 'device_zone'),
                 'phones.' || coalesce((SELECT s.value FROM public.settings AS s WHERE s.name = 'zone'),
                                       'dialplane.internal')) AS zone
      FROM control.device_provisioning AS p JOIN public.devices AS d ON d.id = p.device_id
      JOIN public.domains AS o ON o.id = d.domain_id JOIN public.accounts AS a ON a.id = d.account_id
     WHERE d.name = %s AND o.name = %s AND d.enabled
       FOR UPDATE OF p"""
_FETCHED = """
    UPDATE control.device_provisioning SET fetched = generation, fetched_at = clock_timestamp(), fetched_from = %s
     WHERE device_id = %s"""
_BEHIND = """
    SELECT FROM public.nodes AS n JOIN control.node_state AS s ON s.node = n.name
     WHERE n.kind = 'edge' AND n.state <> 'disabled' AND s.heard_at > clock_timestamp() - interval '10 seconds'
       AND (s.revision < (SELECT max(id) FROM control.revisions) OR coalesce(s.pending, 0) > 0)"""
_DIGEST = """
    SELECT p.token_digest FROM control.device_provisioning AS p JOIN public.devices AS d ON d.id = p.device_id
      JOIN public.domains AS o ON o.id = d.domain_id
     WHERE d.name = %s AND o.name = %s AND d.enabled"""
_LISTED = """
    SELECT d.name || '@' || o.name AS device, p.generation, p.fetched, p.fetched_at,
        host(p.fetched_from) AS fetched_from, p.made_at
      FROM control.device_provisioning AS p JOIN public.devices AS d ON d.id = p.device_id
      JOIN public.domains AS o ON o.id = d.domain_id JOIN public.accounts AS a ON a.id = d.account_id
     WHERE %(account)s::text IS NULL OR a.name = %(account)s ORDER BY 1"""


class Handed(NamedTuple):
    """What a phone gets. `server`: name that leads to its edges."""

    user: str
    domain: str
    password: str
    server: str
    generation: int


class Line(NamedTuple):
    """A device that has a token. `fetched` less than `generation`: it has still to fetch that one."""

    device: str
    generation: int
    fetched: int
    fetched_at: Any
    fetched_from: str | None
    made_at: Any


def new_token(connection: Connection[Any], aor: str) -> str:
    """A token for a device, the only one from now on; nothing else changes until it is used. InputError: no device."""
    name, _, domain = aor.partition("@")
    token = secret.new_token()
    with connection.transaction():
        row = connection.execute(_DEVICE, (name, domain)).fetchone()
        if row is None:
            raise InputError(
                f"there is no device {aor}: write it as name@domain, as in the tables devices and domains"
            )
        connection.execute(_MAKE, (row[0], secret.digest(token)))
    return token


def fetch(connection: Connection[Any], aor: str, token: str, source: str) -> Handed | None:
    """What the phone with that token gets; None: there is no such device, or it is not its token.

    Its password holds from then on, on every edge: in the transaction that says it was fetched. Twice the same.
    """
    name, _, domain = aor.partition("@")
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_ROW, (name, domain)).fetchone()
        if row is None or not secret.is_token(token, row["token_digest"]):
            return None
        word = secret.password(token, aor, row["generation"])
        digests = secret.digests(aor, word)
        if digests != (row["ha1_md5"], row["ha1_sha256"]):
            cursor.execute("SELECT control.set_credential(%s, %s, %s)", (row["id"], *digests))
        cursor.execute(_FETCHED, (source, row["id"]))
        cursor.execute("SELECT control.close_handed_over()")
    return Handed(name, domain, word, f"{row['account']}.{row['zone']}", row["generation"])


def used(connection: Connection[Any], aor: str, token: str, message: uuid.UUID) -> bool | None:
    """The code in that message of the device was used; twice the same. False: it sent no such message. None: there is
    no such device, or it is not its token."""
    name, _, domain = aor.partition("@")
    row = connection.execute(_DIGEST, (name, domain)).fetchone()
    if row is None or not secret.is_token(token, row[0]):
        return None
    found = connection.execute("SELECT control.code_used(%s, %s)", (aor, message)).fetchone()
    return bool(found and found[0])


def wait_live(connection: Connection[Any], longest_s: float = LIVE_S) -> bool:
    """Until every edge that is heard of holds what is published: then the phone can sign in. False: not in time."""
    deadline = time.monotonic() + longest_s
    while connection.execute(_BEHIND).fetchone() is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def listed(connection: Connection[Any], account: str | None) -> list[Line]:
    """Devices that have a token."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Line(**row) for row in cursor.execute(_LISTED, {"account": account})]


def fetcher(dsn: str) -> Callable[[str, str, str], Handed | None]:
    """Fetches from PostgreSQL, each time on a connection of its own: phones come rarely, and none is kept for them.

    DatabaseError: not now.
    """

    def one(aor: str, token: str, source: str) -> Handed | None:
        try:
            with connect(dsn, autocommit=True) as connection:
                handed = fetch(connection, aor, token, source)
                if handed is not None:
                    wait_live(connection)
                return handed
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {str(error).strip().partition(chr(10))[0]}") from None

    return one


def teller(dsn: str) -> Callable[[str, str, uuid.UUID], bool | None]:
    """The same in PostgreSQL, each time on a connection of its own. DatabaseError: not now."""

    def one(aor: str, token: str, message: uuid.UUID) -> bool | None:
        try:
            with connect(dsn, autocommit=True) as connection:
                return used(connection, aor, token, message)
        except psycopg.Error as error:
            raise DatabaseError(f"PostgreSQL: {str(error).strip().partition(chr(10))[0]}") from None

    return one
