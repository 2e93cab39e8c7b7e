"""What people say of themselves and open or close by hand: rows that are live at commit, by the triggers.

Commit is the caller's. A name is `name@account`, or `name` alone where only one account has it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from controller.errors import InputError

# What stands for one member of a group: user, device or number.
MEMBER = """coalesce(
    (SELECT u.name FROM public.users u WHERE u.id = m.user_id),
    (SELECT d.name || '@' || o.name FROM public.devices d
       JOIN public.domains o ON o.id = d.domain_id WHERE d.id = m.device_id),
    m.number)"""
_TABLES = {"group": "groups", "queue": "queues", "schedule": "schedules", "user": "users"}


class Found(NamedTuple):
    """A row that was named: where it is, and the cluster whose nodes know it."""

    id: int
    name: str
    account_id: int
    account: str
    cluster: str


def find(connection: Connection[Any], kind: str, text: str) -> Found:
    """The group, queue, schedule or user of that name. InputError: there is none, or several."""
    name, _, account = text.partition("@")
    rows = connection.execute(
        f"""
        SELECT r.id, r.name, a.id, a.name, c.name FROM public.{_TABLES[kind]} r
          JOIN public.accounts a ON a.id = r.account_id JOIN public.clusters c ON c.id = a.cluster_id
         WHERE r.name = %s AND (%s = '' OR a.name = %s) ORDER BY a.name LIMIT 10""",
        (name, account, account),
    ).fetchall()
    if not rows:
        where = f" in account {account}" if account else ""
        raise InputError(f"there is no {kind} {name}{where} (table {_TABLES[kind]})")
    if len(rows) > 1:
        several = ", ".join(f"{name}@{row[3]}" for row in rows)
        raise InputError(f"several accounts have a {kind} {name}: say which: {several}")
    return Found(*rows[0])


def leave(connection: Connection[Any], group: Found, member: str, until: datetime | None) -> None:
    """A member of the group does not ring until then (None: until it is back)."""
    connection.execute(
        """
        INSERT INTO public.group_away (account_id, member_id, until) VALUES (%s, %s, %s)
        ON CONFLICT (member_id) DO UPDATE SET until = excluded.until""",
        (group.account_id, _member(connection, group, member), until),
    )


def join(connection: Connection[Any], group: Found, member: str) -> bool:
    """A member rings again; False: it was not away."""
    gone = connection.execute(
        "DELETE FROM public.group_away WHERE member_id = %s", (_member(connection, group, member),)
    )
    return bool(gone.rowcount)


def _member(connection: Connection[Any], group: Found, member: str) -> int:
    members = dict(
        connection.execute(
            f"SELECT {MEMBER}, m.id FROM public.group_members m WHERE m.group_id = %s ORDER BY 1", (group.id,)
        ).fetchall()
    )
    if member not in members:
        raise InputError(
            f"group {group.name} of {group.account} has no member {member}; it has: {', '.join(members) or 'none'}"
        )
    return int(members[member])


def override(
    connection: Connection[Any], schedule: Found, open_: bool, until: datetime | None, reason: str | None
) -> None:
    """The schedule is open or closed whatever the clock says, until then (None: until it is taken back)."""
    connection.execute(
        """
        INSERT INTO public.schedule_overrides (account_id, schedule_id, open, until, reason)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (schedule_id) DO UPDATE SET (open, until, reason)
             = (excluded.open, excluded.until, excluded.reason)""",
        (schedule.account_id, schedule.id, open_, until, reason),
    )


def clear(connection: Connection[Any], schedule: Found) -> bool:
    """The schedule goes by the clock again; False: it did."""
    gone = connection.execute("DELETE FROM public.schedule_overrides WHERE schedule_id = %s", (schedule.id,))
    return bool(gone.rowcount)


def disturb_not(connection: Connection[Any], user: Found, dnd: bool, until: datetime | None) -> None:
    """The devices of the user do not ring, until then (None: until it is taken back); or they do again."""
    connection.execute(
        """
        INSERT INTO public.user_states (account_id, user_id, dnd, until) VALUES (%s, %s, %s, %s)
        ON CONFLICT (user_id) DO UPDATE SET (dnd, until) = (excluded.dnd, excluded.until)""",
        (user.account_id, user.id, dnd, until),
    )


class GroupRow(NamedTuple):
    """A group as its rows are. `by`: extensions, numbers, and what else leads to it."""

    account: str
    name: str
    strategy: str
    members: str
    by: str


_GROUPS = f"""
    SELECT a.name, g.name, g.strategy,
           coalesce((SELECT string_agg({MEMBER}, ' ' ORDER BY m.position, m.id) FROM public.group_members m
                      WHERE m.group_id = g.id AND m.enabled), ''),
           concat_ws(' ',
               (SELECT string_agg(e.extension, ' ' ORDER BY e.extension) FROM public.extensions e
                 WHERE e.group_id = g.id AND e.kind = 'group'),
               (SELECT string_agg(n.e164, ' ' ORDER BY n.e164) FROM public.numbers n
                  JOIN public.extensions e ON e.id = n.extension_id
                 WHERE e.group_id = g.id AND e.kind = 'group'),
               (SELECT string_agg(DISTINCT replace(s.holder, ' ', ':'), ' ') FROM control.steps s
                 WHERE s.account_id = g.account_id AND s.step = 'group:' || g.name))
      FROM public.groups g JOIN public.accounts a ON a.id = g.account_id
     WHERE %(account)s::text IS NULL OR a.name = %(account)s
     ORDER BY a.name, g.name"""


def groups(connection: Connection[Any], account: str | None) -> list[GroupRow]:
    """Groups as the rows are, of one account or of all."""
    return [GroupRow(*row) for row in connection.execute(_GROUPS, {"account": account})]


class ScheduleRow(NamedTuple):
    """A schedule as its rows are. `reason`: of an override that stands."""

    account: str
    name: str
    cluster: str
    time_zone: str
    override: bool | None
    until: datetime | None
    reason: str | None


def schedules(connection: Connection[Any], account: str | None) -> list[ScheduleRow]:
    """Schedules as the rows are, of one account or of all."""
    rows = connection.execute(
        """
        SELECT a.name, s.name, c.name, coalesce(s.time_zone, a.time_zone, k.time_zone), o.open, o.until, o.reason
          FROM public.schedules s
          JOIN public.accounts a ON a.id = s.account_id
          JOIN public.clusters c ON c.id = a.cluster_id
          JOIN public.countries k ON k.code = a.country
          LEFT JOIN public.schedule_overrides o ON o.schedule_id = s.id
         WHERE %(account)s::text IS NULL OR a.name = %(account)s
         ORDER BY a.name, s.name""",
        {"account": account},
    )
    return [ScheduleRow(*row) for row in rows]
