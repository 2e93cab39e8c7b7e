"""What commands ask of queues and say of members: SQL over a connection of the caller, whose commit it is."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.errors import InputError
from controller.queues.model import Setup, setup

if TYPE_CHECKING:
    from psycopg import Connection


class Glance(NamedTuple):
    """A queue in one line; times in seconds."""

    account: str
    queue: str
    strategy: str
    members: int
    logged_out: int
    paused: int
    waiting: int
    longest_wait_s: int | None
    ringing: int
    talking: int


class Line(NamedTuple):
    """A caller of a queue."""

    id: int
    caller: str
    state: str
    wait_s: int
    node: str
    member: str | None


_GLANCE = """
SELECT a.name, q.name, q.strategy, m.members, m.logged_out, m.paused, c.waiting, c.longest_s, c.ringing, c.talking
  FROM public.queues AS q JOIN public.accounts AS a ON a.id = q.account_id
  CROSS JOIN LATERAL (
       SELECT count(*)::int AS members,
              count(*) FILTER (WHERE NOT s.logged_in)::int AS logged_out,
              count(*) FILTER (WHERE s.logged_in AND s.paused)::int AS paused
         FROM public.queue_members AS m JOIN public.users AS u ON u.id = m.user_id
         LEFT JOIN control.member_states AS s ON s.account = a.name AND s.member = u.name
        WHERE m.queue_id = q.id) AS m
  CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE state IN ('waiting', 'callback'))::int AS waiting,
              extract(epoch FROM max(clock_timestamp() - joined_at)
                      FILTER (WHERE state <> 'talking'))::int AS longest_s,
              count(*) FILTER (WHERE state = 'ringing')::int AS ringing,
              count(*) FILTER (WHERE state = 'talking')::int AS talking
         FROM control.queue_callers AS c WHERE c.account = a.name AND c.queue = q.name AND c.state <> 'gone') AS c
 WHERE %(account)s::text IS NULL OR a.name = %(account)s ORDER BY a.name, q.name"""
_LINES = """
SELECT id, CASE caller WHEN '' THEN 'anonymous' ELSE caller END,
       CASE WHEN state = 'talking' AND callback_number IS NOT NULL AND reached_at IS NULL THEN 'calling' ELSE state END,
       extract(epoch FROM clock_timestamp() - joined_at)::int, node,
       coalesce(member, (SELECT string_agg(o.member, ' ' ORDER BY o.member) FROM control.queue_offers AS o
                          WHERE o.caller_id = c.id))
  FROM control.queue_callers AS c WHERE account = %s AND queue = %s AND state <> 'gone'
 ORDER BY priority DESC, joined_at, id"""
_EVENTS = """
SELECT * FROM (
    SELECT id, at, event, caller_id, member, wait_ms, talk_ms, detail FROM control.queue_events
     WHERE account = %(account)s AND queue = %(queue)s AND at >= coalesce(%(since)s::timestamptz, '-infinity')
     ORDER BY id DESC LIMIT %(limit)s) AS e
 ORDER BY id"""
_REPORT = """
SELECT day, callers, answered, in_time, in_time_percent::float, abandoned, timeout, "full", empty, "left", unreached,
       lost, wait_s::float, longest_wait_s::float, talk_s::float
  FROM control.queue_service_level
 WHERE account = %(account)s AND queue = %(queue)s AND day >= coalesce(%(first)s::date, '-infinity')
   AND day <= coalesce(%(last)s::date, 'infinity')
 ORDER BY day"""
REPORT = (
    "day", "callers", "answered", "in_time", "in_time_percent", "abandoned", "timeout", "full", "empty", "left",
    "unreached", "lost", "wait_s", "longest_wait_s", "talk_s",
)  # fmt: skip
EVENTS = ("at", "event", "caller", "member", "wait_ms", "talk_ms", "detail")


def glances(connection: Connection[Any], account: str | None) -> list[Glance]:
    """Every queue of an account, or of all."""
    return [Glance(*row) for row in connection.execute(_GLANCE, {"account": account})]


def lines(connection: Connection[Any], account: str, queue: str) -> list[Line]:
    """The callers of a queue in their order; those who talk among them."""
    return [Line(*row) for row in connection.execute(_LINES, (account, queue))]


def published(connection: Connection[Any], account: str) -> Setup:
    """The queues of an account as every node holds them."""
    rows = connection.execute(
        "SELECT key, value FROM control.entries WHERE account = %s AND kind = 'media' AND tbl = 'policy'",
        (account,),
    )
    return setup(account, dict(rows.fetchall()))


def events(
    connection: Connection[Any], account: str, queue: str, since: datetime | None, limit: int
) -> list[tuple[Any, ...]]:
    """The newest events of a queue, oldest first: columns EVENTS."""
    values = {"account": account, "queue": queue, "since": since, "limit": limit}
    return [row[1:] for row in connection.execute(_EVENTS, values)]


def report(
    connection: Connection[Any], account: str, queue: str, first: date | None, last: date | None
) -> list[tuple[Any, ...]]:
    """One row for each day (UTC) with callers: columns REPORT."""
    values = {"account": account, "queue": queue, "first": first, "last": last}
    return [(row[0].isoformat(), *row[1:]) for row in connection.execute(_REPORT, values)]


def say(connection: Connection[Any], user: int, until: datetime | None = None, **said: Any) -> list[str]:
    """What a member says of itself holds from commit on, in all its queues; gives their names.

    `said`: columns of member_states. A member who is logged in and does not pause has no row. InputError: no member.
    """
    queues = [
        str(name)
        for (name,) in connection.execute(
            "SELECT q.name FROM public.queue_members m JOIN public.queues q ON q.id = m.queue_id"
            " WHERE m.user_id = %s ORDER BY 1",
            (user,),
        )
    ]
    if not queues:
        raise InputError("the user is a member of no queue (table queue_members)")
    connection.execute(
        "INSERT INTO public.member_states (account_id, user_id) SELECT account_id, id FROM public.users WHERE id = %s"
        " ON CONFLICT (user_id) DO NOTHING",
        (user,),
    )
    connection.execute(
        """
        UPDATE public.member_states AS m
           SET logged_in = s.logged_in, paused = s.paused, pause_reason = CASE WHEN s.paused THEN s.reason END,
               until = CASE WHEN s.paused OR NOT s.logged_in THEN %(until)s::timestamptz END
          FROM (SELECT coalesce(%(logged_in)s::bool, logged_in) AS logged_in,
                       coalesce(%(paused)s::bool, paused) AS paused,
                       CASE WHEN %(paused)s::bool THEN %(reason)s::text ELSE pause_reason END AS reason
                  FROM public.member_states WHERE user_id = %(user)s) AS s
         WHERE m.user_id = %(user)s""",
        {"logged_in": None, "paused": None, "reason": None} | said | {"user": user, "until": until},
    )
    connection.execute(
        "DELETE FROM public.member_states WHERE user_id = %s AND logged_in AND NOT paused", (user,)
    )
    return queues
