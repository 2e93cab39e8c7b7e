-- Who waits, who rings, who talks: written by the AGI servers of all media nodes, one decision at a time per queue.

CREATE TABLE control.queue_callers (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT queue_callers_pkey PRIMARY KEY,
    ticket text NOT NULL CONSTRAINT queue_callers_ticket_key UNIQUE,
    account text NOT NULL,
    queue text NOT NULL,
    call_id text NOT NULL,
    node text NOT NULL,
    channel text,
    caller text NOT NULL DEFAULT '',
    caller_name text NOT NULL DEFAULT '',
    priority integer NOT NULL DEFAULT 0,
    skills text[] NOT NULL DEFAULT '{}',
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'waiting' CONSTRAINT queue_callers_state CHECK (
        state IN ('waiting', 'callback', 'ringing', 'talking', 'gone')
    ),
    outcome text CONSTRAINT queue_callers_outcome CHECK (
        outcome IN ('answered', 'abandoned', 'timeout', 'full', 'empty', 'left', 'lost', 'unreached')
    ),
    retry_at timestamptz,
    tried text[] NOT NULL DEFAULT '{}',
    member text,
    answered_at timestamptz,
    ended_at timestamptz,
    callback_number text,
    CONSTRAINT queue_callers_gone CHECK ((state = 'gone') = (outcome IS NOT NULL) AND (state = 'gone') = (ended_at IS NOT NULL)),
    CONSTRAINT queue_callers_talking CHECK ((answered_at IS NOT NULL) = (member IS NOT NULL))
);
CREATE INDEX queue_callers_open ON control.queue_callers (account, queue) WHERE state <> 'gone';
CREATE INDEX queue_callers_lease ON control.queue_callers (seen_at) WHERE state <> 'gone';
CREATE INDEX queue_callers_ended ON control.queue_callers (ended_at) WHERE state = 'gone';
CREATE INDEX queue_callers_lost ON control.queue_callers (account, queue, caller) WHERE outcome = 'lost';
COMMENT ON TABLE control.queue_callers IS
    'Callers of queues. Their order is priority (highest first), joined_at, id. Rows of those who are gone stay for a day.';
COMMENT ON COLUMN control.queue_callers.id IS 'Number of the caller: the same through losses and rejoins.';
COMMENT ON COLUMN control.queue_callers.ticket IS 'What the dialplan names this visit of the queue by: asking again with it keeps the place.';
COMMENT ON COLUMN control.queue_callers.account IS 'Account of the queue.';
COMMENT ON COLUMN control.queue_callers.queue IS 'The queue.';
COMMENT ON COLUMN control.queue_callers.call_id IS 'The call (X-DP-Call).';
COMMENT ON COLUMN control.queue_callers.node IS 'Media node where the caller waits.';
COMMENT ON COLUMN control.queue_callers.channel IS 'Channel of the caller there.';
COMMENT ON COLUMN control.queue_callers.caller IS 'Number of the caller; empty: not shown.';
COMMENT ON COLUMN control.queue_callers.caller_name IS 'Name of the caller.';
COMMENT ON COLUMN control.queue_callers.priority IS 'Callers with a higher one come first.';
COMMENT ON COLUMN control.queue_callers.skills IS 'Skills this caller needs besides those of the queue.';
COMMENT ON COLUMN control.queue_callers.joined_at IS 'Since when the caller waits.';
COMMENT ON COLUMN control.queue_callers.seen_at IS 'When the session of the caller last said that it lives.';
COMMENT ON COLUMN control.queue_callers.state IS
    'waiting; callback: hung up and waits to be called; ringing: members ring; talking to a member; gone.';
COMMENT ON COLUMN control.queue_callers.outcome IS
    'How it ended: answered, abandoned (hung up), timeout, full, empty (nobody on duty), left (went on by choice), lost (the '
    'session died), unreached (called back in vain).';
COMMENT ON COLUMN control.queue_callers.retry_at IS 'Rings again from then on, after nobody took it; null: at once.';
COMMENT ON COLUMN control.queue_callers.tried IS 'Members who rang for this caller and did not take it: the others come first.';
COMMENT ON COLUMN control.queue_callers.member IS 'Member who took the call.';
COMMENT ON COLUMN control.queue_callers.answered_at IS 'When the member took it.';
COMMENT ON COLUMN control.queue_callers.ended_at IS 'When it was over.';
COMMENT ON COLUMN control.queue_callers.callback_number IS 'Number to call back; null: the caller is on the telephone.';

CREATE TABLE control.queue_offers (
    account text NOT NULL,
    member text NOT NULL,
    caller_id bigint NOT NULL
        CONSTRAINT queue_offers_caller_fkey REFERENCES control.queue_callers ON DELETE CASCADE,
    queue text NOT NULL,
    legs text[] NOT NULL,
    offered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at timestamptz,
    until timestamptz NOT NULL,
    CONSTRAINT queue_offers_pkey PRIMARY KEY (account, member)
);
CREATE INDEX queue_offers_caller ON control.queue_offers (caller_id);
CREATE INDEX queue_offers_lease ON control.queue_offers (until);
COMMENT ON TABLE control.queue_offers IS 'Reservations: a member rings for one caller at most.';
COMMENT ON COLUMN control.queue_offers.account IS 'Account of the member.';
COMMENT ON COLUMN control.queue_offers.member IS 'The member: name of the user.';
COMMENT ON COLUMN control.queue_offers.caller_id IS 'The caller.';
COMMENT ON COLUMN control.queue_offers.queue IS 'Queue of the caller.';
COMMENT ON COLUMN control.queue_offers.legs IS 'Devices that ring, as dp-legs is told: aor, or aor~seconds when it begins later.';
COMMENT ON COLUMN control.queue_offers.offered_at IS 'When it was decided.';
COMMENT ON COLUMN control.queue_offers.taken_at IS 'When the session of the caller began to ring; null: not yet.';
COMMENT ON COLUMN control.queue_offers.until IS 'The member is free again then, when nobody says that the call still rings.';

CREATE TABLE control.queue_member_stats (
    account text NOT NULL,
    queue text NOT NULL,
    member text NOT NULL,
    last_offer_at timestamptz,
    last_call_at timestamptz,
    day date,
    calls_today integer NOT NULL DEFAULT 0,
    wrap_until timestamptz,
    CONSTRAINT queue_member_stats_pkey PRIMARY KEY (account, member, queue)
);
COMMENT ON TABLE control.queue_member_stats IS 'What strategies go by. Deleting a row begins anew.';
COMMENT ON COLUMN control.queue_member_stats.account IS 'Account of the member.';
COMMENT ON COLUMN control.queue_member_stats.queue IS 'The queue.';
COMMENT ON COLUMN control.queue_member_stats.member IS 'The member: name of the user.';
COMMENT ON COLUMN control.queue_member_stats.last_offer_at IS 'When the member last rang for this queue; null: never.';
COMMENT ON COLUMN control.queue_member_stats.last_call_at IS 'When the last call of this queue began or ended; null: never.';
COMMENT ON COLUMN control.queue_member_stats.day IS 'Day (UTC) that calls_today counts.';
COMMENT ON COLUMN control.queue_member_stats.calls_today IS 'Calls of this queue the member took on that day.';
COMMENT ON COLUMN control.queue_member_stats.wrap_until IS 'Left alone by all queues until then; null: not.';

CREATE TABLE control.queue_events (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT queue_events_pkey PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    account text NOT NULL,
    queue text NOT NULL,
    event text NOT NULL CONSTRAINT queue_events_event CHECK (event IN (
        'joined', 'rejoined', 'offered', 'refused', 'ignored', 'callback', 'answered', 'ended', 'abandoned', 'timeout',
        'full', 'empty', 'left', 'lost', 'unreached', 'logged_in', 'logged_out', 'paused', 'unpaused'
    )),
    caller_id bigint,
    call_id text,
    member text,
    wait_ms bigint,
    talk_ms bigint,
    detail text
);
CREATE INDEX queue_events_queue ON control.queue_events (account, queue, at);
CREATE INDEX queue_events_caller ON control.queue_events (caller_id) WHERE caller_id IS NOT NULL;
COMMENT ON TABLE control.queue_events IS 'What happened in queues, for reports. Each caller has one outcome among them.';
COMMENT ON COLUMN control.queue_events.id IS 'Number of the row.';
COMMENT ON COLUMN control.queue_events.at IS 'When.';
COMMENT ON COLUMN control.queue_events.account IS 'Account of the queue.';
COMMENT ON COLUMN control.queue_events.queue IS 'The queue.';
COMMENT ON COLUMN control.queue_events.event IS
    'joined, rejoined (place kept), offered (to a member), refused or ignored (by a member), callback (asked to be called), '
    'ended (the talk); outcomes: answered, abandoned, timeout, full, empty, left, lost, unreached; of a member: logged_in, '
    'logged_out, paused, unpaused.';
COMMENT ON COLUMN control.queue_events.caller_id IS 'The caller; null: it is about a member alone.';
COMMENT ON COLUMN control.queue_events.call_id IS 'The call (X-DP-Call).';
COMMENT ON COLUMN control.queue_events.member IS 'The member; null: none had to do with it.';
COMMENT ON COLUMN control.queue_events.wait_ms IS 'How long the caller had waited, in milliseconds.';
COMMENT ON COLUMN control.queue_events.talk_ms IS 'How long they talked, in milliseconds (ended).';
COMMENT ON COLUMN control.queue_events.detail IS 'More in words: the reason of a pause, why a member rang.';

-- Open calls of an account, to see which devices are on the telephone.
CREATE INDEX call_records_open ON control.call_records (account) WHERE NOT complete;

CREATE VIEW control.member_states AS
SELECT a.name AS account, u.name AS member,
    coalesce(m.logged_in, true) AS logged_in, coalesce(m.paused, false) AS paused, m.pause_reason,
    coalesce(d.dnd, false) AS dnd
FROM public.accounts AS a
JOIN public.users AS u ON u.account_id = a.id
LEFT JOIN public.member_states AS m
    ON m.account_id = a.id AND m.user_id = u.id AND (m.until IS NULL OR m.until > clock_timestamp())
LEFT JOIN public.user_states AS d
    ON d.account_id = a.id AND d.user_id = u.id AND d.dnd AND (d.until IS NULL OR d.until > clock_timestamp())
WHERE m.user_id IS NOT NULL OR d.user_id IS NOT NULL;
COMMENT ON VIEW control.member_states IS
    'Users who said something of themselves that holds now. Who is not here is logged in, free and may be disturbed.';

CREATE VIEW control.queue_service_level AS
SELECT t.account, t.queue, t.day, count(*) AS callers,
    count(*) FILTER (WHERE t.outcome = 'answered') AS answered,
    count(*) FILTER (WHERE t.outcome = 'answered' AND t.wait_ms <= l.service_level_s * 1000) AS in_time,
    count(*) FILTER (WHERE t.outcome = 'abandoned') AS abandoned,
    count(*) FILTER (WHERE t.outcome = 'timeout') AS timeout,
    count(*) FILTER (WHERE t.outcome = 'full') AS "full",
    count(*) FILTER (WHERE t.outcome = 'empty') AS empty,
    count(*) FILTER (WHERE t.outcome = 'left') AS "left",
    count(*) FILTER (WHERE t.outcome = 'unreached') AS unreached,
    count(*) FILTER (WHERE t.outcome = 'lost') AS lost,
    round(100.0 * count(*) FILTER (WHERE t.outcome = 'answered' AND t.wait_ms <= l.service_level_s * 1000)
          / count(*), 1) AS in_time_percent,
    round(avg(t.wait_ms) FILTER (WHERE t.outcome = 'answered') / 1000, 1) AS wait_s,
    round(max(t.wait_ms) / 1000.0, 1) AS longest_wait_s,
    round(avg(t.talk_ms) / 1000, 1) AS talk_s
FROM (
    SELECT e.account, e.queue, (e.at AT TIME ZONE 'UTC')::date AS day, e.event AS outcome, e.wait_ms, x.talk_ms
    FROM control.queue_events AS e
    LEFT JOIN LATERAL (
        SELECT x.talk_ms FROM control.queue_events AS x
        WHERE e.event = 'answered' AND x.caller_id = e.caller_id AND x.event = 'ended' LIMIT 1
    ) AS x ON true
    WHERE e.event IN ('answered', 'abandoned', 'timeout', 'full', 'empty', 'left', 'lost', 'unreached')
        -- Who was lost and came back has an outcome later.
        AND NOT (e.event = 'lost' AND EXISTS (
            SELECT FROM control.queue_events AS back
            WHERE back.caller_id = e.caller_id AND back.event = 'rejoined' AND back.id > e.id))
) AS t
LEFT JOIN LATERAL (
    SELECT q.service_level_s FROM public.queues AS q JOIN public.accounts AS a ON a.id = q.account_id
    WHERE a.name = t.account AND q.name = t.queue
) AS l ON true
GROUP BY t.account, t.queue, t.day;
COMMENT ON VIEW control.queue_service_level IS
    'Callers of a queue whose visit ended on that day (UTC), by outcome; in_time: answered within service_level_s.';

CREATE FUNCTION control.member_said() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was public.member_states;
    becomes public.member_states;
    -- No row: logged in and not paused.
    was_in boolean := true;
    was_paused boolean := false;
    is_in boolean := true;
    is_paused boolean := false;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was := OLD;
        was_in := OLD.logged_in;
        was_paused := OLD.paused;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        becomes := NEW;
        is_in := NEW.logged_in;
        is_paused := NEW.paused;
    END IF;
    INSERT INTO control.queue_events (account, queue, event, member, detail)
    SELECT a.name, q.name, s.event, u.name, CASE s.event WHEN 'paused' THEN becomes.pause_reason END
    FROM public.queue_members AS m
    JOIN public.queues AS q ON q.id = m.queue_id
    JOIN public.accounts AS a ON a.id = m.account_id
    JOIN public.users AS u ON u.id = m.user_id
    CROSS JOIN LATERAL (VALUES
        (CASE WHEN is_in AND NOT was_in THEN 'logged_in' WHEN was_in AND NOT is_in THEN 'logged_out' END),
        (CASE WHEN is_paused AND NOT was_paused THEN 'paused' WHEN was_paused AND NOT is_paused THEN 'unpaused' END)
    ) AS s (event)
    WHERE m.user_id = coalesce(becomes.user_id, was.user_id) AND s.event IS NOT NULL
    ORDER BY q.name;
    PERFORM pg_notify('dialplane_queue', a.name || '/' || q.name)
    FROM public.queue_members AS m
    JOIN public.queues AS q ON q.id = m.queue_id
    JOIN public.accounts AS a ON a.id = m.account_id
    WHERE m.user_id = coalesce(becomes.user_id, was.user_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.member_said IS
    'Channel dialplane_queue: account/queue of each queue a member logs in to, out of, or pauses in; and its event.';
CREATE TRIGGER member_said AFTER INSERT OR UPDATE OR DELETE ON public.member_states
    FOR EACH ROW EXECUTE FUNCTION control.member_said();

GRANT SELECT, INSERT, UPDATE, DELETE ON control.queue_callers, control.queue_offers TO dialplane_agent;
GRANT SELECT, INSERT, UPDATE ON control.queue_member_stats TO dialplane_agent;
GRANT SELECT, INSERT ON control.queue_events TO dialplane_agent;
GRANT SELECT ON control.member_states TO dialplane_agent;
GRANT SELECT ON control.queue_callers, control.queue_offers, control.queue_member_stats, control.queue_events,
    control.member_states, control.queue_service_level TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT DELETE ON control.queue_member_stats, control.queue_events TO dialplane_admin;
