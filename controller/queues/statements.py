"""The SQL of the store. Rows are locked callers first, by id, then offers by member: no two transactions block each
other.

A caller who is called back waits in state `callback`, any other in `waiting`: `_WAITS`.
"""

from __future__ import annotations

_WAITS = "CASE WHEN callback_number IS NULL THEN 'waiting' ELSE 'callback' END"

# The time after it was granted.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0)), clock_timestamp() AS now"
NOTIFY = "SELECT pg_notify('dialplane_queue', %(said)s)"
EVENTS = """
INSERT INTO control.queue_events (account, queue, event, caller_id, call_id, member, wait_ms, detail)
SELECT c.account, c.queue, e.event, c.id, c.call_id, e.member,
       (extract(epoch FROM clock_timestamp() - c.joined_at) * 1000)::bigint, %(detail)s
  FROM control.queue_callers AS c CROSS JOIN unnest(%(events)s::text[], %(members)s::text[]) AS e (event, member)
 WHERE c.id = %(id)s"""

# ------------------------------------------------------------------------------------------------- come and go

# The visit itself; else one of the same caller that was lost, whose session is late, or that waits to be called back:
# its place is free to have.
FIND = """
SELECT * FROM control.queue_callers
 WHERE ticket = %(ticket)s
    OR account = %(account)s AND queue = %(queue)s AND caller = %(caller)s AND caller <> ''
       AND (outcome = 'lost' AND successor IS NULL AND rejoin_s > 0
            AND ended_at > clock_timestamp() - make_interval(secs => rejoin_s)
            OR state IN ('waiting', 'ringing') AND callback_number IS NULL AND rejoin_s > 0
            AND seen_at < clock_timestamp() - make_interval(secs => %(late_s)s)
            OR state = 'callback')
 ORDER BY ticket = %(ticket)s DESC, joined_at LIMIT 1 FOR UPDATE"""
COUNT = """
SELECT count(*)::int AS callers FROM control.queue_callers
 WHERE account = %(account)s AND queue = %(queue)s AND state IN ('waiting', 'callback', 'ringing')"""
JOIN = """
WITH o AS (SELECT %(outcome)s::text AS outcome), made AS (
    INSERT INTO control.queue_callers
           (ticket, account, queue, call_id, node, channel, caller, caller_name, priority, skills, rejoin_s,
            state, outcome, ended_at)
    SELECT %(ticket)s, %(account)s, %(queue)s, %(call_id)s, %(node)s, %(channel)s, %(caller)s, %(caller_name)s,
           %(priority)s, %(skills)s, %(rejoin_s)s,
           CASE WHEN o.outcome IS NULL THEN 'waiting' ELSE 'gone' END, o.outcome,
           CASE WHEN o.outcome IS NOT NULL THEN clock_timestamp() END
      FROM o
    RETURNING id, account, queue, call_id, outcome
), noted AS (
    INSERT INTO control.queue_events (account, queue, event, caller_id, call_id, wait_ms, detail)
    SELECT account, queue, coalesce(outcome, 'joined'), id, call_id, 0, %(why)s FROM made
)
SELECT id, CASE WHEN outcome IS NULL THEN pg_notify('dialplane_queue', account || '/' || queue)::text END AS told
  FROM made"""
REJOIN = """
UPDATE control.queue_callers
   SET ticket = %(ticket)s, call_id = %(call_id)s, node = %(node)s, channel = %(channel)s, seen_at = clock_timestamp(),
       state = 'waiting', callback_number = NULL, callback_device = NULL, callback_tries = 0, outcome = NULL,
       ended_at = NULL, successor = NULL,
       retry_at = CASE WHEN callback_number IS NULL THEN retry_at END,
       called_at = CASE WHEN callback_number IS NULL THEN called_at ELSE clock_timestamp() END
 WHERE id = %(id)s"""
SUCCEED = """
WITH old AS (
    UPDATE control.queue_callers SET successor = %(newer)s WHERE id = %(lost)s
    RETURNING joined_at, called_at, callback_number
)
UPDATE control.queue_callers AS c
   SET joined_at = least(c.joined_at, old.joined_at),
       called_at = CASE WHEN old.callback_number IS NULL THEN least(c.called_at, old.called_at) ELSE c.called_at END
  FROM old WHERE c.id = %(newer)s"""
FOR_UPDATE = "SELECT * FROM control.queue_callers WHERE id = %(id)s FOR UPDATE"
LEAVE = """
WITH gone AS (
    UPDATE control.queue_callers SET state = 'gone', outcome = %(outcome)s, ended_at = clock_timestamp()
     WHERE id = %(id)s RETURNING *
)
INSERT INTO control.queue_events (account, queue, event, caller_id, call_id, wait_ms)
SELECT account, queue, outcome, id, call_id, (extract(epoch FROM clock_timestamp() - joined_at) * 1000)::bigint
  FROM gone"""
# It may have an offer, which nobody took while a number was typed.
CALL_BACK = """
UPDATE control.queue_callers
   SET state = 'callback', callback_number = %(number)s, callback_device = %(device)s, channel = NULL
 WHERE id = %(id)s AND state IN ('waiting', 'ringing') RETURNING *"""

CALLBACKS = "SELECT DISTINCT account, queue FROM control.queue_callers WHERE state = 'callback'"
CALLS_BACK = """
SELECT id FROM control.queue_callers AS c
 WHERE id = ANY (%(ids)s) AND state = 'ringing' AND callback_number IS NOT NULL
   AND control.queue_calls_back(id, %(node)s)"""

# ----------------------------------------------------------------------------------------- who rings for whom

WAITING = """
SELECT id, queue, priority, joined_at, called_at, skills, retry_at, tried, state
  FROM control.queue_callers
 WHERE account = %(account)s AND queue = %(queue)s
   AND (state = 'callback' OR state = 'waiting' AND seen_at > clock_timestamp() - make_interval(secs => %(lease_s)s))"""
# Of those who ask for the same skills as many as members are free: each of them takes one at least.
NEXT = f"""
SELECT id, queue, priority, joined_at, called_at, skills, retry_at, tried, state FROM (
    SELECT w.*, row_number() OVER (PARTITION BY w.skills ORDER BY w.priority DESC, w.joined_at, w.id) AS place
      FROM ({WAITING}) AS w
     WHERE w.retry_at IS NULL OR w.retry_at <= %(now)s) AS w
 WHERE place <= %(free)s"""
CLOCK = "SELECT clock_timestamp() AS now"
# Lists are texts with spaces between: names and AORs have none, and a thousand of them are sent in no time.
_DEVICE = """
device AS (
    SELECT d.member, d.aor
      FROM unnest(string_to_array(%(owners)s, ' '), string_to_array(%(aors)s, ' ')) AS d (member, aor)
)"""
# A device nobody ever saw is registered nowhere, if every edge can say so. What is open for half a day was forgotten.
_REGISTERED = """
known AS (
    SELECT coalesce(bool_and(k.known), false) AS all_edges FROM control.registrars_known AS k
), registered AS (
    SELECT d.member, bool_or(coalesce(r.state <> 'unregistered', NOT k.all_edges)) AS registered
      FROM device AS d CROSS JOIN known AS k LEFT JOIN control.registered AS r ON r.aor = d.aor GROUP BY d.member
)"""
_BUSY = """
talking AS (
    SELECT DISTINCT leg ->> 'party' AS aor
      FROM control.call_records AS r CROSS JOIN LATERAL jsonb_array_elements(r.legs) AS leg
     WHERE r.account = %(account)s AND NOT r.complete AND r.started_at > clock_timestamp() - interval '12 hours'
       AND leg ->> 'ended_at' IS NULL
), busy AS (
    SELECT DISTINCT d.member FROM device AS d JOIN talking AS t ON t.aor = d.aor
)"""
_STATS = """
own.last_offer_at, own.last_call_at,
CASE WHEN own.day = (clock_timestamp() AT TIME ZONE 'UTC')::date THEN own.calls_today ELSE 0 END AS calls_today"""
MEMBERS = f"""
WITH {_DEVICE}, {_REGISTERED}, {_BUSY}, wrap AS (
    SELECT member, max(wrap_until) AS until, max(rest_until) AS rest FROM control.queue_member_stats
     WHERE account = %(account)s AND greatest(wrap_until, rest_until) > clock_timestamp() GROUP BY member
)
SELECT u.member, coalesce(r.registered, false) AS registered, coalesce(s.logged_in, true) AS logged_in,
       coalesce(s.paused, false) AS paused, coalesce(s.pause_reason, '') AS pause_reason,
       coalesce(s.dnd, false) AS disturb_not, o.member IS NOT NULL AS reserved, b.member IS NOT NULL AS busy,
       w.until AS wrap_until, w.rest AS rest_until, {_STATS}
  FROM unnest(string_to_array(%(users)s, ' ')) AS u (member)
  LEFT JOIN registered AS r ON r.member = u.member
  LEFT JOIN busy AS b ON b.member = u.member
  LEFT JOIN control.queue_member_stats AS own
         ON own.account = %(account)s AND own.queue = %(queue)s AND own.member = u.member
  LEFT JOIN wrap AS w ON w.member = u.member
  LEFT JOIN control.queue_offers AS o ON o.account = %(account)s AND o.member = u.member
  LEFT JOIN control.member_states AS s ON s.account = %(account)s AND s.member = u.member"""
# Somebody who is on duty, busy or not.
ON_DUTY = f"""
WITH {_DEVICE}, {_REGISTERED}
SELECT r.member FROM registered AS r
 WHERE r.registered AND NOT EXISTS (SELECT FROM control.member_states AS s
                                     WHERE s.account = %(account)s AND s.member = r.member
                                       AND (NOT s.logged_in OR s.paused))
 LIMIT 1"""
# Members who can be offered somebody, while somebody waits; and, where a round goes on, who rang last.
FREE = f"""
WITH idle AS MATERIALIZED (
    SELECT u.member FROM unnest(string_to_array(%(users)s, ' ')) AS u (member)
     WHERE EXISTS (SELECT FROM control.queue_callers AS c
                    WHERE c.account = %(account)s AND c.queue = %(queue)s AND c.state IN ('waiting', 'callback'))
       AND NOT EXISTS (SELECT FROM control.queue_offers AS o WHERE o.account = %(account)s AND o.member = u.member)
       AND NOT EXISTS (SELECT FROM control.member_states AS s WHERE s.account = %(account)s AND s.member = u.member
                          AND (NOT s.logged_in OR s.paused OR s.dnd))
       AND NOT EXISTS (SELECT FROM control.queue_member_stats AS w
                        WHERE w.account = %(account)s AND w.member = u.member
                          AND greatest(w.wrap_until, w.rest_until) > %(now)s)
), {_DEVICE.replace("AS d (member, aor)", "AS d (member, aor) JOIN idle USING (member)")}, {_REGISTERED}, {_BUSY},
free AS (
    SELECT r.member FROM registered AS r
     WHERE r.registered AND NOT EXISTS (SELECT FROM busy AS b WHERE b.member = r.member)
)
SELECT f.member, false AS reserved, {_STATS}
  FROM free AS f LEFT JOIN control.queue_member_stats AS own
         ON own.account = %(account)s AND own.queue = %(queue)s AND own.member = f.member
UNION ALL
SELECT * FROM (
    SELECT own.member, true, {_STATS}
      FROM control.queue_member_stats AS own
      JOIN unnest(string_to_array(%(users)s, ' ')) AS u (member) ON u.member = own.member
     WHERE %(round)s AND own.account = %(account)s AND own.queue = %(queue)s AND own.last_offer_at IS NOT NULL
     ORDER BY own.last_offer_at DESC FETCH FIRST 1 ROW WITH TIES) AS last
 WHERE last.member NOT IN (SELECT member FROM free)"""
# Telephones that have a place: they ring for a caller of this queue, or shall, or began to just now.
ALERTED = f"""
WITH {_DEVICE}, rings AS (
    SELECT o.member, cardinality(o.legs) AS legs
      FROM control.queue_offers AS o JOIN control.queue_callers AS c ON c.id = o.caller_id
     WHERE o.account = %(account)s AND o.queue = %(queue)s AND c.state = 'ringing'
), began AS (
    SELECT d.aor FROM device AS d JOIN control.queue_member_stats AS s
           ON s.account = %(account)s AND s.queue = %(queue)s AND s.member = d.member
     WHERE s.last_offer_at > %(now)s - make_interval(secs => %(pace_ms)s / 1000.0)
       AND NOT EXISTS (SELECT FROM rings WHERE rings.member = d.member)
)
SELECT ((SELECT coalesce(sum(legs), 0) FROM rings) + (SELECT count(*) FROM began))::int AS alerted"""
# The members another queue took meanwhile are left out; who got none of them goes on waiting.
OFFER = f"""
WITH wanted AS (
    SELECT w.* FROM unnest(%(members)s::text[], %(callers)s::bigint[], %(legs)s::text[], %(why)s::text[])
           AS w (member, caller, legs, why)
), mine AS (
    SELECT id FROM control.queue_callers WHERE id = ANY (%(callers)s::bigint[]) AND state IN ('waiting', 'callback')
     ORDER BY id FOR UPDATE
), held AS (
    INSERT INTO control.queue_offers (account, member, caller_id, queue, legs, until)
    SELECT %(account)s, w.member, w.caller, %(queue)s, string_to_array(w.legs, ' '),
           clock_timestamp() + make_interval(secs => %(take_s)s)
      FROM wanted AS w JOIN mine ON mine.id = w.caller
     ORDER BY w.member
    ON CONFLICT (account, member) DO NOTHING RETURNING member, caller_id
), rings AS (
    UPDATE control.queue_callers AS c
       SET state = 'ringing', seen_at = CASE {_WAITS} WHEN 'callback' THEN clock_timestamp() ELSE seen_at END
      FROM (SELECT DISTINCT caller_id FROM held) AS h WHERE c.id = h.caller_id
    RETURNING c.id, c.call_id, c.joined_at
), noted AS (
    INSERT INTO control.queue_member_stats AS s (account, queue, member, last_offer_at)
    SELECT %(account)s, %(queue)s, member, clock_timestamp() FROM held ORDER BY member
    ON CONFLICT (account, member, queue) DO UPDATE SET last_offer_at = excluded.last_offer_at
), told AS (
    INSERT INTO control.queue_events (account, queue, event, caller_id, call_id, member, wait_ms, detail)
    SELECT %(account)s, %(queue)s, 'offered', r.id, r.call_id, h.member,
           (extract(epoch FROM clock_timestamp() - r.joined_at) * 1000)::bigint, w.why
      FROM held AS h JOIN rings AS r ON r.id = h.caller_id
      JOIN wanted AS w ON w.member = h.member AND w.caller = h.caller_id
)
SELECT caller_id, pg_notify('dialplane_queue', concat_ws('/', %(account)s::text, %(queue)s::text, caller_id))
  FROM held"""
RING_NOT = f"UPDATE control.queue_callers SET state = {_WAITS} WHERE id = ANY (%(ids)s)"
TAKE = """
WITH taken AS (
    UPDATE control.queue_offers
       SET taken_at = clock_timestamp(), until = clock_timestamp() + make_interval(secs => %(lease_s)s)
     WHERE caller_id = %(id)s AND taken_at IS NULL RETURNING member, legs, caller_id
)
SELECT t.member, t.legs, c.callback_number, c.callback_device
  FROM taken AS t JOIN control.queue_callers AS c ON c.id = t.caller_id WHERE c.state = 'ringing' ORDER BY t.member"""
# Who rang for a caller is free; all who wait in the account may want such a member, or the place.
LET_GO = """
WITH free AS (
    DELETE FROM control.queue_offers
     WHERE caller_id = %(id)s AND member <> %(but)s AND %(only)s IN ('', member) RETURNING member
)
SELECT ARRAY(SELECT member FROM free) AS members, (
    SELECT count(pg_notify('dialplane_queue', concat_ws('/', w.account, w.queue))::text) FROM (
        SELECT DISTINCT account, queue FROM control.queue_callers
         WHERE account = %(account)s AND state IN ('waiting', 'callback')) AS w) AS told"""
ANSWERED = """
UPDATE control.queue_callers
   SET state = 'talking', member = %(member)s, answered_at = clock_timestamp(), seen_at = clock_timestamp(),
       outcome = NULL, ended_at = NULL
 WHERE id = %(id)s"""
HOLD = """
INSERT INTO control.queue_offers AS o (account, member, caller_id, queue, legs, taken_at, until)
SELECT account, %(member)s, id, queue, '{}', clock_timestamp(), clock_timestamp()
  FROM control.queue_callers WHERE id = %(id)s
ON CONFLICT (account, member) DO NOTHING"""
STATS_ANSWERED = """
INSERT INTO control.queue_member_stats AS s (account, queue, member, last_call_at, day, calls_today)
VALUES (%(account)s, %(queue)s, %(member)s, clock_timestamp(), (clock_timestamp() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (account, member, queue) DO UPDATE
   SET last_call_at = excluded.last_call_at, day = excluded.day,
       calls_today = CASE WHEN s.day = excluded.day THEN s.calls_today ELSE 0 END + 1"""
_TRIED = "CASE WHEN tried && %(rang)s::text[] THEN %(rang)s ELSE tried || %(rang)s::text[] END"
REFUSED = f"UPDATE control.queue_callers SET tried = {_TRIED} WHERE id = %(id)s"
MISSED = f"""
UPDATE control.queue_callers
   SET state = {_WAITS}, tried = {_TRIED},
       retry_at = clock_timestamp() + make_interval(secs => %(retry_s)s)
 WHERE id = %(id)s"""
# Whoever says no is left alone for a moment, by all queues; who let it ring, only if it did for less than that: it was
# not reached. Who let one call after another ring is counted.
REST = """
UPDATE control.queue_member_stats AS s
   SET ignored = CASE WHEN s.member = ANY (%(refused)s::text[]) THEN 0
                      WHEN s.last_offer_at > clock_timestamp() - make_interval(secs => %(rest_s)s) THEN s.ignored
                      ELSE s.ignored + 1 END,
       rest_until = CASE WHEN s.member = ANY (%(refused)s::text[]) THEN clock_timestamp() ELSE s.last_offer_at END
                    + make_interval(secs => %(rest_s)s)
  FROM control.queue_callers AS c
 WHERE c.id = %(id)s AND s.account = c.account AND s.queue = c.queue AND s.member = ANY (%(rang)s::text[])
RETURNING s.account, s.member, s.ignored"""
AUTOPAUSE = "SELECT control.queue_autopause(%(account)s, %(member)s, %(why)s)"
NOT_IGNORED = """
UPDATE control.queue_member_stats SET ignored = 0
 WHERE account = %(account)s AND queue = %(queue)s AND member = %(member)s AND ignored > 0"""
ENDED = """
UPDATE control.queue_callers SET state = 'gone', outcome = 'answered', ended_at = clock_timestamp()
 WHERE id = %(id)s"""
STATS_ENDED = """
UPDATE control.queue_member_stats
   SET last_call_at = clock_timestamp(), wrap_until = clock_timestamp() + make_interval(secs => %(wrap_up_s)s)
 WHERE account = %(account)s AND queue = %(queue)s AND member = %(member)s"""
EVENT_ENDED = """
INSERT INTO control.queue_events (account, queue, event, caller_id, call_id, member, talk_ms, detail)
SELECT account, queue, 'ended', id, call_id, member,
       (extract(epoch FROM ended_at - answered_at) * 1000)::bigint, %(detail)s
  FROM control.queue_callers WHERE id = %(id)s"""

# Of a caller who is called back: its member has answered, and waits for it.
CALLED = "UPDATE control.queue_callers SET call_id = %(call_id)s WHERE id = %(id)s AND state = 'ringing'"
REACHED = """
UPDATE control.queue_callers SET reached_at = clock_timestamp(), answered_at = clock_timestamp() WHERE id = %(id)s"""
UNANSWERED = """
UPDATE control.queue_callers
   SET state = 'callback', member = NULL, answered_at = NULL, tried = '{}', callback_tries = callback_tries + 1,
       retry_at = clock_timestamp() + make_interval(secs => %(pause_s)s)
 WHERE id = %(id)s"""

# ------------------------------------------------------------------------------------------------------ leases

HEARTBEAT = """
WITH mine AS (
    SELECT id FROM control.queue_callers WHERE id = ANY (%(ids)s) AND state <> 'gone' ORDER BY id FOR UPDATE
), rings AS (
    UPDATE control.queue_offers AS o SET until = clock_timestamp() + make_interval(secs => %(lease_s)s)
      FROM mine WHERE o.caller_id = mine.id AND o.taken_at IS NOT NULL
)
UPDATE control.queue_callers AS c SET seen_at = clock_timestamp() FROM mine WHERE c.id = mine.id RETURNING c.id"""
SWEEPS = "SELECT pg_try_advisory_xact_lock(hashtextextended('dialplane.queue.sweep', 0)) AS mine"
# Who talks goes on talking when the session dies: until the record of the call is complete.
# A talk goes on without its session as long as an edge knows a leg to a device: channels of a node that died never end.
LATE = """
SELECT * FROM control.queue_callers AS c
 WHERE state IN ('waiting', 'ringing', 'talking')
       AND seen_at < clock_timestamp() - make_interval(secs => %(lease_s)s)
       AND NOT (state = 'talking' AND EXISTS (
                SELECT FROM control.call_records AS r CROSS JOIN LATERAL jsonb_array_elements(r.legs) AS leg
                 WHERE r.call_id = c.call_id AND NOT r.complete
                       AND leg ->> 'leg' = 'out' AND leg ->> 'ended_at' IS NULL))
    OR state = 'callback' AND joined_at < clock_timestamp() - make_interval(secs => %(callback_s)s)
 ORDER BY id FOR UPDATE SKIP LOCKED"""
# Who called again before the loss was noticed, with the same number: so long after the last sign of life of the lost
# visit that there would have been another one (sessions are renewed every 4 s). Two who wait behind one number are two.
SUCCESSORS = """
SELECT o.id AS lost, n.id AS newer
  FROM control.queue_callers AS o JOIN control.queue_callers AS n
    ON n.account = o.account AND n.queue = o.queue AND n.caller = o.caller AND n.joined_at > o.seen_at + interval '4 s'
 WHERE o.outcome = 'lost' AND o.successor IS NULL AND o.caller <> ''
   AND o.ended_at > clock_timestamp() - make_interval(secs => o.rejoin_s)
   AND n.state IN ('waiting', 'callback', 'ringing')
 ORDER BY n.id, o.joined_at FOR UPDATE OF o, n SKIP LOCKED"""
ENDED_UNSEEN = """
UPDATE control.queue_callers AS c
   SET state = 'gone', outcome = 'answered',
       ended_at = greatest(seen_at, answered_at, (
           SELECT r.ended_at FROM control.call_records AS r WHERE r.call_id = c.call_id AND r.complete))
 WHERE id = %(id)s"""
UNTAKEN = """
SELECT * FROM control.queue_callers AS c
 WHERE c.state = 'ringing' AND EXISTS (
       SELECT FROM control.queue_offers AS o
        WHERE o.caller_id = c.id AND o.taken_at IS NULL AND o.until < clock_timestamp())
 ORDER BY id FOR UPDATE SKIP LOCKED"""
WITHDRAWN = f"""
UPDATE control.queue_callers
   SET state = {_WAITS}, retry_at = clock_timestamp() + make_interval(secs => %(take_s)s)
 WHERE id = %(id)s"""
# As it is published: the same for all nodes that hold it.
PUBLISHED = """
SELECT value FROM control.entries
 WHERE account = %(account)s AND kind = 'media' AND tbl = 'policy' AND key = %(key)s LIMIT 1"""
# Of somebody who waits to be called back, and called while members rang for that: the visit that waits by now.
CALLED_AGAIN = """
SELECT n.id FROM control.queue_callers AS o JOIN control.queue_callers AS n
    ON n.account = o.account AND n.queue = o.queue AND n.caller = o.caller AND n.id > o.id
 WHERE o.id = %(id)s AND o.caller <> '' AND n.callback_number IS NULL AND n.state IN ('waiting', 'ringing')
 ORDER BY n.id LIMIT 1 FOR UPDATE OF n"""
FORGET = """
DELETE FROM control.queue_callers
 WHERE state = 'gone' AND ended_at < clock_timestamp() - make_interval(secs => %(kept_s)s)"""

# ------------------------------------------------------------------------------------------------------- looks

LINE = """
SELECT id, priority, joined_at, called_at, skills, retry_at, tried, state FROM control.queue_callers
 WHERE account = %(account)s AND queue = %(queue)s AND state IN ('waiting', 'callback', 'ringing')"""
TALK = """
SELECT (avg(t.talk_ms) / 1000)::float AS talk_s FROM (
    SELECT talk_ms FROM control.queue_events
     WHERE account = %(account)s AND queue = %(queue)s AND event = 'ended'
       AND at > clock_timestamp() - interval '1 day'
     ORDER BY at DESC LIMIT 50) AS t"""
