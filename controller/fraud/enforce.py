"""Verdicts become incidents: `act` writes one with its blocks, secrets and actions in one transaction, so it is live on
every edge at commit; `nodes.resume` has nodes do what is left, from the rows.

    incident = act(connection, verdict)

A verdict that is acted upon twice is one incident. Killed anywhere, what was not committed never was, and what was
waits as rows for the next `resume`, whoever runs it: each piece of work may be done twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from controller.fraud.actions import FAILED, Planned, World, plan
from controller.fraud.model import RELEASED, START, Allow, Event, Owner, Verdict
from controller.provisioning.secret import digests

#: What a block of a rule says as its reason.
REASON = "fraud"
_INCIDENT = """
    INSERT INTO public.fraud_incidents
        (rule, owner, level, scope, subject, account, mode, value, threshold, destinations, evidence, at, until)
    VALUES (%(rule)s, %(owner)s, %(level)s, %(scope)s, %(subject)s, %(account)s, %(mode)s, %(value)s, %(threshold)s,
            %(destinations)s, %(evidence)s, %(at)s, %(until)s)
    ON CONFLICT ON CONSTRAINT fraud_incidents_key DO NOTHING RETURNING id"""
_KNOWN = """
    SELECT id FROM public.fraud_incidents
     WHERE (rule, owner, scope, subject, level, at)
         = (%(rule)s, %(owner)s, %(scope)s, %(subject)s, %(level)s, %(at)s)"""
_RELEASE = """
    UPDATE public.fraud_incidents SET state = 'released', ended_by = 'rule'
     WHERE state = 'open' AND (rule, owner, scope, subject) = (%(rule)s, %(owner)s, %(scope)s, %(subject)s)
       AND until <= %(now)s"""
# All at once: entries are published once, however many accounts a reseller has.
_BLOCKS = """
    INSERT INTO public.blocks (scope, subject, what, most, reason, expires_at, incident_id)
    SELECT b.*, %s, %s, %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[]) AS b
    ON CONFLICT ON CONSTRAINT blocks_key DO NOTHING"""
_ACCOUNT = "SELECT name, country FROM public.accounts WHERE name = %s"
_OF_RESELLER = """
    SELECT a.name, a.country FROM public.accounts AS a
     WHERE a.reseller = %s AND NOT EXISTS (
        SELECT FROM public.fraud_allows AS r
         WHERE r.account_id = a.id AND num_nonnulls(r.user_id, r.device_id, r.source) = 0 AND r.what = '*'
           AND (r.expires_at IS NULL OR r.expires_at > clock_timestamp()))
     ORDER BY 1"""
_ACTION = """
    INSERT INTO control.fraud_actions (incident_id, action, state, target, receipt, done_at)
    VALUES (%s, %s, %s, %s, %s, CASE WHEN %s <> 'pending' THEN clock_timestamp() END)"""
_DEVICES = """
    SELECT d.id, d.name || '@' || o.name AS aor, u.name AS "user"
      FROM public.devices AS d JOIN public.domains AS o ON o.id = d.domain_id
      JOIN public.accounts AS a ON a.id = d.account_id LEFT JOIN public.users AS u ON u.id = d.user_id
     WHERE a.name = ANY (%s) ORDER BY 2"""
_MEMBERS = """
    SELECT u.name AS "user", d.name || '@' || o.name AS aor
      FROM public.group_members AS m JOIN public.groups AS g ON g.id = m.group_id
      JOIN public.accounts AS a ON a.id = m.account_id
      LEFT JOIN public.users AS u ON u.id = m.user_id
      LEFT JOIN public.devices AS d ON d.id = m.device_id LEFT JOIN public.domains AS o ON o.id = d.domain_id
     WHERE a.name = %(account)s AND g.name = %(group)s AND num_nonnulls(u.id, d.id) > 0 ORDER BY 1, 2"""
_ALLOWS = """
    SELECT a.name AS account, u.name AS "user", d.name || '@' || o.name AS device, host(r.source) AS source
      FROM public.fraud_allows AS r LEFT JOIN public.accounts AS a ON a.id = r.account_id
      LEFT JOIN public.users AS u ON u.id = r.user_id
      LEFT JOIN public.devices AS d ON d.id = r.device_id LEFT JOIN public.domains AS o ON o.id = d.domain_id
     WHERE r.what = '*' AND (r.expires_at IS NULL OR r.expires_at > clock_timestamp())"""
# Those on their way outside: whatever came of the try that is under way, nobody waits for it.
_WITHDRAW = """
    WITH gone AS (
        UPDATE control.message_deliveries AS d
           SET state = 'withdrawn', reason = 'fraud', ended_at = clock_timestamp(), lease_until = NULL
          FROM control.messages AS m
         WHERE m.id = d.message AND d.kind = 'number' AND d.state IN ('held', 'due', 'away', 'sending')
           AND m.account = ANY (%(accounts)s) AND m.sender = ANY (%(devices)s)
        RETURNING d.id, d.message, d.address
    ), over AS (
        UPDATE control.messages AS m
           SET state = 'failed', reason = 'fraud', ended_at = clock_timestamp(), body = NULL
         WHERE m.id IN (SELECT message FROM gone) AND m.ended_at IS NULL AND NOT EXISTS (
            SELECT FROM control.message_deliveries AS o
             WHERE o.message = m.id AND o.id NOT IN (SELECT id FROM gone) AND o.ended_at IS NULL)
    )
    SELECT message::text, address FROM gone ORDER BY id"""
_ROTATE = """
    UPDATE control.device_provisioning SET generation = generation + 1 WHERE device_id = %s RETURNING generation"""


def act(connection: Connection[Any], verdict: Verdict) -> int | None:
    """Make an incident of a verdict, with all that can be done in the database: its number; None: a verdict that ends.

    One transaction (a savepoint, if one is open already). An allow-list that takes the whole subject out closes it at
    once. An action that cannot be done is failed, with the reason as its receipt; the others are done.
    """
    said = _values(verdict)
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        if verdict.level == RELEASED:
            cursor.execute(_RELEASE, said | {"now": _time(verdict.at)})
            return None
        row = cursor.execute(_INCIDENT, said).fetchone()
        if row is None:
            known = cursor.execute(_KNOWN, said).fetchone()
            return int(known["id"]) if known else None
        incident = int(row["id"])
        homes = _homes(cursor, verdict)
        devices = cursor.execute(_DEVICES, (list(homes),)).fetchall() if homes else []
        if _allowed(cursor, verdict, devices):
            cursor.execute(
                "UPDATE public.fraud_incidents SET state = 'closed', ended_by = 'allow-list' WHERE id = %s",
                (incident,),
            )
            return incident
        world = _world(cursor, verdict, devices, homes)
        ids = {one["aor"]: int(one["id"]) for one in devices}
        for one in plan(verdict, world):
            _do(cursor, incident, one, verdict, ids, world)
    return incident


def _do(
    cursor: psycopg.Cursor[dict[str, Any]],
    incident: int,
    one: Planned,
    verdict: Verdict,
    ids: Mapping[str, int],
    world: World,
) -> None:
    state, receipt = one.state, [{"ok": False, "text": one.why}] if one.why else []
    try:
        with cursor.connection.transaction():
            if one.blocks:
                columns = (list(column) for column in zip(*one.blocks, strict=True))
                cursor.execute(_BLOCKS, (REASON, _time(verdict.until), incident, *columns))
            for block in one.blocks:
                text = f"{block.scope}:{block.subject}:{block.what}" + (
                    f" at most {block.most}" if block.most else ""
                )
                receipt.append({"ok": True, "block": text})
            if one.action == "rotate" and one.state != FAILED:
                receipt += _rotate(cursor, [(aor, ids[aor]) for aor in one.target["devices"] if aor in ids])
            if one.action == "end_calls":
                asked = {"accounts": list(world.homes), "devices": list(world.devices)}
                gone = cursor.execute(_WITHDRAW, asked).fetchall()
                receipt += [{"ok": True, "message": row["message"], "to": row["address"]} for row in gone]
    except (psycopg.errors.IntegrityError, psycopg.errors.RaiseException) as error:
        # A subject that is gone by now, a prefix of an emergency number.
        state, receipt = FAILED, [{"ok": False, "text": str(error).strip().partition("\n")[0]}]
    cursor.execute(_ACTION, (incident, one.action, state, Jsonb(one.target), Jsonb(receipt), state))


def _rotate(
    cursor: psycopg.Cursor[dict[str, Any]], devices: Iterable[tuple[str, int]]
) -> list[dict[str, Any]]:
    """Nobody signs in any more: what is stored is of a password that nobody has. Who has a token fetches the next."""
    receipt: list[dict[str, Any]] = []
    for aor, device in devices:
        md5, sha256 = digests(aor, secrets.token_hex(32))
        cursor.execute("SELECT control.set_credential(%s, %s, %s)", (device, md5, sha256))
        row = cursor.execute(_ROTATE, (device,)).fetchone()
        text = (
            f"generation {row['generation']} waits to be fetched"
            if row
            else "no provisioning token: set a password (set_device_password), or dialplane provision token"
        )
        receipt.append({"ok": True, "device": aor, "text": text})
    return receipt


def _homes(cursor: psycopg.Cursor[dict[str, Any]], verdict: Verdict) -> dict[str, str]:
    """Whose it is, and in which country: an account, or those of a reseller that no allow-list takes out."""
    if verdict.scope == "reseller":
        cursor.execute(_OF_RESELLER, (verdict.subject,))
    else:
        cursor.execute(_ACCOUNT, (verdict.account,))
    return {row["name"]: row["country"] for row in cursor}


def _world(
    cursor: psycopg.Cursor[dict[str, Any]],
    verdict: Verdict,
    devices: list[dict[str, Any]],
    homes: Mapping[str, str],
) -> World:
    name = verdict.subject.partition("/")[2]
    members = [("account", account) for account in homes] if verdict.scope == "reseller" else []
    if verdict.scope == "group":
        for row in cursor.execute(_MEMBERS, {"account": verdict.account, "group": name}):
            members.append(
                ("user", f"{verdict.account}/{row['user']}") if row["user"] else ("device", str(row["aor"]))
            )
    of_users = {subject.partition("/")[2] for scope, subject in members if scope == "user"}

    def is_theirs(one: Mapping[str, Any]) -> bool:
        return (
            verdict.scope in ("account", "reseller")
            or (verdict.scope == "user" and one["user"] == name)
            or (verdict.scope == "device" and one["aor"] == verdict.subject)
            or (verdict.scope == "group" and (one["user"] in of_users or ("device", one["aor"]) in members))
        )

    return World(homes, tuple(members), tuple(str(one["aor"]) for one in devices if is_theirs(one)))


def _allowed(cursor: psycopg.Cursor[dict[str, Any]], verdict: Verdict, devices: list[dict[str, Any]]) -> bool:
    """Whether an allow-list takes all of the subject out; what it says of numbers, edges know (table `allow`). Of a
    reseller it takes accounts out, see `_homes`."""
    sources = {verdict.subject} if verdict.scope == "source" else set(verdict.evidence)
    user = verdict.subject.partition("/")[2] if verdict.scope == "user" else ""
    device = verdict.subject if verdict.scope == "device" else ""
    if device:
        user = next((str(one["user"] or "") for one in devices if one["aor"] == device), "")
    account = "" if verdict.scope == "reseller" else verdict.account
    event = Event("", verdict.at, START, account, user=user, device=device)
    for row in cursor.execute(_ALLOWS):
        allow = Allow(
            Owner(row["account"] or "", row["user"] or "", device=row["device"] or ""), row["source"] or ""
        )
        if allow.source and allow.source not in sources:
            continue
        if allow.owner.fits(event) and (verdict.scope != "source" or allow.source):
            return True
    return False


def _values(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.rule
    return {
        "rule": rule.name, "owner": str(rule.owner), "level": verdict.level, "scope": verdict.scope,
        "subject": verdict.subject, "account": verdict.account, "mode": rule.mode, "value": verdict.value,
        "threshold": verdict.threshold, "destinations": list(rule.destinations), "evidence": list(verdict.evidence),
        "at": _time(verdict.at), "until": _time(verdict.until),
    }  # fmt: skip


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
