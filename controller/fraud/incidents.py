"""What an operator asks about incidents, and does: look, block by hand, lift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.errors import InputError
from controller.fraud.model import ANY, CRITICAL, ENFORCE, Rule, Verdict

if TYPE_CHECKING:
    from psycopg import Connection

#: Name of the rule of what a person blocks.
BY_HAND = "by-hand"
SUBJECTS = (
    "device:name@domain, user:account/name, group:account/name, account:name, reseller:name or source:address"
)
_SUBJECT = re.compile(r"(device|user|group|account|reseller|source):(.+)")
_WHERE = re.compile(
    r"\+[1-9][0-9]{0,14}|[A-Z]{2}"
    r"|premium|shared_cost|satellite|high_risk|international|national|mobile|unallocated|any"
)
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EXISTS = {
    "account": "SELECT name FROM public.accounts WHERE name = %(subject)s",
    # It belongs to no account: several belong to it.
    "reseller": "SELECT '' FROM public.accounts WHERE reseller = %(subject)s LIMIT 1",
    "user": """
        SELECT a.name FROM public.accounts AS a
         WHERE a.name = split_part(%(subject)s, '/', 1)
           AND (EXISTS (SELECT FROM public.users AS u
                         WHERE u.account_id = a.id AND u.name = split_part(%(subject)s, '/', 2))
               OR EXISTS (SELECT FROM public.extensions AS e
                           WHERE e.account_id = a.id AND e.extension = split_part(%(subject)s, '/', 2)))""",
    "group": """
        SELECT a.name FROM public.groups AS g JOIN public.accounts AS a ON a.id = g.account_id
         WHERE a.name || '/' || g.name = %(subject)s""",
    "device": """
        SELECT a.name FROM public.devices AS d JOIN public.domains AS o ON o.id = d.domain_id
          JOIN public.accounts AS a ON a.id = d.account_id WHERE d.name || '@' || o.name = %(subject)s""",
}
_LISTED = """
    SELECT i.id, i.at, i.state, i.mode, i.level, i.scope || ' ' || i.subject AS whom, i.rule,
        i.value, i.threshold, i.until,
        coalesce((SELECT string_agg(f.action || CASE f.state WHEN 'done' THEN '' ELSE ' (' || f.state || ')' END, ', '
                                    ORDER BY f.id)
                    FROM control.fraud_actions AS f WHERE f.incident_id = i.id), '') AS actions
      FROM public.fraud_incidents AS i
     WHERE (%(account)s::text IS NULL OR i.account = %(account)s OR EXISTS (
            SELECT FROM public.blocks AS b
             WHERE b.incident_id = i.id AND b.scope = 'account' AND b.subject = %(account)s))
       AND (NOT %(open)s OR i.state = 'open' AND i.until > now())
     ORDER BY i.at DESC, i.id DESC LIMIT %(most)s"""
_ONE = "SELECT to_jsonb(i) AS row FROM public.fraud_incidents AS i WHERE i.id = %s"
_ACTIONS = """
    SELECT action, state, tries, receipt FROM control.fraud_actions WHERE incident_id = %s ORDER BY id"""
_HELD = """
    SELECT b.scope, b.subject, b.what, b.most, b.reason, b.expires_at FROM public.blocks AS b
     WHERE b.incident_id = %s ORDER BY 1, 2, 3"""
_LIFT = """
    UPDATE public.fraud_incidents SET state = 'released'
     WHERE state = 'open' AND (id = %(number)s OR (scope, subject) = (%(scope)s::text, %(subject)s::text))
     RETURNING id"""
_STATUS = """
    SELECT (SELECT count(*) FROM public.fraud_incidents
             WHERE state = 'open' AND mode = 'enforce' AND until > now()),
        (SELECT count(*) FROM public.fraud_incidents
          WHERE state = 'open' AND mode = 'observe' AND until > now()),
        (SELECT count(*) FROM public.blocks WHERE incident_id IS NOT NULL AND expires_at > now()),
        (SELECT count(*) FROM public.blocks WHERE incident_id IS NULL),
        (SELECT count(*) FROM control.fraud_actions WHERE state = 'pending'),
        (SELECT count(*) FROM control.fraud_actions AS f JOIN public.fraud_incidents AS i ON i.id = f.incident_id
          WHERE f.state = 'failed' AND i.state = 'open')"""


class Line(NamedTuple):
    """One incident in a listing."""

    incident: int
    at: Any
    state: str
    mode: str
    level: str
    whom: str
    rule: str
    value: float
    threshold: float
    until: Any
    actions: str


class Status(NamedTuple):
    """What is so now, in numbers."""

    enforced: int
    observed: int
    blocks: int
    by_persons: int
    pending: int
    failed: int


def subject(text: str) -> tuple[str, str]:
    """Scope and subject as an operator writes them. InputError: it is neither."""
    found = _SUBJECT.fullmatch(text)
    if found is None:
        raise InputError(f"{text}: write {SUBJECTS}")
    return found[1], found[2]


def destinations(texts: Sequence[str]) -> None:
    """InputError: one of them is no prefix, country or class that edges can block."""
    for text in texts:
        if not _WHERE.fullmatch(text):
            raise InputError(
                f"--to {text}: write a prefix with + (+88213), a country (TN), or premium, shared_cost, satellite, "
                "high_risk, international, national, mobile or unallocated"
            )


def duration_s(text: str) -> int:
    """30s, 45m, 2h or 7d. InputError: it is none, or more than a year."""
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= 366 * 86_400:
        raise InputError(f"--for {text}: write a number and s, m, h or d, such as 2h; a year at most")
    return seconds


def by_hand(
    connection: Connection[Any],
    whom: str,
    actions: Sequence[str],
    destinations: Sequence[str],
    *,
    now: float,
    for_s: int,
    most: int,
    why: str,
) -> Verdict:
    """The verdict of a person. InputError: there is no such subject."""
    scope, name = subject(whom)
    account = ""
    if scope == "source":
        _check_address(name)
    else:
        row = connection.execute(_EXISTS[scope].encode(), {"subject": name}).fetchone()
        if row is None:
            raise InputError(f"there is no {scope} {name}: write {SUBJECTS}")
        account = str(row[0])
    rule = Rule(
        BY_HAND, "calls", scope, 1, critical=float(most), destinations=tuple(destinations) or (ANY,),
        actions=tuple(actions), release_s=for_s, mode=ENFORCE, comment=why,
    )  # fmt: skip
    return Verdict(
        rule, scope, name, CRITICAL, float(most), float(most), now, now + for_s, evidence=(why,) if why else (),
        account=account,
    )  # fmt: skip


def _check_address(text: str) -> None:
    try:
        written = str(ip_address(text))
    except ValueError:
        written = ""
    if written != text:
        raise InputError(f"{text} is no IP address as the edge writes one, such as 203.0.113.9")


def listed(connection: Connection[Any], account: str | None, most: int, *, only_open: bool) -> list[Line]:
    """The newest incidents."""
    asked = {"account": account, "most": most, "open": only_open}
    return [Line(*row) for row in connection.execute(_LISTED, asked)]


def one(connection: Connection[Any], number: int) -> dict[str, Any]:
    """An incident with its blocks and actions. InputError: there is none."""
    row = connection.execute(_ONE, (number,)).fetchone()
    if row is None:
        raise InputError(f"there is no incident {number} (dialplane fraud incidents lists them)")
    found: dict[str, Any] = dict(row[0])
    found["blocks"] = [
        f"{scope}:{whom}:{what}" + (f" at most {most}" if most else "")
        for scope, whom, what, most, _, _ in connection.execute(_HELD, (number,))
    ]
    found["actions"] = [
        {"action": action, "state": state, "tries": tries, "receipt": receipt}
        for action, state, tries, receipt in connection.execute(_ACTIONS, (number,))
    ]
    return found


def status(connection: Connection[Any]) -> Status:
    """What is so now."""
    row = connection.execute(_STATUS).fetchone()
    assert row is not None  # noqa: S101 - one row of numbers
    return Status(*row)


def lift(connection: Connection[Any], what: str) -> list[int]:
    """End an incident (its number), or all of a subject; their numbers. Blocks are gone at commit.

    InputError: nothing of that is open.
    """
    if what.isdecimal():
        number = int(what)
        if one(connection, number)["state"] != "open":
            raise InputError(
                f"incident {number} is over already: it blocks nothing (dialplane fraud incidents {number})"
            )
        asked = {"number": number, "scope": None, "subject": None}
    else:
        scope, name = subject(what)
        asked = {"number": None, "scope": scope, "subject": name}  # type: ignore[dict-item]
    found = [int(row[0]) for row in connection.execute(_LIFT, asked)]
    if not found:
        raise InputError(
            f"no incident of {what} is open (dialplane fraud incidents --open lists them); "
            "a block that a person wrote is a row of blocks"
        )
    return sorted(found)
