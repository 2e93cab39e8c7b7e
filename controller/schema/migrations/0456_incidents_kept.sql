-- Incidents of fraud that are over are kept as long as their verdicts are, by default.

CREATE INDEX fraud_incidents_over ON public.fraud_incidents (ended_at) WHERE state <> 'open';

CREATE FUNCTION control.forget_incidents(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    days integer;
    removed bigint;
BEGIN
    days := nullif(coalesce(
        (SELECT s.value FROM public.settings AS s WHERE s.name = 'fraud_incidents_keep_days'), '400'), 'forever')::integer;
    -- Actions go with their incident. Its blocks went when it ended.
    DELETE FROM public.fraud_incidents AS i WHERE i.id = ANY (ARRAY(
        SELECT o.id FROM public.fraud_incidents AS o
        WHERE o.state <> 'open' AND o.ended_at < clock_timestamp() - make_interval(days => days)
        ORDER BY o.ended_at LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION control.forget_incidents IS
    'Removes incidents of fraud, with their actions, that are over for longer than the setting fraud_incidents_keep_days (400; '
    'forever) says, at most so many; how many. One that is open stays.';
COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; device_zone (phones.<zone>): DNS zone of the '
    'names that phones are provisioned with; name_servers (ns1.<zone>): host names joined with commas, each with /address '
    'where it lies in our zones; dns_ttl_s (5): how long answers are kept; dns_negative_ttl_s (dns_ttl_s): how long that there '
    'is no such name; dns_refresh_s (10): how often secondary name servers ask for changes; '
    'recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days; queue_events_keep_days (400), call_events_keep_days (90), '
    'change_log_keep_days (90), audit_keep_days (forever), messages_keep_days (400), fraud_verdicts_keep_days (400), '
    'fraud_incidents_keep_days (400): rows of these logs are removed after so many days.';

GRANT EXECUTE ON FUNCTION control.forget_incidents TO dialplane_fraud, dialplane_controller, dialplane_admin;

CALL control.explain_refusals();
