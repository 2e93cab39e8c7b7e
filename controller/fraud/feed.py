"""What the engine of fraud lives on, in PostgreSQL: rows of control.call_events as they come, what happened before,
verdicts in force, and what accounts usually do. Psycopg, and no decision.

Ids of rows follow neither time nor the order of commits: `Reader` gives each row once, whenever its transaction ends.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from controller.fraud import baseline, store
from controller.fraud.destinations import classify
from controller.fraud.explain import moment
from controller.fraud.holding import permission_rule
from controller.fraud.live import TOLD, Live, Row
from controller.fraud.metrics import METRICS
from controller.fraud.model import (
    ANSWER,
    END,
    FAILED_AUTH,
    MESSAGE,
    PERMISSION,
    REGISTER,
    RELEASED,
    START,
    Event,
    Rule,
    Verdict,
)

log = logging.getLogger("dialplane.fraud")

#: How ids of events begin that are history, however young.
SEEN = "seen/"
CHANNELS = ("dialplane_fact", "dialplane_change")
#: What happened in the last hour is read from what edges said, what was before from records of calls.
FACTS_S = 3_600.0
HISTORY_S = baseline.DAYS * 86_400.0
#: No more than so many are read at a start, the newest: 50,000 take seconds. PostgreSQL makes a summary of history.
MOST_CALLS, MOST_FACTS, MOST_HISTORY = 50_000, 100_000, 300_000
_BATCH = 2_000
# Ids that were passed over: so many at most, for so long, until nobody can be about to commit them.
_MOST_MISSING, _MISSING_S = 10_000, 60.0
_OPEN_S = 86_400.0
_KINDS = {END: {START, ANSWER, END}, MESSAGE: {MESSAGE}, REGISTER: {REGISTER, FAILED_AUTH}}
_NAMES = ", ".join(f"'{name}'" for name in TOLD)
_COLUMNS = "id, call_id, node, extract(epoch FROM at)::float8, event, detail"

_NEW = f"""
    SELECT id, call_id, node, extract(epoch FROM at)::float8, event,
           CASE WHEN event IN ({_NAMES}) THEN detail END
      FROM control.call_events WHERE id > %(after)s OR id = ANY (%(missing)s) ORDER BY id LIMIT {_BATCH}"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM control.call_events"
_GAPS = """
    SELECT n FROM generate_series(greatest(%(newest)s - %(most)s, 1), %(newest)s) AS n
    EXCEPT SELECT id FROM control.call_events WHERE id > %(newest)s - %(most)s - 1"""
_SINCE_CALLS = """
    SELECT started_at FROM control.call_records
     WHERE complete AND started_at < %s ORDER BY started_at DESC OFFSET %s LIMIT 1"""
_SINCE_FACTS = f"""
    SELECT at FROM control.call_events WHERE event IN ({_NAMES}) AND at >= %s ORDER BY at DESC OFFSET %s LIMIT 1"""
# Calls that began before and are over are in the records, with all that was said of them.
_FACTS = f"""
    SELECT {_COLUMNS} FROM control.call_events AS e
     WHERE event IN ({_NAMES}) AND at >= %(since)s AND NOT EXISTS (
        SELECT FROM control.call_records AS r WHERE r.call_id = e.call_id AND r.complete AND r.started_at < %(since)s)
    UNION ALL
    SELECT {_COLUMNS} FROM control.call_events AS e
     WHERE event IN ({_NAMES}) AND at < %(since)s AND call_id IN (
        SELECT r.call_id FROM control.call_records AS r
         WHERE NOT r.complete AND r.started_at >= %(open)s AND r.started_at < %(since)s)
    UNION ALL
    SELECT {_COLUMNS} FROM control.call_events AS e
     WHERE event IN ({_NAMES}) AND event IN ('registered', 'refused_sign_in', 'message')
       AND at >= %(others)s AND at < %(since)s
    ORDER BY 4, 1"""
_SEEN = f"""
    SELECT substr(call_id, 8), coalesce(detail ->> 'source', ''), coalesce(detail ->> 'agent', ''),
           extract(epoch FROM min(at))::float8
      FROM control.call_events WHERE event IN ({_NAMES}) AND event = 'registered' AND at >= %s AND at < %s
     GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT %s"""
_CALLED = """
    SELECT account, device, min(number), extract(epoch FROM min(started_at))::float8 FROM (
        SELECT r.account, r.started_at,
               CASE r.direction WHEN 'inbound' THEN '' ELSE coalesce(r.caller, '') END AS device,
               substring(d.step ->> 'text' FROM '^([+][0-9]{5,}) by ') AS number
          FROM control.call_records AS r CROSS JOIN jsonb_array_elements(r.decisions) AS d (step)
         WHERE r.complete AND r.started_at >= %s AND r.started_at < %s AND r.account IS NOT NULL
           AND d.step ->> 'step' = 'dp.route') AS routed
     WHERE number IS NOT NULL GROUP BY account, device, left(number, -4) ORDER BY 4 DESC LIMIT %s"""
_KEEP = """
    INSERT INTO control.fraud_verdicts (rule, owner, scope, subject, account, level, mode, actions, value, threshold,
                                        factor, at, until, evidence)
    VALUES (%s, %s, %s, %s, nullif(%s, ''), %s, %s, %s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s)
    ON CONFLICT DO NOTHING RETURNING id"""
# The last word of each rule about each subject. What ended while nobody looked is still to be said.
_HELD = """
    SELECT * FROM (
        SELECT DISTINCT ON (rule, owner, subject) rule, owner, scope, subject, coalesce(account, '') AS account, level,
               value, threshold, factor, extract(epoch FROM at)::float8 AS at,
               extract(epoch FROM until)::float8 AS until, evidence
          FROM control.fraud_verdicts WHERE until > clock_timestamp() - interval '1 day'
         ORDER BY rule, owner, subject, fraud_verdicts.at DESC, id DESC) AS last
     WHERE level <> %s"""
# Ids do not follow commits: some are looked at again.
_CHANGES = """
    SELECT tbl, max(id) FROM control.change_log
     WHERE id > coalesce(%s, (SELECT max(id) FROM control.change_log), 0) - 1000 GROUP BY tbl"""
_USUAL = "SELECT account, rule, value FROM control.fraud_usual WHERE account <> ''"
_USUAL_AT = "SELECT extract(epoch FROM max(computed_at))::float8 FROM control.fraud_usual"


class Reader:
    """Rows that came since it was made, each once."""

    def __init__(self, connection: Connection[Any]) -> None:
        """Within the transaction that reads what happened before: nothing is missed in between."""
        row = connection.execute(_NEWEST).fetchone()
        self._after = int(row[0]) if row else 0
        gaps = connection.execute(_GAPS, {"newest": self._after, "most": _MOST_MISSING}).fetchall()
        # id -> until when it may still come; None: since the next look.
        self._missing: dict[int, float | None] = {one: None for (one,) in gaps}

    def read(self, connection: Connection[Any], now: float) -> tuple[list[Row], bool]:
        """What is new, and whether there is more at once. `now`: any clock that goes on."""
        found = connection.execute(_NEW, {"after": self._after, "missing": list(self._missing)}).fetchall()
        rows = []
        for id_, *rest in found:
            if id_ > self._after:
                self._missing |= dict.fromkeys(range(max(self._after + 1, id_ - _MOST_MISSING), id_))
                self._after = id_
            else:
                self._missing.pop(id_, None)
            if rest[-1] is not None:
                rows.append(Row(id_, *rest))
        self._forget(now)
        return rows, len(found) == _BATCH

    def _forget(self, now: float) -> None:
        for id_, until in list(self._missing.items()):
            if until is None:
                self._missing[id_] = now + _MISSING_S
            elif until < now:
                del self._missing[id_]
        for id_ in list(self._missing)[: max(0, len(self._missing) - _MOST_MISSING)]:
            del self._missing[id_]


def before(
    connection: Connection[Any], setup: store.Setup, live: Live, rates: Mapping[str, float], now: float
) -> Iterator[Event]:
    """What happened before, in order of time: the longest window, and history, whose events' ids begin with SEEN.

    `live` hears what edges said: it goes on with that. In one transaction (repeatable read) of the caller's, until the
    last event is taken.
    """
    windows = _windows(setup.rules)
    facts = _bounded(connection, _SINCE_FACTS, now - FACTS_S, _time(now - FACTS_S), MOST_FACTS)
    others = min(facts, now - max(windows[MESSAGE], windows[REGISTER]))
    others = _bounded(connection, _SINCE_FACTS, others, _time(others), MOST_FACTS)
    calls = _bounded(connection, _SINCE_CALLS, now - windows[END], _time(facts), MOST_CALLS)
    if calls > now - windows[END]:
        log.warning(
            "there are more than %d records of calls since %s: windows are no longer than that now",
            MOST_CALLS, moment(calls),
        )  # fmt: skip
    history = _bounded(connection, _SINCE_CALLS, now - HISTORY_S, _time(calls), MOST_HISTORY)
    return heapq.merge(
        _seen(connection, live, now - HISTORY_S, others),
        _called(connection, live, history, calls),
        store.events(connection, setup.profiles, rates, None, _time(calls), _time(facts)),
        _said(connection, live, facts, others, now),
        key=lambda one: one.at,
    )


def _windows(rules: tuple[Rule, ...]) -> dict[str, float]:
    """The longest window of rules about calls (END), messages, sign-ins (REGISTER)."""
    return {
        kind: max(
            (
                rule.window_s * 13 / 12
                for rule in rules
                if rule.enabled and kinds & {*METRICS[rule.metric].kinds}
            ),
            default=0.0,
        )
        for kind, kinds in _KINDS.items()
    }


def _bounded(connection: Connection[Any], statement: str, since: float, at: datetime, most: int) -> float:
    """That time, or when the newest so many of them begin."""
    row = connection.execute(statement, (at, most)).fetchone()
    return since if row is None else max(since, float(row[0].timestamp()))


def _said(
    connection: Connection[Any], live: Live, since: float, others: float, now: float
) -> Iterator[Event]:
    values = {"since": _time(since), "others": _time(others), "open": _time(now - _OPEN_S)}
    with connection.cursor("fraud_facts") as rows:
        rows.itersize = _BATCH
        for row in rows.execute(_FACTS, values):
            yield from live.events(Row(*row))


def _seen(connection: Connection[Any], live: Live, since: float, until: float) -> Iterator[Event]:
    """Which addresses and user agents devices had before, once each."""
    found = connection.execute(_SEEN, (_time(since), _time(until), MOST_FACTS)).fetchall()
    for device, source, agent, at in reversed(found):
        account, user = live.whose.accounts.get(device, ""), live.whose.users.get(device, "")
        yield Event(
            f"{SEEN}{device}/{source}/{agent}", at, REGISTER, account, "", user,
            live.whose.groups.get((account, user), ()), device, live.profile(account).reseller, source=source,
            agent=agent,
        )  # fmt: skip


def _called(connection: Connection[Any], live: Live, since: float, until: float) -> Iterator[Event]:
    """Which blocks of numbers devices called before, and forwardings, once each."""
    found = connection.execute(_CALLED, (_time(since), _time(until), MOST_FACTS)).fetchall()
    for account, device, number, at in reversed(found):
        user, profile = live.whose.users.get(device, ""), live.profile(account)
        country, cls = classify(number, profile.country)
        yield Event(
            f"{SEEN}{account}/{device}/{number}", at, START, account, "", user,
            live.whose.groups.get((account, user), ()), device, profile.reseller, called=number,
            country=country, cls=cls,
        )  # fmt: skip


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


# --- verdicts ---------------------------------------------------------------------------------------------------


def keep(connection: Connection[Any], verdict: Verdict) -> bool:
    """Write a verdict; whether it is one more."""
    values = (
        verdict.rule.name, str(verdict.rule.owner), verdict.scope, verdict.subject, verdict.account, verdict.level,
        verdict.rule.mode, list(verdict.would), verdict.value, verdict.threshold, verdict.factor, verdict.at,
        verdict.until, list(verdict.evidence),
    )  # fmt: skip
    return connection.execute(_KEEP, values).fetchone() is not None


def held(connection: Connection[Any], setup: store.Setup) -> list[Verdict]:
    """Verdicts in force, of rules that there still are."""
    rules = {(rule.name, str(rule.owner)): rule for rule in setup.rules if rule.enabled}
    permissions = {
        (permission_rule(one, "account").name, str(one.owner)): one
        for one in setup.permissions
        if not one.allowed
    }
    found = []
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_HELD, (RELEASED,)):
            key = row.pop("rule"), row.pop("owner")
            rule = rules.get(key)
            if key[0].startswith(PERMISSION) and key in permissions:
                rule = permission_rule(permissions[key], row["scope"])
            if rule is not None:
                found.append(Verdict(rule, **row | {"evidence": tuple(row["evidence"])}))
    return found


def forget(connection: Connection[Any], most: int = 5_000) -> None:
    """Remove verdicts, and incidents that are over, that were kept long enough; so many of each."""
    connection.execute("SELECT control.forget_verdicts(%s)", (most,))
    connection.execute("SELECT control.forget_incidents(%s)", (most,))


# --- what changes rarely ----------------------------------------------------------------------------------------


def changes(connection: Connection[Any], before: Mapping[str, int]) -> dict[str, int]:
    """The newest change of each table that changed since the last look, which gave `before`."""
    last = max(before.values(), default=None)
    return dict(before) | {row[0]: row[1] for row in connection.execute(_CHANGES, (last,)).fetchall()}


def usual(connection: Connection[Any]) -> tuple[dict[tuple[str, str], float], float | None]:
    """(account, name of a rule) -> what it reaches on a busy day of its own, and when that was computed."""
    row = connection.execute(_USUAL_AT).fetchone()
    found = {(account, rule): value for account, rule, value in connection.execute(_USUAL).fetchall()}
    return found, row[0] if row else None


def learn(connection: Connection[Any], rates: Mapping[str, float], now: float) -> None:
    """Compute that anew, from records of four weeks, in a transaction of the caller's: 50,000 calls take seconds."""
    setup = store.setup(connection)
    until = _time(now)
    events = store.events(
        connection, setup.profiles, rates, None, until - timedelta(seconds=HISTORY_S), until
    )
    found = baseline.usual(setup.rules, events)
    connection.execute("DELETE FROM control.fraud_usual")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO control.fraud_usual (account, rule, value) VALUES (%s, %s, %s)",
            [("", "", 0.0), *((account, rule, value) for (account, rule), value in found.items())],
        )


def count(connection: Connection[Any], now: float) -> int:
    """How many calls that would be, 1,000,000 at most."""
    row = connection.execute(
        """SELECT count(*) FROM (
               SELECT FROM control.call_records WHERE complete AND started_at >= %s LIMIT 1000000) AS r""",
        (_time(now - HISTORY_S),),
    ).fetchone()
    return int(row[0]) if row else 0
