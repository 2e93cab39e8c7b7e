"""Rows about decisions per call: lists, schedules, policies, forwardings, menus, groups, queues.

Few accounts have any: one statement finds those of a batch, and only theirs are read, one statement per table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from psycopg import Connection

from controller.desired.model import (
    CallerList,
    Forwarding,
    Group,
    GroupMember,
    Menu,
    MenuChoice,
    Policy,
    PolicyRule,
    Queue,
    QueueMember,
    Schedule,
    ScheduleDay,
    ScheduleTime,
    Step,
)

Row = tuple[Any, ...]
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read(connection: Connection[Any], accounts: list[int]) -> dict[int, dict[str, tuple[Any, ...]]]:
    """Fields of `Account` by account number; accounts without such rows are left out."""
    deciding = [one for (one,) in connection.execute(_DECIDING, (accounts,), binary=True)] if accounts else []
    if not deciding:
        return {}
    times = _below(connection, _TIMES, deciding, _time)
    days = _below(connection, _DAYS, deciding, lambda row: ScheduleDay(*row))
    rules = _below(connection, _RULES, deciding, lambda row: PolicyRule(*row))
    choices = _below(connection, _CHOICES, deciding, lambda row: MenuChoice(row[0], step(row[1])))
    members = _below(connection, _MEMBERS, deciding, lambda row: GroupMember(*row))
    called = _below(connection, _QUEUE_MEMBERS, deciding, _queue_member)
    made: dict[str, tuple[str, Callable[[int, Row], Any]]] = {
        "lists": (_LISTS, lambda _, row: CallerList(row[0], tuple(row[1]))),
        "schedules": (
            _SCHEDULES,
            lambda one, row: Schedule(row[0], row[1], tuple(times[one]), tuple(days[one])),
        ),
        "policies": (_POLICIES, lambda one, row: Policy(row[0], step(row[1]), tuple(rules[one]))),
        "forwardings": (_FORWARDINGS, lambda _, row: Forwarding(row[0], row[1], step(row[2]), *row[3:])),
        "menus": (_MENUS, lambda one, row: _menu(row, choices[one])),
        "groups": (_GROUPS, lambda one, row: _group(row, members[one])),
        "queues": (_QUEUES, lambda one, row: _queue(row, called[one])),
    }
    found: dict[int, dict[str, tuple[Any, ...]]] = {account: {} for account in deciding}
    for name, (statement, make) in made.items():
        for account, number, *row in connection.execute(statement, (deciding,), binary=True):
            found[account][name] = (*found[account].get(name, ()), make(number, tuple(row)))
    return found


def step(text: str) -> Step:
    """A step as the rows write it."""
    action, _, target = text.partition(":")
    return Step(action, target or None)


def _below(
    connection: Connection[Any], statement: str, accounts: list[int], make: Callable[[Row], Any]
) -> dict[int, list[Any]]:
    """Rows that belong to another row, by its number."""
    found: dict[int, list[Any]] = defaultdict(list)
    for owner, *row in connection.execute(statement, (accounts,), binary=True):
        found[owner].append(make(tuple(row)))
    return found


def _time(row: Row) -> ScheduleTime:
    days, *rest = row
    return ScheduleTime(tuple(sorted(days, key=_WEEK.index)), *rest)


def _menu(row: Row, choices: Iterable[MenuChoice]) -> Menu:
    name, greeting, timeout_s, tries, invalid_sound, on_timeout, on_invalid, direct_dial = row
    steps = step(on_timeout), step(on_invalid)
    return Menu(name, greeting, timeout_s, tries, invalid_sound, *steps, direct_dial, tuple(choices))


def _group(row: Row, members: Iterable[GroupMember]) -> Group:
    *values, on_busy, on_no_answer, on_nobody, notices, record, messages = row
    values += [step(on_busy), step(on_no_answer), step(on_nobody), tuple(members), notices, record, messages]
    return Group(*values)


def _queue(row: Row, members: Iterable[QueueMember]) -> Queue:
    (
        *values,
        on_full,
        on_timeout,
        on_empty,
        skills,
        record,
        supervisors,
        permission,
        tries,
        pause_s,
        pauses,
    ) = row
    values += [
        step(on_full),
        step(on_timeout),
        step(on_empty),
        tuple(skills),
        tuple(members),
        record,
        supervisors,
        permission,
        tries,
        pause_s,
        pauses,
    ]
    return Queue(*values)


def _queue_member(row: Row) -> QueueMember:
    user, penalty, weight, skills, priority_alert, wrap_up_s = row
    return QueueMember(user, penalty, weight, tuple(skills), priority_alert, wrap_up_s)


_DECIDING = """
    SELECT a.id FROM unnest(%s::bigint[]) AS a (id)
     WHERE EXISTS (SELECT FROM public.groups g WHERE g.account_id = a.id)
        OR EXISTS (SELECT FROM public.policies p WHERE p.account_id = a.id)
        OR EXISTS (SELECT FROM public.menus m WHERE m.account_id = a.id)
        OR EXISTS (SELECT FROM public.queues q WHERE q.account_id = a.id)
        OR EXISTS (SELECT FROM public.forwardings f WHERE f.account_id = a.id)"""
_LISTS = """
    SELECT l.account_id, l.id, l.name,
           ARRAY(SELECT e.pattern::text FROM public.caller_list_entries e WHERE e.list_id = l.id ORDER BY 1)
      FROM public.caller_lists l WHERE l.account_id = ANY (%s) ORDER BY l.account_id, l.name"""
_SCHEDULES = """
    SELECT s.account_id, s.id, s.name, coalesce(s.time_zone, a.time_zone, k.time_zone)
      FROM public.schedules s
      JOIN public.accounts a ON a.id = s.account_id
      JOIN public.countries k ON k.code = a.country
     WHERE s.account_id = ANY (%s) ORDER BY s.account_id, s.name"""
# As text: Python's time knows no 24:00.
_TIMES = """
    SELECT schedule_id, days, left(from_time::text, 5), left(to_time::text, 5), from_date::text, to_date::text
      FROM public.schedule_times WHERE account_id = ANY (%s)
     ORDER BY schedule_id, from_time, to_time, from_date, id"""
_DAYS = """
    SELECT schedule_id, day::text, every_year, open, left(from_time::text, 5), left(to_time::text, 5), name
      FROM public.schedule_days WHERE account_id = ANY (%s) ORDER BY schedule_id, day, from_time NULLS FIRST"""
_POLICIES = """
    SELECT account_id, id, name, otherwise
      FROM public.policies WHERE account_id = ANY (%s) ORDER BY account_id, name"""
_RULES = """
    SELECT r.policy_id, r.position, r.action, r.target, r.comment, r.caller, l.name, g.name, r.called, t.name,
           r.from_inside, s.name, r.schedule_open, r.language, u.name, r.presence, r.min_devices, r.max_devices,
           r.header_name, r.header_value, r.account_flag,
           r.set_language, r.set_caller_name, r.early_announcement, r.late_announcement, r.set_record,
           r.set_priority, coalesce(r.set_skills, '{}')
      FROM public.policy_rules r
      LEFT JOIN public.caller_lists l ON l.id = r.caller_list_id
      LEFT JOIN public.groups g ON g.id = r.caller_group_id
      LEFT JOIN public.trunks t ON t.id = r.trunk_id
      LEFT JOIN public.schedules s ON s.id = r.schedule_id
      LEFT JOIN public.users u ON u.id = r.user_id
     WHERE r.account_id = ANY (%s) AND r.enabled ORDER BY r.policy_id, r.position"""
_FORWARDINGS = """
    SELECT f.account_id, f.id, u.name, f.condition, f.step, l.name, s.name, f.schedule_open
      FROM public.forwardings f
      JOIN public.users u ON u.id = f.user_id
      LEFT JOIN public.caller_lists l ON l.id = f.caller_list_id
      LEFT JOIN public.schedules s ON s.id = f.schedule_id
     WHERE f.account_id = ANY (%s) AND f.enabled ORDER BY f.account_id, u.name, f.position"""
_MENUS = """
    SELECT account_id, id, name, greeting, timeout_s, tries, invalid_sound, on_timeout, on_invalid, direct_dial
      FROM public.menus WHERE account_id = ANY (%s) ORDER BY account_id, name"""
_CHOICES = """
    SELECT menu_id, digits, step FROM public.menu_choices WHERE account_id = ANY (%s) ORDER BY menu_id, digits"""
_GROUPS = """
    SELECT account_id, id, name, display_name, strategy, ring_time_s, step_time_s, skip_busy, one_call, confirm,
           caller_name_prefix, identity, on_busy, on_no_answer, on_nobody, notices, record,
           messages
      FROM public.groups WHERE account_id = ANY (%s) ORDER BY account_id, name"""
_MEMBERS = """
    SELECT m.group_id, u.name, d.name || '@' || o.name, m.number, m.weight, m.delay_s, s.name, m.schedule_open, l.name,
           m.outgoing, m.joins
      FROM public.group_members m
      LEFT JOIN public.users u ON u.id = m.user_id
      LEFT JOIN public.devices d ON d.id = m.device_id
      LEFT JOIN public.domains o ON o.id = d.domain_id
      LEFT JOIN public.schedules s ON s.id = m.schedule_id
      LEFT JOIN public.caller_lists l ON l.id = m.caller_list_id
     WHERE m.account_id = ANY (%s) AND m.enabled
     ORDER BY m.group_id, m.position, coalesce(u.name, d.name || '@' || o.name, m.number)"""
_QUEUES = """
    SELECT account_id, id, name, display_name, strategy, ring_time_s, retry_s, wrap_up_s, weight, max_waiting,
           max_wait_s, join_empty, leave_empty, announce_position, announce_every_s, periodic_sound, periodic_every_s,
           greeting, service_level_s, batch_first_percent, batch_first_min, batch_second_percent, batch_wait_s,
           alert_limit, alert_pace_ms, callback, rejoin_s, music, on_full, on_timeout, on_empty, required_skills,
           record, (SELECT g.name FROM public.groups g WHERE g.id = supervisor_group_id) AS supervisors,
           callback_permission, callback_tries, callback_pause_s, autopause_after
      FROM public.queues WHERE account_id = ANY (%s) ORDER BY account_id, name"""
_QUEUE_MEMBERS = """
    SELECT m.queue_id, u.name, m.penalty, m.weight, m.skills, m.priority_alert, m.wrap_up_s
      FROM public.queue_members m JOIN public.users u ON u.id = m.user_id
     WHERE m.account_id = ANY (%s) ORDER BY m.queue_id, m.position, u.name"""
