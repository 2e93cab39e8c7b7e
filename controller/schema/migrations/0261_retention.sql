-- How long logs are kept. The controller removes what is older, a batch at a time.

CREATE FUNCTION control.keep_days(what text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT nullif(coalesce(
        (SELECT s.value FROM public.settings AS s WHERE s.name = what || '_keep_days'),
        CASE what WHEN 'queue_events' THEN '400' WHEN 'call_events' THEN '90' WHEN 'change_log' THEN '90' END
    ), 'forever')::integer
$$;
COMMENT ON FUNCTION control.keep_days IS
    'Days that rows of queue_events, call_events, change_log or audit are kept: the setting <name>_keep_days, else 400, 90, 90 '
    'and for the audit null, which is for ever.';

-- Rows come in the order of time, nearly: an index of block ranges finds the old ones and costs a new row nothing.
CREATE INDEX queue_events_at ON control.queue_events USING brin (at) WITH (autosummarize = on);
CREATE INDEX call_events_at ON control.call_events USING brin (at) WITH (autosummarize = on);
CREATE INDEX change_log_at ON control.change_log USING brin (at) WITH (autosummarize = on);
CREATE INDEX audit_at ON control.audit USING brin (at) WITH (autosummarize = on);

CREATE FUNCTION control.forget(most integer) RETURNS TABLE (what text, removed bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    before timestamptz;
BEGIN
    what := 'queue_events';
    before := clock_timestamp() - make_interval(days => control.keep_days(what));
    -- A talk that goes on, and what was said of it, belong together.
    DELETE FROM control.queue_events AS e WHERE e.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.queue_events AS o
        WHERE o.at < before AND NOT EXISTS (
            SELECT FROM control.queue_callers AS c WHERE c.id = o.caller_id AND c.state <> 'gone')
        LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN NEXT;

    what := 'call_events';
    before := clock_timestamp() - make_interval(days => control.keep_days(what));
    -- A record is made anew from all events of its call, so none of a call that is not over goes: its own, those joined
    -- by Asterisk's linkedid, restarts of servers since.
    DELETE FROM control.call_events AS e WHERE e.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.call_events AS o
        WHERE o.at < before AND CASE
            WHEN starts_with(o.call_id, 'linked:') THEN NOT EXISTS (
                SELECT FROM control.call_events AS j JOIN control.call_records AS r ON r.call_id = j.call_id
                WHERE j.node = o.node AND j.detail ? 'linkedid' AND j.detail ->> 'linkedid' = o.detail ->> 'linkedid'
                    AND (NOT r.complete OR r.ended_at >= before))
            WHEN starts_with(o.call_id, 'node:') THEN NOT EXISTS (
                SELECT FROM control.call_records AS r WHERE NOT r.complete AND r.started_at < o.at)
            ELSE NOT EXISTS (
                SELECT FROM control.call_records AS r
                WHERE r.call_id = o.call_id AND (NOT r.complete OR r.ended_at >= before))
        END
        LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN NEXT;

    what := 'change_log';
    before := clock_timestamp() - make_interval(days => control.keep_days(what));
    -- What no revision accounts for yet stays, and the newest row, which says how far the log goes.
    DELETE FROM control.change_log AS e WHERE e.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.change_log AS o
        WHERE o.at < before AND o.id < (SELECT max(m.id) FROM control.change_log AS m)
            AND (o.state = 'operational' OR EXISTS (
                SELECT FROM control.change_cursor AS c
                WHERE c.state = 'configuration' AND o.id <= c.position
                    AND pg_visible_in_snapshot(o.transaction, c.snapshot)))
        LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN NEXT;

    what := 'audit';
    before := clock_timestamp() - make_interval(days => control.keep_days(what));
    DELETE FROM control.audit AS e WHERE e.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.audit AS o WHERE o.at < before LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION control.forget IS
    'Removes rows of the logs that were kept long enough, at most so many of each; how many.';

CREATE VIEW control.retention AS
SELECT t.what, control.keep_days(t.what) AS days, t.oldest
FROM (
    SELECT 'queue_events' AS what, (SELECT at FROM control.queue_events ORDER BY id LIMIT 1) AS oldest
    UNION ALL SELECT 'call_events', (SELECT at FROM control.call_events ORDER BY id LIMIT 1)
    UNION ALL SELECT 'change_log', (SELECT at FROM control.change_log ORDER BY id LIMIT 1)
    UNION ALL SELECT 'audit', (SELECT at FROM control.audit ORDER BY id LIMIT 1)
) AS t;
COMMENT ON VIEW control.retention IS 'Logs: how many days they are kept (null: for ever), and when their oldest row was written.';

COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days; queue_events_keep_days (400), call_events_keep_days (90), '
    'change_log_keep_days (90), audit_keep_days (forever): rows of these logs are removed after so many days.';

GRANT EXECUTE ON FUNCTION control.keep_days TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT EXECUTE ON FUNCTION control.forget TO dialplane_admin, dialplane_controller;
GRANT SELECT ON control.retention TO dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
