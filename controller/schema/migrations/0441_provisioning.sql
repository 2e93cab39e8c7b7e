-- How a phone gets its secret without anybody storing it: the phone has a token, of which a digest is kept; its password follows
-- from the token and a number, the generation. Another password is another generation.

CREATE TABLE control.device_provisioning (
    device_id bigint NOT NULL CONSTRAINT device_provisioning_pkey PRIMARY KEY
        CONSTRAINT device_provisioning_device_fkey REFERENCES public.devices ON DELETE CASCADE,
    token_digest text NOT NULL CONSTRAINT device_provisioning_digest CHECK (token_digest ~ '^[0-9a-f]{64}$'),
    generation integer NOT NULL DEFAULT 1 CONSTRAINT device_provisioning_generation CHECK (generation > 0),
    fetched integer NOT NULL DEFAULT 0 CONSTRAINT device_provisioning_fetched CHECK (fetched BETWEEN 0 AND generation),
    fetched_at timestamptz,
    fetched_from inet,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    made_by text NOT NULL DEFAULT control.actor()
);
COMMENT ON TABLE control.device_provisioning IS 'Devices that fetch their configuration, password and all, with a token of their own.';
COMMENT ON COLUMN control.device_provisioning.device_id IS 'The device.';
COMMENT ON COLUMN control.device_provisioning.token_digest IS 'SHA-256 of the token (256 random bits). Never the token.';
COMMENT ON COLUMN control.device_provisioning.generation IS 'The password is the HMAC-SHA-256 of name@domain and this number, by the token.';
COMMENT ON COLUMN control.device_provisioning.fetched IS
    'Generation that was fetched last, and so holds; less than generation: that one has still to be fetched.';
COMMENT ON COLUMN control.device_provisioning.fetched_at IS 'When it was fetched last; null: never.';
COMMENT ON COLUMN control.device_provisioning.fetched_from IS 'From which address.';
COMMENT ON COLUMN control.device_provisioning.made_at IS 'When the token was made.';
COMMENT ON COLUMN control.device_provisioning.made_by IS 'By whom.';
COMMENT ON CONSTRAINT device_provisioning_device_fkey ON control.device_provisioning IS 'there is no such device';
COMMENT ON CONSTRAINT device_provisioning_digest ON control.device_provisioning IS 'a digest has 64 hex digits';
COMMENT ON CONSTRAINT device_provisioning_generation ON control.device_provisioning IS 'generations count from 1';
COMMENT ON CONSTRAINT device_provisioning_fetched ON control.device_provisioning IS 'nobody fetches what is not there yet';

CREATE FUNCTION control.set_credential(device bigint, md5 text, sha256 text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    aor text;
    items jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    UPDATE public.devices AS d SET ha1_md5 = md5, ha1_sha256 = sha256
    FROM public.domains AS o WHERE d.id = device AND o.id = d.domain_id
    RETURNING d.name || '@' || o.name INTO aor;
    SELECT jsonb_agg(jsonb_build_object(
        'kind', e.kind, 'scope', e.scope, 'tbl', e.tbl, 'key', e.key, 'account', e.account,
        'value', regexp_replace(regexp_replace(e.value, '(^|;)md5=[0-9a-f]{32}', '\1md5=' || md5),
                                '(^|;)sha256=[0-9a-f]{64}', '\1sha256=' || sha256)
    )) INTO items
    FROM control.entries AS e WHERE e.kind = 'edge' AND e.tbl = 'credential' AND e.key = aor;
    IF items IS NOT NULL THEN
        PERFORM control.publish_operational(items, 'secret changed');
    END IF;
    RETURN aor;
END
$$;
COMMENT ON FUNCTION control.set_credential IS
    'Changes what a device signs in with, in its row and on every edge at commit; its address of record, null: there is none.';

CREATE FUNCTION control.close_handed_over() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    closed bigint;
BEGIN
    UPDATE public.fraud_incidents AS i SET state = 'closed', ended_by = 'provisioning'
    WHERE i.state = 'open' AND i.id IN (
        SELECT a.incident_id FROM control.fraud_actions AS a
        WHERE a.action = 'rotate' AND a.state = 'done' AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(a.target -> 'devices') AS t (aor)
            LEFT JOIN public.domains AS o ON o.name = split_part(t.aor, '@', 2)
            LEFT JOIN public.devices AS d ON d.domain_id = o.id AND d.name = split_part(t.aor, '@', 1)
            LEFT JOIN control.device_provisioning AS p ON p.device_id = d.id
            WHERE p.device_id IS NULL OR p.fetched < p.generation
        )
    ) AND NOT EXISTS (SELECT FROM control.fraud_actions AS a WHERE a.incident_id = i.id AND a.state = 'pending');
    GET DIAGNOSTICS closed = ROW_COUNT;
    RETURN closed;
END
$$;
COMMENT ON FUNCTION control.close_handed_over IS
    'Closes incidents whose devices all have fetched their new secret, when nodes have nothing left to do; how many.';

GRANT SELECT, INSERT, UPDATE, DELETE ON control.device_provisioning TO dialplane_admin, dialplane_controller;
GRANT SELECT (device_id, generation, fetched, fetched_at, fetched_from, made_at, made_by) ON control.device_provisioning
    TO dialplane_reader;
GRANT EXECUTE ON FUNCTION control.set_credential, control.close_handed_over TO dialplane_admin, dialplane_controller;

CALL control.explain_refusals();
