-- Names in DNS, from the rows: forwarding names <service>.<account>.<zone> lead to media nodes, device names
-- <account>.<device_zone> to edges. Name servers read schema dns and nothing else.
--
-- Targets have names of their own, <node>.<cluster>.nodes.<zone> and <node>.edges.<device_zone>. No account collides with
-- them: what stands below an account's label begins with a service or with _.

ALTER TABLE public.settings
    DROP CONSTRAINT settings_value_form,
    ADD CONSTRAINT settings_value_form CHECK (value ~ '^[A-Za-z0-9_.,:/@+*-]{1,255}$');
COMMENT ON CONSTRAINT settings_value_form ON public.settings IS 'write 1 to 255 letters, digits and _ . , : / @ + * -';
COMMENT ON COLUMN public.settings.value IS 'Its value, 1 to 255 characters without spaces.';

CREATE FUNCTION control.fits_name_servers(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT bool_and(
        length(split_part(one, '/', 1)) <= 128
        AND split_part(one, '/', 1) ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'
        AND (one !~ '/' OR (split_part(one, '/', 2) ~ '^[0-9a-f.:]+$' AND pg_input_is_valid(split_part(one, '/', 2), 'inet')
                            AND one !~ '/.*/'))
    )
    FROM unnest(string_to_array(value, ',')) AS one
$$;
COMMENT ON FUNCTION control.fits_name_servers IS
    'host names with a dot, joined with commas, each with /address where its address stands in our zones';
GRANT EXECUTE ON FUNCTION control.fits_name_servers TO PUBLIC;

ALTER TABLE public.settings
    ADD CONSTRAINT settings_zone_length CHECK (name NOT IN ('zone', 'device_zone') OR length(value) <= 128),
    ADD CONSTRAINT settings_device_zone CHECK (
        name <> 'device_zone'
        OR value ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'
    ),
    ADD CONSTRAINT settings_name_servers CHECK (name <> 'name_servers' OR control.fits_name_servers(value)),
    ADD CONSTRAINT settings_dns_time CHECK (
        name NOT IN ('dns_ttl_s', 'dns_negative_ttl_s', 'dns_refresh_s')
        OR (value ~ '^[0-9]{1,5}$' AND lpad(value, 5, '0') BETWEEN '00001' AND '86400')
    );
COMMENT ON CONSTRAINT settings_zone_length ON public.settings IS
    'write at most 128 characters: names of accounts come before it';
COMMENT ON CONSTRAINT settings_device_zone ON public.settings IS
    'write the zone as a DNS name in lower case with a dot, such as phones.example.net';
COMMENT ON CONSTRAINT settings_name_servers ON public.settings IS
    'join host names with commas, each with its address where it lies in our zones, such as '
    'ns1.dialplane.internal/10.0.0.51,ns2.example.net';
COMMENT ON CONSTRAINT settings_dns_time ON public.settings IS 'write seconds, 1 to 86400';
COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; device_zone (phones.<zone>): DNS zone of the '
    'names that phones are provisioned with; name_servers (ns1.<zone>): host names joined with commas, each with /address '
    'where it lies in our zones; dns_ttl_s (5): how long answers are kept; dns_negative_ttl_s (dns_ttl_s): how long that there '
    'is no such name; dns_refresh_s (10): how often secondary name servers ask for changes; '
    'recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days; queue_events_keep_days (400), call_events_keep_days (90), '
    'change_log_keep_days (90), audit_keep_days (forever): rows of these logs are removed after so many days.';

CREATE VIEW control.name_settings AS
SELECT s.zone, s.device_zone, s.name_servers, split_part(split_part(s.name_servers, ',', 1), '/', 1) AS primary_server,
    s.ttl_s, s.negative_ttl_s, s.refresh_s
FROM (
    SELECT z.zone, coalesce(z.device_zone, 'phones.' || z.zone) AS device_zone,
        coalesce(z.name_servers, 'ns1.' || z.zone) AS name_servers,
        z.ttl_s, coalesce(z.negative_ttl_s, z.ttl_s) AS negative_ttl_s, z.refresh_s
    FROM (
        -- The table is small and every answer reads this: one look at it.
        SELECT coalesce(max(value) FILTER (WHERE name = 'zone'), 'dialplane.internal') AS zone,
            max(value) FILTER (WHERE name = 'device_zone') AS device_zone,
            max(value) FILTER (WHERE name = 'name_servers') AS name_servers,
            coalesce(max(value) FILTER (WHERE name = 'dns_ttl_s'), '5')::integer AS ttl_s,
            (max(value) FILTER (WHERE name = 'dns_negative_ttl_s'))::integer AS negative_ttl_s,
            coalesce(max(value) FILTER (WHERE name = 'dns_refresh_s'), '10')::integer AS refresh_s
        FROM public.settings
    ) AS z
) AS s;
COMMENT ON VIEW control.name_settings IS 'Settings of names in DNS, with what holds where nothing is set.';
COMMENT ON COLUMN control.name_settings.zone IS 'Zone of forwarding names.';
COMMENT ON COLUMN control.name_settings.device_zone IS 'Zone of device names.';
COMMENT ON COLUMN control.name_settings.name_servers IS 'Name servers of both zones, joined with commas, with /address.';
COMMENT ON COLUMN control.name_settings.primary_server IS 'The first of them.';
COMMENT ON COLUMN control.name_settings.ttl_s IS 'How long answers are kept, in seconds.';
COMMENT ON COLUMN control.name_settings.negative_ttl_s IS 'How long it is kept that there is no such name, in seconds.';
COMMENT ON COLUMN control.name_settings.refresh_s IS 'How often secondary name servers ask for changes, in seconds.';

-- Of two zones one may lie in the other; then the label between them is taken.
CREATE FUNCTION control.check_zones() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s record;
    taken text;
    named text;
BEGIN
    SELECT * INTO s FROM control.name_settings;
    IF s.zone = s.device_zone THEN
        RAISE EXCEPTION 'settings: zone and device_zone are both %', s.zone
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'settings', COLUMN = 'value',
                  CONSTRAINT = 'settings_two_zones', HINT = 'Give the phones a zone of their own, such as phones.' || s.zone || '.';
    END IF;
    taken := CASE
        WHEN right(s.device_zone, length(s.zone) + 1) = '.' || s.zone THEN left(s.device_zone, -length(s.zone) - 1)
        WHEN right(s.zone, length(s.device_zone) + 1) = '.' || s.device_zone THEN left(s.zone, -length(s.device_zone) - 1)
    END;
    taken := regexp_replace(taken, '^.*\.', '');
    IF taken IN ('nodes', 'edges') THEN
        named := 'settings: zone and device_zone: names of nodes stand under the label ' || taken;
    ELSIF EXISTS (SELECT FROM public.accounts AS a WHERE a.name = taken) THEN
        named := format('account %s: its names would lie in the zone %s', taken,
                        CASE WHEN length(s.zone) > length(s.device_zone) THEN s.zone ELSE s.device_zone END);
    END IF;
    IF named IS NOT NULL THEN
        RAISE EXCEPTION '%', named
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = TG_TABLE_NAME,
                  CONSTRAINT = TG_TABLE_NAME || '_zones',
                  HINT = 'Set device_zone to a zone that does not end in .' || taken || '.<zone>, or take another name.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.check_zones IS
    'Refuses two zones that are one, and an account whose names would lie in the other zone.';
CREATE TRIGGER zones AFTER INSERT OR UPDATE OR DELETE ON public.settings
    FOR EACH STATEMENT EXECUTE FUNCTION control.check_zones();
CREATE TRIGGER zones AFTER INSERT OR UPDATE OF name ON public.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION control.check_zones();

-- The serial of both zones. A transaction that changes what names depend on raises it once, at its end: who holds a
-- transaction open for long keeps nobody waiting. It follows the clock from below (seconds since 2025), so that a database
-- restored from a backup goes on above what name servers saw, and 32 bits last for 136 years; they compare it by RFC 1982.
CREATE TABLE control.name_serial (
    one boolean NOT NULL DEFAULT true CONSTRAINT name_serial_pkey PRIMARY KEY CONSTRAINT name_serial_one CHECK (one),
    serial bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE control.name_serial IS 'Serial of both zones: one row.';
COMMENT ON COLUMN control.name_serial.one IS 'True.';
COMMENT ON COLUMN control.name_serial.serial IS 'The serial; in DNS its lower 32 bits. It only grows.';
COMMENT ON COLUMN control.name_serial.changed_at IS 'When rows changed that names depend on.';
COMMENT ON CONSTRAINT name_serial_one ON control.name_serial IS 'there is one row';
INSERT INTO control.name_serial (serial)
VALUES (extract(epoch FROM clock_timestamp() - timestamptz '2025-01-01 00:00:00+00')::bigint);

CREATE TABLE control.name_changes (
    transaction xid8 CONSTRAINT name_changes_pkey PRIMARY KEY
);
COMMENT ON TABLE control.name_changes IS
    'Transactions that changed what names depend on and have not ended: nobody ever sees a row of another.';
COMMENT ON COLUMN control.name_changes.transaction IS 'The transaction.';

CREATE FUNCTION control.names_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO control.name_changes (transaction) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.names_change IS 'Notes that this transaction changes what names depend on.';

CREATE FUNCTION control.raise_name_serial() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    raised bigint;
BEGIN
    DELETE FROM control.name_changes AS c WHERE c.transaction = NEW.transaction;
    UPDATE control.name_serial AS s
    SET serial = greatest(
            s.serial + 1, extract(epoch FROM clock_timestamp() - timestamptz '2025-01-01 00:00:00+00')::bigint),
        changed_at = clock_timestamp()
    RETURNING s.serial INTO raised;
    PERFORM pg_notify('dialplane_dns', raised::text);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.raise_name_serial IS
    'Raises the serial at the end of a transaction. Channel dialplane_dns: the new serial.';
CREATE CONSTRAINT TRIGGER raise_serial AFTER INSERT ON control.name_changes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.raise_name_serial();

CREATE TRIGGER names AFTER INSERT OR DELETE OR UPDATE OF name, cluster_id, device_group_id ON public.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION control.names_change();
CREATE TRIGGER names AFTER INSERT OR DELETE OR UPDATE ON public.account_services
    FOR EACH STATEMENT EXECUTE FUNCTION control.names_change();
CREATE TRIGGER names AFTER INSERT OR DELETE OR UPDATE ON public.clusters
    FOR EACH STATEMENT EXECUTE FUNCTION control.names_change();
CREATE TRIGGER names AFTER INSERT OR DELETE OR UPDATE ON public.nodes
    FOR EACH STATEMENT EXECUTE FUNCTION control.names_change();
CREATE TRIGGER names AFTER INSERT OR DELETE OR UPDATE ON public.settings
    FOR EACH STATEMENT EXECUTE FUNCTION control.names_change();

GRANT SELECT ON control.name_settings, control.name_serial, control.name_changes
    TO dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
