"""Rows of fraud, what rules want to know of accounts, and records of calls as events.

A record of a call that left by a trunk is a start, an answer and an end for each number it was sent to (`dp.route`):
that of who called from inside or transferred it last, or of who sends it on, which has no device. Where a call came
from and with which user agent no record says, and sign-ins and messages leave none: rules about these see nothing in a
replay.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import dict_row

from controller.errors import InputError
from controller.fraud import defaults
from controller.fraud.destinations import classify
from controller.fraud.metrics import GAVE_UP
from controller.fraud.model import (
    ANSWER,
    END,
    NOBODY,
    START,
    Allow,
    Event,
    Owner,
    People,
    Permission,
    Profile,
    Rule,
)
from controller.fraud.proposed import overlay, overlay_permissions

BATCH = 500
_OWNERS = """
    LEFT JOIN public.accounts AS a ON a.id = r.account_id
    LEFT JOIN public.users AS u ON u.id = r.user_id"""
_DEVICE = """
    LEFT JOIN public.devices AS d ON d.id = r.device_id LEFT JOIN public.domains AS o ON o.id = d.domain_id"""
_RULES = f"""
    SELECT r.*, a.name AS account, u.name AS "user", g.name AS "group", d.name || '@' || o.name AS device
      FROM public.fraud_rules AS r {_OWNERS} {_DEVICE} LEFT JOIN public.groups AS g ON g.id = r.group_id
     ORDER BY r.name, r.id"""
_ALLOWS = f"""
    SELECT a.name AS account, u.name AS "user", d.name || '@' || o.name AS device, host(r.source) AS source, r.what,
        r.reason, r.expires_at
      FROM public.fraud_allows AS r {_OWNERS} {_DEVICE} ORDER BY r.id"""
_PERMISSIONS = f"""
    SELECT r.reseller, a.name AS account, u.name AS "user", r.class AS cls, r.allowed, r.mode
      FROM public.fraud_permissions AS r {_OWNERS} ORDER BY r.id"""
# An account that is older than the audit is no new one.
_PROFILES = """
    SELECT a.name, a.country, coalesce(a.time_zone, c.time_zone) AS zone, a.reseller, a.codes_told,
        (SELECT min(l.at) FROM control.audit AS l
          WHERE l.tbl = 'accounts' AND l.key = a.name AND l.verb = 'insert') AS since
      FROM public.accounts AS a JOIN public.countries AS c ON c.code = a.country"""
_DEVICES = """
    SELECT d.name || '@' || o.name AS device, u.name AS "user", a.name AS account
      FROM public.devices AS d JOIN public.domains AS o ON o.id = d.domain_id
      JOIN public.accounts AS a ON a.id = d.account_id
      LEFT JOIN public.users AS u ON u.id = d.user_id"""
_GROUPS = """
    SELECT a.name AS account, u.name AS "user", g.name AS "group"
      FROM public.group_members AS m JOIN public.groups AS g ON g.id = m.group_id
      JOIN public.accounts AS a ON a.id = m.account_id
      LEFT JOIN public.devices AS d ON d.id = m.device_id
      JOIN public.users AS u ON u.id = coalesce(m.user_id, d.user_id)
     ORDER BY 1, 2, 3"""
_WHERE = """
    FROM control.call_records
   WHERE complete AND started_at >= %(since)s AND started_at < %(until)s AND account IS NOT NULL
     AND (%(account)s::text IS NULL OR account = %(account)s)"""
_CALLS = f"""
    SELECT call_id, account, direction, caller, called, started_at, answered_at, ended_at, duration_ms, talk_ms,
        ended_by, decisions {_WHERE} ORDER BY started_at"""
_ROUTED = re.compile(r"(\+[0-9]+) by ")
_TRANSFERRED = re.compile(r".* by (\S+@\S+)")
_SENT_ON = re.compile(r"\S+ of (\S+)")
_DIALLED = re.compile(r"[0-9*+]{1,32}")


@dataclass(frozen=True, slots=True)
class Setup:
    """Rules in force: those that come with dialplane, and rows over them."""

    rules: tuple[Rule, ...]
    allows: tuple[Allow, ...]
    permissions: tuple[Permission, ...]
    profiles: Mapping[str, Profile]


def setup(connection: Connection[Any]) -> Setup:
    """All that an engine is made of, from the rows."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rules = [_rule(row) for row in cursor.execute(_RULES)]
        allows = [
            Allow(_owner(row), row["source"] or "", row["what"], row["reason"], _at(row["expires_at"]))
            for row in cursor.execute(_ALLOWS)
        ]
        permissions = [
            Permission(row["cls"], row["allowed"], _owner(row), row["mode"])
            for row in cursor.execute(_PERMISSIONS)
        ]
        profiles = {
            row["name"]: Profile(
                row["country"],
                ZoneInfo(row["zone"]),
                _at(row["since"]),
                row["reseller"] or "",
                row["codes_told"],
            )
            for row in cursor.execute(_PROFILES)
        }
    return Setup(
        tuple(overlay(defaults.RULES, rules)),
        tuple(allows),
        tuple(overlay_permissions(defaults.PERMISSIONS, permissions)),
        profiles,
    )


def people(connection: Connection[Any]) -> People:
    """Whose devices are, and groups of users."""
    groups: dict[tuple[str, str], tuple[str, ...]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        devices = cursor.execute(_DEVICES).fetchall()
        for row in cursor.execute(_GROUPS):
            place = row["account"], row["user"]
            if row["group"] not in groups.get(place, ()):
                groups[place] = (*groups.get(place, ()), row["group"])
    return People(
        {row["device"]: row["user"] or "" for row in devices},
        groups,
        {row["device"]: row["account"] for row in devices},
    )


def check_names(connection: Connection[Any], account: str, user: str, device: str) -> None:
    """InputError: there is no such account, or it has no such user or device."""
    for what, name, statement in (
        ("account", account, "SELECT FROM public.accounts AS a WHERE a.name = %(account)s"),
        (
            "user", user,
            "SELECT FROM public.users AS u JOIN public.accounts AS a ON a.id = u.account_id "
            "WHERE a.name = %(account)s AND u.name = %(user)s",
        ),
        (
            "device", device,
            "SELECT FROM public.devices AS d JOIN public.accounts AS a ON a.id = d.account_id "
            "JOIN public.domains AS o ON o.id = d.domain_id "
            "WHERE a.name = %(account)s AND d.name || '@' || o.name = %(device)s",
        ),
    ):  # fmt: skip
        asked = {"account": account, "user": user, "device": device}
        if name and connection.execute(statement, asked).fetchone() is None:
            of = "" if what == "account" else f" of account {account}"
            raise InputError(f"there is no {what} {name}{of} (table {what}s)")


def count(connection: Connection[Any], account: str | None, since: datetime, until: datetime) -> int:
    """How many records of calls there are."""
    row = connection.execute(
        f"SELECT count(*) {_WHERE}", {"account": account, "since": since, "until": until}
    ).fetchone()
    return int(row[0]) if row else 0


def events(
    connection: Connection[Any],
    profiles: Mapping[str, Profile],
    rates: Mapping[str, float],
    account: str | None,
    since: datetime,
    until: datetime,
) -> Iterator[Event]:
    """What records of that time tell, in order of time. Memory is that of the calls that were up at the same time."""
    whose = people(connection)
    waiting: list[tuple[float, int, Event]] = []
    number = 0
    with connection.cursor("fraud_events", row_factory=dict_row) as calls:
        calls.itersize = BATCH
        for record in calls.execute(_CALLS, {"account": account, "since": since, "until": until}):
            started = record["started_at"].timestamp()
            while waiting and waiting[0][0] < started:
                yield heapq.heappop(waiting)[2]
            for event in of_record(record, whose, profiles, rates):
                number += 1
                heapq.heappush(waiting, (event.at, number, event))
    while waiting:
        yield heapq.heappop(waiting)[2]


def of_record(
    record: Mapping[str, Any], whose: People, profiles: Mapping[str, Profile], rates: Mapping[str, float]
) -> Iterator[Event]:
    """The events of one record; none for a call that stayed outside (an inbound one that nobody forwarded)."""
    steps = [(str(one.get("step")), str(one.get("text"))) for one in record["decisions"] or ()]
    if any(step == "edge.refused" and text.startswith("blocked") for step, text in steps):
        return
    inbound = record["direction"] == "inbound"
    called = str(record["called"] or "")
    account, caller = record["account"], "" if inbound else str(record["caller"] or "")
    sent = _sent(steps, caller, whose)
    if not sent and not inbound and _DIALLED.fullmatch(called):
        sent = {called: (caller, whose.users.get(caller, ""))}
    profile = profiles.get(account, NOBODY)
    emergency = any(step == "dp.emergency" for step, _ in steps)
    started, ended = record["started_at"].timestamp(), _at(record["ended_at"])
    answered = _at(record["answered_at"])
    for place, (number, (device, user)) in enumerate(sent.items()):
        call = record["call_id"] if place == 0 else f"{record['call_id']}/{place}"
        country, cls = classify(number, profile.country)
        rate = rates.get(cls, 0.0)
        base = Event(
            f"{call}/s", started, START, account, call, user, whose.groups.get((account, user), ()), device,
            profile.reseller, called=number, country=country, cls=cls, rate=rate, emergency=emergency,
        )  # fmt: skip
        yield base
        if answered is not None:
            yield base._replace(id=f"{call}/a", at=answered, kind=ANSWER)
        if ended is not None:
            talk_s = (record["talk_ms"] or 0) / 1000 if answered is not None else 0.0
            gave_up = answered is None and record["ended_by"] == "caller"
            yield base._replace(
                id=f"{call}/e", at=max(ended, started), kind=END, duration_s=(record["duration_ms"] or 0) / 1000,
                talk_s=talk_s, status=GAVE_UP if gave_up else 200 if talk_s else 480, cost=rate * talk_s / 60,
            )  # fmt: skip


def _sent(steps: list[tuple[str, str]], device: str, whose: People) -> dict[str, tuple[str, str]]:
    """Number -> device and user whose call it was, each as the last step before said."""
    user = whose.users.get(device, "")
    sent: dict[str, tuple[str, str]] = {}
    for step, text in steps:
        if step == "dp.transfer" and (found := _TRANSFERRED.match(text)):
            device, user = found[1], whose.users.get(found[1], "")
        elif step == "dp.forward" and not device and (found := _SENT_ON.fullmatch(text)):
            user = found[1]
        elif step == "dp.route" and (found := _ROUTED.match(text)):
            sent.setdefault(found[1], (device, user))
    return sent


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        name=row["name"], metric=row["metric"], scope=row["scope"], window_s=row["window_s"], critical=row["critical"],
        warning=row["warning"], destinations=tuple(row["destinations"]), actions=tuple(row["actions"]),
        release_s=row["release_s"], mode=row["mode"], at_least=row["at_least"], owner=_owner(row),
        days=tuple(row["days"] or ()), from_minute=_minute(row["from_time"]), to_minute=_minute(row["to_time"]),
        baseline=row["baseline"], new_account_days=row["new_account_days"], enabled=row["enabled"],
        comment=row["comment"] or "",
    )  # fmt: skip


def _owner(row: Mapping[str, Any]) -> Owner:
    return Owner(**{name: row.get(name) or "" for name in Owner._fields})


def _at(at: datetime | None) -> float | None:
    return None if at is None else at.astimezone(UTC).timestamp()


def _minute(at: Any) -> int | None:
    return None if at is None else at.hour * 60 + at.minute
